"""
Lets clients in as long as there is room for them. Nobody is refused for want of it: those who have to wait do so in the kernel.

Knows Twisted's ports and the number of open connections; nothing of what is served. Ports of other kinds are left as they are.
"""

from __future__ import annotations

import functools
import socket
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.wire.downstream.channels import Channels

_log = make_logger()

# Connections accepted before those that are open get their turn: Twisted's own number.
AT_ONCE = 100
# When all places are taken, as many are emptied as there are clients waiting; where the kernel does not tell (it does on Linux),
# this share of all.
SHARE = 10
# Where a listening socket's TCP_INFO says how many wait in its queue: tcpi_unacked, the fifth number after eight bytes.
_WAITING = struct.Struct("=24xI")
# The queue of a socket that is about to be closed is emptied; the kernel holds no more than this in it (net.core.somaxconn).
WHOLE_QUEUE = 4096
# How often it is logged that there is no room, for each reason.
QUIET_S = 60.0


class ConnectionLimit:
    """
    Accepts connections while there are fewer than a limit.

    When there are as many, those that have waited longest for their next request are closed, answers become their connections'
    last, and accepting pauses until there is room. The same when the process is out of file descriptors before that, but then
    Twisted has closed what was waiting: with no descriptor left it cannot be left waiting without being accepted over and over.

    :param at_once: how many are accepted before those that are open get their turn.
    :ivar limit: how many connections may be open.
    """

    def __init__(self, channels: Channels, limit: int, at_once: int = AT_ONCE) -> None:
        self.limit = limit
        self._at_once = at_once
        self._channels = channels
        self._ports: list[Any] = []
        self._is_shut = False
        self._looked_at = float("-inf")
        self._reported_at: dict[str, float] = {}
        self._exhausted = False
        channels.left.append(self._left)

    def __repr__(self) -> str:
        return f"<Gate {'shut' if self._is_shut else 'open'}, {len(self._channels)} of {self.limit}>"

    def guard(self, port: object) -> bool:
        """Govern a listening port from now on; tell whether that can be done."""
        if not isinstance(port, tcp.Port):
            return False
        self._ports.append(port)
        port.doRead = functools.partial(self._admit, port, port.doRead)  # type: ignore[method-assign]
        # It writes a line for each connection that it closes for want of a descriptor.
        port._logger = Logger(namespace="mpp.accept", observer=self._no_descriptor)  # type: ignore[arg-type]
        return True

    def release(self, port: object) -> None:
        """Govern a port no more: it is about to be closed."""
        if port in self._ports:
            self._ports.remove(port)

    def check(self) -> None:
        """Look for room again, if there was none. To be called now and then."""
        if self._is_shut and not self._open_if_room():
            self._make_room()

    def leave(self) -> None:
        """Govern nothing any more: the ports are about to be closed."""
        self._ports.clear()
        self._is_shut = False

    def _admit(self, port: Any, accept: Callable[[], None]) -> None:
        room = self.limit - len(self._channels)
        if room > 0:
            port.numberAccepts = min(room, self._at_once)
            accept()
            if self._exhausted:
                self._exhausted = False
                self._shut("out of file descriptors with {open} client connections: new ones had to be closed")
        else:
            self._shut("all places for client connections are taken ({open}): further ones wait")

    def _shut(self, why: str) -> None:
        self._is_shut = True
        self._channels.keeping = False
        for port in self._ports:
            port.stopReading()
        now = self._channels.clock.seconds()
        if now - self._reported_at.get(why, float("-inf")) >= QUIET_S:
            self._reported_at[why] = now
            _log.warn(why, open=len(self._channels))
        self._make_room()

    def _make_room(self) -> None:
        """Have idle connections closed; not more than once a second, since all are looked at."""
        now = self._channels.clock.seconds()
        if now - self._looked_at >= 1.0:
            self._looked_at = now
            self._channels.make_room(sum(map(self._waiting, self._ports)))

    def _waiting(self, port: Any) -> int:
        try:
            (waiting,) = _WAITING.unpack(port.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _WAITING.size))
        except (AttributeError, OSError, struct.error):
            waiting = 1 + self.limit // SHARE
        return int(waiting)

    def _left(self) -> None:
        if self._is_shut:
            self._open_if_room()

    def _open_if_room(self) -> bool:
        if len(self._channels) >= self.limit:
            return False
        self._is_shut = False
        self._channels.keeping = True
        for port in self._ports:
            port.startReading()
        return True

    def _no_descriptor(self, event: dict[str, Any]) -> None:
        self._exhausted = True


def close_empty(port: Any) -> None:
    """
    Close a listening port of our own, after everybody who waited to be accepted was.

    A socket's queue dies with it. What comes between the last look and the close is lost; nothing lies between the two here.
    """
    if not isinstance(port, tcp.Port):
        port.stopListening()
        return
    port.stopReading()
    port.numberAccepts = WHOLE_QUEUE
    type(port).doRead(port)
    # At once: `stopListening` would close it in the next turn of the reactor, `connectionLost` after a line in the log.
    port.socket.close()
    port.connectionLost(Failure(ConnectionDone()))
