"""The interfaces of the connection pool, and of the connections and requests of one server in it, for modules beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Shape

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mpp.core.model import Backend
from mpp.wire.upstream.connection import UpstreamConnection
from mpp.wire.upstream.keeping import ConnectionOwner
from mpp.wire.upstream.queues import RequestQueue
from mpp.wire.upstream.slow import SlowReaders


class ILane(ConnectionOwner[UpstreamConnection], Shape):
    """The interface of a `mpp.wire.upstream.lane.Lane`: all connections to one server, and the requests on them and for them."""

    backend: Backend
    active: int
    queries: int
    queue: RequestQueue
    slow: SlowReaders

    @property
    def without_connection(self) -> int:
        """How many requests wait for one of the few connections that the server accepts, see `Lane.without_connection`."""

    def free(self, connection: UpstreamConnection) -> None:
        """Free the slot of a connection's request, see `mpp.wire.upstream.lane.Lane.free`."""

    def retire(self, connection: UpstreamConnection) -> None:
        """Send no further request on a connection, see `mpp.wire.upstream.lane.Lane.retire`."""


class IPool(Shape):
    """The interface of a `mpp.wire.upstream.pool.Pool` for the objects in it that each have the connections to one server."""

    clock: IReactorTime
    max_idle: int
    max_active: int
    max_queued: int
    reset_slow: Callable[[Backend], None]
    question: Callable[[Backend], bytes] | None

    @property
    def closing(self) -> bool:
        """Whether the pool is being closed, see `mpp.wire.upstream.pool.Pool.closing`."""

    def connect(self, lane: ILane, /) -> Deferred[UpstreamConnection]:
        """Open a connection to a server, see `mpp.wire.upstream.pool.Pool.connect`."""

    def drop(self, lane: ILane, /) -> None:
        """Forget a server with neither connections nor requests, see `mpp.wire.upstream.pool.Pool.drop`."""

    def connection_closed(self, connection: UpstreamConnection, /) -> None:
        """Record that a connection has ended, see `mpp.wire.upstream.pool.Pool.connection_closed`."""

    def schedule_idle_check(self) -> None:
        """Start the timer that closes idle connections, see `mpp.wire.upstream.pool.Pool.schedule_idle_check`."""

    def sample_later(self) -> None:
        """Start the timer that watches slow clients, see `mpp.wire.upstream.pool.Pool.sample_later`."""
