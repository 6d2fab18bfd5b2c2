"""
Decides which data a short absence of a whole server has cost it, by the sums of ``up`` of all its targets together. Pure.

# Note [Short absences]

A restart of 20 s costs each target one or two samples at an interval of 15 s. Windows of two intervals show that as a part of the
samples of one window or two, in some jobs more than in others, which the rules of a single job take for chance. Two further signs
are each enough:

- mpp has seen when the server was away. Then only the number of missing samples counts, in the windows that the absence touches
  and one more on each side. At least half of the samples that an absence of that length costs must be missing. Besides, at least
  one sample for every second target must be missing, or for every tenth one if the server is a new process: a server that could
  not be reached for a moment has probably gone on. If so, the server lacks all of its targets in the time that was seen. If not,
  it went on scraping, and there is no gap. The gaps that these windows show are dropped where the absence explains them: it is
  the same gap with less exact edges. If many more samples are missing, the log of the server was damaged as well, and both stay.
- All jobs have lost samples in the same window. A change of the targets or failing scrapes do that to one job.

The samples that a server lacks all the time are no sign: they are subtracted, as the median of the other windows.

An absence of more than `SHORT_WINDOWS` windows leaves windows without a sample, which show it more exactly.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from statistics import median

from attrs import frozen

from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend
from mpp.coverage.holes import Sums, Windows
from mpp.coverage.lacks import BACK_S, LACKING, SMALL
from mpp.coverage.presence import TimeAway

SHORT_WINDOWS = 4
"""The longest short absence, in windows of two scrape intervals; a longer one is seen in windows without any sample."""
MOST_ABSENCES = 1000
"""Maximum number of absences that are remembered of a server; the newest ones."""
SCRAPES = 2
"""Scrapes of each target in a window of its job."""
_NEAR = 12
"""Windows on each side that show how many samples a server usually lacks."""
_LEAST = 0.5
"""Smallest loss of a server that went on, in samples per target: lists of targets may differ, and single scrapes fail."""
_LEAST_OF_RESTART = 0.1
"""The same of a server that is a new process, and has lost something unless its targets are scraped seldom."""


@frozen
class Absences:
    """
    The times in which mpp has seen that a server was away, by the clock of that server.

    :ivar times: all absences; each ends when the server could have scraped again.
    :ivar restarts: the absences after which the server was a new process.
    """

    times: Intervals = NEVER
    restarts: Intervals = NEVER

    def also(self, absence: TimeAway, skew: float) -> Absences:
        """
        Return these absences and a further one.

        :param skew: how far the server's clock is ahead of mpp's, in seconds.
        """
        after = BACK_S if absence.restarted else 0.0
        times = Intervals.of([(absence.start + skew, absence.end + skew + after)])
        restarts = self.restarts | times if absence.restarted else self.restarts
        return Absences(_newest(self.times | times), _newest(restarts))

    def short(self, window: float, start: float = -math.inf, end: float = math.inf) -> Intervals:
        """
        Return the absences that the windows of a job are too long to show.

        :param window: the length of these windows, in seconds.
        :param start: only absences that have a part after this time.
        :param end: only absences that have a part before this time.
        """
        return Intervals.of(
            (since, until)
            for since, until in self.times
            if until - since <= SHORT_WINDOWS * window and until > start and since < end
        )


def _newest(times: Intervals) -> Intervals:
    return Intervals(times.edges[-2 * MOST_ABSENCES :])


@frozen
class Weighed:
    """
    The result of comparing the absences of a server with its missing samples.

    :ivar lost: the absences in which samples are missing.
    :ivar explained: the times around these absences in which no more samples are missing than the absences explain.
    :ivar undecided: the absences at the edges of the compared time, which are not judged.
    """

    lost: Intervals = NEVER
    explained: Intervals = NEVER
    undecided: Intervals = NEVER


def weighed(absences: Absences, backend: Backend, answers: Mapping[Backend, Sums], windows: Windows) -> Weighed:
    """
    Return which short absences of a server have cost it samples, see Note [Short absences].

    :param answers: the sums over all targets of some jobs with the same interval, by server.
    :param windows: the windows of the sums, each two scrape intervals of these jobs long.
    """
    length = windows.length
    times = absences.short(length, windows.start, windows.end)
    around = Intervals.of(_around(start, end, windows) for start, end in times)
    if not around:
        return Weighed()
    losses = _Losses.of(backend, answers, windows, apart_from=around)
    lost, explained, undecided = NEVER, NEVER, NEVER
    for start, end in around:
        inside = times.within(start, end)
        if start < windows.start or end > windows.end:
            undecided |= inside
            continue
        ends = _ends(start, end, length)
        targets, missing, scrapes = losses.targets(ends), losses.missing(ends), inside.measure * SCRAPES / length
        least = _LEAST_OF_RESTART if absences.restarts.overlaps(start, end) else _LEAST
        if missing >= max(1, targets * max(least, scrapes / 2)):
            lost |= inside
            if missing <= targets * (scrapes + len(inside.edges) / 2):
                explained |= Intervals.of([(start, end)])
    return Weighed(lost, explained, undecided)


def unseen(backend: Backend, answers: Mapping[Backend, Sums], windows: Windows) -> Intervals:
    """
    Return the windows in which a server has lost samples of all jobs at once, apart from the first and the last window.

    :param answers: the sums over all targets of all jobs with the same interval, by server.
    :param windows: the windows of the sums, each two scrape intervals of these jobs long.
    """
    length = windows.length
    total = _Losses.of(backend, {each: {"": added_up(sums)} for each, sums in answers.items()}, windows)
    bad = ((end - length, end) for end in windows.ends if total.lost[end] - total.usual > (1 - LACKING) * total.expected[end])
    runs = [(start, end) for start, end in Intervals.of(bad) if windows.start < start and end < windows.end]
    return Intervals.of(run for run in runs if _is_of_all_jobs(backend, answers, windows, *run))


def added_up(sums: Sums) -> dict[int, float]:
    """Return the sums of all jobs together, as if they were one job."""
    found: dict[int, float] = {}
    for by_end in sums.values():
        for end, value in by_end.items():
            found[end] = found.get(end, 0.0) + value
    return found


def _is_of_all_jobs(backend: Backend, answers: Mapping[Backend, Sums], windows: Windows, start: float, end: float) -> bool:
    """
    Return whether samples of all jobs are missing in some windows and beside them.

    A job of which the server has no sample is drift. A small job may have been scraped just before and just after, unless the
    others lost one sample of each target.
    """
    length = windows.length
    ends = _ends(start - length, end + length, length)
    first, last = max(windows.start, ends[0] - _NEAR * length), min(windows.end, ends[-1] + _NEAR * length)
    near = Windows(first, length, (last - first) // length)
    targets, missing, losing, spared = 0.0, 0.0, 0, 0
    for job in [job for job, sums in answers.get(backend, {}).items() if any(map(sums.get, near.ends))]:
        each = _Losses.of(backend, {name: {job: sums.get(job, {})} for name, sums in answers.items()}, near)
        own, gone = each.targets(ends), each.missing(ends)
        has_lost = gone >= max(1, own / 4)
        if own > SMALL and not has_lost:
            return False
        targets, missing, losing, spared = targets + own, missing + gone, losing + has_lost, spared + (not has_lost)
    if spared and missing >= targets:
        return False
    # Without a second job, one sample of each target.
    return missing >= max(2, targets * (0.5 if losing > 1 else 1))


@frozen
class _Losses:
    """
    The samples that a server lacks.

    :ivar expected: how many samples the best servers have in each window, by its end.
    :ivar lost: how many of these the server lacks.
    :ivar usual: how many it lacks in most windows.
    """

    expected: Mapping[int, float]
    lost: Mapping[int, float]
    usual: float

    @classmethod
    def of(cls, backend: Backend, answers: Mapping[Backend, Sums], windows: Windows, apart_from: Intervals = NEVER) -> _Losses:
        """
        Return the losses of a server in all jobs together.

        :param apart_from: times that do not count for what is usual.
        """
        expected, lost = dict.fromkeys(windows.ends, 0.0), dict.fromkeys(windows.ends, 0.0)
        for job in set().union(*answers.values()):
            every = [sums.get(job, {}) for sums in answers.values()]
            own = answers.get(backend, {}).get(job, {})
            for end in windows.ends:
                best = max(sums.get(end, 0.0) for sums in every)
                expected[end] += best
                lost[end] += best - own.get(end, 0.0)
        usual = [lost[end] for end in windows.ends if not apart_from.overlaps(end - windows.length, end)]
        return cls(expected, lost, median(usual) if usual else 0.0)

    def targets(self, ends: Collection[int]) -> float:
        """Return how many targets the best servers have in some windows."""
        return sum(self.expected[end] for end in ends) / SCRAPES / len(ends)

    def missing(self, ends: Collection[int]) -> float:
        """Return how many samples more than usual the server lacks in some windows."""
        return sum(self.lost[end] - self.usual for end in ends)


def _around(start: float, end: float, windows: Windows) -> tuple[int, int]:
    """Return the start of the first and the end of the last window that a period touches, with one more window on each side."""
    length = windows.length
    first, last = math.floor((start - windows.start) / length) - 1, math.ceil((end - windows.start) / length) + 1
    return windows.start + first * length, windows.start + last * length


def _ends(start: float, end: float, length: int) -> range:
    """Return the ends of the windows between two of their edges."""
    return range(int(start) + length, int(end) + 1, length)
