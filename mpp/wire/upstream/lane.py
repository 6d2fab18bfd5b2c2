"""
The connections and slots of one server: decides which request is sent next, and on which connection.

A request that is under way takes a *slot*, of which the server has a limited number (``--max-concurrency``). A query also takes a
*query slot* until its response begins. It knows neither HTTP nor why a request is sent. The limits and the timers belong to the
`mpp.wire.upstream.pool.Pool`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.interfaces import IProgress, IResponse
from mpp.core.model import Backend, Headers
from mpp.core.text.humanize import noun
from mpp.wire.upstream.connection import UpstreamConnection
from mpp.wire.upstream.growth import ConnectionGrowth
from mpp.wire.upstream.idle import IdleConnections
from mpp.wire.upstream.interfaces import IPool
from mpp.wire.upstream.parking import Parking
from mpp.wire.upstream.queues import RequestQueue
from mpp.wire.upstream.slow import SlowReaders

Request = tuple[bytes, bytes, int, Callable[[int, Headers], bool] | None, IProgress | None]
"""The arguments of `UpstreamConnection.send`."""


class Lane:
    """
    The connections to one server, the requests on them, and the requests that wait: for a slot (see above) or a connection.

    :ivar backend: the server.
    :ivar held_up: some request may wait, for a slot or a connection.
    :ivar idle: the connections without a request.
    :ivar active: how many slots are taken.
    :ivar growth: opens connections, as many as the server accepts.
    :ivar counts: the numbers of connections, which ``growth`` updates.
    :ivar queries: how many query slots are taken: by queries whose responses have not begun.
    :ivar queue: requests that wait for a slot.
    :ivar slow: the responses that are paused by their clients.
    :ivar parking: gives the slots of paused responses to other requests.
    :ivar streams: the connections with an event stream, which takes no slot.
    """

    __slots__ = (
        "_pool",
        "active",
        "backend",
        "counts",
        "growth",
        "held_up",
        "idle",
        "parking",
        "queries",
        "queue",
        "slow",
        "streams",
    )

    def __init__(self, pool: IPool, backend: Backend) -> None:
        self._pool = pool
        self.backend = backend
        self.idle = IdleConnections(pool)
        self.active = 0
        self.queries = 0
        self.queue = RequestQueue()
        self.slow = SlowReaders()
        self.streams: set[UpstreamConnection] = set()
        self.held_up = False
        self.growth = ConnectionGrowth(pool, backend, self.idle, partial(pool.connect, self), self._connection_awaited)
        self.counts = self.growth.counts
        self.parking = Parking(pool, self, self.growth)

    @property
    def waiting(self) -> int:
        """How many requests wait, for a slot or for one of the few connections that the server accepts."""
        return self.queue.waiting + self.without_connection

    @property
    def under_way(self) -> int:
        """How many requests have a slot, and have a connection or are about to get a new one."""
        return self.active - self.without_connection

    @property
    def without_connection(self) -> int:
        """How many requests have a slot, and wait for one of the few connections that the server accepts."""
        return 0 if self.counts.limit is None else len(self.growth.waiters)

    def __str__(self) -> str:
        queued = f", {self.waiting} queued" if self.waiting else ""
        paused = f", {self.slow.parked} paused" if self.slow.parked else ""
        return f"{self.under_way} active, {len(self.idle)} idle{queued}{paused}"

    # Requests

    def has_slot(self, query_slots: int) -> bool:
        """Return whether a new request would be sent without waiting, see `mpp.core.interfaces.IUpstreams.has_room`."""
        free = self.active < self._pool.max_active and (not query_slots or self.queries < query_slots)
        return free and self.growth.has_room

    def enqueue(self, request: Request, fresh: bool, query_slots: int) -> Deferred[IResponse]:
        """Queue a request until there is a slot for it, see `mpp.core.interfaces.IUpstreams.send`."""
        pool, progress = self._pool, request[4]
        if self.queue.waiting >= pool.max_queued:
            under_way = noun(self.active, "request is", "requests are")
            detail = f"{self.active} {under_way} under way, and {self.queue.waiting} {noun(self.queue.waiting, 'waits', 'wait')}"
            return fail(UpstreamError(Phase.CONNECT, Cause.FULL, detail))

        def begin(_: None) -> Deferred[IResponse]:
            if progress is not None:
                progress.queued = False
                progress.dequeued_at = pool.clock.seconds()
            return self.send_now(request, fresh, False, query_slots)

        if progress is not None:
            progress.queued = True
        self.held_up = True
        response = self.queue.join(query_slots).addCallback(begin)
        self.parking.make_room()
        return response

    def send_now(self, request: Request, fresh: bool, urgent: bool, query_slots: int) -> Deferred[IResponse]:
        """Send a request on an idle connection or, if there is none, on a new one."""
        idle = self.idle
        spare = 0 if urgent else self.counts.spare
        while len(idle) > spare and not fresh:
            connection = idle.pop()
            if connection.alive:
                self.active += 1
                if query_slots:
                    self.queries += 1
                    connection.slots = 2
                else:
                    connection.slots = 1
                return connection.send(*request)
        if self._pool.closing:
            return fail(shutting_down())
        self.active += 1
        if query_slots:
            self.queries += 1
        return self._connect_and_send(request, fresh=fresh, urgent=urgent, query=query_slots > 0)

    def _connect_and_send(self, request: Request, *, fresh: bool, urgent: bool, query: bool) -> Deferred[IResponse]:
        def connected(connection: UpstreamConnection) -> Deferred[IResponse]:
            connection.slots = 2 if query else 1
            return connection.send(*request)

        def not_connected(failure: Failure) -> Failure:
            self.active -= 1
            self.queries -= query
            self._go_on()
            if self._pool.closing:
                raise shutting_down()
            if not (self.active or self.queue.waiting or self.idle or self.growth.in_use):
                self._pool.drop(self)
            return failure

        return self.growth.connect(request[4], urgent=urgent, fresh=fresh).addCallbacks(connected, not_connected)

    def _connection_awaited(self) -> None:
        """Record that a request waits for a connection; reset a slow response for it if the server accepts no more."""
        self.held_up = True
        if self.counts.limit is not None:
            self.parking.make_room()

    def _go_on(self) -> None:
        """Send the waiting requests for which there are connections and slots."""
        queue, growth = self.queue, self.growth
        if growth.waiters:
            growth.hand_out()
        while self.active < self._pool.max_active and (position := queue.next(self.queries)) is not None:
            queue.leave(position)
            position.callback(None)
        self.held_up = bool(queue.waiting or growth.waiters)

    def fail_queued(self) -> None:
        """Fail all requests that wait, because mpp stops."""
        for position in self.queue.clear():
            position.errback(shutting_down())
        self.growth.stop(shutting_down())

    # Events of connections, see `mpp.wire.upstream.keeping.ConnectionOwner`

    def exchange_ended(self, connection: UpstreamConnection, reusable: bool) -> None:
        """Keep the connection if it is idle again, and pass the slot of its request to the next one."""
        if reusable:
            if not connection.proved:
                self.counts.answered(connection)
            self.idle.keep(connection)
            self.idle.heard_at = connection.idle_since
        if connection.begun:
            connection.begun = False
            self.streams.discard(connection)
            if self.slow.end(connection):
                self.parking.park_more()
        slots = connection.slots
        if slots:
            connection.slots = 0
            self.active -= 1
            if slots == 2:
                self.queries -= 1
        if self.held_up:
            self._go_on()

    def free(self, connection: UpstreamConnection) -> None:
        """Free the slot of the request on a connection, and send the next request that waits for a slot."""
        if connection.slots:
            connection.slots = 0
            self.active -= 1
            self._go_on()

    def connection_closed(self, connection: UpstreamConnection) -> None:
        """Remove a connection that has ended."""
        self.idle.discard(connection)
        self.parking.given_up.discard(connection)
        self._pool.connection_closed(connection)
        if not connection.retired:
            self.growth.closed(connection)

    def response_begun(self, connection: UpstreamConnection) -> None:
        """Free the query slot of a response: Prometheus begins to send when it has run the query."""
        if not connection.proved:
            self.counts.answered(connection)
        connection.begun = True
        if connection.slots == 2:
            connection.slots = 1
            self.queries -= 1
            self._go_on()

    def stream_begun(self, connection: UpstreamConnection) -> None:
        """Free the slots of an event stream, which lasts as long as its client wants, and costs the server nothing."""
        self.streams.add(connection)
        if connection.slots == 2:
            connection.slots = 1
            self.queries -= 1
        self.free(connection)

    def response_paused(self, connection: UpstreamConnection) -> None:
        """Free the slot of a response that its client does not read, see `mpp.wire.upstream.slow`."""
        self.parking.paused(connection)

    def response_resumed(self, connection: UpstreamConnection) -> None:
        """
        Assign a slot to a response again, because its client reads on.

        It does not wait for a free slot, so more slots than the limit may be in use then. See `mpp.wire.upstream.slow`.
        """
        self.parking.resumed(connection)

    # The end

    def end_streams(self) -> None:
        """End all event streams, so that their clients connect again, to another server."""
        for connection in tuple(self.streams):
            connection.end_stream()

    # Addresses

    def retire(self, connection: UpstreamConnection) -> None:
        """
        Send no further request on a connection, because the server has left its address.

        An idle connection is closed, and an event stream ended. A request under way goes on, but takes neither a slot nor one of
        the connections that the server accepts, because it runs on another server.
        """
        connection.retired = True
        if connection.alive:
            self.idle.discard(connection)
            connection.close()
        elif connection in self.streams:
            connection.end_stream()
        self.parking.given_up.discard(connection)
        if self.slow.end(connection):
            self.parking.park_more()
        self.queries -= connection.slots == 2
        self.free(connection)
        self.growth.retire(connection)


def shutting_down() -> UpstreamError:
    """Return the error of a request that is sent while mpp stops."""
    return UpstreamError(Phase.CONNECT, Cause.CLOSED, "mpp is shutting down")
