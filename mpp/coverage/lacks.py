"""
The decision which scrape targets a server lacks that another server has. Keeps its findings; no I/O, the time is an argument.

# Note [What is a lack]

All is relative: each server is compared with the best server of the survey, so the best one lacks nothing, and no server lacks
anything when the targets themselves are down. A server whose query fails counts as equal. Lists of targets change at slightly
different times on two servers, and single scrapes fail, so a small or short difference does not count:

- A job with more than two targets is lacking on a server that has less than `LACKING` of the best and at least two targets less;
  a smaller one if the server has at most half. It stays lacking until the server has `WHOLE` of the best, or all of a small job.
- This must hold in more than one window: in two windows, one interval apart, or in three for a small job. If the server has no
  target of a larger job, two windows one second apart suffice, or one if the server is idle as well (`mpp.coverage.idle`). A job
  is whole again after two good windows, or after one if the server has just come back.
- A server that has just come back has scraped little yet. It is presumed to lack each job of which it does not have `WHOLE`,
  until it has, or until `BACK_S` and two intervals have passed; after that the rules above apply.

A lack begins two intervals before the last survey in which the job was not lacking, or at most `SURVEYED_S` earlier than it was
seen: targets may have been scraped for the last time just then. The look back finds the beginning later, see
`mpp.coverage.knowledge`.

A difference that the configurations explain is drift (`mpp.coverage.drift`), not a lack: a job that is not in a server's
configuration and that it never had, and targets beyond the ones that it has discovered.

A server without any targets in its window either is a receiver that has no `up` at all, or has stopped. It is compared if it has
jobs in its configuration, had targets before, has just come back, or is idle.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from attrs import define, frozen

from mpp.core.coverage import Hole, Job, Missing
from mpp.core.facts import Lack, ServerState
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend
from mpp.coverage.idle import is_idle, newest_at
from mpp.coverage.windows import DEFAULT_INTERVAL_S, JobCounts, TargetCounts, longest_intervals

LACKING = 0.9
"""Share of the targets of a job that the best server has; a server with less lacks the job."""
WHOLE = 0.95
"""Share of the targets of a job that the best server has; a server with as much no longer lacks the job."""
BACK_S = 5.0
"""Seconds from a server's becoming ready to its first samples: measured, 5.2 s with Prometheus 3.5.3."""
SMALL = 2
"""Maximum number of targets of a small job."""
SURVEYED_S = 15.0
"""Maximum number of seconds between two surveys of a server that responds."""
FORGET_S = 60.0
"""Seconds: if a job was not compared for longer, its earlier state says nothing about that time, and is forgotten."""

_MOST_JOBS = 2000
_TARGET_S = 10e-6
"""CPU time in seconds that a survey costs a server for each target."""
_MOST_CPU = 0.005
"""Maximum share of a core that surveys cost a server, unless they are `SURVEYED_S` apart."""


@define
class _JobState:
    """
    The state of one scrape job on one server.

    :ivar own: number of targets that the server had at the last survey.
    :ivar bad: number of successive windows in which the job was lacking.
    :ivar good: number of successive windows in which the job was whole, since it is lacking.
    :ivar seen_at: when the job was last compared.
    :ivar not_bad_at: when the job was last compared and not lacking in its window.
    :ivar counted_at: when the last bad window was counted.
    :ivar began_at: when the lack began, as far as known, see Note [What is a lack]; or when the server came back.
    :ivar lacking: whether the server lacks this job.
    :ivar presumed_until: when the presumption ends that a server that has just come back lacks the job; None: no presumption.
    :ivar had: whether the server had targets of the job since it loaded its configuration.
    """

    own: int = 0
    bad: int = 0
    good: int = 0
    seen_at: float = float("-inf")
    not_bad_at: float = float("-inf")
    counted_at: float = float("-inf")
    began_at: float = 0.0
    lacking: bool = False
    presumed_until: float | None = None
    had: bool = False


@frozen
class Surveyed:
    """
    The result of the last survey for one server.

    :ivar parsed: its targets by job; None if its query failed.
    :ivar back_at: when it came back into service; None if that is long ago or not known.
    """

    parsed: JobCounts | None
    server_state: ServerState
    back_at: float | None = None


class Lacks:
    """The jobs whose newest data each server lacks, updated with each survey."""

    def __init__(self) -> None:
        self._jobs: dict[Backend, dict[str, _JobState]] = {}
        self._configs: dict[Backend, float | None] = {}
        self._some_at: dict[Backend, float] = {}
        self.undecided = False
        """Whether a difference between servers was seen that only a further survey can confirm."""
        self.missing: dict[Backend, Missing] = {}
        """The current gaps of each server by job, by the last survey; none has ended. Servers that lack nothing are not named."""
        self.jobs: dict[str, Job] = {}
        """All jobs of which a server has targets, by the last survey."""
        self.pace_s = SURVEYED_S
        """Seconds until the next survey, if nothing is undecided, by the last survey."""

    def returned(self, backend: Backend) -> None:
        """Reset the counts of a server that has just come back; the jobs that it had are remembered."""
        self._jobs[backend] = {name: _JobState(had=True) for name, job in self._jobs.get(backend, {}).items() if job.had}

    def interrupted(self, backend: Backend, at: float) -> None:
        """Record that a server is not compared at this time: if it still lacks a job later, that lack begins at this time."""
        for job in self._jobs.get(backend, {}).values():
            if job.lacking:
                job.began_at = max(job.began_at, at)

    def forget(self, backend: Backend) -> None:
        """Forget a server that has been removed."""
        self._jobs.pop(backend, None)
        self._configs.pop(backend, None)
        self._some_at.pop(backend, None)

    def update(self, surveyed: Mapping[Backend, Surveyed], at: float) -> dict[Backend, Lack]:
        """
        Return what each server lacks, given a survey of all usable servers.

        :param at: the time of the survey, seconds since the epoch.
        """
        self.undecided, self.missing = False, {}
        best = _best(each.parsed for each in surveyed.values() if each.parsed is not None)
        intervals = longest_intervals(each.server_state.jobs for each in surveyed.values())
        longest = max(intervals.values(), default=DEFAULT_INTERVAL_S)
        self.jobs = {name: Job(counts.up, 2 * intervals.get(name, longest)) for name, counts in best.items()}
        self.pace_s = seconds_between_surveys(self.jobs.values())
        found: dict[Backend, Lack] = {}
        for backend, each in surveyed.items():
            if each.parsed is None:
                self.interrupted(backend, at)
                continue
            self._learn(backend, each.parsed, each.server_state, at)
            lack = self._lack(backend, each, each.parsed, best, intervals, at)
            if lack is not None:
                found[backend] = lack
        return found

    def _learn(self, backend: Backend, parsed: JobCounts, server_state: ServerState, at: float) -> None:
        """Record which jobs a server has; jobs of a previous configuration no longer count."""
        jobs = self._jobs.setdefault(backend, {})
        if self._configs.get(backend, server_state.config_at) != server_state.config_at:
            for job in jobs.values():
                job.had = False
        self._configs[backend] = server_state.config_at
        for name, counts in parsed.items():
            if counts.present and len(jobs) < _MOST_JOBS:
                jobs.setdefault(name, _JobState()).had = True
        if any(counts.up for counts in parsed.values()):
            self._some_at[backend] = at

    def _lack(
        self, backend: Backend, each: Surveyed, parsed: JobCounts, best: JobCounts, intervals: Mapping[str, float], at: float
    ) -> Lack | None:
        total = sum(counts.up for counts in best.values())
        empty = not any(counts.present for counts in parsed.values())
        idle = empty and is_idle(each.server_state, intervals)
        lost = idle or (empty and any(job.had for job in self._jobs[backend].values()))
        if empty and not (lost or each.server_state.jobs) and each.back_at is None:
            return None
        holes: dict[str, tuple[Hole]] = {}
        configured, discovered = dict(each.server_state.jobs), dict(each.server_state.pools)
        for name, counts in best.items():
            expected = counts.up if lost else self._expected(backend, name, counts.up, configured, discovered)
            own = parsed.get(name, TargetCounts()).up
            job = self._jobs[backend].setdefault(name, _JobState()) if expected else None
            if job is None:
                continue
            if at - job.seen_at > FORGET_S:
                job = self._jobs[backend][name] = _JobState(had=job.had)
            job.seen_at = at
            interval = self.jobs[name].window / 2
            if not (job.bad or job.lacking):
                job.began_at = max(job.not_bad_at, at - SURVEYED_S) - 2 * interval
            if idle:
                # No second window is needed: its state and its window say the same.
                job.lacking, job.good, job.presumed_until, job.own = True, 0, None, 0
            else:
                self._count(job, own, expected, interval, at, each.back_at)
            if job.lacking:
                # One at least: a job that is whole again lacks until a second window shows it.
                lacked = max(1, expected - own)
                holes[name] = (Hole(job.began_at, math.inf, lacked, max(lacked, expected)),)
        if not holes:
            return None
        own_total = sum(counts.up for counts in parsed.values())
        self.missing[backend] = Missing.of(NEVER if own_total else self._whole(backend, holes), holes)
        missing = sum(hole.missing for (hole,) in holes.values())
        newest = newest_at(each.server_state) if idle else None
        since = min(hole.start for (hole,) in holes.values()) if newest is None else newest
        return Lack(missing, total, since, stopped=own_total == 0, back=each.back_at is not None)

    def _expected(
        self, backend: Backend, name: str, best: int, configured: Mapping[str, float], discovered: Mapping[str, int]
    ) -> int:
        """Return how many targets of a job a server should have; 0 if the job does not belong to it."""
        known = self._jobs[backend].get(name)
        if name not in configured and not (known is not None and known.had):
            return 0
        targets = discovered.get(name, 0)
        return min(best, targets) if targets else best

    def _whole(self, backend: Backend, holes: Mapping[str, tuple[Hole]]) -> Intervals:
        """Return the time since which a server has nothing: there it also lacks the jobs that no other server reports now."""
        least = min(self.jobs[name].window for name in holes)
        start = max(*(hole.start for (hole,) in holes.values()), self._some_at.get(backend, -math.inf) - least)
        return Intervals.of([(start, math.inf)])

    def _count(self, job: _JobState, own: int, expected: int, interval: float, at: float, back_at: float | None) -> None:
        """Count one more window of a job on a server by the rules of Note [What is a lack]."""
        growing, job.own = own > job.own, own
        whole = own >= expected if expected <= SMALL else own >= WHOLE * expected
        if back_at is not None and not whole and not job.lacking and at < back_at + BACK_S + 2 * interval:
            job.lacking, job.began_at, job.good, job.presumed_until = True, back_at, 0, back_at + BACK_S + 2 * interval
            return
        if job.presumed_until is not None and at >= job.presumed_until:
            job.presumed_until = None
            job.lacking = _is_bad(own, expected)
        if job.lacking:
            # While it catches up, it is surveyed each second: so the end of the gap is known more exactly.
            self.undecided |= whole or growing
            self._count_good(job, whole, at, back=back_at is not None)
        elif _is_bad(own, expected):
            self._count_bad(job, own, expected, interval, at)
        else:
            job.bad, job.not_bad_at = 0, at

    def _count_good(self, job: _JobState, whole: bool, at: float, *, back: bool) -> None:
        job.good = job.good + 1 if whole else 0
        if job.good >= (1 if back else 2):
            job.lacking, job.bad, job.good, job.presumed_until, job.not_bad_at = False, 0, 0, None, at

    def _count_bad(self, job: _JobState, own: int, expected: int, interval: float, at: float) -> None:
        small = expected <= SMALL
        apart = interval if own or small else 0.0
        self.undecided |= not job.bad or at - job.counted_at >= apart - SURVEYED_S
        if job.bad and at - job.counted_at < apart:
            return
        job.bad, job.counted_at = job.bad + 1, at
        if job.bad >= (3 if small else 2):
            job.lacking, job.good = True, 0


def seconds_between_surveys(jobs: Iterable[Job]) -> float:
    """Return the scrape interval of the quickest of some jobs, or as much as it takes to spend little CPU time of a server."""
    shortest, targets = SURVEYED_S, 0
    for job in jobs:
        shortest, targets = min(shortest, job.window / 2), targets + job.targets
    return min(SURVEYED_S, max(1.0, shortest, targets * _TARGET_S / _MOST_CPU))


def _is_bad(own: int, expected: int) -> bool:
    if expected <= SMALL:
        return own <= expected / 2
    return own == 0 or (own < LACKING * expected and expected - own >= 2)


def _best(readings: Iterable[JobCounts]) -> dict[str, TargetCounts]:
    best: dict[str, TargetCounts] = {}
    for reading in readings:
        for job, counts in reading.items():
            if counts.up > best.get(job, TargetCounts()).up:
                best[job] = counts
    return best
