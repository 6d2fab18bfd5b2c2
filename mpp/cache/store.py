"""
The range cache: the cached queries of one process, bounded in bytes. Uses no more of them than their keys and sizes.

# Note [What is evicted]

The entries are in two segments, each in the order of their last use (segmented LRU, Karedla et al. 1994). A new entry is in the
probation segment, which has a fifth of the memory; its second use moves it to the protected segment. When that is full, its least
recently used entry moves back. The evicted entry is always the least recently used one of the probation segment. So a client that
asks for a million different ranges once evicts no entry that a later request has used.

A protected entry may have parts that no later request has used: ranges of its query that one client has asked for. They are
counted in the probation segment, too, and are dropped for others there while they take more than half of it.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict

from attrs import define, frozen
from twisted.internet.interfaces import IReactorTime

from mpp.cache.admission import Admission
from mpp.cache.cached_query import CachedQuery
from mpp.cache.query_key import QueryKey, Question
from mpp.cache.recent import RecentSpans
from mpp.core.metrics.registry import Metrics

PROBATION_SHARE = 0.2
"""The share of the memory that the probation segment has."""
LARGEST_SHARE = 1 / 8
"""The share of the memory that a single entry may have."""
RECENT_SHARE = 1 / 8
"""The share of the memory that the recent spans and bodies may take, see `mpp.cache.recent`."""
LIFETIME_SPREAD = 0.2
"""The share of ``--cache-max-age`` by which lifetimes differ, so that the pages of a dashboard do not all expire at once."""

_OVERHEAD = 250
"""Bytes of an entry in the tables of the cache, without the entry and its key: measured, rounded up."""
_MOST_LARGE = 1024
_LARGE_FOR_S = 600.0


@frozen
class CacheState:
    """
    How full a cache is.

    :ivar used_bytes: the bytes of all entries and recent spans.
    :ivar limit_bytes: ``--cache-memory``.
    """

    entries: int = 0
    used_bytes: int = 0
    limit_bytes: int = 0


EMPTY = CacheState()
"""The state of a cache that does not exist."""


@frozen
class Flushed:
    """
    The result of a flush.

    :ivar entries: how many entries were removed.
    :ivar problem: the reason why some entries may not be removed; empty if all are.
    """

    entries: int = 0
    problem: str = ""


@define
class _CountedEntry:
    """An entry, and the bytes that are counted for it."""

    entry: CachedQuery
    size: int
    spare: int = 0


class RangeCache:
    """
    The entries of one process.

    :param most_bytes: the most bytes of all entries with their keys, and of the recent spans.
    :param max_age: the seconds that a page stays on average.
    :param rng: spreads the lifetimes, and makes the secret of `mpp.cache.admission.Admission`.
    :ivar recent: the spans and bodies of the last responses, for all entries.
    :ivar flushed_at: the time of the last flush, by the clock; minus infinity before the first one. The response to a request
        that was sent before this time is not cached, because it may be older than the cause of the flush.
    """

    def __init__(self, most_bytes: int, max_age: float, clock: IReactorTime, rng: random.Random, metrics: Metrics) -> None:
        self.flushed_at = -math.inf
        self.recent = RecentSpans(int(most_bytes * RECENT_SHARE))
        self._most = most_bytes
        self._max_age = max_age
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._admission = Admission(clock, rng.randbytes(32))
        self._probation: OrderedDict[QueryKey, _CountedEntry] = OrderedDict()
        self._protected: OrderedDict[QueryKey, _CountedEntry] = OrderedDict()
        self._probation_bytes = 0
        self._protected_bytes = 0
        self._spare: OrderedDict[QueryKey, None] = OrderedDict()
        self._spare_bytes = 0
        self._alike: dict[Question, QueryKey] = {}
        self._large: OrderedDict[int, float] = OrderedDict()

    @property
    def state(self) -> CacheState:
        """How full the cache is."""
        count = len(self._probation) + len(self._protected)
        used = self._probation_bytes + self._protected_bytes + self.recent.size
        return CacheState(count, used, self._most)

    def get(self, key: QueryKey) -> CachedQuery | None:
        """Return an entry and count this as a use; None if there is none."""
        counted = self._protected.get(key)
        if counted is not None:
            self._protected.move_to_end(key)
            self._count_spare(key, counted, counted.entry.spare)
            self._trim()
            return counted.entry
        counted = self._probation.pop(key, None)
        if counted is None:
            return None
        self._probation_bytes -= counted.size
        self._protected[key] = counted
        self._protected_bytes += counted.size
        self._count_spare(key, counted, counted.entry.spare)
        self._trim()
        return counted.entry

    def peek(self, key: QueryKey) -> CachedQuery | None:
        """Return an entry without counting a use; None if there is none."""
        counted = self._counted(key)
        return None if counted is None else counted.entry

    def _counted(self, key: QueryKey) -> _CountedEntry | None:
        return self._protected.get(key) or self._probation.get(key)

    def alike(self, key: QueryKey) -> QueryKey | None:
        """Return the key of the newest entry for the same query with other header fields or another user; None if not known."""
        found = self._alike.get(key.question)
        return None if found == key else found

    def why_not_admitted(self, key: QueryKey, step_ms: int, phase_ms: int) -> str:
        """
        Return the reason why a query without an entry gets none, as in the response header ``MPP.Cache``; empty if it gets one.

        :param phase_ms: the start of its range modulo the step, in milliseconds.
        """
        too_large_until = self._large.get(hash(key))
        if too_large_until is not None and self._clock.seconds() < too_large_until:
            return "too large"
        return "" if self._admission.admits(repr(key).encode(), step_ms, phase_ms) else "asked for once"

    def put(self, key: QueryKey, entry: CachedQuery) -> None:
        """Add an entry, or replace the one with the same key. An entry larger than `LARGEST_SHARE` does not stay."""
        counted = self._counted(key)
        if counted is not None:
            counted.entry = entry
        else:
            self._probation[key] = _CountedEntry(entry, 0)
            self._alike[key.question] = key
        self.resized(key)

    def resized(self, key: QueryKey) -> None:
        """
        Count the present size of an entry, which may have changed, and evict others if there is no room for it.

        An entry that has become larger than `LARGEST_SHARE` is shrunk, or else evicted. Without an entry of this key, do nothing.
        """
        protected = key in self._protected
        counted = self._counted(key)
        if counted is None:
            return
        besides, most = key.size + _OVERHEAD, self._most * LARGEST_SHARE
        size = counted.entry.size + besides
        if size > most and counted.size:
            # Steps that one client adds to an entry must not evict the steps that others use.
            counted.entry.shrink(int(most) - besides)
            size = counted.entry.size + besides
        if size > most:
            self._remove(key)
            self._remember_large(key)
            self._metrics.cache_evictions.inc()
            return
        if protected:
            self._protected_bytes += size - counted.size
            self._count_spare(key, counted, counted.entry.spare)
        else:
            self._probation_bytes += size - counted.size
        counted.size = size
        self._trim()

    def lifetime(self) -> float:
        """Return the seconds that a new page stays: ``--cache-max-age``, 20 % more or less."""
        return self._max_age * (1 + LIFETIME_SPREAD * (2 * self._rng.random() - 1))

    def flush(self) -> int:
        """Remove all entries, and return their number."""
        self.flushed_at = self._clock.seconds()
        count = len(self._probation) + len(self._protected)
        for table in (self._probation, self._protected, self._spare, self._alike, self._large):
            table.clear()
        self._probation_bytes = self._protected_bytes = self._spare_bytes = 0
        self.recent.clear()
        return count

    def reconfigure(self, most_bytes: int, max_age: float) -> None:
        """Set other limits, and evict entries that exceed them; the pages that are cached keep their lifetime."""
        self._most, self._max_age = most_bytes, max_age
        self.recent.limit(int(most_bytes * RECENT_SHARE))
        self._large.clear()
        if most_bytes == 0:
            self.flush()
        for table in (self._probation, self._protected):
            for key in list(table):
                self.resized(key)

    def _trim(self) -> None:
        """Remove the entries for which there is no room, see Note [What is evicted]."""
        of_probation = int(self._most * PROBATION_SHARE)
        while self._protected and self._protected_bytes - self._spare_bytes > self._most - of_probation - self.recent.size:
            key, counted = self._protected.popitem(last=False)
            self._count_spare(key, counted, 0)
            self._protected_bytes -= counted.size
            self._probation[key] = counted
            self._probation_bytes += counted.size
        while self._probation_bytes + self._spare_bytes > of_probation:
            if self._spare_bytes > self._probation_bytes:
                self._drop_spare(next(iter(self._spare)))
            else:
                self._remove(next(iter(self._probation)))
                self._metrics.cache_evictions.inc()

    def _count_spare(self, key: QueryKey, counted: _CountedEntry, size: int) -> None:
        """Count the parts of a protected entry that were used once; the entry is the last one for them if they have grown."""
        before = counted.spare
        if size == before:
            return
        counted.spare = size
        self._spare_bytes += size - before
        self._spare[key] = None
        if not size:
            del self._spare[key]
        elif size > before:
            self._spare.move_to_end(key)

    def _drop_spare(self, key: QueryKey) -> None:
        counted = self._protected[key]
        before = counted.entry.size
        counted.entry.drop_spare()
        dropped = before - counted.entry.size
        counted.size -= dropped
        self._protected_bytes -= dropped
        self._count_spare(key, counted, 0)

    def _remove(self, key: QueryKey) -> None:
        if (counted := self._protected.pop(key, None)) is not None:
            self._count_spare(key, counted, 0)
            self._protected_bytes -= counted.size
        elif (counted := self._probation.pop(key, None)) is not None:
            self._probation_bytes -= counted.size
        if self._alike.get(key.question) == key:
            del self._alike[key.question]

    def _remember_large(self, key: QueryKey) -> None:
        # The hash alone, because a key may have the length of the longest query.
        self._large[hash(key)] = self._clock.seconds() + _LARGE_FOR_S
        self._large.move_to_end(hash(key))
        if len(self._large) > _MOST_LARGE:
            self._large.popitem(last=False)
