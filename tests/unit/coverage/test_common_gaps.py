"""Times in which no server has any data: what counts as one, and what does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.coverage import Job
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend
from mpp.coverage.common_gaps import EmptyTime, Scale, candidates, common_gaps, empty_times, last_to_stop, replaced
from mpp.coverage.holes import Sums, Windows

A, B = (Backend("http", name, 9090) for name in "ab")
T0 = 1_700_000_100
JOBS = {"node": Job(20, 30.0), "web": Job(4, 30.0)}
SCALE = Scale.of(JOBS)
COARSE, FINE = Windows(T0, 300, 12), Windows(T0, 15, 20)


def server(windows: Windows, *node: float | None, web: float | None = -1) -> Sums:
    """Return the sums of a server; the last number holds in all further windows; None: not even a sample of ``up`` as 0."""
    full = [*node, *[node[-1]] * (windows.count - len(node))]
    nodes = {end: value for end, value in zip(windows.ends, full, strict=True) if value is not None}
    if web == -1:
        return {"node": nodes, "web": {end: value / 5 for end, value in nodes.items()}}
    return {"node": nodes, "web": {} if web is None else dict.fromkeys(windows.ends, web)}


def found(*servers: Sums, windows: Windows = FINE) -> list[tuple[float, float, int | None, int | None]]:
    """Return the times without data by what servers have."""
    every = empty_times([(windows, dict(zip((A, B), servers, strict=False)))], SCALE)
    return [(each.start - T0, each.end - T0, each.before, each.after) for each in every]


class CandidateTests(SynchronousTestCase):
    """Which times are looked at again."""

    def test_whole_servers_have_none(self) -> None:
        """Nothing is looked at again where the witnesses have their usual samples on one of the servers."""
        holed = server(COARSE, 80, 80, 0, 40, 80)
        self.assertEqual(candidates({A: server(COARSE, 80), B: server(COARSE, 80)}, COARSE, JOBS), NEVER)
        self.assertEqual(candidates({A: holed, B: server(COARSE, 80)}, COARSE, JOBS), NEVER)

    def test_less_of_all_jobs_on_all_servers(self) -> None:
        """A time in which all jobs have less than usual on all servers is one."""
        one, other = server(COARSE, 80, 80, None, None, 80), server(COARSE, 80, 70, None, 60, 80)
        self.assertEqual(candidates({A: one, B: other}, COARSE, JOBS), Intervals.of([(T0 + 600, T0 + 1200)]))

    def test_one_job_is_enough_to_be_there(self) -> None:
        """A job that ends, or that runs at night only, does not make one while another job goes on."""
        night = server(COARSE, 80, 80, None, None, 80, web=16)
        self.assertEqual(candidates({A: night, B: night}, COARSE, JOBS), NEVER)

    def test_uneven_interval_is_ignored(self) -> None:
        """A scrape interval that does not divide the window gives one sample of each witness more or less."""
        jobs = {"node": Job(20, 180.0), "web": Job(4, 180.0)}
        uneven = server(COARSE, 8, 8, 6.5, 8)
        self.assertEqual(candidates({A: uneven}, COARSE, jobs), NEVER)

    def test_few_windows(self) -> None:
        """Of two windows none shows what is usual, so both are looked at."""
        few = Windows(T0, 300, 2)
        expected = Intervals.of([(T0, T0 + 600)])
        self.assertEqual(candidates({A: server(few, 80)}, few, JOBS), expected)

    def test_nothing_is_known(self) -> None:
        """Without answers there is none."""
        self.assertEqual(candidates({}, COARSE, JOBS), NEVER)


class ScaleTests(SynchronousTestCase):
    """How exactly is looked."""

    def test_most_targets_count(self) -> None:
        """The interval is that of most targets; a few quick ones do not make it shorter, nor a few slow ones longer."""
        jobs = {"quick": Job(2, 10.0), "node": Job(80, 30.0), "slow": Job(3, 240.0)}
        self.assertEqual((Scale.of(jobs).interval, Scale.of(jobs).least), (15, 180.0))
        self.assertEqual((Scale.of({"node": Job(1, 30.0)}).interval, Scale.of({"node": Job(1, 30.0)}).least), (15, 60))


class EmptyTimeTests(SynchronousTestCase):
    """Where there is no sample, and what is beside it."""

    def test_all_servers_down(self) -> None:
        """It has all windows without a sample, and the number of targets on both sides."""
        down = server(FINE, 20, 20, 20, *[None] * 6, 20)
        self.assertEqual(found(down, down), [(45, 135, 24, 24)])

    def test_gaps_that_overlap(self) -> None:
        """Of gaps that overlap only the time that both have counts."""
        one, other = server(FINE, 20, *[None] * 10, 20), server(FINE, 20, 20, 20, 20, 20, *[None] * 12, 20)
        self.assertEqual([each[:2] for each in found(one, other)], [(75, 165)])

    def test_too_short(self) -> None:
        """Fewer than two windows of two scrape intervals are none."""
        self.assertEqual(found(server(FINE, 20, 20, None, None, None, 20)), [])

    def test_targets_down(self) -> None:
        """Targets that are down or cut off have ``up`` as 0: no time without data."""
        self.assertEqual(found(server(FINE, 20, *[0] * 10, 20)), [])

    def test_a_job_that_goes_on(self) -> None:
        """No time without data where one job goes on, whatever its name."""
        night = server(FINE, 20, *[None] * 10, 20, web=4)
        self.assertEqual(found(night), [])
        self.assertEqual(found({"node": night["node"], "unknown": dict.fromkeys(FINE.ends, 1.0)}), [])

    def test_edges_are_unknown_at_the_edges_of_the_time(self) -> None:
        """What is before it is not known where the comparison begins within it."""
        self.assertEqual(found(server(FINE, *[None] * 5, 20)), [(0, 75, None, 24)])
        self.assertEqual(found(server(FINE, 20, 20, None)), [(30, 300, 24, None)])
        self.assertEqual(found(server(FINE, None)), [(0, 300, None, None)])

    def test_windows_of_two_lengths(self) -> None:
        """The targets are counted alike in windows of any length."""
        fine, coarse = Windows(T0, 15, 20), Windows(T0 + 300, 300, 2)
        pieces = [(fine, {A: server(fine, 20)}), (coarse, {A: server(coarse, None, 400)})]
        (empty,) = empty_times(pieces, SCALE)
        self.assertEqual((empty.before, empty.after), (24, 24))

    def test_nothing_was_asked(self) -> None:
        """Without windows there is none."""
        self.assertEqual(empty_times([], SCALE), [])

    def test_servers_that_stopped_last(self) -> None:
        """The server whose data ends with the beginning of the time is the one that is asked how it ended."""
        one, other = server(FINE, 20, *[None] * 10, 20), server(FINE, 20, 20, 20, 20, 20, *[None] * 12, 20)
        pieces = [(FINE, {A: one, B: other})]
        (empty,) = empty_times(pieces, SCALE)
        self.assertEqual(last_to_stop(pieces, empty), {B: 24})


class CommonGapTests(SynchronousTestCase):
    """Which times without data are common gaps."""

    def gaps(self, *known: EmptyTime) -> list[tuple[float, float]]:
        """Return the common gaps."""
        return list(common_gaps(replaced([], NEVER, known)))

    def test_data_on_both_sides(self) -> None:
        """
        About as many targets on both sides: a gap, from two scrape intervals before it until one after it. Nothing, or far
        fewer, on one side: none.
        """
        self.assertEqual(self.gaps(EmptyTime(0, 1000, 24, 20, SCALE)), [(-30, 1015)])
        for before, after in ((None, 24), (24, None), (None, None), (0, 24), (24, 0), (1, 24), (24, 11), (0, 0)):
            self.assertEqual(self.gaps(EmptyTime(0, 1000, before, after, SCALE)), [], (before, after))

    def test_parts_are_joined(self) -> None:
        """A gap over midnight is one gap; so is one of several days."""
        day = EmptyTime(900, 2100, None, None, SCALE)
        self.assertEqual(self.gaps(EmptyTime(0, 1000, 24, None, SCALE), EmptyTime(950, 1200, None, 24, SCALE)), [(-30, 1215)])
        self.assertEqual(
            self.gaps(EmptyTime(2000, 2300, None, 24, SCALE), day, EmptyTime(0, 1000, 24, None, SCALE)), [(-30, 2315)]
        )
        self.assertEqual(self.gaps(EmptyTime(0, 1000, 24, None, SCALE), EmptyTime(1001, 1200, None, 24, SCALE)), [])

    def test_a_part_within_another_one(self) -> None:
        """A part within another one says nothing about the end."""
        known = EmptyTime(0, 1000, 24, None, SCALE), EmptyTime(200, 300, None, None, SCALE), EmptyTime(900, 1200, None, 24, SCALE)
        self.assertEqual(self.gaps(*known), [(-30, 1215)])

    def test_two_gaps_are_not_joined(self) -> None:
        """Two gaps beside each other, with data between them, are two."""
        known = EmptyTime(0, 200, 24, 24, SCALE), EmptyTime(190, 400, 24, None, SCALE)
        self.assertEqual(self.gaps(*known), [(-30, 215)])

    def test_compared_again(self) -> None:
        """What is found when a time is compared again replaces what was known of it, and nothing else."""
        gap = EmptyTime(0, 1000, 24, 24, SCALE)
        again = Intervals.of([(400, 600)])
        self.assertEqual(list(common_gaps(replaced([gap], again, []))), [])
        same = replaced([gap], again, [EmptyTime(350, 650, None, None, SCALE)])
        self.assertEqual(list(common_gaps(same)), [(-30, 1015)])
        self.assertEqual(replaced([gap], Intervals.of([(2000, 3000)]), []), (gap,))
        self.assertEqual(replaced([gap], Intervals.of([(-100, 1100)]), []), ())
        # The edge of a day, beyond which it goes by less than a window.
        self.assertEqual(replaced([gap], Intervals.of([(990, 9000)]), []), (gap,))

    @given(st.lists(st.sampled_from([20, 0, None]), min_size=20, max_size=20))
    def test_no_gap_where_a_sample_is(self, values: list[int | None]) -> None:
        """No window of a time that makes a common gap has a sample of ``up``, not even one that is 0."""
        every = empty_times([(FINE, {A: server(FINE, *values)})], SCALE)
        there = [end for end, value in zip(FINE.ends, values, strict=True) if value is not None]
        for each in every:
            self.assertFalse(each.is_common_gap and [end for end in there if each.start < end <= each.end])
