"""
Outlier ejection: the decisions when a backend is taken out of service, and when it returns. Pure: it knows one backend, by its
requests and probes, and the time as an argument; it knows neither the other backends nor the effect of its decisions.

::

    in ── a request failed softly: counted ── three in a row while another backend succeeds ──> out
     │      a request succeeded: the count is reset
     │      a request was turned away: probed at once, see `mpp.selection.outliers.limiting`
     └─── a request failed hard, or a probe finds it not ready or down ─────────────────────> out
    out ── a good probe that started after all failures were reported: counted
     │       any failure: the count is reset
     └─── enough good probes, and out for long enough, or no other backend is in ───────────> in

# Note [Enough good probes]

A probe may correct what the server itself reported to a probe: a server that reported that it was not ready (it started, or
replayed its WAL) is in again when it reports that it is ready. Other failures (a request failed, a probe got no response) need
`GOOD_PROBES` good probes in a row, because one good response is as likely to be luck as the bad one was.

# Note [Follow-ups]

A backend that is out is probed again after `FOLLOW_UP_S`, then at growing distances, a quarter of the time that it has been out:
so its return is noticed late by no more than that share of its outage, and a server that is down for hours costs next to nothing
(each round probes it anyway, which postpones its next follow-up). After a good probe the next one follows at once.

# Note [Flapping]

The first time, a backend returns as soon as possible. When it is ejected again soon, it stays out for a second at least, then for
two, four, and so on: each return costs some requests a second attempt, so there must not be many returns. For each
`FORGIVEN_AFTER_S` without ejection, one ejection is forgotten. When no other backend is in service it does not have to wait; and
a backend that fails requests meanwhile is ejected, for it is then not the last one.
"""

from __future__ import annotations

from attrs import evolve

from mpp.core.model import Observation, Standing
from mpp.selection.outliers import limiting
from mpp.selection.outliers.record import GOOD_PROBES, Absence, BackendRecord

# One failure may be chance, two the same chance on two connections at once. A request is tried on another backend as soon
# as it fails, so waiting for the third costs no client more than a retry.
SOFT_FAILURES = 3
FOLLOW_UP_S = 0.25
FOLLOW_UP_SHARE = 0.25
_BASE_EJECTION_S = 1.0
# Long enough that three failed requests per return are noise, short enough for the operator of a repaired server.
MAX_EJECTION_S = 60.0
# Twice the longest ejection, so that being out does not count as good behavior for a server at that limit.
FORGIVEN_AFTER_S = 120.0


def failed(record: BackendRecord, standing: Standing, why: str, now: float, *, spare: bool) -> BackendRecord:
    """
    Return the record after a request failed through the backend's fault.

    A *hard* failure (the backend cannot be reached, or reports that it is not ready) ejects the backend at once. *Soft* failures
    (a response that is late, malformed or incomplete) eject it after `SOFT_FAILURES` in a row, if requests succeed on another
    backend meanwhile: otherwise the requests may be the cause.

    :param standing: ``SUSPECT`` for a soft failure, anything worse for a hard one. ``BUSY`` means that the request was rejected
        by something in front of the backend, see `mpp.selection.outliers.limiting`, and ``VIABLE`` that there is another reason
        to probe the backend soon: neither counts as a failure.
    :param spare: whether another backend is in service, or could be; soft failures never eject the last backend.
    """
    if standing < Standing.SUSPECT:
        return _turned_away(record, standing, now)
    record = evolve(record, reports=record.reports + 1)
    if record.absence is not None:
        return evolve(record, absence=_worsened(record.absence, standing, why))
    if standing > Standing.SUSPECT:
        return eject(record, standing, why, now)
    if record.failures and now - record.failed_at <= FORGIVEN_AFTER_S:
        record = evolve(record, failures=record.failures + 1, failed_at=now)
    else:
        record = evolve(record, failures=1, failed_at=now, others_answered=False)
    if record.failures >= SOFT_FAILURES and record.others_answered and spare:
        return eject(record, Standing.SUSPECT, f"{record.failures} requests in a row failed, the last: {why}", now)
    return record if record.due is not None else evolve(record, due=now + FOLLOW_UP_S)


def answered(record: BackendRecord) -> BackendRecord:
    """Return the record after a request succeeded on this backend."""
    if record.limiting.refused_at is not None:
        record = evolve(record, limiting=limiting.answered(record.limiting))
    return evolve(record, failures=0, others_answered=False, rescues=0) if record.failures or record.rescues else record


def other_answered(record: BackendRecord) -> BackendRecord:
    """Return the record after a request succeeded on another backend; it matters if requests fail on this one."""
    return record if record.others_answered or not record.failures else evolve(record, others_answered=True)


def observed(
    record: BackendRecord,
    standing: Standing,
    why: str,
    now: float,
    *,
    reports: int,
    spare: bool,
    refused: bool = False,
    turned_away: bool = False,
) -> BackendRecord:
    """
    Return the record after a probe.

    :param reports: the record's ``reports`` when the probe started: if requests have failed since, a good probe does not count.
    :param spare: whether another backend is in service; if none is, a healthy backend returns without delay.
    :param refused: whether the probe was rejected by a response that shows that a server is there, such as a 403.
    :param turned_away: whether a limiter may have rejected the probe, see `mpp.selection.outliers.limiting`.
    """
    if record.admitted and record.absence is None:
        before = record.limiting
        after = limiting.probed(before, now, turned_away=turned_away, good=standing < Standing.SUSPECT)
        record = record if after is before else evolve(record, limiting=after)
        if after.doubted:
            return evolve(record, due=now + FOLLOW_UP_S if limiting.ask_again(before) else None)
    if standing > Standing.SUSPECT:
        return _found_bad(record, standing, why, now, refused)
    good, news = standing < Standing.SUSPECT, reports == record.reports
    if record.absence is None:
        if good and record.vouched_at is not None:
            record = evolve(record, admitted=True, vouched_at=None)
        due = None if news or record.due is None else now + FOLLOW_UP_S
        settled = due == record.due and (record.admitted or not good)
        return record if settled else evolve(record, admitted=record.admitted or good, due=due)
    if good and news:
        return _found_good(record, record.absence, now, spare)
    absence = record.absence if good else _worsened(record.absence, standing, why)
    return evolve(record, absence=absence, due=_next_probe(absence, now))


def is_proven(record: BackendRecord) -> bool:
    """Return whether a backend has had enough good probes, and is out only because it was ejected often (Note [Flapping])."""
    return record.absence is not None and record.absence.good >= record.absence.needs


def _turned_away(record: BackendRecord, standing: Standing, now: float) -> BackendRecord:
    if record.absence is not None:
        # It is on probation anyway.
        return record
    after, due = limiting.ask(record.limiting, now, turned_away=standing is Standing.BUSY)
    return evolve(record, limiting=after, due=due if record.due is None else min(record.due, due))


def _found_bad(record: BackendRecord, standing: Standing, why: str, now: float, refused: bool) -> BackendRecord:
    needs = 1 if standing is Standing.NOT_READY else GOOD_PROBES
    if record.absence is not None:
        absence = evolve(record.absence, standing=standing, why=why, needs=needs, good=0, refused=refused)
        return evolve(record, absence=absence, due=_next_probe(absence, now))
    if record.admitted:
        return eject(record, standing, why, now, needs, refused)
    absence = Absence(now, now, standing, why, needs, refused=refused)
    return evolve(record, failures=0, others_answered=False, vouched_at=None, due=now + FOLLOW_UP_S, absence=absence)


def _found_good(record: BackendRecord, absence: Absence, now: float, spare: bool) -> BackendRecord:
    absence = evolve(absence, standing=Standing.SUSPECT, good=absence.good + 1)
    if absence.good >= absence.needs and (now >= absence.until or not spare):
        return evolve(record, admitted=True, returned_at=now, returns=record.returns + 1, due=None, absence=None)
    return evolve(record, absence=absence, due=_next_probe(absence, now))


def _worsened(absence: Absence, standing: Standing, why: str) -> Absence:
    if standing > absence.standing:
        absence = evolve(absence, standing=standing, why=why, refused=False)
    return evolve(absence, needs=GOOD_PROBES, good=0)


def eject(
    record: BackendRecord, standing: Standing, why: str, now: float, needs: int = GOOD_PROBES, refused: bool = False
) -> BackendRecord:
    """Return the record of a backend after it is ejected now. The other parameters are described at `Absence`."""
    forgiven = int((now - record.returned_at) // FORGIVEN_AFTER_S)
    ejections = max(0, record.ejections - forgiven) + 1
    return evolve(
        record,
        admitted=True,
        failures=0,
        others_answered=False,
        ejections=ejections,
        due=now + FOLLOW_UP_S,
        vouched_at=None,
        absence=Absence(now, now + ejection_time(ejections), standing, why, needs, refused=refused),
    )


def ejection_time(ejections: int) -> float:
    """Return how many seconds an ejection lasts at least if it is the n-th recent one (Note [Flapping]); n is ``ejections``."""
    # The exponent is bounded: a float overflows after a thousand ejections.
    return 0.0 if ejections <= 1 else min(MAX_EJECTION_S, _BASE_EJECTION_S * 2.0 ** min(ejections - 2, 10))


def _next_probe(absence: Absence, now: float) -> float:
    """Return the time of the next probe after one that ends now, see Note [Follow-ups]."""
    if absence.good >= absence.needs:
        return max(absence.until, now)
    if absence.good:
        return now + FOLLOW_UP_S
    return now + max(FOLLOW_UP_S, (now - absence.since) * FOLLOW_UP_SHARE)


def shown(record: BackendRecord, observation: Observation, ejected_at: float) -> Observation:
    """
    Return an observation as it is published: out of service if the record says so, even after a good probe.

    :param ejected_at: time of day of the ejection, in seconds since the epoch.
    """
    absence = record.absence
    if observation.returns != record.returns:
        observation = evolve(observation, returns=record.returns)
    if absence is None:
        if observation.ejected_at or observation.limited != record.limiting.limited:
            observation = evolve(observation, ejected_at=0.0, limited=record.limiting.limited)
        # A backend whose probe is doubted stays as it was, until it has been probed once more.
        doubted = record.limiting.doubted and observation.turned_away
        return evolve(observation, standing=Standing.VIABLE, why="") if doubted else observation
    return evolve(
        observation,
        standing=absence.standing,
        why=_why(absence, record.ejections),
        ejected_at=ejected_at if record.admitted else 0.0,
    )


def _why(absence: Absence, ejections: int) -> str:
    if not absence.good:
        return absence.why
    if absence.good < absence.needs:
        return f"{absence.good} of {absence.needs} good probes since: {absence.why}"
    return f"healthy again, but ejected {ejections} times lately, so its return is delayed: {absence.why}"
