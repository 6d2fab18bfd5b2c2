"""
The servers that have enough of a query's data to answer it at each step. Pure, but the results are kept with the query's lacks.

# Note [At all times, or at each step]

With few gaps the servers are compared at all times at once, which serves all ranges of the query. With thousands of gaps that
takes up to a second, and a range has some hundred steps: then the servers are compared at these only, and the results for the
last ranges are kept, for the plan that follows a preparation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Sequence
from typing import TypeVar

from mpp.core.generators import result_of
from mpp.core.model import Backend
from mpp.coverage.planning.kept_levels import Levels, Totals
from mpp.coverage.planning.polyline import Polyline
from mpp.coverage.planning.query_lacks import QueryLacks
from mpp.coverage.planning.steps import GoodServers, Segment, Steps, Tolerance, compared, compared_at_each

MOST_BENDS = 1000
"""Maximum number of bends of all servers' lines (`Polyline`) with which they are compared at all times: it takes some 8 ms."""

MOST_STEPS = 2500
"""Maximum number of steps at which servers with more bends are compared without preparation (`is_soon_compared`): some 8 ms."""

K = TypeVar("K")
V = TypeVar("V")

_AT_ONCE = 500
_MOST_KEPT = 8
_EVER_MS = 1 << 54
# Each millisecond counts as a step.
_EACH_MS = Steps(0)


def levels_of(lacks: QueryLacks, candidates: tuple[Backend, ...], steps: Steps) -> Levels:
    """
    Return the candidates that are good enough at each step.

    :return: by steps; by the data that is needed and looked back on, and if that differs, a second result by the data
        that is needed alone.
    """
    return result_of(comparing(lacks, candidates, steps))


def comparing(lacks: QueryLacks, candidates: tuple[Backend, ...], steps: Steps) -> Generator[None, None, Levels]:
    """Return the same as `levels_of`; yields before each part of the work, see Note [At all times, or at each step]."""
    if _has_few_bends(lacks, candidates):
        all_times = lacks.levels.at_all_times.get(candidates)
        if all_times is None:
            yield
            all_times = _at_all_times(lacks, candidates)
            _keep(lacks.levels.at_all_times, candidates, all_times)
        else:
            lacks.levels.at_all_times.move_to_end(candidates)
        return tuple(each.at_steps(steps) for each in all_times)
    kept, key = lacks.levels.at_steps, (candidates, steps)
    if key in kept:
        kept.move_to_end(key)
        return kept[key]
    found = yield from _at_steps(lacks, candidates, steps)
    _keep(kept, key, found)
    return found


def is_soon_compared(lacks: QueryLacks, candidates: tuple[Backend, ...], steps: Steps) -> bool:
    """Return whether `levels_of` does not delay other clients: it has few steps or bends, or the result is kept."""
    is_kept = (candidates, steps) in lacks.levels.at_steps
    return is_kept or steps.count <= MOST_STEPS or _has_few_bends(lacks, candidates)


def tolerances(lacks: QueryLacks, candidates: Sequence[Backend]) -> tuple[Tolerance, Tolerance]:
    """Return how much more than the best server a good one may lack: of needed data, and of data that is looked back on."""

    def of(lines: Sequence[Polyline]) -> Tolerance:
        return Tolerance(lacks.window * max(line.steepest for line in lines))

    needed, looked_back_on = _lines(lacks, candidates)
    return of(needed), of(looked_back_on)


def _lines(lacks: QueryLacks, candidates: Sequence[Backend]) -> tuple[list[Polyline], list[Polyline]]:
    """Return what each candidate lacks of the needed data, and of the data that is looked back on."""
    found = [lacks.of(each) for each in candidates]
    return [each.needed for each in found], [each.looked_back_on for each in found]


def _has_few_bends(lacks: QueryLacks, candidates: Sequence[Backend]) -> bool:
    return sum(lacks.of(each).bends for each in candidates) <= MOST_BENDS


def _at_all_times(lacks: QueryLacks, candidates: Sequence[Backend]) -> Levels:
    every = [Segment(-_EVER_MS, _EVER_MS, (1 << len(candidates)) - 1)]
    lines, allowed = _lines(lacks, candidates), tolerances(lacks, candidates)
    needed = compared(every, lines[0], allowed[0], _EACH_MS)
    both = needed if lines[0] == lines[1] else compared(needed, lines[1], allowed[1], _EACH_MS)
    return tuple(GoodServers.of(each) for each in ([both, needed] if both != needed else [both]))


def _at_steps(lacks: QueryLacks, candidates: Sequence[Backend], steps: Steps) -> Generator[None, None, Levels]:
    lines, allowed = _lines(lacks, candidates), tolerances(lacks, candidates)
    needed: list[int] = []
    both: list[int] = []
    totals: Totals = dict.fromkeys(((each, kind) for each in candidates for kind in (False, True)), 0)
    for first in range(0, steps.count, _AT_ONCE):
        yield
        times = range(steps.time(first), steps.time(min(first + _AT_ONCE, steps.count)), steps.step)
        good: Sequence[int] = ()
        for kind, found in ((False, needed), (True, both)):
            values = [line.along(times) for line in lines[kind]]
            good = compared_at_each(values, allowed[kind], good)
            found += good
            for each, own in zip(candidates, values, strict=True):
                totals[each, kind] += 2 * sum(own)
    _keep(lacks.levels.totals, steps, totals)
    return tuple(GoodServers.of_each(each) for each in ([both, needed] if both != needed else [both]))


def _keep(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    if len(kept) > _MOST_KEPT:
        kept.popitem(last=False)
