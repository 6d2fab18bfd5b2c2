"""
The registry of all open client connections.

One periodic check and one drain serve all of them; no connection has a timer of its own.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Protocol as Shape

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mpp.core.scheduling.waiters import Waiters
from mpp.wire.downstream.timeouts import ACTIVE_S

# How often the connections are checked while all are being closed: often enough to add little to a time limit of one second.
DRAIN_STEP_S = 0.1


class Channel(Shape):
    """The interface of a registered connection, such as a `mpp.wire.downstream.channel.ProxyChannel`."""

    idle_since: float

    @property
    def idle(self) -> bool:
        """Whether the connection waits for a request, see `mpp.wire.downstream.channel.ProxyChannel.idle`."""

    def check_timeouts(self, now: float, idle_timeout: float) -> None:
        """Close the connection if it has exceeded a time limit, see `mpp.wire.downstream.channel.ProxyChannel.check_timeouts`."""

    def drain(self, now: float) -> None:
        """Close the connection as soon as no request is lost by that, see `mpp.wire.downstream.channel.ProxyChannel.drain`."""

    def close_idle(self) -> None:
        """Close the connection, which is idle, see `mpp.wire.downstream.channel.ProxyChannel.close_idle`."""

    def abort(self) -> None:
        """Reset the connection, see `mpp.wire.downstream.channel.ProxyChannel.abort`."""


class Channels:
    """
    The set of open client connections.

    :param clock: measures how long connections have been idle.
    :ivar keeping: connections stay open for the next request; if false, each response is the last of its connection.
    :ivar left: callbacks, all of which are called whenever a connection is removed from the set, mostly because it has ended.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self.keeping = True
        self.left: list[Callable[[], None]] = []
        self._open: set[Channel] = set()
        self._drained = Waiters()
        self._step: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._open)

    def __repr__(self) -> str:
        return f"<Channels {len(self._open)} open>"

    def add(self, channel: Channel) -> None:
        """Register a new client connection."""
        self._open.add(channel)

    def remove(self, channel: Channel) -> None:
        """Remove a client connection that has ended."""
        self._open.discard(channel)
        if not self._open:
            self._all_closed()
        for callback in self.left:
            callback()

    def check_timeouts(self, idle_timeout: float) -> None:
        """
        Enforce the time limits on every connection. Call it every `mpp.wire.downstream.timeouts.SWEEP_S`.

        :param idle_timeout: how many seconds a connection stays open without a request.
        """
        now = self.clock.seconds()
        for channel in tuple(self._open):
            channel.check_timeouts(now, idle_timeout)

    def make_room(self, count: int) -> None:
        """
        Close up to ``count`` connections that wait for a request, the longest idle first.

        Connections that became idle less than `ACTIVE_S` ago stay open, because a request may be on its way.
        """
        before = self.clock.seconds() - ACTIVE_S
        waiting = (channel for channel in self._open if channel.idle and channel.idle_since <= before)
        for channel in heapq.nsmallest(count, waiting, key=_idle_since):
            channel.close_idle()

    def drain(self) -> Deferred[None]:
        """
        Let every connection finish its current response, then close it.

        :return Deferred(None): fires when the last connection has ended. Cancel it, or `abort` the rest, to bound the wait.
        """
        self.keeping = False
        drained = self._drained.wait()
        if self._step is None:
            self._drain()
        return drained

    def abort(self) -> None:
        """Reset all connections that are left."""
        for channel in tuple(self._open):
            channel.abort()

    def _drain(self) -> None:
        self._step = None
        now = self.clock.seconds()
        for channel in tuple(self._open):
            channel.drain(now)
        if not self._open:
            self._all_closed()
        elif self._drained:
            self._step = self.clock.callLater(DRAIN_STEP_S, self._drain)

    def _all_closed(self) -> None:
        if self._step is not None:
            self._step.cancel()
            self._step = None
        self._drained.fire()


def _idle_since(channel: Channel) -> float:
    return channel.idle_since
