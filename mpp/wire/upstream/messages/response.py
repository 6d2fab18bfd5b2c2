"""
The response of a backend, between the connection that receives it and the consumer of its body.

It buffers the bytes that the consumer has not taken, counts them to the memory budget, and passes back-pressure on. It parses
nothing.
"""

from __future__ import annotations

from typing import Protocol

from zope.interface import implementer

from mpp.core.errors import UpstreamError
from mpp.core.interfaces import IBodyConsumer, IResponse
from mpp.core.model import Headers
from mpp.wire.memory_budget import MemoryBudget

# The largest piece that a consumer receives, in bytes: as much as is read from a backend at once, so that it need not be cut, and
# more than a transport buffers before it pauses its producer (64 KiB), so that a slow client stops the delivery after each piece.
MAX_PIECE = 128 * 1024


class ResponseSource(Protocol):
    """The interface of the connection that receives a response."""

    def pause_reading(self) -> None:
        """Stop reading from the backend until `resume_reading`."""

    def resume_reading(self) -> None:
        """Read from the backend again."""

    def abort(self) -> None:
        """Reset the connection, because the rest of the response is not wanted."""

    def client_paused(self) -> None:
        """Stop reading from the backend, because the client does not read its response."""

    def client_resumed(self) -> None:
        """Record that the client reads again."""


@implementer(IResponse)
class Response:
    """
    The response of a backend, complete or not. See `mpp.core.interfaces.IResponse`.

    Its connection calls `buffer` or `arrived`, then `finish` or `fail`. From then on it does not use the connection.

    :ivar buffered_size: how many bytes are buffered.
    """

    __slots__ = (
        "_budget",
        "_consumer",
        "_delivering",
        "_error",
        "_paused",
        "_source",
        "buffered",
        "buffered_size",
        "complete",
        "headers",
        "length",
        "reason",
        "status",
    )

    def __init__(self, status: int, reason: bytes, headers: Headers, budget: MemoryBudget, source: ResponseSource) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.buffered: list[bytes] = []
        self.complete = False
        self.length: int | None = None
        self._budget = budget
        self._source: ResponseSource | None = source
        self.buffered_size = 0
        self._consumer: IBodyConsumer | None = None
        self._paused = False
        self._delivering = False
        self._error: Exception | None = None

    def __repr__(self) -> str:
        state = "complete" if self.complete else "broken" if self._error is not None else "begun"
        return f"<Response {self.status} {state}, {self.buffered_size} bytes buffered>"

    @property
    def paused(self) -> bool:
        """Whether the consumer has paused the delivery."""
        return self._paused

    # Events of the connection

    def buffer(self, data: bytes) -> bool:
        """Buffer bytes that arrived; return whether the budget had room for them (they are buffered in either case)."""
        size = len(data)
        self.buffered_size += size
        if size <= MAX_PIECE:
            self.buffered.append(data)
        else:
            self.buffered.extend(data[start : start + MAX_PIECE] for start in range(0, size, MAX_PIECE))
        if self._budget.take(size):
            return True
        self._budget.overdraw(size)
        return False

    def arrived(self, data: bytes) -> None:
        """Deliver bytes that arrived, or buffer them while there is no consumer or it has paused."""
        consumer = self._consumer
        if consumer is None or self._paused or self._delivering or self.buffered or len(data) > MAX_PIECE:
            self.buffer(data)
            self._deliver()
        else:
            consumer.body_received(data)

    def finish(self) -> None:
        """Record that all of the body has arrived."""
        self.complete = True
        self._source = None
        if self._consumer is not None:
            self._deliver()

    def fail(self, error: UpstreamError) -> None:
        """Record that the response broke off; the consumer receives the buffered bytes, then the error."""
        self._error = error
        self._source = None
        if self._consumer is not None:
            self._deliver()

    # IResponse

    def relay(self, consumer: IBodyConsumer) -> None:
        """Start to deliver the body to a consumer."""
        self._consumer = consumer
        self._deliver()

    def pause(self) -> None:
        """Stop the delivery until `resume`."""
        self._paused = True
        if self._source is not None:
            self._source.client_paused()

    def resume(self) -> None:
        """Continue the delivery of the body."""
        self._paused = False
        if self._source is not None:
            self._source.client_resumed()
        self._deliver()

    def cancel(self) -> None:
        """Abandon the response, and reset its connection if it is not complete."""
        self._consumer = None
        source, self._source = self._source, None
        self.release()
        if source is not None:
            source.abort()

    def taken(self) -> int:
        """Return how many bytes of the body the client has read."""
        return 0 if self._consumer is None else self._consumer.taken()

    def cancel_slow(self, error: Exception) -> None:
        """Report an error to the consumer at once, and discard the buffered bytes, because the client reads too slowly."""
        consumer, self._consumer = self._consumer, None
        self._source = None
        self._error = error
        self.release()
        if consumer is not None:
            consumer.body_failed(error)

    def release(self) -> None:
        """Discard the buffered bytes, and return their memory to the budget."""
        if self.buffered_size:
            self._budget.give(self.buffered_size)
            self.buffered_size = 0
        self.buffered = []

    def _deliver(self) -> None:
        """Deliver the buffered bytes until the consumer pauses; then its end, or read from the backend again."""
        if self._delivering:
            return
        self._delivering = True
        try:
            while self.buffered and self._consumer is not None and not self._paused:
                piece = self.buffered.pop(0)
                self.buffered_size -= len(piece)
                self._budget.give(len(piece))
                self._consumer.body_received(piece)
        finally:
            self._delivering = False
        if self._consumer is not None and not self._paused:
            self._after_delivery(self._consumer)

    def _after_delivery(self, consumer: IBodyConsumer) -> None:
        if self.complete:
            self._consumer = None
            consumer.body_ended()
        elif self._error is not None:
            self._consumer = None
            consumer.body_failed(self._error)
        elif self._source is not None:
            self._source.resume_reading()
