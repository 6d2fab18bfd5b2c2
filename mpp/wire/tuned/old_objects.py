"""
Keeps garbage collections short: an object that has survived a full collection is not visited by the next ones.

A full collection visits all objects, some of them for 0.4 microseconds, and delays all clients meanwhile. CPython makes one
whenever there are a quarter more objects than after the last one, so with a large cache clients were delayed by 30 ms and more
again and again. An object that is frozen (https://docs.python.org/3/library/gc.html#gc.freeze) is freed by its reference count as
before, but not if it is in a reference cycle; a request that is answered leaves none. So a full collection visits all objects
again when the memory in use has doubled since the last one that did, and grown by `LEAST_GROWTH`, or when that was `LONGEST_S`
ago.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

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


class Collector(Protocol):
    """The interface of the garbage collector, which is Python's module `gc`."""

    @property
    def callbacks(self) -> list[Callable[[str, dict[str, int]], object]]:
        """The functions that are called at the start and the end of each collection."""

    def freeze(self) -> object:
        """Move all objects out of reach of the next collections."""

    def unfreeze(self) -> object:
        """Let the next full collection visit all objects."""

    def get_threshold(self) -> tuple[int, int, int]:
        """Return how many allocations, or collections of the generation before, lead to a collection of each generation."""

    def set_threshold(self, first: int, second: int, third: int, /) -> object:
        """Set the numbers that `get_threshold` returns."""


class OldObjects:
    """
    The objects that have survived a full collection of garbage.

    :param collector: Python's module `gc`.
    :param in_use: returns how many blocks of memory are in use.
    :param now: returns the time in seconds by a monotonic clock.
    """

    def __init__(
        self,
        collector: Collector | Any = gc,
        in_use: Callable[[], int] = sys.getallocatedblocks,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collector = collector
        self._in_use = in_use
        self._now = now
        self._visit_all_after = 0.0
        self._next_visits_all = False
        self._most_in_use = 0

    def watch(self) -> None:
        """Freeze all objects that there are, and from now on the ones that survive a full collection; collect more often."""
        first, *others = self._collector.get_threshold()
        self._collector.set_threshold(first, *map(min, others, THRESHOLDS))
        self._freeze_all()
        self._collector.callbacks.append(self._collected)

    def _freeze_all(self) -> None:
        self._collector.freeze()
        self._visit_all_after = self._now() + LONGEST_S
        in_use = self._in_use()
        self._most_in_use = in_use + max(in_use, LEAST_GROWTH)

    def _collected(self, phase: str, about: Mapping[str, int]) -> None:
        """Freeze the objects that have survived a full collection; let the next one visit all if far more is in use."""
        if phase != "stop" or about["generation"] != 2:
            return
        if self._next_visits_all:
            self._next_visits_all = False
            self._freeze_all()
        elif self._in_use() > self._most_in_use or self._now() > self._visit_all_after:
            self._next_visits_all = True
            self._collector.unfreeze()
        else:
            self._collector.freeze()
