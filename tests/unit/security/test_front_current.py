"""The web configuration in force, as its files change."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from OpenSSL import SSL
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import ConfigError
from mpp.security.web_config.active_config import ActiveConfig
from mpp.security.web_config.file import WebConfigFile
from mpp.security.web_config.passwords import Passwords
from mpp.wire.tuned.ecdh_groups import set_curves
from tests.fake_https import FakeAuthority, name_of
from tests.unit.security.test_front_reading import HASH

WEB = "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"


def never(password: bytes, hashed: bytes) -> Deferred[bool]:
    """Verify no password."""
    return Deferred()


class CurrentTests(SynchronousTestCase):
    """A folder with a web configuration and a certificate."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.clock = Clock()
        self.registry = CollectorRegistry()
        self.authority = FakeAuthority()
        self.issue("localhost")
        self.write("web.yml", WEB)

    def write(self, name: str, text: str | bytes) -> None:
        """Replace a file at once."""
        fresh = self.folder / "fresh"
        fresh.write_bytes(text.encode() if isinstance(text, str) else text)
        os.replace(fresh, self.folder / name)

    def issue(self, name: str) -> None:
        """Write a new certificate and key."""
        certificate, begin, key = self.authority.issue(name).partition(b"-----BEGIN PRIVATE KEY-----")
        self.write("cert.pem", certificate)
        self.write("key.pem", begin + key)

    def current(self) -> ActiveConfig:
        passwords = Passwords(never, never, self.clock)
        current = ActiveConfig(passwords, self.clock)
        self.file = WebConfigFile(str(self.folder / "web.yml"), current, self.registry.register)
        return current

    def connected(self, current: ActiveConfig) -> SSL.Connection:
        """Return the client's end of a connection."""
        server = current.serverConnectionForTLS(None)
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        server.set_accept_state()
        client.set_connect_state()
        shake_hands(client, server)
        return client

    def shown(self, current: ActiveConfig) -> str:
        """Return the name in the certificate that a client would be shown."""
        certificate = self.connected(current).get_peer_certificate()
        assert certificate is not None
        return name_of(certificate)

    def later(self) -> None:
        self.file.refresh()

    def good(self) -> float | None:
        return self.registry.get_sample_value("mpp_web_config_last_reload_successful")

    def test_certificate_replaced(self) -> None:
        """A new certificate is shown on connections that begin after the next look."""
        current = self.current()
        self.assertEqual(self.shown(current), "localhost")
        self.issue("elsewhere")
        self.assertEqual(self.shown(current), "localhost")
        self.later()
        self.assertEqual(self.shown(current), "elsewhere")
        self.assertEqual(self.good(), 1)

    def test_whole_chain_is_shown(self) -> None:
        """Certificates after the first are shown as well, and what stands before a key does not matter."""
        self.write("cert.pem", (self.folder / "cert.pem").read_bytes() + b"text\n" + self.authority.pem)
        parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        self.write("key.pem", parameters + (self.folder / "key.pem").read_bytes())
        chain = self.connected(self.current()).get_peer_cert_chain()
        assert chain is not None
        self.assertEqual([name_of(each) for each in chain], ["localhost", "mpp test CA"])

    def test_asked_clients(self) -> None:
        """A client that is asked for a certificate is told whose are taken."""
        other = FakeAuthority("other CA")
        self.write("ca.pem", self.authority.pem + other.pem)
        self.write("web.yml", WEB.replace("}", ", client_auth_type: RequestClientCert, client_ca_file: ca.pem}"))
        names = self.connected(self.current()).get_client_ca_list()
        self.assertEqual([dict(name.get_components())[b"CN"] for name in names], [b"mpp test CA", b"other CA"])

    def test_not_deprecated(self) -> None:
        """Nothing is used that pyOpenSSL is going to drop."""
        self.write("ca.pem", self.authority.pem)
        self.write("cert.pem", (self.folder / "cert.pem").read_bytes() + self.authority.pem)
        self.write("web.yml", WEB.replace("}", ", client_auth_type: RequestClientCert, client_ca_file: ca.pem}"))
        self.connected(self.current())
        self.assertEqual([warning["message"] for warning in self.flushWarnings()], [])

    def test_certificate_and_key_may_be_inline(self) -> None:
        """Certificate and key may stand in the file itself."""
        texts = ((self.folder / name).read_text().strip().replace("\n", "\n    ") for name in ("cert.pem", "key.pem"))
        self.write("web.yml", "tls_server_config:\n  cert: |\n    {}\n  key: |\n    {}\n".format(*texts))
        self.assertEqual(self.shown(self.current()), "localhost")

    def test_broken_file_changes_only_the_metric(self) -> None:
        """What is broken changes nothing but the metric, until it is mended."""
        current = self.current()
        for text in ("tls_server_config: [", "tls_server_config: {cert_file: gone.pem, key_file: key.pem}", "{}", "rate_limit:"):
            self.write("web.yml", text)
            self.later()
            self.assertEqual(self.shown(current), "localhost")
            self.assertEqual(self.good(), 0)
        self.write("web.yml", WEB + f"basic_auth_users: {{alice: {HASH}}}")
        self.later()
        self.assertEqual(self.good(), 1)
        self.assertEqual(list(current.config.users), [b"alice"])

    def test_mended_elsewhere(self) -> None:
        """A file that only the broken configuration names is watched, too."""
        self.current()
        self.write("web.yml", WEB.replace("cert.pem", "new.pem"))
        self.later()
        self.assertEqual(self.good(), 0)
        os.replace(self.folder / "cert.pem", self.folder / "new.pem")
        self.later()
        self.assertEqual(self.good(), 1)

    def test_key_of_another(self) -> None:
        """A certificate that was replaced before its key does not take effect alone."""
        current = self.current()
        key = (self.folder / "key.pem").read_bytes()
        self.issue("elsewhere")
        fresh = (self.folder / "key.pem").read_bytes()
        self.write("key.pem", key)
        self.later()
        self.assertEqual(self.shown(current), "localhost")
        self.assertEqual(self.good(), 0)
        self.write("key.pem", fresh)
        self.later()
        self.assertEqual(self.shown(current), "elsewhere")

    def test_limit_lives_on(self) -> None:
        """A change elsewhere does not refill the rate limit."""
        limit = "rate_limit: {interval: 1h, burst: 1}\n"
        self.write("web.yml", limit)
        current = self.current()
        self.assertEqual([current.allows(), current.allows()], [True, False])
        self.write("web.yml", limit + "# more")
        self.later()
        self.assertFalse(current.allows())

    def test_file_without_users_needs_an_explicit_reload(self) -> None:
        """A file with no users any more is not taken over by itself, but by an explicit reload."""
        users = WEB + f"basic_auth_users: {{alice: {HASH}}}\n"
        self.write("web.yml", users)
        current = self.current()
        self.write("web.yml", WEB + "basic_auth_users: {}\n")
        self.later()
        self.assertEqual((list(current.config.users), self.good()), ([b"alice"], 0))
        self.assertEqual(
            self.file.problem,
            "basic_auth_users: no user is left, so no client would need a password;"
            " not activated without an explicit reload (SIGHUP or POST /mpp/reload)",
        )
        self.assertTrue(self.file.take_over(self.file.read()))
        self.assertEqual((list(current.config.users), self.good(), self.file.problem), ([], 1, ""))
        self.assertFalse(self.file.refresh())
        self.assertFalse(self.file.take_over(self.file.read()))

    def test_unprotected_by_a_word(self) -> None:
        """An explicit reload takes over no file that has no key, is broken, gone, a folder, or without TLS."""
        current = self.current()
        for text in ("", "# nothing", "{}", "~", "basic_auth_users: {}", "tls_server_config: [", None):
            with self.subTest(text=text):
                if text is None:
                    os.remove(self.folder / "web.yml")
                    (self.folder / "web.yml").mkdir()
                else:
                    self.write("web.yml", text)
                error = self.assertRaises(ConfigError, self.file.read)
                self.assertEqual((error.option, self.good()), ("--web-config", 0))
                self.assertTrue(self.file.problem)
                self.assertEqual(self.shown(current), "localhost")

    def test_read_but_not_taken_over(self) -> None:
        """A change that was read for a reload that failed is found by the next look."""
        current = self.current()
        self.write("web.yml", WEB + f"basic_auth_users: {{alice: {HASH}}}\n")
        self.file.read()
        self.assertEqual(list(current.config.users), [])
        self.later()
        self.assertEqual(list(current.config.users), [b"alice"])

    def test_unchanged_file_keeps_tls_sessions(self) -> None:
        """A file that says the same as before makes no difference to TLS sessions; after a broken one all is well again."""
        current = self.current()
        self.write("web.yml", "broken: [")
        self.later()
        connection = current.serverConnectionForTLS(None).get_context()
        self.write("web.yml", f"# the same\n{WEB}")
        self.assertFalse(self.file.refresh())
        self.assertEqual((self.good(), self.file.problem), (1, ""))
        self.assertIs(current.serverConnectionForTLS(None).get_context(), connection)

    def test_written_slowly(self) -> None:
        """Wherever a writer pauses, no state of the file lets in anybody without a password and a certificate."""
        text = f"""rate_limit: {{interval: 1ms, burst: 9}}
basic_auth_users:
  alice: {HASH}
  bob: {HASH}
tls_server_config:
  cert_file: cert.pem
  key_file: key.pem
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans:
    - a
    - b
"""
        self.write("ca.pem", self.authority.pem)
        self.write("web.yml", text)
        current = self.current()
        for written in range(len(text) + 1):
            self.write("web.yml", text[:written])
            self.later()
            tls = current.config.tls
            assert tls is not None
            self.assertIn(b"alice", current.config.users, text[:written])
            self.assertEqual((tls.client_auth.word, bool(tls.client_ca)), ("RequireAndVerifyClientCert", True), text[:written])
            self.assertIsNotNone(tls.allowed_sans, text[:written])
        self.assertEqual(self.good(), 1)

    def test_error_at_the_start_names_file_and_key(self) -> None:
        """What is wrong at the start is said in one line with file and key."""
        self.write("other.pem", self.authority.issue("x"))
        self.write("encrypted.pem", ENCRYPTED)
        self.write("weak.pem", WEAK)
        for text, message in (
            (WEB.replace("cert.pem", "gone.pem"), "line 1: tls_server_config.cert_file: '{}/gone.pem' cannot be read (No such"),
            (WEB.replace("cert.pem", "web.yml"), "tls_server_config.cert_file: '{}/web.yml' is not a certificate in PEM"),
            (
                WEB.replace("cert.pem", "weak.pem"),
                "cert_file: '{}/weak.pem' has a certificate that OpenSSL rejects; its",
            ),
            (
                WEB.replace("key.pem", "other.pem"),
                "key_file: '{}/other.pem' is not a private key in PEM without a passphrase, or",
            ),
            (WEB.replace("key.pem", "encrypted.pem"), "key_file: '{}/encrypted.pem' is not a private key in PEM without"),
            (
                WEB.replace("}", ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: web.yml}"),
                "tls_server_config.client_ca_file: '{}/web.yml' is not a certificate in PEM",
            ),
        ):
            with self.subTest(text=text):
                self.write("web.yml", text)
                error = self.assertRaises(ConfigError, self.current)
                self.assertEqual(error.option, "--web-config")
                self.assertIn(message.format(self.folder), str(error))
        self.write("web.yml", b"\xff")
        self.assertIn("not text in UTF-8", str(self.assertRaises(ConfigError, self.current)))
        os.remove(self.folder / "web.yml")
        self.assertIn("web.yml: cannot be read (No such file", str(self.assertRaises(ConfigError, self.current)))

    def test_curves_are_offered_in_their_order(self) -> None:
        """Several curves are taken in their order; so what pyOpenSSL hides is still there."""
        self.write("web.yml", WEB.replace("}", ", curve_preferences: [CurveP384, CurveP256]}"))
        current = self.current()
        self.assertEqual(self.shown(current), "localhost")
        self.assertTrue(set_curves(SSL.Context(SSL.TLS_SERVER_METHOD), ["X25519", "P-256"]))
        self.assertFalse(set_curves(SSL.Context(SSL.TLS_SERVER_METHOD), ["nonsense"]))


def shake_hands(client: SSL.Connection, server: SSL.Connection) -> None:
    """Let two ends in memory agree."""
    done = 0
    while done < 2:
        done = 0
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
                done += 1
            except SSL.WantReadError:
                pass
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65536))


ENCRYPTED = """-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGjMF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBA=
-----END ENCRYPTED PRIVATE KEY-----
"""

# Of a key of 512 bits.
WEAK = """-----BEGIN CERTIFICATE-----
MIIBFjCBwQIUObsBIb2Kb+EyXnBiWH9RzGZxNHwwDQYJKoZIhvcNAQELBQAwDDEK
MAgGA1UEAwwBeDAgFw0yNjExMjMwMTEyMzlaGA8yMTI2MTAzMDAxMTIzOVowDDEK
MAgGA1UEAwwBeDBcMA0GCSqGSIb3DQEBAQUAA0sAMEgCQQCvYqZszYfL9AZbTZ7w
qPocTSQ+XH+Z0OiRFPyidlDcr5DFabM8FlzcE34r1eTkr1RuGWcYiDO/o/RA6QFx
4UTxAgMBAAEwDQYJKoZIhvcNAQELBQADQQB/mpX3w9r9bMYUoYnrlxC6SMQ48hZf
9cvdOpURNJtpRm+kpqTyyZu6ovQ4ZVAKV194U9knTCM1RU01qG/YeM75
-----END CERTIFICATE-----
"""
