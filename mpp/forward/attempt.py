"""One attempt to have a request answered by one backend: what has come of it, and for how long nothing has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from mpp.forward.watch import TICKS
from mpp.interfaces import IProgress

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from mpp.interfaces import IResponse
    from mpp.model import Backend

# Less than so many bytes in the time of `TICKS` is no progress (4 KiB/s at the default of 250 ms): slower than any network
# that a dashboard is used over, and no server on a local one takes its time with an answer that it has begun.
ENOUGH = 1024


@implementer(IProgress)
class Attempt:
    """
    One attempt.

    :ivar turn_at: when it was its turn, if it had to wait for that, else 0; set by the wire layer, too.
    :ivar took: how long its answer took, once it is there.
    :ivar received: bytes that have come of the answer; counted up by the wire layer (`mpp.interfaces.IProgress`).
    :ivar answer: as long as it is waited for.
    :ivar sent_at: when the request was handed to the wire layer, by the monotonic clock.
    :ivar overtaken: another attempt runs beside this one, because this one takes too long.
    :ivar was_stale: its first connection turned out to be dead.
    :ivar silent: for how many ticks not a byte has come.
    """

    __slots__ = (
        "_marked",
        "_quiet",
        "_seen",
        "answer",
        "backend",
        "overtaken",
        "received",
        "sent_at",
        "silent",
        "took",
        "turn_at",
        "was_stale",
    )

    def __init__(self, backend: Backend, sent_at: float) -> None:
        self.backend = backend
        self.sent_at = sent_at
        self.turn_at = 0.0
        self.took = 0.0
        self.received = 0
        self.answer: Deferred[IResponse] | None = None
        self.overtaken = False
        self.was_stale = False
        self.silent = 0
        self._quiet = 0
        self._marked = 0
        self._seen = 0

    def __repr__(self) -> str:
        return f"<Attempt on {self.backend.name}, {self.received} bytes, quiet for {self._quiet} ticks>"

    def tick(self) -> int:
        """Count one tick; give for how many there was no progress, 0 as long as that is no reason for doubt."""
        if self.received != self._seen:
            self._seen = self.received
            self.silent = 0
        else:
            self.silent += 1
        if self.received - self._marked >= ENOUGH:
            self.trust()
            return 0
        self._quiet += 1
        return self._quiet if self._quiet >= TICKS else 0

    def trust(self) -> None:
        """Begin to wait anew."""
        self._marked = self.received
        self._quiet = 0

    def cancel(self) -> None:
        """Give it up."""
        if self.answer is not None:
            self.answer.cancel()
