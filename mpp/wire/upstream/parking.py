"""
The slots of responses that slow clients have paused: frees them for other requests, and resets a response if requests wait.

See Note [Paused responses] in `mpp.wire.upstream.slow`, which decides. A `mpp.wire.upstream.lane.Lane` counts the slots.
"""

from __future__ import annotations

from txaio.tx import make_logger

from mpp.core.errors import ClientTooSlow
from mpp.core.text.humanize import noun
from mpp.wire.upstream.connection import UpstreamConnection
from mpp.wire.upstream.growth import ConnectionGrowth
from mpp.wire.upstream.interfaces import ILane, IPool
from mpp.wire.upstream.slow import SPAN_S

_log = make_logger()

# Seconds between two log messages about responses that were reset, per server.
QUIET_S = 60.0


class Parking:
    """
    The slots (under ``--max-concurrency``) of the responses of one server that clients have paused.

    :ivar given_up: connections that were reset to make room, and whose end has not been noticed yet.
    """

    __slots__ = ("_growth", "_lane", "_logged_at", "_pool", "_reset", "given_up")

    def __init__(self, pool: IPool, lane: ILane, growth: ConnectionGrowth) -> None:
        self._pool = pool
        self._lane = lane
        self._growth = growth
        self._reset = 0
        self._logged_at = float("-inf")
        self.given_up: set[UpstreamConnection] = set()

    def paused(self, connection: UpstreamConnection) -> None:
        """Free the slot of a response while its client does not read it, so that another request can have the slot."""
        if connection.slots and self._lane.slow.pause(connection, self._places):
            self._lane.free(connection)
        self.make_room()
        self._pool.sample_later()

    def resumed(self, connection: UpstreamConnection) -> None:
        """
        Assign a slot to a response again, because its client reads on.

        It does not wait for a free slot, so more slots than the limit may be in use then.
        """
        if self._lane.slow.resume(connection):
            connection.slots = 1
            self._lane.active += 1
            self.park_more()

    def park_more(self) -> None:
        """Free the slots of further paused responses, now that there are fewer paused responses without a slot."""
        for parked in self._lane.slow.park_more(self._places):
            assert isinstance(parked, UpstreamConnection)
            self._lane.free(parked)

    @property
    def _places(self) -> int:
        """The maximum number of paused responses without a slot: at most half of the connections that the server accepts."""
        limit = self._growth.counts.limit
        return self._pool.max_active if limit is None else min(self._pool.max_active, limit // 2)

    def make_room(self) -> None:
        """Reset the slowest response if a request waits for a slot or a connection, and a paused response has one."""
        lane = self._lane
        for_slot = lane.active >= self._pool.max_active and lane.queue.next(lane.queries) is not None
        # A connection that was reset makes room for another one only when it has ended.
        for_connection = lane.without_connection > len(self.given_up) + self._growth.opening
        if not (for_slot or for_connection):
            return
        connection = lane.slow.slowest(self._places)
        if connection is not None:
            assert isinstance(connection, UpstreamConnection)
            self.given_up.add(connection)
            self._report_reset(connection.client())
            connection.cancel_slow(ClientTooSlow(f"another request waits, and this client read least in the last {SPAN_S} s"))

    def _report_reset(self, client: str) -> None:
        backend = self._lane.backend
        self._pool.reset_slow(backend)
        self._reset += 1
        now = self._pool.clock.seconds()
        if now - self._logged_at >= QUIET_S:
            one, several = "response of {backend} was reset (incomplete): its client reads", "responses of {backend} were reset"
            were_reset = noun(self._reset, one, f"{several} (incomplete): their clients read")
            _log.warn(
                f"{{count}} {were_reset} too slowly, and other requests wait (the last of these clients: {{client}})",
                backend=backend.name,
                count=self._reset,
                client=client,
            )
            self._logged_at, self._reset = now, 0
