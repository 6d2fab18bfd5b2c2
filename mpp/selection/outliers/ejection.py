"""
When a backend is taken out of service, and when it is back. Pure: it knows one backend, by what requests and probes say of
it, and is told the time; it knows neither the other backends nor who acts on what it says.

::

    in ── a request failed softly: counted ── three in a row while another backend answers ──> out
     │      answered: the count is forgotten
     │      turned away: probed at once, see `mpp.selection.outliers.limiting`
     └─── a request failed hard, or a probe finds it not ready or down ──────────────────────> out
    out ── a good probe that began after all that was reported: counted
     │       anything bad: the count is forgotten
     └─── enough good probes, and out for long enough, or nobody else is in ─────────────────> in

# Note [Enough good probes]

What a server itself said to a probe, a probe may take back: a server that said it was not ready (it started, or replayed
its WAL) is in again when it says that it is ready. What was seen otherwise (a request failed, a probe got no answer) needs
`GOOD_PROBES` witnesses in a row, because one good answer is as likely to be luck as the bad one was.

# Note [Follow-ups]

A backend that is out is probed again after `FOLLOW_UP_S`, then at growing distances, a quarter of the time that it has been
out for: so its return is seen late by no more than that share of its outage, and a server that is down for hours costs
next to nothing (the rounds, which come anyway, put off its next follow-up). After a good probe the next one follows at once.

# Note [Flapping]

The first time a backend comes back as soon as it may. When it is out again soon, it stays out for a second at least, then
for two, four, and so on: each return costs some requests a second attempt, so there must not be many returns. For each
`FORGIVEN_AFTER_S` that it is well, one ejection is forgotten. When nobody else is in service it is not made to wait; and
whoever spoils requests meanwhile goes, for it is not the last one then.
"""

from __future__ import annotations

from attrs import evolve, frozen

from mpp.core.model import Observation, Standing
from mpp.selection.outliers import limiting
from mpp.selection.outliers.limiting import LimiterState

# One failure may be chance, two the same chance on two connections at once. A request is tried on another backend as soon
# as it fails, so waiting for the third costs nobody more than a detour.
SOFT_FAILURES = 3
GOOD_PROBES = 2
FOLLOW_UP_S = 0.25
FOLLOW_UP_SHARE = 0.25
_BASE_EJECTION_S = 1.0
# Long enough that three spoiled requests per return are noise, short enough for somebody who waits for a mended server.
MAX_EJECTION_S = 60.0
# Twice the longest time out, so that a server at that limit does not get better marks for having been out.
FORGIVEN_AFTER_S = 120.0


@frozen
class Absence:
    """
    Being out of service.

    :ivar since: when it began.
    :ivar until: before this no probe brings the backend back, see Note [Flapping].
    :ivar standing: what is known of it now: the worst since the last probe, ``SUSPECT`` after a good one.
    :ivar why: one line for a human.
    :ivar needs: how many good probes in a row bring it back, see Note [Enough good probes].
    :ivar good: how many there were.
    :ivar refused: nothing is known against it but that it refuses its probe, see `mpp.selection.outliers.vouching`.
    """

    since: float
    until: float
    standing: Standing
    why: str
    needs: int = GOOD_PROBES
    good: int = 0
    refused: bool = False


@frozen
class BackendRecord:
    """
    What is remembered of one backend. All times are those of one clock, of whatever origin.

    :ivar admitted: it has been in service: being out before that is no ejection.
    :ivar failures: requests that failed softly, without an answer in between.
    :ivar failed_at: when the last one of these failed.
    :ivar others_answered: another backend answered a request since the first of these.
    :ivar reports: failed requests of all kinds so far. A probe that began at another number is no news.
    :ivar ejections: how often it was ejected lately, see Note [Flapping].
    :ivar returned_at: when it last came back.
    :ivar returns: how often it came back, see `mpp.core.model.Observation`.
    :ivar due: when it is to be probed, if no round does it before; None when there is no hurry.
    :ivar rescues: requests in a row that failed here and were answered by a backend out of service, see
        `mpp.selection.outliers.vouching`.
    :ivar rescued_at: when the last one of these was answered.
    :ivar vouched_at: when requests were last known to be all that keeps it in service, see `mpp.selection.outliers.vouching`;
        None: probes do.
    :ivar absence: None while it is in service.
    :ivar limiting: what is known of requests that were turned away.
    """

    admitted: bool = False
    failures: int = 0
    failed_at: float = 0.0
    others_answered: bool = False
    reports: int = 0
    ejections: int = 0
    returned_at: float = 0.0
    returns: int = 0
    due: float | None = None
    rescues: int = 0
    rescued_at: float = 0.0
    vouched_at: float | None = None
    absence: Absence | None = None
    limiting: LimiterState = limiting.NOTHING

    @property
    def in_service(self) -> bool:
        """It takes traffic, or could."""
        return self.absence is None and (self.admitted or self.vouched_at is not None)

    @property
    def ejected(self) -> bool:
        """It was in service, and is out."""
        return self.absence is not None and self.admitted


def failed(record: BackendRecord, standing: Standing, why: str, now: float, *, spare: bool) -> BackendRecord:
    """
    Note a request that failed through the backend's fault.

    Soft evidence ejects only if another backend answers what this one does not: else the requests may be the fault.

    :param standing: ``SUSPECT`` is soft evidence, anything worse is hard. ``BUSY`` means that the request was turned away, see
        `mpp.selection.outliers.limiting`, and ``VIABLE`` that there is another reason to probe the backend soon: neither is
        counted.
    :param spare: another backend is in service, or could be; nobody is ejected for soft evidence who is the last one.
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
    """Note that it answered a request."""
    if record.limiting.refused_at is not None:
        record = evolve(record, limiting=limiting.answered(record.limiting))
    return evolve(record, failures=0, others_answered=False, rescues=0) if record.failures or record.rescues else record


def other_answered(record: BackendRecord) -> BackendRecord:
    """Note that another backend answered a request."""
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
    Note the outcome of a probe.

    :param reports: the record's ``reports`` when the probe began: a good probe says nothing of what was reported since.
    :param spare: another backend is in service; without one nobody who is well is kept out any longer.
    :param refused: see `mpp.core.model.Observation`.
    :param turned_away: something in front of the backend may have turned the probe away, see `mpp.selection.outliers.limiting`.
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
    """Tell whether it is out only for having come and gone too often, see Note [Flapping]."""
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
    """Take a backend out of service. The parameters are those of an `Absence`."""
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
    """Give the shortest time that the last of so many ejections lasts, in seconds, see Note [Flapping]."""
    # The exponent is bounded: a float overflows after a thousand ejections.
    return 0.0 if ejections <= 1 else min(MAX_EJECTION_S, _BASE_EJECTION_S * 2.0 ** min(ejections - 2, 10))


def _next_probe(absence: Absence, now: float) -> float:
    """Give the time of the next probe after one that has ended now, see Note [Follow-ups]."""
    if absence.good >= absence.needs:
        return max(absence.until, now)
    if absence.good:
        return now + FOLLOW_UP_S
    return now + max(FOLLOW_UP_S, (now - absence.since) * FOLLOW_UP_SHARE)


def shown(record: BackendRecord, observation: Observation, ejected_at: float) -> Observation:
    """
    Give an observation as it is published: with the standing of an absence, however good the last probe was.

    :param ejected_at: when the backend was ejected, by the time of day.
    """
    absence = record.absence
    if observation.returns != record.returns:
        observation = evolve(observation, returns=record.returns)
    if absence is None:
        if observation.ejected_at or observation.limited != record.limiting.limited:
            observation = evolve(observation, ejected_at=0.0, limited=record.limiting.limited)
        # One that is doubted is as it was, until it has been asked once more.
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
    return f"well again, but ejected {ejections} times lately, so it stays out a while: {absence.why}"
