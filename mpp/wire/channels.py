"""
All open client connections.

One sweep and one drain serve all of them; no connection has a timer of its own.
"""

from __future__ import annotations

from typing import Protocol as Shape

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


class Channel(Shape):
    """What is registered here: a `mpp.wire.server.ProxyChannel`."""

    def close_if_idle(self, before: float) -> None:
        """Close if idle since ``before``."""

    def drain(self) -> None:
        """Finish, then close."""

    def abort(self) -> None:
        """Reset."""


class Channels:
    """
    The set of open client connections.

    :param clock: for what is idle since when, and for lingering.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._open: set[Channel] = set()
        self._drained: list[Deferred[None]] = []

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
            drained, self._drained = self._drained, []
            for each in drained:
                each.callback(None)

    def close_idle(self, now: float, idle_timeout: float) -> None:
        """Close the connections on which nothing was answered for ``idle_timeout`` seconds. To be called now and then."""
        for channel in list(self._open):
            channel.close_if_idle(now - idle_timeout)

    def drain(self) -> Deferred[None]:
        """
        Have every connection finish what it is answering, and close.

        :return Deferred(None): fires when the last one is gone. Cancel it, or `abort` the rest, to bound the wait.
        """
        drained: Deferred[None] = Deferred(self._forget)
        self._drained.append(drained)
        for channel in list(self._open):
            channel.drain()
        if not self._open and drained in self._drained:
            self._drained.remove(drained)
            drained.callback(None)
        return drained

    def abort(self) -> None:
        """Reset what is left."""
        for channel in list(self._open):
            channel.abort()

    def _forget(self, drained: Deferred[None]) -> None:
        self._drained.remove(drained)
