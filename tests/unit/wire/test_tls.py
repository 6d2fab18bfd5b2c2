"""
Tests of `mpp.wire.tls` and all that connect with it, over real sockets on loopback: which servers get a request, and which get
none.

Each case is tried on all four kinds of connections that mpp opens over TLS: to a backend, and to the servers of HTTP service
discovery, of Kubernetes, and of Marathon.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from mpp.core.errors import DiscoveryError, UpstreamError
from mpp.core.model import Backend
from mpp.discovery.http_api.json_api import JSONClient
from mpp.discovery.http_sd import HTTPSDLocator
from mpp.discovery.kubernetes.locator import build, check
from mpp.discovery.kubernetes.settings import KubeSettings
from mpp.discovery.marathon.locator import MarathonLocator
from mpp.discovery.marathon.settings import MarathonSettings
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.tls import TLSPolicy
from mpp.wire.upstream.dialer import Dialer
from tests.certificates import NAMINGS, Authority
from tests.impostor import Impostor, LoopbackResolver
from tests.kubeconfigs import make_kubeconfig

SECRET = "hush-hush"


class ServerNamesTests(TestCase):
    """A server gets a request only if its certificate names it; of the others none could decrypt a single byte."""

    def setUp(self) -> None:
        self.running: Any = reactor
        self.authority = Authority()
        self.resolver = LoopbackResolver()
        previous = self.running.installNameResolver(self.resolver)
        self.addCleanup(self.running.installNameResolver, previous)
        self.logged: list[LogEvent] = []
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)

    async def on_the_data_path(self, host: str, port: int, policy: TLSPolicy) -> str:
        """Send a request to a backend; return why that failed, or nothing."""
        dialer = Dialer(
            self.running, lambda backend: ["127.0.0.1"], connect_timeout=10.0, tls=lambda backend: policy.creator(backend.host)
        )
        backend = Backend("https", host, port)
        try:
            connection = await dialer.dial(backend)
        except UpstreamError as error:
            return error.detail
        ended: Deferred[None] = Deferred()
        connection.adopt(_Owner(ended), MemoryBudget(100))
        await connection.send(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: " + SECRET.encode() + b"\r\n\r\n", b"", 100, None)
        connection.close()
        await ended
        return ""

    async def by_http_sd(self, host: str, port: int, policy: TLSPolicy) -> str:
        """Ask a server of HTTP service discovery; return the error."""
        api = JSONClient.connecting(self.running, policy)
        try:
            await HTTPSDLocator(lambda: f"https://user:{SECRET}@{_in_url(host)}:{port}/sd", api, interval=lambda: 10.0).locate()
        except DiscoveryError as error:
            return str(error)
        finally:
            await api.close()
        return ""

    async def by_kubernetes(self, host: str, port: int, policy: TLSPolicy) -> str:
        """Ask an API server of Kubernetes; return the error."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "ca.pem").write_bytes(policy.ca or b"")
        cluster = {"server": f"https://{_in_url(host)}:{port}", "certificate-authority": "ca.pem"}
        if policy.server_name:
            cluster["tls-server-name"] = policy.server_name
        path = make_kubeconfig(folder, {"token": SECRET}, cluster)
        settings = KubeSettings(kubeconfig=str(path), pod_label_selector="app=prometheus")
        check(settings, os.environ)
        locator = build(settings, self.running, os.environ)
        try:
            await locator.locate()
        except DiscoveryError as error:
            return str(error)
        finally:
            locator.stop()
        return ""

    async def by_marathon(self, host: str, port: int, policy: TLSPolicy) -> str:
        """Ask a Marathon; return the error."""
        api = JSONClient.connecting(self.running, policy)
        settings = MarathonSettings(urls=(f"https://user:{SECRET}@{_in_url(host)}:{port}",), apps=("/a",))
        try:
            await MarathonLocator(settings, api, wall=time.time).locate()
        except DiscoveryError as error:
            return str(error)
        finally:
            await api.close()
        return ""

    async def check(self, what: str, user: Any, host: str, pem: bytes, *, good: bool, server_name: str = "") -> Impostor:
        """Try one server with one user of TLS."""
        impostor = Impostor(self.running, pem)
        self.addCleanup(impostor.close)
        where = f"{what}, {user.__name__}"
        problem = await user(host, impostor.port, TLSPolicy(ca=self.authority.pem, server_name=server_name))
        if good:
            self.assertNotIn("certificate", problem, where)
            self.assertTrue(impostor.decrypted.startswith(b"GET /"), where)
        else:
            self.assertIn("the certificate is not for ", problem, where)
            self.assertNotIn("\n", problem)
            self.assertEqual(impostor.decrypted, b"", where)
        self.assertEqual(len(impostor.asked_for), 1, where)
        self.assertEqual([event for event in self.logged if "log_failure" in event], [], where)
        return impostor

    @property
    def users(self) -> Iterator[Any]:
        yield from (self.on_the_data_path, self.by_http_sd, self.by_kubernetes, self.by_marathon)

    async def test_each_certificate_name_is_verified(self) -> None:
        """Each kind of naming, good or not, on each kind of connection."""
        for what, host, names, good in NAMINGS:
            if not host.isascii():
                continue
            pem = self.authority.sign(*names, common_name=host)
            for user in self.users:
                await self.check(what, user, host, pem, good=good)

    async def test_server_name(self) -> None:
        """A server name that is configured counts instead of the host that is connected to."""
        for what, host, names, good in NAMINGS:
            pem = self.authority.sign(*names, common_name=host)
            for user in (self.on_the_data_path, self.by_kubernetes):
                await self.check(what, user, "192.0.2.1", pem, good=good, server_name=host)

    async def test_the_host_does_not_count_beside_a_server_name(self) -> None:
        """A certificate for the host that is connected to is refused when another server name is configured."""
        pem = self.authority.sign("IP:127.0.0.1", "DNS:localhost")
        for user in (self.on_the_data_path, self.by_kubernetes):
            for host in ("127.0.0.1", "localhost"):
                await self.check("server_name", user, host, pem, good=False, server_name="prom.example")

    async def test_malformed_list(self) -> None:
        """A certificate whose list of names cannot be read is refused."""
        pem = self.authority.sign(raw=b"\x30\x0b\x82\x09localhostx", common_name="localhost")
        for user in self.users:
            impostor = Impostor(self.running, pem)
            self.addCleanup(impostor.close)
            problem = await user("localhost", impostor.port, TLSPolicy(ca=self.authority.pem))
            self.assertRegex(problem, "certificate", user.__name__)
            self.assertEqual(impostor.decrypted, b"", user.__name__)
            self.assertEqual([event for event in self.logged if "log_failure" in event], [])

    async def test_another_authority(self) -> None:
        """A certificate with the right name of an authority that is not trusted is refused."""
        pem = Authority().sign("DNS:localhost")
        for user in self.users:
            impostor = Impostor(self.running, pem)
            self.addCleanup(impostor.close)
            problem = await user("localhost", impostor.port, TLSPolicy(ca=self.authority.pem))
            self.assertIn("certificate verify failed: its signature is not by the trusted authority", problem, user.__name__)
            self.assertEqual(impostor.decrypted, b"", user.__name__)

    async def test_expired_certificate(self) -> None:
        """The message says what is wrong with a certificate, because it decides what the operator has to do."""
        pem = self.authority.sign("DNS:localhost", minutes=-10)
        for user in self.users:
            impostor = Impostor(self.running, pem)
            self.addCleanup(impostor.close)
            problem = await user("localhost", impostor.port, TLSPolicy(ca=self.authority.pem))
            self.assertIn("certificate verify failed: it has expired", problem, user.__name__)
            self.assertEqual(impostor.decrypted, b"", user.__name__)
            self.assertEqual([event for event in self.logged if "log_failure" in event], [])

    async def test_what_is_asked_for(self) -> None:
        """A host name is asked for (SNI) without its trailing dot, verified or not; an address is not; all are resolved as is."""
        for host, sni in (
            ("prom.lab.test.", b"prom.lab.test"),
            ("under_score.lab.test", b"under_score.lab.test"),
            ("ab--c.lab.test", b"ab--c.lab.test"),
            ("127.0.0.1", None),
            ("::1", None),
        ):
            names = ("DNS:*.lab.test", "IP:127.0.0.1", "IP:::1")
            for insecure in (False, True):
                for user in (self.on_the_data_path, self.by_http_sd, self.by_marathon):
                    impostor = Impostor(self.running, self.authority.sign(*names))
                    self.addCleanup(impostor.close)
                    await user(host, impostor.port, TLSPolicy(insecure, None if insecure else self.authority.pem))
                    self.assertEqual(impostor.asked_for, [sni], (host, user.__name__))
                    self.assertTrue(impostor.decrypted.startswith(b"GET /"), (host, user.__name__))
        self.assertIn("prom.lab.test.", self.resolver.asked_for)
        self.assertIn("under_score.lab.test", self.resolver.asked_for)

    async def test_one_line(self) -> None:
        """The error says what the certificate is for, in one line."""
        pem = self.authority.sign("DNS:*.x.example", "DNS:a b\nc", "IP:10.0.0.1")
        for names, problem in (
            ((), "no host at all"),
            (("DNS:*.x.example", "DNS:a b\nc", "IP:10.0.0.1"), "*.x.example, 10.0.0.1"),
        ):
            pem = self.authority.sign(*names)
            impostor = Impostor(self.running, pem)
            self.addCleanup(impostor.close)
            policy = TLSPolicy(ca=self.authority.pem)
            expected = f"the certificate is not for localhost, but for {problem}"
            self.assertEqual(await self.on_the_data_path("localhost", impostor.port, policy), expected)
            where = f"https://localhost:{impostor.port}/sd"
            self.assertEqual(await self.by_http_sd("localhost", impostor.port, policy), f"{where}: TLS failed: {expected}")


class _Owner:
    """Waits for the end of a connection."""

    def __init__(self, ended: Deferred[None]) -> None:
        self._ended = ended

    def exchange_ended(self, connection: object, reusable: bool) -> None:
        pass

    def connection_closed(self, connection: object) -> None:
        if not self._ended.called:
            self._ended.callback(None)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
