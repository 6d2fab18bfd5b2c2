"""The steps at which a server lacks nothing, or nothing that another one has: they may be cached."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core import intervals as intervals_module
from mpp.core.coverage import Coverage, Hole, Job, Missing
from mpp.core.generators import result_of
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend
from mpp.core.prometheus.data_requests import DataKind, DataRequest
from mpp.coverage.planning.plan import good_steps, plan
from mpp.coverage.planning.planner import Planner
from mpp.coverage.planning.polyline import Polyline
from mpp.coverage.planning.query_lacks import QueryLacks
from mpp.coverage.planning.steps import Steps
from mpp.promql.jobs import ALL_JOBS
from mpp.promql.memory import QueryMemory
from mpp.promql.reads import SelectorReads
from tests.lacks import lacks_of

SERVERS = tuple(Backend("http", name, 9090) for name in "abc")
A, B, C = SERVERS
T0 = 1_700_000_000
JOBS = {"node": Job(20, 10.0)}
RATE = SelectorReads(-30.0, 0.0, newest=False, jobs=ALL_JOBS)
INSTANT = SelectorReads(0.0, 0.0, newest=True, jobs=ALL_JOBS)
DAY = 86_400


def whole(*gaps: tuple[float, float]) -> Missing:
    """Return gaps of a whole server, in seconds after `T0`."""
    return Missing(Intervals.of((T0 + start, T0 + end) for start, end in gaps))


def lacks(missing: Mapping[Backend, Missing], common: Intervals = NEVER, selector: SelectorReads = RATE) -> QueryLacks:
    """Return the lacks of a selector; the common ones in seconds after `T0`."""
    return lacks_of((selector,), Coverage(JOBS, missing, common.shift(T0)))


def steps(start: float, end: float, step: int = 10) -> Steps:
    """Return steps in seconds after `T0`."""
    return Steps.until(*(round((T0 + each) * 1000) for each in (start, end)), step * 1000)


def step_by_step(found: QueryLacks, at: Steps, backend: Backend, shared: Intervals) -> list[tuple[int, int]]:
    """Return the good steps by asking for a plan of each step alone."""
    good = []
    for number in range(at.count):
        time = at.time(number)
        (part,) = plan(found, Steps(time), SERVERS, backend).parts
        lacking = time in result_of(found.of(backend).needed.above(0)) or time in found.lacked_by_all
        good.append(part.backend == backend and (not lacking or time in shared))
    runs = [(first, list(run)) for first, run in itertools.groupby(range(at.count), key=good.__getitem__)]
    return [(run[0], run[-1]) for is_good, run in runs if is_good]


def good(found: QueryLacks, at: Steps, backend: Backend, others: Sequence[Backend], shared: Intervals) -> list[tuple[int, int]]:
    """Return the result of `good_steps` as the first and the last of consecutive steps."""
    return [(int(start), int(end) - 1) for start, end in result_of(good_steps(found, at, backend, others, shared))]


GAPS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=3).map(
    lambda pairs: Intervals.of((10.0 * start, 10.0 * (start + length)) for start, length in pairs)
)


class GoodStepsTests(SynchronousTestCase):
    """Three servers, of which some lack data of a rate over 30 s, or of an instant selector."""

    def test_lack_of_what_is_looked_back_on(self) -> None:
        """A series that ended in the gap of a server has its last sample at the other one only."""
        found = lacks({B: whole((100, 200))}, selector=INSTANT)
        self.assertEqual(good(found, steps(0, 600), B, [A], NEVER), [(0, 9), (50, 60)])
        self.assertEqual(good(found, steps(0, 600), A, [B], NEVER), [(0, 60)])

    def test_gap_of_another_server_does_not_matter(self) -> None:
        """All steps of the server that has everything are one sequence, also beside the gap of another one."""
        self.assertEqual(good(lacks({B: whole((100, 200))}), steps(0, 600), A, [B], NEVER), [(0, 60)])

    def test_lack_between_two_steps_does_not_matter(self) -> None:
        """A lack that no step reads does not divide them."""
        found = lacks({}, Intervals.of([(330.0, 340.0)]))
        self.assertEqual(good(found, steps(0, 1200, 100), A, [B], NEVER), [(0, 12)])

    @given(
        st.tuples(GAPS, GAPS, GAPS),
        GAPS,
        st.integers(1, 50),
        st.sampled_from(SERVERS),
        st.integers(0, 600),
        st.permutations(SERVERS),
        st.sampled_from((RATE, INSTANT)),
    )
    def test_they_are_those_of_each_step(
        self,
        gaps: tuple[Intervals, ...],
        common: Intervals,
        step: int,
        backend: Backend,
        shared_until: int,
        ranked: list[Backend],
        selector: SelectorReads,
    ) -> None:
        """However the servers are ranked, and whichever of them is asked about first."""
        missing = {server: Missing(each.shift(T0)) for server, each in zip(SERVERS, gaps, strict=True)}
        shared = Intervals.of([(-math.inf, 1000.0 * (T0 + shared_until))])
        found, at = lacks(missing, common, selector), steps(0, 700, step)
        expected = step_by_step(found, at, backend, shared)
        self.assertEqual(good(found, at, backend, ranked, shared), expected)
        self.assertEqual(good(found, at, backend, SERVERS, shared), expected)


class WorkTests(SynchronousTestCase):
    """Two servers with 500 gaps each, and a query of which 90 ranges are looked at."""

    def test_each_range_costs_what_lies_in_it(self) -> None:
        """The gaps are gone through once for the query, and for each range only those within it."""
        gaps = [T0 + 15 * DAY * number / 500 for number in range(500)]
        missing = {
            server: Missing.of(NEVER, {"node": [Hole(start + after, start + after + 90, 5, 20) for start in gaps]})
            for server, after in ((A, 0), (B, 600))
        }
        coverage, planner = Coverage(JOBS, missing), Planner(QueryMemory())
        shared = Intervals.of([(-math.inf, 1000.0 * (T0 + 14 * DAY))])
        visited, lines = [], []
        combine, above = intervals_module._sorted, Polyline.above

        def counting(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[list[float], list[float]]:
            visited.append(len(one) + len(other))
            return combine(one, other)

        def counted_above(line: Polyline, limit: float) -> Generator[None, None, Intervals]:
            lines.append(line)
            return above(line, limit)

        self.patch(intervals_module, "_sorted", counting)
        self.patch(Polyline, "above", counted_above)
        found = 0
        for number in range(90):
            start = (T0 + number * DAY // 6) * 1000
            request = DataRequest(DataKind.RANGE, (b"rate(x[5m])",), start, start + 14_280_000, 120_000)
            found += len(list(result_of(planner.good_steps(request, coverage, [A], (B, A), shared))[A]))
        self.assertGreater(found, 400)
        # One for each server and for the lacks of the server that is asked about.
        self.assertLessEqual(len(lines), 3)
        # Four edges of each gap that lies in a range, and those of the range.
        self.assertLess(sum(visited), 10 * (500 + 90))
