"""
Decides which server answers which steps of a query, so that as little as possible is missing. Pure.

# Note [Which server answers]

At each step the servers that count as good as the best are good enough: judged by the needed data first, then by the data that is
looked back on (`mpp.coverage.planning.steps`). A server that is good enough at each step gets the whole query, the client's own
server first. Else the steps are divided into the fewest parts, `MOST_PARTS` at most; where a division into as few leaves a
choice, the client's own server gets the steps. If the query cannot be divided, or into too many parts only, the server that lacks
least in all gets all of it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Generator, Sequence
from datetime import UTC, datetime
from itertools import islice
from operator import attrgetter, itemgetter

from attrs import frozen

from mpp.core.generators import result_of
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend
from mpp.core.text.humanize import quantity
from mpp.coverage.planning.levels import comparing, is_soon_compared, levels_of, tolerances
from mpp.coverage.planning.query_lacks import QueryLacks
from mpp.coverage.planning.steps import Steps, Tolerance, steps_within, total

MOST_PARTS = 32
"""
Maximum number of parts. A joined response costs one query per part, and each joint is a place where a raw counter may fall by
a little. Two servers that are restarted in turn each day for two weeks make 28 joints; with a limit of 8, an hour of restarts
left 28,000 points wrong.
"""

_MOST_TIMES = 3
_by_id = attrgetter("id")
_first, _last = itemgetter(0), itemgetter(1)

Run = tuple[int, int]
"""The first and the last of consecutive steps, both included."""


@frozen
class Part:
    """The steps that one server answers, from the one with number ``first`` to the one with number ``last`` (inclusive)."""

    backend: Backend
    first: int
    last: int


@frozen
class QueryPlan:
    """
    The decision which server answers which steps.

    :ivar parts: in the order of the steps; each step is in one of them.
    :ivar warning: a line for the client about data that is missing in the response; empty if no warning is due.
    :ivar missing: the times of the missing data, in milliseconds since the epoch.
    """

    parts: tuple[Part, ...]
    warning: str = ""
    missing: Intervals = NEVER


def plan(
    lacks: QueryLacks, steps: Steps, candidates: Sequence[Backend], preferred: Backend | None = None, *, splice: bool = True
) -> QueryPlan:
    """
    Return which server answers which steps.

    :param lacks: what the servers lack of what the query reads.
    :param candidates: the usable servers, at least one; the first ones are preferred if their data is equal.
    :param preferred: the client's own server by affinity or strategy; the first candidate if it is None or no candidate.
    :param splice: whether different servers may answer different steps.
    """
    own = preferred if preferred is not None and preferred in candidates else candidates[0]
    last = steps.count - 1
    whole = (Part(own, 0, last),)
    if len(candidates) == 1 or not lacks.affected.overlaps(steps.start, steps.end):
        return with_warning(lacks, steps, whole, candidates)
    ordered = (own, *(each for each in candidates if each != own))
    by_id = in_one_order(candidates)
    numbers = [by_id.index(each) for each in ordered]
    for level in levels_of(lacks, by_id, steps):
        runs = [level.runs(number) for number in numbers]
        parts = _parts(runs, ordered, steps.count, most=MOST_PARTS if splice else 1)
        if parts:
            return with_warning(lacks, steps, parts, candidates)
    parts = (Part(ranked(lacks, steps, ordered)[0], 0, last),)
    return with_warning(lacks, steps, parts, candidates)


def ranked(lacks: QueryLacks, steps: Steps, candidates: Sequence[Backend]) -> list[Backend]:
    """Sort the candidates by the amount that they lack at all steps, least first; equal ones keep the given order."""
    sums = dict(lacks.levels.totals.get(steps, {}))

    def lacked(each: Backend, looked_back_on: bool) -> int:
        """Return the amount; it is mostly not needed for what is looked back on."""
        if (each, looked_back_on) not in sums:
            lacking = lacks.of(each)
            line = lacking.looked_back_on if looked_back_on else lacking.needed
            sums[each, looked_back_on] = total(line, steps, 0, steps.count - 1)
        return sums[each, looked_back_on]

    allowed = [Tolerance(2 * each.window) for each in tolerances(lacks, candidates)]
    left, found = list(candidates), []
    while left:
        good = left
        for looked_back_on, tolerance in enumerate(allowed):
            if len(good) > 1:
                best = min(lacked(each, bool(looked_back_on)) for each in good)
                good = [each for each in good if tolerance.allows(lacked(each, bool(looked_back_on)), best)]
        found.append(good[0])
        left.remove(good[0])
    return found


def lacks_no_more(lacks: QueryLacks, steps: Steps, backend: Backend, than: Backend) -> bool:
    """
    Return whether a server counts as good as another one at each step, so that it may get a hedged request.

    It counts as worse where to find that out would delay other clients: with many gaps and many steps.
    """
    if backend == than:
        return True
    pair = in_one_order((backend, than))
    bit = 1 << pair.index(backend)
    return is_soon_compared(lacks, pair, steps) and all(good & bit for good in levels_of(lacks, pair, steps)[0].good)


def good_steps(
    lacks: QueryLacks, steps: Steps, backend: Backend, others: Sequence[Backend], shared: Intervals
) -> Generator[None, None, Intervals]:
    """
    Return the numbers of the steps at which a server counts as good as the best one, and has all data that is needed; yields
    before each part of the work.

    :param others: all other servers.
    :param shared: the times of evaluation, in milliseconds, at which needed data may be missing because all servers lack it.
    """
    ordered = in_one_order({backend, *others})
    levels = yield from comparing(lacks, ordered, steps)
    runs = levels[0].runs(ordered.index(backend))
    good = Intervals(tuple(edge for first, last in runs for edge in (first, last + 1)))
    yield
    bad = lacks.incomplete(backend).within(steps.start, steps.end) - shared
    return good - Intervals.of((first, last + 1) for first, last in steps_within(bad, steps))


def in_one_order(backends: Collection[Backend]) -> tuple[Backend, ...]:
    """Sort servers by a fixed order, so that one kept comparison serves all requests, however these rank the servers."""
    return tuple(sorted(backends, key=_by_id))


def _parts(runs: Sequence[Sequence[Run]], candidates: Sequence[Backend], count: int, *, most: int) -> tuple[Part, ...]:
    """
    Return the fewest parts in which each step's server is good enough; none if they would be more than ``most``.

    From the end backwards: as far as one part reaches, then two, and so on. Then forwards: at each joint the first candidate, in
    the order of preference, that reaches as far as the rest of the parts needs.

    :param runs: the steps at which each candidate is good enough.
    """
    bounds = [count]
    while bounds[-1] > 0:
        if len(bounds) > most:
            return ()
        end = bounds[-1] - 1
        bounds.append(min(run[0] for each in runs if (run := _run_at(each, end))))
    found: list[Part] = []
    at, left = 0, len(bounds) - 2
    while at < count:
        goal = bounds[left]
        number, reach = next((n, run[1]) for n, each in enumerate(runs) if (run := _run_at(each, at)) and run[1] + 1 >= goal)
        end = reach + 1
        if number and left:
            # The client's own server comes first in the order: its turn begins as early as it can.
            turn = bisect_left(runs[0], max(goal, bounds[left - 1] - 1), key=_last)
            if turn < len(runs[0]) and runs[0][turn][0] <= end:
                end = max(goal, runs[0][turn][0])
        found.append(Part(candidates[number], at, end - 1))
        at, left = end, left - 1
    return tuple(found)


def _run_at(runs: Sequence[Run], step: int) -> Run | None:
    """Return the one of ordered sequences of steps that has a step; None if none has."""
    place = bisect_right(runs, step, key=_first) - 1
    return runs[place] if place >= 0 and step <= runs[place][1] else None


def why(lacks: QueryLacks, steps: Steps, own: Backend, parts: Sequence[Part]) -> str:
    """Return the reason why the client's own server does not answer all steps, one line for explain; empty if it does."""
    others = tuple(dict.fromkeys(part.backend.name for part in parts if part.backend != own))
    if not others:
        return ""
    away = Intervals.of((steps.time(each.first), steps.time(each.last) + 1) for each in parts if each.backend != own)
    read = lacks.read_by(away)
    times, jobs = lacks.lacked(own, read), islice(lacks.lacked_jobs(own, read), _MOST_TIMES)
    which = ", ".join(f"{missing} of {of} targets of {job}" for job, missing, of in jobs)
    what = f"lacks {written(times)}" if times else "lacks some of what is looked back on"
    return f"{own.name} {what}{f' ({which})' if which else ''}; {', '.join(others)} {'has' if len(others) == 1 else 'have'} more"


def with_warning(lacks: QueryLacks, steps: Steps, parts: tuple[Part, ...], candidates: Sequence[Backend]) -> QueryPlan:
    """Return the plan of these parts, with a warning to the client if a material amount of data is missing."""
    return result_of(warning_of(lacks, steps, parts, candidates))


def warning_of(
    lacks: QueryLacks, steps: Steps, parts: tuple[Part, ...], candidates: Sequence[Backend]
) -> Generator[None, None, QueryPlan]:
    """Return the same as `with_warning`; yields before each part of the work."""
    missing: list[tuple[float, float]] = []
    by_server: dict[Backend, list[tuple[float, float]]] = {}
    avoidable = False
    for part in parts:
        if not (lacks.of(part.backend).needed or lacks.lacked_by_all):
            continue
        start, end = steps.time(part.first), steps.time(part.last) + 1
        at = (yield from lacks.judging(part.backend, common=True)).within(start, end)
        # Only times at which there is a step count.
        at = Intervals.of((s, e) for s, e in at if steps.time(steps.after(int(s) - 1)) < e)
        if at:
            yield
            read = lacks.read_by(at)
            lacked, common = lacks.lacked(part.backend, read), lacks.common(read)
            missing += lacked | common
            by_server.setdefault(part.backend, []).extend(lacked | common)
            # The edges of gaps are known to a window each.
            only_here = lacked - common
            avoidable |= any((only_here - lacks.lacked(each, read)).measure > 2 * lacks.window for each in candidates)
    if not missing:
        return QueryPlan(parts)
    yield
    times = Intervals.of(missing)
    text = f"mpp: no server in service has all data from {written(times)}"
    if avoidable:
        lacking = list(by_server.items())[:_MOST_TIMES]
        found = [f"{backend.name} lacks {written(Intervals.of(own))}" for backend, own in lacking]
        text = f"mpp: no server could answer with all data; {', '.join(found)}"
    return QueryPlan(parts, text, times)


def written(times: Intervals) -> str:
    """Return the text of some times; of more than three, the first ones and the number of the others."""
    all_times = list(times)
    found = [from_to(start, end) for start, end in all_times[:_MOST_TIMES]]
    more = len(all_times) - len(found)
    return " and ".join(found) + (f" and {quantity(more, 'more time')}" if more else "")


def from_to(start: float, end: float) -> str:
    """Return two times in words; they are milliseconds since the epoch."""
    first, last = _moment(start), _moment(end)
    return f"{first} to {last[11:] if first[:10] == last[:10] else last} UTC"


def _moment(milliseconds: float) -> str:
    seconds = min(max(milliseconds / 1000, 0.0), 253402300799.0)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
