"""
The limit on open client connections. No client is rejected at the limit: further ones wait in the kernel's accept queue.

Knows Twisted's ports and the number of open connections; nothing of what is served. Ports of other kinds are left unchanged.
A connection that waits for its PROXY header counts, too: it has a descriptor, and a client may open many.
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
from mpp.wire.downstream.proxy_protocol import ProxyHeaderFactory

_log = make_logger()

# How many connections are accepted before the open ones get their turn: Twisted's own number.
AT_ONCE = 100
# At the limit, as many idle connections are closed as clients wait; where the kernel does not report how many wait (Linux does),
# this fraction of the limit.
SHARE = 10
# The position in a listening socket's TCP_INFO of the number of clients in its queue: tcpi_unacked, the fifth number after eight
# bytes.
_WAITING = struct.Struct("=24xI")
# How many waiting clients are accepted from a socket that is about to be closed; the kernel queues no more (net.core.somaxconn).
WHOLE_QUEUE = 4096
# How often it is logged that no connection can be accepted, in seconds for each reason.
QUIET_S = 60.0


class ConnectionLimit:
    """
    Accepts client connections while fewer than a limit are open.

    At the limit, the longest idle connections are closed, each response becomes the last of its connection, and accepting pauses
    until a connection has ended. The same happens when the process runs out of file descriptors, but then Twisted has already
    closed the connections that waited: it cannot accept them, and would try again and again if it left them waiting.

    :param at_once: how many connections are accepted in one iteration of the reactor, before the open ones are served.
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
        """Apply the limit to a listening port from now on; return False if it is not a port of TCP."""
        if not isinstance(port, tcp.Port):
            return False
        self._ports.append(port)
        if isinstance(port.factory, ProxyHeaderFactory):
            port.factory.channels = self._channels
        port.doRead = functools.partial(self._admit, port, port.doRead)  # type: ignore[method-assign]
        # Twisted logs a line for each connection that it closes for want of a descriptor.
        port._logger = Logger(namespace="mpp.accept", observer=self._no_descriptor)  # type: ignore[arg-type]
        return True

    def release(self, port: object) -> None:
        """Stop applying the limit to a port, which is about to be closed."""
        if port in self._ports:
            self._ports.remove(port)

    def check(self) -> None:
        """Accept connections again if fewer than the limit are open now; if not, close idle ones. Call it periodically."""
        if self._is_shut and not self._open_if_room():
            self._make_room()

    def leave(self) -> None:
        """Stop applying the limit to all ports, because they are about to be closed."""
        self._ports.clear()
        self._is_shut = False

    def _admit(self, port: Any, accept: Callable[[], None]) -> None:
        room = self.limit - len(self._channels)
        if room > 0:
            port.numberAccepts = min(room, self._at_once)
            accept()
            if self._exhausted:
                self._exhausted = False
                self._shut(
                    "new client connections were closed: mpp is out of file descriptors, {open} are open; mpp closes idle ones"
                )
        else:
            self._shut(
                "new client connections wait: the limit is reached (--max-connections), {open} are open; mpp closes idle ones"
            )

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
        """Close idle connections, at most once a second, because it examines all of them."""
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
    Close a listening port after accepting all clients that wait in its queue.

    The queue of a socket is lost with it. A client that connects between the last accept and the close is lost; here nothing else
    runs between the two.
    """
    if not isinstance(port, tcp.Port):
        port.stopListening()
        return
    port.stopReading()
    port.numberAccepts = WHOLE_QUEUE
    type(port).doRead(port)
    # `stopListening` would close the socket only in the next reactor iteration, and `connectionLost` alone would first write a
    # log line.
    port.socket.close()
    port.connectionLost(Failure(ConnectionDone()))
