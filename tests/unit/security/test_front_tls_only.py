"""What a client sees who takes a TLS port for a plain one."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mpp.security.web_config.plain_http import TLSOnlyFactory
from tests.fake_https import FakeAuthority


class Recorder(Protocol):
    """Takes note of what arrives."""

    received = b""
    ended = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: object = None) -> None:
        self.ended = True


class TLSOnlyTests(SynchronousTestCase):
    """A connection to a port that speaks TLS."""

    def setUp(self) -> None:
        self.inner = Recorder()
        options = FakeAuthority().serve("localhost")
        clock = Clock()
        self.outer = TLSOnlyFactory(options, False, Factory.forProtocol(lambda: self.inner), clock).buildProtocol(None)
        self.transport = StringTransport()
        self.outer.makeConnection(self.transport)
        self.turn = lambda: clock.advance(0)

    def test_plain_http_is_answered_in_plain_http(self) -> None:
        """Who speaks plain HTTP is told so, in plain HTTP; nobody behind it hears of the request."""
        self.outer.dataReceived(b"GET /api/v1/query?query=up HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        self.assertEqual(head.splitlines()[0], b"HTTP/1.1 400 Bad Request")
        self.assertIn(b"\r\nContent-Length: %d" % len(body), head)
        self.assertEqual(body, b"Client sent an HTTP request to an HTTPS server.\n")
        self.assertTrue(self.transport.disconnecting)
        self.outer.dataReceived(b"more of it")
        self.assertEqual((self.transport.value(), self.inner.received), (head + b"\r\n\r\n" + body, b""))

    def test_tls_is_passed_on_in_any_segmentation(self) -> None:
        """Who speaks TLS is heard, even if what he says begins like plain HTTP would, and arrives byte by byte."""
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        client.set_connect_state()
        shaken = False
        while not shaken:
            try:
                client.do_handshake()
                shaken = True
            except SSL.WantReadError:
                self.deliver(client)
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        self.deliver(client)
        self.assertEqual(self.inner.received, b"GET / HTTP/1.1\r\n\r\n")

    def test_disconnection_before_a_byte_is_passed_on(self) -> None:
        """One who leaves without a word is gone for those behind it, too."""
        self.outer.connectionLost(None)
        self.assertTrue(self.inner.ended)

    def deliver(self, client: SSL.Connection) -> None:
        """Hand on what both have to say."""
        for number in client.bio_read(65536):
            self.outer.dataReceived(bytes((number,)))
        self.turn()
        if self.transport.value():
            client.bio_write(self.transport.value())
            self.transport.clear()
