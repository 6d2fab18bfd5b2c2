"""
The servers that have enough of a query's data to answer it at each time, worked out once and kept. Pure.

# Note [Span by span]

With thousands of gaps it takes a tenth of a second to compare the servers at all times, and most queries read the last hours. So
time is divided into spans of at most `MOST_BENDS` bends of all lines, and the servers are compared for the spans in which a query
has steps.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Sequence
from itertools import chain

from mpp.core.generators import result_of
from mpp.core.model import Backend
from mpp.coverage.planning.kept_levels import KeptLevels, Levels
from mpp.coverage.planning.polyline import Polyline
from mpp.coverage.planning.query_lacks import QueryLacks
from mpp.coverage.planning.steps import GoodServers, Segment, Steps, Tolerance, compared

MOST_BENDS = 250
"""Maximum number of bends of all servers' lines (`Polyline`) in a span of time; to compare the servers for it takes 2 to 3 ms."""

_MOST_KEPT = 8
_EVER_MS = 1 << 54
# Each millisecond counts as a step.
_EACH_MS = Steps(0)


def levels_of(lacks: QueryLacks, candidates: tuple[Backend, ...], steps: Steps) -> Levels:
    """
    Return the candidates that are good enough at each time, at least from the first to the last of some steps.

    :return: by the data that is needed and looked back on, and if that differs, a second result by the data that is needed alone.
        Times may be divided where two spans meet.
    """
    return result_of(comparing(lacks, candidates, steps))


def comparing(lacks: QueryLacks, candidates: tuple[Backend, ...], steps: Steps) -> Generator[None, None, Levels]:
    """Return the same as `levels_of`; yields before each part of the work, see Note [Span by span]."""
    kept = lacks.levels.get(candidates)
    if kept is None:
        yield
        starts = _starts(lacks, candidates)
        if len(lacks.levels) >= _MOST_KEPT:
            lacks.levels.clear()
        kept = lacks.levels[candidates] = KeptLevels(starts, *tolerances(lacks, candidates))
    first, last = (bisect_right(kept.starts, time) - 1 for time in (steps.start, steps.time(steps.count - 1)))
    found: list[Levels] = []
    for span in range(first, last + 1):
        known = kept.by_span[span]
        if known is None:
            yield
            known = kept.by_span[span] = _compared(lacks, candidates, kept, span)
        found.append(known)
    if len(found) == 1:
        return found[0]
    both = _joined([each[0] for each in found])
    return (both,) if all(len(each) == 1 for each in found) else (both, _joined([each[-1] for each in found]))


def _joined(found: Sequence[GoodServers]) -> GoodServers:
    """Return the result for consecutive spans of time."""
    return GoodServers(tuple(chain.from_iterable(e.ends for e in found)), tuple(chain.from_iterable(e.good for e in found)))


def tolerances(lacks: QueryLacks, candidates: Sequence[Backend]) -> tuple[Tolerance, Tolerance]:
    """Return how much more than the best server a good one may lack: of needed data, and of data that is looked back on."""

    def of(lines: Sequence[Polyline]) -> Tolerance:
        return Tolerance(lacks.window * max(line.steepest for line in lines))

    found = [lacks.of(each) for each in candidates]
    return of([each.needed for each in found]), of([each.looked_back_on for each in found])


def _starts(lacks: QueryLacks, candidates: Sequence[Backend]) -> tuple[int, ...]:
    """Return where each span of time starts."""
    lines = {id(line): line for each in candidates for line in (lacks.of(each).needed, lacks.of(each).looked_back_on)}
    # To sort sequences that are in order takes a time that grows with their length only.
    bends = sorted(chain.from_iterable(line.times for line in lines.values()))
    return (-_EVER_MS, *sorted({*bends[MOST_BENDS::MOST_BENDS]}))


def _compared(lacks: QueryLacks, candidates: Sequence[Backend], kept: KeptLevels, span: int) -> Levels:
    """Compare the candidates for a span of time; the last one ends after all times."""
    end = kept.starts[span + 1] - 1 if span + 1 < len(kept.starts) else _EVER_MS
    every = [Segment(kept.starts[span], end, (1 << len(candidates)) - 1)]
    needed = compared(every, [lacks.of(each).needed for each in candidates], kept.by_need, _EACH_MS)
    both = needed
    if any(lacks.of(each).looked_back_on != lacks.of(each).needed for each in candidates):
        both = compared(needed, [lacks.of(each).looked_back_on for each in candidates], kept.by_both, _EACH_MS)
    return tuple(GoodServers.of(each) for each in ([both, needed] if both != needed else [both]))
