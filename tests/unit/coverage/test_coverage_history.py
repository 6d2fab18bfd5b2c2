"""The look back: what it finds, how far it goes, and what it does not do."""

from __future__ import annotations

import math

from mpp.core.coverage import NOTHING, Hole, Job, Missing
from mpp.core.facts import ServerState
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend, Observation, Standing
from mpp.core.prometheus.runtimeinfo import ProbeResponse
from mpp.coverage.knowledge import HEAD_S
from mpp.coverage.presence import TimeAway
from tests.unit.coverage.histories import Prometheus
from tests.unit.coverage.look_back_case import DAY, JOBS, NOW, OLDEST, A, B, C, LookBackCase

WINDOW = 30.0


class LookBackTests(LookBackCase):
    """Two servers with three days of data."""

    def missing(self, backend: Backend) -> Missing:
        """Return what a server lacks, as published."""
        return self.knowledge.coverage.missing.get(backend, NOTHING)

    def assert_near(self, holes: tuple[Hole, ...], start: float, end: float, missing: int, of: int) -> None:
        """Check that there is one hole, at these times but for one window."""
        self.assertEqual([(hole.missing, hole.of) for hole in holes], [(missing, of)])
        self.assertLessEqual(abs(holes[0].start - start), WINDOW)
        self.assertLessEqual(abs(holes[0].end - end), WINDOW)

    def test_no_holes(self) -> None:
        """Two whole servers: nothing is found, and everything has been looked at, which is noted once."""
        self.see(A, B)
        self.run_for(20)
        self.assertTrue(self.knowledge.coverage.is_whole)
        self.assertTrue(self.look_back.progress()[A].finished)
        self.see(A, B)
        self.run_for(5)
        self.assertEqual(self.noted, [("history", "compared the last 3d of 2 servers: no gaps")])

    def test_drift_is_no_gap(self) -> None:
        """Targets that a server never had are noted, and not as a gap."""
        self.b.holes.append((OLDEST, math.inf, "web", 4))
        self.see(A, B)
        self.run_for(20)
        self.knowledge.publish()
        self.assertEqual(self.knowledge.coverage.missing[B].drift, {"web": 4})
        told = "compared the last 3d of 2 servers: no gaps; prom-b:9090 never had some targets"
        self.assertEqual(self.noted, [("history", told)])

    def test_whole_server(self) -> None:
        """A server that was down for ten minutes, two days ago."""
        start = NOW - 2 * DAY
        self.b.holes.append((start, start + 600, None, 99))
        self.see(A, B)
        self.run_for(20)
        self.assertEqual(self.missing(A), NOTHING)
        (hole,) = self.missing(B).whole
        self.assertLessEqual(abs(hole[0] - start), WINDOW)
        self.assertLessEqual(abs(hole[1] - start - 600), WINDOW)
        self.assertLessEqual(self.missing(B).times.measure, 600 + 2 * WINDOW)

    def test_short_restart_is_found(self) -> None:
        """A restart of 40 s."""
        start = NOW - 5 * 3600
        self.a.holes.append((start, start + 40, None, 99))
        self.see(A, B)
        self.run_for(20)
        self.assertEqual(self.missing(B), NOTHING)
        self.assertTrue(0 < self.missing(A).times.measure < 40 + 2 * WINDOW, self.missing(A))

    def test_hole_of_a_part_of_a_job_is_found(self) -> None:
        """Most of the targets of one job, for two days: the edges are asked for, what is between them is as bad."""
        start, end = NOW - 2.6 * DAY, NOW - 0.6 * DAY
        self.b.holes.append((start, end, "node", 19))
        self.see(A, B)
        self.run_for(20)
        self.assert_near(self.missing(B).jobs["node"], start, end, 19, 20)
        self.assertEqual(set(self.missing(B).jobs), {"node"})

    def slow(self, interval: float) -> None:
        """Have a job of ten targets that is scraped seldom."""
        for server in (self.a, self.b):
            server.jobs = {**server.jobs, "slow": 10}
            server.intervals = {"slow": interval}
        self.knowledge.surveyed({**JOBS, "slow": Job(10, 2 * interval)})

    def test_gap_of_a_slow_job_is_found(self) -> None:
        """Targets of a job that is scraped every five minutes, every half hour or every two hours were missing for a while."""
        for interval in (300.0, 420.0, 1800.0, 7200.0):
            self.setUp()
            self.slow(interval)
            start, end = NOW - 2.2 * DAY, NOW - 2.2 * DAY + 6 * interval
            self.b.holes.append((start, end, "slow", 9))
            self.see(A, B)
            self.run_for(20)
            self.assertTrue(self.look_back.progress()[B].finished)
            self.assertEqual((self.missing(A), set(self.missing(B).jobs), self.missing(B).whole), (NOTHING, {"slow"}, NEVER))
            (hole,) = self.missing(B).jobs["slow"]
            self.assertEqual((hole.missing, hole.of), (9, 10))
            self.assertLessEqual(abs(hole.start - start), 2 * interval)
            self.assertLessEqual(abs(hole.end - end), 2 * interval)

    def test_slow_job_of_a_whole_server(self) -> None:
        """The short absence of a server is one of its slow jobs, too, which may have missed only a scrape."""
        self.slow(600.0)
        start = NOW - 2 * DAY
        self.b.holes.append((start, start + 600, None, 99))
        self.see(A, B)
        self.run_for(20)
        self.assertEqual(self.missing(A), NOTHING)
        self.assertTrue(self.missing(B).whole.covers(start + WINDOW, start + 600 - WINDOW))

    def test_whole_slow_jobs_have_no_gap(self) -> None:
        """Slow jobs without a gap have none, whatever their intervals, and cost few queries more."""
        self.see(A, B)
        self.run_for(20)
        without = len(self.histories.asked)
        for interval in (151.0, 300.0, 420.0, 1800.0, 7000.0):
            self.setUp()
            self.slow(interval)
            self.see(A, B)
            self.run_for(20)
            self.assertTrue(self.look_back.progress()[A].finished)
            self.assertTrue(self.knowledge.coverage.is_whole, interval)
            self.assertLessEqual(len(self.histories.asked), 2 * without + 8, interval)

    def test_holes_of_both(self) -> None:
        """Holes that overlap are found with the edges of each."""
        start = NOW - DAY
        self.a.holes.append((start, start + 7200, "node", 20))
        self.b.holes.append((start + 3600, start + 9000, "web", 4))
        self.see(A, B)
        self.run_for(20)
        self.assert_near(self.missing(A).jobs["node"], start, start + 7200, 20, 20)
        self.assert_near(self.missing(B).jobs["web"], start + 3600, start + 9000, 4, 4)

    def test_drift_is_no_hole(self) -> None:
        """A job that one server never had is no hole."""
        self.b.jobs = {"node": 20}
        self.see(A, B)
        self.run_for(30)
        self.assertEqual(self.missing(B), Missing(drift={"web": 4}))

    def test_a_job_of_one_configuration_is_no_gap(self) -> None:
        """A job that was added a day ago to the configuration of one server is no hole of the other one."""
        self.b.holes.append((NOW - 9 * DAY, NOW + DAY, "web", 4))
        self.a.holes.append((NOW - 9 * DAY, NOW - DAY, "web", 4))
        for backend, jobs in ((A, ("node", "web")), (B, ("node",))):
            facts = ServerState(oldest=OLDEST, skew=0.0, jobs=tuple((job, 15.0) for job in jobs))
            self.look_back.see(Observation(backend, Standing.VIABLE, facts=facts))
        self.look_back.begin()
        self.run_for(30)
        self.assertEqual(self.missing(B), Missing(drift={"web": 4}))

    def test_nothing_to_compare_is_not_asked(self) -> None:
        """Where only one server has data, nothing is asked."""
        self.b.oldest = NOW - DAY
        self.see(A, B)
        self.run_for(20)
        (hole,) = self.missing(B).whole
        self.assertEqual(hole[0], OLDEST)
        self.assertLessEqual(abs(hole[1] - (NOW - DAY)), WINDOW)
        self.assertLessEqual(self.missing(B).times.measure, 2 * DAY + WINDOW)
        self.assertGreaterEqual(min(float(asked.get("start", "inf")) for _, asked in self.histories.asked), NOW - DAY - 900)
        self.assertTrue(self.look_back.progress()[B].finished)

    def test_one_at_a_time(self) -> None:
        """No query is sent while another one is running."""
        self.histories.late = []
        self.see(A, B)
        self.run_for(30)
        self.see(A, B)
        self.assertEqual(len(self.histories.asked), 1)

    def test_slow_server_has_pauses(self) -> None:
        """A server that takes a second for its answer has a pause of some seconds."""
        self.histories.late = []
        self.see(A, B)
        self.clock.advance(1.0)
        self.histories.late.pop().callback(ProbeResponse(200, b'{"data": {"result": []}}'))
        self.clock.advance(3.9)
        self.assertEqual(len(self.histories.asked), 1)
        self.clock.advance(0.2)
        self.assertEqual(len(self.histories.asked), 2)

    def test_busy_server_is_not_asked(self) -> None:
        """A busy server is not asked; it goes on as soon as the server is not busy any more."""
        self.see(A, B)
        self.clock.advance(0.1)
        asked = len(self.histories.asked)
        self.see(B, standing=Standing.BUSY)
        self.run_for(60)
        self.assertLessEqual(len(self.histories.asked), asked + 1)
        self.assertIn("fewer than two", self.look_back.progress()[A].problem)
        self.see(B)
        self.run_for(20)
        self.assertTrue(self.look_back.progress()[A].finished)

    def test_single_server(self) -> None:
        """A single server is not asked anything."""
        self.see(A)
        self.run_for(20)
        self.assertEqual(self.histories.asked, [])

    def test_refusal_is_asked_ever_less_often(self) -> None:
        """A server that refuses counts as equal, and is asked ever less often."""
        self.b.answer = ProbeResponse(403)
        self.see(A, B)
        for _ in range(20):
            self.run_for(30)
            self.see(A, B)
        self.assertTrue(self.knowledge.coverage.is_whole)
        self.assertLessEqual(sum(backend == B for backend, _ in self.histories.asked), 5)
        self.assertIn("does not answer", self.look_back.progress()[B].problem)

    def test_resumes_after_an_error(self) -> None:
        """After an error it goes on where it was."""
        start = NOW - 2 * DAY
        self.b.holes.append((start, start + 600, None, 99))
        self.see(A, B)
        self.run_for(0.5)
        self.histories.refuse(B)
        self.run_for(5)
        self.b.answer = None
        for _ in range(5):
            self.run_for(30)
            self.see(A, B)
        self.assertTrue(self.look_back.progress()[B].finished)
        self.assertTrue(self.missing(B).whole.covers(start + WINDOW, start + 600 - WINDOW))

    def test_three_servers(self) -> None:
        """A third server that comes later is compared with the other ones."""
        self.see(A, B)
        self.run_for(20)
        start = NOW - 2 * DAY
        self.histories.servers[C] = Prometheus({"node": 20, "web": 4}, [(start, start + 3600, "node", 20)], OLDEST)
        self.see(A, B, C)
        self.run_for(30)
        self.assert_near(self.missing(C).jobs["node"], start, start + 3600, 20, 20)
        self.assertEqual(self.missing(A), NOTHING)

    def test_after_a_restart(self) -> None:
        """After a restart the time of it, and what was before, are looked at: the WAL has lost some minutes."""
        self.see(A, B)
        self.run_for(20)
        away = NOW + self.clock.seconds() - 50
        self.b.holes.append((away - 180, away + 30, None, 99))
        self.knowledge.was_away(B, TimeAway(away, away + 30, restarted=True), 0.0)
        self.knowledge.publish()
        self.assertEqual(self.missing(B), Missing(Intervals.of([(away, away + 30)])))
        for _ in range(20):
            self.see(A, B)
            self.run_for(30)
        (hole,) = self.missing(B).whole
        self.assertLessEqual(abs(hole[0] - away + 180), WINDOW)
        self.assertLessEqual(abs(hole[1] - away - 30), WINDOW)

    def look_again(self) -> None:
        """Let the look back compare again what was seen."""
        for _ in range(20):
            self.see(A, B)
            self.run_for(30)

    def test_short_restart_stays(self) -> None:
        """A restart that mpp has seen stays a gap of the whole server, though the windows are too coarse to show it."""
        for moment in range(0, 30, 7):
            self.setUp()
            self.see(A, B)
            self.run_for(20)
            away = NOW + self.clock.seconds() - moment
            self.b.holes.append((away, away + 25, None, 99))
            self.knowledge.was_away(B, TimeAway(away, away + 20, restarted=True), 0.0)
            self.look_again()
            self.assertEqual(self.missing(B), Missing(Intervals.of([(away, away + 25)])), moment)
            self.assertEqual(self.missing(A), NOTHING)

    def test_short_restart_stays_whenever_it_is_compared(self) -> None:
        """The first comparison may come before all samples around the absence are there; then the next one decides."""
        for after in range(0, 120, 13):
            self.setUp()
            self.see(A, B)
            self.run_for(20)
            away = NOW + self.clock.seconds()
            self.b.holes.append((away, away + 25, None, 99))
            self.clock.advance(20 + after)
            self.knowledge.was_away(B, TimeAway(away, away + 20, restarted=True), 0.0)
            self.knowledge.publish()
            for _ in range(100):
                self.see(A, B)
                self.run_for(3)
                self.assertTrue(self.missing(B).whole.covers(away, away + 20), after)
            self.assertEqual(self.missing(B), Missing(Intervals.of([(away, away + 25)])), after)

    def test_restart_stays_at_different_intervals(self) -> None:
        """The same of a pool whose jobs are scraped at different intervals: a gap of each job that has lost samples."""
        self.a.intervals = self.b.intervals = {"web": 60.0}
        self.knowledge.surveyed({"node": Job(20, 30.0), "web": Job(4, 120.0)})
        self.see(A, B)
        self.run_for(20)
        away = NOW + self.clock.seconds()
        self.b.holes.append((away, away + 25, None, 99))
        self.knowledge.was_away(B, TimeAway(away, away + 20, restarted=True), 0.0)
        self.look_again()
        self.assertEqual(self.missing(B).holes("node", 20), (Hole(away, away + 25, 20, 20),))

    def test_unseen_restart_at_different_intervals(self) -> None:
        """A short restart that mpp has not seen shows by all jobs of one interval, too."""
        for server in (self.a, self.b):
            server.jobs, server.intervals = {**server.jobs, "rare": 30}, {"rare": 60.0}
        self.knowledge.surveyed({**JOBS, "rare": Job(30, 120.0)})
        start = NOW - DAY
        self.b.holes.append((start, start + 25, None, 99))
        self.see(A, B)
        self.run_for(30)
        for job, targets in self.a.jobs.items():
            if job != "rare":
                holes = [hole for hole in self.missing(B).holes(job, targets) if hole.start < start + 25 and start < hole.end]
                self.assertIn(targets, [hole.missing for hole in holes], job)

    def test_unreachable_server_lacks_nothing(self) -> None:
        """A server that only mpp could not reach for a moment has no gap after the comparison."""
        for restarted in (False, True):
            self.setUp()
            self.see(A, B)
            self.run_for(20)
            away = NOW + self.clock.seconds()
            self.knowledge.was_away(B, TimeAway(away, away + 20, restarted), 0.0)
            self.knowledge.sees(B, Missing(Intervals.of([(away + 20, math.inf)])), away + 20)
            self.knowledge.sees(B, NOTHING, away + 21)
            self.look_again()
            self.assertEqual(self.missing(B), NOTHING)

    def test_short_stop_of_the_same_process(self) -> None:
        """A process that did not run for 20 s, and went on, lacks what mpp has seen."""
        self.see(A, B)
        self.run_for(20)
        away = NOW + self.clock.seconds()
        self.b.holes.append((away, away + 20, None, 99))
        self.knowledge.was_away(B, TimeAway(away, away + 20, restarted=False), 0.0)
        self.look_again()
        self.assertEqual(self.missing(B), Missing(Intervals.of([(away, away + 20)])))

    def test_rolling_restart(self) -> None:
        """Two servers that were restarted one after the other, which may have cost both as much in the same five minutes."""
        for away in (20, 45, 90):
            for offset in range(0, 300, 20):
                self.setUp()
                start = NOW - 7200 + offset
                self.a.holes.append((start, start + away, None, 99))
                self.b.holes.append((start + away + 30, start + 2 * away + 30, None, 99))
                self.see(A, B)
                self.run_for(20)
                for backend, began in ((A, start), (B, start + away + 30)):
                    whole = self.missing(backend).whole
                    self.assertTrue(whole.covers(began, began + away), (away, offset, backend.name, whole))
                    self.assertLess(whole.measure, away + 3 * WINDOW, (away, offset, backend.name, whole))

    def test_rolling_restart_of_new_servers(self) -> None:
        """It is found, too, if the history is shorter than the windows of the look back."""
        self.a.oldest = self.b.oldest = NOW - 230
        self.a.holes.append((NOW - 180, NOW - 135, None, 99))
        self.b.holes.append((NOW - 115, NOW - 70, None, 99))
        self.see(A, B)
        self.run_for(20)
        self.assertTrue(self.missing(A).whole.covers(NOW - 180, NOW - 140), self.missing(A))
        self.assertTrue(self.missing(B).whole.covers(NOW - 110, NOW - 75), self.missing(B))

    def test_restart_seen_at_a_short_interval(self) -> None:
        """A gap that mpp has seen stays, though the windows of the look back are too long to show ten seconds of it."""
        self.a.intervals = self.b.intervals = {"node": 1.0, "web": 1.0}
        self.knowledge.surveyed({"node": Job(20, 2.0), "web": Job(4, 2.0)})
        self.see(A, B)
        self.run_for(20)
        away = NOW + self.clock.seconds()
        self.b.holes.append((away, away + 8, None, 99))
        self.knowledge.was_away(B, TimeAway(away, away + 4, restarted=True), 0.0)
        self.knowledge.sees(B, Missing(Intervals.of([(away, math.inf)])), away + 5)
        self.knowledge.sees(B, NOTHING, away + 8)
        self.look_again()
        self.assertTrue(self.missing(B).whole.covers(away + 1, away + 7), self.missing(B))
        self.assertLess(self.missing(B).whole.measure, 20)

    def test_later_restart_leaves_the_earlier_one(self) -> None:
        """The hours before a restart are compared again; an earlier short restart among them stays."""
        self.see(A, B)
        self.run_for(20)
        for _ in range(2):
            away = NOW + self.clock.seconds()
            self.b.holes.append((away, away + 25, None, 99))
            self.knowledge.was_away(B, TimeAway(away, away + 20, restarted=True), 0.0)
            self.look_again()
        self.assertEqual(self.missing(B), Missing(Intervals.of((start, end) for start, end, *_ in self.b.holes)))

    def test_unseen_short_restart(self) -> None:
        """A short restart that mpp has not seen is one of all jobs."""
        for moment in range(0, 30, 7):
            self.setUp()
            start = NOW - DAY + moment
            self.b.holes.append((start, start + 25, None, 99))
            self.see(A, B)
            self.run_for(20)
            self.assertTrue(self.missing(B).whole.overlaps(start, start + 25), moment)
            self.assertLessEqual(self.missing(B).times.measure, 3 * WINDOW)
            self.assertEqual(self.missing(A), NOTHING)

    def test_soon_after_a_restart(self) -> None:
        """What the WAL has lost is found within seconds of the restart, but for the last moments before it."""
        self.see(A, B)
        self.run_for(20)
        away = NOW + self.clock.seconds() - 20
        self.b.holes.append((away - 1800, away + 20, None, 99))
        self.knowledge.was_away(B, TimeAway(away, away + 20, restarted=True), 0.0)
        self.see(A, B)
        self.run_for(10)
        lost = self.missing(B).times
        self.assertLessEqual(lost.edges[0], away - 1800 + WINDOW)
        self.assertTrue(lost.covers(away - 1800 + WINDOW, away - 2 * WINDOW), lost)

    def test_restart_does_not_undo_the_comparison(self) -> None:
        """After a restart the hours before it are compared again; what was compared of the days before it stays so."""
        self.see(A, B)
        self.run_for(20)
        until = self.look_back.progress()[B].until
        away = NOW + self.clock.seconds()
        self.knowledge.was_away(B, TimeAway(away, away + 30, restarted=True), 0.0)
        self.clock.advance(30)
        self.see(A, B)
        told = self.look_back.progress()
        self.assertEqual((told[B].until, told[B].finished), (until, True))
        self.assertEqual([start for start, _ in told[B].again], [away - HEAD_S])
        self.assertEqual((told[A].finished, told[A].again), (True, NEVER))
        self.clock.advance(150)
        self.see(A, B)
        self.run_for(20)
        self.assertEqual(self.look_back.progress()[B].again, NEVER)

    def test_was_there(self) -> None:
        """A server that restarts after mpp could not reach it for long has scraped in the meantime."""
        self.see(A, B)
        self.run_for(20)
        away = NOW + self.clock.seconds() - 9000
        self.b.holes.append((away + 8960, away + 9000, None, 99))
        self.knowledge.was_away(B, TimeAway(away, away + 9000, restarted=True), 0.0)
        for _ in range(20):
            self.see(A, B)
            self.run_for(30)
        self.assertLessEqual(self.missing(B).times.measure, 40 + 2 * WINDOW)
        self.assertTrue(self.missing(B).times.overlaps(away + 8960, away + 9000))

    def test_unreadable_storage_is_a_hole(self) -> None:
        """A server that cannot read a part of its storage lacks this part."""
        start = NOW - DAY
        self.b.damaged = (start, start + 7200)
        self.see(A, B)
        self.run_for(60)
        self.assertTrue(self.look_back.progress()[B].finished)
        self.assertTrue(self.missing(B).times.covers(start + 300, start + 6900))
        self.assertLessEqual(self.missing(B).times.measure, 7200 + 600)

    def test_waits_for_cpu_time_to_come_back(self) -> None:
        """A server's CPU time is not used up; the look back goes on when some of it has come back."""
        self.knowledge.surveyed({f"job{number}": Job(5, 2.0) for number in range(40)})
        self.a.jobs = self.b.jobs = {f"job{number}": 2 for number in range(40)}
        self.see(A, B)
        self.run_for(60)
        progress = self.look_back.progress()[A]
        assert progress.until is not None
        self.assertGreater(progress.until, NOW - 2 * DAY)
        self.assertIn("mpp has used the CPU time", progress.problem)
        self.clock.advance(10 * 3600)
        self.see(A, B)
        self.run_for(60)
        again = self.look_back.progress()[A].until
        assert again is not None
        self.assertLess(again, progress.until)

    def test_a_thousand_targets_and_fifteen_days(self) -> None:
        """The histories of a thousand targets in fifty jobs, scraped each 15 s for fifteen days, are compared without a break."""
        targets = {f"job{number}": 20 for number in range(50)}
        for server in (self.a, self.b):
            server.jobs, server.oldest = targets, NOW - 15 * DAY
        start = NOW - 7 * DAY
        self.a.holes.append((start, start + 600, None, 99))
        self.knowledge.surveyed({job: Job(20, WINDOW) for job in targets})
        self.see(A, B)
        self.run_for(60)
        progress = self.look_back.progress()[A]
        self.assertEqual((progress.finished, progress.problem), (True, ""))
        self.assertEqual(len(self.missing(A).whole.edges), 2)

    def test_a_query_beyond_the_budget(self) -> None:
        """With so many targets that one query costs more than the budget, the look back goes on, but slowly."""
        self.knowledge.surveyed({"node": Job(2_000_000, 30.0), "web": Job(4, 30.0)})
        self.see(A, B)
        self.run_for(5)
        self.assertEqual(len(self.histories.asked), 2)
        self.assertIn("mpp has used the CPU time", self.look_back.progress()[A].problem)

    def test_switched_off(self) -> None:
        """Without a selector nothing is asked, and what was found is dropped."""
        self.b.holes.append((NOW - DAY, NOW - DAY + 600, None, 99))
        self.see(A, B)
        self.run_for(20)
        self.look_back.reconfigure(self.histories.ask_history, "")
        asked = len(self.histories.asked)
        self.see(A, B)
        self.run_for(20)
        self.assertEqual(len(self.histories.asked), asked)

    def test_many_jobs(self) -> None:
        """A restart with very many jobs is one hole."""
        names = [f"job{number}" for number in range(120)]
        self.knowledge.surveyed(dict.fromkeys(names, Job(1, 30.0)))
        self.a.jobs = self.b.jobs = dict.fromkeys(names, 1)
        self.a.oldest = self.b.oldest = NOW - 8 * 3600
        start = NOW - 5 * 3600
        self.b.holes.append((start, start + 600, None, 99))
        self.see(A, B)
        self.run_for(60)
        self.assertTrue(self.look_back.progress()[B].finished)
        (hole,) = self.missing(B).whole
        self.assertLessEqual(abs(hole[0] - start) + abs(hole[1] - start - 600), 2 * WINDOW)
        self.assertEqual(self.missing(B).jobs, {})

    def test_nothing_is_asked_after_the_end(self) -> None:
        """Nothing is asked after the end."""
        self.see(A, B)
        self.look_back.stop()
        asked = len(self.histories.asked)
        self.run_for(20)
        self.assertEqual(len(self.histories.asked), asked)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_unknown_retention(self) -> None:
        """Servers that do not tell their oldest sample are looked at for 15 days."""
        self.a.oldest = self.b.oldest = 0.0
        self.see(A, B)
        self.run_for(30)
        first = min(float(asked.get("start", math.inf)) for _, asked in self.histories.asked)
        self.assertLess(abs(first - (NOW - 15 * DAY)), 1000)
