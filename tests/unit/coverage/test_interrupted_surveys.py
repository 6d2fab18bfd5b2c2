"""What is known of a lack when servers are not compared for a while, or only some of their jobs are."""

from __future__ import annotations

import math

from attrs import evolve

from mpp.core.coverage import Hole, Missing
from mpp.core.intervals import NEVER
from mpp.core.model import Observation, Standing
from mpp.coverage import knowledge
from tests.unit.coverage.survey_case import FACTS, NOW, A, B, SurveyCase

LONG = 900
"""Seconds."""
TWO_JOBS = evolve(FACTS, jobs=(("batch", 2.0), ("node", 2.0)))


class InterruptedTests(SurveyCase):
    """A lack that may have ended while it was not compared."""

    def lasts(self, job: str = "node") -> list[tuple[float, float]]:
        """Return the gaps of a job of prom-b, in seconds from the beginning."""
        return [(hole.start - NOW, hole.end - NOW) for hole in self.missing().jobs.get(job, ())]

    def longest(self, job: str = "node") -> float:
        """Return the seconds of the longest gap of a job of prom-b."""
        return max((end - start for start, end in self.lasts(job)), default=0.0)

    def test_job_that_ends_on_both_servers(self) -> None:
        """A job that one server loses a little earlier, and both have again in the morning, was not lacking all night."""
        self.world.up = {A: {"node": 80, "batch": 3}, B: {"node": 80, "batch": 3}}
        self.both_for(60, facts=TWO_JOBS)
        self.world.up[B] = {"node": 80}
        self.both_for(5, facts=TWO_JOBS)
        self.world.up[A] = {"node": 80}
        self.both_for(LONG, facts=TWO_JOBS)
        self.world.up = {A: {"node": 80, "batch": 3}, B: {"node": 80, "batch": 3}}
        self.assertIsNone(self.both_for(60, facts=TWO_JOBS))
        self.assertLess(self.longest("batch"), 30)

    def test_other_server_is_down(self) -> None:
        """A server that recovers while the other one is down has recovered."""
        self.both_for(60)
        self.world.up[B] = 40
        self.both_for(60)
        self.world.up[B] = 80
        for _ in range(LONG // 5):
            self.see(Observation(A, Standing.DOWN), Observation(B, Standing.VIABLE, facts=FACTS))
            self.clock.pump([1] * 5)
        self.assertIsNone(self.both_for(60))
        self.assertLess(self.longest(), 90)

    def test_query_of_a_server_fails(self) -> None:
        """A server that recovers while its query fails has recovered."""
        self.both_for(60)
        self.world.up[B] = 40
        self.both_for(60)
        self.world.up[B] = None
        self.both_for(LONG)
        self.world.up[B] = 80
        self.assertIsNone(self.both_for(400))
        self.assertLess(self.longest(), 90)

    def test_server_that_was_unreachable(self) -> None:
        """A server that lacked something before it could not be reached is presumed to lack everything when it returns."""
        self.both_for(60)
        self.world.up[B] = 40
        self.both_for(60)
        self.world.up[B] = 80
        self.both_for(LONG, standing=Standing.DOWN)
        lack = self.both()[B]
        self.assertEqual((lack and lack.stopped, lack and lack.back), (True, True))
        self.both_for(120)
        self.assertLess(self.longest(), 90)

    def test_short_failures_do_not_compare_a_long_gap_again(self) -> None:
        """A gap that goes on is not compared from its beginning again after each query that fails."""
        self.both_for(60)
        self.world.up[B] = 40
        self.both_for(LONG)
        for number in range(4):
            self.world.up[B] = None
            self.both_for(20)
            self.world.up[B] = 40
            self.assertIsNotNone(self.both_for(60))
            again = self.knowledge.again(B)
            self.assertTrue(number == 0 or again.edges[0] > NOW + self.clock.seconds() - 900)
        self.assertGreater(self.missing().times.measure, LONG - 60)

    def test_query_of_the_best_server_fails(self) -> None:
        """A server that still has no target keeps its lack while there is nothing to compare it with; then it is compared."""
        self.both_for(60)
        self.world.up[B] = 0
        self.both_for(60)
        self.world.up[A] = None
        for _ in range(20):
            self.assertIsNotNone(self.both_for(5))
        self.world.up = {A: 80, B: 80}
        self.both_for(120)
        self.assertIsNone(self.both()[B])
        self.assertEqual([kind for kind, _ in self.noted], ["lack", "lack"])

    def test_recovery_while_the_query_of_the_best_server_fails(self) -> None:
        """A server that has targets again, with nothing to compare it with, no longer lacks them."""
        self.both_for(60)
        self.world.up[B] = 0
        self.both_for(60)
        self.world.up = {A: None, B: 80}
        self.assertIsNone(self.both_for(30))

    def test_last_server_is_not_surveyed(self) -> None:
        """A server without a second one is not asked, whatever was undecided before."""
        for lost in (0, 40):
            with self.subTest(lost=lost):
                self.world.up = {A: 80, B: 80}
                self.both_for(60)
                self.world.up[B] = lost
                self.clock.advance(2)
                self.both(standing=Standing.DOWN)
                self.clock.pump([1] * 5)
                self.world.asked.clear()
                self.both_for(600, standing=Standing.DOWN)
                self.assertEqual(self.world.asked, [])

    def test_part_that_becomes_all(self) -> None:
        """A server that loses a part of its targets, and hours later all of them, has had the others in between."""
        self.both_for(60)
        self.world.up[B] = 40
        self.both_for(LONG)
        self.world.up[B] = 0
        self.both_for(60)
        ((start, end),) = self.missing().whole
        self.assertLess(abs(start - NOW - 60 - LONG), 10)
        self.assertEqual(end, math.inf)
        (hole,) = self.missing().jobs["node"]
        self.assertEqual((hole.end, hole.missing), (start, 40))

    def test_slow_job_is_not_asked_for_each_second(self) -> None:
        """The second window of a job that is scraped each hour is an hour later: until then there is nothing to decide."""
        slow = evolve(FACTS, jobs=(("batch", 3600.0), ("node", 15.0)))
        self.world.up = {A: {"node": 80, "batch": 10}, B: {"node": 80, "batch": 10}}
        self.both_for(60, facts=slow)
        self.world.up[B] = {"node": 80, "batch": 5}
        self.both_for(60, facts=slow)
        self.world.asked.clear()
        self.both_for(600, facts=slow)
        self.assertLess(self.world.asked.count(B), 100)
        self.assertIsNotNone(self.both_for(4000, facts=slow))

    def test_number_of_gaps_is_bounded(self) -> None:
        """A lack that varies all the time does not fill the memory."""
        self.patch(knowledge, "MOST_HOLES", 20)
        for second in range(60):
            lack = Hole(NOW, math.inf, 40 + second % 2 * 10, 80)
            self.knowledge.sees(B, Missing.of(NEVER, {"node": [lack]}), NOW + 2 * second)
        self.assertLessEqual(len(self.knowledge.known(B).jobs["node"]), 20)
