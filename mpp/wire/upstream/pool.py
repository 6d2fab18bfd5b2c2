"""
The pool of connections to backends, each of which carries one request at a time.

It knows neither HTTP nor why a request is sent. Idle connections are used last in, first out, so that surplus ones grow old and
are closed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from mpp.core.interfaces import IProgress, IResponse, IUpstreams
from mpp.core.model import Backend, Headers
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.upstream.connection import UpstreamConnection
from mpp.wire.upstream.dialer import Dialer
from mpp.wire.upstream.interfaces import ILane
from mpp.wire.upstream.lane import Lane

# Prometheus closes connections that are idle for its --web.read-timeout, 5 minutes by default. Well below that, a request seldom
# crosses with the close, and a firewall (often 5 minutes, seldom below 2) has not forgotten the connection either.
IDLE_TIMEOUT_S = 60.0
# Per backend. With 64 busy clients and 32 kept connections every other request opened a new one, at twice the CPU time. Two mpp
# with so many stay well below what a Prometheus accepts by default (--web.max-connections=512). After a burst they are closed
# when they have been idle for long enough.
MAX_IDLE = 128

# Seconds between two samples of what slow clients have read, see `mpp.wire.upstream.slow`.
_SAMPLE_S = 1.0


def _uncounted(_: Backend) -> None:
    """Ignore a response that was reset."""


@implementer(IUpstreams)
class Pool:
    """
    The pool of connections to all backends. See `mpp.core.interfaces.IUpstreams`.

    :param dialer: opens connections.
    :param budget: the memory that all buffered bodies together may take.
    :param idle_timeout: seconds after which an idle connection is closed; it may last up to half as long again.
    :param max_idle: how many idle connections are kept per backend.
    :param max_active: how many requests may be under way per backend; further ones wait in a queue.
    :param max_queued: how many requests may wait per backend.
    :param reset_slow: called for each response that is reset because its client reads too slowly, see `mpp.wire.upstream.slow`.
    :param question: returns the head of a request that a server answers at once, by which mpp sees that the server has accepted
        a new connection (see `mpp.wire.upstream.proving`); None: mpp does not check that.
    """

    def __init__(
        self,
        dialer: Dialer,
        clock: IReactorTime,
        budget: MemoryBudget,
        idle_timeout: float = IDLE_TIMEOUT_S,
        max_idle: int = MAX_IDLE,
        max_active: int = 2**31,
        max_queued: int = 2**31,
        reset_slow: Callable[[Backend], None] = _uncounted,
        question: Callable[[Backend], bytes] | None = None,
    ) -> None:
        self.clock = clock
        self.budget = budget
        self.idle_timeout = idle_timeout
        self.max_idle = max_idle
        self.max_active = max_active
        self.max_queued = max_queued
        self.reset_slow = reset_slow
        self.question = question
        self._dialer = dialer
        self._lanes: dict[Backend, Lane] = {}
        self._open: dict[UpstreamConnection, ILane] = {}
        self._dialing: set[Deferred[UpstreamConnection]] = set()
        self._idle_check: IDelayedCall | None = None
        self._sample: IDelayedCall | None = None
        self._closed: Deferred[None] | None = None

    def __repr__(self) -> str:
        lanes = "; ".join(f"{backend.name}: {lane}" for backend, lane in self._lanes.items())
        return f"<Pool {lanes or 'empty'}>"

    def active(self, backend: Backend) -> int:
        """Return how many requests to a backend are under way, including the ones for which a connection is being opened."""
        lane = self._lanes.get(backend)
        return 0 if lane is None else lane.under_way

    def queued(self, backend: Backend) -> int:
        """Return how many requests to a backend wait, because too many are under way or it accepts no more connections."""
        lane = self._lanes.get(backend)
        return 0 if lane is None else lane.waiting

    def has_room(self, backend: Backend, *, query_slots: int = 0) -> bool:
        """Return whether a request to a backend would be sent without waiting, see `mpp.core.interfaces.IUpstreams`."""
        lane = self._lanes.get(backend)
        return lane is None or lane.has_slot(query_slots)

    def send(
        self,
        backend: Backend,
        head: bytes,
        body: bytes,
        *,
        fresh: bool,
        buffer: int,
        may_buffer: Callable[[int, Headers], bool] | None = None,
        progress: IProgress | None = None,
        urgent: bool = False,
        query_slots: int = 0,
    ) -> Deferred[IResponse]:
        """Send or queue one request, see `mpp.core.interfaces.IUpstreams.send`."""
        lane = self._lanes.get(backend)
        if lane is None:
            lane = self._lanes[backend] = Lane(self, backend)
        request = (head, body, buffer, may_buffer, progress)
        if urgent or (lane.active < self.max_active and (not query_slots or lane.queries < query_slots)):
            return lane.send_now(request, fresh, urgent, query_slots)
        return lane.enqueue(request, fresh, query_slots)

    @property
    def closing(self) -> bool:
        """Whether `close` was called; later requests fail."""
        return self._closed is not None

    def connect(self, lane: ILane) -> Deferred[UpstreamConnection]:
        """
        Open a connection to a server. Fails with `mpp.core.errors.UpstreamError`; may be cancelled.

        :param lane: the connections and requests of this server, to which the connection is added.
        """
        dialing = self._dialer.dial(lane.backend)
        self._dialing.add(dialing)

        def connected(connection: UpstreamConnection) -> UpstreamConnection:
            self._dialing.discard(dialing)
            self._open[connection] = lane
            connection.adopt(lane, self.budget)
            return connection

        def not_connected(failure: Failure) -> Failure:
            self._dialing.discard(dialing)
            return failure

        return dialing.addCallbacks(connected, not_connected)

    def discard(self, backend: Backend) -> None:
        """Remove a backend from the pool. Its idle connections are closed now, and the others when they become idle."""
        lane = self._lanes.pop(backend, None)
        if lane is not None:
            lane.idle.kept = False
            lane.idle.close_older(self.clock.seconds())

    def close_idle(self, backend: Backend) -> None:
        """Close the idle connections to a backend, because it is down."""
        lane = self._lanes.get(backend)
        if lane is not None:
            lane.idle.close_older(self.clock.seconds())

    def drop(self, lane: ILane) -> None:
        """Forget the `Lane` of a server with neither connections nor requests, so that servers that are down take no memory."""
        if self._lanes.get(lane.backend) is lane:
            del self._lanes[lane.backend]

    def remove(self, backend: Backend) -> None:
        """Close the idle connections to a backend that is no longer listed, as `discard` does, and end its event streams."""
        lane = self._lanes.get(backend)
        self.discard(backend)
        if lane is not None:
            lane.end_streams()

    def leave(self, host: str, addresses: Collection[str]) -> None:
        """
        Send no further requests on connections to former addresses of a host name; requests under way on them go on.

        :param addresses: the present addresses of the host name.
        """
        # The idle ones first, because each slot that becomes free lets another request be sent.
        for idle in (True, False):
            for connection, lane in tuple(self._open.items()):
                gone = lane.backend.host == host and connection.address not in addresses
                if gone and connection.alive is idle and not connection.retired:
                    lane.retire(connection)

    def close(self) -> Deferred[None]:
        """
        Close all connections; requests under way fail, and responses break off.

        :return Deferred(None): fires when the last connection has ended.
        """
        if self._closed is None:
            self._closed = Deferred()
            for timer in filter(None, (self._idle_check, self._sample)):
                timer.cancel()
            self._idle_check = self._sample = None
            for dialing in list(self._dialing):
                dialing.cancel()
            for lane in self._lanes.values():
                lane.idle.kept = False
                lane.idle.clear()
                lane.fail_queued()
            for connection in list(self._open):
                connection.shut()
            if not self._open:
                self._closed.callback(None)
        return self._closed

    def connection_closed(self, connection: UpstreamConnection) -> None:
        """Record that a connection has ended. If the pool is being closed, the last one fires the Deferred of `close`."""
        self._open.pop(connection, None)
        if self._closed is not None and not self._open and not self._closed.called:
            self._closed.callback(None)

    def schedule_idle_check(self) -> None:
        """Start the timer that closes idle connections: one for all backends, which stops when no connection is idle."""
        if self._idle_check is None and self._closed is None:
            self._idle_check = self.clock.callLater(self.idle_timeout / 2, self._close_idle)

    def _close_idle(self) -> None:
        self._idle_check = None
        before = self.clock.seconds() - self.idle_timeout
        for lane in self._lanes.values():
            lane.idle.close_older(before)
        if any(lane.idle for lane in self._lanes.values()):
            self.schedule_idle_check()

    def sample_later(self) -> None:
        """Start the timer that records each second how much slow clients have read, until there are no slow clients."""
        if self._sample is None and self._closed is None:
            self._sample = self.clock.callLater(_SAMPLE_S, self._sample_now)

    def _sample_now(self) -> None:
        self._sample = None
        slow = [lane.slow for lane in self._lanes.values() if lane.slow.accounts]
        for readers in slow:
            readers.sample()
        if slow:
            self.sample_later()
