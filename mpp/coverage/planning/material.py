"""The times at which a server lacks so much of what a query needs that the client is warned. Pure."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from operator import neg

from mpp.core.coverage import Coverage, Missing
from mpp.core.intervals import ALWAYS, NEVER, Intervals
from mpp.coverage.planning.job_groups import Grouped, JobGroup
from mpp.coverage.planning.polyline import Polyline, add_changes
from mpp.coverage.planning.selectors import ms, span
from mpp.promql.reads import SelectorReads

MATERIAL = 0.01
"""
The missing share of a range's target-seconds above which the client is warned: a ``rate[1d]`` after a restart of 20 s lacks
0.02 %, and a warning on every panel for a day would only teach people to ignore it.
"""

_Times = tuple[int, int, int]
"""The start and the end of a gap, in milliseconds, and the number of missing targets."""
_Known = dict[tuple[str, int], tuple[_Times, ...]]
"""Gaps by job and number of its targets."""


def material_times(selectors: Grouped, coverage: Coverage, missing: Missing) -> Generator[None, None, Intervals]:
    """
    Return the times of evaluation, in milliseconds, at which a server lacks enough for a warning.

    Yields after each part of the work, which takes some milliseconds with 2,000 gaps.
    """
    found = NEVER
    known: _Known = {}
    for selector, groups in selectors:
        point = selector.newest and selector.start == selector.end
        for window, holes, targets in _distinct(groups, coverage, missing, known):
            yield
            if point:
                end = ms(selector.end)
                lacking = Intervals.of((first, last) for first, last, _ in holes).widen(-ms(window), 1)
                at = lacking.shift(-end) if not selector.fixed else ALWAYS if end in lacking else NEVER
            else:
                at = yield from _material_range(selector, holes, window, targets)
            yield
            found |= at
    return found


def _material_range(
    selector: SelectorReads, holes: Sequence[_Times], window: float, targets: int
) -> Generator[None, None, Intervals]:
    """Return the times at which a selector of a range lacks enough; there is at least one gap."""
    start, end = span(selector, window if selector.newest else 0.0)
    limit = MATERIAL * targets * (end - start)
    if selector.fixed:
        lost = sum(missing * max(0, min(end, last) - max(start, first)) for first, last, missing in holes)
        return ALWAYS if lost > limit else NEVER
    firsts, lasts, more = (*zip(*holes, strict=True),)
    less = (*map(neg, more),)
    times = [edge - at for edges, at in ((firsts, end), (lasts, end), (firsts, start), (lasts, start)) for edge in edges]
    yield
    changes: dict[int, int] = {}
    add_changes(changes, times, (*more, *less, *less, *more))
    yield
    line = yield from Polyline.building(changes)
    yield
    return (yield from line.above(limit))


def _distinct(
    groups: Iterable[JobGroup], coverage: Coverage, missing: Missing, known: _Known
) -> Iterator[tuple[float, tuple[_Times, ...], int]]:
    """
    Return the gaps of the jobs that a selector reads, by job, each with its window and its targets.

    The jobs that lack the same are returned once: mostly that is the time in which the whole server was away.

    :param known: keeps the gaps for the next selector.
    """

    def holes(job: str, targets: int) -> tuple[_Times, ...]:
        if (job, targets) not in known:
            known[job, targets] = tuple((ms(e.start), ms(e.end), e.missing) for e in missing.holes(job, targets))
        return known[job, targets]

    for group in groups:
        named = [job for job in group.lacking(missing) if job in missing.jobs]
        if missing.whole and (not group.jobs or len(named) < len(group.jobs)):
            yield group.window, holes("", group.targets), group.targets
        for job in named:
            targets = max(coverage.targets[job], *(hole.of for hole in missing.jobs[job]))
            yield group.window, holes(job, targets), targets
