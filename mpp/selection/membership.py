"""
Who is in service and who is out. Keeps what `mpp.selection.outliers.ejection` remembers of each known backend, tells the log,
the journal and the metrics of every ejection and return, and knows nobody's address book, probes or choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IReactorTime
from txaio.tx import make_logger

from mpp.core.metrics import Metrics
from mpp.core.model import Backend, Observation, Standing
from mpp.selection.event_log import EventLog
from mpp.selection.outliers import ejection, vouching
from mpp.selection.outliers.ejection import BackendRecord

_log = make_logger()

_NEW = BackendRecord()
# What a message says of the reason, if there is one.
_WHY = {False: "", True: ": {why}"}


class Membership:
    """
    The records of all known backends.

    :param clock: for what is remembered, monotonic.
    :param wall: the time of day, for what is published.
    :ivar failing: backends of which it matters whether they answer: the last request failed on them, in service or while requests
        vouch for another, or a probe was turned away; mostly empty.
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
        """When (by the clock) backends are to be probed that cannot wait for a round; changes as they do."""
        return self._due

    @property
    def latest(self) -> Mapping[Backend, float]:
        """When (by the clock) those of ``due`` are to be probed at the latest: soon, if they are out for a short time only."""
        return self._latest

    def failed(self, backend: Backend, standing: Standing, why: str) -> None:
        """Note a request that failed, see `mpp.selection.outliers.ejection.failed`."""
        before, now = self._records.get(backend, _NEW), self._clock.seconds()
        spare = self._spare(backend) or self._probe_is_awaited()
        self._put(backend, before, ejection.failed(before, standing, why, now, spare=spare))

    def answered(self, backend: Backend) -> None:
        """Note that a request was answered. Of interest only while somebody is ``failing``."""
        for failing in tuple(self.failing):
            before = self._records[failing]
            after = ejection.answered(before) if failing == backend else ejection.other_answered(before)
            self._put(failing, before, after)

    def rescued(self, failed: Backend, by: Backend, why: str) -> None:
        """
        Note that a request failed on one backend and was answered by another that is out of service, see
        `mpp.selection.outliers.vouching`.

        :param why: what is published of the other one.
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
        """Return whether a backend is in service on the word of requests."""
        record = self._records.get(backend, _NEW)
        return record.vouched_at is not None and record.absence is None

    def reports(self, backend: Backend) -> int:
        """Give what a probe that begins now has to know, see `mpp.selection.outliers.ejection.observed`."""
        return self._records.get(backend, _NEW).reports

    def observed(self, observation: Observation, reports: int, *, held: bool = False) -> None:
        """
        Note what a probe saw, see `mpp.selection.outliers.ejection.observed`.

        :param held: a locator holds the backend not to be ready.
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
        """Give an observation as it is published."""
        backend = observation.backend
        record = self._records.get(backend, _NEW)
        return vouching.shown(record, ejection.shown(record, observation, self._ejected_at.get(backend, 0.0)))

    def forget(self, backend: Backend) -> None:
        """Forget all of a backend: when it is listed again, it is a new one."""
        for records in (self._records, self._due, self._latest, self._ejected_at, self._reported):
            records.pop(backend, None)
        self.failing.discard(backend)
        self._in_service.discard(backend)

    def _spare(self, backend: Backend) -> bool:
        """Tell whether another one is in service."""
        return len(self._in_service) > (backend in self._in_service)

    def _probe_is_awaited(self) -> bool:
        """Tell whether somebody who is well is kept out for having come and gone too often: he can take over at once."""
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
        """When nobody is in service any more, have everyone probed at once: somebody may be well, and only made to wait."""
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
            "{backend} takes traffic although its probe is refused: it answered {requests} requests in a row that had failed on"
            " {failed} ({why})",
            backend=by.name,
            requests=requests,
            failed=failed.name,
            why=why,
        )
        text = f"{by.name} takes traffic although its probe is refused: {requests} requests had failed on {failed.name}"
        self._event_log.record("return", text)

    def log_standing(self, observation: Observation) -> None:
        """Log the standing of a backend if it has changed, and is not told by its ejection or return."""
        backend, standing, before = observation.backend, observation.standing, self._reported.get(observation.backend)
        # On its way back it is suspect for a moment, which is no news.
        if standing == before or (standing is Standing.SUSPECT and self._records.get(backend, _NEW).absence is not None):
            return
        self._reported[backend] = standing
        # A server that is found not to be ready may just be starting; one that cannot be reached ought to be there.
        worse = not observation.leaving and (standing is Standing.DOWN if before is None else standing > before)
        tell = _log.warn if observation.is_self or worse else _log.info
        text = "{backend} is {standing}" + _WHY[bool(observation.why)]
        # It may come and go with each round, or with each request that fails.
        same = f"{backend.name} is {standing.name}: {observation.why}"
        tell(text, backend=backend.name, standing=standing.name.lower(), why=observation.why, log_same=same)


def _keep(those: set[Backend], backend: Backend, belongs: bool) -> None:
    if belongs:
        those.add(backend)
    else:
        those.discard(backend)


def _latest_probe(record: BackendRecord, due: float) -> float:
    """Return when a probe that is due should begin at the latest: as Note [Follow-ups] has it for one more distance."""
    return due if record.absence is None else due + (due - record.absence.since) * ejection.FOLLOW_UP_SHARE
