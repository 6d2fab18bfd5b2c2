"""A time in which no server has any data: it gives a warning, and changes nothing else."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.coverage import Coverage, Job, Missing
from mpp.core.generators import result_of
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend
from mpp.core.prometheus.data_requests import DataKind, DataRequest
from mpp.coverage.planning import plan as planning
from mpp.coverage.planning.plan import QueryPlan, good_steps, plan
from mpp.coverage.planning.planner import Planner
from mpp.coverage.planning.query_lacks import QueryLacks
from mpp.coverage.planning.request_plan import RequestPlan
from mpp.coverage.planning.steps import Steps
from mpp.promql.jobs import ALL_JOBS
from mpp.promql.memory import QueryMemory
from mpp.promql.reads import SelectorReads
from tests.lacks import lacks_of

A, B = (Backend("http", name, 9090) for name in "ab")
T0 = 1_700_000_000
JOBS = {"node": Job(20, 10.0)}
INSTANT = SelectorReads(0.0, 0.0, newest=True, jobs=ALL_JOBS)


def rate(seconds: float) -> SelectorReads:
    """Return what ``rate(x[seconds])`` reads."""
    return SelectorReads(-seconds, 0.0, newest=False, jobs=ALL_JOBS)


def whole(start: float, end: float) -> Missing:
    """Return a gap of a whole server, in seconds after `T0`."""
    return Missing(Intervals.of([(T0 + start, T0 + end)]))


def steps(start: float, end: float) -> Steps:
    """Return steps of 10 s, in seconds after `T0`."""
    return Steps.until(*(round((T0 + each) * 1000) for each in (start, end)), 10_000)


def lacks(missing: Mapping[Backend, Missing], common: Intervals, *selectors: SelectorReads) -> QueryLacks:
    """Return the lacks of a query; the common ones in seconds after `T0`."""
    return lacks_of(selectors or (INSTANT,), Coverage(JOBS, missing, common.shift(T0)))


def shown(found: QueryPlan) -> list[tuple[str, int, int]]:
    """Return the parts with the names of their servers."""
    return [(each.backend.host, each.first, each.last) for each in found.parts]


TIMES = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=3).map(
    lambda pairs: Intervals.of((10.0 * start, 10.0 * (start + length)) for start, length in pairs)
)
"""Times in seconds after `T0`."""


class CommonLackTests(SynchronousTestCase):
    """Two servers that both lack the time from 200 s to 260 s."""

    common = Intervals.of([(200.0, 260.0)])

    def asked(
        self, *selectors: SelectorReads, missing: Mapping[Backend, Missing] | None = None, until: float = 600.0
    ) -> QueryPlan:
        """Return the plan of a graph."""
        return plan(lacks(missing or {}, self.common, *selectors), steps(0, until), (A, B), B)

    def test_client_is_warned(self) -> None:
        """A graph over the time is answered by the client's own server, with a warning that has the times."""
        found = self.asked()
        self.assertEqual(shown(found), [("b", 0, 60)])
        self.assertEqual(found.warning, "mpp: no server in service has all data from 2023-11-14 22:16:40 to 22:17:40 UTC")

    def test_times_beside_it_have_no_warning(self) -> None:
        """Steps whose newest scrape is there get no warning, and neither does a range of which it is less than 1 %."""
        self.assertEqual(plan(lacks({}, self.common), steps(0, 200), (A, B), B).warning, "")
        self.assertEqual(plan(lacks({}, self.common), steps(270, 600), (A, B), B).warning, "")
        self.assertEqual(self.asked(rate(6100)).warning, "")
        self.assertNotEqual(self.asked(rate(5900)).warning, "")

    def test_gaps_beside_it_are_filled(self) -> None:
        """What one server lacks beside it is asked of the other one; the warning names the common time only."""
        missing: dict[Backend, Missing] = {A: whole(100, 230), B: whole(230, 400)}
        found = self.asked(missing=missing)
        self.assertEqual([name for name, _, _ in shown(found)], ["b", "a"])
        self.assertIn("no server in service has all data from 2023-11-14 22:16:40 to 22:17:40 UTC", found.warning)

    @given(TIMES, TIMES, TIMES)
    def test_no_query_moves(self, own: Intervals, other: Intervals, common: Intervals) -> None:
        """Whatever servers lack in common, the parts of a query are those without it."""
        missing = {A: Missing(own.shift(T0)), B: Missing(other.shift(T0))}
        for selectors in ((INSTANT,), (rate(100),), (INSTANT, rate(35))):
            plain, found = (plan(lacks(missing, each, *selectors), steps(0, 600), (A, B), A) for each in (NEVER, common))
            self.assertEqual(found.parts, plain.parts)
            if plain.warning:
                self.assertTrue(found.warning)

    def test_cache_keeps_it_when_it_is_final(self) -> None:
        """The steps of a common gap are kept only where such a gap counts as final."""
        at = steps(0, 600)
        # A step reads two scrape intervals; the edges are rounded outwards.
        self.assertEqual(list(result_of(good_steps(lacks({}, self.common), at, A, [B], NEVER))), [(0, 20), (27, 61)])
        every = Intervals.of([(0, 1e15)])
        self.assertEqual(list(result_of(good_steps(lacks({}, self.common), at, A, [B], every))), [(0, 61)])


class CommonPlannerTests(SynchronousTestCase):
    """The planner of requests, while all servers lack the same time."""

    def setUp(self) -> None:
        self.planner = Planner(QueryMemory())
        self.coverage = Coverage(JOBS, {}, Intervals.of([(T0 + 200.0, T0 + 260.0)]))

    def planned(self, start: float, end: float, coverage: Coverage | None = None) -> RequestPlan | None:
        """Return the plan of a graph."""
        first, last = (round((T0 + each) * 1000) for each in (start, end))
        request = DataRequest(DataKind.RANGE, (b"up",), first, last, 10_000)
        return self.planner.plan(request, coverage or self.coverage, (A, B), A, splice=True)

    def test_plan_only_for_the_warning(self) -> None:
        """A query gets a plan only if it gets a warning."""
        self.assertIsNone(self.planned(0, 150))
        self.assertIsNone(self.planned(280, 600))
        found = self.planned(0, 600)
        assert found is not None
        self.assertTrue(found.is_spliced)
        self.assertFalse(found.is_divided)
        self.assertFalse(found.is_material)
        self.assertFalse(found.differs)
        self.assertEqual(found.sentences(), [f'The response gets a warning: "{found.plan.warning}".'])

    def test_cached_responses_get_it_without_a_comparison(self) -> None:
        """Viewers of the same panel get the same warning; it is worked out anew when the servers lack something else."""
        request = DataRequest(DataKind.RANGE, (b"up",), T0 * 1000, (T0 + 600) * 1000, 10_000)
        compared: list[object] = []
        warning_of = planning.warning_of

        def counted(*arguments: Any) -> Generator[None, None, QueryPlan]:
            compared.append(arguments)
            return warning_of(*arguments)

        def warning(coverage: Coverage) -> str:
            return result_of(self.planner.warning(request, coverage, [(A, 0, 60)], [A, B]))

        self.patch(planning, "warning_of", counted)
        for _ in range(3):
            found = warning(self.coverage)
        self.assertTrue(found.startswith("mpp: no server in service has all data from "), found)
        self.assertEqual(len(compared), 1)
        later = Coverage(JOBS, {}, Intervals.of([(T0 + 300.0, T0 + 360.0)]))
        self.assertNotIn(warning(later), ("", found))
        self.assertEqual(warning(Coverage(JOBS)), "")
