"""Runs something for each of some when it is due for that one. Knows nothing of what it runs, nor why it is due."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mpp.selection.rounds import log_failure

T = TypeVar("T", bound=Hashable)

# Delayed calls come a rounding error early.
_TICK_S = 0.001


class ProbeSchedule(Generic[T]):
    """
    Runs one thing for each of some, when each is due, and for each once at a time.

    :param run: begins one; its Deferred is cancelled by `pause`.
    :param due: when each is due, by the clock. A living mapping: whoever changes it calls `plan`.
    :param spacing: seconds between two beginnings, at least, whatever is due. What is due in between begins together.
    :param most: how many begin together; the others have to wait for the next time.
    :param latest: when each should have begun at the latest, by the clock; decides which ones begin when more than
        ``most`` are due.
    """

    def __init__(
        self,
        run: Callable[[T], Deferred[None]],
        due: Mapping[T, float],
        clock: IReactorTime,
        spacing: float,
        *,
        most: int,
        latest: Mapping[T, float],
    ) -> None:
        self._run = run
        self._due = due
        self._clock = clock
        self._spacing = spacing
        self._most = most
        self._latest = latest
        self._began = float("-inf")
        self._running: dict[T, Deferred[None]] = {}
        self._scheduled: IDelayedCall | None = None
        self._at: float | None = None
        self._paused = True

    def pause(self) -> None:
        """Cancel what runs, and begin nothing more until `resume`."""
        self._paused = True
        self._schedule(None)
        for running in tuple(self._running.values()):
            running.cancel()

    def resume(self) -> None:
        """Go on, or begin: it is made paused."""
        self._paused = False
        self.plan()

    def plan(self) -> None:
        """Take note that ``due`` may have changed."""
        if self._paused or (self._at is not None and self._at <= self._began + self._spacing):
            # Nothing can begin earlier than is scheduled: thousands that are due need not be looked at now.
            return
        first = min((at for each, at in self._due.items() if each not in self._running), default=None)
        self._schedule(None if first is None else max(first, self._began + self._spacing))

    def _schedule(self, at: float | None) -> None:
        if at == self._at:
            return
        self._at = at
        if self._scheduled is not None:
            self._scheduled.cancel()
        self._scheduled = None if at is None else self._clock.callLater(max(0.0, at - self._clock.seconds()), self._begin)

    def _begin(self) -> None:
        self._scheduled = self._at = None
        # What is due within a tick of the clock is due now.
        self._began = now = self._clock.seconds()
        due = [each for each, at in self._due.items() if at <= now + _TICK_S and each not in self._running]
        if len(due) > self._most:
            due = heapq.nsmallest(self._most, due, key=self._latest.__getitem__)
        for each in due:
            running = self._running[each] = self._run(each)
            running.addErrback(log_failure)
            running.addCallback(self._over, each)
        self.plan()

    def _over(self, _: None, each: T) -> None:
        del self._running[each]
        self.plan()
