"""
All open client connections.

One sweep and one drain serve all of them; no connection has a timer of its own.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Protocol as Shape

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mpp.wire.downstream.timeouts import ACTIVE_S

# How often the connections are asked to close while all are being closed: often enough to add nothing to a second of patience.
DRAIN_STEP_S = 0.1


class Channel(Shape):
    """What is registered here: a `mpp.wire.downstream.channel.ProxyChannel`."""

    idle_since: float

    @property
    def idle(self) -> bool:
        """Whether nothing is being asked nor answered, and the connection is open for the next request."""

    def check_timeouts(self, now: float, idle_timeout: float) -> None:
        """End what takes too long."""

    def drain(self, now: float) -> None:
        """Take a step towards the end: close unless there is a reason to wait. Called again and again."""

    def close_idle(self) -> None:
        """Close unless a request has just arrived."""

    def abort(self) -> None:
        """Reset."""


class Channels:
    """
    The set of open client connections.

    :param clock: for what is idle since when.
    :ivar keeping: connections are kept for the next request; if not, each answer is its connection's last.
    :ivar left: called, each of them, after each connection's end.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self.keeping = True
        self.left: list[Callable[[], None]] = []
        self._open: set[Channel] = set()
        self._drained: list[Deferred[None]] = []
        self._step: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._open)

    def __repr__(self) -> str:
        return f"<Channels {len(self._open)} open>"

    def add(self, channel: Channel) -> None:
        """Take note of a new connection."""
        self._open.add(channel)

    def remove(self, channel: Channel) -> None:
        """Take note of a connection's end."""
        self._open.discard(channel)
        if not self._open:
            self._all_closed()
        for tell in self.left:
            tell()

    def check_timeouts(self, idle_timeout: float) -> None:
        """
        End what takes too long, on every connection. To be called every `mpp.wire.downstream.timeouts.SWEEP_S`.

        :param idle_timeout: seconds that a connection is kept without a request.
        """
        now = self.clock.seconds()
        for channel in tuple(self._open):
            channel.check_timeouts(now, idle_timeout)

    def make_room(self, count: int) -> None:
        """Close so many of the connections that wait for a request, the longest waiting first, but none just answered."""
        before = self.clock.seconds() - ACTIVE_S
        waiting = (channel for channel in self._open if channel.idle and channel.idle_since <= before)
        for channel in heapq.nsmallest(count, waiting, key=_idle_since):
            channel.close_idle()

    def drain(self) -> Deferred[None]:
        """
        Have every connection finish what it is answering, and close.

        :return Deferred(None): fires when the last one is gone. Cancel it, or `abort` the rest, to bound the wait.
        """
        self.keeping = False
        drained: Deferred[None] = Deferred(self._forget)
        self._drained.append(drained)
        if self._step is None:
            self._drain()
        return drained

    def abort(self) -> None:
        """Reset what is left."""
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
        drained, self._drained = self._drained, []
        for each in drained:
            each.callback(None)

    def _forget(self, drained: Deferred[None]) -> None:
        self._drained.remove(drained)


def _idle_since(channel: Channel) -> float:
    return channel.idle_since
