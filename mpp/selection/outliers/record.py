"""The service record of one backend: the values that `mpp.selection.outliers.ejection` decides by. Frozen."""

from __future__ import annotations

from attrs import frozen

from mpp.core.model import Standing
from mpp.selection.outliers import limiting
from mpp.selection.outliers.limiting import LimiterState

GOOD_PROBES = 2


@frozen
class Absence:
    """
    The state of a backend that is out of service.

    :ivar since: when it went out of service.
    :ivar until: when it may return to service at the earliest, as long as another backend is in service.
    :ivar standing: its current standing: the worst since the last probe, ``SUSPECT`` after a good one.
    :ivar why: the reason, one line for people.
    :ivar needs: number of good probes in a row that return it to service, see Note [Enough good probes] in
        `mpp.selection.outliers.ejection`.
    :ivar good: number of good probes in a row so far.
    :ivar refused: whether the only reason is that its probe was rejected by a response that shows that a server is there, such as
        a 403; see `mpp.selection.outliers.vouching`.
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
    The service record of one backend. All times are of the same clock.

    :ivar admitted: whether it has ever been in service; a backend that has not is out of service, but not ejected.
    :ivar failures: number of requests in a row that failed softly, see `mpp.selection.outliers.ejection.failed`.
    :ivar failed_at: time of the last soft failure.
    :ivar others_answered: whether a request succeeded on another backend since the first of these ``failures``.
    :ivar reports: number of failed requests of all kinds so far. A good probe that started at a smaller number does not count.
    :ivar ejections: number of recent ejections, see Note [Flapping] in `mpp.selection.outliers.ejection`.
    :ivar returned_at: time of its last return to service.
    :ivar returns: number of its returns, see `mpp.core.model.Observation`.
    :ivar due: time of its next probe unless a round comes first; None when it can wait for the round.
    :ivar rescues: number of requests in a row that failed here and succeeded on a backend out of service, see
        `mpp.selection.outliers.vouching`.
    :ivar rescued_at: time of the last request that counted in ``rescues``.
    :ivar vouched_at: while successful requests keep it in service against its probe (`mpp.selection.outliers.vouching`): the time
        when that began, or when it was last known to be the only one in service. None while its probes decide.
    :ivar absence: why and since when it is out of service; None while it is in service.
    :ivar limiting: its requests that were rejected by a rate limiter or gateway.
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
        """Whether it takes traffic, or could."""
        return self.absence is None and (self.admitted or self.vouched_at is not None)

    @property
    def ejected(self) -> bool:
        """Whether it was in service, and is out."""
        return self.absence is not None and self.admitted
