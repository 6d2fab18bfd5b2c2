"""How backends are spoken to, in the configuration file."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mpp.config.endpoint_patterns import parse_url_pattern
from mpp.config.file import read_text
from mpp.config.loader import ConfigSources
from mpp.core.backend_url import parse_endpoint
from mpp.core.http_config import ConfiguredHeader, DiscoverySource, HTTPConfig, HTTPConfigs, LocatorRule
from mpp.core.url_pattern import URLPattern
from mpp.discovery.kinds.all_kinds import BY_NAME

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
        "http_config: {http_headers: {X-Scope-OrgID: {values: [a, 1]}, x-b: {secrets: [cr3t], files: [f, /g]}}}\n",
        HTTPConfigs(
            HTTPConfig(
                headers=(
                    ConfiguredHeader("X-Scope-OrgID", values=("a", "1")),
                    ConfiguredHeader("x-b", secrets=("cr3t",), files=("/etc/mpp/f", "/g")),
                )
            )
        ),
    ),
    (
        f"backends:\n- url: HTTPS://P-A:443/x/\n  http_config: {{{BASIC}}}\n- url: https://*.Example.org:*\n  http_config: {{}}\n"
        "- url: '*'\n  http_config: {}\n",
        HTTPConfigs(
            rules=(
                (URLPattern("https", "p-a", "443", "/x"), HTTPConfig(username="u", password_file="/etc/mpp/p")),
                (URLPattern("https", "*.example.org", "*", "*"), HTTPConfig()),
                (URLPattern(), HTTPConfig()),
            )
        ),
    ),
    (
        "backends:\n- {url: 'http://p-a:9090', probe-params: namespace=a&x}\n"
        "- {url: 'http://p-b:9090', probe-params: '', http_config: {basic_auth: {username: u, password_file: p}}}\n",
        HTTPConfigs(
            rules=((URLPattern("http", "p-b", "9090", "*"), HTTPConfig(username="u", password_file="/etc/mpp/p")),),
            probe_params=(
                (URLPattern("http", "p-a", "9090", "*"), "namespace=a&x"),
                (URLPattern("http", "p-b", "9090", "*"), ""),
            ),
        ),
    ),
    (
        f"locators:\n- name: kubernetes\n  http_config: {{{BASIC}}}\n- {{name: file-sd, source: t/*.json, http_config: {{}}}}\n"
        "- {name: http-sd, source: http://sd/p, http_config: {}}\n- {name: http-sd, http_config: {}}\n"
        "- {name: dns, source: prom:9090, http_config: {}}\n",
        HTTPConfigs(
            locators=(
                LocatorRule(DiscoverySource("kubernetes"), HTTPConfig(username="u", password_file="/etc/mpp/p")),
                LocatorRule(DiscoverySource("file-sd", "/etc/mpp/t/*.json")),
                LocatorRule(DiscoverySource("http-sd", "http://sd/p")),
                LocatorRule(DiscoverySource("http-sd")),
                LocatorRule(DiscoverySource("dns", "prom:9090")),
            )
        ),
    ),
]

REFUSED: list[tuple[str, str]] = [
    (
        "backends: [{url: '*', probe-params: a b}]\n",
        "f:1: backends 1: probe-params: 'a b' is no query string; expected name=value, several with & between them,"
        " percent-encoded",
    ),
    ("backends: [{url: '*', probe-params: [a]}]\n", "f:1: backends 1: probe-params: expected text, found a list"),
    ("locators: [{name: dns, probe-params: a=b, http_config: {}}]\n", "f:1: locators 1: probe-params: no such key"),
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
        "http_config: {tls_config: {server_name: 'prom.example.org:9090'}}\n",
        "f:1: http_config: tls_config: server_name: expected a host name or an IP address, such as prom.example.org",
    ),
    (
        "http_config: {tls_config: {key: cr3t}}\n",
        "f:1: http_config: tls_config: key: a secret has no place in this file; give key_file instead",
    ),
    ("http_config: {proxy_url: x}\n", "f:1: http_config: proxy_url: not supported"),
    ("http_config: {http_headers: cr3t}\n", "f:1: http_config: http_headers: expected keys and values, found a scalar"),
    ("http_config: {http_headers: [X-A]}\n", "f:1: http_config: http_headers: expected keys and values, found a list"),
    (
        "http_config: {http_headers: {X-A: cr3t}}\n",
        "f:1: http_config: http_headers: X-A: expected keys and values, found a scalar",
    ),
    (
        "http_config:\n  http_headers:\n    X-A:\n      secrets: cr3t\n",
        "f:4: http_config: http_headers: X-A: secrets: expected a list, found a scalar",
    ),
    (
        "http_config: {http_headers: {X-A: {secrets: [true]}}}\n",
        "f:1: http_config: http_headers: X-A: secrets: expected text, found a scalar; put it in quotes if it is meant as text",
    ),
    (
        "http_config: {http_headers: {X-A: {values: []}}}\n",
        "f:1: http_config: http_headers: X-A: values: expected a list, found an empty one",
    ),
    (
        'http_config: {http_headers: {X-A: {secrets: ["cr3\\ncr3t"]}}}\n',
        "f:1: http_config: http_headers: X-A: secrets: has characters that a header must not contain; expected one line",
    ),
    (
        "http_config: {http_headers: {X-A: {secret: [cr3t]}}}\n",
        "f:1: http_config: http_headers: X-A: secret: no such key; did you mean secrets?",
    ),
    (
        "http_config: {http_headers: {X-A: {}}}\n",
        "f:1: http_config: http_headers: X-A: values: missing; expected values, secrets or files",
    ),
    (
        "http_config: {http_headers: {'X-A: cr3t': {values: [a]}}}\n",
        "f:1: http_config: http_headers: entry 1: expected the name of a header, such as X-Scope-OrgID",
    ),
    (
        "http_config:\n  http_headers:\n    X-A: {values: [a]}\n    x-a: {values: [b]}\n",
        "f:4: http_config: http_headers: x-a: is there for the second time; upper and lower case make no difference",
    ),
    (
        "http_config: {http_headers: {authorization: {secrets: [cr3t]}}}\n",
        "f:1: http_config: http_headers: authorization: a reserved header, which cannot be set; "
        "give basic_auth or authorization instead",
    ),
    *(
        (
            f"http_config: {{http_headers: {{{name}: {{values: [a]}}}}}}\n",
            f"f:1: http_config: http_headers: {name}: a reserved header, which cannot be set",
        )
        for name in (
            "Host",
            "User-Agent",
            "Content-Length",
            "Transfer-Encoding",
            "X-Forwarded-For",
            "X-Amz-Date",
            "Accept-Encoding",
        )
    ),
    ("backends: {}\n", "f:1: backends: expected a list, found keys and values"),
    ("backends: [x]\n", "f:1: backends: entry 1: expected keys and values, found the text 'x'"),
    ("backends:\n- http_config: {}\n", "f:2: backends 1: url: missing"),
    ("backends:\n- url: a:1\n", "f:2: backends 1: http_config: missing; expected http_config, probe-params or both"),
    (
        "backends:\n- url: a\n  http_config: {}\n",
        "f:2: backends 1: url: no port given; expected one, like http://prom-a:9090, or :* for every port",
    ),
    (
        "backends:\n- url: a:1\n  htp_config: {}\n  http_config: {}\n",
        "f:3: backends 1: htp_config: no such key; did you mean http_config?",
    ),
    ("locators: {kubernetes: {}}\n", "f:1: locators: expected a list, found keys and values"),
    ("locators:\n- http_config: {}\n", "f:2: locators 1: name: missing"),
    ("locators:\n- name: dns\n", "f:2: locators 1: http_config: missing"),
    ("locators: [{name: kube, http_config: {}}]\n", "f:1: locators 1: name: no such locator; did you mean kubernetes?"),
    ("locators: [{name: file_sd, http_config: {}}]\n", "f:1: locators 1: name: no such locator; did you mean file-sd?"),
    ("locators: [{name: endpoints-file, http_config: {}}]\n", "f:1: locators 1: name: no such locator; did you mean file?"),
    (
        "locators: [{name: zookeeper, http_config: {}}]\n",
        f"f:1: locators 1: name: no such locator; expected one of {', '.join(BY_NAME)}",
    ),
    (
        "locators:\n- name: endpoint\n  source: a:1\n  http_config: {}\n",
        "f:3: locators 1: source: only for file-sd, http-sd, dns; single servers have their place in backends",
    ),
    (
        "locators: [{name: http-sd, source: 'http://u:cr3t@sd/', http_config: {}}]\n",
        "f:1: locators 1: source: a user and password (an @) have no place in this file; give the URL without them",
    ),
    (
        "locators: [{name: http-sd, source: sd, http_config: {}}]\n",
        "f:1: locators 1: source: 'sd' is not a URL such as http://host:8080/path",
    ),
    (
        "locators:\n- {name: dns, http_config: {}}\n- {name: dns, source: 'a:1', http_config: {}}\n",
        "f:3: locators 2: name: never applies; an earlier entry applies to the same backends",
    ),
]

NOT_CONFIGURED: list[tuple[str, str, str]] = [
    (
        "kubernetes",
        "",
        "name: the locator kubernetes is not configured; expected kube-service-name or kube-pod-label-selector, too",
    ),
    ("marathon", "", "name: the locator marathon is not configured; expected marathon-url, too"),
    ("file-sd", "b.json", "source: there is no such file-sd; expected a configured one, written in the same way"),
    ("http-sd", "http://other/", "source: there is no such http-sd; expected a configured one, written in the same way"),
    ("dns", "", ""),
    ("dns", "b:1", ""),
    ("file-sd", "", ""),
    ("file-sd", "a.json", ""),
    ("http-sd", "http://sd/", ""),
]


class HTTPConfigTests(SynchronousTestCase):
    """Prometheus' forms."""

    def test_settings_of_prometheus_are_understood(self) -> None:
        """What Prometheus takes for its own targets counts for backends, all or some of them."""
        for text, expected in UNDERSTOOD:
            with self.subTest(text=text):
                reading = read_text(text, "f", "/etc/mpp")
                self.assertEqual((reading.errors, reading.http), ((), expected))
                self.assertNotIn("cr3t", repr(reading.http))

    def test_errors_name_line_and_key_without_secrets(self) -> None:
        """What is wrong is told with its line and the way to it; secrets are neither taken nor shown."""
        for text, message in REFUSED:
            with self.subTest(text=text):
                errors = [str(error) for error in read_text(text, "f").errors]
                self.assertEqual(errors, [message])
                self.assertNotIn("cr3t", message)


class NotConfiguredTests(SynchronousTestCase):
    """Locators that the file speaks of, and that there are or are not."""

    def test_unconfigured_locator_is_rejected(self) -> None:
        """Whoever is named has to be configured: in the file, on the command line, or in the environment."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        file = folder / "mpp.yaml"
        environ = {"MPP_DNS": "a:1 b:1", "MPP_HTTP_SD": "http://u:cr3t@sd/"}
        for name, source, message in NOT_CONFIGURED:
            with self.subTest(name=name, source=source):
                of = f"  source: {source}\n" if source else ""
                file.write_text(f"file-sd: a.json\nlocators:\n- name: {name}\n{of}  http_config: {{}}\n")
                errors = ConfigSources(("--config", str(file)), environ).read().errors
                line = 4 if source else 3
                self.assertEqual(
                    [str(error) for error in errors], [f"{file}:{line}: locators 1: {message}"] if message else [], errors
                )

    def test_other_mistakes(self) -> None:
        """While the locator's own option makes no sense, nobody is told that it is missing."""
        file = Path(self.mktemp())
        file.write_text("endpoint: a:1\nhttp-sd: x\nlocators: [{name: http-sd, http_config: {}}]\n")
        errors = ConfigSources(("--config", str(file)), {}).read().errors
        self.assertEqual([error.option for error in errors], [f"{file}:2: http-sd"])


class FitsTests(SynchronousTestCase):
    """Which backend an entry is for."""

    def test_first_matching_backend_entry_counts(self) -> None:
        """The first entry under ``backends`` that fits a server counts, and without one the general configuration does."""
        first, second, other = HTTPConfig(username="1"), HTTPConfig(username="2"), HTTPConfig(username="3")
        patterns = ("*://*-b.*:*", "https://*:*", "*")
        configs = HTTPConfigs(other, tuple(zip(map(parse_url_pattern, patterns), (first, second, first), strict=True)))
        backend = parse_endpoint("https://prom-a.example.org/x")
        self.assertEqual([configs.of(backend), configs.of(parse_endpoint("b:1"))], [second, first])
        self.assertIs(HTTPConfigs(other).of(backend), other)

    def test_url_wins_over_locator_and_general_settings(self) -> None:
        """A URL that fits wins over who found it, and that over the general; of locators the first in the file counts."""
        backend, general = parse_endpoint("https://prom-a"), HTTPConfig(username="general")
        by_url, kube, one, dns = (HTTPConfig(username=name) for name in ("url", "kube", "one", "dns"))
        locators = (
            LocatorRule(DiscoverySource("kubernetes"), kube),
            LocatorRule(DiscoverySource("dns", "one:1"), one),
            LocatorRule(DiscoverySource("dns"), dns),
        )
        configs = HTTPConfigs(general, ((parse_url_pattern("*://*prom-b*:*"), by_url),), locators)
        origins = [
            DiscoverySource("dns", "two:1"),
            DiscoverySource("dns", "one:1"),
            DiscoverySource("kubernetes"),
            DiscoverySource("endpoint"),
        ]
        found = [configs.of(backend, origins[start:end]) for start, end in ((0, 4), (0, 2), (0, 1), (3, 4), (0, 0))]
        self.assertEqual(found, [kube, one, dns, general, general])
        self.assertIs(configs.of(parse_endpoint("https://prom-b"), origins), by_url)
