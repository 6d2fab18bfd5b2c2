"""
Keeps garbage collections short: an object that has survived a full collection is not visited by the next ones.

A full collection visits all objects, some of them for 0.4 microseconds, and delays all clients meanwhile. CPython makes one
whenever there are a quarter more objects than after the last one, so with a large cache clients were delayed by 30 ms and more
again and again. An object that is frozen (https://docs.python.org/3/library/gc.html#gc.freeze) is freed by its reference count as
before, but not if it is in a reference cycle; a request that is answered leaves none.

So all objects are visited again after an hour (`LONGEST_S`), or when the memory in use has doubled and grown by `LEAST_GROWTH`.
That is done in a second in which the process has almost nothing to do, so that no client is delayed. Without such a second it
is done after a day (`LATEST_S`), or when four times the memory is in use.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Mapping
from types import ModuleType

from twisted.internet.interfaces import IReactorTime

from mpp.core.scheduling.periodic import PeriodicCheck

THRESHOLDS = (5, 3)
"""
The number of collections of a generation that lead to one of the next generation. CPython's default is 10 for both, but a full
collection is short here; made more often, each of them visits fewer new objects.
"""

LEAST_GROWTH = 1_000_000
"""
In blocks of memory, some 60 bytes each: while plans are prepared in a pool with 2,000 gaps, there are 700,000 more for a moment.
"""

LONGEST_S = 3600.0
"""The time in seconds after which all objects are visited again: a cycle may hold a large response, which is one block."""

LATEST_S = 24 * LONGEST_S
"""The time in seconds after which they are visited although clients may be delayed."""

INTERVAL_S = 1.0
"""The seconds between two checks whether the process has something to do."""

IDLE_S = 0.02
"""The process counts as idle if it has used less processor time than this, in seconds, in the last interval."""


class OldObjects:
    """
    The objects that have survived a full collection of garbage.

    :param clock: calls `check`.
    :param collector: Python's module `gc`.
    :param in_use: returns how many blocks of memory are in use.
    :param used: returns the processor time that this thread has used, in seconds.
    :param now: returns the time in seconds by a monotonic clock.
    """

    def __init__(
        self,
        clock: IReactorTime,
        collector: ModuleType = gc,
        in_use: Callable[[], int] = sys.getallocatedblocks,
        used: Callable[[], float] = time.thread_time,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collector = collector
        self._in_use = in_use
        self._used = used
        self._now = now
        self._used_before = self._checked_at = 0.0
        self._visited_at = 0.0
        self._visited_in_use = 0
        self._checks = PeriodicCheck(self.check, clock, INTERVAL_S, "visits of all objects")

    def watch(self) -> None:
        """Freeze all objects that there are, and from now on the ones that survive a full collection; collect more often."""
        first, *others = self._collector.get_threshold()
        self._collector.set_threshold(first, *map(min, others, THRESHOLDS))
        self._freeze_all()
        self._collector.callbacks.append(self._collected)
        self._used_before, self._checked_at = self._used(), self._now()
        self._checks.startService()

    def check(self) -> None:
        """Visit all objects if it is time and the process has almost nothing to do, or if it is high time."""
        used, now = self._used(), self._now()
        # A check that comes too late, or soon after such a one, says nothing.
        is_idle = used - self._used_before < IDLE_S and 0.5 * INTERVAL_S < now - self._checked_at < 1.5 * INTERVAL_S
        self._used_before, self._checked_at = used, now
        age, growth = now - self._visited_at, self._in_use() - self._visited_in_use
        most = max(self._visited_in_use, LEAST_GROWTH)
        if age > LATEST_S or growth > 3 * most or (is_idle and (age > LONGEST_S or growth > most)):
            self._collector.unfreeze()
            self._collector.collect()
            self._freeze_all()

    def _freeze_all(self) -> None:
        self._collector.freeze()
        self._visited_at, self._visited_in_use = self._now(), self._in_use()

    def _collected(self, phase: str, about: Mapping[str, int]) -> None:
        """Freeze the objects that have survived a full collection."""
        if phase == "stop" and about["generation"] == 2:
            self._collector.freeze()
