"""The Marathon locator over real sockets and real TLS, on loopback."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.protocols.policies import WrappingFactory
from twisted.trial.unittest import TestCase
from twisted.web.server import Site

from mpp.core.errors import DiscoveryError
from mpp.core.model import Backend, DiscoveredBackend
from mpp.discovery.http_api.json_api import JSONClient
from mpp.discovery.marathon.locator import MarathonLocator, build
from mpp.discovery.marathon.settings import MarathonSettings
from mpp.wire.tls import TLSPolicy
from tests.fake_https import FakeAuthority
from tests.fake_marathon import LOGIN_PATH, FakeMarathon, host_app, principal_secret, task
from tests.unit.discovery.test_locators_marathon_tasks import BRIDGE, CONTAINER, own

APPS = ("/a/host", "/a/bridge", "/a/container")
EXPECTED = tuple(
    DiscoveredBackend(Backend("http", *address)) for address in (("10.0.0.1", 31001), ("10.0.0.1", 31005), ("9.0.2.130", 8080))
)


class Served(WrappingFactory):
    """
    A site that knows its connections.

    :ivar lost: fires when the first of them is lost.
    """

    def __init__(self, site: Site) -> None:
        WrappingFactory.__init__(self, site)
        self.lost: Deferred[None] = Deferred()

    def unregisterProtocol(self, protocol: Any) -> None:
        WrappingFactory.unregisterProtocol(self, protocol)
        if not self.lost.called:
            self.lost.callback(None)


class MarathonOverTLSTests(TestCase):
    """A Marathon behind a login, with a certificate that a private authority has signed."""

    def setUp(self) -> None:
        self.fake = FakeMarathon(time.time)
        self.fake.asks_for = "token="
        self.fake.apps = {
            "/a/host": host_app([task("10.0.0.1", [31001])]),
            "/a/bridge": host_app([own("172.17.0.2")], **BRIDGE),
            "/a/container": host_app([own("9.0.2.130")], **CONTAINER),
        }
        self.authority = FakeAuthority()
        self.served = Served(Site(self.fake))
        listening: Any = reactor
        port = listening.listenSSL(0, self.served, self.authority.serve("127.0.0.1"), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.base = f"https://127.0.0.1:{port.getHost().port}"

    def settings(self) -> MarathonSettings:
        """Return settings with a master that is down (nobody listens on port 1), and then the one that is there."""
        return MarathonSettings(
            urls=("https://127.0.0.1:1/service/marathon", self.base + "/service/marathon"),
            apps=APPS,
            principal_secret=principal_secret(self.base + LOGIN_PATH),
        )

    def make(self, policy: TLSPolicy) -> MarathonLocator:
        """Make a locator; its connections are closed at the end."""
        api = JSONClient.connecting(reactor, policy)
        self.addCleanup(api.close)
        return MarathonLocator(self.settings(), api, wall=time.time)

    async def test_all_networking_modes_are_found_over_tls(self) -> None:
        """All networking modes are found behind a master that is down; a 401 leads to one new login; scaling is seen."""
        locator = self.make(TLSPolicy(ca=self.authority.pem))
        self.assertEqual(await locator.locate(), EXPECTED)
        self.assertEqual(len(self.fake.logins), 1)
        self.fake.tokens.clear()
        self.fake.apps["/a/host"]["tasks"] += [task(f"10.0.0.{n}", [31001], n) for n in (2, 3)]
        located = await locator.locate()
        self.assertEqual([each.backend.host for each in located[:3]], ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        self.assertEqual((len(located), len(self.fake.logins)), (5, 2))

    async def test_insecure_verifies_nothing(self) -> None:
        """With --insecure nothing is verified; stopping closes the connection that was kept."""
        locator = build(self.settings(), reactor, insecure=True)
        self.assertEqual(await locator.locate(), EXPECTED)
        locator.stop()
        await self.served.lost

    async def test_unknown_authority_is_rejected(self) -> None:
        """A certificate of an authority that is not known is refused, before any secret is sent."""
        locator = self.make(TLSPolicy(ca=FakeAuthority("another").pem))
        with self.assertRaises(DiscoveryError) as caught:
            await locator.locate()
        self.assertIn(
            f"login at {self.base}{LOGIN_PATH}: TLS failed: certificate verify failed: it was issued by", str(caught.exception)
        )
        self.assertEqual(self.fake.requests, [])

    async def test_other_name(self) -> None:
        """A certificate for another host is refused."""
        locator = self.make(TLSPolicy(ca=self.authority.pem, server_name="elsewhere.example"))
        with self.assertRaises(DiscoveryError) as caught:
            await locator.locate()
        self.assertIn("TLS failed: ", str(caught.exception))
        self.assertEqual(self.fake.requests, [])
