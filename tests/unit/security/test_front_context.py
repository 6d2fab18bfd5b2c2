"""Tests of `mpp.security.web_config.tls_context`: what a TLS server asks of its clients."""

from __future__ import annotations

import contextlib

from OpenSSL import SSL, crypto
from twisted.trial.unittest import SynchronousTestCase

from mpp.security.web_config.tls_context import make_context
from mpp.security.web_config.values import ClientAuth, PEMSource, TLSServer
from tests.certificates import Authority


class ClientCertificateTests(SynchronousTestCase):
    """Certificates of clients that are none, as far as they can be read."""

    def setUp(self) -> None:
        self.authority = Authority()

    def server(self, *sans: str) -> SSL.Connection:
        """Return the server's end of a connection."""
        certificate, key = _apart(self.authority.sign("DNS:localhost"))
        context = make_context(
            TLSServer(
                certificate=PEMSource("cert", text=certificate.decode()),
                key=PEMSource("key", text=key.decode()),
                client_auth=ClientAuth.REQUIRE_AND_VERIFY,
                client_ca=PEMSource("client_ca", text=self.authority.pem.decode()),
                allowed_sans=sans or None,
            )
        )
        server = SSL.Connection(context, None)
        server.set_accept_state()
        return server

    def client(self, pem: bytes, patch: tuple[bytes, bytes] = (b"", b"")) -> SSL.Connection:
        """Return the client's end, with a certificate some bytes of which are replaced."""
        certificate, key = _apart(pem)
        der = crypto.dump_certificate(crypto.FILETYPE_ASN1, crypto.load_certificate(crypto.FILETYPE_PEM, certificate))
        self.assertIn(patch[0], der)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.use_certificate(crypto.load_certificate(crypto.FILETYPE_ASN1, der.replace(*patch)))
        context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, key))
        client = SSL.Connection(context, None)
        client.set_connect_state()
        return client

    def test_certificate_with_an_allowed_name_is_accepted(self) -> None:
        """A certificate of the authority with an allowed name is accepted."""
        shake_hands(self.client(self.authority.sign("DNS:grafana.example")), self.server("grafana.example"))

    def test_unreadable_certificate_is_rejected(self) -> None:
        """A stranger's certificate that cannot be read is refused like any other one, and not by an error of the program."""
        version_8 = (bytes.fromhex("a003020102"), bytes.fromhex("a003020107"))
        for pem, patch, sans in (
            (Authority().sign("DNS:grafana.example"), version_8, ()),
            (self.authority.sign("DNS:grafana.example"), version_8, ("grafana.example",)),
            (self.authority.sign(raw=b"\x30\x03\x82\x05a"), (b"", b""), ("grafana.example",)),
            (self.authority.sign("IP:hex:7f"), (b"", b""), ("grafana.example",)),
            (self.authority.sign(), (b"", b""), ("grafana.example",)),
        ):
            with self.assertRaises(SSL.Error):
                shake_hands(self.client(pem, patch), self.server(*sans))


def _apart(pem: bytes) -> tuple[bytes, bytes]:
    """Return certificate and key."""
    certificate, end, key = pem.partition(b"-----END CERTIFICATE-----\n")
    return certificate + end, key


def shake_hands(client: SSL.Connection, server: SSL.Connection) -> None:
    """Carry what each end says to the other one."""
    for _ in range(3):
        for here, there in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                here.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                there.bio_write(here.bio_read(1 << 16))
