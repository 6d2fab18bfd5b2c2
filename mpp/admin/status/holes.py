"""
The holes in a server's history as the status page names them. Pure.

`mpp.core.coverage.Missing` has the holes of each job. When a server restarts, all its jobs have holes at nearly the same time;
here holes that overlap are one.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping

from attrs import frozen

from mpp.core.coverage import Hole, Job, Missing
from mpp.core.intervals import Intervals
from mpp.core.text.humanize import clock, listing, moment


@frozen
class HistoryHole:
    """
    A time in which a server lacks targets that another server has.

    :ivar start: seconds since the epoch.
    :ivar end: the same (exclusive), or infinity while it goes on.
    :ivar missing: the largest number of targets that it lacks at one time.
    :ivar of: the number of targets of the jobs that it lacks, or of all jobs.
    :ivar jobs: the jobs of these targets; empty for all jobs.
    """

    start: float
    end: float
    missing: int
    of: int
    jobs: tuple[str, ...] = ()

    def length(self, now: float) -> float:
        """Return the seconds for which the hole has lasted."""
        return min(self.end, now) - self.start


def found(missing: Missing, jobs: Mapping[str, Job], since: float, now: float) -> tuple[HistoryHole, ...]:
    """
    Return the holes of a server, the oldest first.

    :param jobs: all jobs of the pool.
    :param since: the time of the server's oldest data; before it there are no holes.
    """
    # What begins later than now was found by a clock that is ahead.
    past = missing.only(Intervals.of([(since, math.inf)]))
    times = [pair for pair in past.times if pair[0] < now]
    starts = [start for start, _ in times]
    parts: list[list[tuple[str, Hole]]] = [[] for _ in times]
    for job, holes in past.jobs.items():
        for hole in holes:
            if hole.start < now:
                parts[bisect_right(starts, hole.start) - 1].append((job, hole))
    shares = [0.0] * len(times)
    for gap in past.gaps(jobs):
        if gap.start < now:
            place = bisect_right(starts, gap.start) - 1
            shares[place] = max(shares[place], gap.share)
    total = sum(job.targets for job in jobs.values())
    return tuple(_hole(*each, total) for each in zip(times, parts, shares, strict=True))


def _hole(times: tuple[float, float], parts: list[tuple[str, Hole]], share: float, total: int) -> HistoryHole:
    names = tuple(sorted({job for job, _ in parts}))
    if share >= 1.0 or not names:
        return HistoryHole(*times, total, total)
    if len(names) == 1:
        most = max((hole for _, hole in parts), key=lambda hole: hole.missing)
        return HistoryHole(*times, most.missing, most.of, names)
    return HistoryHole(*times, max(1, round(share * total)), total, names)


def words(hole: HistoryHole, now: float) -> str:
    """Return a hole in words, such as ``lacks 10:06:10 to 10:07:40, 20 of 80 targets of the job node``; times are UTC."""
    start = _time(hole.start, now)
    when = f"{start} until now" if math.isinf(hole.end) else f"{start} to {_time(hole.end, hole.start)}"
    return f"lacks {when}, {''.join(_targets(hole))}"


def _time(at: float, other: float) -> str:
    """Return a time of day, with its date if another time is on another day."""
    date = moment(at)
    return clock(at) if date[:10] == moment(other)[:10] else date.removesuffix(" UTC")


def _targets(hole: HistoryHole) -> Iterator[str]:
    if not hole.of:
        yield "all targets"
        return
    yield f"all {hole.of:,} targets" if hole.missing >= hole.of else f"{hole.missing:,} of {hole.of:,} targets"
    if hole.jobs:
        yield f" of the job{'s' if len(hole.jobs) > 1 else ''} {listing(hole.jobs)}"
