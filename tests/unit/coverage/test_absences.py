"""What short absences have cost a server, by sums of all jobs together."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend
from mpp.coverage.absences import MOST_ABSENCES, Absences, Weighed, unseen, weighed
from mpp.coverage.holes import Sums, Windows
from mpp.coverage.presence import TimeAway
from tests.unit.coverage.histories import Prometheus

A, B = (Backend("http", name, 9090) for name in "ab")
T0 = 1_700_000_000 // 30 * 30
W = Windows(T0, 30, 40)
JOBS = {"node": 16, "web": 4}
AWAY = T0 + 610.0


def sums(server: Prometheus, windows: Windows = W) -> Sums:
    """Return what a server has in each window."""
    return {
        job: {end: float(sum(server.samples(job, n, end - windows.length, end) for n in range(count))) for end in windows.ends}
        for job, count in server.jobs.items()
    }


def answers(
    *holes: tuple[float, float, str | None, int], jobs: dict[str, int] | None = None, **how: float
) -> dict[Backend, Sums]:
    """Return the sums of a whole server and of one with some holes."""
    every, intervals = jobs or JOBS, dict.fromkeys(jobs or JOBS, how.get("interval", 15.0))
    windows = Windows(T0, int(2 * how.get("interval", 15.0)), 40)
    own = Prometheus(every, list(holes), phase=how.get("phase", 0.0), intervals=intervals)
    return {A: sums(Prometheus(every, phase=6.0, intervals=intervals), windows), B: sums(own, windows)}


def absence(start: float, end: float, *, restarted: bool = True) -> Absences:
    """Return one absence."""
    return Absences().also(TimeAway(start, end, restarted), 0.0)


class WeighedTests(SynchronousTestCase):
    """A server that mpp has seen to be away."""

    def test_restart(self) -> None:
        """Twenty seconds stay, wherever they lie in the windows and however the targets' scrapes fall, until it scraped again."""
        for moment in range(0, 30, 4):
            for phase in range(0, 15, 4):
                start = AWAY + moment
                found = weighed(absence(start, start + 20), B, answers((start, start + 25, None, 99), phase=phase), W)
                self.assertEqual(found.lost, Intervals.of([(start, start + 25)]), (moment, phase))
                self.assertTrue(found.explained.covers(start - 30, start + 55), (moment, phase))

    def test_unreachable_for_mpp(self) -> None:
        """A server that went on scraping lacks nothing."""
        for restarted in (False, True):
            self.assertEqual(weighed(absence(AWAY, AWAY + 20, restarted=restarted), B, answers(), W), Weighed())

    def test_stopped_for_a_while(self) -> None:
        """A process that went on after it did not run for a while lacks that time."""
        found = weighed(absence(AWAY, AWAY + 20, restarted=False), B, answers((AWAY, AWAY + 20, None, 99)), W)
        self.assertEqual(found.lost, Intervals.of([(AWAY, AWAY + 20)]))

    def test_single_target(self) -> None:
        """A pool of a single target."""
        for moment in range(0, 30, 3):
            start = AWAY + moment
            jobs = {"node": 1}
            found = weighed(absence(start, start + 20), B, answers((start, start + 25, None, 99), jobs=jobs), W)
            self.assertTrue(found.lost, moment)
            self.assertFalse(weighed(absence(start, start + 20), B, answers(jobs=jobs), W).lost)

    def test_interval_of_a_minute(self) -> None:
        """Of targets that are scraped every minute, not all have lost a sample."""
        windows = Windows(T0, 120, 40)
        own = answers((AWAY, AWAY + 25, None, 99), interval=60.0)
        self.assertEqual(weighed(absence(AWAY, AWAY + 20), B, own, windows).lost, Intervals.of([(AWAY, AWAY + 25)]))

    def test_drift_is_no_loss(self) -> None:
        """Targets that a server never has are no sign of an absence."""
        drifting = answers((0.0, math.inf, "node", 8))
        self.assertEqual(weighed(absence(AWAY, AWAY + 20, restarted=False), B, drifting, W), Weighed())

    def test_damaged_log(self) -> None:
        """A server that lost more than its absence costs: what the windows show stays as well."""
        found = weighed(absence(AWAY, AWAY + 20), B, answers((AWAY - 180, AWAY + 25, None, 99)), W)
        self.assertEqual((found.lost, found.explained), (Intervals.of([(AWAY, AWAY + 25)]), NEVER))

    def test_rolling_restart(self) -> None:
        """Both servers were restarted one after the other: each lacks its own time."""
        both = {
            A: answers((AWAY + 35, AWAY + 60, None, 99))[B],
            B: answers((AWAY, AWAY + 25, None, 99), phase=6.0)[B],
        }
        self.assertEqual(weighed(absence(AWAY, AWAY + 20), B, both, W).lost, Intervals.of([(AWAY, AWAY + 25)]))
        self.assertEqual(weighed(absence(AWAY + 35, AWAY + 55), A, both, W).lost, Intervals.of([(AWAY + 35, AWAY + 60)]))

    def test_not_over_yet(self) -> None:
        """Where the windows end too early nothing is decided."""
        found = weighed(absence(W.end - 30, W.end - 10), B, answers(), W)
        self.assertEqual(found, Weighed(undecided=Intervals.of([(W.end - 30, W.end - 5)])))

    def test_long_absence(self) -> None:
        """A long absence is left to the windows, which show it more exactly."""
        found = weighed(absence(AWAY, AWAY + 300), B, answers((AWAY, AWAY + 300, None, 99)), W)
        self.assertEqual(found, Weighed())


class UnseenTests(SynchronousTestCase):
    """A server whose absence mpp has not seen."""

    def test_restart(self) -> None:
        """A short absence shows by all jobs together, wherever it lies in the windows."""
        for moment in range(0, 30, 4):
            for phase in range(0, 15, 4):
                start = AWAY + moment
                own = answers((start, start + 25, None, 99), phase=phase)
                found = unseen(B, own, W)
                self.assertEqual(unseen(A, own, W), NEVER)
                self.assertEqual(len(found.edges), 2, (moment, phase))
                self.assertTrue(found.overlaps(start, start + 25))
                self.assertLessEqual(found.measure, 60)

    def test_single_job(self) -> None:
        """A loss of one job is none of the server, nor is a permanent one."""
        self.assertEqual(unseen(B, answers((AWAY, AWAY + 25, "node", 99)), W), NEVER)
        self.assertEqual(unseen(B, answers((0.0, math.inf, "node", 8)), W), NEVER)
        self.assertEqual(unseen(B, answers((AWAY, AWAY + 15, "node", 10), jobs={"node": 16}), W), NEVER)

    def test_failed_scrapes_of_a_small_pool(self) -> None:
        """A target that did not respond to a server is no absence of it, not even in a pool of two targets."""
        for length in (15, 30, 45, 60):
            own = answers((AWAY, AWAY + length, "node", 1), jobs={"node": 1, "prometheus": 1})
            self.assertEqual(unseen(B, own, W), NEVER)
        self.assertTrue(unseen(B, answers((AWAY, AWAY + 30, None, 1), jobs={"node": 1, "prometheus": 1}), W))

    def test_small_job_is_spared(self) -> None:
        """Of targets that are scraped every minute the only one of a job may have lost no sample."""
        windows = Windows(T0, 120, 40)
        jobs = {"node": 16, "web": 8, "prometheus": 1}
        for moment in range(0, 60, 7):
            start = AWAY + moment
            own = answers((start, start + 40, None, 99), jobs=jobs, interval=60.0)
            self.assertTrue(unseen(B, own, windows).overlaps(start, start + 40), moment)

    def test_job_of_one_server(self) -> None:
        """A job that a server never had does not hide its absence."""
        own = answers((AWAY, AWAY + 25, None, 99), (0.0, math.inf, "web", 4))
        self.assertEqual(len(unseen(B, own, W).edges), 2)

    def test_nothing(self) -> None:
        """Whole servers, and servers without any sample, lack nothing."""
        self.assertEqual(unseen(B, answers(), W), NEVER)
        self.assertEqual(unseen(B, {A: {}, B: {}}, W), NEVER)


class AbsencesTests(SynchronousTestCase):
    """What is remembered."""

    def test_is_bounded(self) -> None:
        """Only the newest of very many absences are remembered; those of a server's clock."""
        absences = Absences()
        for number in range(MOST_ABSENCES + 5):
            absences = absences.also(TimeAway(100.0 * number, 100.0 * number + 10, restarted=False), 3.0)
        self.assertEqual(len(absences.times.edges), 2 * MOST_ABSENCES)
        self.assertEqual(absences.times.edges[:2], (503.0, 513.0))
