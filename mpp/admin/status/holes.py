"""
The gaps in a server's history as the status page names them. Pure.

`mpp.core.coverage.Missing` has the gaps of each job. When a server restarts, all its jobs have gaps at nearly the same time;
here gaps that overlap or follow each other at once are one.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from mpp.core.coverage import Hole, Job, Missing
from mpp.core.facts import Gap
from mpp.core.text.humanize import clock, listing, moment

APART_S = 1.0
"""Gaps with less than this between them are shown as one: the page shows whole seconds, and no target is scraped in it."""

SHORTEST_S = 1.0
"""The length from which on gaps are shown: a shorter one would begin and end at the same time, and lacks one sample at most."""


@frozen
class HistoryHole:
    """
    A gap in the data of some jobs: a time in which a server lacks targets that another server has.

    :ivar start: seconds since the epoch.
    :ivar end: the same (exclusive), or infinity while it goes on.
    :ivar missing: the largest number of targets that it lacks at one time.
    :ivar of: the number of all targets of ``jobs``, or of all jobs.
    :ivar jobs: the jobs of these targets; empty for all jobs.
    """

    start: float
    end: float
    missing: int
    of: int
    jobs: tuple[str, ...] = ()

    def length(self, now: float) -> float:
        """Return the seconds for which the gap has lasted."""
        return min(self.end, now) - self.start


def found(missing: Missing, jobs: Mapping[str, Job], gaps: Sequence[Gap], since: float, now: float) -> tuple[HistoryHole, ...]:
    """
    Return the gaps of a server of at least `SHORTEST_S`, the oldest first.

    :param jobs: all jobs of the pool.
    :param gaps: the result of ``missing.gaps(jobs)``, which the caller needs too.
    :param since: the time of the server's oldest data; before it there are no gaps.
    """
    spans = _spans(gaps, since, now)
    starts = [start for start, _, _ in spans]
    parts: list[list[tuple[str, Hole]]] = [[] for _ in spans]
    for job, holes in missing.jobs.items():
        for hole in holes:
            if hole.end > since and hole.start < now:
                parts[bisect_right(starts, max(hole.start, since)) - 1].append((job, hole))
    whole = {bisect_right(starts, max(start, since)) - 1 for start, end in missing.whole if end > since and start < now}
    for place in whole:
        parts[place] = []
    total = sum(job.targets for job in jobs.values())
    return tuple(_hole(span, part, total) for span, part in zip(spans, parts, strict=True) if span[1] - span[0] >= SHORTEST_S)


def _spans(gaps: Sequence[Gap], since: float, now: float) -> list[tuple[float, float, float]]:
    """Return start, end and largest missing share of each time without an interruption in which data is missing."""
    found: list[tuple[float, float, float]] = []
    for gap in gaps:
        # A gap that begins later than now was found by a clock that is ahead.
        if gap.end > since and gap.start < now:
            start = max(gap.start, since)
            if found and start < found[-1][1] + APART_S:
                first, _, share = found[-1]
                found[-1] = (first, gap.end, max(share, gap.share))
            else:
                found.append((start, gap.end, gap.share))
    return found


def _hole(span: tuple[float, float, float], parts: list[tuple[str, Hole]], total: int) -> HistoryHole:
    start, end, share = span
    names = tuple(sorted({job for job, _ in parts}))
    if not names:
        return HistoryHole(start, end, total, total)
    if len(names) == 1:
        most = max((hole for _, hole in parts), key=lambda hole: hole.missing)
        return HistoryHole(start, end, most.missing, most.of, names)
    return HistoryHole(start, end, max(1, round(share * total)), total, names)


def words(hole: HistoryHole, now: float) -> str:
    """Return a gap in words, such as ``lacks 10:06:10 to 10:07:40, 20 of 80 targets of the job node``; times are UTC."""
    start = time_of_day(hole.start, now)
    when = f"{start} until now" if math.isinf(hole.end) else f"{start} to {time_of_day(hole.end, hole.start)}"
    return f"lacks {when}, {''.join(_targets(hole))}"


def time_of_day(at: float, other: float) -> str:
    """Return a time of day, with its date if another time is on another day."""
    date = moment(at)
    return clock(at) if date[:10] == moment(other)[:10] else date.removesuffix(" UTC")


def _targets(hole: HistoryHole) -> Iterator[str]:
    if not hole.of:
        yield "all targets"
        return
    every = "the only target" if hole.of == 1 else f"all {hole.of:,} targets"
    yield every if hole.missing >= hole.of else f"{hole.missing:,} of {hole.of:,} targets"
    if hole.jobs:
        yield f" of the job{'s' if len(hole.jobs) > 1 else ''} {listing(hole.jobs)}"
