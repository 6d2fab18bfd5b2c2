"""How backends are spoken to, in the configuration file."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.config_file import read_text
from mpp.http_config import HTTPConfig, HTTPConfigs, fits
from mpp.locators.endpoints import parse_endpoint

BASIC = "basic_auth: {username: u, password_file: p}"

UNDERSTOOD: list[tuple[str, HTTPConfigs]] = [
    ("port: 1\n", HTTPConfigs()),
    ("http_config: {}\n", HTTPConfigs()),
    (f"http_config: {{{BASIC}}}\n", HTTPConfigs(HTTPConfig(username="u", password_file="/etc/mpp/p"))),
    (
        "http_config: {basic_auth: {username_file: /u, password_file: /p}}\n",
        HTTPConfigs(HTTPConfig(username_file="/u", password_file="/p")),
    ),
    ("http_config: {authorization: {credentials_file: t}}\n", HTTPConfigs(HTTPConfig(credentials_file="/etc/mpp/t"))),
    (
        "http_config: {authorization: {type: Token, credentials_file: /t}}\n",
        HTTPConfigs(HTTPConfig(auth_type="Token", credentials_file="/t")),
    ),
    (
        "http_config:\n  tls_config:\n    ca_file: ca\n    cert_file: /c\n    key_file: /k\n    server_name: prom\n"
        "    insecure_skip_verify: false\n    min_version: TLS13\n",
        HTTPConfigs(
            HTTPConfig(
                ca_file="/etc/mpp/ca",
                cert_file="/c",
                key_file="/k",
                server_name="prom",
                insecure_skip_verify=False,
                min_version="TLS13",
            )
        ),
    ),
    (
        f"backends:\n- url: HTTPS://Prom-A/x/\n  http_config: {{{BASIC}}}\n- url: https://*.example.org:*\n  http_config: {{}}\n",
        HTTPConfigs(
            rules=(
                ("https://prom-a:443/x", HTTPConfig(username="u", password_file="/etc/mpp/p")),
                ("https://*.example.org:*", HTTPConfig()),
            )
        ),
    ),
]

REFUSED: list[tuple[str, str]] = [
    ("http_config: x\n", "f:1: http_config: expected keys and values, found the text 'x'"),
    ("http_config: {basicauth: {}}\n", "f:1: http_config: basicauth: no such key; did you mean basic_auth?"),
    (
        "http_config:\n  basic_auth:\n    username: u\n    password: cr3t\n",
        "f:4: http_config: basic_auth: password: a secret has no place in this file; give password_file instead",
    ),
    ("http_config: {basic_auth: {password_file: p}}\n", "f:1: http_config: basic_auth: username: missing"),
    ("http_config: {basic_auth: {username: u}}\n", "f:1: http_config: basic_auth: password_file: missing"),
    (
        "http_config: {authorization: {credentials: cr3t}}\n",
        "f:1: http_config: authorization: credentials: a secret has no place in this file; give credentials_file instead",
    ),
    ("http_config: {authorization: {}}\n", "f:1: http_config: authorization: credentials_file: missing"),
    (
        "http_config: {authorization: {type: basic, credentials_file: c}}\n",
        "f:1: http_config: authorization: type: is for other schemes; give basic_auth instead",
    ),
    (
        f"http_config: {{{BASIC}, authorization: {{credentials_file: c}}}}\n",
        "f:1: http_config: authorization: given together with basic_auth; only one of them can be used",
    ),
    (
        "http_config: {tls_config: {cert_file: c}}\n",
        "f:1: http_config: tls_config: key_file: missing; a cert_file is of no use without it",
    ),
    (
        "http_config: {tls_config: {min_version: TLS11}}\n",
        "f:1: http_config: tls_config: min_version: expected TLS12 or TLS13; mpp speaks nothing older",
    ),
    (
        "http_config: {tls_config: {key: cr3t}}\n",
        "f:1: http_config: tls_config: key: a secret has no place in this file; give key_file instead",
    ),
    ("http_config: {proxy_url: x}\n", "f:1: http_config: proxy_url: not supported"),
    ("backends: {}\n", "f:1: backends: expected a list, found keys and values"),
    ("backends: [x]\n", "f:1: backends: entry 1: expected keys and values, found the text 'x'"),
    ("backends:\n- http_config: {}\n", "f:2: backends 1: url: missing"),
    ("backends:\n- url: a:1\n", "f:2: backends 1: http_config: missing"),
    (
        "backends:\n- url: a\n  http_config: {}\n",
        "f:2: backends 1: url: no port given: expected host:port, like prom-a:9090, or a URL",
    ),
    (
        "backends:\n- url: a:1\n  htp_config: {}\n  http_config: {}\n",
        "f:3: backends 1: htp_config: no such key; did you mean http_config?",
    ),
]


class HTTPConfigTests(SynchronousTestCase):
    """Prometheus' forms."""

    def test_understood(self) -> None:
        """What Prometheus takes for its own targets counts for backends, all or some of them."""
        for text, expected in UNDERSTOOD:
            with self.subTest(text=text):
                reading = read_text(text, "f", "/etc/mpp")
                self.assertEqual((reading.errors, reading.http), ((), expected))

    def test_refused(self) -> None:
        """What is wrong is told with its line and the way to it; secrets are neither taken nor shown."""
        for text, message in REFUSED:
            with self.subTest(text=text):
                errors = [str(error) for error in read_text(text, "f").errors]
                self.assertEqual(errors, [message])
                self.assertNotIn("cr3t", message)


class FitsTests(SynchronousTestCase):
    """Which backend an entry is for."""

    def test_urls(self) -> None:
        """A star stands for anything, everything else for itself; the first entry that fits counts."""
        backend = parse_endpoint("https://prom-a.example.org/x")
        for url in ("https://prom-a.example.org:443/x", "https://*", "*.example.org*", "https://*:*/x"):
            self.assertTrue(fits(url, backend), url)
        for url in ("https://prom-a.example.org:443", "https://prom-a?example.org:443/x", "http://*", ""):
            self.assertFalse(fits(url, backend), url)
        first, second, other = HTTPConfig(username="1"), HTTPConfig(username="2"), HTTPConfig(username="3")
        configs = HTTPConfigs(other, (("*-b.*", first), ("https://*", second), ("*", first)))
        self.assertEqual([configs.of(backend), configs.of(parse_endpoint("b:1"))], [second, first])
        self.assertIs(HTTPConfigs(other).of(backend), other)
