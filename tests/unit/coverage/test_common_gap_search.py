"""The look back of servers that have a gap in common."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Standing
from mpp.core.prometheus.runtimeinfo import ProbeResponse
from mpp.coverage.history.look_back import read_present
from mpp.coverage.presence import TimeAway
from tests.unit.coverage.histories import Prometheus
from tests.unit.coverage.look_back_case import DAY, MIDNIGHT, NOW, OLDEST, A, B, C, LookBackCase

START = NOW - 5 * 3600


class CommonGapSearchTests(LookBackCase):
    """Two servers with three days of data."""

    def found(self, seconds: float = 30) -> Intervals:
        """Let the look back run; return the common gaps."""
        self.see(A, B)
        self.run_for(seconds)
        self.assertTrue(self.look_back.progress()[A].finished)
        return self.knowledge.coverage.common

    def lose(self, start: float, end: float, job: str | None = None, targets: int = 99) -> None:
        """Let both servers scrape nothing, or not all, for some time."""
        for server in (self.a, self.b):
            server.holes.append((start, end, job, targets))

    def assert_gap(self, found: Intervals, start: float, end: float) -> None:
        """Check that there is one gap, which is a little longer than the time without samples."""
        ((first, last),) = found
        self.assertTrue(start - 45 <= first <= start - 15, first - start)
        self.assertTrue(end - 15 <= last <= end + 30, last - end)

    def test_all_servers_were_down(self) -> None:
        """Both servers were down for half an hour: a common gap, and neither lacks what the other one has."""
        self.lose(START, START + 1800)
        self.assert_gap(self.found(), START, START + 1800)
        self.assertEqual(self.knowledge.coverage.missing, {})
        self.assertEqual(self.noted, [("history", "compared the last 3d of 2 servers: gaps in the data of all servers at once")])

    def test_short_one(self) -> None:
        """Both servers were down for two minutes: it shows in the witnesses of all jobs, though no window of theirs is empty."""
        self.lose(START, START + 120)
        self.assert_gap(self.found(), START, START + 120)

    def test_gaps_that_overlap(self) -> None:
        """Of gaps that overlap, what both lack is a common gap, and the rest of each is its own."""
        self.a.holes.append((START, START + 1800, None, 99))
        self.b.holes.append((START + 1080, START + 3240, None, 99))
        self.assert_gap(self.found(), START + 1080, START + 1800)
        missing = self.knowledge.coverage.missing
        self.assertTrue(missing[A].whole.covers(START, START + 1050))
        self.assertTrue(missing[B].whole.covers(START + 1800, START + 3210))

    def test_over_midnight(self) -> None:
        """A gap over midnight is one, though days are compared one by one; so is one that begins or ends at midnight."""
        for start, end in ((-1000, 1000), (0, 900), (-900, 0), (-DAY - 7000, 7000)):
            self.setUp()
            self.lose(MIDNIGHT + start, MIDNIGHT + end)
            self.assert_gap(self.found(), MIDNIGHT + start, MIDNIGHT + end)

    def test_what_is_none(self) -> None:
        """No gap: targets down, a job that is not there or is smaller for a while, a restart of one server after the other."""

        def cut_off(server: Prometheus) -> None:
            server.cut_off.append((START, START + 1800))

        cases = {
            "targets down": lambda: [cut_off(self.a), cut_off(self.b)],
            "a job at night only": lambda: self.lose(START, START + 7200, "node"),
            "fewer targets": lambda: self.lose(START, START + 7200, "node", 15),
            "a new job": lambda: self.lose(OLDEST, START, "node"),
            "a removed job": lambda: self.lose(START, NOW + DAY, "web"),
            "rolling restart": lambda: [
                self.a.holes.append((START, START + 300, None, 99)),
                self.b.holes.append((START + 330, START + 630, None, 99)),
            ],
            "scaled down to none": lambda: [each.removed.append((START, START + 1800)) for each in (self.a, self.b)],
        }
        for name, lose in cases.items():
            self.setUp()
            lose()
            self.assertEqual(self.found(), NEVER, name)

    def test_a_trial_before_the_installation(self) -> None:
        """The time between a trial with one target and the installation is none."""
        self.lose(OLDEST + 3600, START)
        self.lose(OLDEST, OLDEST + 3600, "node")
        self.lose(OLDEST, OLDEST + 3600, "web", 3)
        self.assertEqual(self.found(), NEVER)

    def test_whole_days(self) -> None:
        """A gap of days is found, in which no server names a witness; it costs few queries."""
        self.lose(MIDNIGHT - 2.4 * DAY, MIDNIGHT - 3600)
        self.assert_gap(self.found(40), MIDNIGHT - 2.4 * DAY, MIDNIGHT - 3600)
        self.assertLess(len(self.histories.asked), 200)

    def test_up_to_now(self) -> None:
        """A gap that ended when mpp was started, too, is found when a few minutes have passed."""
        self.lose(NOW - 1800, NOW + 30)
        self.assertEqual(self.found(), NEVER)
        self.see(A, B)
        self.assertTrue(self.look_back.progress()[A].finished)
        self.clock.advance(400)
        self.assert_gap(self.found(), NOW - 1800, NOW + 30)

    def test_both_were_seen_away(self) -> None:
        """Servers that were down at once while mpp watched have a common gap, with its edges, when they have returned."""
        self.assertEqual(self.found(), NEVER)
        self.lose(NOW + 100, NOW + 700)
        self.clock.advance(800)
        for backend in (A, B):
            self.knowledge.was_away(backend, TimeAway(NOW + 90, NOW + 705, restarted=True), 0.0)
        self.clock.advance(400)
        self.assert_gap(self.found(), NOW + 100, NOW + 700)

    def test_third_server(self) -> None:
        """A third server that has the time ends the common gap; until it can be compared, nothing is said of times."""
        self.lose(START, START + 1800)
        third = Prometheus({"node": 20, "web": 4}, oldest=OLDEST)
        self.histories.servers[C] = third
        self.see(C, standing=Standing.NOT_READY)
        self.assertEqual(self.found(), NEVER)
        self.see(A, B, C)
        self.run_for(40)
        self.assertEqual(self.knowledge.coverage.common, NEVER)
        self.assertTrue(all(self.knowledge.coverage.missing[each].whole.covers(START, START + 1750) for each in (A, B)))

    def test_third_server_without_it(self) -> None:
        """A third server that does not have the time either, or has no data of it at all, changes nothing."""
        for oldest in (OLDEST, NOW - 3600):
            self.setUp()
            self.lose(START, START + 1800)
            self.histories.servers[C] = Prometheus({"node": 20, "web": 4}, [(START, START + 1800, None, 99)], oldest)
            self.see(C)
            self.assert_gap(self.found(60), START, START + 1800)

    def test_jobs_that_are_not_known(self) -> None:
        """A day with data of jobs only that no longer exist is none, and not much of it is read."""
        for server in (self.a, self.b):
            server.jobs = {**server.jobs, "old": 3}
        self.lose(MIDNIGHT - 1.5 * DAY, MIDNIGHT + 7200, "node")
        self.lose(MIDNIGHT - 1.5 * DAY, MIDNIGHT + 7200, "web")
        self.assertEqual(self.found(40), NEVER)
        self.assertLess(len(self.histories.asked), 120)

    def test_retention(self) -> None:
        """A gap that the retention of the servers has reached is none any longer."""
        self.lose(START, START + 1800)
        self.assert_gap(self.found(), START, START + 1800)
        self.a.oldest = self.b.oldest = START + 1800
        self.see(A, B)
        self.knowledge.publish()
        self.assertEqual(self.knowledge.coverage.common, NEVER)

    def test_other_selector(self) -> None:
        """When the comparison is switched off, what was found is dropped."""
        self.lose(START, START + 1800)
        self.found()
        self.knowledge.keep(())
        self.knowledge.publish()
        self.assertTrue(self.knowledge.coverage.is_whole)


class PresentTests(SynchronousTestCase):
    """The response about the targets that are there."""

    def test_targets_are_counted(self) -> None:
        """The targets of the given jobs are counted; what cannot be read is not known."""
        body = b'{"data": {"result": [{"metric": {"job": "a"}, "value": [1, "3"]}, {"metric": {}, "value": [1, "9"]}]}}'
        self.assertEqual(read_present(ProbeResponse(200, body), {"a"}), 3)
        self.assertEqual(read_present(ProbeResponse(200, b'{"data": {"result": []}}'), {"a"}), 0)
        for wrong in (ProbeResponse(422, body), ProbeResponse(200, b"[]"), ProbeResponse(200, b'{"data": {"result": [1]}}')):
            self.assertIsNone(read_present(wrong, {"a"}))
