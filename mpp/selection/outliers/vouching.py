"""
When a backend takes traffic although its probe is refused: requests vouch for it. Pure, like `mpp.selection.outliers.ejection`,
whose records it changes; it knows neither who reports what nor who acts on it.

# Note [Vouching]

Probes and requests may disagree: a gateway lets the clients through and answers 403 to the probe, while the one server whose
probes are good fails everything else. As long as only probes decide, the failing server is the last one in service, so nothing
ejects it, and each request is a retry until the retry budget is used up. Therefore requests count, too:

- When `RESCUES` requests in a row failed on one backend and were answered by another one that is out of service, the other one
  is put in service, and the failing one is ejected if its failures are soft (hard ones eject it anyway).
- Only if the other one's probe was *refused*: answered over HTTP, by whatever is not a 5xx. A 401, 403 or 404 shows that
  something is there. A refused connection, a time-out or a 503 of ``/-/ready`` says that nothing is there, or will soon be gone:
  that stands. What a locator holds not to be ready may be vouched for as well, as long as its probes are good or refused.
- What counts as an answer is judged by `mpp.proxy.decisions.retry_policy.is_proof`: a page to log in, or a 404 for everything,
  vouches for nothing.

It stays in service while the probe is refused as before and requests do not fail on it. When other backends have been in service
for `ejection.FORGIVEN_AFTER_S`, it is out again as its probe says. That is long enough that a server which comes back, fails
again and goes does not have it come and go as well; how often that one may come back is in Note [Flapping] of
`mpp.selection.outliers.ejection`.
"""

from __future__ import annotations

from attrs import evolve

from mpp.core.model import Observation, Standing
from mpp.selection.outliers import ejection
from mpp.selection.outliers.ejection import FOLLOW_UP_S, FORGIVEN_AFTER_S, SOFT_FAILURES, Absence, BackendRecord

RESCUES = SOFT_FAILURES


def rescued(record: BackendRecord, now: float) -> BackendRecord:
    """Note that a request which failed on this backend was answered by one that is out of service."""
    in_time = now - record.rescued_at <= FORGIVEN_AFTER_S
    return evolve(record, rescues=record.rescues + 1 if in_time else 1, rescued_at=now)


def may_be_vouched_for(record: BackendRecord) -> bool:
    """Return whether nothing but a refused probe, or a locator, keeps this backend out of service."""
    return record.absence is None or record.absence.refused


def vouched_for(record: BackendRecord, now: float) -> BackendRecord:
    """Put a backend in service on the word of requests."""
    returns = record.returns + (record.absence is not None)
    return evolve(record, vouched_at=now, returned_at=now, returns=returns, due=None, absence=None)


def gave_way(record: BackendRecord, name: str, now: float) -> BackendRecord:
    """
    Eject the backend whose requests were answered by another one, if enough of them failed softly.

    :param name: the other backend's, for the reason.
    """
    failures, record = record.failures, evolve(record, rescues=0)
    if record.absence is not None or failures < SOFT_FAILURES:
        return record
    why = f"{failures} requests in a row failed, and {name} answered them"
    return ejection.eject(record, Standing.SUSPECT, why, now)


def observed(
    record: BackendRecord, standing: Standing, why: str, now: float, *, refused: bool, spare: bool
) -> BackendRecord | None:
    """
    Note the outcome of a probe of a backend that requests may vouch for.

    :param refused: the probe was refused, or a locator holds the backend not to be ready.
    :param spare: another backend is in service.
    :return: None if the probe is to be judged as any other, see `mpp.selection.outliers.ejection.observed`.
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
    return evolve(observation, standing=Standing.VIABLE, why=f"it answers requests, but not its probe: {observation.why}")
