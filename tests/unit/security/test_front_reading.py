"""Web configuration files: what they say, and what is wrong with them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.security.web_config.ciphers import CIPHERS
from mpp.security.web_config.parser import read_web_config
from mpp.security.web_config.sections import WebConfigError
from mpp.security.web_config.values import ClientAuth, RateLimit, WebConfig

HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
TLS = "tls_server_config: {cert_file: c.pem, key_file: k.pem, "

EVERYTHING = f"""
tls_server_config:
  cert_file: tls/cert.pem
  key_file: /etc/key.pem
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans: [grafana.example.org, 127.0.0.1]
  min_version: TLS12
  max_version: TLS13
  cipher_suites:
    - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
    - TLS_AES_128_GCM_SHA256
  prefer_server_cipher_suites: false
  curve_preferences: [X25519, CurveP256]
http_server_config:
  http2: true
  headers:
    Content-Security-Policy: default-src 'self'
    X-Frame-Options: sameorigin
    X-Content-Type-Options: nosniff
    X-XSS-Protection: 0
    Strict-Transport-Security: max-age=31536000
basic_auth_users:
  alice: {HASH}
  1: {HASH}
rate_limit:
  interval: 10ms
  burst: 50
"""

WRONG = (
    ("tls_server_config:\n  cert_fil: x", "line 2: tls_server_config.cert_fil: no such key; did you mean cert_file?"),
    ("tls: x", "expected one of tls_server_config, http_server_config, basic_auth_users, rate_limit"),
    ("- a", "expected sections such as tls_server_config, found a list"),
    ("a: b: c", "line 1: not YAML"),
    ("tls_server_config: []", "line 1: tls_server_config: expected keys and values, found a list"),
    ("tls_server_config: {cert_file: [a]}", "line 1: tls_server_config.cert_file: expected text, found a list"),
    ("tls_server_config: {cert_file: a}", "tls_server_config: key_file (or key) is missing"),
    ("tls_server_config: {key_file: a}", "tls_server_config: cert_file (or cert) is missing"),
    ("tls_server_config: {client_auth_type: NoClientCert}", "tls_server_config: cert_file (or cert) is missing"),
    ("tls_server_config: {min_version: TLS12}", "min_version: has no effect without cert_file and key_file"),
    (TLS + "client_auth_type: RequireAndVerify}", "did you mean RequireAndVerifyClientCert?"),
    (TLS + "client_ca_file: ca.pem}", "line 1: tls_server_config.client_ca_file: has no effect without client_auth_type"),
    (
        TLS + "client_auth_type: RequestClientCert, client_allowed_sans: [a]}",
        "client_allowed_sans: requires client_auth_type RequireAnyClientCert or RequireAndVerifyClientCert",
    ),
    (TLS + "client_allowed_sans: a}", "client_allowed_sans: expected a list, found text"),
    (TLS + "client_allowed_sans: [[a]]}", "client_allowed_sans: expected a list of texts, found a list in it"),
    (
        TLS + "min_version: TLS11}",
        "min_version: TLS11 is not served: deprecated, and no client needs it; expected TLS12 or TLS13",
    ),
    (TLS + "max_version: TLS10}", "max_version: TLS10 is not served"),
    (TLS + "min_version: '1.2'}", "min_version: '1.2' is no version of TLS; expected one of TLS12, TLS13"),
    (TLS + "min_version: TLS13, max_version: TLS12}", "max_version: leaves no version of TLS"),
    (TLS + "max_version: TLS12, cipher_suites: [TLS_AES_128_GCM_SHA256]}", "max_version: leaves no version of TLS"),
    (TLS + "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA38]}", "did you mean TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384?"),
    (TLS + "cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}", "cipher_suites: 'TLS_RSA_WITH_RC4_128_SHA' is no cipher suite"),
    (TLS + "curve_preferences: [P-256]}", "curve_preferences: 'P-256' is no curve; expected one of X25519, CurveP256"),
    (TLS + "prefer_server_cipher_suites: 1}", "prefer_server_cipher_suites: expected true or false, found '1'"),
    ("http_server_config: {http2: maybe}", "http_server_config.http2: expected true or false, found 'maybe'"),
    ("http_server_config:\n  headers:\n    Server: x", "line 3: http_server_config.headers.Server: no such key"),
    ("http_server_config: {headers: {X-Frame-Options: DENY}}", "X-Frame-Options: expected deny or sameorigin, found 'DENY'"),
    ('http_server_config: {headers: {X-XSS-Protection: "1\\n2"}}', "X-XSS-Protection: expected printable ASCII on one line"),
    ("basic_auth_users:\n  alice: s3cr3t", "line 2: basic_auth_users.alice: expected a bcrypt hash"),
    (
        "basic_auth_users: {alice: }",
        "basic_auth_users.alice: expected a bcrypt hash ($2y$10$ and 53 more characters), found nothing",
    ),
    (
        "# users\nbasic_auth_users:\n",
        "line 2: basic_auth_users: expected user names with bcrypt hashes, or {} for no user, found nothing",
    ),
    ("basic_auth_users: null", "line 1: basic_auth_users: expected user names"),
    ("basic_auth_users: ''", "line 1: basic_auth_users: expected user names with bcrypt hashes, or {} for no user, found text"),
    (
        f"tls_server_config: ~\nbasic_auth_users: {{a: {HASH}}}",
        "line 1: tls_server_config: expected keys and values, found nothing",
    ),
    ("basic_auth_users: {}\nhttp_server_config:", "line 2: http_server_config: expected keys and values, found nothing"),
    ("http_server_config: {headers: }", "http_server_config.headers: expected keys and values, found nothing"),
    ("http_server_config: {headers: {X-Frame-Options: }}", "headers.X-Frame-Options: expected text, found nothing"),
    ("http_server_config: {http2: }", "http_server_config.http2: expected true or false, found nothing"),
    ("rate_limit:", "line 1: rate_limit: expected keys and values, found nothing"),
    ("rate_limit: {interval: , burst: 1}", "rate_limit.interval: expected text, found nothing"),
    ("rate_limit: {interval: 1s, burst: }", "rate_limit.burst: expected text, found nothing"),
    ("tls_server_config: {cert_file: , key_file: }", "tls_server_config.cert_file: expected text, found nothing"),
    ("tls_server_config: {client_ca: }", "tls_server_config.client_ca: expected text, found nothing"),
    (TLS + "client_auth_type: }", "tls_server_config.client_auth_type: expected text, found nothing"),
    (TLS + "client_auth_type: RequireAnyClientCert, client_ca_file: }", "client_ca_file: expected text, found nothing"),
    (
        TLS + "client_auth_type: RequireAnyClientCert, client_allowed_sans: }",
        "client_allowed_sans: expected a list, found nothing",
    ),
    (TLS + "client_ca_file: ca.pem, client_ca: }", "tls_server_config.client_ca: expected text, found nothing"),
    (f"basic_auth_users: {{'a:b': '{HASH}'}}", "basic_auth_users.a:b: a user name with a colon cannot be sent"),
    (f"basic_auth_users:\n  a: {HASH}\n  a: {HASH}", "line 3: a repeated key"),
    ("rate_limit: {interval: 10, burst: 1}", "rate_limit.interval: '10' has no unit (the toolkit takes it for nanoseconds)"),
    ("rate_limit: {interval: soon, burst: 1}", "rate_limit.interval: 'soon' is not a duration"),
    ("rate_limit: {interval: 1s, burst: -1}", "rate_limit.burst: '-1'"),
    ("rate_limit: {interval: 1s}", "rate_limit.interval: a burst of 0 lets no request through"),
)


class ReadingTests(SynchronousTestCase):
    """Reading the file."""

    def test_all_settings_of_the_exporter_toolkit_are_parsed(self) -> None:
        """All that the exporter-toolkit knows is understood, and paths are relative to the file."""
        config = read_web_config(EVERYTHING, "/etc/mpp")
        tls = config.tls
        assert tls is not None
        self.assertEqual(config.paths, ("/etc/mpp/tls/cert.pem", "/etc/key.pem", "/etc/mpp/ca.pem"))
        self.assertIs(tls.client_auth, ClientAuth.REQUIRE_AND_VERIFY)
        self.assertEqual(tls.allowed_sans, ("grafana.example.org", "127.0.0.1"))
        self.assertEqual((tls.min_version, tls.max_version, tls.server_prefers), (2, 3, False))
        self.assertEqual(tls.ciphers, ("ECDHE-RSA-AES256-GCM-SHA384",))
        self.assertEqual(tls.curves, ("X25519", "P-256"))
        self.assertEqual(config.users, {b"alice": HASH.encode(), b"1": HASH.encode()})
        self.assertIn((b"X-XSS-Protection", b"0"), config.headers)
        self.assertEqual(len(config.headers), 5)
        self.assertEqual(config.rate_limit, RateLimit(0.01, 50))
        self.assertEqual(config.notes, ("line 16: http_server_config.http2: HTTP/2 is not served, clients speak HTTP/1.1",))

    def test_empty_sections_ask_for_nothing(self) -> None:
        """A section with ``{}`` is valid and protects nothing, which a warning says."""
        note = "nothing is protected: there is no user in basic_auth_users, and no certificate in tls_server_config"
        for text in (
            "tls_server_config: {}\nbasic_auth_users: {}\nrate_limit: {interval: 0, burst: 0}",
            "basic_auth_users: {}",
            "tls_server_config: {}",
            "http_server_config: {}",
        ):
            with self.subTest(text=text):
                self.assertEqual(read_web_config(text, ""), WebConfig(notes=(note,)))

    def test_half_protected(self) -> None:
        """Where one of passwords and TLS is there, an empty section for the other is named with its line."""
        tls = TLS.removesuffix(", ") + "}"
        for text, notes in (
            (tls, ()),
            (f"basic_auth_users: {{a: {HASH}}}", ()),
            (f"{tls}\nbasic_auth_users: {{}}", ("line 2: basic_auth_users: is empty, so clients need no password",)),
            (
                f"tls_server_config: {{}}\nbasic_auth_users: {{a: {HASH}}}",
                ("line 1: tls_server_config: is empty, so connections are not encrypted",),
            ),
        ):
            with self.subTest(text=text):
                self.assertEqual(read_web_config(text, "").notes, notes)

    def test_no_key(self) -> None:
        """A file without any key, as one that was emptied, is no web configuration."""
        for text in ("", "\n", "# nothing", "{}", "~", "null", "---\n", "--- {}\n...\n", "\ufeff"):
            with self.subTest(text=text):
                error = self.assertRaises(WebConfigError, read_web_config, text, "")
                self.assertIn("has no key at all; expected tls_server_config, http_server_config,", str(error))

    def test_path_wins_over_inline_certificate(self) -> None:
        """Certificates may stand in the file itself; a path wins over them."""
        config = read_web_config("tls_server_config: {cert: CERT, key: KEY, key_file: k}", "")
        assert config.tls is not None
        self.assertEqual((config.tls.certificate.text, config.tls.key.path), ("CERT", "k"))
        self.assertNotIn("KEY", repr(read_web_config("tls_server_config: {cert: CERT, key: KEY}", "")))

    def test_old_word(self) -> None:
        """The old name of a client_auth_type is understood."""
        config = read_web_config(TLS + "client_auth_type: RequireClientCert}", "")
        assert config.tls is not None
        self.assertIs(config.tls.client_auth, ClientAuth.REQUIRE_ANY)

    def test_only_ciphers_of_13(self) -> None:
        """A list with nothing for TLS 1.2 leaves TLS 1.3."""
        config = read_web_config(TLS + "cipher_suites: [TLS_AES_128_GCM_SHA256]}", "")
        assert config.tls is not None
        self.assertEqual((config.tls.ciphers, config.tls.min_version), ((), 3))

    def test_all_ciphers(self) -> None:
        """Every cipher suite of Go that is for TLS 1.2 has a name in OpenSSL."""
        config = read_web_config(TLS + f"cipher_suites: [{', '.join(CIPHERS)}]}}", "")
        assert config.tls is not None
        self.assertEqual(len(set(config.tls.ciphers)), len(CIPHERS))

    def test_errors_name_line_and_key_without_secrets(self) -> None:
        """What is wrong is said with line and key, and without what may be a secret."""
        for text, message in WRONG:
            with self.subTest(text=text):
                error = self.assertRaises(WebConfigError, read_web_config, text, "")
                self.assertIn(message, str(error))
                self.assertNotIn("s3cr3t", str(error))
