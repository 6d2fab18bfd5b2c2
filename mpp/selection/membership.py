"""
The membership: which backends are in service (take traffic, or could), and which are out of service. It keeps one record per
known backend (`mpp.selection.outliers.ejection`), and reports each ejection and return to the log, the event log and the metrics.
It does not know addresses, probes or the choice of a strategy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IReactorTime
from txaio.tx import make_logger

from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, Observation, Standing
from mpp.selection.event_log import EventLog
from mpp.selection.outliers import ejection, vouching
from mpp.selection.outliers.record import BackendRecord

_log = make_logger()

_NEW = BackendRecord()
# The part of a log message that gives the reason, if there is one.
_WHY = {False: "", True: ": {why}"}


class Membership:
    """
    The service records of all known backends.

    :param clock: a monotonic clock for the records.
    :param wall: returns the time of day, for what is published.
    :ivar failing: the backends whose record changes when a request succeeds: since the last successful one, requests on them
        failed, or a rate limiter in front of them may have rejected their probe. Mostly empty.
    """

    def __init__(self, clock: IReactorTime, wall: Callable[[], float], metrics: Metrics, event_log: EventLog) -> None:
        self.failing: set[Backend] = set()
        self._clock = clock
        self._wall = wall
        self._metrics = metrics
        self._event_log = event_log
        self._records: dict[Backend, BackendRecord] = {}
        self._in_service: set[Backend] = set()
        self._due: dict[Backend, float] = {}
        self._latest: dict[Backend, float] = {}
        self._ejected_at: dict[Backend, float] = {}
        self._reported: dict[Backend, Standing] = {}

    @property
    def due(self) -> Mapping[Backend, float]:
        """The times, by the monotonic clock, of the probes that cannot wait for the next round, by backend; a live view."""
        return self._due

    @property
    def latest(self) -> Mapping[Backend, float]:
        """The latest start of each probe in ``due``: the longer a backend has been out of service, the more it may be delayed."""
        return self._latest

    def failed(self, backend: Backend, standing: Standing, why: str) -> None:
        """Record that a request failed because of a backend; `mpp.selection.outliers.ejection.failed` decides what follows."""
        before, now = self._records.get(backend, _NEW), self._clock.seconds()
        spare = self._spare(backend) or self._probe_is_awaited()
        self._put(backend, before, ejection.failed(before, standing, why, now, spare=spare))

    def answered(self, backend: Backend) -> None:
        """Record that a request succeeded on a backend. This changes only the records of the backends in ``failing``."""
        for failing in tuple(self.failing):
            before = self._records[failing]
            after = ejection.answered(before) if failing == backend else ejection.other_answered(before)
            self._put(failing, before, after)

    def rescued(self, failed: Backend, by: Backend, why: str) -> None:
        """
        Record that a request failed on one backend and succeeded on another one that is out of service, see
        `mpp.selection.outliers.vouching`.

        :param why: the published reason why ``by`` is out of service.
        """
        now, helper = self._clock.seconds(), self._records.get(by, _NEW)
        if not vouching.may_be_vouched_for(helper):
            return
        before = self._records.get(failed, _NEW)
        after = vouching.rescued(before, now)
        self._put(failed, before, after)
        if after.rescues >= vouching.RESCUES:
            self._put(by, helper, vouching.vouched_for(helper, now))
            self._log_vouching(failed, by, why, after.rescues)
            self._put(failed, after, vouching.gave_way(after, by.name, now))

    def vouches(self, backend: Backend) -> bool:
        """Return whether a backend is in service only because requests succeed on it, against its probe or its locator."""
        record = self._records.get(backend, _NEW)
        return record.vouched_at is not None and record.absence is None

    def reports(self, backend: Backend) -> int:
        """Return how many requests of a backend have failed so far; `observed` needs this number from the start of a probe."""
        return self._records.get(backend, _NEW).reports

    def observed(self, observation: Observation, reports: int, *, held: bool = False) -> None:
        """
        Record the result of a probe, see `mpp.selection.outliers.ejection.observed`.

        :param reports: the result of `reports` when the probe started.
        :param held: whether a locator reports the backend as not ready.
        """
        backend, standing = observation.backend, observation.standing
        if standing is not Standing.VIABLE:
            self._metrics.probe_errors.inc(backend.name, standing.name.lower())
        before, now, spare = self._records.get(backend, _NEW), self._clock.seconds(), self._spare(backend)
        why, refused = observation.why, observation.refused
        after = vouching.observed(before, standing, why, now, refused=refused or held, spare=spare)
        if after is None:
            away = observation.turned_away
            after = ejection.observed(before, standing, why, now, reports=reports, spare=spare, refused=refused, turned_away=away)
        self._put(backend, before, after)

    def shown(self, observation: Observation) -> Observation:
        """Return an observation as it is published: corrected if requests put it out of service, or into it."""
        backend = observation.backend
        record = self._records.get(backend, _NEW)
        return vouching.shown(record, ejection.shown(record, observation, self._ejected_at.get(backend, 0.0)))

    def forget(self, backend: Backend) -> None:
        """Forget everything about a backend; when it is listed again, it counts as new."""
        for records in (self._records, self._due, self._latest, self._ejected_at, self._reported):
            records.pop(backend, None)
        self.failing.discard(backend)
        self._in_service.discard(backend)

    def _spare(self, backend: Backend) -> bool:
        """Return whether another backend is in service."""
        return len(self._in_service) > (backend in self._in_service)

    def _probe_is_awaited(self) -> bool:
        """Return whether a healthy backend is kept out only because it flapped: it can take over at once."""
        return any(ejection.is_proven(self._records[backend]) for backend in self._ejected_at)

    def _put(self, backend: Backend, before: BackendRecord, after: BackendRecord) -> None:
        if after is before:
            return
        self._records[backend] = after
        if after.due is None:
            self._due.pop(backend, None)
            self._latest.pop(backend, None)
        else:
            self._due[backend], self._latest[backend] = after.due, _latest_probe(after, after.due)
        _keep(self.failing, backend, after.failures > 0 or after.rescues > 0 or after.limiting.refused_at is not None)
        _keep(self._in_service, backend, after.in_service)
        if after.ejected and not before.ejected:
            self._log_ejection(backend, after)
            self._hurry()
        elif before.ejected and not after.ejected:
            self._log_return(backend, before)

    def _hurry(self) -> None:
        """Probe every backend at once when the last backend in service is lost: one may be healthy but delayed."""
        if not self._in_service:
            now = self._clock.seconds()
            self._due.update(dict.fromkeys(self._due, now))
            self._latest.update((backend, _latest_probe(self._records[backend], now)) for backend in self._due)

    def _log_ejection(self, backend: Backend, record: BackendRecord) -> None:
        absence = record.absence
        assert absence is not None
        self._ejected_at[backend] = self._wall()
        self._reported[backend] = absence.standing
        standing = absence.standing.name.lower()
        self._metrics.ejections.inc(backend.name, "failures" if absence.standing is Standing.SUSPECT else standing)
        away = absence.until - absence.since
        at_least = f" (for {away:g} s at least)" if away > 0 else ""
        text = (
            "{backend} is ejected, {standing}" + _WHY[bool(absence.why)] + (" (for {at_least:g} s at least)" if away > 0 else "")
        )
        _log.warn(text, backend=backend.name, standing=standing, why=absence.why, at_least=away if away > 0 else None)
        why = f": {absence.why}" if absence.why else ""
        self._event_log.record("ejection", f"{backend.name} is ejected, {standing.replace('_', ' ')}{why}{at_least}")

    def _log_return(self, backend: Backend, before: BackendRecord) -> None:
        assert before.absence is not None
        self._ejected_at.pop(backend, None)
        self._reported[backend] = Standing.VIABLE
        self._metrics.readmissions.inc(backend.name)
        away = self._clock.seconds() - before.absence.since
        text = "{backend} is back after {away:.1f} s"
        _log.info(text, backend=backend.name, away=away, log_same=f"{backend.name} is back")
        self._event_log.record("return", f"{backend.name} is back after {away:.1f} s")

    def _log_vouching(self, failed: Backend, by: Backend, why: str, requests: int) -> None:
        self._reported[by] = Standing.VIABLE
        _log.warn(
            "{backend} is in service although it refuses mpp's probe ({why}): {requests} requests in a row failed on {failed}"
            " and succeeded on {backend}",
            backend=by.name,
            requests=requests,
            failed=failed.name,
            why=why,
        )
        text = f"{by.name} is in service although it refuses mpp's probe: {requests} requests had failed on {failed.name}"
        self._event_log.record("return", text)

    def log_standing(self, observation: Observation) -> None:
        """Log a changed state (viable, busy, suspect, not ready, down) of a backend, unless its ejection or return was logged."""
        backend, standing, before = observation.backend, observation.standing, self._reported.get(observation.backend)
        # On its way back it is suspect for a moment, which is not worth a message.
        if standing == before or (standing is Standing.SUSPECT and self._records.get(backend, _NEW).absence is not None):
            return
        self._reported[backend] = standing
        # A server that is first seen not ready may just be starting; one that cannot be reached ought to be there.
        worse = not observation.leaving and (standing is Standing.DOWN if before is None else standing > before)
        write = _log.warn if observation.is_self or worse else _log.info
        text = "{backend} is {standing}" + _WHY[bool(observation.why)]
        # The standing may alternate with each round, or with each request that fails.
        same = f"{backend.name} is {standing.name}: {observation.why}"
        write(text, backend=backend.name, standing=standing.name.lower(), why=observation.why, log_same=same)


def _keep(members: set[Backend], backend: Backend, belongs: bool) -> None:
    if belongs:
        members.add(backend)
    else:
        members.discard(backend)


def _latest_probe(record: BackendRecord, due: float) -> float:
    """Return when a due probe should begin at the latest: one more distance of Note [Follow-ups] later."""
    return due if record.absence is None else due + (due - record.absence.since) * ejection.FOLLOW_UP_SHARE
