"""A scheduler that runs a callback per key, each key at its own due time. Does not know the purpose of the callback."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mpp.selection.rounds import log_failure

T = TypeVar("T", bound=Hashable)

# A delayed call may run a rounding error too early.
_TICK_S = 0.001


class ProbeSchedule(Generic[T]):
    """
    A schedule of callbacks per key, each at its own due time; a key's callback never runs twice at once.

    :param run: starts the callback of a key; its Deferred is cancelled by `pause`.
    :param due: due times by key, on the clock. The mapping is read, not copied: call `plan` after each change of it.
    :param spacing: minimum number of seconds between two starts; keys that become due in between start together.
    :param most: maximum number of keys that start together; the others wait for the next start.
    :param latest: latest start times by key, on the clock; the earliest of them start first when more than ``most`` are due.
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
        """Cancel running callbacks, and start no further ones until `resume`."""
        self._paused = True
        self._schedule(None)
        for running in tuple(self._running.values()):
            running.cancel()

    def resume(self) -> None:
        """Start or continue the schedule; a new schedule is paused."""
        self._paused = False
        self.plan()

    def plan(self) -> None:
        """Reschedule the next start; call this after a change of ``due``."""
        if self._paused or (self._at is not None and self._at <= self._began + self._spacing):
            # Nothing can start earlier than is scheduled, so thousands of due keys need not be searched now.
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
        # A key that is due within a tick of the clock is due now.
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
