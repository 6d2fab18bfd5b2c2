"""What an operator may write as an endpoint."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.backend_url import parse_endpoint

GOOD = {
    "http://prom-a:9090": "http://prom-a:9090",
    "http://prom-a": "http://prom-a:80",
    "https://prom-a": "https://prom-a:443",
    " HTTPS://Prom-A.Example.ORG:9090/Prometheus/ ": "https://prom-a.example.org:9090/Prometheus",
    "http://prom-a:9090///": "http://prom-a:9090",
    "http://prom_a.:1/a/b": "http://prom_a.:1/a/b",
    "prom-a:9090": "http://prom-a:9090",
    "prom-a:9090/prometheus": "http://prom-a:9090/prometheus",
    "10.0.0.1:09090": "http://10.0.0.1:9090",
    "[::1]:9090": "http://[::1]:9090",
    "http://[2001:DB8:0::5]:9090/x": "http://[2001:db8::5]:9090/x",
    "https://[::1]/": "https://[::1]:443",
    "http://a:1/b%2fc%7Ed~é": "http://a:1/b%2Fc~d~%C3%A9",
}

BAD = {
    "": "expected a host name or address",
    "http://": "expected a host name or address",
    "http://:9090": "expected a host name or address",
    "/prometheus": "expected a host name or address",
    "prom-a": "no port given",
    "prom-a/prometheus": "no port given",
    "[::1]": "no port given",
    "ftp://prom-a:9090": "http or https",
    "http:/prom-a:9090": "the port must be a number",
    "http://prom-a:": "the port must be a number",
    "http://prom-a:0": "the port must be a number",
    "http://prom-a:65536": "the port must be a number",
    "http://prom-a:+90": "the port must be a number",
    "http://prom-a:\u0669\u0660": "the port must be a number",
    "http://prom-a:" + "9" * 5000: "the port must be a number",
    "::1:9090": "needs brackets",
    "2001:db8::5": "needs brackets",
    "http://x[::1]:90": "needs brackets",
    "http://[fe80::1%eth0]:9090": "zone",
    "http://[prom-a]:9090": "not an IPv6 address",
    "http://[::1": "needs brackets",
    "http://10.0.0.256:9090": "not an IPv4 address",
    "http://10.1:9090": "not an IPv4 address",
    "http://-a:9090": "not a host name",
    "http://a..b:9090": "not a host name",
    "http://" + "a" * 64 + ":9090": "not a host name",
    "http://" + "a." * 127 + "b:9090": "not a host name",
    "http://bücher.example:9090": "xn--",
    "http://prom-a:9090?x=y": "query",
    "http://prom-a:9090/#top": "fragment",
    "http://prom-a:9090/a b": "blanks",
    "http://prom-a:9090 http://prom-b:9090": "blanks",
    "http://prom-a:9090/\x7f": "control characters",
    "http://prom-a:9090/%zz": "hexadecimal",
    "http://prom-a:9090/a//b": "segments",
    "http://prom-a:9090/a/../b": "segments",
    "http://prom-a:9090/%2e%2e/b": "segments",
}


class ParseEndpointTests(SynchronousTestCase):
    """One endpoint."""

    def test_valid_endpoints_are_normalized(self) -> None:
        """URLs with and without port and prefix, host:port and IPv6 literals are understood, and put into one spelling."""
        for text, url in GOOD.items():
            with self.subTest(text=text):
                self.assertEqual(parse_endpoint(text).url, url)

    def test_invalid_endpoint_is_rejected_with_what_was_expected(self) -> None:
        """What is no endpoint is refused, with what was expected."""
        for text, problem in BAD.items():
            with self.subTest(text=text):
                self.assertIn(problem, str(self.assertRaises(ValueError, parse_endpoint, text)))

    def test_password_is_not_repeated(self) -> None:
        """Credentials are refused without repeating them, whatever characters the password has."""
        for text in (
            "http://me:s3cret@prom-a:9090",
            "http://me:s3c/ret@prom-a:9090",
            "http://me:s3c?r#et@prom-a",
            "me:s3cret@a:1",
        ):
            with self.subTest(text=text):
                message = str(self.assertRaises(ValueError, parse_endpoint, text))
                self.assertIn("user name and password", message)
                self.assertNotIn("s3c", message)

    def test_canonical_form_is_stable(self) -> None:
        """A canonical URL means the same backend."""
        for url in GOOD.values():
            self.assertEqual(parse_endpoint(url).url, url)

    @given(st.text(alphabet="ahtp:/[]%.0129@?# \u00e9\u0661", max_size=20))
    def test_nothing_else_is_raised(self, text: str) -> None:
        """Whatever is written is an endpoint or a ValueError."""
        try:
            backend = parse_endpoint(text)
        except ValueError:
            return
        self.assertEqual(parse_endpoint(backend.url), backend)
