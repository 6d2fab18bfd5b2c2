"""Tests of `mpp.proxy.decisions.cross_site`: requests that a page of another site had a browser make."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Headers, RequestInfo
from mpp.proxy.decisions.cross_site import is_cross_site

PEER = "203.0.113.9"
TRUSTED = ("203.0.113.0/24", "::1/128")


def asked(
    *fields: tuple[bytes, bytes], peer: str = PEER, trusted: tuple[str, ...] | None = None, host: bytes = b"mpp:9090"
) -> bool:
    headers: Headers = ((b"Host", host), *fields)
    return is_cross_site(RequestInfo(b"POST", b"/mpp/reload", headers, b"", peer), trusted)


def site(value: bytes) -> tuple[bytes, bytes]:
    return (b"Sec-Fetch-Site", value)


def origin(value: bytes) -> tuple[bytes, bytes]:
    return (b"origin", value)


def forwarded(value: bytes) -> tuple[bytes, bytes]:
    return (b"X-Forwarded-Host", value)


class CrossSiteTests(SynchronousTestCase):
    """Who may change something."""

    def test_programs_that_are_no_browsers_are_not_rejected(self) -> None:
        """What is no browser says nothing of itself, and is never meant."""
        self.assertFalse(asked())
        self.assertFalse(asked((b"Referer", b"http://evil.test/")))

    def test_fetch_metadata(self) -> None:
        """The browser's own word counts, whatever else is there."""
        for value, expected in (
            (b"same-origin", False),
            (b"none", False),
            (b"Same-Origin ", False),
            (b"same-site", True),
            (b"cross-site", True),
            (b"", True),
            (b"anything", True),
        ):
            self.assertEqual(asked(site(value)), expected, value)
        self.assertTrue(asked(site(b"same-origin"), site(b"cross-site")))
        self.assertTrue(asked(site(b"same-origin"), origin(b"http://evil.test")))
        self.assertTrue(asked(site(b"cross-site"), origin(b"http://mpp:9090")))

    def test_origin_must_match_the_requested_host_and_port(self) -> None:
        """The page's host and port have to be those that the client asks for."""
        for value, expected in (
            (b"http://mpp:9090", False),
            (b"https://mpp:9090", False),
            (b"HTTP://MPP:9090", False),
            (b"http://mpp", True),
            (b"http://mpp:3000", True),
            (b"http://evil.test", True),
            (b"http://mpp:9090.evil.test", True),
            (b"http://evil.test/mpp:9090", True),
            (b"null", True),
            (b"", True),
            (b"mpp:9090", True),
        ):
            self.assertEqual(asked(origin(value)), expected, value)
        self.assertTrue(asked(origin(b"http://mpp:9090"), origin(b"http://evil.test")))

    def test_default_ports(self) -> None:
        """The port that a scheme has by default may be written or left out, on either side."""
        for value, host, expected in (
            (b"https://mpp", b"mpp:443", False),
            (b"https://mpp:443", b"mpp", False),
            (b"http://mpp", b"mpp:80", False),
            (b"http://[::1]", b"[::1]:80", False),
            (b"http://mpp", b"mpp:443", True),
            (b"http://mpp:443", b"mpp", True),
            (b"http://", b"", True),
        ):
            self.assertEqual(asked(origin(value), host=host), expected, (value, host))

    def test_no_host(self) -> None:
        """HTTP/1.0 without a host has none that an origin could be."""
        facts = RequestInfo(b"POST", b"/mpp/reload", (origin(b"http://mpp"),), b"", PEER)
        self.assertTrue(is_cross_site(facts, None))

    def test_forwarded_host_is_trusted_from_named_proxies(self) -> None:
        """X-Forwarded-Host is believed of proxies that are named, and then of a Unix socket, too."""
        fields = (origin(b"https://mon.test"), forwarded(b"mon.test"))
        self.assertTrue(asked(*fields))
        self.assertTrue(asked(*fields, trusted=()))
        self.assertTrue(asked(*fields, trusted=("198.51.100.0/24",)))
        self.assertTrue(asked(*fields, peer="127.0.0.1"))
        self.assertFalse(asked(*fields, trusted=TRUSTED))
        self.assertFalse(asked(*fields, peer="::1", trusted=TRUSTED))
        self.assertTrue(asked(*fields, peer=""))
        self.assertFalse(asked(*fields, peer="", trusted=TRUSTED))
        self.assertTrue(asked(origin(b"https://evil.test"), forwarded(b"mon.test"), trusted=TRUSTED))

    def test_chain_of_proxies(self) -> None:
        """Of several proxies each may have written the host that it was asked for."""
        self.assertFalse(asked(origin(b"https://mon.test"), forwarded(b"mon.test, inner:8080"), trusted=TRUSTED))
        self.assertFalse(asked(origin(b"https://mon.test"), forwarded(b"inner"), forwarded(b"mon.test:443"), trusted=TRUSTED))

    def test_long_fields_are_checked_within_20_ms(self) -> None:
        """However long the fields are, it takes no more than 20 ms."""
        for value in (b"," * 2**20, b"://" * 2**18, b"a," * 2**19):
            began = time.process_time()
            self.assertTrue(asked(origin(b"http://a.test" + value), forwarded(value), trusted=TRUSTED))
            self.assertLess(time.process_time() - began, 0.02)
