"""
The connections and slots of one server: which request is sent next, and on which connection.

It knows neither HTTP nor why a request is sent. The limits and the timer are the `mpp.wire.pool.Pool`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.errors import Cause, ClientTooSlow, Phase, UpstreamError
from mpp.interfaces import IProgress, IResponse
from mpp.model import Backend, Headers
from mpp.wire.slow import SPAN_S, SlowReaders
from mpp.wire.turns import Turns
from mpp.wire.upstream import UpstreamConnection

if TYPE_CHECKING:
    from mpp.wire.pool import Pool

_log = make_logger()

Request = tuple[bytes, bytes, int, Callable[[int, Headers], bool] | None, IProgress | None]
"""What `UpstreamConnection.send` takes."""

# How often it is logged that clients were reset, for each server.
QUIET_S = 60.0


class Lane:
    """
    The connections to one server, the requests under way on them, and those that wait.

    :ivar idle: connections without a request, the longest idle first.
    :ivar active: how many slots are taken.
    :ivar kept: what becomes idle is kept.
    :ivar queries: how many queries the server runs for us: those whose responses have not begun.
    :ivar turns: requests that wait for a slot.
    :ivar slow: responses that are paused by their clients.
    :ivar streams: connections with an event stream, which has no slot.
    """

    __slots__ = ("_backend", "_pool", "_reset", "_told_at", "active", "idle", "kept", "queries", "slow", "streams", "turns")

    def __init__(self, pool: Pool, backend: Backend) -> None:
        self._pool = pool
        self._backend = backend
        self._reset = 0
        self._told_at = float("-inf")
        self.idle: list[UpstreamConnection] = []
        self.active = 0
        self.kept = True
        self.queries = 0
        self.turns = Turns()
        self.slow = SlowReaders()
        self.streams: set[UpstreamConnection] = set()

    def __str__(self) -> str:
        queued = f", {self.turns.waiting} queued" if self.turns.waiting else ""
        paused = f", {self.slow.parked} paused" if self.slow.parked else ""
        return f"{self.active} active, {len(self.idle)} idle{queued}{paused}"

    # Requests

    def has_slot(self, query_slots: int) -> bool:
        """Return whether there is a slot for a request that comes now, see `mpp.interfaces.IUpstreams.has_room`."""
        return self.active < self._pool.max_active and (not query_slots or self.queries < query_slots)

    def enqueue(self, request: Request, fresh: bool, query_slots: int) -> Deferred[IResponse]:
        """Have a request wait for a slot, see `mpp.interfaces.IUpstreams.send`."""
        pool, progress = self._pool, request[4]
        if self.turns.waiting >= pool.max_queued:
            detail = f"{self.active} requests are under way and {self.turns.waiting} wait"
            return fail(UpstreamError(Phase.CONNECT, Cause.FULL, detail))

        def begin(_: None) -> Deferred[IResponse]:
            if progress is not None:
                progress.queued = False
                progress.turn_at = pool.clock.seconds()
            return self.send_now(request, fresh, query_slots)

        if progress is not None:
            progress.queued = True
        response = self.turns.join(query_slots).addCallback(begin)
        self._make_room()
        return response

    def send_now(self, request: Request, fresh: bool, query_slots: int) -> Deferred[IResponse]:
        """Send a request on a kept or, if there is none, on a new connection."""
        idle = self.idle
        while idle and not fresh:
            connection = idle.pop()
            if connection.alive:
                self.active += 1
                connection.has_slot = True
                if query_slots:
                    self.queries += 1
                    connection.has_query_slot = True
                return connection.send(*request)
        if self._pool.closing:
            return fail(shutting_down())
        self.active += 1
        if query_slots:
            self.queries += 1
        return self._send_fresh(request, query_slots > 0)

    def _send_fresh(self, request: Request, query: bool) -> Deferred[IResponse]:
        def connected(connection: UpstreamConnection) -> Deferred[IResponse]:
            connection.has_slot = True
            connection.has_query_slot = query
            return connection.send(*request)

        def not_connected(failure: Failure) -> Failure:
            self.active -= 1
            self.queries -= query
            self._go_on()
            if self._pool.closing:
                raise shutting_down()
            return failure

        return self._pool.connect(self._backend, self).addCallbacks(connected, not_connected)

    def _go_on(self) -> None:
        """Let those requests go for which there are slots."""
        turns = self.turns
        while self.active < self._pool.max_active and (turn := turns.next(self.queries)) is not None:
            turns.leave(turn)
            turn.callback(None)

    def refuse_queued(self) -> None:
        """Fail what waits."""
        for turn in self.turns.clear():
            turn.errback(shutting_down())

    # What a connection reports, see `mpp.wire.upstream.Keeper`

    def exchange_ended(self, connection: UpstreamConnection, reusable: bool) -> None:
        """Keep a connection that is idle again, and give its slot to the next request."""
        if reusable:
            self._keep(connection)
        if self.slow.accounts and self.slow.end(connection):
            self._park_more()
        if connection.has_query_slot:
            connection.has_query_slot = False
            self.queries -= 1
        if connection.has_slot:
            connection.has_slot = False
            self.active -= 1
        elif self.streams:
            self.streams.discard(connection)
        if self.turns.waiting:
            self._go_on()

    def _free(self, connection: UpstreamConnection) -> None:
        """Take a connection's slot, and give it to the next request."""
        if connection.has_slot:
            connection.has_slot = False
            self.active -= 1
            self._go_on()

    def connection_gone(self, connection: UpstreamConnection) -> None:
        """Forget a connection that has ended."""
        if connection in self.idle:
            self.idle.remove(connection)
        self._pool.gone(connection)

    def response_begun(self, connection: UpstreamConnection) -> None:
        """Take the query slot of a response: Prometheus begins to send when a query has been run."""
        if connection.has_query_slot:
            connection.has_query_slot = False
            self.queries -= 1
            self._go_on()

    def stream_begun(self, connection: UpstreamConnection) -> None:
        """Take the slot of an event stream: it lasts for as long as its client likes, and costs the server nothing."""
        self.streams.add(connection)
        self._free(connection)

    def response_paused(self, connection: UpstreamConnection) -> None:
        """Take the slot of a response that its client does not read on, see Note [Paused responses]."""
        pool = self._pool
        if connection.has_slot and self.slow.pause(connection, pool.max_active):
            self._free(connection)
        self._make_room()
        pool.sample_later()

    def response_resumed(self, connection: UpstreamConnection) -> None:
        """Give a slot back to a response that its client reads on, also if that makes one too many."""
        if self.slow.resume(connection):
            connection.has_slot = True
            self.active += 1
            self._park_more()

    # Slow clients

    def _park_more(self) -> None:
        """Free the slots of paused responses that could not give them back before."""
        for parked in self.slow.park_more(self._pool.max_active):
            assert isinstance(parked, UpstreamConnection)
            self._free(parked)

    def _make_room(self) -> None:
        """Give up the slowest response if a request waits for the slot that a paused one has."""
        if self.active < self._pool.max_active or self.turns.next(self.queries) is None:
            return
        connection = self.slow.slowest(self._pool.max_active)
        if connection is not None:
            assert isinstance(connection, UpstreamConnection)
            self._tell_reset(connection.client())
            connection.give_up(ClientTooSlow(f"another request waits, and this client took least in the last {SPAN_S} s"))

    def _tell_reset(self, client: str) -> None:
        pool = self._pool
        pool.reset_slow(self._backend)
        self._reset += 1
        now = pool.clock.seconds()
        if now - self._told_at >= QUIET_S:
            _log.warn(
                "{backend}: {count} responses were reset because requests wait and their clients read them too slowly"
                " (the last client: {client})",
                backend=self._backend.name,
                count=self._reset,
                client=client,
            )
            self._told_at, self._reset = now, 0

    # The end

    def end_streams(self) -> None:
        """End all event streams: their clients connect anew, to another server."""
        for connection in tuple(self.streams):
            connection.end_stream()

    # Idle connections

    def _keep(self, connection: UpstreamConnection) -> None:
        pool = self._pool
        if not self.kept or len(self.idle) >= pool.max_idle:
            connection.close()
            return
        connection.idle_since = pool.clock.seconds()
        self.idle.append(connection)
        pool.sweep_later()

    def close_idle(self, before: float) -> None:
        """Close what is idle since ``before`` or longer."""
        while self.idle and self.idle[0].idle_since <= before:
            self.idle.pop(0).close()


def shutting_down() -> UpstreamError:
    """Return the error of a request that is sent while mpp stops."""
    return UpstreamError(Phase.CONNECT, Cause.CLOSED, "shutting down")
