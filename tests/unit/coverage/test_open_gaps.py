"""How the look back compares the beginning of a gap that goes on, and what may change while it runs."""

from __future__ import annotations

import math

from mpp.core.coverage import Hole, Job, Missing
from mpp.core.facts import ServerState
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Observation, Standing
from tests.unit.coverage.look_back_case import JOBS, NOW, OLDEST, A, B, LookBackCase


class OpenGapTests(LookBackCase):
    """Two servers, one of which stops a minute from now and does not begin again."""

    def wait(self, seconds: int, skew: float = 0.0) -> None:
        """Let rounds see both servers, one each five seconds."""
        for _ in range(seconds // 5):
            for backend in (A, B):
                facts = ServerState(oldest=OLDEST, skew=skew if backend is B else 0.0)
                self.look_back.see(Observation(backend, Standing.VIABLE, facts=facts))
            self.look_back.begin()
            self.clock.pump([1] * 5)

    def test_beginning_is_found(self) -> None:
        """The survey presumes that it began earlier; the look back finds when, whatever the intervals of the jobs."""
        for intervals in ({"web": 15.0}, {"web": 30.0}):
            with self.subTest(intervals=intervals):
                self.setUp()
                self.a.intervals = self.b.intervals = intervals
                self.knowledge.surveyed({"node": Job(20, 30.0), "web": Job(4, 2 * intervals["web"])})
                self.b.holes.append((NOW + 60, math.inf, None, 99))
                self.wait(75)
                self.knowledge.sees(B, Missing(Intervals.of([(NOW - 15, math.inf)])), NOW + self.clock.seconds())
                self.wait(900)
                missing = self.knowledge.coverage.missing[B]
                for job in JOBS:
                    starts = [start for start, end in missing.whole if end == math.inf]
                    starts += [hole.start for hole in missing.jobs.get(job, ())]
                    self.assertLess(abs(min(starts) - NOW - 60), 2 * 2 * intervals["web"], (job, missing))
                self.assertEqual(missing.times.edges[-1], math.inf)

    def test_clock_that_is_behind(self) -> None:
        """A server is not asked for times that its clock has not reached: it would seem to lack them."""
        behind = -60.0
        self.b.holes[:] = [(NOW + behind, math.inf, None, 99)]

        def wait(seconds: int) -> None:
            for _ in range(seconds // 5):
                self.b.holes[0] = (NOW + self.clock.seconds() + behind, math.inf, None, 99)
                self.wait(5, behind)

        wait(30)
        self.b.holes.append((NOW + 30, NOW + 130, None, 99))
        wait(140)
        self.knowledge.sees(B, Missing(Intervals.of([(NOW + 20, math.inf)])), NOW + self.clock.seconds() + behind)
        wait(30)
        self.knowledge.sees(B, Missing(), NOW + self.clock.seconds() + behind)
        wait(900)
        (gap,) = self.knowledge.coverage.missing[B].times
        self.assertLess(max(abs(gap[0] - NOW - 30), abs(gap[1] - NOW - 130)), 45)

    def test_job_vanishes_while_it_is_compared(self) -> None:
        """A job without a target that is up is unknown to the survey from then on; its comparison goes on."""
        self.b.holes.append((NOW - 5000, NOW - 4000, "web", 4))
        self.a.intervals = self.b.intervals = {"web": 900.0}
        self.knowledge.surveyed({"node": Job(20, 30.0), "web": Job(4, 1800.0)})
        self.see(A, B)
        self.run_for(0.4)
        self.knowledge.surveyed({"node": JOBS["node"]})
        self.run_for(20)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_part_that_becomes_all(self) -> None:
        """A server that lacks a part for hours, and then everything, is known to lack the part when both have been compared."""
        self.b.holes += [(NOW - 7200, NOW, "node", 10), (NOW, NOW + 600, None, 99)]
        self.knowledge.sees(B, Missing.of(NEVER, {"node": [Hole(NOW - 7200, math.inf, 10, 20)]}), NOW - 7190)
        self.wait(15)
        self.knowledge.sees(B, Missing(Intervals.of([(NOW - 30, math.inf)])), NOW + 16)
        self.wait(600)
        self.knowledge.sees(B, Missing(), NOW + self.clock.seconds())
        self.wait(900)
        node = self.knowledge.coverage.missing[B].jobs["node"]
        part = Intervals.of((hole.start, hole.end) for hole in node if hole.missing == 10)
        self.assertLess(abs(part.measure - 7200), 120)
