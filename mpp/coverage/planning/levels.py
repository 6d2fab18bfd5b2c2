"""
The servers that are good enough at each time, worked out for a query once and kept. Pure.

# Note [Day by day]

With thousands of gaps it takes a tenth of a second to compare the servers at all times, and most queries read the last hours. So
where there are many gaps the servers are compared one day after another, when a query asks for steps of that day. A query over
more than `MOST_DAYS` days, in most of which may be no gap, has all times compared at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from mpp.core.model import Backend
from mpp.coverage.planning.polyline import Polyline
from mpp.coverage.planning.query_lacks import ALL_DAYS, KeptLevels, Levels, QueryLacks
from mpp.coverage.planning.steps import Segment, Steps, Tolerance, compared

MANY_BENDS = 500
"""Bends of all lines from which on the servers are compared day by day, see Note [Day by day]: some milliseconds."""

MOST_DAYS = 60
"""Days of a query that are compared one by one; each takes some hundredths of a millisecond even if there is no gap."""

_MOST_KEPT = 8
_DAY_MS = 86_400_000
_EVER_MS = 1 << 54
# Each millisecond counts as a step.
_EACH_MS = Steps(0)


def levels_of(lacks: QueryLacks, candidates: tuple[Backend, ...], steps: Steps) -> Levels:
    """
    Return the candidates that are good enough at each time, at least from the first to the last of some steps.

    :return: segments of times in milliseconds, not of steps, which may be cut at midnight: by what is needed and looked back on,
        and a second sequence, by what is needed alone, if that differs.
    """
    kept = lacks.levels.get(candidates)
    if kept is None:
        if len(lacks.levels) >= _MOST_KEPT:
            lacks.levels.clear()
        kept = lacks.levels[candidates] = KeptLevels(*_days(lacks, candidates), *tolerances(lacks, candidates))
    first, last = (min(max(time // _DAY_MS, kept.first), kept.last) for time in (steps.start, steps.time(steps.count - 1)))
    days = range(first, last + 1) if last - first < MOST_DAYS else (ALL_DAYS,)
    for day in days:
        if day not in kept.by_day:
            kept.by_day[day] = _compared(lacks, candidates, kept, day)
    if len(days) == 1:
        return kept.by_day[days[0]]
    found = [kept.by_day[day] for day in days]
    both = tuple(chain.from_iterable(each[0] for each in found))
    return (both,) if all(len(each) == 1 for each in found) else (both, tuple(chain.from_iterable(each[-1] for each in found)))


def tolerances(lacks: QueryLacks, candidates: Sequence[Backend]) -> tuple[Tolerance, Tolerance]:
    """Return how much more than the best one a server may lack: of what is needed, and of what is looked back on."""

    def of(lines: Sequence[Polyline]) -> Tolerance:
        return Tolerance(lacks.window * max(line.steepest for line in lines))

    found = [lacks.of(each) for each in candidates]
    return of([each.needed for each in found]), of([each.looked_back_on for each in found])


def _days(lacks: QueryLacks, candidates: Sequence[Backend]) -> tuple[int, int]:
    """Return the first and the last of the days that are compared one by one; the same one if there are few gaps."""
    lines = [line for each in candidates for line in (lacks.of(each).needed, lacks.of(each).looked_back_on) if line.times]
    if sum(len(line.times) for line in lines) < MANY_BENDS:
        return 0, 0
    return min(line.times[0] for line in lines) // _DAY_MS, max(line.times[-1] for line in lines) // _DAY_MS


def _compared(lacks: QueryLacks, candidates: Sequence[Backend], kept: KeptLevels, day: int) -> Levels:
    """Compare the candidates for a day; the first one begins, and the last one ends, beyond all times."""
    start = -_EVER_MS if day in (kept.first, ALL_DAYS) else day * _DAY_MS
    end = _EVER_MS if day in (kept.last, ALL_DAYS) else (day + 1) * _DAY_MS - 1
    every = [Segment(start, end, (1 << len(candidates)) - 1)]
    needed = compared(every, [lacks.of(each).needed for each in candidates], kept.by_need, _EACH_MS)
    both = needed
    if any(lacks.of(each).looked_back_on != lacks.of(each).needed for each in candidates):
        both = compared(needed, [lacks.of(each).looked_back_on for each in candidates], kept.by_both, _EACH_MS)
    return tuple(tuple(each) for each in ([both, needed] if both != needed else [both]))
