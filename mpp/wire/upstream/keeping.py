"""What a `mpp.wire.upstream.connection.UpstreamConnection` works with: its owner, and the watch over a large request body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from typing import Protocol as Shape

if TYPE_CHECKING:
    from mpp.wire.upstream.connection import UpstreamConnection


class ConnectionOwner(Shape):
    """Who owns a connection: a `mpp.wire.upstream.lane.Lane`."""

    def exchange_ended(self, connection: UpstreamConnection, reusable: bool) -> None:
        """Take note that the connection is idle again, or (not ``reusable``) that it is being closed. Once for each request."""

    def connection_closed(self, connection: UpstreamConnection) -> None:
        """Take note that the connection has ended. Once."""

    def response_begun(self, connection: UpstreamConnection) -> None:
        """Record that a response is passed on before all of it has arrived."""

    def stream_begun(self, connection: UpstreamConnection) -> None:
        """Record that the response has no end of its own: it is an event stream. Before its head is passed on."""

    def response_paused(self, connection: UpstreamConnection) -> None:
        """Record that the client does not read on. Perhaps more than once in a row."""

    def response_resumed(self, connection: UpstreamConnection) -> None:
        """Record that the client reads on."""


class UnsentBody:
    """Watches a large request body leave (a streaming IPushProducer that produces nothing)."""

    __slots__ = ("_transport", "pending")

    def __init__(self, transport: Any) -> None:
        self.pending = False
        self._transport = transport

    def pauseProducing(self) -> None:
        """Record that not all of the body has left."""
        self.pending = True

    def resumeProducing(self) -> None:
        """Record that the body has left, and watch no longer."""
        self.pending = False
        self._transport.unregisterProducer()

    def stopProducing(self) -> None:
        """Do nothing: the connection reports its own end."""
