"""
Values for the data that each server lacks and other servers have, by scrape job.

Times are seconds since the epoch, by the clock of the server that lacks the data. The unit of missing data is the target-second:
a gap of 20 s with 1,000 targets counts more than an hour of a single one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise

from attrs import evolve, field, frozen

from mpp.core.facts import Gap
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend

DEFAULT_WINDOW_S = 120.0
"""The window (see `Job`) of a job with an unknown scrape interval: two of Prometheus' default scrape intervals, in seconds."""


@frozen
class Hole:
    """
    A gap in the data of one job: a time in which a server lacks targets of the job that another server has.

    :ivar start: seconds since the epoch, or minus infinity.
    :ivar end: seconds since the epoch (exclusive), or infinity while the gap goes on.
    :ivar missing: the number of targets that the server lacks, at least one.
    :ivar of: the number of targets of the job on the server that has the most.
    """

    start: float
    end: float
    missing: int
    of: int


@frozen
class Job:
    """
    The size and the scrape interval of one scrape job, over all servers together.

    :ivar targets: the number of its targets on the server that has the most of them, at least one.
    :ivar window: two scrape intervals, in seconds: in this time each target is scraped at least once.
    """

    targets: int = 1
    window: float = DEFAULT_WINDOW_S


UNKNOWN_JOB = Job()


@frozen
class Missing:
    """
    The data that one server lacks; made by `of`.

    :ivar whole: the times in which it lacks all targets of all jobs, also of jobs that no longer exist.
    :ivar jobs: its further gaps by job, in the order of time; the gaps of a job overlap neither each other nor ``whole``.
    :ivar drift: the number of targets that it has always lacked, by job: no gap in its history, but a permanent difference of
        the servers, which matters for queries that name the job, and causes no warning.
    """

    whole: Intervals = NEVER
    jobs: Mapping[str, tuple[Hole, ...]] = field(factory=dict)
    drift: Mapping[str, int] = field(factory=dict)

    @classmethod
    def of(cls, whole: Intervals, jobs: Mapping[str, Iterable[Hole]], drift: Mapping[str, int] | None = None) -> Missing:
        """Return a `Missing` of gaps in any order. Where gaps of a job overlap, the one with more missing targets counts."""
        flat = {job: _flat(tuple(holes), whole) for job, holes in jobs.items()}
        return cls(whole, {job: holes for job, holes in flat.items() if holes}, drift or {})

    def __bool__(self) -> bool:
        return bool(self.whole or self.jobs or self.drift)

    def __or__(self, other: Missing) -> Missing:
        """Return the union of the missing data of two values."""
        if not (self and other):
            return self or other
        return Missing.of(
            self.whole | other.whole,
            {job: (*self.jobs.get(job, ()), *other.jobs.get(job, ())) for job in {*self.jobs, *other.jobs}},
            {**self.drift, **other.drift},
        )

    def only(self, times: Intervals) -> Missing:
        """Return the missing data within the given times; ``drift``, which has no times, is kept."""
        cut = {
            job: [evolve(hole, start=start, end=end) for hole in holes for start, end in times.within(hole.start, hole.end)]
            for job, holes in self.jobs.items()
        }
        return Missing.of(self.whole & times, cut, self.drift)

    def shift(self, seconds: float) -> Missing:
        """Return the same missing data with all times ``seconds`` later, as they are by a clock that is this far ahead."""
        moved = {
            job: tuple(evolve(hole, start=hole.start + seconds, end=hole.end + seconds) for hole in holes)
            for job, holes in self.jobs.items()
        }
        return evolve(self, whole=self.whole.shift(seconds), jobs=moved)

    def holes(self, job: str, targets: int) -> tuple[Hole, ...]:
        """Return all gaps of one job in the order of time; ``targets`` is the number of targets of the job."""
        own = self.jobs.get(job, ())
        if not self.whole:
            return own
        return tuple(sorted((*own, *(Hole(start, end, targets, targets) for start, end in self.whole)), key=_start))

    @property
    def since(self) -> float:
        """The start of the first gap; infinity if there is none."""
        return min([*self.whole.edges[:1], *(holes[0].start for holes in self.jobs.values())], default=math.inf)

    @property
    def times(self) -> Intervals:
        """The times in which the server lacks data, apart from drift."""
        return self.whole | Intervals.of((hole.start, hole.end) for holes in self.jobs.values() for hole in holes)

    def gaps(self, jobs: Mapping[str, Job]) -> tuple[Gap, ...]:
        """
        Return the gaps of all jobs together, each with its share of all targets, in the order of time, for the strategies.

        :param jobs: all jobs of all servers, by name.
        """
        total = max(1, sum(job.targets for job in jobs.values()))
        everything = [Hole(start, end, total, total) for start, end in self.whole]
        changes = _changes((*everything, *(hole for holes in self.jobs.values() for hole in holes)))
        return tuple(Gap(start, end, min(1.0, missing / total)) for start, end, missing in changes if missing)

    def weight(self, jobs: Mapping[str, Job], until: float) -> float:
        """
        Return the missing target-seconds up to a time, without drift.

        :param jobs: all jobs of all servers, by name.
        """
        total = sum(job.targets for job in jobs.values())
        past = self.only(Intervals.of([(0.0, until)]))
        holes = (hole for each in past.jobs.values() for hole in each)
        return total * past.whole.measure + sum(hole.missing * (hole.end - hole.start) for hole in holes)


NOTHING = Missing()


def _changes(holes: Iterable[Hole]) -> list[tuple[float, float, int]]:
    """Return start, end and number of missing targets of each interval in which this number does not change."""
    deltas: dict[float, int] = {}
    for hole in holes:
        deltas[hole.start] = deltas.get(hole.start, 0) + hole.missing
        deltas[hole.end] = deltas.get(hole.end, 0) - hole.missing
    found, missing = [], 0
    for start, end in pairwise(sorted(deltas)):
        missing += deltas[start]
        found.append((start, end, missing))
    return found


def _flat(holes: tuple[Hole, ...], whole: Intervals) -> tuple[Hole, ...]:
    """Return the gaps of one job without overlaps, and without the times in ``whole``."""
    if _is_flat(holes, whole):
        return holes
    edges = sorted({*whole.edges, *(edge for hole in holes for edge in (hole.start, hole.end))})
    found: list[Hole] = []
    waiting = sorted(holes, key=_start, reverse=True)
    current: list[Hole] = []
    for start, end in pairwise(edges):
        while waiting and waiting[-1].start <= start:
            current.append(waiting.pop())
        current = [hole for hole in current if hole.end > start]
        if not current or start in whole:
            continue
        most = max(current, key=_missing)
        last = found[-1] if found else None
        if last is not None and (last.end, last.missing, last.of) == (start, most.missing, most.of):
            found[-1] = evolve(last, end=end)
        else:
            found.append(Hole(start, end, most.missing, most.of))
    return tuple(found)


def _is_flat(holes: tuple[Hole, ...], whole: Intervals) -> bool:
    """Return whether gaps are as `_flat` would return them, which is the case for almost all: it takes a tenth of the time."""
    if any(hole.start >= hole.end for hole in holes):
        return False
    for one, next_one in pairwise(holes):
        if one.end >= next_one.start:
            is_joint = one.end == next_one.start and (one.missing, one.of) != (next_one.missing, next_one.of)
            if not is_joint:
                return False
    return not whole or not any(whole.overlaps(hole.start, hole.end) for hole in holes)


def _start(hole: Hole) -> float:
    return hole.start


def _missing(hole: Hole) -> int:
    return hole.missing


@frozen
class Coverage:
    """
    The data that servers are known to lack. A server without an entry lacks nothing.

    :ivar jobs: all jobs of all servers, by name.
    :ivar missing: the data that a server lacks and another one has, by server; a server that lacks nothing may be left out.
    :ivar common: the times in which no server has any data. They are the same for all servers, so they decide nothing; clients
        are warned of them.
    """

    jobs: Mapping[str, Job] = field(factory=dict)
    missing: Mapping[Backend, Missing] = field(factory=dict)
    common: Intervals = NEVER
    names: frozenset[str] = field(init=False, repr=False, eq=False)
    """The names of the jobs, for `mpp.promql.jobs.JobMatchers`."""

    times: Intervals = field(init=False, repr=False, eq=False)
    """The times in which at least one server lacks data, or all lack it, apart from drift."""

    has_drift: bool = field(init=False, repr=False, eq=False)
    """Whether any server has drift; without drift, a query that reads no data within ``times`` needs no plan."""

    is_whole: bool = field(init=False, repr=False, eq=False)
    """Whether no server is known to lack data."""

    gaps: int = field(init=False, repr=False, eq=False)
    """The number of gaps of all servers; the time that planning a query takes grows with it."""

    longest_window: float = field(init=False, repr=False, eq=False)
    """The longest window of all jobs, in seconds."""

    by_window: tuple[tuple[float, frozenset[str]], ...] = field(init=False, repr=False, eq=False)
    """The names of the jobs, grouped by their window, the shortest first: there may be thousands of jobs, but few windows."""

    targets: Mapping[str, int] = field(init=False, repr=False, eq=False)
    """The number of targets of each job, by name."""

    targets_by_window: Mapping[float, int] = field(init=False, repr=False, eq=False)
    """The number of targets of all jobs that have the same window, by this window."""

    @longest_window.default
    def _longest_window(self) -> float:
        return max((job.window for job in self.jobs.values()), default=DEFAULT_WINDOW_S)

    @names.default
    def _names(self) -> frozenset[str]:
        found = frozenset(self.jobs)
        return found.union(*(frozenset((*each.jobs, *each.drift)) for each in self.missing.values()))

    @by_window.default
    def _by_window(self) -> tuple[tuple[float, frozenset[str]], ...]:
        found: dict[float, list[str]] = {}
        for name in self.names:
            found.setdefault(self.job(name).window, []).append(name)
        return tuple((window, frozenset(names)) for window, names in sorted(found.items()))

    @targets.default
    def _targets(self) -> Mapping[str, int]:
        return {name: self.job(name).targets for name in self.names}

    @targets_by_window.default
    def _targets_by_window(self) -> Mapping[float, int]:
        return {window: sum(self.targets[name] for name in names) for window, names in self.by_window}

    @times.default
    def _times(self) -> Intervals:
        return Intervals.of((*self.common, *(pair for each in self.missing.values() for pair in each.times)))

    @has_drift.default
    def _has_drift(self) -> bool:
        return any(each.drift for each in self.missing.values())

    @is_whole.default
    def _is_whole(self) -> bool:
        return not self.times and not self.has_drift

    @gaps.default
    def _gaps(self) -> int:
        each = (*self.missing.values(), Missing(self.common))
        return sum(len(one.whole.edges) // 2 + sum(map(len, one.jobs.values())) for one in each)

    def job(self, name: str) -> Job:
        """Return the known properties of a job, or `UNKNOWN_JOB`."""
        return self.jobs.get(name, UNKNOWN_JOB)


WHOLE_POOL = Coverage()
"""The value while no server is known to lack data."""
