"""
The look back: the comparison of the servers' histories, from the newest day to the oldest one, and again for a time in which a
server was away. Decides when it goes on; `mpp.coverage.history.agenda` says what is next, and `mpp.coverage.history.comparison`
compares.

It needs two viable servers. While a server is busy, it is not asked. A server that cannot be asked or does not answer counts as
equal, and its days are looked at later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from txaio.tx import make_logger

from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend, Observation, Standing
from mpp.core.prometheus.runtimeinfo import Ask
from mpp.core.scheduling.unexpected import log_unexpected
from mpp.core.text.durations import duration
from mpp.core.text.humanize import listing
from mpp.coverage.history.agenda import SETTLED_S, Agenda, Span, comparable_since
from mpp.coverage.history.comparison import Comparison
from mpp.coverage.history.look_back import DAY_S, MOST_WITNESSES, SAMPLE_S
from mpp.coverage.history.paced_queries import BUDGET_S, Interrupted, PacedQueries
from mpp.coverage.holes import WITNESSES_OF_A_JOB
from mpp.coverage.knowledge import Knowledge
from mpp.coverage.presence import is_usable

_log = make_logger()

UNKNOWN_HISTORY_S = 15 * 86400.0
"""How far it is looked back on servers that report neither their oldest sample nor their retention, in seconds."""
MOST_S = 400 * 86400.0
"""How far it is looked back at most, in seconds."""
MIN_INTERVAL_S = 0.1
"""Seconds; a shorter scrape interval counts as this in the estimate of what a query costs."""
JOBS_S = 120.0
"""
How long the first look back waits, in seconds, until the survey has found all jobs of the servers' configurations. A server that
has just been started has scraped the slow ones before it was stopped, and the quick ones not yet; a job without targets is never
found.
"""
MOST_NAMED = 4
"""Maximum number of servers that are named in a message."""


@frozen
class Progress:
    """
    How far the look back has come for one server.

    :ivar until: the time back to which its history was compared, seconds since the epoch; None if nothing was compared.
    :ivar finished: whether nothing older is left that could be compared.
    :ivar problem: why it does not go on, one line; empty if it does or is finished.
    :ivar again: the times since ``until`` that are compared again, because the server was away or lacked data then.
    """

    until: float | None = None
    finished: bool = False
    problem: str = ""
    again: Intervals = NEVER


class LookBack:
    """
    The comparison of the servers' histories.

    :param ask: sends a query.
    :param clock: a monotonic clock.
    :param wall: returns the time of day, in seconds since the epoch.
    :param learned: called when ``knowledge`` has new findings.
    :param selector: the metric that says whether a target was scraped; empty: no query is sent.
    :param note: called with the kind and the text of each event for the event log.
    """

    def __init__(
        self,
        ask: Ask,
        clock: IReactorTime,
        wall: Callable[[], float],
        *,
        knowledge: Knowledge,
        learned: Callable[[], None],
        selector: str,
        note: Callable[[str, str], None],
    ) -> None:
        self._wall = wall
        self._knowledge = knowledge
        self._learned = learned
        self._selector = selector
        self._note_down = note
        self._agenda = Agenda()
        self._queries = PacedQueries(ask, clock, self._is_idle)
        self._observed: dict[Backend, Observation] = {}
        self._running: Deferred[None] | None = None
        self._stopped = False
        self._finished = False
        self._may_begin = False
        self._began_at = math.inf

    def see(self, observation: Observation) -> None:
        """Record an observation of a server; call `begin` after the last one."""
        if self._selector:
            self._observed[observation.backend] = observation
            if is_usable(observation):
                self._agenda.see(observation.backend, self._wall() + min(0.0, observation.facts.skew or 0.0))

    def begin(self) -> None:
        """Continue the look back if there is something to compare."""
        if not self._selector or self._stopped:
            return
        due = self._knowledge.due(self._wall() - SETTLED_S)
        for backend in self._observed:
            self._agenda.again(backend, self._knowledge.again(backend) | due)
        self._knowledge.aged({backend: each.facts.oldest for backend, each in self._observed.items()})
        self._knowledge.configured({backend: [job for job, _ in each.facts.jobs] for backend, each in self._observed.items()})
        if self._running is None and self._has_jobs() and self._next() is not None:
            self._running = running = Deferred.fromCoroutine(self._run())
            text = "bug: the comparison of the servers' histories failed; it goes on after the next round"
            running.addErrback(log_unexpected, _log, text)
            running.addCallback(self._over)
            if running.called:
                self._running = None

    def _has_jobs(self) -> bool:
        """Return whether the survey has found the jobs of the servers: all, or the ones that it finds within `JOBS_S`."""
        known = self._knowledge.jobs
        if known and not self._may_begin:
            self._began_at = min(self._began_at, self._wall())
            configured = {job for each in self._observed.values() for job, _ in each.facts.jobs}
            self._may_begin = configured <= known.keys() or self._wall() >= self._began_at + JOBS_S
        return bool(known) and self._may_begin

    def keep(self, backends: Collection[Backend]) -> None:
        """Forget all servers except the given ones."""
        self._observed = {backend: each for backend, each in self._observed.items() if backend in backends}
        self._agenda.keep(backends)
        self._queries.keep(backends)

    def reconfigure(self, ask: Ask, selector: str) -> None:
        """Replace the function that sends the queries, and the selector; a new selector discards all findings."""
        self._queries.ask_history = ask
        if selector != self._selector:
            self._selector = selector
            self.keep(())
            self._finished = False
            if self._running is not None:
                self._running.cancel()

    def stop(self) -> None:
        """Stop the look back, and cancel a query that is running."""
        self._stopped = True
        if self._running is not None:
            self._running.cancel()

    def progress(self) -> dict[Backend, Progress]:
        """Return the progress of the look back for each server."""
        if not self._selector:
            return {}
        first, why_not, now, found = self._first(), self._why_not(), self._wall(), {}
        for backend in self._observed:
            until, again = self._agenda.compared_since(backend), self._agenda.pending(backend, now)
            finished = until is not None and until <= first
            problem = "" if finished and not again else self._queries.problem(backend) or why_not
            found[backend] = Progress(until, finished, problem, again)
        return found

    def _why_not(self) -> str:
        if not self._knowledge.jobs:
            return "no server has reported scrape jobs"
        if not self._may_begin:
            return "not all configured scrape jobs were scraped yet"
        able = sum(map(self._queries.may_ask, self._observed))
        return "" if able > 1 else "fewer than two servers can be asked at the moment"

    def _is_idle(self, backend: Backend) -> bool:
        observation = self._observed.get(backend)
        return observation is not None and observation.standing is Standing.VIABLE and is_usable(observation)

    def _first(self) -> float:
        """Return the time before which no two servers have samples to compare."""
        now = self._wall()
        retentions = [each.facts.retention_s for each in self._observed.values() if each.facts.retention_s]
        unknown = now - min(MOST_S, max(retentions, default=UNKNOWN_HISTORY_S))
        return comparable_since({backend: each.facts.oldest for backend, each in self._observed.items()}, unknown)

    def _next(self) -> Span | None:
        able = [backend for backend in self._observed if self._queries.may_ask(backend)]
        if len(able) < 2:
            return None
        return self._agenda.next(able, self._first(), self._until(able), self._longest())

    def _until(self, backends: Iterable[Backend]) -> float:
        """Return the time up to which the data of some servers is stored, by the clock that is furthest behind."""
        return self._wall() - SETTLED_S + min([0.0, *(self._observed[each].facts.skew or 0.0 for each in backends)])

    def _longest(self) -> float:
        """Return the longest span, in seconds, for which a query of all witnesses takes only a part of the budget."""
        intervals = sorted(job.window / 2 for job in self._knowledge.jobs.values())[: MOST_WITNESSES // WITNESSES_OF_A_JOB]
        samples_per_s = WITNESSES_OF_A_JOB * sum(1 / max(MIN_INTERVAL_S, interval) for interval in intervals)
        return max(3600.0, min(DAY_S, BUDGET_S / 5 / (SAMPLE_S * samples_per_s)))

    async def _run(self) -> None:
        while (span := self._next()) is not None:
            able = [backend for backend in self._observed if self._queries.may_ask(backend)]
            asked = [backend for backend in able if (self._observed[backend].facts.oldest or 0.0) < span.end]
            # One that failed before comes first: the others are not asked for nothing.
            asked.sort(key=lambda backend: not self._queries.has_failed(backend))
            until = self._until(asked)
            try:
                if len(asked) > 1:
                    others = (
                        each.facts.oldest for backend, each in self._observed.items() if backend not in asked and not each.is_self
                    )
                    every = all(oldest is not None and oldest >= span.end for oldest in others)
                    await Comparison(self._queries, self._knowledge, self._selector, asked, span, until, every).run()
            except Interrupted:
                self._learned()
                continue
            self._agenda.done(able, span)
            self._learned()
        self._conclude()

    def _conclude(self) -> None:
        """Finish the look back if no span is left to compare."""
        first = self._first()
        if len(self._observed) < 2 or not all(self._agenda.is_finished(backend, first) for backend in self._observed):
            return
        self._knowledge.looked_at(first, self._wall() - SETTLED_S)
        self._learned()
        if not self._finished:
            self._finished = True
            text = f"compared the last {duration(self._wall() - first)} of {len(self._observed)} servers: {self._findings()}"
            _log.info("{text}", text=text)
            self._note_down("history", text)

    def _findings(self) -> str:
        found = {each.name: self._knowledge.judged(each) for each in self._observed}
        lacking = [name for name, missing in found.items() if missing.times][:MOST_NAMED]
        lacking = lacking or ["all servers at once"] * bool(self._knowledge.coverage.common)
        gaps = f"gaps in the data of {', '.join(lacking)}" if lacking else "no gaps"
        drifting = listing([name for name, missing in found.items() if missing.drift], MOST_NAMED)
        return f"{gaps}; {drifting} never had some targets" if drifting else gaps

    def _over(self, _: None) -> None:
        self._running = None
