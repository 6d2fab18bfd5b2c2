"""The transport of a client's connection, for the code that sends responses. Knows neither requests nor HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.interfaces import IAddress, IHalfCloseableDescriptor, ISSLTransport, ITCPTransport
from twisted.internet.protocol import Protocol

from mpp.wire.downstream.backpressure import BackPressureAdapter
from mpp.wire.tuned.transports import unsent


class ClientConnection(Protocol):
    """
    The sending side of a client's connection, and what is known of its other end.

    :ivar outlet: the producer of the transport; set by the subclass when the connection is made.
    :ivar peer: the client's IP address (``::ffff:`` removed).
    :ivar secure: the client is connected over TLS.
    :ivar half_closes: mpp can close its sending side alone.
    """

    transport: Any
    outlet: BackPressureAdapter

    def connectionMade(self) -> None:
        """Configure the transport, and keep what it knows of the connection."""
        transport = self.transport
        # Each is one or two system calls, and every request needs the result.
        self._peer: IAddress = transport.getPeer()
        self._host: IAddress = transport.getHost()
        self.peer = str(getattr(self._peer, "host", "")).removeprefix("::ffff:")
        self.secure = ISSLTransport.providedBy(transport)
        self.half_closes = IHalfCloseableDescriptor.providedBy(transport) and not self.secure
        if ITCPTransport.providedBy(transport):
            # A response is sent in one write; waiting for more data would only delay it.
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)

    def addresses(self) -> tuple[IAddress, IAddress]:
        """Return the client's address, and the address that it connected to."""
        return self._peer, self._host

    def write(self, data: bytes) -> None:
        """Send bytes of the current response."""
        self.transport.write(data)

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Send several pieces of the current response."""
        self.transport.writeSequence(pieces)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Register a producer of the current response, which is paused and resumed, and stopped when the client disconnects."""
        self.outlet.register(producer, streaming)

    def unregisterProducer(self) -> None:
        """Remove the producer of the current response; it is not called again."""
        self.outlet.unregister()

    def unsent(self) -> int:
        """Return how many of the written bytes the client has not received yet."""
        return unsent(self.transport)
