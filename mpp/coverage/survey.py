"""
The periodic survey that queries all usable servers for their newest data and publishes which targets each of them lacks.

This module decides when to query; `mpp.coverage.windows` builds the queries, and `mpp.coverage.lacks` interprets the responses.

# Note [How often]

Once in each scrape interval of the quickest job, or less often if the server has many targets, see `Lacks.pace_s`.
Every `QUICK_S` for `BACK_FOR_S` after a server has come back, and while a difference is not decided yet. A server whose query
fails counts as equal, and is queried ever less often, down to once in `PAUSE_MOST_S`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from txaio.tx import make_logger

from mpp.core.coverage import NOTHING, Missing
from mpp.core.facts import Lack
from mpp.core.intervals import Intervals
from mpp.core.model import Backend, Observation
from mpp.core.prometheus.runtimeinfo import Ask
from mpp.core.scheduling.pacing import of_each
from mpp.core.scheduling.unexpected import log_unexpected
from mpp.coverage.gaps import Gaps
from mpp.coverage.idle import by_state
from mpp.coverage.knowledge import Knowledge
from mpp.coverage.lack_log import LackLog
from mpp.coverage.lacks import SURVEYED_S, Lacks, Surveyed
from mpp.coverage.largest import Largest
from mpp.coverage.presence import Presence, TimeAway
from mpp.coverage.windows import JobCounts, TargetCounts, Window, read, windows_for

_log = make_logger()

QUICK_S = 1.0
BACK_FOR_S = 60.0
PAUSE_MOST_S = 300.0


@define(eq=False)
class _Server:
    """
    The survey's state of one server.

    :ivar presence: whether it is usable, and when it came back.
    :ivar failures: number of successive surveys in which its query failed.
    :ivar due: time of the next query on the monotonic clock.
    :ivar surveyed: whether at least one of its surveys succeeded.
    :ivar reported: its lack, as `Survey.shown` returned it last.
    :ivar gaps: the known gaps in its history.
    """

    presence: Presence
    failures: int = 0
    due: float = float("-inf")
    surveyed: bool = False
    reported: Lack | None = None
    gaps: Gaps = field(factory=Gaps)


@define(eq=False)
class Survey:
    """
    The periodic comparison of the newest data of all servers.

    :param ask: sends a query.
    :param clock: a monotonic clock.
    :param wall: returns the time of day, in seconds since the epoch.
    :param changed: called with the servers whose lack differs from the one that `shown` returned last.
    :param selector: the metric that says whether a target was scraped; empty: no query is sent, and no server lacks anything.
    :param counted: called after each survey of a server with its name, ``ok`` or ``failed``, and its duration in seconds.
    :param note: called with the kind and the text of each event for the event log.
    :param knowledge: receives the findings of the survey.
    :param learned: called when ``knowledge`` has new findings.
    """

    _ask: Ask
    _clock: IReactorTime
    _wall: Callable[[], float]
    _changed: Callable[[Collection[Backend]], None] = field(kw_only=True)
    _selector: str = field(kw_only=True)
    _counted: Callable[[str, str, float], None] = field(kw_only=True)
    _lack_log: LackLog = field(kw_only=True, alias="note", converter=LackLog)
    _knowledge: Knowledge = field(kw_only=True)
    _learned: Callable[[], None] = field(kw_only=True)
    _lacks: Lacks = field(factory=Lacks, init=False)
    _servers: dict[Backend, _Server] = field(factory=dict, init=False)
    _observed: dict[Backend, Observation] = field(factory=dict, init=False)
    _found: dict[Backend, Lack] = field(factory=dict, init=False)
    _missing: dict[Backend, Missing] = field(factory=dict, init=False)
    _targets: Largest[Backend] = field(factory=Largest, init=False)
    _scheduled: IDelayedCall | None = field(default=None, init=False)
    _running: Deferred[None] | None = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)

    def shown(self, observation: Observation) -> Observation:
        """Record a round's observation of a server; return it with what the server lacks now, and its gaps. Then call `begin`."""
        if not self._selector:
            return observation
        self._observe(observation)
        server = self._servers[observation.backend]
        lack = server.reported = self._found.get(observation.backend)
        server.gaps.note(lack, self._wall())
        gaps = server.gaps.known
        return observation if (observation.lack, observation.gaps) == (lack, gaps) else evolve(observation, lack=lack, gaps=gaps)

    def _observe(self, observation: Observation) -> None:
        backend, now = observation.backend, self._wall()
        self._observed[backend] = observation
        server = self._servers.get(backend)
        if server is None:
            server = self._servers[backend] = _Server(Presence(observation, now))
        else:
            absence = server.presence.observe(observation, now)
            if absence is not None:
                self._returned(backend, server, absence)
        self._targets.put(backend, observation.facts.targets or 0 if server.presence.usable else None)

    def _returned(self, backend: Backend, server: _Server, absence: TimeAway) -> None:
        server.due, server.failures = float("-inf"), 0
        if absence.restarted:
            server.gaps.missed(absence.start, absence.end)
        self._knowledge.was_away(backend, absence, self._observed[backend].facts.skew or 0.0)
        self._lacks.returned(backend)
        self._presume(backend)

    def begin(self) -> None:
        """Schedule the next survey if there are at least two servers to compare; the first survey starts at once."""
        usable = {backend: server for backend, server in self._servers.items() if server.presence.usable}
        server_state = {b: self._observed[b].facts for b in usable}
        if not any(server.surveyed for server in usable.values()):
            before = dict(self._found)
            self._found.update(by_state(server_state))
            self._lack_log.report(before, self._found)
        for backend in [b for b in self._found if b not in usable or len(usable) < 2]:
            self._not_compared(backend)
        self._tell()
        if len(usable) > 1 and self._running is None and not self._stopped:
            soon = any((not s.surveyed and not s.failures) or s.presence.back_at is not None for s in usable.values())
            self._schedule(0.0 if soon else self._lacks.pace_s)

    def keep(self, backends: Collection[Backend]) -> None:
        """Forget all servers except the given ones."""
        for backend in [each for each in self._servers if each not in backends]:
            del self._servers[backend]
            self._observed.pop(backend, None)
            self._targets.put(backend, None)
            self._found.pop(backend, None)
            self._missing.pop(backend, None)
            self._lacks.forget(backend)
        self._knowledge.keep(backends)
        self._learned()

    def reconfigure(self, ask: Ask, selector: str) -> None:
        """Replace the function that sends the queries, and the selector; a new selector discards all findings."""
        self._ask = ask
        if selector != self._selector:
            self._selector = selector
            self.keep(())

    def stop(self) -> None:
        """Stop surveying, and cancel a survey that is running."""
        self._stopped = True
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        if self._running is not None:
            self._running.cancel()

    def _presume(self, backend: Backend) -> None:
        """Presume that a server that has just come back lacks all targets, until it has been surveyed."""
        most = self._targets.beside(backend)
        if most is not None:
            self._missing.pop(backend, None)
            self._found[backend] = Lack(max(1, most), most, self._wall(), stopped=True, back=True)

    def _schedule(self, seconds: float) -> None:
        if self._scheduled is not None:
            if self._scheduled.getTime() <= self._clock.seconds() + seconds:
                return
            self._scheduled.cancel()
        self._scheduled = self._clock.callLater(seconds, self._begin)

    def _begin(self) -> None:
        self._scheduled = None
        self._running = running = Deferred.fromCoroutine(self._survey())
        running.addErrback(log_unexpected, _log, "bug: survey of the servers' newest data failed unexpectedly")
        running.addCallback(self._over)
        if running.called and self._running is running:
            self._running = None

    def _over(self, _: None) -> None:
        self._running = None
        if not self._stopped:
            now = self._wall()
            for server in self._servers.values():
                back_at = server.presence.back_at
                if back_at is not None and now - back_at > BACK_FOR_S:
                    server.presence.back_at = None
            quick = self._lacks.undecided or any(s.presence.back_at is not None for s in self._servers.values())
            if sum(server.presence.usable for server in self._servers.values()) > 1:
                self._schedule(QUICK_S if quick else self._lacks.pace_s)

    async def _survey(self) -> None:
        now = self._clock.seconds()
        asked = [b for b, server in self._servers.items() if server.presence.usable and server.due <= now]
        known = [self._observed[b].facts.jobs for b in asked]
        windows = windows_for(known)
        readings = await of_each(lambda backend: Deferred.fromCoroutine(self._job_counts(backend, windows)), asked, self._clock)
        self._conclude(dict(zip(asked, readings, strict=True)))

    async def _job_counts(self, backend: Backend, windows: tuple[Window, ...]) -> JobCounts | None:
        """Return the targets of a server by job; None if a query fails."""
        began = self._clock.seconds()
        found: dict[str, TargetCounts] = {}
        parsed: JobCounts | None = found
        for window in windows:
            part = read(await self._ask(backend, window.path(self._selector)))
            if part is None:
                parsed = None
                break
            found.update(part)
        self._counted(backend.name, "failed" if parsed is None else "ok", self._clock.seconds() - began)
        return parsed

    def _conclude(self, readings: dict[Backend, JobCounts | None]) -> None:
        surveyed: dict[Backend, Surveyed] = {}
        for backend, reading in readings.items():
            server = self._servers.get(backend)
            if server is None or not server.presence.usable:
                continue
            self._note(server, backend, reading)
            surveyed[backend] = Surveyed(reading, self._observed[backend].facts, server.presence.back_at)
        answered = {backend for backend, each in surveyed.items() if each.parsed is not None}
        before = dict(self._found)
        if len(answered) > 1:
            found = self._lacks.update(surveyed, self._wall())
            self._found = {b: lack for b, lack in before.items() if b not in readings} | found
            self._missing = {b: each for b, each in self._missing.items() if b not in readings} | self._lacks.missing
            self._knowledge.surveyed(self._lacks.jobs)
        else:
            self._lacks.undecided = False
            # With nothing to compare it with, a server keeps its lack only if it still has no target.
            for backend in [b for b in before if b in readings and not _has_no_target(readings[b])]:
                self._not_compared(backend)
        if self._found != before:
            self._lack_log.report(before, self._found, answered if len(answered) > 1 else set())
            self._changed([b for b, server in self._servers.items() if server.reported != self._found.get(b)])
        self._tell()

    def _not_compared(self, backend: Backend) -> None:
        """Drop the lack of a server that is not compared with another one at the moment."""
        del self._found[backend]
        self._missing.pop(backend, None)
        self._lacks.interrupted(backend, self._wall())

    def _tell(self) -> None:
        """Report what each server lacks at the moment, by the clock of that server."""
        now = self._wall()
        for backend in self._servers:
            lack, skew = self._found.get(backend), self._observed[backend].facts.skew or 0.0
            missing = NOTHING if lack is None else self._missing.get(backend, NOTHING)
            if lack is not None and lack.stopped and not missing:
                missing = Missing(Intervals.of([(lack.since, math.inf)]))
            self._knowledge.sees(backend, missing.shift(skew) if missing else NOTHING, now + skew)
        self._learned()

    def _note(self, server: _Server, backend: Backend, parsed: JobCounts | None) -> None:
        """Record whether the query of a server succeeded, and when it is queried next."""
        if parsed is not None:
            server.failures, server.surveyed = 0, True
            return
        server.failures += 1
        pause = min(PAUSE_MOST_S, SURVEYED_S * 2.0 ** min(server.failures - 1, 10))
        server.due = self._clock.seconds() + pause
        if server.failures == 1:
            text = "no usable response of {backend} to the query for its newest data: mpp assumes that it lacks nothing"
            _log.info(text + "; next query in {pause:g} s", backend=backend.name, pause=pause)


def _has_no_target(reading: JobCounts | None) -> bool:
    return reading is not None and not any(counts.up for counts in reading.values())
