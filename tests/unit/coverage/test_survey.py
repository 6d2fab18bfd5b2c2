"""The survey: when servers are asked, and what is published of it."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from mpp.core.facts import Lack
from mpp.core.intervals import Intervals
from mpp.core.model import Observation, Standing
from mpp.coverage.lacks import SURVEYED_S
from mpp.coverage.survey import BACK_FOR_S, QUICK_S
from tests.unit.coverage.survey_case import FACTS, NOW, A, B, SurveyCase


class SurveyTests(SurveyCase):
    """Two servers, asked by a clock."""

    def test_asked_at_once_and_then_again(self) -> None:
        """Both are asked with the first round, and every 15 s."""
        self.both()
        self.clock.advance(0)
        self.assertEqual(self.world.asked, [A, B])
        self.clock.advance(SURVEYED_S)
        self.assertEqual(self.world.asked, [A, B] * 2)
        self.assertEqual(self.counted, [("prom-a:9090", "ok"), ("prom-b:9090", "ok")] * 2)

    def test_single_server(self) -> None:
        """A server without a second one is not asked."""
        self.see(Observation(A, Standing.VIABLE, facts=FACTS), Observation(B, Standing.DOWN))
        self.clock.advance(100)
        self.assertEqual(self.world.asked, [])

    def test_switched_off(self) -> None:
        """Without a selector nothing is asked, and none lacks anything."""
        self.survey.reconfigure(self.world.ask, "")
        self.assertEqual(self.both(facts=evolve(FACTS, newest=NOW - 1800)), {A: None, B: None})
        self.clock.advance(100)
        self.assertEqual(self.world.asked, [])

    def test_stopped_and_mended(self) -> None:
        """A server that stops scraping is found by two surveys, the second one a second later; so is one that begins again."""
        self.both()
        self.clock.advance(0)
        self.world.up[B] = 0
        self.clock.advance(SURVEYED_S)
        self.clock.advance(QUICK_S)
        lack = self.both()[B]
        self.assertEqual((self.changes, lack and lack.missing, lack and lack.stopped), (1, 80, True))
        self.world.up[B] = 80
        self.clock.advance(SURVEYED_S)
        self.assertIsNotNone(self.both()[B], "one window is not enough")
        self.clock.advance(QUICK_S)
        self.assertEqual((self.changes, self.both()[B]), (3, None))
        self.assertEqual([kind for kind, _ in self.noted], ["lack", "lack"])
        self.assertIn("prom-b:9090 has scraped none of", self.noted[0][1])

    def test_end_of_a_lack(self) -> None:
        """It is said that a server has caught up only if that was seen; one that does not answer is just not compared."""
        for up, said in ((80, "has caught up"), (None, "is not compared with another server")):
            self.setUp()
            self.both()
            self.clock.advance(0)
            self.world.up[B] = 0
            self.clock.pump([SURVEYED_S, QUICK_S])
            self.world.up[B] = up
            self.clock.pump([SURVEYED_S, QUICK_S])
            self.assertIn(f"prom-b:9090 {said}", self.noted[-1][1])

    def lost(self, **changed: Any) -> float:
        """Return how many seconds prom-b is known to lack."""
        facts = evolve(FACTS, oldest=NOW - 9000)
        self.see(Observation(A, Standing.VIABLE, facts=facts), Observation(B, Standing.VIABLE, facts=evolve(facts, **changed)))
        shown = self.survey.shown(Observation(B, Standing.VIABLE, facts=evolve(facts, **changed)))
        return shown.lost(NOW + self.clock.seconds())

    def test_what_was_missing_is_remembered(self) -> None:
        """A server that has all newest data again lacks what it had missed, for as long as it keeps that time."""
        self.lost()
        self.clock.advance(0)
        self.world.up[B] = 0
        self.clock.advance(SURVEYED_S)
        self.clock.advance(QUICK_S)
        self.lost()
        self.clock.advance(300)
        self.world.up[B] = 80
        self.clock.advance(SURVEYED_S)
        self.clock.advance(QUICK_S)
        lost = self.lost()
        # From the first survey until the one that found its targets again.
        self.assertLess(abs(lost - (2 * SURVEYED_S + QUICK_S + 300)), 10)
        self.clock.advance(1000)
        self.assertEqual(self.lost(), lost)
        self.assertEqual(self.lost(oldest=NOW + 900), 0)

    def test_only_a_new_process_missed_its_absence(self) -> None:
        """A server that was away and comes back as a new process has missed that time; the same process may not have."""
        for started_at, expected in ((FACTS.started_at, 0), (NOW + 95, 100)):
            self.setUp()
            self.lost()
            self.see(Observation(A, Standing.VIABLE, facts=FACTS), Observation(B, Standing.DOWN, facts=FACTS))
            self.clock.advance(100)
            self.assertLess(abs(self.lost(started_at=started_at) - expected), 3)

    def test_new_process_is_seen_before_it_is_usable(self) -> None:
        """The time of a restart is missing also if the new start time is seen while the server is not used yet."""
        self.lost()
        self.see(Observation(A, Standing.VIABLE, facts=FACTS), Observation(B, Standing.DOWN, facts=FACTS))
        self.clock.advance(100)
        new = evolve(FACTS, started_at=NOW + 95)
        self.see(Observation(A, Standing.VIABLE, facts=FACTS), Observation(B, Standing.SUSPECT, facts=new))
        self.assertLess(abs(self.lost(started_at=NOW + 95) - 100), 3)

    def test_ended_between_rounds(self) -> None:
        """A server may have ended just after it was last seen, so a restart is missing from then on."""
        self.lost()
        self.clock.advance(10)
        self.see(Observation(A, Standing.VIABLE, facts=FACTS), Observation(B, Standing.DOWN, facts=FACTS))
        self.clock.advance(100)
        self.both(facts=evolve(FACTS, started_at=NOW + 105))
        self.assertEqual(self.knowledge.known(B).whole & Intervals.of([(NOW - 100, NOW + 200)]), Intervals.of([(NOW, NOW + 110)]))

    def test_old_from_the_beginning(self) -> None:
        """By the first round already, a server whose newest sample is old lacks everything."""
        lack = self.both(facts=evolve(FACTS, newest=NOW - 1800))[B]
        self.assertTrue(lack and lack.stopped)
        self.assertEqual([kind for kind, _ in self.noted], ["lack"])

    def test_returned_server_is_asked_every_second(self) -> None:
        """A server that comes back lacks everything until it was asked, every second for a minute."""
        self.both()
        self.clock.advance(0)
        self.both(standing=Standing.DOWN)
        self.world.up[B] = 0
        self.assertEqual(self.both()[B], Lack(80, 80, NOW, stopped=True, back=True))
        self.clock.advance(0)
        self.assertTrue(self.both()[B])
        self.world.up[B] = 79
        self.clock.advance(QUICK_S)
        self.assertIsNone(self.both()[B])
        self.world.asked.clear()
        self.clock.pump([1] * int(BACK_FOR_S))
        self.assertGreater(self.world.asked.count(B), 50)
        self.world.asked.clear()
        self.clock.pump([1] * 15)
        self.assertLess(self.world.asked.count(B), 9)

    def test_restarted_between_rounds(self) -> None:
        """A server that restarts without being seen down is just back, too."""
        self.both()
        self.clock.advance(0)
        self.assertTrue(self.both(facts=evolve(FACTS, started_at=NOW))[B])

    def test_cannot_be_asked(self) -> None:
        """A server that refuses the query lacks nothing, and is asked ever less often."""
        self.world.up[B] = None
        self.both()
        self.clock.pump([0, *[1.0] * 600])
        self.assertIsNone(self.both()[B])
        self.assertEqual(self.counted.count(("prom-b:9090", "failed")), self.world.asked.count(B))
        self.assertLess(self.world.asked.count(B), 8)
        self.assertGreater(self.world.asked.count(A), 30)

    def test_last_one_left(self) -> None:
        """When the others go, what a server lacked is forgotten."""
        self.both()
        self.clock.advance(0)
        self.world.up[B] = 0
        self.clock.advance(SURVEYED_S)
        self.clock.advance(QUICK_S)
        self.assertTrue(self.both()[B])
        shown = self.see(Observation(A, Standing.DOWN), Observation(B, Standing.VIABLE, facts=FACTS))
        self.assertEqual(shown, {A: None, B: None})

    def test_removed_server_is_not_asked(self) -> None:
        """A server that is not listed any more is not asked."""
        self.both()
        self.survey.keep([A])
        self.clock.advance(0)
        self.assertNotIn(B, self.world.asked)

    def test_nothing_is_left_after_the_end(self) -> None:
        """Nothing is left behind at the end."""
        self.both()
        self.survey.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
