"""
A backend's answer between the connection that reads it and the consumer that takes it.

Holds the bytes nobody took yet, accounts for them in the Budget, and passes back-pressure on in both directions. It does not
parse anything; `mpp.wire.upstream.connection` does.
"""

from __future__ import annotations

from typing import Protocol

from zope.interface import implementer

from mpp.core.errors import UpstreamError
from mpp.core.interfaces import IBodyConsumer, IResponse
from mpp.core.model import Headers
from mpp.wire.memory_budget import MemoryBudget

# The largest piece a consumer is given: what is read from a backend at once, so that nothing is cut, and more than a transport
# buffers before it pauses its producer (64 KiB), so that a slow client stops the delivery after each piece at the latest.
MAX_PIECE = 128 * 1024


class ResponseSource(Protocol):
    """What a Response needs of the connection it arrives on."""

    def pause_reading(self) -> None:
        """Read nothing more from the backend until told to."""

    def resume_reading(self) -> None:
        """Read on."""

    def abort(self) -> None:
        """Give the connection up, with what is still to come on it."""

    def client_paused(self) -> None:
        """Read nothing more from the backend: the consumer takes nothing."""

    def client_resumed(self) -> None:
        """Record that the consumer goes on."""


@implementer(IResponse)
class Response:
    """
    An answer, whole or begun. See `mpp.core.interfaces.IResponse`.

    Fed by its connection through `arrived`, `finish` and `fail`. After `finish` or `fail` the connection is not its own any more.

    :ivar buffered_size: how many bytes are held.
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
        return f"<Response {self.status} {state}, {self.buffered_size} held>"

    @property
    def paused(self) -> bool:
        """Whether it is paused."""
        return self._paused

    # What the connection tells

    def buffer(self, data: bytes) -> bool:
        """Keep bytes that arrived; tell whether the budget had room for them (they are kept in either case)."""
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
        """Deliver bytes that arrived, or keep them while nobody takes any."""
        consumer = self._consumer
        if consumer is None or self._paused or self._delivering or self.buffered or len(data) > MAX_PIECE:
            self.buffer(data)
            self._deliver()
        else:
            consumer.body_received(data)

    def finish(self) -> None:
        """Take note that all of the body has arrived."""
        self.complete = True
        self._source = None
        if self._consumer is not None:
            self._deliver()

    def fail(self, error: UpstreamError) -> None:
        """Take note that the backend broke off; the consumer is told after what is held."""
        self._error = error
        self._source = None
        if self._consumer is not None:
            self._deliver()

    # IResponse

    def relay(self, consumer: IBodyConsumer) -> None:
        """Deliver the body to ``consumer``."""
        self._consumer = consumer
        self._deliver()

    def pause(self) -> None:
        """Deliver nothing until ``resume``."""
        self._paused = True
        if self._source is not None:
            self._source.client_paused()

    def resume(self) -> None:
        """Go on delivering."""
        self._paused = False
        if self._source is not None:
            self._source.client_resumed()
        self._deliver()

    def cancel(self) -> None:
        """Give up."""
        self._consumer = None
        source, self._source = self._source, None
        self.release()
        if source is not None:
            source.abort()

    def taken(self) -> int:
        """Return how many bytes of the body the consumer's client has taken."""
        return 0 if self._consumer is None else self._consumer.taken()

    def cancel_slow(self, error: Exception) -> None:
        """Fail the consumer at once; what is held is forgotten."""
        consumer, self._consumer = self._consumer, None
        self._source = None
        self._error = error
        self.release()
        if consumer is not None:
            consumer.body_failed(error)

    def release(self) -> None:
        """Forget what is held."""
        if self.buffered_size:
            self._budget.give(self.buffered_size)
            self.buffered_size = 0
        self.buffered = []

    def _deliver(self) -> None:
        """Deliver what is held until the consumer pauses; then the end if it has come, else let the backend go on."""
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
