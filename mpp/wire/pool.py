"""
Keeps connections to backends, and lends them for one request at a time.

It knows neither HTTP nor why a request is sent. What is kept is used last in, first out, so that what is not needed grows old and
is closed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol as Shape

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from mpp.errors import Cause, Phase, UpstreamError
from mpp.interfaces import IProgress, IResponse, IUpstreams
from mpp.model import Backend, Headers
from mpp.wire.budget import Budget
from mpp.wire.upstream import UpstreamConnection

# Prometheus closes what is idle for its --web.read-timeout, 5 minutes by default. Well below it the two seldom meet in
# mid-air, and a firewall's memory (often 5 minutes, seldom below 2) is not outlived either.
IDLE_TIMEOUT_S = 60.0
# For each backend. With 64 busy clients and 32 kept connections every other request dialed anew, at twice the CPU time. Two mpp
# with so many stay well below what a Prometheus accepts by default (--web.max-connections=512); what a burst leaves is closed
# when it has been idle for long enough.
MAX_IDLE = 128

_Request = tuple[bytes, bytes, int, Callable[[int, Headers], bool] | None, IProgress | None]
"""What `UpstreamConnection.send` takes."""


class IDialer(Shape):
    """What the Pool needs of a `mpp.wire.dial.Dialer`."""

    def dial(self, backend: Backend) -> Deferred[UpstreamConnection]:
        """Connect."""


@implementer(IUpstreams)
class Pool:
    """
    Sends requests over kept connections. See `mpp.interfaces.IUpstreams`.

    :param dialer: opens connections.
    :param budget: what all held bodies together may take.
    :param idle_timeout: seconds until a connection that nobody uses is closed; it may last half as long again.
    :param max_idle: how many idle connections are kept for each backend.
    :param max_active: how many requests may be under way on each backend; further ones wait for their turn, in order.
    :param max_queued: how many may wait for each backend.
    """

    def __init__(
        self,
        dialer: IDialer,
        clock: IReactorTime,
        budget: Budget,
        idle_timeout: float = IDLE_TIMEOUT_S,
        max_idle: int = MAX_IDLE,
        max_active: int = 2**31,
        max_queued: int = 2**31,
    ) -> None:
        self.clock = clock
        self.budget = budget
        self.idle_timeout = idle_timeout
        self.max_idle = max_idle
        self.max_active = max_active
        self.max_queued = max_queued
        self._dialer = dialer
        self._lanes: dict[Backend, _Lane] = {}
        self._open: set[UpstreamConnection] = set()
        self._dialing: set[Deferred[UpstreamConnection]] = set()
        self._sweep: IDelayedCall | None = None
        self._closed: Deferred[None] | None = None

    def __repr__(self) -> str:
        lanes = "; ".join(f"{backend.name}: {lane}" for backend, lane in self._lanes.items())
        return f"<Pool {lanes or 'empty'}>"

    def active(self, backend: Backend) -> int:
        """How many requests to ``backend`` are under way, those still connecting included."""
        lane = self._lanes.get(backend)
        return 0 if lane is None else lane.active

    def queued(self, backend: Backend) -> int:
        """How many requests wait for their turn on ``backend``."""
        lane = self._lanes.get(backend)
        return 0 if lane is None else len(lane.queue)

    def send(
        self,
        backend: Backend,
        head: bytes,
        body: bytes,
        *,
        fresh: bool,
        hold: int,
        may_hold: Callable[[int, Headers], bool] | None = None,
        progress: IProgress | None = None,
        urgent: bool = False,
    ) -> Deferred[IResponse]:
        """Send one request, or have it wait for its turn."""
        lane = self._lanes.get(backend)
        if lane is None:
            lane = self._lanes[backend] = _Lane(self)
        request = (head, body, hold, may_hold, progress)
        if lane.active >= self.max_active and not urgent:
            return self._enqueue(lane, backend, request, fresh)
        return self._send_now(lane, backend, request, fresh)

    def _enqueue(self, lane: _Lane, backend: Backend, request: _Request, fresh: bool) -> Deferred[IResponse]:
        if len(lane.queue) >= self.max_queued:
            detail = f"{lane.active} requests are under way and {len(lane.queue)} wait"
            return fail(UpstreamError(Phase.CONNECT, Cause.FULL, detail))

        def begin(_: None) -> Deferred[IResponse]:
            progress = request[4]
            if progress is not None:
                progress.turn_at = self.clock.seconds()
            return self._send_now(lane, backend, request, fresh)

        turn: Deferred[None] = Deferred(lane.queue.remove)
        lane.queue.append(turn)
        return turn.addCallback(begin)

    def _send_now(self, lane: _Lane, backend: Backend, request: _Request, fresh: bool) -> Deferred[IResponse]:
        while lane.idle and not fresh:
            connection = lane.idle.pop()
            if connection.alive:
                lane.active += 1
                return connection.send(*request)
        if self._closed is not None:
            return fail(_shutting_down())
        lane.active += 1
        return self._send_fresh(lane, backend, request)

    def _send_fresh(self, lane: _Lane, backend: Backend, request: _Request) -> Deferred[IResponse]:
        dialing = self._dialer.dial(backend)
        self._dialing.add(dialing)

        def connected(connection: UpstreamConnection) -> Deferred[IResponse]:
            self._dialing.discard(dialing)
            self._open.add(connection)
            connection.adopt(lane, self.budget)
            return connection.send(*request)

        def not_connected(failure: Failure) -> Failure:
            self._dialing.discard(dialing)
            lane.freed()
            if self._closed is not None:
                raise _shutting_down()
            return failure

        return dialing.addCallbacks(connected, not_connected)

    def discard(self, backend: Backend) -> None:
        """Forget a backend: close what is idle now, and what is in use when it becomes idle."""
        lane = self._lanes.pop(backend, None)
        if lane is not None:
            lane.kept = False
            lane.close_idle(self.clock.seconds())

    def close(self) -> Deferred[None]:
        """
        Close everything; requests under way fail, or break off.

        :return Deferred(None): fires when the last connection is gone.
        """
        if self._closed is None:
            self._closed = Deferred()
            if self._sweep is not None:
                self._sweep.cancel()
                self._sweep = None
            for dialing in list(self._dialing):
                dialing.cancel()
            for lane in self._lanes.values():
                lane.kept = False
                lane.idle.clear()
                lane.refuse_queued()
            for connection in list(self._open):
                connection.shut()
            if not self._open:
                self._closed.callback(None)
        return self._closed

    def gone(self, connection: UpstreamConnection) -> None:
        """Take note of a connection's end."""
        self._open.discard(connection)
        if self._closed is not None and not self._open and not self._closed.called:
            self._closed.callback(None)

    def sweep_later(self) -> None:
        """Have idle connections looked at; one timer for all of them, and none while there are none."""
        if self._sweep is None and self._closed is None:
            self._sweep = self.clock.callLater(self.idle_timeout / 2, self._sweep_now)

    def _sweep_now(self) -> None:
        self._sweep = None
        before = self.clock.seconds() - self.idle_timeout
        for lane in self._lanes.values():
            lane.close_idle(before)
        if any(lane.idle for lane in self._lanes.values()):
            self.sweep_later()


class _Lane:
    """
    The connections to one backend.

    :ivar idle: the longest idle first.
    :ivar kept: what becomes idle is kept.
    :ivar queue: requests that wait for their turn.
    """

    __slots__ = ("_pool", "active", "idle", "kept", "queue")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.idle: list[UpstreamConnection] = []
        self.active = 0
        self.kept = True
        self.queue: deque[Deferred[None]] = deque()

    def __str__(self) -> str:
        queued = f", {len(self.queue)} queued" if self.queue else ""
        return f"{self.active} active, {len(self.idle)} idle{queued}"

    def exchange_ended(self, connection: UpstreamConnection, reusable: bool) -> None:
        if reusable:
            self._keep(connection)
        self.freed()

    def _keep(self, connection: UpstreamConnection) -> None:
        if not self.kept or len(self.idle) >= self._pool.max_idle:
            connection.close()
            return
        connection.idle_since = self._pool.clock.seconds()
        self.idle.append(connection)
        self._pool.sweep_later()

    def freed(self) -> None:
        """One request less is under way: it is the next one's turn."""
        self.active -= 1
        if self.queue and self.active < self._pool.max_active:
            self.queue.popleft().callback(None)

    def refuse_queued(self) -> None:
        """Fail what waits."""
        queue, self.queue = self.queue, deque()
        for turn in queue:
            turn.errback(_shutting_down())

    def connection_gone(self, connection: UpstreamConnection) -> None:
        if connection in self.idle:
            self.idle.remove(connection)
        self._pool.gone(connection)

    def close_idle(self, before: float) -> None:
        """Close what is idle since ``before`` or longer."""
        while self.idle and self.idle[0].idle_since <= before:
            self.idle.pop(0).close()


def _shutting_down() -> UpstreamError:
    return UpstreamError(Phase.CONNECT, Cause.CLOSED, "shutting down")
