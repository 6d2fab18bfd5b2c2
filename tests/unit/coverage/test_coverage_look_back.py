"""What servers are asked about their history."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.coverage import Job
from mpp.core.intervals import Intervals
from mpp.core.prometheus.runtimeinfo import ProbeResponse
from mpp.coverage.history.look_back import (
    DAY_S,
    MOST_BYTES,
    PACES,
    PIECE_S,
    SAMPLE_S,
    Witness,
    halves,
    is_whole_pool,
    jobs_of_day,
    jobs_of_pace,
    pieces,
    read_witnesses,
    refinements,
    sums_path,
    witnesses_path,
)
from mpp.coverage.holes import Windows


def parameters(path: str) -> dict[str, str]:
    """Return the parameters of a path."""
    return {name: values[0] for name, values in parse_qs(path.partition("?")[2]).items()}


class WitnessesTests(SynchronousTestCase):
    """The targets that stand for all."""

    def test_all_jobs(self) -> None:
        """Up to forty jobs have witnesses every day."""
        self.assertEqual(jobs_of_day(["b", "a"], 19000), ("a", "b"))

    def test_jobs_take_turns_as_witnesses(self) -> None:
        """More jobs take turns, so that each of them has witnesses again and again."""
        jobs = [f"job{number}" for number in range(95)]
        days = [jobs_of_day(jobs, day) for day in range(19000, 19003)]
        self.assertEqual({len(each) for each in days}, {40})
        self.assertEqual(set().union(*days), set(jobs))

    def test_best_server(self) -> None:
        """Of each job two targets are taken, from servers that have them."""

        def answer(*targets: tuple[str, str]) -> ProbeResponse:
            result = [{"metric": {"job": job, "instance": instance}, "value": [1, "1"]} for job, instance in targets]
            return ProbeResponse(200, json.dumps({"data": {"result": result}}).encode())

        holed, whole = answer(("node", "a")), answer(("node", "a"), ("node", "b"), ("web", "c"))
        expected = (Witness("node", "a"), Witness("node", "b"), Witness("web", "c"))
        self.assertEqual(read_witnesses([holed, whole, ProbeResponse(500), ProbeResponse(200, b"[]")]), expected)

    def test_each_server_names_witnesses(self) -> None:
        """A server that lacks targets at that time would name only ones that it has, and its gap would not be seen."""

        def answer(*instances: str) -> ProbeResponse:
            result = [{"metric": {"job": "node", "instance": each}, "value": [0, "1"]} for each in instances]
            return ProbeResponse(200, json.dumps({"status": "success", "data": {"result": result}}).encode())

        found = read_witnesses([answer("6", "7"), answer("1", "2"), answer("1", "2")])
        self.assertEqual([each.instance for each in found], ["6", "1"])
        self.assertEqual([each.instance for each in read_witnesses([answer("1", "2"), answer("1", "2")])], ["1", "2"])

    def test_odd_names_are_quoted(self) -> None:
        """The queries name jobs and targets as they are, whatever characters they have."""
        path = witnesses_path("up", ["a.b", "c"], 1.5)
        self.assertEqual(parameters(path), {"query": 'topk by (job) (2, up{job=~"a\\\\.b|c"})', "time": "1.500"})
        path = sums_path("up", Windows(300, 300, 2), witnesses=[Witness("node", "h:1")])
        query = 'sum by (job) (sum_over_time(up{job=~"node",instance=~"h:1"}[299999ms]))'
        self.assertEqual(parameters(path), {"query": query, "start": "600", "end": "900", "step": "300"})


class PiecesTests(SynchronousTestCase):
    """How much is asked for at once."""

    @given(st.integers(1, 5000), st.integers(0, 3000), st.floats(0, 5000))
    def test_pieces_are_bounded_and_complete(self, count: int, series: int, samples_per_s: float) -> None:
        """The pieces are all windows, each once, and no larger than allowed unless they are a single window."""
        windows = Windows(1000, 300, count)
        found = list(pieces(windows, series, samples_per_s))
        ends = [end for piece in reversed(found) for end in piece.ends]
        self.assertEqual(ends, list(windows.ends))
        for piece in found:
            if piece.count > 1:
                self.assertLessEqual(piece.count * samples_per_s * 300 * SAMPLE_S, PIECE_S * 1.001)
                self.assertLessEqual(series * (100 + 24 * piece.count), MOST_BYTES)

    def test_day_of_witnesses(self) -> None:
        """Fifty witnesses of a day are one query; all of a thousand targets are several."""
        day = Windows(19000 * DAY_S, 300, DAY_S // 300)
        self.assertEqual(len(list(pieces(day, 25, 50 / 15))), 1)
        self.assertEqual(len(list(pieces(day, 25, 1000 / 15))), 6)

    def test_too_much_is_halved(self) -> None:
        """What is too much is asked for in halves, until it is a single window."""
        self.assertEqual(halves(Windows(0, 300, 5)), (Windows(600, 300, 3), Windows(0, 300, 2)))
        self.assertEqual(halves(Windows(0, 300, 1)), ())


class RefinementsTests(SynchronousTestCase):
    """What is asked for again."""

    def test_short_hole_is_asked_with_its_neighbours(self) -> None:
        """A suspicious window is asked for again with its neighbours, jobs of one interval together."""
        times = Intervals.of([(3000, 3300)])
        jobs = {"a": Job(5, 30.0), "b": Job(5, 30.0), "c": Job(5, 10.0)}
        found = refinements({job: [times] for job in jobs}, jobs, 300)
        self.assertEqual(
            [(each.jobs, each.windows) for each in found],
            [(("a", "b"), Windows(2610, 30, 36)), (("c",), Windows(2670, 10, 96))],
        )

    def test_only_the_ends_of_a_long_hole_are_asked(self) -> None:
        """Of a long time only both ends are asked for again, the newer one first."""
        found = refinements({"a": [Intervals.of([(3000, 90000)])]}, {"a": Job(5, 30.0)}, 300)
        self.assertEqual([(each.windows.start, each.windows.end) for each in found], [(89610, 90390), (2610, 3390)])

    def test_another_hole(self) -> None:
        """Jobs that are lacking at one time are asked for together, also if one of them is lacking at another time, too."""
        times = {"a": [Intervals.of([(3000, 3300)])], "b": [Intervals.of([(3000, 3300), (9000, 9300)])]}
        found = refinements(times, {"a": Job(5, 30.0), "b": Job(5, 30.0)}, 300)
        self.assertEqual([each.jobs for each in found], [("b",), ("a", "b")])

    def test_edges_that_differ_a_little(self) -> None:
        """Jobs that began to be lacking, or were whole again, at slightly different times are asked for together."""
        times = {"a": [Intervals.of([(3000, 3300)])], "b": [Intervals.of([(3010, 3320)])], "c": [Intervals.of([(3300, 3700)])]}
        found = refinements(times, {"a": Job(5, 30.0), "b": Job(5, 30.0), "c": Job(5, 15.0)}, 300)
        self.assertEqual([each.jobs for each in found], [("c",), ("a", "b")])
        self.assertLessEqual(found[1].windows.start, 3000 - 390)
        self.assertGreaterEqual(found[1].windows.end, 3320 + 390)

    def test_slow_job_is_asked_in_windows_of_its_own(self) -> None:
        """A job that is scraped seldom is asked again in windows of two of its intervals, farther around."""
        (found,) = refinements({"a": [Intervals.of([(7200, 10800)])]}, {"a": Job(5, 600.0)}, 3600)
        self.assertEqual((found.windows.start, found.windows.length, found.windows.end), (1800, 600, 16200))

    def test_paces_share_the_jobs_out(self) -> None:
        """Each job is compared in the shortest windows that have two of its intervals; the slowest ones are not compared."""
        jobs = {f"{window}": Job(1, window) for window in (2.0, 300.0, 301.0, 3600.0, 7200.0, 21600.0, 21601.0, 172800.0)}
        found = [set(jobs_of_pace(jobs, pace)) for pace in PACES]
        self.assertEqual(found, [{"2.0", "300.0"}, {"301.0", "3600.0"}, {"7200.0", "21600.0"}])

    def test_lack_of_all_quick_jobs(self) -> None:
        """A server that has nothing of all quick jobs has nothing at all, if these have half of the targets."""
        jobs = {"a": Job(5, 30.0), "b": Job(5, 30.0), "slow": Job(10, 600.0)}
        self.assertTrue(is_whole_pool(["a", "b"], jobs))
        self.assertFalse(is_whole_pool(["a"], jobs))
        self.assertFalse(is_whole_pool(["a", "b"], {**jobs, "slow": Job(11, 600.0)}))
        self.assertFalse(is_whole_pool(["slow"], jobs))
        self.assertTrue(is_whole_pool(["slow"], {"slow": Job(1, 600.0)}))

    def test_witnesses_of_slow_jobs(self) -> None:
        """The targets of slow jobs are found although an instant selector looks back only five minutes."""
        query = 'topk by (job) (2, max_over_time(up{job=~"a"}[3600000ms]))'
        self.assertEqual(parameters(witnesses_path("up", ["a"], 1.0, 3600))["query"], query)
