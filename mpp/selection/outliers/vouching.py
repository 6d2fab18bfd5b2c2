"""
The decision when a backend takes traffic although its probe is rejected, because requests to it succeed (they *vouch* for it).
Pure, like `mpp.selection.outliers.ejection`, whose records it changes; it knows neither the source nor the effect of reports.

# Note [Vouching]

Probes and requests may disagree: a gateway lets the clients through and sends the probe a 403, while the one server whose
probes are good fails everything else. As long as only probes decide, the failing server is the last one in service, so it is not
ejected, and each request is a retry until the retry budget is exhausted. Therefore requests count, too:

- When `RESCUES` requests in a row failed on one backend and succeeded on another one that is out of service, the other one is put
  in service, and the failing one is ejected if its failures are soft (hard ones eject it anyway).
- Only if the other one's probe was *refused*: it got a response over HTTP that is not a 5xx. A 401, 403 or 404 proves that a
  server is there. A refused connection, a time-out or a 503 of ``/-/ready`` shows that no server is there, or not for
  long: that counts. Requests may vouch as well for a backend that a locator reports as not ready, while its
  probes are good or refused.
- `mpp.proxy.decisions.retry_policy.is_proof` decides which responses count: a login page, or a 404 for everything, vouches for
  nothing.

It stays in service while the probe is refused as before and requests to it do not fail. When other backends have been in service
for `ejection.FORGIVEN_AFTER_S`, it goes out of service as its probe demands. That is long enough that a flapping server does not
make the vouched one flap as well; how often a server may return is in Note [Flapping] of `mpp.selection.outliers.ejection`.
"""

from __future__ import annotations

from attrs import evolve

from mpp.core.model import Observation, Standing
from mpp.selection.outliers import ejection
from mpp.selection.outliers.ejection import FOLLOW_UP_S, FORGIVEN_AFTER_S, SOFT_FAILURES
from mpp.selection.outliers.record import Absence, BackendRecord

RESCUES = SOFT_FAILURES


def rescued(record: BackendRecord, now: float) -> BackendRecord:
    """Return the record after a request failed on this backend and succeeded on one that is out of service."""
    in_time = now - record.rescued_at <= FORGIVEN_AFTER_S
    return evolve(record, rescues=record.rescues + 1 if in_time else 1, rescued_at=now)


def may_be_vouched_for(record: BackendRecord) -> bool:
    """Return whether requests may put this backend in service: only a rejected probe or a locator keeps it out of service."""
    return record.absence is None or record.absence.refused


def vouched_for(record: BackendRecord, now: float) -> BackendRecord:
    """Return the record of a backend that is put in service because of its successful requests."""
    returns = record.returns + (record.absence is not None)
    return evolve(record, vouched_at=now, returned_at=now, returns=returns, due=None, absence=None)


def gave_way(record: BackendRecord, name: str, now: float) -> BackendRecord:
    """
    Return the record of a failing backend after another one was put in service because it answered the failed requests.

    The failing one is ejected if `SOFT_FAILURES` requests in a row, or more, failed softly on it (late, malformed or incomplete
    responses). If it could not be reached, it has been ejected before. Its ``rescues`` are counted from 0 again.

    :param name: the name of the other backend, for the reason.
    """
    failures, record = record.failures, evolve(record, rescues=0)
    if record.absence is not None or failures < SOFT_FAILURES:
        return record
    why = f"{failures} requests in a row failed, and succeeded on {name}"
    return ejection.eject(record, Standing.SUSPECT, why, now)


def observed(
    record: BackendRecord, standing: Standing, why: str, now: float, *, refused: bool, spare: bool
) -> BackendRecord | None:
    """
    Return the record after a probe of a backend that may be in service only because requests succeed on it.

    :param refused: whether the probe was rejected by a response that shows that a server is there (such as a 403), or a locator
        reports the backend as not ready.
    :param spare: whether another backend is in service.
    :return: the new record; None if the probe must be judged like any other, see `mpp.selection.outliers.ejection.observed`.
    """
    if record.vouched_at is None or record.absence is not None or not refused or standing > Standing.NOT_READY:
        return None
    if not spare:
        return evolve(record, vouched_at=now, due=None)
    if now - record.vouched_at < FORGIVEN_AFTER_S:
        return evolve(record, due=None)
    if standing < Standing.NOT_READY:
        return evolve(record, vouched_at=None, due=None)
    absence = Absence(now, now, standing, why, needs=1, refused=True)
    return evolve(record, vouched_at=None, failures=0, others_answered=False, rescues=0, due=now + FOLLOW_UP_S, absence=absence)


def shown(record: BackendRecord, observation: Observation) -> Observation:
    """Return an observation as it is published: viable, with the reason, if requests vouch for the backend."""
    if record.vouched_at is None or record.absence is not None or observation.standing < Standing.NOT_READY:
        return observation
    return evolve(observation, standing=Standing.VIABLE, why=f"it responds to requests, but not to its probe: {observation.why}")
