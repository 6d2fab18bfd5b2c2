"""What each server lacks of the newest data."""

from __future__ import annotations

import math
import time

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.coverage import Hole, Job, Missing
from mpp.core.facts import Lack, ServerState
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend
from mpp.coverage.lacks import Lacks, Surveyed, seconds_between_surveys
from mpp.coverage.windows import TargetCounts

NOW = 1_700_000_000.0
A, B, C = (Backend("http", name, 9090) for name in ("prom-a", "prom-b", "prom-c"))
FACTS = ServerState(read_at=NOW, newest=NOW - 3, targets=100, config_at=1.0, jobs=(("app", 2.0), ("node", 2.0)))
IDLE = ServerState(
    read_at=NOW,
    newest=NOW - 10,
    targets=80,
    config_at=1.0,
    config_hash="abc",
    flags=(("web.enable-remote-write-receiver", "false"),),
)
"""A server with an empty configuration, soon after it had one."""


def has(facts: ServerState = FACTS, back_at: float | None = None, **jobs: int | tuple[int, int]) -> Surveyed:
    """Return a server with so many targets that are up, or that are up and present, by job."""
    reading = {
        job: TargetCounts(*count) if isinstance(count, tuple) else TargetCounts(count, count) for job, count in jobs.items()
    }
    return Surveyed({job: counts for job, counts in reading.items() if counts.present}, facts, back_at)


class LacksTests(SynchronousTestCase):
    """Survey after survey of two servers, a second apart."""

    def setUp(self) -> None:
        self.lacks = Lacks()
        self.at = NOW

    def survey(self, a: Surveyed, b: Surveyed, times: int = 1, apart: float = 1.0) -> Lack | None:
        """Return what prom-b lacks after so many surveys; prom-a never lacks anything."""
        found: dict[Backend, Lack] = {}
        for _ in range(times):
            self.at += apart
            found = self.lacks.update({A: a, B: b}, self.at)
            self.assertNotIn(A, found)
        return found.get(B)

    def test_same_scrapes_lack_nothing(self) -> None:
        """Servers that scrape the same lack nothing."""
        self.assertIsNone(self.survey(has(node=80), has(node=80), 5))
        self.assertFalse(self.lacks.undecided)

    def test_stopped_scrapes_lack_after_two_surveys(self) -> None:
        """A server that scrapes nothing any more lacks everything after two surveys."""
        self.survey(has(node=80), has(node=80))
        self.assertIsNone(self.survey(has(node=80), has()))
        self.assertTrue(self.lacks.undecided)
        lack = self.survey(has(node=80), has())
        self.assertEqual(lack, Lack(80, 80, NOW + 1 - 4, stopped=True))
        self.assertEqual(str(lack), "has scraped none of 80 targets since 22:13:17 UTC")

    def test_lack_begins_before_the_last_whole_survey(self) -> None:
        """Targets may have been scraped for the last time two intervals before the last survey that found them."""
        self.survey(has(node=80), has(node=80), apart=15)
        self.survey(has(node=80), has(node=40), apart=15)
        lack = self.survey(has(node=80), has(node=40), apart=2)
        self.assertEqual(lack, Lack(40, 80, NOW + 15 - 4))
        self.assertEqual(self.lacks.missing[B].jobs, {"node": (Hole(NOW + 15 - 4, math.inf, 40, 80),)})
        self.survey(has(node=80), has(node=80), 2)
        self.survey(has(node=80), has(node=40), 2, apart=2)
        self.assertEqual(self.lacks.missing[B].jobs, {"node": (Hole(NOW + 34 - 4, math.inf, 40, 80),)})

    def test_lack_is_not_presumed_for_longer_than_between_surveys(self) -> None:
        """A server whose queries failed for an hour is not presumed to have lacked anything all that time."""
        self.survey(has(node=80), has(node=80))
        self.survey(has(node=80), Surveyed(None, FACTS), apart=3600)
        lack = self.survey(has(node=80), has(node=40), 2, apart=2)
        self.assertEqual(lack, Lack(40, 80, NOW + 3603 - 15 - 4))

    def test_catching_up_is_surveyed_at_once(self) -> None:
        """While a server scrapes more and more of its targets again, the next survey follows soon; not while nothing changes."""
        self.survey(has(node=80), has(node=0, app=1), 2, apart=2)
        for own, soon in ((10, True), (40, True), (40, False), (60, True), (60, False), (80, True)):
            self.assertIsNotNone(self.survey(has(node=80), has(node=own)))
            self.assertEqual(self.lacks.undecided, soon, own)
        self.assertIsNone(self.survey(has(node=80), has(node=80), 2))
        self.assertFalse(self.lacks.undecided)

    def test_new_lack_does_not_begin_with_one_that_has_ended(self) -> None:
        """A server whose configuration is empty does not lack what it had between an earlier lack and now."""
        self.survey(has(node=80), has(node=0, app=1), 2, apart=2)
        self.survey(has(node=80), has(node=80), 2)
        self.at = NOW + 7200
        stopped = evolve(IDLE, read_at=self.at, newest=self.at - 7)
        self.assertEqual(self.survey(has(node=80), has(stopped)), Lack(80, 80, NOW + 7193, stopped=True))
        self.assertEqual(self.lacks.missing[B].whole, Intervals.of([(NOW + 7201 - 15 - 4, math.inf)]))

    def test_idle_server_with_another_clock(self) -> None:
        """The time of its newest sample is by its own clock, and is shown by the clock of mpp."""
        ahead = evolve(IDLE, newest=NOW + 60 - 7200, skew=60.0)
        self.assertEqual(self.survey(has(node=80), has(ahead)), Lack(80, 80, NOW - 7200, stopped=True))

    def test_cut_off(self) -> None:
        """A server that is cut off goes on to write that its targets are down, and lacks them."""
        self.survey(has(node=80), has(node=80))
        lack = self.survey(has(node=80), has(node=(0, 80)), 2)
        self.assertEqual(lack, Lack(80, 80, NOW + 1 - 4, stopped=True))

    def test_by_job(self) -> None:
        """What a server lacks is known by job, as holes that go on; a server that scrapes nothing lacks all jobs."""
        self.survey(has(node=80, app=10), has(node=80, app=10), apart=2)
        self.survey(has(node=80, app=10), has(node=80, app=5), 2, apart=2)
        app = Hole(NOW + 2 - 4, math.inf, 5, 10)
        self.assertEqual(self.lacks.missing, {B: Missing.of(NEVER, {"app": [app]})})
        self.survey(has(node=80, app=10), has(), 2, apart=2)
        missing = self.lacks.missing[B]
        self.assertEqual(missing.whole, Intervals.of([(NOW + 6 - 4, math.inf)]))
        self.assertEqual(missing.jobs, {"app": (Hole(NOW + 2 - 4, NOW + 6 - 4, 10, 10),)})
        self.survey(has(node=80, app=10), has(node=80, app=10), 2)
        self.assertEqual(self.lacks.missing, {})

    def test_all_stopped(self) -> None:
        """When no server scrapes, or the targets are down, none lacks anything."""
        self.assertIsNone(self.survey(has(node=(0, 80)), has(node=(0, 80)), 3))
        self.assertIsNone(self.survey(has(), has(), 3))

    def test_one_job_of_two(self) -> None:
        """Each job counts by itself."""
        lack = self.survey(has(node=80, app=5), has(node=80), 2)
        self.assertEqual((lack and lack.missing, lack and lack.of, lack and lack.stopped), (5, 85, False))
        self.assertEqual(str(lack), "has scraped only 80 of 85 targets since 22:13:02 UTC")

    def test_a_part(self) -> None:
        """Less than 90 % has to be seen twice, a scrape interval apart, and ends at 95 %, seen twice."""
        few = has(node=70)
        self.assertIsNone(self.survey(has(node=80), few, 2))
        self.assertEqual((self.survey(has(node=80), few) or Lack(0, 0, 0)).missing, 10)
        self.assertIsNotNone(self.survey(has(node=80), has(node=75), 3))
        self.assertIsNotNone(self.survey(has(node=80), has(node=76)))
        self.assertIsNone(self.survey(has(node=80), has(node=76)))

    def test_small_differences(self) -> None:
        """A target or two, a deployment that one server sees earlier, and single windows are none."""
        self.assertIsNone(self.survey(has(node=80), has(node=73), 9))
        self.assertIsNone(self.survey(has(node=5), has(node=4), 9))
        for _ in range(5):
            self.assertIsNone(self.survey(has(node=80), has(node=60)))
            self.assertIsNone(self.survey(has(node=80), has(node=80)))

    def test_small_job(self) -> None:
        """Of one or two targets none or half counts, seen three times, a scrape interval apart."""
        self.assertIsNone(self.survey(has(node=2), has(node=1), 2, apart=2))
        self.assertIsNotNone(self.survey(has(node=2), has(node=1), apart=2))
        self.assertIsNotNone(self.survey(has(node=2), has(node=1), apart=2))
        self.assertIsNone(self.survey(has(node=2), has(node=2), 2))

    def test_job_of_one_server(self) -> None:
        """A job that a server has not in its configuration and never had is no lack; one that it had is."""
        self.assertIsNone(self.survey(has(node=80, other=40), has(node=80), 5))
        self.survey(has(node=80, other=40), has(node=80, other=40))
        self.assertIsNotNone(self.survey(has(node=80, other=40), has(node=80), 2))

    def test_job_that_was_removed(self) -> None:
        """A job that another configuration does not have any more is no lack."""
        self.survey(has(node=80, other=40), has(node=80, other=40))
        without = ServerState(read_at=NOW, config_at=2.0, jobs=FACTS.jobs)
        self.assertIsNone(self.survey(has(node=80, other=40), has(without, node=80), 5))

    def test_targets_that_were_not_discovered(self) -> None:
        """Targets beyond those that a server has discovered are a difference of the configurations."""
        some = ServerState(read_at=NOW, config_at=1.0, jobs=FACTS.jobs, pools=(("node", 60),))
        self.assertIsNone(self.survey(has(node=80), has(some, node=60), 5))
        self.assertEqual((self.survey(has(node=80), has(some, node=40), 3) or Lack(0, 0, 0)).missing, 20)

    def test_receiver_lacks_nothing(self) -> None:
        """A server that never had any targets, and ingests samples, is a receiver and lacks nothing."""
        self.assertIsNone(self.survey(has(node=80), has(ServerState(read_at=NOW, newest=NOW - 2)), 5))

    def test_empty_from_the_beginning(self) -> None:
        """A server that had no targets since mpp started lacks them if it ingests nothing."""
        self.assertIsNotNone(self.survey(has(node=80), has(ServerState(read_at=NOW, newest=NOW - 1800))))

    def test_without_configuration(self) -> None:
        """A server without scrape jobs that is no receiver lacks the targets of the others, however new its newest sample is."""
        lack = Lack(80, 80, NOW - 10, stopped=True)
        self.assertEqual([self.survey(has(node=80), has(IDLE)) for _ in range(3)], [lack] * 3)

    def test_receivers_without_targets(self) -> None:
        """A server without jobs that receives samples, or that does not tell its flags or its configuration, lacks nothing."""
        receiving = (("web.enable-remote-write-receiver", "true"), ("web.enable-otlp-receiver", "true"))
        featured = (("enable-feature", "exemplar-storage,remote-write-receiver"),)
        for flags in ((receiving[0],), (receiving[1],), featured, ()):
            self.setUp()
            self.assertIsNone(self.survey(has(node=80), has(evolve(IDLE, flags=flags)), 5))
        self.assertIsNone(self.survey(has(node=80), has(evolve(IDLE, config_hash="")), 5))

    def test_configured_and_empty_from_the_beginning(self) -> None:
        """A server with jobs that has not scraped any target lacks them, though mpp has not seen it with any."""
        self.assertIsNotNone(self.survey(has(node=80), has(), 2))

    def test_not_asked(self) -> None:
        """What cannot be asked of a server is no lack."""
        self.assertIsNone(self.survey(has(node=80), Surveyed(None, FACTS), 5))

    def test_returned_server_lacks_until_scraped(self) -> None:
        """A server that is just back lacks what it has not scraped yet, at once, until it has 95 %."""
        self.survey(has(node=80), has(node=80))
        self.lacks.returned(B)
        back_at = self.at
        lack = self.survey(has(node=80), has(back_at=back_at))
        self.assertEqual(lack, Lack(80, 80, back_at, stopped=True, back=True))
        self.assertEqual(str(lack), "is just back, and has scraped 0 of 80 targets so far")
        self.assertIsNotNone(self.survey(has(node=80), has(back_at=back_at, node=75)))
        self.assertIsNone(self.survey(has(node=80), has(back_at=back_at, node=76)))

    def test_back_with_less(self) -> None:
        """A server that is back and does not get more than nearly all is whole after 5 seconds and two intervals."""
        self.survey(has(node=80), has(node=80))
        self.lacks.returned(B)
        back_at = self.at
        self.assertIsNone(self.survey(has(node=80), has(back_at=back_at, node=74), apart=9.1))

    def test_back_with_nearly_all(self) -> None:
        """A server that is back and has 92 % is whole when its time is over; one that has 80 % by then still lacks the rest."""
        self.survey(has(node=80), has(node=80))
        self.lacks.returned(B)
        back_at = self.at
        self.assertIsNotNone(self.survey(has(node=80), has(back_at=back_at, node=74)))
        self.assertIsNone(self.survey(has(node=80), has(back_at=back_at, node=74), 9))
        self.lacks.returned(B)
        back_at = self.at
        self.assertIsNotNone(self.survey(has(node=80), has(back_at=back_at, node=64), 20))

    def test_lacks_of_three_servers_differ(self) -> None:
        """The one that lacks least is told from the one that lacks all."""
        for second in range(4):
            found = self.lacks.update({A: has(node=80), B: has(node=40), C: has(node=(0, 80))}, NOW + 2 * second)
        self.assertEqual({backend: lack.missing for backend, lack in found.items()}, {B: 40, C: 80})

    def test_removed_server_is_forgotten(self) -> None:
        """Nothing stays of a server that is not known any more."""
        self.survey(has(node=80), has(node=80))
        self.lacks.forget(B)
        self.assertIsNone(self.survey(has(node=80), has(ServerState(read_at=NOW, newest=NOW - 2)), 3))

    def test_many_jobs(self) -> None:
        """Four times as many jobs take about four times as long, and not sixteen times."""

        def seconds(count: int) -> float:
            names = [f"job{number}" for number in range(count)]
            jobs, pools = tuple((name, 15.0) for name in names), tuple((name, 10) for name in names)
            facts, reading = ServerState(jobs=jobs, pools=pools), {name: TargetCounts(10, 10) for name in names}
            took = []
            for number in range(5):
                began = time.process_time()
                self.lacks.update(dict.fromkeys((A, B), Surveyed(reading, facts)), NOW + number)
                took.append(time.process_time() - began)
            return min(took)

        self.assertLess(seconds(480), 9 * seconds(120))


class PeriodTests(SynchronousTestCase):
    """How often servers are surveyed."""

    def test_seconds_between_surveys(self) -> None:
        """Once in each scrape interval, between a second and 15, at most for half a percent of a server's core."""
        for jobs, seconds in (
            ([], 15.0),
            ([Job(80, 120.0)], 15.0),
            ([Job(80, 10.0), Job(2000, 60.0)], 5.0),
            ([Job(80, 0.2)], 1.0),
            ([Job(1000, 2.0), Job(1000, 60.0)], 4.0),
            ([Job(10000, 2.0)], 15.0),
        ):
            self.assertEqual(seconds_between_surveys(jobs), seconds, jobs)
