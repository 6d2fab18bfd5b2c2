"""What is known of the servers' histories, merged from all sources."""

from __future__ import annotations

import math

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.coverage import NOTHING, WHOLE_POOL, Hole, Job, Missing
from mpp.core.facts import ServerState
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend, Observation, Standing
from mpp.coverage.knowledge import MOST_HOLES, Knowledge
from mpp.coverage.presence import Presence, TimeAway

A, B = (Backend("http", name, 9090) for name in ("prom-a", "prom-b"))
JOBS = {"node": Job(80, 30.0), "web": Job(4, 30.0)}


def lacking(start: float, end: float = math.inf, missing: int = 20, job: str = "node") -> Missing:
    """Return a hole of one job."""
    return Missing.of(NEVER, {job: [Hole(start, end, missing, 80)]})


def whole(start: float, end: float = math.inf) -> Missing:
    """Return a hole of all jobs."""
    return Missing(Intervals.of([(start, end)]))


class KnowledgeTests(SynchronousTestCase):
    """Two servers with two jobs."""

    def setUp(self) -> None:
        self.knowledge = Knowledge()
        self.knowledge.surveyed(JOBS)

    def published(self) -> Missing:
        """Publish, and return what prom-b lacks."""
        self.knowledge.publish()
        return self.knowledge.coverage.missing.get(B, NOTHING)

    def test_nothing_lacking_is_not_published(self) -> None:
        """Nothing is published while no server lacks anything."""
        self.knowledge.sees(A, NOTHING, 1000.0)
        self.assertFalse(self.knowledge.publish())
        self.assertIs(self.knowledge.coverage, WHOLE_POOL)

    def test_survey_is_published_and_kept(self) -> None:
        """What the survey sees is published at once, and stays with its end when it has ended."""
        self.knowledge.sees(B, lacking(970.0), 1000.0)
        self.assertEqual(self.published(), lacking(970.0))
        self.assertEqual(self.knowledge.coverage.jobs, JOBS)
        self.knowledge.sees(B, NOTHING, 1100.0)
        self.assertEqual(self.published(), lacking(970.0, 1100.0))

    def test_published_once(self) -> None:
        """A change that is too small to count gives no new value."""
        self.knowledge.sees(B, lacking(970.0, missing=20), 1000.0)
        self.assertTrue(self.knowledge.publish())
        before = self.knowledge.coverage
        self.knowledge.sees(B, lacking(970.0, missing=22), 1015.0)
        self.knowledge.surveyed({**JOBS, "node": Job(81, 30.0)})
        self.assertFalse(self.knowledge.publish())
        self.assertIs(self.knowledge.coverage, before)

    def test_growing_lack_keeps_its_earlier_number(self) -> None:
        """A lack that grows keeps the number that it had before for the time before."""
        self.knowledge.sees(B, lacking(970.0, missing=20), 1000.0)
        self.knowledge.sees(B, lacking(970.0, missing=60), 1100.0)
        self.assertEqual(self.published().jobs["node"], (Hole(970.0, 1100.0, 20, 80), Hole(1100.0, math.inf, 60, 80)))

    def test_one_job_is_back(self) -> None:
        """A server that was without any target, and has got some jobs again."""
        self.knowledge.sees(B, whole(970.0), 1000.0)
        self.knowledge.sees(B, lacking(965.0, job="web"), 1100.0)
        self.assertEqual(self.published(), whole(970.0, 1100.0) | lacking(1100.0, job="web"))

    def test_restart_lacks_its_absence(self) -> None:
        """A new process has scraped nothing while it was away, by its own clock; the hours before are looked at again."""
        self.knowledge.was_away(B, TimeAway(20000.0, 20020.0, restarted=True), skew=3.0)
        self.assertEqual(self.published(), whole(20003.0, 20023.0))
        self.assertTrue(self.knowledge.again(B).covers(20003.0 - 10000, 20023.0))
        self.assertEqual(self.knowledge.again(B), NEVER)

    def test_unreachable_time_is_looked_at_again(self) -> None:
        """A process that was away, but goes on, may have scraped: this is looked at."""
        self.knowledge.was_away(B, TimeAway(20000.0, 20020.0, restarted=False), skew=0.0)
        self.assertEqual(self.published(), NOTHING)
        self.assertTrue(self.knowledge.again(B).covers(19900.0, 20020.0))

    def test_ended_is_looked_at_again(self) -> None:
        """The edges of a hole that the survey has seen are found later."""
        self.knowledge.sees(B, lacking(970.0), 1000.0)
        self.knowledge.sees(B, NOTHING, 1100.0)
        again = self.knowledge.again(B)
        self.assertTrue(again.covers(970.0 - 100, 1100.0 + 100))
        self.knowledge.found(B, again, JOBS, lacking(981.0, 1080.0, 21))
        self.assertEqual(self.published(), lacking(981.0, 1080.0, 21))

    def test_beginning_is_looked_at_while_a_gap_goes_on(self) -> None:
        """The beginning that the look back finds replaces the one that the survey presumed, and the gap goes on."""
        self.knowledge.sees(B, lacking(970.0) | lacking(975.0, missing=4, job="web"), 1000.0)
        again = self.knowledge.again(B)
        self.assertTrue(again.covers(970.0 - 100, 1000.0 + 100))
        self.assertEqual(self.published(), lacking(970.0) | lacking(975.0, missing=4, job="web"))
        self.knowledge.found(B, again, ["node"], lacking(981.0, 1120.0, 20))
        self.assertEqual(self.published(), lacking(981.0) | lacking(975.0, missing=4, job="web"))
        self.knowledge.sees(B, lacking(970.0) | lacking(975.0, missing=4, job="web"), 1015.0)
        self.assertEqual(self.knowledge.again(B), NEVER)
        self.knowledge.sees(B, NOTHING, 5000.0)
        self.assertEqual(self.published(), lacking(981.0, 5000.0) | lacking(975.0, 5000.0, 4, "web"))

    def test_beginning_of_a_gap_of_the_whole_server(self) -> None:
        """The same for a server that lacks all jobs."""
        self.knowledge.sees(B, whole(970.0), 1000.0)
        self.knowledge.found(B, self.knowledge.again(B), JOBS, whole(981.0, 1120.0))
        self.assertEqual(self.published(), whole(981.0))

    def test_gap_that_was_not_found_goes_on(self) -> None:
        """A look back that ends too early to see a gap that goes on, or sees an older one, leaves what the survey has seen."""
        self.knowledge.sees(B, lacking(970.0), 1000.0)
        for found in (NOTHING, lacking(900.0, 940.0)):
            self.knowledge.found(B, Intervals.of([(700.0, 990.0)]), JOBS, found)
            self.assertEqual(self.published(), lacking(970.0) | found)

    def test_found_for_some_jobs(self) -> None:
        """The look back at some jobs leaves what is known of the others, also where all were missing."""
        self.knowledge.was_away(B, TimeAway(20000.0, 20020.0, restarted=True), skew=0.0)
        self.knowledge.found(B, Intervals.of([(19990.0, 20100.0)]), ["node"], lacking(19998.0, 20010.0, 80))
        expected = lacking(19998.0, 20010.0, 80) | Missing.of(NEVER, {"web": [Hole(20000.0, 20020.0, 4, 4)]})
        self.assertEqual(self.published(), expected)

    def test_younger_server_lacks_the_difference(self) -> None:
        """A server with a shorter history lacks the difference; holes before all histories are forgotten."""
        self.knowledge.found(B, Intervals.of([(0.0, 500.0)]), JOBS, lacking(100.0, 200.0))
        self.knowledge.sees(B, NOTHING, 0.0)
        self.knowledge.aged({A: 1000.0, B: 2000.0})
        self.assertEqual(self.published(), whole(1000.0, 2000.0))
        self.knowledge.aged({A: 1000.0, B: 1010.0})
        self.assertEqual(self.published(), NOTHING)

    def test_lack_of_all_that_was_looked_at_is_drift(self) -> None:
        """A job that one server lacked for as long as was looked at is drift."""
        self.knowledge.was_away(B, TimeAway(0.0, 0.0, restarted=False), 0.0)
        self.knowledge.found(B, Intervals.of([(0.0, 9000.0)]), JOBS, lacking(0.0, 9000.0, 4, "web") | lacking(50.0, 90.0))
        self.knowledge.looked_at(0.0, 9000.0)
        self.assertEqual(self.published(), Missing(jobs=lacking(50.0, 90.0).jobs, drift={"web": 4}))

    def test_a_job_of_one_configuration_is_drift(self) -> None:
        """A job that was added to one server only is drift, however short the time since then is; what is older is no drift."""
        self.knowledge.was_away(B, TimeAway(0.0, 0.0, restarted=False), 0.0)
        self.knowledge.found(B, Intervals.of([(0.0, 9000.0)]), JOBS, lacking(8000.0, 9000.0, 4, "web") | lacking(50.0, 90.0))
        self.knowledge.looked_at(0.0, 9000.0)
        self.knowledge.configured({A: ["node", "web"], B: ["node"]})
        self.assertEqual(self.published(), Missing(jobs=lacking(50.0, 90.0).jobs, drift={"web": 4}))
        self.knowledge.configured({A: ["node", "web"], B: ["node", "web"]})
        self.assertEqual(self.published(), lacking(8000.0, 9000.0, 4, "web") | lacking(50.0, 90.0))

    def test_nothing_is_configured(self) -> None:
        """A server whose configuration is empty lacks the jobs of the others."""
        self.knowledge.was_away(B, TimeAway(0.0, 0.0, restarted=False), 0.0)
        self.knowledge.found(B, Intervals.of([(0.0, 9000.0)]), JOBS, lacking(8000.0, 9000.0, 4, "web"))
        self.knowledge.looked_at(0.0, 9000.0)
        self.knowledge.configured({A: ["node", "web"], B: []})
        self.assertEqual(self.published(), lacking(8000.0, 9000.0, 4, "web"))

    def test_removed_server_is_forgotten(self) -> None:
        """A server that is no longer listed lacks nothing, and no answer about it counts any more."""
        self.knowledge.sees(B, lacking(970.0), 1000.0)
        self.knowledge.publish()
        self.knowledge.keep([A])
        self.assertTrue(self.knowledge.publish())
        self.knowledge.found(B, Intervals.of([(0.0, 500.0)]), JOBS, lacking(100.0, 200.0))
        self.assertFalse(self.knowledge.publish())
        self.assertTrue(self.knowledge.coverage.is_whole)

    def test_smallest_of_many_holes_are_dropped(self) -> None:
        """The smallest of very many holes are dropped."""
        holes = [Hole(10.0 * n, 10.0 * n + 1 + n / 1000, 1, 80) for n in range(MOST_HOLES + 5)]
        self.knowledge.was_away(B, TimeAway(0.0, 0.0, restarted=False), 0.0)
        self.knowledge.found(B, Intervals.of([(0.0, 9e9)]), JOBS, Missing.of(NEVER, {"node": holes}))
        self.assertEqual(self.published().jobs["node"], tuple(holes[5:]))


class PresenceTests(SynchronousTestCase):
    """When a server was away."""

    def setUp(self) -> None:
        self.well = Observation(B, Standing.VIABLE, facts=ServerState(started_at=500.0))
        self.down = evolve(self.well, standing=Standing.DOWN)
        self.anew = evolve(self.well, facts=ServerState(started_at=1010.0))
        self.presence = Presence(self.well, 1000.0)

    def test_same_process_was_unreachable(self) -> None:
        """A server that was down and is the same process."""
        self.assertIsNone(self.presence.observe(self.down, 1005.0))
        self.assertIsNone(self.presence.observe(self.down, 1010.0))
        self.assertEqual(self.presence.observe(self.well, 1020.0), TimeAway(1005.0, 1020.0, restarted=False))
        self.assertEqual(self.presence.back_at, 1020.0)

    def test_new_process_was_restarted(self) -> None:
        """A server that was down and is a new process may have ended right after it was last seen."""
        self.presence.observe(self.down, 1005.0)
        self.assertEqual(self.presence.observe(self.anew, 1020.0), TimeAway(1000.0, 1020.0, restarted=True))

    def test_restart_known_earlier(self) -> None:
        """The start time is read while the new process is not used yet: it replays its log, or is still ejected."""
        self.presence.observe(self.down, 1005.0)
        self.assertIsNone(self.presence.observe(evolve(self.anew, standing=Standing.NOT_READY), 1012.0))
        self.assertIsNone(self.presence.observe(evolve(self.anew, ejected_at=1005.0), 1015.0))
        self.assertEqual(self.presence.observe(self.anew, 1020.0), TimeAway(1000.0, 1020.0, restarted=True))

    def test_restart_known_later(self) -> None:
        """The start time is read some seconds after a server is used again: the absence that was seen is that of the restart."""
        self.presence.observe(self.down, 1005.0)
        self.presence.observe(self.well, 1020.0)
        self.presence.observe(self.well, 1021.0)
        self.assertEqual(self.presence.observe(self.anew, 1025.0), TimeAway(1000.0, 1020.0, restarted=True))

    def test_restart_unseen(self) -> None:
        """A restart between two observations took place in the time between them."""
        self.presence.observe(self.well, 1005.0)
        self.assertEqual(self.presence.observe(self.anew, 1012.0), TimeAway(1005.0, 1012.0, restarted=True))

    def test_down_from_the_beginning(self) -> None:
        """A server that was down when it was first seen was away since then."""
        presence = Presence(self.down, 1000.0)
        self.assertEqual(presence.observe(self.well, 1020.0), TimeAway(1000.0, 1020.0, restarted=False))
