"""URL patterns under ``backends``: how they are written, and which servers they are for."""

from __future__ import annotations

import re
import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.config.endpoint_patterns import parse_url_pattern
from mpp.core.backend_url import parse_endpoint
from mpp.core.model import Backend
from mpp.core.url_pattern import URLPattern, matches
from tests.documents import all_blocks

FITS: list[tuple[str, str]] = [
    # Those of the documentation.
    ("http://prom-c:*", "prom-c:9090"),
    ("http://prom-c:*", "http://prom-c:9090/prometheus"),
    ("http://prom-c:*", "http://prom-c/prometheus/b"),
    ("https://*-b.example.org:443", "https://prom-b.example.org"),
    ("https://*-b.example.org:443", "https://x.prom-b.example.org:443/tenant"),
    ("*", "https://anything:1/x"),
    ("*://*:*", "https://[2001:db8::5]:9090/x"),
    ("HTTPS://PROM-A.Example.ORG:443", "https://prom-a.example.org"),
    ("prom-a:9090", "http://prom-a:9090/x"),
    ("http*://prom-a:9090", "https://prom-a:9090"),
    ("http://prom-a:90*", "prom-a:9090"),
    ("http://prom-a:9090/", "prom-a:9090"),
    ("http://prom-a:9090/x/", "http://prom-a:9090/x"),
    ("http://prom-a:9090/*", "http://prom-a:9090/x/y"),
    ("http://prom-a:9090/tenant-*/api", "http://prom-a:9090/tenant-a/b/api"),
    ("http://prom-a:9090/%7ex", "http://prom-a:9090/~x"),
    ("http://[2001:DB8:0::5]:9090", "[2001:db8::5]:9090"),
    ("http://[2001:db8:*]:9090", "[2001:db8::5]:9090"),
    ("http://[*]:9090", "[::1]:9090"),
    ("http://10.0.*:9090", "10.0.3.4:9090"),
]

FITS_NOT: list[tuple[str, str]] = [
    # A path, a label or a name that looks like the host that was meant.
    ("http://*.trusted.test:9090", "http://127.0.0.1:25104/.trusted.test:9090"),
    ("https://*-b.example.org:443", "https://evil.test/x-b.example.org:443"),
    ("https://*-b.example.org:443", "https://evil.test:443/x-b.example.org:443"),
    ("https://*-b.example.org:443", "https://prom-b.example.org.evil.test"),
    ("http://*:9090", "http://evil.test:80/x:9090"),
    ("http://prom-*:*", "http://evil.test:80/prom-a:9090"),
    ("http*://prom-a:9090", "http://evil.test:80/prom-a:9090"),
    ("https://prom-a:443/x*", "https://prom-a:443/y/x"),
    ("http://prom-a:9090", "https://prom-a:9090"),
    ("prom-a:9090", "https://prom-a:9090"),
    ("http://prom-a:9090", "prom-a:9091"),
    ("http://prom-a:90", "prom-a:9090"),
    ("http://prom-a:9090/", "http://prom-a:9090/x"),
    ("http://prom-a:9090/x", "prom-a:9090"),
    ("http://prom-a:9090/x", "http://prom-a:9090/x/y"),
    ("http://prom.a:9090", "http://prom-a:9090"),
    ("http://prom-a*a:9090", "prom-a:9090"),
    ("http://[*]:9090", "prom-a:9090"),
    ("http://[::1]:9090", "[::2]:9090"),
]

REFUSED: list[tuple[str, str]] = [
    ("http://u:s3cr3t@prom-a:9090", "a user name and password in the URL are not supported (write a literal @ in a path as %40)"),
    ("http://*:s3cr3t@prom-a:9090", "a user name and password in the URL are not supported (write a literal @ in a path as %40)"),
    ("http://prom-a", "no port given; expected one, like http://prom-a:9090, or :* for every port"),
    ("https://*.example.org/x", "no port given; expected one, like http://prom-a:9090, or :* for every port"),
    ("prom-a", "no port given; expected one, like http://prom-a:9090, or :* for every port"),
    ("http://prom-a:", "the port must be a number from 1 to 65535, not ''"),
    ("http://prom-a:0", "the port must be a number from 1 to 65535, not '0'"),
    ("http://prom-a:*x", "the port must be a number from 1 to 65535, or have * in place of digits, not '*x'"),
    ("*-b.example.org:443", "expected a scheme, http:// or https:// (or *:// for both), or * alone for every server"),
    ("*.example.org*", "expected a scheme, http:// or https:// (or *:// for both), or * alone for every server"),
    ("ftp*://prom-a:1", "the scheme must be http, https, or *"),
    ("ftp://prom-a:1", "the scheme must be http or https"),
    ("http://::1:*", "an IPv6 address needs brackets around it, like http://[2001:db8::5]:9090"),
    ("http://pröm-*:1", "'pröm-*' is not a host name or address in which * stands for any characters"),
    ("http://[fe80::*%eth0]:1", "'[fe80::*%eth0]' is not a host name or address in which * stands for any characters"),
    ("http://prom-*:1/a?b", "an endpoint must not have a query (?) or fragment (#)"),
    ("http://prom-*:1/a b", "expected one endpoint, found blanks or control characters inside it"),
    ("http://prom-*:1/a/../b", "the path must not contain empty, . or .. segments"),
]


class EndpointPatternsTests(SynchronousTestCase):
    """What is understood, and what it is for."""

    def test_pattern_matches_each_part_of_a_url(self) -> None:
        """A pattern is for a server when each of its parts fits the same part of the server's URL."""
        for pattern, endpoint in FITS:
            self.assertTrue(parse_url_pattern(pattern).fits(parse_endpoint(endpoint)), (pattern, endpoint))

    def test_documented_rules_are_valid(self) -> None:
        """Every rule that the documentation shows is understood."""
        text = "\n".join(block.text for block in all_blocks())
        found = re.findall(r"^ *- url: (\S+)$", text, re.MULTILINE)
        self.assertGreaterEqual(len(found), 3)
        for text in found:
            self.assertIsInstance(parse_url_pattern(text), URLPattern)

    def test_fits_not(self) -> None:
        """What stands in one part of a server's URL never fits another part of a pattern."""
        for pattern, endpoint in FITS_NOT:
            self.assertFalse(parse_url_pattern(pattern).fits(parse_endpoint(endpoint)), (pattern, endpoint))

    def test_bad_pattern_is_rejected_in_one_line(self) -> None:
        """What is no pattern is refused in one line that says what was expected, and repeats no password."""
        for pattern, problem in REFUSED:
            self.assertEqual(str(self.assertRaises(ValueError, parse_url_pattern, pattern)), problem, pattern)

    @given(st.sampled_from(["http", "https"]), st.from_regex(r"/[a-z0-9.:/_@*-]{0,40}", fullmatch=True))
    def test_path_never_lends_a_host(self, scheme: str, path: str) -> None:
        """Whatever path a foreign server is listed with, it gets nothing that is meant for another host."""
        foreign = Backend(scheme, "evil.test", 443, path)
        for pattern in ("http://*.trusted.test:9090", "https://*-b.example.org:443", "*://prom-*:*", "*://*.test.:*/*"):
            self.assertFalse(parse_url_pattern(pattern).fits(foreign), (pattern, path))


class MatchesTests(SynchronousTestCase):
    """A star in a text."""

    @given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
    def test_star_stands_for_anything(self, pattern: str, text: str) -> None:
        """A pattern matches exactly the texts that come of it by putting something in the place of each star."""

        def expected(pattern: str, text: str) -> bool:
            if not pattern:
                return not text
            if pattern[0] == "*":
                return any(expected(pattern[1:], text[start:]) for start in range(len(text) + 1))
            return bool(text) and text[0] == pattern[0] and expected(pattern[1:], text[1:])

        self.assertEqual(matches(pattern, text), expected(pattern, text))

    def test_many_stars_take_no_longer(self) -> None:
        """The time for a pattern with many stars grows with the text, not with the ways in which it could fit."""
        began = time.process_time()
        self.assertFalse(matches("*a" * 500 + "*b", "a" * 100_000))
        self.assertFalse(URLPattern(host="*" + "a*" * 200 + "b").fits(Backend("http", "a" * 253, 1)))
        self.assertLess(time.process_time() - began, 0.5)
