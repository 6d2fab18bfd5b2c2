"""
Values that say what each server lacks of what the others have, by scrape job. Frozen; who found it out does not matter here.

All times are seconds since the epoch, as the server that lacks the data stamps its samples. The unit is the missing
target-second: a hole of 20 s with 1,000 targets weighs more than an hour of a single one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from attrs import evolve, field, frozen

from mpp.core.facts import Gap
from mpp.core.intervals import ALWAYS, NEVER, Intervals
from mpp.core.model import Backend

DEFAULT_WINDOW_S = 120.0
"""Two of Prometheus' default scrape intervals, for a job of which the interval is not known."""


@frozen
class Hole:
    """
    A time in which a server lacks targets of one job that another server has.

    :ivar start: seconds since the epoch, or minus infinity.
    :ivar end: the same (exclusive), or infinity while it goes on.
    :ivar missing: how many targets it lacks, at least one.
    :ivar of: how many targets the best server has.
    """

    start: float
    end: float
    missing: int
    of: int


@frozen
class Job:
    """
    One scrape job of the pool.

    :ivar targets: how many targets the best server has, at least one.
    :ivar window: the time in which each target is scraped at least once, which is two scrape intervals, in seconds.
    """

    targets: int = 1
    window: float = DEFAULT_WINDOW_S


UNKNOWN_JOB = Job()


@frozen
class Missing:
    """
    What one server lacks; make it by `of`.

    :ivar whole: the times in which it lacks all targets of all jobs, those included that nobody remembers.
    :ivar jobs: its further holes by job, in the order of time; those of one job do not overlap, nor do they overlap with
        ``whole``.
    :ivar drift: how many targets it has always lacked, by job: no hole in its history, but a difference of the servers, which
        counts for queries that name the job, and is never warned about.
    """

    whole: Intervals = NEVER
    jobs: Mapping[str, tuple[Hole, ...]] = field(factory=dict)
    drift: Mapping[str, int] = field(factory=dict)

    @classmethod
    def of(cls, whole: Intervals, jobs: Mapping[str, Iterable[Hole]], drift: Mapping[str, int] | None = None) -> Missing:
        """Return it from holes in any order. Where holes of one job overlap, the one with more missing targets counts."""
        flat = {job: _flat(tuple(holes), whole) for job, holes in jobs.items()}
        return cls(whole, {job: holes for job, holes in flat.items() if holes}, drift or {})

    def __bool__(self) -> bool:
        return bool(self.whole or self.jobs or self.drift)

    def __or__(self, other: Missing) -> Missing:
        """Return what is missing by either of two sources."""
        return Missing.of(
            self.whole | other.whole,
            {job: (*self.jobs.get(job, ()), *other.jobs.get(job, ())) for job in {*self.jobs, *other.jobs}},
            {**self.drift, **other.drift},
        )

    def only(self, times: Intervals) -> Missing:
        """Return the part of it that lies within some times; drift has no time, and stays."""
        cut = {
            job: [evolve(hole, start=start, end=end) for hole in holes for start, end in times.within(hole.start, hole.end)]
            for job, holes in self.jobs.items()
        }
        return Missing.of(self.whole & times, cut, self.drift)

    def replaced(self, times: Intervals, by: Missing) -> Missing:
        """Return it with another finding for some times, such as those that were surveyed again after a restart."""
        return self.only(ALWAYS - times) | by.only(times)

    def shift(self, seconds: float) -> Missing:
        """Return it for a clock that is ahead by some seconds."""
        moved = {
            job: tuple(evolve(hole, start=hole.start + seconds, end=hole.end + seconds) for hole in holes)
            for job, holes in self.jobs.items()
        }
        return evolve(self, whole=self.whole.shift(seconds), jobs=moved)

    def holes(self, job: str, targets: int) -> tuple[Hole, ...]:
        """Return all holes of one job in the order of time, given how many targets the job has."""
        own = self.jobs.get(job, ())
        if not self.whole:
            return own
        return tuple(sorted((*own, *(Hole(start, end, targets, targets) for start, end in self.whole)), key=_start))

    @property
    def times(self) -> Intervals:
        """When it lacks anything, drift apart."""
        return self.whole | Intervals.of((hole.start, hole.end) for holes in self.jobs.values() for hole in holes)

    def gaps(self, jobs: Mapping[str, Job]) -> tuple[Gap, ...]:
        """
        Return it as shares of all targets, in the order of time, for the strategies.

        :param jobs: all jobs of the pool.
        """
        total = max(1, sum(job.targets for job in jobs.values()))
        everything = [Hole(start, end, total, total) for start, end in self.whole]
        changes = _changes((*everything, *(hole for holes in self.jobs.values() for hole in holes)))
        return tuple(Gap(start, end, min(1.0, missing / total)) for start, end, missing in changes if missing)

    def weight(self, jobs: Mapping[str, Job], until: float) -> float:
        """
        Return the missing target-seconds up to a time, without drift.

        :param jobs: all jobs of the pool.
        """
        total = sum(job.targets for job in jobs.values())
        past = self.only(Intervals.of([(0.0, until)]))
        holes = (hole for each in past.jobs.values() for hole in each)
        return total * past.whole.measure + sum(hole.missing * (hole.end - hole.start) for hole in holes)


NOTHING = Missing()


def _changes(holes: Iterable[Hole]) -> list[tuple[float, float, int]]:
    """Return the times between which the sum of the missing targets is the same, each with its start, its end and that sum."""
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
    """Return holes of one job without overlaps, outside of those of the whole server."""
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


def _start(hole: Hole) -> float:
    return hole.start


def _missing(hole: Hole) -> int:
    return hole.missing


@frozen
class Coverage:
    """
    What all servers lack, as far as it is known. A server of which nothing is known counts as one that lacks nothing.

    :ivar jobs: all jobs of the pool, by name.
    :ivar missing: by server; those that lack nothing may be left out.
    """

    jobs: Mapping[str, Job] = field(factory=dict)
    missing: Mapping[Backend, Missing] = field(factory=dict)
    names: frozenset[str] = field(init=False, repr=False, eq=False)
    """The names of the jobs, for `mpp.promql.jobs.JobMatchers`."""

    times: Intervals = field(init=False, repr=False, eq=False)
    """When any server lacks anything, drift apart."""

    has_drift: bool = field(init=False, repr=False, eq=False)
    """Whether any server has drifted; if none has, a query that reads nothing within ``times`` needs no plan."""

    longest_window: float = field(init=False, repr=False, eq=False)
    """The longest window of all jobs, in seconds."""

    @longest_window.default
    def _longest_window(self) -> float:
        return max((job.window for job in self.jobs.values()), default=DEFAULT_WINDOW_S)

    @names.default
    def _names(self) -> frozenset[str]:
        found = frozenset(self.jobs)
        return found.union(*(frozenset((*each.jobs, *each.drift)) for each in self.missing.values()))

    @times.default
    def _times(self) -> Intervals:
        return Intervals.of(pair for each in self.missing.values() for pair in each.times)

    @has_drift.default
    def _has_drift(self) -> bool:
        return any(each.drift for each in self.missing.values())

    def __bool__(self) -> bool:
        return bool(self.times or self.has_drift)

    def job(self, name: str) -> Job:
        """Return what is known of a job."""
        return self.jobs.get(name, UNKNOWN_JOB)


WHOLE_POOL = Coverage()
"""No server is known to lack anything."""
