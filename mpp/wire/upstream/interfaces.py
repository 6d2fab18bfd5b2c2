"""The interfaces of a `mpp.wire.upstream.pool.Pool` and of a `mpp.wire.upstream.lane.Lane` for the parts of a lane."""

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
    """The interface of a lane, for the pool and for `mpp.wire.upstream.parking`. See `mpp.wire.upstream.lane.Lane`."""

    backend: Backend
    active: int
    queries: int
    queue: RequestQueue
    slow: SlowReaders

    @property
    def without_connection(self) -> int:
        """See `mpp.wire.upstream.lane.Lane.without_connection`."""

    def free(self, connection: UpstreamConnection) -> None:
        """See `mpp.wire.upstream.lane.Lane.free`."""

    def retire(self, connection: UpstreamConnection) -> None:
        """See `mpp.wire.upstream.lane.Lane.retire`."""


class IPool(Shape):
    """The interface of the pool for its lanes. See `mpp.wire.upstream.pool.Pool`."""

    clock: IReactorTime
    max_idle: int
    max_active: int
    max_queued: int
    reset_slow: Callable[[Backend], None]
    question: Callable[[Backend], bytes] | None

    @property
    def closing(self) -> bool:
        """See `mpp.wire.upstream.pool.Pool.closing`."""

    def connect(self, lane: ILane, /) -> Deferred[UpstreamConnection]:
        """See `mpp.wire.upstream.pool.Pool.connect`."""

    def drop(self, lane: ILane, /) -> None:
        """See `mpp.wire.upstream.pool.Pool.drop`."""

    def connection_closed(self, connection: UpstreamConnection, /) -> None:
        """See `mpp.wire.upstream.pool.Pool.connection_closed`."""

    def schedule_idle_check(self) -> None:
        """See `mpp.wire.upstream.pool.Pool.schedule_idle_check`."""

    def sample_later(self) -> None:
        """See `mpp.wire.upstream.pool.Pool.sample_later`."""
