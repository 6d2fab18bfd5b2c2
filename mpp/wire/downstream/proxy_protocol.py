"""
The PROXY protocol: a header in front of everything else, in which a load balancer names the client of a connection.

`parse` is pure; `ProxyHeaderFactory` puts it before another factory, whose protocols then see the client's address as that of the
transport, from their first call on. Versions 1 and 2 are understood, as in section 2 of
https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Any, NamedTuple

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol, IReactorTime, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import alsoProvides, directlyProvides, providedBy

from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.timeouts import ACTIVE_S

HEADER_S = 5.0
"""Seconds that a header may take to arrive; a load balancer sends it before anything else."""

_V1_LONGEST = 107
_V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
# The specification wants 536 bytes at least; what follows the addresses (TLS facts, a checksum) is short.
_V2_LONGEST = 4096
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_V2_ADDRESSES = {_TCP4: struct.Struct("!4s4sHH"), _TCP6: struct.Struct("!16s16sHH")}


class ProxyHeader(NamedTuple):
    """
    A header that has been read.

    :ivar source: the client, or None where the header names none (a load balancer's own health check, a Unix socket).
    :ivar destination: the address that the client connected to, or None in the same cases.
    :ivar size: the header's length in bytes.
    """

    source: IAddress | None
    destination: IAddress | None
    size: int


def parse(data: bytes) -> ProxyHeader | None:
    """
    Return the header that the data begins with, or None when there is too little data.

    :raise ValueError: the data does not begin with a header.
    """
    if data.startswith(b"P") and b"PROXY ".startswith(data[:6]):
        return _parse_v1(data)
    if _V2_SIGNATURE.startswith(data[: len(_V2_SIGNATURE)]):
        return _parse_v2(data)
    raise ValueError("no PROXY protocol header")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    line, end, _ = data[:_V1_LONGEST].partition(b"\r\n")
    if not end:
        if len(data) >= _V1_LONGEST:
            raise ValueError("the line is too long")
        return None
    size = len(line) + len(end)
    words = line.decode("ascii").split(" ")
    if words[1] == "UNKNOWN":
        return ProxyHeader(None, None, size)
    _, family, source, destination, source_port, destination_port = words
    version = {"TCP4": 4, "TCP6": 6}.get(family)
    addresses = [ipaddress.ip_address(text) for text in (source, destination)]
    if any(address.version != version for address in addresses) or b"%" in line:
        raise ValueError("the addresses are not of the family that is named")
    return ProxyHeader(_address(addresses[0], _port(source_port)), _address(addresses[1], _port(destination_port)), size)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ValueError("not a port")
    return int(text)


def _parse_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    command, family, length = struct.unpack_from("!BBH", data, len(_V2_SIGNATURE))
    size = 16 + length
    if command not in (_LOCAL, _PROXY) or size > _V2_LONGEST:
        raise ValueError("another version or command, or too long")
    if len(data) < size:
        return None
    layout = _V2_ADDRESSES.get(family)
    if command == _LOCAL or layout is None:
        return ProxyHeader(None, None, size)
    if length < layout.size:
        raise ValueError("too short for its addresses")
    source, destination, source_port, destination_port = layout.unpack_from(data, 16)
    return ProxyHeader(
        _address(ipaddress.ip_address(source), source_port), _address(ipaddress.ip_address(destination), destination_port), size
    )


def _address(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> IAddress:
    return IPv4Address("TCP", str(address), port) if address.version == 4 else IPv6Address("TCP", str(address), port)


class _HeaderFirst(ProtocolWrapper):
    """
    Reads the header, then connects the wrapped protocol, to which it looks like a transport from the client.

    Until then it is itself the `mpp.wire.downstream.channels.Channel` that is open, and counts to the limit of connections.
    """

    idle = True
    transport: Any
    wrappedProtocol: Any
    factory: ProxyHeaderFactory

    def __init__(self, factory: ProxyHeaderFactory) -> None:
        super().__init__(factory, None)  # type: ignore[arg-type]
        self._begun = b""
        self._header: ProxyHeader | None = None
        self._timeout: IDelayedCall | None = None
        self.idle_since = factory.clock.seconds()

    def makeConnection(self, transport: ITransport) -> None:
        """Start to wait for the header."""
        directlyProvides(self, providedBy(transport))
        Protocol.makeConnection(self, transport)
        self.factory.registerProtocol(self)  # type: ignore[no-untyped-call]
        self._timeout = self.factory.clock.callLater(HEADER_S, self.abort)
        if self.factory.channels is not None:
            self.factory.channels.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Pass data on once the header is complete; reset the connection if it does not begin with one."""
        if self._header is not None:
            self.wrappedProtocol.dataReceived(data)
            return
        self._begun += data
        try:
            header = parse(self._begun)
        except ValueError:
            self.abort()
            return
        if header is not None:
            self._introduce(header)

    def _introduce(self, header: ProxyHeader) -> None:
        self._header = header
        self._stop_waiting()
        rest, self._begun = self._begun[header.size :], b""
        # Not earlier: a protocol that is never connected does not end, and so would be left to the garbage collector.
        self.wrappedProtocol = self.factory.wrappedFactory.buildProtocol(self.getPeer())
        if IHalfCloseableProtocol.providedBy(self.wrappedProtocol):
            alsoProvides(self, IHalfCloseableProtocol)
        self.wrappedProtocol.makeConnection(self)
        self._leave_channels()
        if rest:
            self.wrappedProtocol.dataReceived(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Report the end to the wrapped protocol, if that has been connected."""
        self._stop_waiting()
        self.factory.unregisterProtocol(self)  # type: ignore[no-untyped-call]
        wrapped, self.wrappedProtocol = self.wrappedProtocol, None
        if wrapped is None:
            self._leave_channels()
        else:
            wrapped.connectionLost(reason)

    def readConnectionLost(self) -> None:
        """Report to the wrapped protocol that the client sends nothing more."""
        self.wrappedProtocol.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """Report to the wrapped protocol that nothing more can be sent to the client."""
        self.wrappedProtocol.writeConnectionLost()

    def getPeer(self) -> IAddress:
        """Return the client's address."""
        named = self._header.source if self._header is not None else None
        return named or self.transport.getPeer()

    def getHost(self) -> IAddress:
        """Return the address that the client connected to."""
        named = self._header.destination if self._header is not None else None
        return named or self.transport.getHost()

    def _stop_waiting(self) -> None:
        timeout, self._timeout = self._timeout, None
        if timeout is not None and timeout.active():
            timeout.cancel()

    def _leave_channels(self) -> None:
        if self.factory.channels is not None:
            self.factory.channels.remove(self)

    # For Channels

    def check_timeouts(self, now: float, idle_timeout: float) -> None:
        """Do nothing, because the header has a time limit of its own."""

    def drain(self, now: float) -> None:
        """Reset the connection, unless it is so new that the header may be on its way."""
        if now - self.idle_since >= ACTIVE_S:
            self.abort()

    def close_idle(self) -> None:
        """Reset the connection, on which no header has arrived."""
        self.abort()

    def abort(self) -> None:
        """Reset the connection at once; ``connectionLost`` follows."""
        self._stop_waiting()
        self.transport.abortConnection()


class ProxyHeaderFactory(WrappingFactory):
    """
    A factory of connections that begin with a PROXY protocol header.

    A connection whose header is missing, is wrong or takes longer than `HEADER_S` is reset, since any client could have sent it.

    :param wrapped: the factory for what follows the header.
    :ivar channels: the registry of connections that wait for their headers; None as long as their number has no limit.
    """

    channels: Channels | None = None
    protocol = _HeaderFirst
    noisy = False

    def __init__(self, wrapped: Any, clock: IReactorTime) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self.clock = clock

    def buildProtocol(self, addr: IAddress | None) -> _HeaderFirst:
        """Return the protocol of one connection, which begins with its header."""
        return self.protocol(self)
