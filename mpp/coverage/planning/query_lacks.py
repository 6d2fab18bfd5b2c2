"""
The share of a query's data that each server lacks, as functions of the time of evaluation. Pure.

Made once for a query and a state of `mpp.core.coverage.Coverage`; `mpp.coverage.planning.plan` then asks it for any range of
steps. Times in here are whole milliseconds, as Prometheus' own; the unit of a lack is the missing target-millisecond.

# Note [Needed, looked back on, material]

A server is judged by what it lacks of what a step *needs*, and where that is equal by what the step only *looks back on*: the
rest of the lookback of an instant selector, in which a gap can only show series that have ended. A lack is *material*, so that a
client is warned of it, if a job's newest scrape is missing as a whole, or more than a small share of a job's target-seconds in a
range (`mpp.coverage.planning.material`). Gaps begin one window before the first sign of them, so a gap that does not fill the
whole window of an instant selector has left it a scrape.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from operator import neg

from attrs import define, field, frozen

from mpp.core.coverage import NOTHING, Coverage, Missing
from mpp.core.generators import result_of
from mpp.core.intervals import ALWAYS, NEVER, Intervals
from mpp.core.model import Backend
from mpp.coverage.planning.job_groups import Grouped, JobGroup, job_groups
from mpp.coverage.planning.kept_levels import KeptLevels
from mpp.coverage.planning.material import material_times
from mpp.coverage.planning.polyline import ZERO, Polyline, add_changes
from mpp.coverage.planning.selectors import all_ms, ms, span
from mpp.promql.jobs import JobMatchers
from mpp.promql.reads import SelectorReads

DEFAULT_LOOKBACK_S = 300.0
"""Prometheus' default of ``--query.lookback-delta``."""


@frozen
class Lacking:
    """
    The data of a query that one server lacks, by the time of evaluation.

    Two targets that are missing for one second are 2,000 missing target-milliseconds.

    :ivar needed: the missing target-milliseconds of the data that is needed.
    :ivar looked_back_on: the same of all data that is looked back on, which includes the data that is needed.
    """

    needed: Polyline = ZERO
    looked_back_on: Polyline = ZERO

    @property
    def bends(self) -> int:
        """The number of bends of both functions, a measure of the memory and time that they take."""
        return len(self.needed.times) + (0 if self.looked_back_on is self.needed else len(self.looked_back_on.times))


_WHOLE = Lacking()
_Changes = dict[int, int]
"""The changes of the slope of a function that is 0 at first, by time, see `mpp.coverage.planning.polyline.add_changes`."""


@define
class QueryLacks:
    """
    The data of a query that each server lacks; made by `working_out_lacks`.

    :ivar selectors: what the query reads, and of which jobs.
    :ivar coverage: what the servers lack.
    :ivar lookback: how far instant selectors look back, in seconds.
    :ivar window: the longest window of the jobs that are read, in milliseconds: how exactly the edges of gaps are known.
    :ivar servers: the lacks by server; a server that is not named lacks nothing that another one has.
    """

    selectors: Grouped
    coverage: Coverage
    lookback: float
    window: int
    servers: Mapping[Backend, Lacking]
    affected: Intervals
    """The times of evaluation, in milliseconds, at which a server lacks anything that the query reads, or within 1 ms of them."""

    lacked_by_all: Intervals
    """The times of evaluation, in milliseconds, at which the query needs data that no server has."""

    levels: KeptLevels = field(factory=KeptLevels, repr=False, eq=False)
    """Results that `mpp.coverage.planning.levels` keeps of its comparisons."""

    _material: dict[tuple[Backend, bool], Intervals] = field(factory=dict, repr=False, eq=False)
    _incomplete: dict[Backend, Intervals] = field(factory=dict, repr=False, eq=False)
    _lost_times: dict[Backend, Intervals] = field(factory=dict, repr=False, eq=False)
    _common: Intervals | None = field(default=None, repr=False, eq=False)

    def of(self, backend: Backend) -> Lacking:
        """Return the lacks of one server."""
        return self.servers.get(backend, _WHOLE)

    @property
    def bends(self) -> int:
        """The number of bends in the functions of all servers."""
        return sum(each.bends for each in self.servers.values())

    def concerns(self, start: int, end: int) -> bool:
        """Return whether any server lacks data for evaluations between two times, in milliseconds, the second one excluded."""
        return self.affected.overlaps(start, end) or self.lacked_by_all.overlaps(start, end)

    def material(self, backend: Backend, *, common: bool = False) -> Intervals:
        """
        Return the times of evaluation, in milliseconds, at which a server lacks enough for a warning; the result is kept.

        :param common: whether data that no server has counts as well.
        """
        return result_of(self.judging(backend, common=common))

    def judging(self, backend: Backend, *, common: bool = False) -> Generator[None, None, Intervals]:
        """Return the same as `material`; yields before each part of the work."""
        common = common and bool(self.lacked_by_all)
        found = self._material.get((backend, common))
        if found is None:
            yield
            missing = self.coverage.missing.get(backend, NOTHING)
            missing = missing | Missing(self.coverage.common) if common else missing
            found = self._material[backend, common] = yield from material_times(self.selectors, self.coverage, missing)
        return found

    def preparing(self, backend: Backend) -> Generator[None, None, None]:
        """Prepare the times of a server that a plan may need, so that they are kept; yields before each part of the work."""
        yield from self.judging(backend, common=True)
        if backend not in self._incomplete:
            yield
            self.incomplete(backend)
        if backend not in self._lost_times:
            yield
            self._times_lost(backend)

    def incomplete(self, backend: Backend) -> Intervals:
        """Return the times of evaluation, in milliseconds, at which a server lacks anything that is needed."""
        found = self._incomplete.get(backend)
        if found is None:
            found = self._incomplete[backend] = self.of(backend).needed.positive | self.lacked_by_all
        return found

    def read_by(self, steps: Intervals) -> Intervals:
        """Return the times of all samples that evaluations at the given times need; both in milliseconds."""
        found = NEVER
        for selector, _ in self.selectors:
            start, end = span(selector, self.window / 1000 if selector.newest else 0.0)
            read = ALWAYS.within(start, end) if selector.fixed else steps.widen(-start, end)
            found |= read
        return found

    def common(self, read: Intervals) -> Intervals:
        """Return the times of which no server has data, among the times that `read_by` has returned."""
        if not (self.lacked_by_all and read.hull):
            return NEVER
        if self._common is None:
            self._common = _in_ms(self.coverage.common)
        return self._common.within(*read.hull) & read

    def lacked(self, backend: Backend, read: Intervals) -> Intervals:
        """Return the times of which a server lacks data that is needed, among the times that `read_by` has returned."""
        return self._times_lost(backend).within(*read.hull) & read if read.hull else NEVER

    def _times_lost(self, backend: Backend) -> Intervals:
        """Return the times, in milliseconds, at which a server lacks data of the jobs that are read; kept as well."""
        found = self._lost_times.get(backend)
        if found is None:
            missing = self.coverage.missing.get(backend, NOTHING)
            holes = (hole for job in self._lacking(missing) for hole in missing.jobs.get(job, ()))
            pairs = [*missing.whole, *((hole.start, hole.end) for hole in holes)]
            found = self._lost_times[backend] = Intervals.of((ms(start), ms(end)) for start, end in pairs)
        return found

    def lacked_jobs(self, backend: Backend, read: Intervals) -> Iterator[tuple[str, int, int]]:
        """Yield the jobs of which a server lacks needed data, each with the number of missing targets and of all its targets."""
        missing = self.coverage.missing.get(backend, NOTHING)
        jobs = self._lacking(missing)
        every = any(read.overlaps(ms(start), ms(end)) for start, end in missing.whole)
        if every:
            jobs |= frozenset[str]().union(*(group.jobs for _, groups in self.selectors for group in groups))
        for job in sorted(jobs):
            holes = [hole for hole in missing.jobs.get(job, ()) if read.overlaps(ms(hole.start), ms(hole.end))]
            targets = self.coverage.targets[job] if every else 0
            if every or holes:
                yield job, max([targets, *(hole.missing for hole in holes)]), holes[-1].of if holes else targets

    def _lacking(self, missing: Missing) -> set[str]:
        return {job for _, groups in self.selectors for group in groups for job in group.lacking(missing)}


def working_out_lacks(
    selectors: Iterable[SelectorReads], coverage: Coverage, lookback: float
) -> Generator[None, None, QueryLacks]:
    """
    Return the data of a query that each server lacks; yields after each part of the work, which takes some milliseconds with
    2,000 gaps.

    :param selectors: `mpp.promql.reads.QueryReads.selectors`, after ``within``.
    :param lookback: the server's ``--query.lookback-delta`` or the request's ``lookback_delta``, in seconds.
    """
    distinct = {(each.start, each.end, each.newest, each.fixed, each.jobs): each for each in selectors}.values()
    groups = {jobs: job_groups(jobs, coverage) for jobs in {each.jobs for each in distinct}}
    grouped = tuple((each, groups[each.jobs]) for each in distinct)
    servers: dict[Backend, Lacking] = {}
    affected, by_all = NEVER, NEVER
    for backend, missing in coverage.missing.items():
        if missing:
            servers[backend] = lacking = Lacking(*(yield from _lines(grouped, missing, lookback)))
            # All that is needed is looked at.
            affected |= lacking.looked_back_on.positive
            yield
    affected = affected.widen(1, 1)
    if coverage.common:
        yield
        by_all = (yield from _lines(grouped, Missing(coverage.common), 0.0))[0].positive
    window = ms(max((group.window for each in groups.values() for group in each), default=0.0))
    return QueryLacks(grouped, coverage, lookback, window, servers, affected, by_all)


def _lines(grouped: Grouped, missing: Missing, lookback: float) -> Generator[None, None, tuple[Polyline, Polyline]]:
    """Return the lacks of a server: of the needed data, and of all data that is looked at."""
    needed, more = _Sum(), _Sum()
    # Mostly several selectors read the same jobs, and so have the same groups.
    by_group: dict[int, _Changes] = {}
    for selector, groups in grouped:
        for group in groups:
            lost = by_group.get(id(group))
            if lost is None:
                yield
                lost = by_group[id(group)] = yield from _lost(group, missing, selector.jobs)
            if not lost:
                continue
            yield
            window = group.window if selector.newest else 0.0
            start, end = span(selector, window)
            yield from needed.add(lost, start, end, fixed=selector.fixed)
            if selector.newest and lookback > window:
                yield from more.add(lost, ms(selector.start - lookback), start, fixed=selector.fixed)
    line = yield from needed.line()
    yield
    if not (more.changes or more.base):
        return line, line
    needed.base += more.base
    add_changes(needed.changes, list(more.changes), more.changes.values())
    yield
    longer = yield from needed.line()
    yield
    return line, longer


def _lost(group: JobGroup, missing: Missing, jobs: JobMatchers) -> Generator[None, None, _Changes]:
    """Return the target-milliseconds of a group that a server has lacked until a time, as a function of that time."""
    times = all_ms(missing.whole.edges)
    by = [group.targets, -group.targets] * (len(times) // 2)
    for job in group.lacking(missing):
        for hole in missing.jobs.get(job, ()):
            times += (ms(hole.start), ms(hole.end))
            by += (hole.missing, -hole.missing)
        if job in missing.drift and jobs.names(job):
            times.append(0)
            by.append(missing.drift[job])
    yield
    changes: _Changes = {}
    add_changes(changes, times, by)
    return changes


@define
class _Sum:
    """The sum of the target-milliseconds that a server lacks of several reads."""

    changes: _Changes = field(factory=dict)
    base: int = 0

    def add(self, lost: _Changes, start: int, end: int, *, fixed: bool) -> Generator[None, None, None]:
        """
        Add what was lost from ``start`` to ``end``; yields after each part.

        Both are milliseconds after the time of evaluation, or points in time if they are ``fixed``.
        """
        if fixed:
            self.base += sum(change * (max(0, end - time) - max(0, start - time)) for time, change in lost.items())
            return
        add_changes(self.changes, [time - end for time in lost], lost.values())
        yield
        add_changes(self.changes, [time - start for time in lost], map(neg, lost.values()))
        yield

    def line(self) -> Generator[None, None, Polyline]:
        """Return the sum as a function of the time of evaluation; yields after each part of the work."""
        return Polyline.building(self.changes, self.base)


def _in_ms(times: Intervals) -> Intervals:
    return Intervals.of((ms(start), ms(end)) for start, end in times)
