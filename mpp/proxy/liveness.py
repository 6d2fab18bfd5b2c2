"""
Asks servers whether they are still there, for all requests that wait on them.

# Note [Suspicion]

A query that takes long is normal; a server that does not answer is not. The two look alike from outside, so a request that
has waited a while without progress has its server asked something that is answered at once even when all query slots are
taken: ``/-/ready``. Any answer to it is a sign of life: then the query is just heavy, and nothing is run twice. Without one
within `stuck_after` the server is stuck: stopped, swapped out, cut off, or behind something that swallows what it says.

A server may take longer than ``--suspect-after`` for everything, because it is far away or short of processor time. What is usual
for it is known from its probes. It is asked as early as any other, but it is stuck only when it has been silent for several times
as long as it takes for this very question.

However many requests wait, one such question at a time is put to a server; and however often it is answered, it is put again
as long as there is no progress.
"""

from __future__ import annotations

import enum
from math import inf

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from txaio import tx

from mpp.core.errors import Cause, UpstreamError
from mpp.core.instance import Instance
from mpp.core.interfaces import IResponse, ISelections, IUpstreams
from mpp.core.metrics import Metrics
from mpp.core.model import Backend, Standing
from mpp.core.prometheus.own_requests import own_request_head
from mpp.proxy.ticker import ROUNDING, Ticker
from mpp.selection.probing.progress import ProbeProgress

_log = tx.make_logger()

# How long a late answer is waited for: it tells that the server has come back. Then it is asked anew, if anyone still waits.
_PATIENCE_S = 5.0
# So many times the median of its last answers is beyond what a healthy server's answers differ by.
_USUAL = 4
# An answer to /-/ready has a few hundred bytes.
_HOLD = 4096
# A server that is stopped closes its port first and its connections after that: Prometheus 20 to 100 ms later when it has next to
# no data, else later still. The kernel closes all that a killed one had open at once; within this time all of that has been read.
_STOPPING_S = 0.01
# Refusals this far apart are two outages.
_OUTAGE_S = 30.0


def stuck_after(suspect_after: float, ready_took: tuple[float, ...]) -> float:
    """
    Return after how many seconds without an answer to ``/-/ready`` a server is stuck.

    :param suspect_after: ``--suspect-after``, the shortest that this may be.
    :param ready_took: see `mpp.core.model.Observation`. Four times their median is given, `_PATIENCE_S` at most.
    """
    if not ready_took:
        return suspect_after
    median = sorted(ready_took)[len(ready_took) // 2]
    return max(suspect_after, min(_USUAL * median, _PATIENCE_S))


class Liveness(enum.Enum):
    """What is known of a server that somebody waits for."""

    ALIVE = "alive"
    UNKNOWN = "unknown"
    """It has just been asked, or cannot be: mpp uses all connections that it takes."""
    STUCK = "stuck"


@define(eq=False)
class _ServerLiveness:
    """
    What is known of one server. Times are counted ones, see Note [Counted time] in `mpp.proxy.ticker`.

    :ivar asked: when the question under way was put, or None.
    :ivar alive: when the last answer came.
    :ivar failed: when a question failed, or was found to be unanswered for too long.
    :ivar probe: the question under way.
    :ivar timeout: for how many seconds it may be unanswered before the server is stuck.
    :ivar check: whether it has been sent.
    :ivar waited: it had not been sent when it was looked at last.
    :ivar reported: its being stuck was reported.
    :ivar unready: the last that was heard of it was a 503: it starts, or stops.
    :ivar refused_at: when it began to refuse connections, by the clock.
    """

    asked: float | None = None
    alive: float = -inf
    failed: float = -inf
    probe: Deferred[int] | None = None
    timeout: float = 0.0
    check: ProbeProgress = field(factory=ProbeProgress)
    waited: bool = False
    reported: bool = False
    unready: bool = False
    refused_at: float = -inf


class LivenessChecks:
    """The doubts about all servers, see Note [Suspicion]."""

    def __init__(
        self,
        upstreams: IUpstreams,
        selections: ISelections,
        metrics: Metrics,
        clock: IReactorTime,
        ticker: Ticker,
        instance: Instance,
    ) -> None:
        self._instance = instance
        self.upstreams = upstreams
        self._selections = selections
        self._metrics = metrics
        self._clock = clock
        self._ticker = ticker
        self._doubts: dict[Backend, _ServerLiveness] = {}

    def __repr__(self) -> str:
        asked = [backend.name for backend, doubt in self._doubts.items() if doubt.asked is not None]
        return f"<Suspicions, asked: {', '.join(asked) or 'nobody'}>"

    def liveness(self, backend: Backend, quiet: float, suspect_after: float) -> Liveness:
        """
        Tell whether a server is there, or ask it.

        :param quiet: for how many seconds the request has seen no progress.
        :param suspect_after: ``--suspect-after`` of the request.
        """
        now = self._ticker.now
        doubt = self._doubts.get(backend)
        if doubt is None:
            doubt = self._doubts[backend] = _ServerLiveness()
        if now - doubt.alive < quiet - ROUNDING:
            return Liveness.ALIVE
        if doubt.asked is not None:
            if doubt.check.queued or doubt.waited:
                # Its time counts from when it was sent.
                doubt.asked, doubt.waited = now, doubt.check.queued
            if now - doubt.asked < doubt.timeout - ROUNDING:
                return Liveness.UNKNOWN
            self._report(backend, doubt, f"no answer to /-/ready within {doubt.timeout:.3g} s")
            return Liveness.STUCK
        if now - doubt.failed < quiet - ROUNDING:
            return Liveness.STUCK
        self._ask(backend, doubt, suspect_after)
        return Liveness.UNKNOWN

    def unready(self, backend: Backend) -> None:
        """Note that a server has said that it is not ready."""
        self._doubts.setdefault(backend, _ServerLiveness()).unready = True

    def refused(self, backend: Backend) -> None:
        """Note that a server refuses connections."""
        doubt, now = self._doubts.setdefault(backend, _ServerLiveness()), self._clock.seconds()
        if now - doubt.refused_at > _OUTAGE_S:
            doubt.refused_at = now

    def is_stopping(self, backend: Backend, since: float) -> bool:
        """
        Return whether a server whose connections break off now was stopped, as far as anything shows that.

        :param since: when the request was sent whose connection broke off: an earlier refusal says nothing about that.
        """
        doubt = self._doubts.get(backend)
        if doubt is None:
            return False
        return doubt.unready or (doubt.refused_at >= since and self._clock.seconds() - doubt.refused_at >= _STOPPING_S)

    def forget(self, backend: Backend) -> None:
        """Forget a server that is not known any more."""
        doubt = self._doubts.pop(backend, None)
        if doubt is not None and doubt.probe is not None:
            doubt.probe.cancel()

    def stop(self) -> None:
        """Leave no question behind."""
        for backend in list(self._doubts):
            self.forget(backend)

    def _ask(self, backend: Backend, doubt: _ServerLiveness, suspect_after: float) -> None:
        observation = self._selections.current.observed.get(backend)
        doubt.asked = self._ticker.now
        doubt.timeout = stuck_after(suspect_after, () if observation is None else observation.ready_took)
        doubt.reported = False
        doubt.check, doubt.waited = ProbeProgress(), False
        probe = Deferred.fromCoroutine(self._probe(backend, doubt.check))
        doubt.probe = probe
        probe.addTimeout(_PATIENCE_S, self._clock)
        probe.addCallbacks(self._answered, self._failed, callbackArgs=(backend, doubt), errbackArgs=(backend, doubt))
        probe.addErrback(self._broken)

    async def _probe(self, backend: Backend, question: ProbeProgress) -> int:
        head = own_request_head(backend, "/-/ready", self._instance)
        try:
            response = await self.upstreams.send(backend, head, b"", fresh=False, buffer=_HOLD, progress=question, urgent=True)
        except UpstreamError as error:
            if not error.stale:
                raise
            response = await self.upstreams.send(backend, head, b"", fresh=True, buffer=_HOLD, progress=question, urgent=True)
        _dismiss(response)
        return response.status

    def _answered(self, status: int, backend: Backend, doubt: _ServerLiveness) -> None:
        doubt.asked = doubt.probe = None
        doubt.unready = status == 503
        doubt.alive = self._ticker.now
        self._metrics.suspected(backend.name, Liveness.ALIVE.value)

    def _failed(self, failure: Failure, backend: Backend, doubt: _ServerLiveness) -> None:
        doubt.asked = doubt.probe = None
        if failure.check(CancelledError) and self._doubts.get(backend) is not doubt:
            return
        if doubt.check.queued or (isinstance(failure.value, UpstreamError) and failure.value.cause is Cause.LOCAL):
            # It could not even be asked: says nothing about it.
            doubt.alive = self._ticker.now
            return
        if isinstance(failure.value, UpstreamError) and failure.value.cause is Cause.REFUSED:
            self.refused(backend)
        doubt.failed = self._ticker.now
        self._report(backend, doubt, failure.getErrorMessage())

    def _report(self, backend: Backend, doubt: _ServerLiveness, why: str) -> None:
        """Take the server out of the selection, once for each question."""
        if doubt.reported:
            return
        doubt.reported = True
        self._metrics.suspected(backend.name, Liveness.STUCK.value)
        _log.warn("{backend} is stuck: {why}", backend=backend.name, why=why)
        self._selections.report(backend, Standing.DOWN, f"stuck: {why}")

    def _broken(self, failure: Failure) -> None:
        _log.failure("Bug: a server could not be asked whether it is there", failure)


def _dismiss(response: IResponse) -> None:
    if response.complete:
        response.release()
    else:
        response.cancel()
