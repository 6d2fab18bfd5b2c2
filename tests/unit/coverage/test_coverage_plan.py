"""Which server answers which steps of a query."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.coverage import Coverage, Hole, Job, Missing
from mpp.core.intervals import Intervals
from mpp.core.model import Backend
from mpp.coverage.planning.plan import MOST_PARTS, QueryPlan, lacks_no_more, plan, ranked, why
from mpp.coverage.planning.query_lacks import QueryLacks
from mpp.coverage.planning.steps import Steps, total
from mpp.promql.jobs import job_matchers
from mpp.promql.labels import equal
from mpp.promql.reads import SelectorReads
from tests.lacks import lacks_of
from tests.polylines import polyline

A, B, C = (Backend("http", name, 9090) for name in "abc")
T0 = 1_700_000_000
WINDOW = 10.0
TARGETS = 20
INSTANT = SelectorReads(0.0, 0.0, newest=True)


def rate(seconds: float) -> SelectorReads:
    """Return what ``rate(x[seconds])`` reads."""
    return SelectorReads(-seconds, 0.0, newest=False)


def whole(*pairs: tuple[float, float]) -> Missing:
    """Return holes of a whole server, in seconds after `T0`."""
    return Missing(Intervals.of((T0 + start, T0 + end) for start, end in pairs))


def part(start: float, end: float, missing: int, job: str = "node") -> Missing:
    """Return a hole of one job."""
    return Missing.of(Intervals(), {job: [Hole(T0 + start, T0 + end, missing, TARGETS)]})


def covered(missing: dict[Backend, Missing], *jobs: str) -> Coverage:
    """Return what the servers lack, with some jobs of the same size."""
    return Coverage(dict.fromkeys(jobs or ("node",), Job(TARGETS, WINDOW)), missing)


def steps(start: float, end: float, step: float) -> Steps:
    """Return steps, in seconds after `T0`."""
    return Steps.until(*(round((T0 + each) * 1000) for each in (start, end)), round(step * 1000))


def asked(
    missing: dict[Backend, Missing],
    at: Steps,
    *selectors: SelectorReads,
    own: Backend = A,
    splice: bool = True,
    jobs: Sequence[str] = (),
    candidates: Sequence[Backend] = (A, B),
) -> QueryPlan:
    """Return the plan for a query."""
    return plan(lacks_of(selectors or (INSTANT,), covered(missing, *jobs)), at, candidates, own, splice=splice)


def shown(found: QueryPlan) -> list[tuple[str, int, int]]:
    """Return the parts with the names of their servers."""
    return [(each.backend.host, each.first, each.last) for each in found.parts]


class WholeTests(SynchronousTestCase):
    """One server that has all."""

    def test_nothing_lacks(self) -> None:
        """The client's own server answers while no server lacks anything."""
        found = asked({}, steps(0, 600, 10), own=B)
        self.assertEqual(shown(found), [("b", 0, 60)])
        self.assertEqual(found.warning, "")

    def test_hole_out_of_reach(self) -> None:
        """A hole that the query does not read changes nothing."""
        self.assertEqual(shown(asked({A: whole((0, 60))}, steps(1000, 1600, 10), rate(300))), [("a", 0, 60)])

    def test_other_server_has_all(self) -> None:
        """If another server has all that is needed it answers all, and the plan says why."""
        found = asked({A: whole((100, 200))}, steps(0, 600, 10))
        self.assertEqual(shown(found), [("b", 0, 60)])
        self.assertEqual(
            why(lacks_of([INSTANT], covered({A: whole((100, 200))})), steps(0, 600, 10), A, found.parts),
            "a:9090 lacks 2023-11-14 22:15:00 to 22:16:40 UTC (20 of 20 targets of node); b:9090 has more",
        )
        self.assertEqual(found.warning, "")

    def test_instant_query_in_a_hole(self) -> None:
        """An instant query goes to the server that has its newest scrape."""
        self.assertEqual(shown(asked({A: whole((100, 200))}, steps(150, 150, 1))), [("b", 0, 0)])

    def test_hole_that_is_only_looked_back_on(self) -> None:
        """A hole before the newest scrape is worth another server, but no warning if all servers have one."""
        after = steps(250, 250, 1)
        self.assertEqual(shown(asked({A: whole((100, 200))}, after)), [("b", 0, 0)])
        both = asked({A: whole((100, 200)), B: whole((20, 200))}, after)
        self.assertEqual((shown(both), both.warning), ([("a", 0, 0)], ""))

    def test_job_that_is_not_read(self) -> None:
        """A hole of a job that the query does not read changes nothing."""
        missing = {A: part(100, 200, 5, "blackbox")}
        node = SelectorReads(0.0, 0.0, newest=True, jobs=job_matchers([equal("node", negative=False)]))
        blackbox = SelectorReads(0.0, 0.0, newest=True, jobs=job_matchers([equal("blackbox", negative=False)]))
        at, jobs = steps(150, 150, 1), ("node", "blackbox")
        self.assertEqual(shown(asked(missing, at, node, jobs=jobs)), [("a", 0, 0)])
        self.assertEqual(shown(asked(missing, at, blackbox, jobs=jobs)), [("b", 0, 0)])

    def test_all_jobs_but_one(self) -> None:
        """A query of all jobs but one reads the others, at each scrape interval."""
        pool = Coverage({"quick": Job(5, 10.0), "node": Job(20, 30.0), "other": Job(3, 30.0)})
        reads = SelectorReads(0.0, 0.0, True, jobs=job_matchers([equal("node", negative=True)]))
        ((_, groups),) = lacks_of([reads], pool).selectors
        self.assertEqual(
            [(each.window, each.jobs, each.targets) for each in groups], [(10.0, {"quick"}, 5), (30.0, {"other"}, 3)]
        )

    def test_job_that_nobody_remembers(self) -> None:
        """A hole of the whole server counts for jobs that are in no configuration any more."""
        lacks = lacks_of([INSTANT], Coverage({}, {A: whole((100, 200))}))
        self.assertEqual(plan(lacks, steps(150, 150, 1), (A, B), A).parts[0].backend, B)

    def test_younger_server(self) -> None:
        """A server that has nothing before its beginning is not asked for that."""
        younger = {A: Missing(Intervals.of([(-math.inf, T0 + 300.0)]))}
        self.assertEqual(shown(asked(younger, steps(0, 600, 10))), [("b", 0, 60)])
        self.assertEqual(shown(asked(younger, steps(700, 900, 10), INSTANT)), [("a", 0, 20)])

    def test_stopped_server(self) -> None:
        """A server whose hole goes on is asked for the past, and another one for now."""
        stopped = {A: Missing(Intervals.of([(T0 + 300.0, math.inf)]))}
        self.assertEqual(shown(asked(stopped, steps(0, 200, 10))), [("a", 0, 20)])
        self.assertEqual(shown(asked(stopped, steps(400, 600, 10))), [("b", 0, 20)])

    def test_both_stopped(self) -> None:
        """If no server has the newest data, the client's own server answers, and the response has a warning."""
        stopped = Missing(Intervals.of([(T0 + 300.0, math.inf)]))
        found = asked({A: stopped, B: stopped}, steps(400, 400, 1), own=B)
        self.assertEqual(shown(found), [("b", 0, 0)])
        self.assertEqual(found.warning, "mpp: no server in service has all data from 2023-11-14 22:19:50 to 22:20:00 UTC")

    def test_fixed_time(self) -> None:
        """What is read behind an ``@`` counts at each step."""
        fixed = SelectorReads(T0 + 150.0, T0 + 150.0, newest=True, fixed=True)
        self.assertEqual(shown(asked({A: whole((100, 200))}, steps(5000, 5600, 10), fixed)), [("b", 0, 60)])

    def test_drift_of_a_named_job_is_not_warned_about(self) -> None:
        """Drift counts for a query that names the job, and is never warned about."""
        drifted = Missing(drift={"node": 5})
        node = SelectorReads(0.0, 0.0, newest=True, jobs=job_matchers([equal("node", negative=False)]))
        self.assertEqual(shown(asked({A: drifted}, steps(0, 600, 10))), [("a", 0, 60)])
        self.assertEqual(shown(asked({A: drifted}, steps(0, 600, 10), node)), [("b", 0, 60)])
        self.assertEqual(asked({A: drifted, B: drifted}, steps(0, 600, 10), node).warning, "")


class DividedTests(SynchronousTestCase):
    """Several servers for one range."""

    def test_two_holes(self) -> None:
        """Each server answers where the other one has a hole; the joint is where the own server can begin."""
        found = asked({A: whole((100, 200)), B: whole((400, 500))}, steps(0, 1000, 10), rate(20))
        self.assertEqual(shown(found), [("b", 0, 21), ("a", 22, 100)])
        self.assertEqual(found.warning, "")

    def test_never_divided(self) -> None:
        """A query that must not be divided goes whole to the server that lacks least, with a warning."""
        missing = {A: whole((100, 300)), B: whole((400, 500))}
        found = asked(missing, steps(0, 1000, 10), rate(20), splice=False)
        self.assertEqual(shown(found), [("b", 0, 100)])
        self.assertEqual(
            found.warning, "mpp: no server could answer with all data; b:9090 lacks 2023-11-14 22:20:00 to 22:21:40 UTC"
        )

    def test_each_server_lacks_another_part_of_one_range(self) -> None:
        """An evaluation that reads the holes of both servers cannot be divided; no time is missing on all of them."""
        found = asked({A: whole((100, 300)), B: whole((400, 500))}, steps(900, 900, 10), rate(900))
        self.assertEqual(shown(found), [("b", 0, 0)])
        self.assertTrue(found.warning.startswith("mpp: no server could answer with all data; b:9090 lacks "), found.warning)

    def test_too_many_parts(self) -> None:
        """A range that would need more than `MOST_PARTS` goes to one server."""
        count = MOST_PARTS
        missing = {
            A: whole(*((1000 * n, 1000 * n + 100) for n in range(count))),
            B: whole(*((1000 * n + 500, 1000 * n + 590) for n in range(count))),
        }
        found = asked(missing, steps(0, 1000 * count, 10), rate(20))
        self.assertEqual(len(found.parts), 1)
        self.assertEqual(found.parts[0].backend, B)
        self.assertIn("and 29 more times", found.warning)

    def test_only_a_restart_in_a_short_range_warns(self) -> None:
        """A restart within the range of a long rate is no reason to warn; the same restart within a short one is."""
        missing = {A: whole((100, 120)), B: whole((160, 180))}
        self.assertEqual(asked(missing, steps(5000, 5000, 1), rate(86400)).warning, "")
        self.assertIn("no server in service has all data", asked(missing, steps(200, 200, 1), rate(600)).warning)

    def test_hole_between_two_scrapes(self) -> None:
        """Holes of both servers that do not fill the window of an instant selector leave it a scrape."""
        missing = {A: whole((100, 120)), B: whole((115, 140))}
        self.assertEqual(asked(missing, steps(0, 300, 1)).warning, "")

    def test_hedge_lacks_no_more(self) -> None:
        """Only a server that lacks no more of the steps may answer in place of another one."""
        lacks = lacks_of([INSTANT], covered({A: whole((100, 200)), B: whole((150, 160))}))
        at = steps(0, 300, 10)
        self.assertFalse(lacks_no_more(lacks, at, A, B))
        self.assertTrue(lacks_no_more(lacks, at, B, B))
        self.assertTrue(lacks_no_more(lacks, steps(0, 90, 10), A, B))
        self.assertTrue(lacks_no_more(lacks, at, C, B))

    def test_hedge_lacks_no_more_of_what_is_looked_back_on(self) -> None:
        """A series that ended in a gap has its last sample in the lookback of the steps after the gap."""
        lacks = lacks_of([INSTANT], covered({A: whole((100, 200))}))
        self.assertFalse(lacks_no_more(lacks, steps(300, 400, 10), A, B))
        self.assertTrue(lacks_no_more(lacks, steps(300, 400, 10), B, A))
        self.assertTrue(lacks_no_more(lacks, steps(510, 600, 10), A, B))

    def test_servers_are_ranked_by_what_they_lack(self) -> None:
        """The servers are ranked by what they lack of all steps, in their own order where that is equal."""
        lacks = lacks_of([INSTANT], covered({A: whole((100, 200)), B: whole((140, 160))}))
        self.assertEqual(ranked(lacks, steps(0, 300, 10), (A, B, C)), [C, B, A])
        self.assertEqual(ranked(lacks, steps(1000, 1300, 10), (A, B, C)), [A, B, C])


SECONDS = st.integers(0, 120)
HOLES = st.builds(
    lambda pairs, holes: Missing.of(
        Intervals.of((T0 + min(p), T0 + max(p)) for p in pairs),
        {"node": [Hole(T0 + min(p), T0 + max(p), n, TARGETS) for *p, n in holes if p[0] != p[1]]},
    ),
    st.lists(st.tuples(SECONDS, SECONDS), max_size=2),
    st.lists(st.tuples(SECONDS, SECONDS, st.integers(1, TARGETS)), max_size=3),
)
SELECTORS = st.lists(
    st.builds(
        lambda length, offset, newest: SelectorReads(-offset - (0 if newest else length), -offset, newest=newest),
        st.integers(1, 60).map(float),
        st.integers(-5, 20).map(float),
        st.booleans(),
    ),
    min_size=1,
    max_size=2,
)


def naive(missing: Missing, selectors: Sequence[SelectorReads], at: int, before: float) -> int:
    """Return the missing target-milliseconds of one step, by adding up milliseconds' worth of seconds one by one."""
    found = 0
    for selector in dict.fromkeys(selectors):
        start = selector.start - (before if selector.newest else 0)
        for second in range(int(at + start), int(at + selector.end)):
            if second in missing.whole:
                found += TARGETS * 1000
            found += sum(hole.missing * 1000 for hole in missing.jobs.get("node", ()) if hole.start <= second < hole.end)
    return found


def fewest(good: list[set[Backend]]) -> int:
    """Return the fewest parts in which each step has a good server, by trying all at each step."""
    costs = dict.fromkeys((A, B, C), 1)
    for number, each in enumerate(good):
        least = min(costs.values())
        costs = {b: min(costs[b], least + 1) if number else 1 for b in (A, B, C)}
        costs = {b: cost if b in each else 10**6 for b, cost in costs.items()}
    return min(costs.values())


class AlongTests(SynchronousTestCase):
    """The values of a function at many times."""

    @given(
        st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9))),
        st.integers(-9, 9),
        st.lists(st.integers(-12, 12)).map(sorted),
    )
    def test_values_are_those_at_each_time(self, bends: list[tuple[int, int]], base: int, times: list[int]) -> None:
        """They are the same as asked for one by one."""
        line = polyline(bends, base)
        self.assertEqual(line.along(times), [line.at(time) for time in times])
        # Several bends at the same time add up.
        expected = [base + sum(change * max(0, time - bend) for bend, change in bends) for time in times]
        self.assertEqual(line.along(times), expected)


class TotalTests(SynchronousTestCase):
    """Sums over steps."""

    @given(
        st.lists(st.tuples(st.integers(-50, 150), st.integers(-4, 4)), max_size=6),
        st.integers(0, 9),
        st.integers(1, 30),
        st.integers(0, 12),
        st.integers(0, 12),
    )
    def test_total_is_the_sum_over_steps(
        self, bends: list[tuple[int, int]], base: int, step: int, first: int, count: int
    ) -> None:
        """The sum over some steps is that of the values at each of them."""
        line, at = polyline(bends, base), Steps(0, step, first + count + 1)
        expected = sum(line.at(at.time(number)) for number in range(first, first + count + 1))
        self.assertEqual(total(line, at, first, first + count), 2 * expected)


class PropertyTests(SynchronousTestCase):
    """The plan against one that looks at every step."""

    @given(
        st.tuples(HOLES, HOLES, HOLES),
        SELECTORS,
        st.integers(-10, 60),
        st.integers(1, 40),
        st.integers(1, 7),
        st.sampled_from((A, B, C)),
    )
    def test_each_step_has_nearly_the_best_server(
        self, missing: tuple[Missing, ...], selectors: list[SelectorReads], start: int, count: int, step: int, own: Backend
    ) -> None:
        """Each step has one server, which lacks at most a window more than the best; the parts are the fewest."""
        of = dict(zip((A, B, C), missing, strict=True))
        at = steps(start, start + step * (count - 1), step)
        lacks = lacks_of(selectors, covered(of))
        found = plan(lacks, at, (A, B, C), own)
        numbers = [n for each in found.parts for n in range(each.first, each.last + 1)]
        self.assertEqual(numbers, list(range(count)))
        server = {n: each.backend for each in found.parts for n in range(each.first, each.last + 1)}
        window = int(WINDOW * 1000) * max(lacks.of(each).needed.steepest for each in of)
        good = []
        for n in range(count):
            time = T0 + start + n * step
            own_lacks = {b: naive(m, selectors, time, WINDOW) for b, m in of.items()}
            for b, lack in own_lacks.items():
                self.assertEqual(lacks.of(b).needed.at(at.time(n)), lack)
            least = min(own_lacks.values())
            good.append({b for b, lack in own_lacks.items() if lack <= least + window and 2 * lack <= 3 * least})
        self._by_need(found, server, good, own)
        self._warned(found, lacks, server, at)

    def _by_need(self, found: QueryPlan, server: dict[int, Backend], good: list[set[Backend]], own: Backend) -> None:
        least = fewest(good)
        if all(own in each for each in good) and len(found.parts) == 1:
            return
        if least <= MOST_PARTS:
            for n, backend in server.items():
                self.assertIn(backend, good[n])
            self.assertGreaterEqual(len(found.parts), least)

    def _warned(self, found: QueryPlan, lacks: QueryLacks, server: dict[int, Backend], at: Steps) -> None:
        material = any(at.time(n) in lacks.material(backend) for n, backend in server.items())
        self.assertEqual(bool(found.warning), material)

    @given(st.tuples(HOLES, HOLES), SELECTORS, st.integers(-10, 60), st.integers(1, 300), st.integers(1, 7))
    def test_lacking_no_more_is_that_at_each_step(
        self, missing: tuple[Missing, ...], selectors: list[SelectorReads], start: int, count: int, step: int
    ) -> None:
        """Whether there are more steps or more gaps, the result is that of plans for each step alone."""
        lacks = lacks_of(selectors, covered(dict(zip((A, B), missing, strict=True))))
        at = steps(start, start + step * (count - 1), step)
        each = all(shown(plan(lacks, Steps(at.time(n)), (A, B), A)) == [(A.host, 0, 0)] for n in range(count))
        self.assertEqual(lacks_no_more(lacks, at, A, B), each)

    @given(st.tuples(HOLES, HOLES, HOLES), st.integers(1, 40), st.integers(1, 7), st.sampled_from((A, B, C)))
    def test_range_selector_has_the_fewest_parts(self, missing: tuple[Missing, ...], count: int, step: int, own: Backend) -> None:
        """Of a range selector, which looks back on nothing, the parts are the fewest; the own server has all it can."""
        of = dict(zip((A, B, C), missing, strict=True))
        selectors = [rate(15)]
        at = steps(0, step * (count - 1), step)
        lacks = lacks_of(selectors, covered(of))
        found = plan(lacks, at, (A, B, C), own)
        window = int(WINDOW * 1000) * max(lacks.of(each).needed.steepest for each in of)
        good = []
        for n in range(count):
            by = {b: naive(m, selectors, T0 + n * step, WINDOW) for b, m in of.items()}
            least = min(by.values())
            good.append({b for b, lack in by.items() if lack <= least + window and 2 * lack <= 3 * least})
        if fewest(good) > MOST_PARTS:
            self.assertEqual(len(found.parts), 1)
            return
        self.assertEqual(len(found.parts), fewest(good))
        if all(own in each for each in good):
            self.assertEqual(shown(found), [(own.host, 0, count - 1)])
        for each in found.parts:
            if each.backend != own:
                self.assertFalse(all(own in good[n] for n in range(each.first, each.last + 1)), "the own server could have it")
