"""Servers with thousands of gaps: the results are those of going through all of them, and the work is much less."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core import coverage as coverage_module
from mpp.core import intervals as intervals_module
from mpp.core.coverage import NOTHING, Coverage, Hole, Job, Missing
from mpp.core.intervals import ALWAYS, NEVER, Intervals
from mpp.core.model import Backend
from mpp.core.prometheus.data_requests import DataKind, DataRequest
from mpp.coverage.knowledge import MOST_HOLES, Knowledge
from mpp.coverage.planning import levels as levels_module
from mpp.coverage.planning import plan as planning
from mpp.coverage.planning.levels import levels_of
from mpp.coverage.planning.planner import Planner
from mpp.coverage.planning.selectors import ms
from mpp.coverage.planning.steps import GoodServers, Segment, Steps, total
from mpp.promql.jobs import ALL_JOBS
from mpp.promql.memory import QueryMemory
from mpp.promql.reads import SelectorReads
from tests.lacks import lacks_of
from tests.polylines import polyline

A, B = (Backend("http", name, 9090) for name in "ab")
T0 = 1_700_000_000
DAY = 86_400
NAMES = ("db", "node", "web")
JOBS = {name: Job(20, 10.0) for name in NAMES}

PAIRS = st.lists(st.tuples(st.integers(0, 600), st.integers(1, 90)), max_size=6)
SELECTORS = st.lists(
    st.builds(
        lambda length, newest: SelectorReads(0.0 if newest else -float(length), 0.0, newest=newest, jobs=ALL_JOBS),
        st.integers(1, 60),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)


def times(pairs: Iterable[tuple[int, int]]) -> Intervals:
    """Return times with a start and a length each, in seconds."""
    return Intervals.of((T0 + start, T0 + start + length) for start, length in pairs)


class SameTests(SynchronousTestCase):
    """The results are those of the plainest way."""

    @given(PAIRS, st.dictionaries(st.sampled_from(NAMES), PAIRS), SELECTORS, PAIRS)
    def test_times_that_a_server_lacks(
        self,
        whole: list[tuple[int, int]],
        jobs: dict[str, list[tuple[int, int]]],
        selectors: list[SelectorReads],
        asked: list[tuple[int, int]],
    ) -> None:
        """They are those of each gap alone, put together."""
        holes = {name: [Hole(T0 + start, T0 + start + length, 5, 20) for start, length in own] for name, own in jobs.items()}
        missing = Missing.of(times(whole), holes)
        lacks = lacks_of(selectors, Coverage(JOBS, {A: missing}))
        read = lacks.read_by(Intervals.of((ms(start), ms(end)) for start, end in times(asked)))
        expected = NEVER
        for start, end in (*missing.whole, *((hole.start, hole.end) for own in missing.jobs.values() for hole in own)):
            expected |= read.within(ms(start), ms(end))
        self.assertEqual(lacks.lacked(A, read), expected)
        self.assertEqual(lacks.lacked(B, read), NEVER)

    @given(
        PAIRS,
        PAIRS,
        SELECTORS,
        st.integers(0, 500),
        st.integers(1, 40),
        st.integers(1, 40),
        st.integers(1, 20),
    )
    def test_servers_compared_at_each_step(
        self,
        own: list[tuple[int, int]],
        other: list[tuple[int, int]],
        selectors: list[SelectorReads],
        start: int,
        step: int,
        count: int,
        most: int,
    ) -> None:
        """The same servers are good enough as if all times were compared at once, however many gaps there are."""
        coverage = Coverage(JOBS, {A: Missing(times([(0, 1), *own])), B: Missing(times(other))})
        steps = Steps((T0 + start) * 1000, step * 1000, count)
        expected = levels_of(lacks_of(selectors, coverage), (A, B), steps)
        with patch.multiple(levels_module, MOST_BENDS=most):
            lacks = lacks_of(selectors, coverage)
            found = levels_of(lacks, (A, B), steps)
            ranks = [planning.ranked(lacks, steps, servers) for servers in ((A, B), (B, A))]
        for level in (0, -1):
            self.assertEqual(found[level], expected[level])
        lacks = lacks_of(selectors, coverage)
        self.assertEqual(ranks, [planning.ranked(lacks, steps, servers) for servers in ((A, B), (B, A))])

    def test_one_comparison_for_all_clients(self) -> None:
        """Clients that stay with different servers, and servers in another rank, cost no further comparison."""
        coverage = Coverage(JOBS, {A: Missing(times([(0, 100)])), B: Missing(times([(200, 300)]))})
        lacks, steps = lacks_of([SelectorReads(0.0, 0.0, newest=True, jobs=ALL_JOBS)], coverage), Steps(T0 * 1000, 10_000, 60)
        for candidates, own in (((A, B), A), ((A, B), B), ((B, A), A), ((B, A), B)):
            parts = planning.plan(lacks, steps, candidates, own).parts
            self.assertEqual([part.backend for part in parts], [B, A], (candidates, own))
        self.assertEqual(list(lacks.levels.at_all_times), [(A, B)])

    @given(
        st.lists(st.tuples(st.integers(-50, 400), st.integers(-4, 4)), max_size=20),
        st.integers(0, 9),
        st.integers(1, 30),
        st.integers(0, 9),
        st.integers(0, 40),
    )
    def test_sum_over_steps(self, bends: list[tuple[int, int]], base: int, step: int, first: int, count: int) -> None:
        """It is the sum of the values at each step, whether there are more steps or more bends."""
        line, at = polyline(bends, base), Steps(0, step, first + count + 1)
        expected = sum(line.at(at.time(number)) for number in range(first, first + count + 1))
        self.assertEqual(total(line, at, first, first + count), 2 * expected)

    @given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 3)), max_size=12), st.integers(0, 200), st.integers(1, 60))
    def test_segments_at_steps(self, edges: list[tuple[int, int]], start: int, step: int) -> None:
        """Each step is in the segment that has its time, and neighbors of one kind are one segment."""
        bounds = dict([(-10_000, 0), *edges])
        starts = sorted(bounds)
        ends = [each - 1 for each in starts[1:]] + [10_000]
        segments = [Segment(first, last, bounds[first]) for first, last in zip(starts, ends, strict=True)]
        steps = Steps(start, step, 9)
        found = GoodServers.of(segments).at_steps(steps)
        kinds = [next(each.good for each in segments if each.first <= steps.time(n) <= each.last) for n in range(9)]
        firsts = [0, *(end + 1 for end in found.ends[:-1])]
        lengths = zip(found.good, firsts, found.ends, strict=True)
        self.assertEqual([good for good, first, last in lengths for _ in range(first, last + 1)], kinds)
        self.assertEqual(firsts, [n for n in range(9) if n == 0 or kinds[n] != kinds[n - 1]])
        self.assertEqual(found, GoodServers.of_each(kinds))


HOLES = st.lists(
    st.builds(
        lambda start, length, missing: Hole(start, start + length, missing, 20), *[st.integers(0, 30)] * 2, st.integers(1, 3)
    )
)


class MissingTests(SynchronousTestCase):
    """The gaps of a server, which are put in order and made free of overlaps."""

    def assert_is_of(self, found: Missing, whole: Intervals, holes: list[Hole]) -> None:
        """Check that gaps of one job are those of each second, in as few gaps as possible."""
        seconds = {s: max((h.missing for h in holes if h.start <= s < h.end), default=0) for s in range(70) if s not in whole}
        self.assertEqual(
            {int(s): hole.missing for hole in found.jobs.get("node", ()) for s in range(int(hole.start), int(hole.end))},
            {s: missing for s, missing in seconds.items() if missing},
        )
        own = found.jobs.get("node", ())
        for one, other in pairwise(own):
            self.assertTrue(one.end < other.start or (one.end == other.start and one.missing != other.missing))
        self.assertEqual(found.whole, whole)

    @given(PAIRS, HOLES, st.booleans())
    def test_gaps_in_any_order(self, pairs: list[tuple[int, int]], holes: list[Hole], is_twice: bool) -> None:
        """Where they overlap, the one with more missing targets counts; what is made of the result is the result."""
        whole = Intervals.of((start // 10, start // 10 + length) for start, length in pairs[:2])
        found = Missing.of(whole, {"node": holes})
        if is_twice:
            found = Missing.of(found.whole, found.jobs)
        self.assert_is_of(found, whole, holes)
        self.assertEqual(found.since, found.times.hull[0] if found.times.hull else math.inf)

    @given(PAIRS, HOLES, PAIRS, HOLES)
    def test_union(
        self, whole: list[tuple[int, int]], holes: list[Hole], other_whole: list[tuple[int, int]], other_holes: list[Hole]
    ) -> None:
        """It has the gaps of both values, also if one of them has none."""
        wholes = [Intervals.of((start, start + length) for start, length in pairs) for pairs in (whole, other_whole)]
        one, other = Missing.of(wholes[0], {"node": holes}), Missing.of(wholes[1], {"node": other_holes})
        self.assert_is_of(one | other, wholes[0] | wholes[1], [*holes, *other_holes])


class PublishTests(SynchronousTestCase):
    """The knowledge of two servers with as many gaps as are kept."""

    def setUp(self) -> None:
        self.knowledge = Knowledge()
        self.knowledge.surveyed(JOBS)
        self.knowledge.looked_at(T0, T0 + 15.0 * DAY)
        for server in (A, B):
            self.knowledge.sees(server, Missing.of(NEVER, {"node": [Hole(T0, math.inf, 5, 20)]}), T0)
            holes = [Hole(at, at + 90, 5, 20) for at in (T0 + 648.0 * n for n in range(MOST_HOLES))]
            self.knowledge.found(server, ALWAYS, list(JOBS), Missing.of(NEVER, {"node": holes}))
            self.knowledge.sees(server, NOTHING, T0 + 90)
        self.knowledge.publish()
        self.made = 0

    def count(self) -> None:
        """Count the gaps that are put in order from now on."""
        flat = coverage_module._flat

        def counting(holes: tuple[Hole, ...], whole: Intervals) -> tuple[Hole, ...]:
            self.made += len(holes)
            return flat(holes, whole)

        self.patch(coverage_module, "_flat", counting)

    def test_nothing_has_changed(self) -> None:
        """Then no gap is looked at, although the same things are reported again."""
        before = self.knowledge.coverage
        self.count()
        self.knowledge.surveyed(JOBS)
        self.knowledge.configured({A: list(JOBS), B: list(JOBS)})
        self.knowledge.aged({A: T0 - 1.0, B: T0 - 1.0})
        self.knowledge.looked_at(T0, T0 + 15.0 * DAY)
        self.knowledge.sees(A, NOTHING, T0 + 100.0)
        self.assertFalse(self.knowledge.publish())
        self.assertIs(self.knowledge.coverage, before)
        self.assertEqual(self.made, 0)

    def test_one_server_has_changed(self) -> None:
        """Then the value of the other one stays as it is."""
        before = self.knowledge.coverage.missing[B]
        self.count()
        self.knowledge.sees(A, Missing.of(NEVER, {"web": [Hole(T0 + 15.0 * DAY, math.inf, 5, 20)]}), T0 + 15.0 * DAY)
        self.assertTrue(self.knowledge.publish())
        self.assertIs(self.knowledge.coverage.missing[B], before)
        self.assertIn("web", self.knowledge.coverage.missing[A].jobs)
        self.assertLess(self.made, 2 * MOST_HOLES)


class WorkTests(SynchronousTestCase):
    """Two servers with as many gaps as are kept, at different times."""

    def setUp(self) -> None:
        apart = 15 * DAY / MOST_HOLES
        missing = {
            server: Missing.of(
                NEVER, {"node": [Hole(at, at + 90, 5, 20) for at in (T0 + after + apart * n for n in range(MOST_HOLES))]}
            )
            for server, after in ((A, 0), (B, 100))
        }
        missing[B] |= Missing(Intervals.of([(0.0, 1.0)]))
        self.coverage, self.planner = Coverage(JOBS, missing), Planner(QueryMemory())

    def visited(self, seconds: int, step: int) -> int:
        """Plan a query twice; return how many edges the second plan, which has a warning, goes through."""
        end = (T0 + 15 * DAY) * 1000
        request = DataRequest(DataKind.RANGE, (b"rate(x[5m])",), end - seconds * 1000, end, step * 1000)
        self.planner.plan(request, self.coverage, (A, B), A, splice=True)
        sizes: list[int] = []
        combine = intervals_module._sorted

        def counting(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[list[float], list[float]]:
            sizes.append(len(one) + len(other))
            return combine(one, other)

        self.patch(intervals_module, "_sorted", counting)
        found = self.planner.plan(request, self.coverage, (A, B), A, splice=True)
        self.patch(intervals_module, "_sorted", combine)
        assert found is not None
        self.assertIn("mpp: no server could answer", found.plan.warning)
        return sum(sizes)

    def test_servers_are_compared_at_the_steps_of_a_query(self) -> None:
        """And once for the plans of equal ranges; the gaps that no step reads cost nothing."""
        compared = 0
        compare = levels_module.compared_at_each

        def counting(lacks: Sequence[Sequence[int]], *arguments: Any) -> list[int]:
            nonlocal compared
            compared += len(lacks[0])
            return compare(lacks, *arguments)

        self.patch(levels_module, "compared_at_each", counting)
        self.patch(levels_module, "compared", lambda *_: self.fail("compared at all times"))
        for _ in range(2):
            self.visited(3600, 15)
            self.visited(15 * DAY, 1200)
        self.assertEqual(compared, 2 * (241 + 1081))

    def test_short_range_costs_what_lies_in_it(self) -> None:
        """The gaps of one hour are gone through, and not those of 15 days."""
        self.assertLess(self.visited(3600, 15), 1000)

    def test_long_range_goes_through_all_gaps_a_few_times(self) -> None:
        """And not once for each gap."""
        self.assertLess(self.visited(15 * DAY, 1200), 20 * MOST_HOLES)
