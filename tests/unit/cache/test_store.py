"""Which entries the cache keeps, and for how long."""

from __future__ import annotations

import math
import random
import tracemalloc
from typing import NamedTuple

from attrs import define
from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.cache.recent import AssembledBody, row_size
from mpp.cache.series import Series
from mpp.cache.store import PROBATION_SHARE, RangeCache
from mpp.core.metrics.registry import Metrics

MIB = 2**20


class Key(NamedTuple):
    """A key with a question and something else that counts."""

    question: str
    fields: str = ""

    @property
    def size(self) -> int:
        """A size of the kind that keys have."""
        return 100 + len(self.question)


@define
class Sized:
    """An entry of a given size, some of which it can do without."""

    size: int
    dispensable: int = 0
    spare: int = 0

    def drop_spare(self) -> None:
        """Drop what was used once."""
        self.size -= self.spare
        self.spare = 0

    def shrink(self, most_bytes: int) -> None:
        """Drop no more than necessary."""
        dropped = min(self.dispensable, max(0, self.size - most_bytes))
        self.size -= dropped
        self.dispensable -= dropped


class StoreTests(SynchronousTestCase):
    """A cache of 1 MiB."""

    def setUp(self) -> None:
        """Begin empty."""
        self.clock = Clock()
        self.metrics = Metrics(CollectorRegistry())
        self.cache: RangeCache = RangeCache(MIB, 6 * 3600.0, self.clock, random.Random(1), self.metrics)

    def put(self, *names: str, size: int = 10_000) -> None:
        """Cache entries of the same size."""
        for name in names:
            self.cache.put(Key(name), Sized(size))
            self.assertEqual(self.cached(name), [name])

    def cached(self, *names: str) -> list[str]:
        """Return those of some names that are cached."""
        return [name for name in names if self.cache.peek(Key(name)) is not None]

    def evictions(self) -> float | None:
        """Return how many evictions were counted."""
        return self.metrics.registry.get_sample_value("mpp_cache_evictions_total")

    def test_cached_entry_is_found(self) -> None:
        """An entry is found by its key, another key finds nothing."""
        entry = Sized(10)
        self.assertIsNone(self.cache.get(Key("a")))
        self.cache.put(Key("a"), entry)
        self.assertIs(self.cache.get(Key("a")), entry)
        self.assertIsNone(self.cache.get(Key("a", "user")))

    def test_bytes_are_bounded(self) -> None:
        """Whatever is cached and used, the entries with their keys do not take more than the memory."""
        rng = random.Random(2)
        for _ in range(20_000):
            name = f"query {rng.randrange(400)}"
            entry = self.cache.get(Key(name))
            if entry is None:
                self.cache.put(Key(name), Sized(rng.randrange(1, 30_000)))
            else:
                entry.size += rng.randrange(-500, 3_000)
                self.cache.resized(Key(name))
            self.assertLessEqual(self.cache.state.used_bytes, MIB)
        found = [self.cache.peek(Key(f"query {number}")) for number in range(400)]
        sizes = sum(entry.size for entry in found if entry)
        self.assertEqual(self.cache.state.entries, sum(1 for entry in found if entry))
        self.assertGreater(self.cache.state.used_bytes, sizes)
        self.assertLess(self.cache.state.used_bytes, 1.1 * sizes)

    def test_recent_spans_count(self) -> None:
        """They take memory from the entries that were used twice, an eighth of it at most, and end with a flush."""
        names = [f"query {number}" for number in range(200)]
        for name in names:
            self.put(name)
            self.cache.get(Key(name))
        before = len(self.cached(*names))
        series = Series(b'{"a":"b"}', b"ab")
        for number in range(100):
            row = ([bytes(3000)], ())
            self.cache.recent.put((self, number, number, False), {series: row}, row_size(row))
        self.assertGreater(self.cache.recent.size, 0.9 * MIB / 8)
        self.assertLessEqual(self.cache.recent.size, MIB / 8)
        self.cache.get(Key(names[-1]))
        self.assertLessEqual(self.cache.state.used_bytes, MIB)
        self.assertLess(len(self.cached(*names)), before - 5)
        self.cache.flush()
        self.assertEqual(self.cache.state.used_bytes, 0)

    def test_used_once(self) -> None:
        """Entries that were used once have a fifth of the memory, the last ones of them."""
        names = [f"query {number}" for number in range(100)]
        self.put(*names)
        self.assertEqual(self.cached(*names), names[-20:])
        self.assertLessEqual(self.cache.state.used_bytes, PROBATION_SHARE * MIB)
        self.assertEqual(self.evictions(), 80)

    def test_used_twice(self) -> None:
        """Entries that were used twice have the rest, and the least recently used one goes first."""
        names = [f"query {number}" for number in range(200)]
        for name in names:
            self.put(name)
            self.cache.get(Key(name))
        cached = self.cached(*names)
        self.assertEqual(cached, names[-len(cached) :])
        self.assertGreater(self.cache.state.used_bytes, 0.95 * MIB)
        oldest, second, *_ = cached
        self.cache.get(Key(oldest))
        self.put("new")
        self.assertEqual(self.cached(oldest, second), [oldest])

    def test_a_flood_evicts_nothing_used_twice(self) -> None:
        """A client that asks for very many different ranges evicts nothing that was used twice."""
        used = [f"dashboard {number}" for number in range(75)]
        for name in used:
            self.put(name)
            self.cache.get(Key(name))
        self.assertEqual(self.cached(*used), used)
        entry = Sized(60_000)
        for number in range(200_000):
            self.cache.put(Key(str(number)), entry)
        self.assertEqual(self.cached(*used), used)
        self.assertLessEqual((self.cache.state.entries - len(used)) * entry.size, PROBATION_SHARE * MIB)
        self.assertLess(len(self.cache._alike), 100)

    def test_parts_that_were_used_once(self) -> None:
        """Those of protected entries and the entries that were used once share a fifth of the memory; the last ones stay."""
        used = [f"dashboard {number}" for number in range(70)]
        self.put(*used[:20])
        for name in used:
            self.put(name)
            self.cache.get(Key(name))
        for _ in range(3):
            for name in used:
                entry = self.cache.peek(Key(name))
                assert entry is not None
                entry.size += 10_000
                entry.spare += 10_000
                self.cache.resized(Key(name))
                self.assertLessEqual(self.cache.state.used_bytes, MIB)
        self.assertEqual(self.cached(*used), used)
        with_spare = [name for name in used if (each := self.cache.peek(Key(name))) and each.spare]
        self.assertEqual(with_spare, used[-len(with_spare) :])
        self.assertGreater(len(with_spare), 4)
        self.put(*(f"new {number}" for number in range(100)))
        self.assertEqual(self.cached(*used), used)
        self.assertEqual(len(self.cached(*(f"new {number}" for number in range(100)))), 10)

    def test_large_entries(self) -> None:
        """An entry above an eighth of the memory is not cached, or removed when it has grown, and not asked for again at once."""
        self.cache.put(Key("large"), Sized(MIB // 8))
        entry = Sized(1000)
        self.cache.put(Key("a"), entry)
        self.assertEqual(self.cached("large", "a"), ["a"])
        entry.size = MIB // 8
        self.cache.resized(Key("a"))
        self.assertEqual((self.cached("large", "a"), self.cache.state.used_bytes, self.evictions()), ([], 0, 2))
        self.assertEqual(self.cache.why_not_admitted(Key("a"), 1000, 0), "too large")
        self.assertEqual(self.cache.why_not_admitted(Key("b"), 1000, 0), "")
        self.clock.advance(600)
        self.assertEqual(self.cache.why_not_admitted(Key("a"), 1000, 0), "")

    def test_a_large_entry_shrinks(self) -> None:
        """An entry that has grown too large stays, with as much as it may have, if it can do without the rest."""
        entry = Sized(1000)
        self.cache.put(Key("a"), entry)
        entry.size, entry.dispensable = MIB // 4, MIB // 4 - 1000
        self.cache.resized(Key("a"))
        self.assertEqual(self.cached("a"), ["a"])
        self.assertLessEqual(self.cache.state.used_bytes, MIB // 8)
        self.assertGreater(entry.size, 0.99 * MIB // 8)
        entry.size, entry.dispensable = MIB // 4, 1000
        self.cache.resized(Key("a"))
        self.assertEqual((self.cached("a"), self.cache.state.used_bytes), ([], 0))

    def test_queries_to_refuse(self) -> None:
        """A query with an unusual offset gets an entry the second time it is asked."""
        self.assertEqual(self.cache.why_not_admitted(Key("a"), 1000, 7), "asked for once")
        self.assertEqual(self.cache.why_not_admitted(Key("a", "other"), 1000, 9), "asked for once")
        self.assertEqual(self.cache.why_not_admitted(Key("a"), 1000, 7), "")

    def test_growth_of_what_was_evicted(self) -> None:
        """The growth of an entry that is no longer cached changes nothing."""
        self.cache.resized(Key("gone"))
        self.assertEqual((self.cached("gone"), self.cache.state.used_bytes, self.evictions()), ([], 0, 0))

    def test_growth_evicts_others(self) -> None:
        """An entry that grows evicts others."""
        self.put("a", "b", size=90_000)
        entry = self.cache.peek(Key("b"))
        assert entry is not None
        entry.size = 125_000
        self.cache.resized(Key("b"))
        self.assertEqual(self.cached("a", "b"), ["b"])

    def test_one_entry_for_a_key(self) -> None:
        """An entry replaces the former one with the same key."""
        self.put("a", size=10_000)
        before = self.cache.state
        self.put("a", size=4_000)
        self.assertEqual((self.cache.state.entries, before.used_bytes - self.cache.state.used_bytes), (1, 6_000))

    def test_same_question(self) -> None:
        """An entry of the same query with other fields can be found, as long as it is cached."""
        self.cache.put(Key("a", "first"), Sized(10_000))
        self.assertEqual(self.cache.alike(Key("a", "second")), Key("a", "first"))
        self.assertIsNone(self.cache.alike(Key("a", "first")))
        self.assertIsNone(self.cache.alike(Key("b", "first")))
        self.put(*map(str, range(30)))
        self.assertIsNone(self.cache.alike(Key("a", "second")))

    def test_lifetimes_are_spread(self) -> None:
        """Pages live for six hours, a fifth more or less."""
        lifetimes = [self.cache.lifetime() / 3600 for _ in range(1_000)]
        self.assertGreaterEqual(min(lifetimes), 4.8)
        self.assertLess(min(lifetimes), 4.9)
        self.assertLessEqual(max(lifetimes), 7.2)
        self.assertGreater(max(lifetimes), 7.1)
        self.assertLess(abs(sum(lifetimes) / 1_000 - 6), 0.1)

    def test_flush(self) -> None:
        """A flush removes all entries, and is no eviction."""
        self.put("a", "b")
        self.cache.get(Key("b"))
        self.assertEqual(self.cache.flushed_at, -math.inf)
        self.clock.advance(100)
        self.assertEqual(self.cache.flush(), 2)
        self.assertEqual((self.cached("a", "b"), self.evictions(), self.cache.flushed_at), ([], 0, 100.0))
        self.assertEqual((self.cache.state.entries, self.cache.state.used_bytes, self.cache.flush()), (0, 0, 0))
        self.assertIsNone(self.cache.alike(Key("a", "other")))

    def test_less_memory(self) -> None:
        """With less memory after a reload, what was used least recently goes; with more, nothing."""
        names = [f"query {number}" for number in range(60)]
        for name in names:
            self.put(name)
            self.cache.get(Key(name))
        self.cache.reconfigure(2 * MIB, 3600.0)
        self.assertEqual(self.cached(*names), names)
        self.cache.reconfigure(MIB // 4, 3600.0)
        cached = self.cached(*names)
        self.assertLessEqual(self.cache.state.used_bytes, MIB // 4)
        self.assertEqual(cached, names[-len(cached) :])
        self.assertGreater(len(cached), 20)
        self.assertLessEqual(self.cache.lifetime(), 4320)

    def test_much_less_memory(self) -> None:
        """With a hundredth of the memory after a reload, the recent spans and the entries have that, and the cache goes on."""
        names = [f"query {number}" for number in range(200)]
        for part in (8, 100):
            self.setUp()
            for name in names:
                self.put(name, size=2_000)
                self.cache.get(Key(name))
            for number in range(100):
                self.cache.recent.put_body((self, number, number, True, None), AssembledBody((b"x",), 2_000))
            self.cache.reconfigure(MIB // part, 3600.0)
            self.assertLessEqual(self.cache.recent.size, MIB // part // 8)
            self.assertLessEqual(self.cache.state.used_bytes, MIB // part)
            self.put("new", size=500)
            self.cache.get(Key("new"))
            self.assertEqual(self.cached("new"), ["new"])

    def test_switched_off(self) -> None:
        """Without memory nothing is cached."""
        self.put("a")
        self.cache.reconfigure(0, 3600.0)
        self.assertEqual(self.cached("a"), [])
        self.cache.put(Key("a"), Sized(1))
        self.assertEqual(self.cached("a"), [])
        self.assertEqual(self.cache.state.used_bytes, 0)

    def test_overhead_is_counted(self) -> None:
        """The bytes that the cache counts for small entries are about those that they take, keys included."""
        cache: RangeCache = RangeCache(64 * MIB, 3600.0, self.clock, random.Random(1), self.metrics)
        entry = Sized(0)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for number in range(5_000):
                cache.put(Key(f"query {number:10}"), entry)
            taken = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        self.assertLess(abs(cache.state.used_bytes - taken) / taken, 0.3)
