"""Servers with thousands of gaps: the results are those of going through all of them, and the work is much less."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core import intervals as intervals_module
from mpp.core.coverage import Coverage, Hole, Job, Missing
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend
from mpp.core.prometheus.data_requests import DataKind, DataRequest
from mpp.coverage.knowledge import MOST_HOLES
from mpp.coverage.planning.planner import Planner
from mpp.coverage.planning.polyline import Polyline
from mpp.coverage.planning.query_lacks import lacks_of
from mpp.coverage.planning.selectors import ms
from mpp.coverage.planning.steps import Segment, Steps, at_steps, total
from mpp.promql.jobs import ALL_JOBS
from mpp.promql.memory import QueryMemory
from mpp.promql.reads import SelectorReads

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
        st.lists(st.tuples(st.integers(-50, 400), st.integers(-4, 4)), max_size=20),
        st.integers(0, 9),
        st.integers(1, 30),
        st.integers(0, 9),
        st.integers(0, 40),
    )
    def test_sum_over_steps(self, bends: list[tuple[int, int]], base: int, step: int, first: int, count: int) -> None:
        """It is the sum of the values at each step, whether there are more steps or more bends."""
        line, at = Polyline.of(bends, base), Steps(0, step, first + count + 1)
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
        found = at_steps(segments, steps)
        kinds = [next(each.good for each in segments if each.first <= steps.time(n) <= each.last) for n in range(9)]
        self.assertEqual([each.good for each in found for _ in range(each.first, each.last + 1)], kinds)
        self.assertEqual([each.first for each in found], [n for n in range(9) if n == 0 or kinds[n] != kinds[n - 1]])


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

    def test_short_range_costs_what_lies_in_it(self) -> None:
        """The gaps of one hour are gone through, and not those of 15 days."""
        self.assertLess(self.visited(3600, 15), 1000)

    def test_long_range_goes_through_all_gaps_a_few_times(self) -> None:
        """And not once for each gap."""
        self.assertLess(self.visited(15 * DAY, 1200), 20 * MOST_HOLES)
