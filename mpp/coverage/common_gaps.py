"""
Finds the times in which no server has any data, by the sums of ``up`` that all servers have returned. Pure.

# Note [Common gaps]

Servers are compared with each other, so what all of them lack at once shows in no comparison. A time without a single sample of
``up``, of any job, on any server is a *common gap* under these conditions, and only then:

- It lasts for four scrape intervals, and for longer than any job's interval, see `Scale`. A server that is cut off from its
  targets writes ``up`` as 0, so a time in which the targets were down is none, nor is one in which some job is still scraped: a
  job may have been removed, or run at night only.
- There is data before and after it, of about as many targets, see `ALIKE`: the time before the first installation of the servers
  and the time beyond their retention are none, nor is the time between a trial and an installation.
- The servers that had data until then have not removed their targets: Prometheus marks the series of a removed target as ended,
  but a server that is killed or stopped writes no such marks. So targets that were scaled down to none are no gap.

A common gap begins two scrape intervals before the first window without a sample and ends one after the last one, for the edges
of windows and scrapes differ. One that extends over several comparisons, such as over midnight, is joined from its parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from statistics import median

from attrs import evolve, frozen

from mpp.core.coverage import Job
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend
from mpp.coverage.holes import SUSPICIOUS, WITNESSES_OF_A_JOB, Sums, Windows

ALIKE = 0.5
"""The smallest number of targets on one side of a common gap, as a share of the number on the other side."""
LEAST_INTERVALS = 4
"""The shortest common gap, in scrape intervals: two windows of two intervals each."""
_LEAST_OF_SLOWEST = 1.5
_NEAR = 3
# So few windows do not show what is usual; they are all looked at.
_FEW = 3


@frozen
class Scale:
    """
    The precision with which times without data are looked for, by the scrape intervals of the jobs.

    :ivar interval: an interval in seconds; half of the targets or more are scraped as often as this or more often.
    :ivar least: the shortest time that counts, in seconds: even the slowest target would have been scraped in it.
    :ivar jobs: the jobs whose targets are counted.
    """

    interval: int
    least: float
    jobs: Mapping[str, Job]

    @classmethod
    def of(cls, jobs: Mapping[str, Job]) -> Scale:
        """Return the scale for one or more jobs, whose scrape intervals are 150 s at most."""
        ordered = sorted(jobs.values(), key=lambda job: job.window)
        half = sum(job.targets for job in ordered) / 2
        place = next(n for n, count in enumerate(accumulate(job.targets for job in ordered)) if count >= half)
        interval = math.ceil(ordered[place].window / 2)
        return cls(interval, max(LEAST_INTERVALS * interval, _LEAST_OF_SLOWEST * ordered[-1].window / 2), jobs)


@frozen
class EmptyTime:
    """
    A time in which none of the compared servers has a sample of ``up``.

    :ivar start: the start of the first window without a sample, in seconds since the epoch.
    :ivar end: the end of the last window without a sample.
    :ivar before: the number of targets that were scraped before ``start``, 0 if they were removed; None if that is not known,
        because the comparison begins within this time.
    :ivar after: the number of targets that were scraped after ``end``; None if that is not known.
    :ivar scale: the precision with which it was looked for.
    """

    start: float
    end: float
    before: int | None
    after: int | None
    scale: Scale

    @property
    def is_common_gap(self) -> bool:
        """Whether it is a gap that all servers share, see Note [Common gaps]."""
        before, after = self.before or 0, self.after or 0
        return self.end - self.start >= self.scale.least and min(before, after) >= max(1, ALIKE * max(before, after))


Answers = Mapping[Backend, Sums]
Pieces = Sequence[tuple[Windows, Answers]]
"""The sums of all servers over consecutive windows, in the order of time."""


def candidates(answers: Answers, windows: Windows, jobs: Mapping[str, Job]) -> Intervals:
    """
    Return the windows in which each job has fewer samples than usual on all servers.

    :param answers: the sums over the witnesses, which are a few targets of each job.
    :param jobs: the jobs of the servers; a job that is not named is compared less exactly.
    """
    low = set(windows.ends)
    for name in set().union(*answers.values()) if windows.count >= _FEW else ():
        best = {end: max(sums.get(name, {}).get(end, 0.0) for sums in answers.values()) for end in windows.ends}
        usual = median([value for value in best.values() if value] or [0.0])
        uneven = name not in jobs or windows.length * 2 % jobs[name].window > 0
        least = min(SUSPICIOUS * usual, usual - WITNESSES_OF_A_JOB) if uneven else SUSPICIOUS * usual
        low = {end for end in low if not best[end] or best[end] < least}
    return Intervals.of((end - windows.length, end) for end in low) if answers else NEVER


def empty_times(pieces: Pieces, scale: Scale) -> list[EmptyTime]:
    """
    Return the times in which no server has a sample, in the order of time.

    :param pieces: the sums over all targets of all jobs, where each piece begins at the end of the one before it.
    """
    counts = []
    for each, answers in pieces:
        there = set().union(*(job for sums in answers.values() for job in sums.values()))
        by_server = [_targets(sums, each.length, scale.jobs) for sums in answers.values()]
        counts += [
            (end - each.length, end, end in there, max((own.get(end, 0) for own in by_server), default=0)) for end in each.ends
        ]
    if not counts:
        return []
    first, last = counts[0][0], counts[-1][1]
    found = []
    for start, end in Intervals.of((start, end) for start, end, there, _ in counts if not there):
        before = None if start <= first else max(count for _, until, _, count in counts if until <= start)
        after = None if end >= last else max(count for since, _, _, count in counts if since >= end)
        if before is None or after is None or end - start >= scale.least:
            found.append(EmptyTime(start, end, before, after, scale))
    return found


def _targets(sums: Sums, length: int, jobs: Mapping[str, Job]) -> dict[int, int]:
    """Return the number of targets of some jobs that a server has scraped in each window, by the end of the window."""
    found: dict[int, float] = {}
    for name, job in jobs.items():
        for end, value in sums.get(name, {}).items():
            found[end] = found.get(end, 0.0) + value * job.window / (2 * length)
    return {end: round(count) for end, count in found.items()}


def last_to_stop(pieces: Pieces, empty: EmptyTime) -> dict[Backend, int]:
    """Return the servers that have samples shortly before a time without data, each with the number of its targets."""
    found: dict[Backend, int] = {}
    scale = empty.scale
    for each, answers in pieces:
        for backend, sums in answers.items():
            for end, count in _targets(sums, each.length, scale.jobs).items():
                if empty.start - _NEAR * scale.interval < end <= empty.start and count:
                    found[backend] = max(count, found.get(backend, 0))
    return found


def marked_at(empty: EmptyTime) -> float:
    """Return a time at which removed targets are marked as stale: Prometheus does that when their next scrape is due."""
    return empty.start + empty.scale.interval + max(1.0, 0.1 * empty.scale.interval)


def replaced(known: Iterable[EmptyTime], times: Intervals, found: Iterable[EmptyTime]) -> tuple[EmptyTime, ...]:
    """
    Return the known times without data, replaced by ``found`` where the servers have been compared again.

    A known time that extends a little way into the compared times stays as it is, because the windows of another comparison may
    extend beyond the time that it compared.

    :param times: the times that have been compared again.
    :param found: the times without data that were found in them.
    """
    kept = []
    for each in known:
        for start, end in Intervals.of([(each.start, each.end)]) - times.widen(-each.scale.least, -each.scale.least):
            before = each.before if start == each.start else None
            after = each.after if end == each.end else None
            kept.append(evolve(each, start=start, end=end, before=before, after=after))
    return _joined([*kept, *found])


def common_gaps(known: Iterable[EmptyTime]) -> Intervals:
    """Return the gaps that all servers share, among the times without data that `replaced` has returned."""
    gaps = [each for each in known if each.is_common_gap]
    return Intervals.of((each.start - 2 * each.scale.interval, each.end + each.scale.interval) for each in gaps)


def _joined(known: Iterable[EmptyTime]) -> tuple[EmptyTime, ...]:
    """Join the parts of one time without data that several comparisons have found."""
    joined: list[EmptyTime] = []
    for each in sorted(known, key=_start):
        last = joined[-1] if joined else None
        if last is not None and last.after is None and each.before is None and each.start <= last.end:
            after = each.after if each.end >= last.end else None
            joined[-1] = evolve(last, end=max(last.end, each.end), after=after)
        else:
            joined.append(each)
    return tuple(joined)


def _start(empty: EmptyTime) -> float:
    return empty.start
