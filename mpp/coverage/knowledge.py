"""
The knowledge of what each server lacks, merged from all sources: the survey of the newest data, the times in which servers were
away, the look back, and the age of their oldest samples. No I/O; the time is an argument.

# Note [Two sources]

A lack that the survey sees goes on until it ends; then it is kept as a gap that has ended. It is known at once, but its edges
are only as exact as the survey is frequent. The look back finds the edges later, and what it finds for a time replaces what was
known of that time. So `Knowledge.again` has the times that are to be looked at again: around the beginning of each gap, around
its end, and the time before and during each absence of a server, because a restart may lose what was there before, and a server
that could not be reached may have gone on scraping. Short absences: Note [Short absences] in `mpp.coverage.absences`.

All times are by the server's own clock: the caller adds its skew to what mpp has seen by the clock of mpp.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from attrs import define, field

from mpp.core.coverage import NOTHING, UNKNOWN_JOB, WHOLE_POOL, Coverage, Hole, Job, Missing
from mpp.core.intervals import ALWAYS, NEVER, Intervals
from mpp.core.model import Backend
from mpp.coverage.absences import Absences
from mpp.coverage.common_gaps import EmptyTime, common_gaps, replaced
from mpp.coverage.holes import COARSE_S, with_drift, younger
from mpp.coverage.open_gaps import SAME_SHARE, begun, is_unchanged, with_beginning
from mpp.coverage.presence import TimeAway

MOST_HOLES = 2000
"""Maximum number of gaps kept per server; beyond it the gaps with the fewest missing target-seconds are dropped."""
HEAD_S = 3 * 3600.0
"""Seconds before a restart in which the server's data may have been lost by it: what was not yet written to a block."""
AWAY_S = 600.0
"""Seconds before mpp could no longer reach a server in which the server may already have ceased to scrape."""
AFTER_WINDOWS = 4
"""Windows after which it is certain that a gap has ended: three without a loss, and one that may have begun within the gap."""


@define
class _KnownServer:
    """
    The knowledge of one server's gaps.

    :ivar history: the gaps that have ended.
    :ivar live: the gaps that go on.
    :ivar younger: the time for which it has no data because its history is shorter than another server's.
    :ivar again: the times that are to be looked at again.
    :ivar absences: the times in which mpp has seen that it was away.
    :ivar unconfigured: the jobs that only other servers have in their configurations.
    :ivar total: all that it lacks, as it was published last.
    :ivar total_of: the values of which ``total`` is made.
    """

    history: Missing = NOTHING
    live: Missing = NOTHING
    younger: Missing = NOTHING
    again: Intervals = NEVER
    absences: Absences = field(factory=Absences)
    unconfigured: frozenset[str] = frozenset()
    total: Missing = NOTHING
    total_of: tuple[object, ...] = ()


@define
class Knowledge:
    """
    The knowledge of what each server lacks.

    :ivar coverage: what all servers lack; `publish` renews it.
    :ivar jobs: the jobs of all servers, by the last survey.
    """

    coverage: Coverage = WHOLE_POOL
    jobs: Mapping[str, Job] = field(factory=dict)
    _servers: dict[Backend, _KnownServer] = field(factory=dict, init=False)
    _looked_at: tuple[float, float] | None = field(default=None, init=False)
    _first: float = field(default=-math.inf, init=False)
    _empty: tuple[EmptyTime, ...] = field(default=(), init=False)
    _later: Intervals = field(default=NEVER, init=False)

    def surveyed(self, jobs: Mapping[str, Job]) -> None:
        """Record the jobs of all servers; small changes of their numbers of targets are ignored."""
        same = jobs.keys() == self.jobs.keys() and all(_is_alike(self.jobs[name], job) for name, job in jobs.items())
        if not same:
            self.jobs = dict(jobs)

    def sees(self, backend: Backend, missing: Missing, at: float) -> None:
        """
        Record what a server lacks from now on, and keep what it no longer lacks as gaps that have ended.

        :param missing: gaps without an end, by the survey; `NOTHING` also for a server that is not surveyed.
        """
        server = self._servers.setdefault(backend, _KnownServer())
        before = server.live
        if not (missing or before) or is_unchanged(before, missing):
            return
        past = Intervals.of([(-math.inf, at)])
        ended = before.only(past)
        server.live = begun(missing, before, at)
        server.history = _bounded(server.history | ended)
        server.again |= (ended | server.live.only(past)).times.widen(COARSE_S, self._after)

    def was_away(self, backend: Backend, absence: TimeAway, skew: float) -> None:
        """
        Record that a server has come back. Unless it is a new process, it may have gone on scraping: the look back finds out.

        :param skew: how far the server's clock is ahead of mpp's, in seconds.
        """
        server = self._servers.setdefault(backend, _KnownServer())
        start, end = absence.start + skew, absence.end + skew
        server.absences = server.absences.also(absence, skew)
        if absence.restarted:
            server.history = server.history | Missing(Intervals.of([(start, end)]))
        server.again |= Intervals.of([(start - (HEAD_S if absence.restarted else AWAY_S), end + self._after)])

    @property
    def _after(self) -> float:
        """The seconds after the end of a hole that the look back needs to find its end."""
        return min(COARSE_S, AFTER_WINDOWS * max((job.window for job in self.jobs.values()), default=COARSE_S))

    def aged(self, oldest: Mapping[Backend, float | None]) -> None:
        """Record the time of the oldest sample of each server; gaps older than all of these samples are forgotten."""
        tolerance = max((job.window for job in self.jobs.values()), default=UNKNOWN_JOB.window)
        found = younger(oldest, tolerance)
        first = min((time for time in oldest.values() if time is not None), default=-math.inf)
        # The servers' first scrapes are some seconds apart.
        self._first = first + tolerance
        for backend in oldest:
            server = self._servers.setdefault(backend, _KnownServer())
            server.younger = found.get(backend, NOTHING)
            if server.history.since < first:
                server.history = server.history.only(Intervals.of([(first, math.inf)]))
        self._empty = tuple(each for each in self._empty if each.start >= first)

    def configured(self, jobs: Mapping[Backend, Collection[str]]) -> None:
        """
        Record the jobs in the configuration of each server, to distinguish permanent differences (drift) from gaps.

        :param jobs: empty if a server's configuration is not known, or has no jobs, which is no intended difference.
        """
        every = frozenset().union(*jobs.values())
        for backend, own in jobs.items():
            self._servers.setdefault(backend, _KnownServer()).unconfigured = every.difference(own) if own else frozenset()

    def again(self, backend: Backend) -> Intervals:
        """Return the times of a server that the look back must compare again, and forget them."""
        server = self._servers.setdefault(backend, _KnownServer())
        found, server.again = server.again, NEVER
        return found

    def absences(self, backend: Backend) -> Absences:
        """Return the times in which mpp has seen that a server was away."""
        return self._servers.get(backend, _KnownServer()).absences

    def known(self, backend: Backend) -> Missing:
        """Return the gaps of a server whose end is known: gaps that still last are not among them."""
        server = self._servers.get(backend)
        return NOTHING if server is None else server.history

    def judged(self, backend: Backend) -> Missing:
        """Return the gaps of a server that have ended, with gaps that are as long as the compared time replaced by drift."""
        return self._with_drift(self.known(backend), self._servers.get(backend, _KnownServer()))

    def found(self, backend: Backend, times: Intervals, jobs: Collection[str], by: Missing) -> None:
        """
        Replace what was known of some jobs in some times by what the look back found there.

        :param by: what it found; what lies outside of ``times`` is ignored.
        """
        server = self._servers.get(backend)
        if server is None:
            return
        times &= Intervals.of([(self._first, math.inf)])
        before = server.history
        others = ALWAYS - times
        kept = {
            job: Missing.of(NEVER, {job: holes}).only(others).jobs.get(job, ()) if job in jobs else holes
            for job, holes in before.jobs.items()
        }
        # Where all jobs were missing, the others still are.
        for name, job in self.jobs.items():
            if name not in jobs:
                inside = [Hole(start, end, job.targets, job.targets) for start, end in before.whole & times]
                kept[name] = (*kept.get(name, ()), *inside)
        server.history = _bounded(Missing.of(before.whole - times, kept) | by.only(times))
        server.live = with_beginning(server.live, times, jobs, by, self.jobs)

    def absent(self, times: Intervals, found: Sequence[EmptyTime], *, all_servers: bool) -> None:
        """
        Replace what was known of the times in which no server has data.

        :param times: the times that have been compared.
        :param found: the times without data that were found.
        :param all_servers: whether all servers have been compared; if some could not be queried, no time is added.
        """
        if not all_servers:
            times, found = times - Intervals.of((each.start, each.end) for each in found), ()
        self._empty = replaced(self._empty, times, found)

    def look_later(self, times: Intervals) -> None:
        """Add times that the look back must compare again on all servers, once they have passed."""
        self._later |= times

    def due(self, until: float) -> Intervals:
        """Return the times from `look_later` that end before ``until``, and forget them."""
        found = Intervals.of((start, end) for start, end in self._later if end <= until)
        self._later -= found
        return found

    def looked_at(self, start: float, end: float) -> None:
        """Record the time that the look back has compared: targets that a server lacks in all of it are drift, no gap."""
        self._looked_at = (start, end)

    def keep(self, backends: Collection[Backend]) -> None:
        """Forget all servers except the given ones."""
        for backend in [each for each in self._servers if each not in backends]:
            del self._servers[backend]
        if not self._servers:
            self._looked_at, self._empty, self._later = None, (), NEVER

    def publish(self) -> bool:
        """Renew ``coverage``; return whether it has changed."""
        missing = {}
        for backend, server in self._servers.items():
            total = self._total(server)
            if total:
                missing[backend] = total
        # Before the oldest sample of all servers there is none of a common gap either.
        common = common_gaps(self._empty) & Intervals.of([(self._first, math.inf)])
        jobs = self.jobs if missing or common else self.coverage.jobs
        if (missing, common, jobs) == (self.coverage.missing, self.coverage.common, self.coverage.jobs):
            return False
        self.coverage = Coverage(jobs, missing, common)
        return True

    def _total(self, server: _KnownServer) -> Missing:
        """Return all that a server lacks; the value of the last time if nothing has changed, which is seen at once."""
        total_of = server.history, server.live, server.younger, server.unconfigured, self._looked_at
        if server.total_of != total_of:
            lacked = server.history | server.live
            server.total_of, server.total = total_of, self._with_drift(lacked, server) | server.younger
        return server.total

    def _with_drift(self, missing: Missing, server: _KnownServer) -> Missing:
        return missing if self._looked_at is None else with_drift(missing, *self._looked_at, server.unconfigured)


def _is_alike(one: Job, other: Job) -> bool:
    return one.window == other.window and abs(one.targets - other.targets) <= SAME_SHARE * max(one.targets, other.targets)


def _bounded(missing: Missing) -> Missing:
    """Drop all gaps by job except the greatest `MOST_HOLES`."""
    count = sum(map(len, missing.jobs.values()))
    if count <= MOST_HOLES:
        return missing
    every = [(job, hole) for job, holes in missing.jobs.items() for hole in holes]
    every.sort(key=lambda each: -each[1].missing * (each[1].end - each[1].start))
    kept: dict[str, list[Hole]] = {}
    for job, hole in every[:MOST_HOLES]:
        kept.setdefault(job, []).append(hole)
    return Missing.of(missing.whole, kept, missing.drift)
