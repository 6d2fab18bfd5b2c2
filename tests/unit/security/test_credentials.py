"""What mpp shows to backends, and asks of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import ConfigError
from mpp.core.http.headers import ConfiguredFields
from mpp.core.http_config import ConfiguredHeader, DiscoverySource, HTTPConfig, HTTPConfigs, LocatorRule
from mpp.core.interfaces import IResponse
from mpp.core.model import Backend
from mpp.core.url_pattern import URLPattern
from mpp.security.upstream import backend_credentials
from mpp.security.upstream.authorized_upstreams import AuthorizedUpstreams
from mpp.security.upstream.backend_credentials import BackendCredentials
from tests.fake_https import FakeAuthority
from tests.logged import logged

A, B = (Backend("https", name, 9090) for name in ("prom-a", "prom-b"))


def sent(credentials: BackendCredentials, backend: Backend) -> bytes | None:
    """Return the value of ``Authorization`` that a backend gets."""
    fields = credentials.fields(backend)
    return None if fields is None else fields.lines.removeprefix(b"Authorization: ").removesuffix(b"\r\n")


class CredentialsTests(SynchronousTestCase):
    """Files, and what is made of them."""

    authority = FakeAuthority()

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.lines = logged(self, formatEvent)
        self.age = 0

    def write(self, name: str, content: str | bytes) -> str:
        """Write a file, which is always seen to be another one than before."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.age += 1
        os.utime(path, (self.age, self.age))
        return str(path)

    def problem(self, **config: Any) -> str:
        """Return what is wrong with a configuration."""
        places = {name: f"f:1: {name}" for name in config}
        return str(self.assertRaises(ConfigError, BackendCredentials, HTTPConfigs(HTTPConfig(**config, places=places))))

    def test_nothing_is_sent_where_nothing_is_configured(self) -> None:
        """Nothing is sent where nothing is configured."""
        credentials = BackendCredentials(HTTPConfigs())
        self.assertEqual((credentials.adds_fields, sent(credentials, A), credentials.refresh(0.0)), (False, None, False))

    def test_user_and_password_are_sent_as_basic(self) -> None:
        """User and password are sent as HTTP basic; without the line end that an editor adds."""
        config = HTTPConfig(username_file=self.write("u", "alice\n"), password_file=self.write("p", "s3cr3t\n"))
        credentials = BackendCredentials(HTTPConfigs(rules=((URLPattern(host="*prom-a*"), config),)))
        self.assertTrue(credentials.adds_fields)
        self.assertEqual([sent(credentials, each) for each in (A, B)], [b"Basic YWxpY2U6czNjcjN0", None])

    def test_token_is_sent_with_its_scheme(self) -> None:
        """A token is sent with its scheme."""
        path = self.write("t", "token\n")
        for scheme in ("Bearer", "Token"):
            credentials = BackendCredentials(HTTPConfigs(HTTPConfig(auth_type=scheme, credentials_file=path)))
            self.assertEqual(sent(credentials, A), f"{scheme} token".encode())

    def test_configured_headers_become_fields_in_order(self) -> None:
        """Values, secrets and files become a field each, in this order; a file that changes is read again."""
        path = self.write("h", "three\n")
        header = ConfiguredHeader("X-Tenant", values=("one", "zw\u00f6lf"), secrets=("two",), files=(path,))
        credentials = BackendCredentials(HTTPConfigs(HTTPConfig(credentials_file=self.write("t", "t"), headers=(header,))))
        lines = "Authorization: Bearer t\r\nX-Tenant: one\r\nX-Tenant: zw\u00f6lf\r\nX-Tenant: two\r\nX-Tenant: three\r\n"
        fields = credentials.fields(A)
        assert fields is not None
        self.assertEqual(fields.lines.decode(), lines)
        self.write("h", "thr\nee")
        credentials.refresh(0.0)
        self.assertIs(credentials.fields(A), fields)
        self.write("h", "four")
        credentials.refresh(0.0)
        fields = credentials.fields(A)
        assert fields is not None
        self.assertIn("X-Tenant: four\r\n", fields.lines.decode())

    def test_changed_file_is_read_again(self) -> None:
        """A file that changes is read again; while it is of no use, the credentials stay, and that is told once."""
        path = self.write("t", "one")
        credentials = BackendCredentials(HTTPConfigs(HTTPConfig(credentials_file=path)))
        self.write("t", "two")
        self.assertFalse(credentials.refresh(0.0))
        self.assertEqual(sent(credentials, A), b"Bearer two")
        os.remove(path)
        self.assertFalse(credentials.refresh(0.0) or credentials.refresh(0.0))
        self.assertEqual(sent(credentials, A), b"Bearer two")
        self.write("t", "three")
        credentials.refresh(0.0)
        self.assertEqual(sent(credentials, A), b"Bearer three")
        again = f"backend credentials reloaded from {path}"
        kept = "credentials for the servers were not reloaded, the former ones stay in use"
        gone = f"{kept}: credentials_file: {path}: No such file or directory"
        self.assertEqual(self.lines, [again, gone, again])

    def test_another_authority_means_new_connections(self) -> None:
        """Another authority means other connections; the same one in a file that was touched does not."""
        path = self.write("ca", self.authority.pem)
        credentials = BackendCredentials(HTTPConfigs(HTTPConfig(ca_file=path)))
        before = credentials.tls(A)
        self.assertIs(credentials.tls(A), before)
        self.assertIsNot(credentials.tls(B), before)
        self.write("ca", self.authority.pem)
        self.assertFalse(credentials.refresh(0.0))
        self.assertIs(credentials.tls(A), before)
        self.write("ca", FakeAuthority().pem)
        self.assertTrue(credentials.refresh(0.0))
        self.assertIsNot(credentials.tls(A), before)

    def test_setting_of_a_backend_wins_over_insecure(self) -> None:
        """What is said for a backend wins over --insecure, in both directions."""
        for general, own, verified in ((True, None, False), (True, False, True), (False, True, False), (False, None, True)):
            credentials = BackendCredentials(HTTPConfigs(HTTPConfig(insecure_skip_verify=own)), insecure=general)
            mode = credentials.tls(A).clientConnectionForTLS(None).get_verify_mode()
            self.assertEqual(mode != SSL.VERIFY_NONE, verified, (general, own))

    def test_tls_1_2_is_the_least_version(self) -> None:
        """TLS 1.2 is the least, and may be refused."""
        # The extension "supported versions" of the first message (RFC 8446 section 4.2.1).
        for minimum, versions in (("TLS12", b"\x00\x2b\x00\x05\x04\x03\x04\x03\x03"), ("TLS13", b"\x00\x2b\x00\x03\x02\x03\x04")):
            for insecure in (False, True):
                config = HTTPConfig(min_version=minimum, insecure_skip_verify=insecure)
                creator = BackendCredentials(HTTPConfigs(config)).tls(A)
                protocol = TLSMemoryBIOFactory(creator, True, Factory.forProtocol(Protocol)).buildProtocol(None)
                transport = StringTransport()
                protocol.makeConnection(transport)
                self.assertIn(versions, transport.value())

    def test_wrong_files(self) -> None:
        """What cannot be used is told at the start, by its place, and never shown."""
        good, other = self.authority.issue("alice"), self.authority.issue("bob")
        torn = self.write("torn", "-----BEGIN CERTIFICATE-----\ns3cr3t\n-----END CERTIFICATE-----\n")
        text, lines = self.write("text", "s3cr3t"), self.write("lines", "s3c\nr3t")
        cert, key = (
            self.write("cert", good.partition(b"-----BEGIN PRIVATE")[0]),
            self.write("key", other[other.index(b"-----BEGIN P") :]),
        )
        pem = "expected PEM: certificates, and a key that belongs to its certificate"
        for config, message in (
            ({"credentials_file": "/nowhere"}, "f:1: credentials_file: /nowhere: No such file or directory"),
            ({"credentials_file": self.write("empty", "")}, f"f:1: credentials_file: {self.folder}/empty: empty"),
            (
                {"credentials_file": lines},
                f"f:1: credentials_file: {lines}: has characters that no header field can have; expected one line of ASCII",
            ),
            (
                {"headers": (ConfiguredHeader("X-A", files=("/nowhere",)),)},
                "http_headers: X-A: files: /nowhere: No such file or directory",
            ),
            (
                {"headers": (ConfiguredHeader("X-A", files=(lines,)),)},
                f"http_headers: X-A: files: {lines}: has characters that a header must not contain; expected one line",
            ),
            ({"ca_file": text}, f"f:1: ca_file: {text}: expected certificates in PEM format"),
            ({"ca_file": torn}, f"f:1: ca_file: {torn}: {pem}"),
            ({"cert_file": cert, "key_file": key}, f"f:1: cert_file: {cert}: {pem}"),
            ({"cert_file": text, "key_file": text}, f"f:1: cert_file: {text}: {pem}"),
        ):
            with self.subTest(config=config):
                self.assertEqual(self.problem(**config), message)
                self.assertNotIn("s3c", message)

    def test_many_backends(self) -> None:
        """What is kept of backends that come and go is bounded."""
        self.patch(backend_credentials, "_KEPT", 16)
        credentials = BackendCredentials(HTTPConfigs())
        for number in range(100):
            backend = Backend("https", f"prom-{number}", 1)
            credentials.set_sources({backend: [DiscoverySource("dns")]})
            credentials.tls(backend)
        self.assertEqual(repr(credentials), "<Credentials of 1, for 17 backends>")

    def rules(self, default: str = "", **of: str) -> HTTPConfigs:
        """Return configurations with a token for all backends, and other ones for locators."""
        rules = (LocatorRule(DiscoverySource(name), self.token(text)) for name, text in of.items())
        return HTTPConfigs(self.token(default) if default else HTTPConfig(), (), tuple(rules))

    def token(self, text: str) -> HTTPConfig:
        """Return a configuration with a token."""
        return HTTPConfig(credentials_file=self.write(f"token-{text}", text))

    def test_by_locator(self) -> None:
        """Who finds a backend decides; what counted for it goes on to count when nobody lists it any more."""
        credentials = BackendCredentials(self.rules("general", kubernetes="kube", dns="dns"))
        kube, dns, file = DiscoverySource("kubernetes"), DiscoverySource("dns", "a:1"), DiscoverySource("file")
        for origins, expected in (
            ({A: [dns], B: [file]}, [b"Bearer dns", b"Bearer general"]),
            ({A: [dns, kube], B: [file]}, [b"Bearer kube", b"Bearer general"]),
            ({B: [dns]}, [b"Bearer kube", b"Bearer dns"]),
            ({A: [file]}, [b"Bearer general", b"Bearer dns"]),
        ):
            with self.subTest(origins=origins):
                self.assertFalse(credentials.set_sources(origins))
                self.assertEqual([sent(credentials, each) for each in (A, B)], expected)

    def test_other_connections(self) -> None:
        """When a backend is found by whom it is verified in another way, no connection to it is used again."""
        rules = (
            LocatorRule(DiscoverySource("dns"), HTTPConfig(server_name="x")),
            LocatorRule(DiscoverySource("file"), self.token("t")),
        )
        credentials = BackendCredentials(HTTPConfigs(locators=rules))
        origins = (
            [DiscoverySource("endpoint")],
            [DiscoverySource("file")],
            [DiscoverySource("dns")],
            [DiscoverySource("dns"), DiscoverySource("file")],
        )
        self.assertEqual([credentials.set_sources({A: each}) for each in origins], [False, False, True, False])

    def test_reload_counts_at_once(self) -> None:
        """A reload counts at once for whom it says something, by whom they were found last."""
        before = BackendCredentials(self.rules("old", dns="old-dns"))
        before.set_sources({A: [DiscoverySource("dns")], B: [DiscoverySource("file")]})
        after = BackendCredentials(self.rules("new", dns="new-dns"))
        after.take_over(before)
        self.assertEqual(sent(after, A), b"Bearer new-dns")
        without = BackendCredentials(self.rules("new"))
        without.take_over(after)
        self.assertEqual([sent(without, each) for each in (A, B)], [b"Bearer new"] * 2)

    def test_reloaded_with_another_locator(self) -> None:
        """Credentials for a new locator leave alone what others had found, until it has told whom it finds."""
        before = BackendCredentials(self.rules("old"))
        before.set_sources({A: [DiscoverySource("endpoint")], B: [DiscoverySource("endpoint")]})
        after = BackendCredentials(self.rules(kubernetes="kube"))
        after.take_over(before)
        self.assertTrue(after.adds_fields)
        self.assertEqual([sent(after, each) for each in (A, B)], [b"Bearer old"] * 2)
        self.write("token-old", "changed")
        after.refresh(0.0)
        after.set_sources({A: [DiscoverySource("kubernetes")]})
        self.assertEqual([sent(after, each) for each in (A, B)], [b"Bearer kube", b"Bearer changed"])
        after.set_sources({B: [DiscoverySource("endpoint")]})
        self.assertIsNone(sent(after, B))


class Recording:
    """Takes note of what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Backend, bytes, bytes, dict[str, Any]]] = []

    def send(self, backend: Backend, head: bytes, body: bytes, **how: Any) -> Deferred[IResponse]:
        self.sent.append((backend, head, body, how))
        answer: Deferred[Any] = succeed(None)
        return answer


class AuthorizedTests(SynchronousTestCase):
    """Whose credentials a backend sees."""

    OWN = ((b"Authorization", b"Bearer own"), (b"X-Tenant", b"a"), (b"X-Tenant", b"b"))
    HEAD = b"GET /?authorization:x HTTP/1.1\r\nHost: h\r\nauthorization: Basic client\r\nX-Authorization: x\r\n\r\n"

    def setUp(self) -> None:
        self.recording = Recording()
        upstreams: Any = self.recording
        self.authorized = AuthorizedUpstreams(upstreams, lambda backend: ConfiguredFields.of(self.OWN) if backend == A else None)

    def test_own_credentials_replace_those_of_the_client(self) -> None:
        """A backend that mpp has credentials or headers for sees these, and not the client's of these names."""
        self.authorized.send(A, self.HEAD.replace(b"\r\n\r\n", b"\r\nx-tenant: c\r\n\r\n"), b"body", fresh=True, buffer=1)
        own = b"Authorization: Bearer own\r\nX-Tenant: a\r\nX-Tenant: b\r\n"
        head = b"GET /?authorization:x HTTP/1.1\r\n" + own + b"Host: h\r\nX-Authorization: x\r\n\r\n"
        self.assertEqual(self.recording.sent, [(A, head, b"body", {"fresh": True, "buffer": 1})])

    def test_of_the_client(self) -> None:
        """Every other one sees what the client sent."""
        self.authorized.send(B, self.HEAD, b"", fresh=False, buffer=1)
        self.assertEqual(self.recording.sent[0][1], self.HEAD)
