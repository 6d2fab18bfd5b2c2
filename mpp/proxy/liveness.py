"""
Checks whether servers are alive, for all requests that wait for them.

# Note [Liveness checks]

A heavy query and a server that no longer responds look alike to a waiting request. So after a while without progress its server
gets a request that it answers at once even when all its query slots are taken: ``/-/ready``. Any response shows that the server
is alive: then the query is heavy, and is not run twice. Without a response within `stuck_after` the server is stuck: stopped,
swapped out, or cut off from the network.

A server that is far away or short of processor time may take longer than ``--suspect-after`` for every response. It is checked as
early as any other, but is stuck only if it takes several times as long as its probes of ``/-/ready`` usually take.

A server gets one check at a time, for all requests that wait for it, and a further one after each response while there is no
progress.
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
from mpp.core.http.instance import Instance
from mpp.core.interfaces import IResponse, ISelections, IUpstreams
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, Standing
from mpp.core.prometheus.own_requests import own_request_head
from mpp.proxy.ticker import ROUNDING, Ticker
from mpp.selection.probing.progress import ProbeProgress

_log = tx.make_logger()

# The seconds until a check is cancelled; a late response still shows that the server has recovered.
_TIMEOUT_S = 5.0
# The response times of a healthy server vary by less than this factor from their median.
_USUAL = 4
# In bytes; a response to /-/ready has a few hundred.
_BUFFER = 4096
# A server that is stopped closes its port first and its connections later: Prometheus 20 to 100 ms later if it has almost no
# data, else later still. When a server is killed, the kernel closes all at once; within this time mpp has noticed all of that.
_STOPPING_S = 0.01
# Refused connections that are further apart belong to two outages.
_OUTAGE_S = 30.0


def stuck_after(suspect_after: float, ready_took: tuple[float, ...]) -> float:
    """
    Return after how many seconds without a response to ``/-/ready`` a server is stuck: four times the median of its last response
    times, at most 5 seconds, and at least ``suspect_after``.

    :param suspect_after: the value of ``--suspect-after``, in seconds.
    :param ready_took: the last response times of ``/-/ready`` in seconds, see `mpp.core.model.Observation`.
    """
    if not ready_took:
        return suspect_after
    median = sorted(ready_took)[len(ready_took) // 2]
    return max(suspect_after, min(_USUAL * median, _TIMEOUT_S))


class Liveness(enum.Enum):
    """The state of a server that requests wait for."""

    ALIVE = "alive"
    UNKNOWN = "unknown"
    """Its check has not ended, or could not be sent because mpp uses all connections that the server accepts."""
    STUCK = "stuck"


@define(eq=False)
class _ServerLiveness:
    """
    The state of one server. Times are counted as in Note [Counted time] in `mpp.proxy.ticker`.

    :ivar asked: when the running check was sent; None if no check is running.
    :ivar alive: when the last response arrived.
    :ivar failed: when the last failed check ended.
    :ivar probe: the running check.
    :ivar timeout: after how many seconds without a response to the check the server is stuck.
    :ivar progress: whether the check waits for a connection.
    :ivar waited: whether the check waited for a connection when it was last examined.
    :ivar reported: whether it was reported during this check that the server is stuck.
    :ivar unready: whether the last response was a 503, because the server starts or stops.
    :ivar refused_at: when the server began to refuse connections, by the monotonic clock.
    """

    asked: float | None = None
    alive: float = -inf
    failed: float = -inf
    probe: Deferred[int] | None = None
    timeout: float = 0.0
    progress: ProbeProgress = field(factory=ProbeProgress)
    waited: bool = False
    reported: bool = False
    unready: bool = False
    refused_at: float = -inf


@define(eq=False)
class LivenessChecks:
    """
    The liveness checks of all servers, see Note [Liveness checks].

    :ivar upstreams: sends the checks; replaced by a reload.
    """

    upstreams: IUpstreams
    _selections: ISelections
    _metrics: Metrics
    _clock: IReactorTime
    _ticker: Ticker
    _instance: Instance
    _servers: dict[Backend, _ServerLiveness] = field(factory=dict, init=False)

    def __repr__(self) -> str:
        asked = [backend.name for backend, server in self._servers.items() if server.asked is not None]
        return f"<LivenessChecks of {', '.join(asked) or 'no server'}>"

    def liveness(self, backend: Backend, idle: float, suspect_after: float) -> Liveness:
        """
        Return whether a server is alive, and check it if that is not known.

        :param idle: for how many seconds the request has made no progress.
        :param suspect_after: the value of ``--suspect-after`` when the request began.
        """
        now = self._ticker.now
        server = self._servers.get(backend)
        if server is None:
            server = self._servers[backend] = _ServerLiveness()
        if now - server.alive < idle - ROUNDING:
            return Liveness.ALIVE
        if server.asked is not None:
            if server.progress.queued or server.waited:
                # The time counts from when the check was sent.
                server.asked, server.waited = now, server.progress.queued
            if now - server.asked < server.timeout - ROUNDING:
                return Liveness.UNKNOWN
            self._report(backend, server, f"no response to /-/ready within {server.timeout:.3g} s")
            return Liveness.STUCK
        if now - server.failed < idle - ROUNDING:
            return Liveness.STUCK
        self._check(backend, server, suspect_after)
        return Liveness.UNKNOWN

    def unready(self, backend: Backend) -> None:
        """Record that a server has responded that it is not ready."""
        self._servers.setdefault(backend, _ServerLiveness()).unready = True

    def refused(self, backend: Backend) -> None:
        """Record that a server refuses connections."""
        server, now = self._servers.setdefault(backend, _ServerLiveness()), self._clock.seconds()
        if now - server.refused_at > _OUTAGE_S:
            server.refused_at = now

    def is_stopping(self, backend: Backend, since: float) -> bool:
        """
        Return whether a server whose connection broke was stopped on purpose, judging by what it did before.

        :param since: when the request on that connection was sent; connections that the server refused earlier do not count.
        """
        server = self._servers.get(backend)
        if server is None:
            return False
        return server.unready or (server.refused_at >= since and self._clock.seconds() - server.refused_at >= _STOPPING_S)

    def forget(self, backend: Backend) -> None:
        """Cancel the check of a server that was removed, and delete its state."""
        server = self._servers.pop(backend, None)
        if server is not None and server.probe is not None:
            server.probe.cancel()

    def stop(self) -> None:
        """Cancel all checks and delete all states."""
        for backend in list(self._servers):
            self.forget(backend)

    def _check(self, backend: Backend, server: _ServerLiveness, suspect_after: float) -> None:
        observation = self._selections.current.observed.get(backend)
        server.asked = self._ticker.now
        server.timeout = stuck_after(suspect_after, () if observation is None else observation.ready_took)
        server.reported = False
        server.progress, server.waited = ProbeProgress(), False
        probe = Deferred.fromCoroutine(self._send(backend, server.progress))
        server.probe = probe
        probe.addTimeout(_TIMEOUT_S, self._clock)
        probe.addCallbacks(self._answered, self._failed, callbackArgs=(backend, server), errbackArgs=(backend, server))
        probe.addErrback(self._broken)

    async def _send(self, backend: Backend, progress: ProbeProgress) -> int:
        head = own_request_head(backend, "/-/ready", self._instance)
        try:
            response = await self.upstreams.send(backend, head, b"", fresh=False, buffer=_BUFFER, progress=progress, urgent=True)
        except UpstreamError as error:
            if not error.stale:
                raise
            response = await self.upstreams.send(backend, head, b"", fresh=True, buffer=_BUFFER, progress=progress, urgent=True)
        _dismiss(response)
        return response.status

    def _answered(self, status: int, backend: Backend, server: _ServerLiveness) -> None:
        server.asked = server.probe = None
        server.unready = status == 503
        server.alive = self._ticker.now
        self._metrics.suspicion_probes.inc(backend.name, Liveness.ALIVE.value)

    def _failed(self, failure: Failure, backend: Backend, server: _ServerLiveness) -> None:
        server.asked = server.probe = None
        if failure.check(CancelledError) and self._servers.get(backend) is not server:
            return
        if server.progress.queued or (isinstance(failure.value, UpstreamError) and failure.value.cause is Cause.LOCAL):
            # The check could not be sent, so it says nothing about the server.
            server.alive = self._ticker.now
            return
        if isinstance(failure.value, UpstreamError) and failure.value.cause is Cause.REFUSED:
            self.refused(backend)
        server.failed = self._ticker.now
        self._report(backend, server, failure.getErrorMessage())

    def _report(self, backend: Backend, server: _ServerLiveness, why: str) -> None:
        """Report, once for each check, that a server is stuck, so that it is taken out of service."""
        if server.reported:
            return
        server.reported = True
        self._metrics.suspicion_probes.inc(backend.name, Liveness.STUCK.value)
        _log.warn("{backend} is stuck, and is taken out of service: {why}", backend=backend.name, why=why)
        self._selections.report(backend, Standing.DOWN, f"stuck: {why}")

    def _broken(self, failure: Failure) -> None:
        _log.failure("bug: a liveness check failed unexpectedly; the server is checked again if requests wait for it", failure)


def _dismiss(response: IResponse) -> None:
    if response.complete:
        response.release()
    else:
        response.cancel()
