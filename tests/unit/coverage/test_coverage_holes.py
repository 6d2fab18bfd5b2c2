"""What servers lack of their history, by what they answer about it."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from typing import Any, TypeVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.coverage import Coverage, Hole, Job, Missing
from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.facts import Gap
from mpp.core.intervals import Intervals
from mpp.core.model import Backend
from mpp.core.prometheus.runtimeinfo import ProbeResponse
from mpp.coverage import holes
from mpp.coverage.holes import Sums, Unanswered, Windows, read_sums, with_drift, younger

T = TypeVar("T")

A, B, C = (Backend("http", name, 9090) for name in "abc")
T0 = 1_700_000_000
W = Windows(T0, 30, 20)
JOBS = {"node": Job(80, 30.0), "web": Job(2, 30.0)}


def finished(steps: Generator[object, None, T]) -> T:
    """Return the result of a calculation in steps."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def judged(answers: Mapping[Backend, Sums | Unanswered], *windows: Any, all_jobs: bool) -> dict[Backend, Missing]:
    """Return what each server lacks."""
    return finished(holes.judged(answers, *windows, all_jobs=all_jobs))


def suspicious(answers: Mapping[Backend, Sums | Unanswered], *windows: Any) -> dict[Backend, dict[str, Intervals]]:
    """Return the times that are to be looked at again."""
    return finished(holes.suspicious(answers, *windows))


def sums(node: list[int], web: list[int] | None = None, windows: Windows = W) -> Sums:
    """Return the sums of a server that had so many targets in each window, the last number in all further ones."""

    def of(targets: list[int]) -> dict[int, float]:
        full = targets + targets[-1:] * (windows.count - len(targets))
        return {end: 2.0 * n for end, n in zip(windows.ends, full, strict=True) if n}

    return {"node": of(node), "web": of(web or [2])}


def lacking(own: list[int], best: list[int] | None = None, *, all_jobs: bool = False) -> tuple[Hole, ...]:
    """Return the holes of the larger job of a server beside a better one."""
    found = judged({A: sums(own), B: sums(best or [80])}, W, JOBS, all_jobs=all_jobs)
    return found.get(A, Missing()).jobs.get("node", ())


class JudgedTests(SynchronousTestCase):
    """What counts as a hole."""

    def test_same_sums_are_no_hole(self) -> None:
        """Two servers with the same sums lack nothing."""
        self.assertEqual(judged({A: sums([80]), B: sums([80])}, W, JOBS, all_jobs=True), {})

    def test_part_of_a_job(self) -> None:
        """A job of which a part was lost for some windows has a hole, which may have begun before it showed."""
        self.assertEqual(lacking([80, 80, 60, 60, 60, 80]), (Hole(T0 + 60 - 0.4 * 30, T0 + 150, 20, 80),))

    def test_begins_within_a_window(self) -> None:
        """A hole that shows in a part of its first window began there."""
        self.assertEqual(lacking([80, 80, 40, 0, 0, 80])[0].start, T0 + 60)

    def test_one_window(self) -> None:
        """A single bad window of one job is none."""
        self.assertEqual(lacking([80, 60, 80]), ())

    def test_goes_on_until_whole(self) -> None:
        """A job is lacking until it has 95 % of the best."""
        self.assertEqual(lacking([80, 40, 40, 74, 75, 76, 80])[0].end, T0 + 150)

    def test_rolling_deployment(self) -> None:
        """Targets that one server finds a little later are no hole: 5 % a second differ by 8 % in two intervals."""
        self.assertEqual(lacking([80, 74, 74, 74, 74, 80]), ())

    def test_one_target_less(self) -> None:
        """One target of a job that is not small is not enough."""
        self.assertEqual(lacking([8, 7, 7, 7, 8], [8]), ())

    def test_small_job(self) -> None:
        """A small job must be lost in half for three windows."""
        for web, expected in (([2, 1, 1, 2], 0), ([2, 1, 1, 1, 2], 1), ([2, 0, 0, 0, 2], 1)):
            found = judged({A: sums([80], web), B: sums([80])}, W, JOBS, all_jobs=False)
            self.assertEqual(len(found.get(A, Missing()).jobs.get("web", ())), expected, web)

    def test_whole_server(self) -> None:
        """A window in which a server has nothing at all needs no second one, and counts for jobs that are not known, too."""
        found = judged({A: sums([80, 80, 0, 80], [2, 2, 0, 2]), B: sums([80])}, W, JOBS, all_jobs=True)
        self.assertEqual(found[A].whole, Intervals.of([(T0 + 60 - 0.1 * 30, T0 + 90)]))
        self.assertEqual(found[A].holes("node", 80), (Hole(T0 + 60 - 0.1 * 30, T0 + 90, 80, 80),))

    def test_edges_of_a_whole_server(self) -> None:
        """The windows at the edges have some samples of each job, and belong to the same hole."""
        found = judged({A: sums([80, 40, 0, 40, 80], [3, 2, 0, 2, 3]), B: sums([80], [3])}, W, JOBS, all_jobs=True)
        self.assertEqual(found[A].whole, Intervals.of([(T0 + 30, T0 + 120)]))
        self.assertLessEqual(found[A].times.measure, 93)

    def test_both_down(self) -> None:
        """No server lacks what no server has."""
        self.assertEqual(lacking([80, 0, 0, 0, 80], [80, 0, 0, 0, 80]), ())

    def test_third_server(self) -> None:
        """Servers with holes at different times are judged by the best one at each time."""
        answers = {A: sums([80, 0, 0, 80]), B: sums([80, 80, 80, 80, 80, 0, 0, 80])}
        found = judged(answers, W, JOBS, all_jobs=False)
        self.assertEqual(
            {backend.host: missing.jobs["node"][0].end - T0 for backend, missing in found.items()}, {"a": 90, "b": 210}
        )

    def test_not_asked(self) -> None:
        """A server that could not be asked counts as equal, and does not make the others lack anything."""
        self.assertEqual(judged({A: Unanswered.UNKNOWN, B: sums([80])}, W, JOBS, all_jobs=True), {})

    def test_storage_error(self) -> None:
        """A server that cannot read a piece lacks it."""
        found = judged({A: Unanswered.UNREADABLE, B: sums([80])}, W, JOBS, all_jobs=True)
        self.assertEqual(found, {A: Missing(Intervals.of([(W.start, W.end)]))})

    @given(st.lists(st.integers(0, 40), min_size=20, max_size=20), st.lists(st.integers(0, 40), min_size=20, max_size=20))
    def test_never_both(self, one: list[int], other: list[int]) -> None:
        """In a window in which a server is the best one it has no hole that begins there."""
        found = judged({A: sums(one), B: sums(other)}, W, JOBS, all_jobs=False)
        for backend, own, best in ((A, one, other), (B, other, one)):
            for hole in found.get(backend, Missing()).jobs.get("node", ()):
                inside = [n for n, end in enumerate(W.ends) if hole.start < end <= hole.end]
                self.assertTrue(all(own[n] < best[n] for n in inside if W.ends[n] - 30 >= hole.start))


class SuspiciousTests(SynchronousTestCase):
    """Which times are looked at again."""

    def test_short_restart_is_suspicious(self) -> None:
        """A restart of 20 s leaves 91 to 94 % of the samples of five minutes: that window is looked at again."""
        coarse = Windows(T0, 300, 3)
        short = {"node": dict.fromkeys(coarse.ends, 40.0)}
        whole = {"node": dict(short["node"])}
        short["node"][T0 + 600] = 37.0
        expected = {A: {"node": Intervals.of([(T0 + 300, T0 + 600)])}}
        self.assertEqual(suspicious({A: short, B: whole}, coarse, {"node": Job(80, 30.0)}), expected)

    def test_uneven_interval_is_ignored(self) -> None:
        """A scrape interval that does not divide the window gives one sample of each witness more or less, which is ignored."""
        coarse = Windows(T0, 300, 2)
        less, more = {"node": dict.fromkeys(coarse.ends, 6.0)}, {"node": dict.fromkeys(coarse.ends, 8.0)}
        self.assertEqual(suspicious({A: less, B: more}, coarse, {"node": Job(80, 180.0)}), {})
        less["node"][T0 + 300] = 5.0
        found = suspicious({A: less, B: more}, coarse, {"node": Job(80, 180.0)})
        self.assertEqual(found, {A: {"node": Intervals.of([(T0, T0 + 300)])}})

    def test_equal_servers_are_not_suspicious(self) -> None:
        """Nothing is looked at again where the servers have the same, nor by a server alone."""
        self.assertEqual(suspicious({A: sums([80]), B: sums([80])}, W, {}), {})
        self.assertEqual(suspicious({A: sums([80, 0, 80]), B: Unanswered.UNKNOWN}, W, {}), {})


class AnswersTests(SynchronousTestCase):
    """What a server says."""

    def test_sums_are_read_by_job_and_time(self) -> None:
        """The sums are read by job and time."""
        result = [{"metric": {"job": "node"}, "values": [[T0, "12"], [T0 + 300, "11.5"]]}]
        body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()
        self.assertEqual(read_sums(ProbeResponse(200, body)), {"node": {T0: 12.0, T0 + 300: 11.5}})

    def test_no_matrix(self) -> None:
        """What cannot be read counts as not asked."""
        error = UpstreamError(Phase.BODY, Cause.TIMEOUT, "late")
        garbled = ProbeResponse(200, b'{"data": {"result": [{"metric": {}, "values": [1]}]}}')
        for outcome in (error, ProbeResponse(403), ProbeResponse(200, b"<html>"), garbled, ProbeResponse(503)):
            self.assertIs(read_sums(outcome), Unanswered.UNKNOWN)

    def test_errors_are_different_results(self) -> None:
        """A damaged storage, a query that would read too much, and other errors are different results."""

        def error(text: str) -> ProbeResponse:
            return ProbeResponse(422, json.dumps({"status": "error", "error": text}).encode())

        too_much = "query processing would load too many samples into memory in query execution"
        self.assertIs(read_sums(error(too_much)), Unanswered.TOO_MUCH)
        self.assertIs(read_sums(error("expanding series: checksum mismatch expected:1, actual:2")), Unanswered.UNREADABLE)
        self.assertIs(read_sums(error("something else")), Unanswered.UNKNOWN)


class HistoryTests(SynchronousTestCase):
    """The whole of what is known."""

    def test_younger_server_lacks_the_time_before(self) -> None:
        """A server that holds less history lacks what another one has before it; what is before both, nobody lacks."""
        found = younger({A: 1000.0, B: 5000.0, C: None})
        self.assertEqual(found, {B: Missing(Intervals.of([(1000.0, 5000.0)]))})
        self.assertEqual(younger({A: 1000.0, B: 1020.0}, tolerance=30.0), {})

    def test_old_difference_is_drift(self) -> None:
        """A difference as old as the look back is drift; a job lost within it is a hole."""
        holes = {"old": [Hole(0.0, 1000.0, 3, 10)], "node": [Hole(500.0, 1000.0, 3, 10)]}
        found = with_drift(Missing.of(Intervals(), holes), 0.0, 1000.0)
        self.assertEqual(found.drift, {"old": 3})
        self.assertEqual(set(found.jobs), {"node"})

    def test_adjoining_holes_are_joined(self) -> None:
        """Findings of adjoining times become one hole; the greater one counts where they overlap."""
        first = Missing.of(Intervals(), {"node": [Hole(0.0, 50.0, 5, 10)]})
        second = Missing.of(Intervals(), {"node": [Hole(50.0, 90.0, 5, 10), Hole(60.0, 70.0, 8, 10)]})
        holes = (Hole(0.0, 60.0, 5, 10), Hole(60.0, 70.0, 8, 10), Hole(70.0, 90.0, 5, 10))
        self.assertEqual((first | second).jobs["node"], holes)

    def test_clock_ahead_moves_all_holes(self) -> None:
        """A clock that is ahead moves all holes."""
        found = Missing.of(Intervals.of([(0.0, 10.0)]), {"node": [Hole(20.0, 40.0, 5, 10)]}).shift(3.0)
        self.assertEqual(found, Missing.of(Intervals.of([(3.0, 13.0)]), {"node": [Hole(23.0, 43.0, 5, 10)]}))

    def test_holes_are_shares_of_all_targets(self) -> None:
        """As shares of all targets, for the strategies."""
        missing = Missing.of(Intervals.of([(0.0, 10.0)]), {"node": [Hole(20.0, 40.0, 5, 10)]})
        jobs = {"node": Job(10), "web": Job(10)}
        self.assertEqual(missing.gaps(jobs), (Gap(0.0, 10.0, 1.0), Gap(20.0, 40.0, 0.25)))
        self.assertEqual(Coverage(jobs, {A: missing}).times, Intervals.of([(0.0, 10.0), (20.0, 40.0)]))
