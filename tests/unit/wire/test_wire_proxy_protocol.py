"""Tests of `mpp.wire.downstream.proxy_protocol`: who a load balancer says the client is."""

from __future__ import annotations

import struct

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.proxy_protocol import HEADER_S, ProxyHeader, ProxyHeaderFactory, parse
from mpp.wire.downstream.timeouts import ACTIVE_S

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
CLIENT, BALANCER = IPv4Address("TCP", "198.51.100.7", 40000), IPv4Address("TCP", "192.0.2.1", 9090)
V1 = b"PROXY TCP4 198.51.100.7 192.0.2.1 40000 9090\r\n"
V2_ADDRESSES = bytes((198, 51, 100, 7, 192, 0, 2, 1)) + struct.pack("!HH", 40000, 9090)


def v2(command: int, family: int, payload: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(payload)) + payload


V2 = v2(0x21, 0x11, V2_ADDRESSES)
V6 = v2(0x21, 0x21, bytes(15) + b"\x01" + bytes(15) + b"\x02" + struct.pack("!HH", 1, 2))

HEADERS: tuple[tuple[str, bytes, object, object], ...] = (
    ("version 1, IPv4", V1, CLIENT, BALANCER),
    ("version 1, IPv6", b"PROXY TCP6 ::1 ::2 1 2\r\n", IPv6Address("TCP", "::1", 1), IPv6Address("TCP", "::2", 2)),
    ("version 1, unknown", b"PROXY UNKNOWN\r\n", None, None),
    ("version 1, unknown with addresses", b"PROXY UNKNOWN ::1 ::2 1 2\r\n", None, None),
    ("version 2, IPv4", V2, CLIENT, BALANCER),
    ("version 2, IPv6", V6, IPv6Address("TCP", "::1", 1), IPv6Address("TCP", "::2", 2)),
    ("version 2, with more after the addresses", v2(0x21, 0x11, V2_ADDRESSES + b"\x03\x00\x04abcd"), CLIENT, BALANCER),
    ("version 2, a health check of its own", v2(0x20, 0x00, b""), None, None),
    ("version 2, a Unix socket", v2(0x21, 0x31, bytes(216)), None, None),
    ("version 2, no family", v2(0x21, 0x00, b""), None, None),
)

WRONG: tuple[tuple[str, bytes], ...] = (
    ("no header", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a POST, which begins with P as well", b"POST / HTTP/1.1\r\n"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01"),
    ("version 1, another family", b"PROXY TCP6 198.51.100.7 192.0.2.1 1 2\r\n"),
    ("version 1, a name", b"PROXY TCP4 localhost 192.0.2.1 1 2\r\n"),
    ("version 1, a scope", b"PROXY TCP6 fe80::1%a ::2 1 2\r\n"),
    ("version 1, too few words", b"PROXY TCP4 198.51.100.7\r\n"),
    ("version 1, a port too large", b"PROXY TCP4 198.51.100.7 192.0.2.1 1 65536\r\n"),
    ("version 1, a port with a sign", b"PROXY TCP4 198.51.100.7 192.0.2.1 +1 2\r\n"),
    ("version 1, not ASCII", b"PROXY TCP4 \xc2\xb9 192.0.2.1 1 2\r\n"),
    ("version 1, too long", b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n"),
    ("version 2, another version", v2(0x11, 0x11, V2_ADDRESSES)),
    ("version 2, another command", v2(0x22, 0x11, V2_ADDRESSES)),
    ("version 2, too short", v2(0x21, 0x11, V2_ADDRESSES[:-1])),
    ("version 2, too long", v2(0x21, 0x11, bytes(5000))),
)


class ParseTests(SynchronousTestCase):
    """What a header says."""

    def test_both_versions_of_the_header_are_parsed(self) -> None:
        """Both versions are understood, and nothing of what follows is taken; a part of a header is awaited."""
        for title, data, source, destination in HEADERS:
            with self.subTest(title):
                self.assertEqual(parse(data), ProxyHeader(source, destination, len(data)))  # type: ignore[arg-type]
                self.assertEqual(parse(data + b"GET"), parse(data))
                for end in range(1, len(data)):
                    self.assertIsNone(parse(data[:end]), data[:end])

    def test_wrong_header_is_an_error(self) -> None:
        """Anything else is an error."""
        for title, data in WRONG:
            with self.subTest(title):
                self.assertRaises(ValueError, parse, data)


@implementer(IHalfCloseableProtocol)
class Recording(Protocol):
    """Records what it is called with."""

    def __init__(self) -> None:
        self.received = b""
        self.calls: list[object] = []

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.calls.append((self.transport.getPeer(), self.transport.getHost()))

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def readConnectionLost(self) -> None:
        self.calls.append("half closed")

    def writeConnectionLost(self) -> None:
        self.calls.append("half closed by us")

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self.calls.append("lost")


class Listener:
    """A listener behind a load balancer, with one connection."""

    def __init__(self, channels: Channels | None = None) -> None:
        self.clock = Clock()
        self.protocol = Recording()
        factory = ProxyHeaderFactory(Factory.forProtocol(lambda: self.protocol), self.clock)  # type: ignore[arg-type]
        factory.channels = channels
        self.connection = factory.buildProtocol(IPv4Address("TCP", "10.0.0.1", 1))
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", "10.0.0.1", 1), hostAddress=BALANCER)
        self.connection.makeConnection(self.transport)


class ConnectionTests(SynchronousTestCase):
    """A connection through a load balancer."""

    def test_site_sees_the_address_of_the_header(self) -> None:
        """The site sees the client's address from the first call on, however the header is cut."""
        for title, data, source, destination in HEADERS:
            with self.subTest(title):
                listener = Listener()
                for at in range(len(data)):
                    self.assertEqual(listener.protocol.calls, [])
                    listener.connection.dataReceived(data[at : at + 1])
                listener.connection.dataReceived(b"GET")
                expected = (source or listener.transport.getPeer(), destination or BALANCER)
                self.assertEqual((listener.protocol.calls, listener.protocol.received), ([expected], b"GET"))
                self.assertEqual(listener.clock.getDelayedCalls(), [])

    def test_one_segment(self) -> None:
        """The request may come with the header."""
        listener = Listener()
        listener.connection.dataReceived(V2 + b"GET")
        self.assertEqual(listener.protocol.received, b"GET")

    def test_connection_with_a_wrong_header_is_reset(self) -> None:
        """A connection without a proper header is reset, and never reaches the site."""
        for title, data in WRONG:
            with self.subTest(title):
                listener = Listener()
                listener.connection.dataReceived(data)
                self.assertTrue(listener.transport.disconnected)
                listener.connection.connectionLost(Failure(ConnectionDone()))
                self.assertEqual(listener.protocol.calls, [])
                self.assertEqual(listener.clock.getDelayedCalls(), [])

    def test_late_header_closes_the_connection(self) -> None:
        """A header that takes longer than five seconds is not waited for."""
        listener = Listener()
        listener.connection.dataReceived(V1[:-1])
        listener.clock.advance(HEADER_S - 0.1)
        self.assertFalse(listener.transport.disconnected)
        listener.clock.advance(0.2)
        self.assertTrue(listener.transport.disconnected)
        self.assertEqual(listener.protocol.calls, [])

    def test_connection_without_its_header_is_an_open_one(self) -> None:
        """It is among the open connections until the header has arrived or the connection has ended, and ends like others."""
        for data, left in ((V1, 0), (V1[:-1], 1), (b"GET", 1)):
            listener = Listener(channels := Channels(Clock()))
            self.assertEqual(len(channels), 1)
            listener.connection.dataReceived(data)
            self.assertEqual(len(channels), left)
            listener.connection.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(len(channels), 0)

    def test_connection_without_its_header_is_drained(self) -> None:
        """When mpp stops, one that has just been opened has a second for its first request; an older one is reset."""
        for age, reset in ((0.0, False), (ACTIVE_S, True)):
            listener = Listener(channels := Channels(Clock()))
            channels.clock.advance(age)  # type: ignore[attr-defined]
            channels.check_timeouts(1.0)
            drained = channels.drain()
            self.assertEqual(listener.transport.disconnected, reset)
            channels.abort()
            self.assertTrue(listener.transport.disconnected)
            listener.connection.connectionLost(Failure(ConnectionDone()))
            self.successResultOf(drained)

    def test_end_of_the_connection_is_passed_on(self) -> None:
        """The site learns that the client has closed its sending side, and the connection."""
        listener = Listener()
        self.assertFalse(IHalfCloseableProtocol.providedBy(listener.connection))
        listener.connection.dataReceived(V1)
        IHalfCloseableProtocol(listener.connection).readConnectionLost()
        IHalfCloseableProtocol(listener.connection).writeConnectionLost()
        listener.connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(listener.protocol.calls, [(CLIENT, BALANCER), "half closed", "half closed by us", "lost"])
