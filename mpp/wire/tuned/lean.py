"""
A reactor that calls the readers of sockets without a logging context. To be imported only where there is epoll.

Twisted's own reactor sets a logging context around every single read (``log.callWithLogger``), for the sake of a prefix that
mpp's log does not have; for a small request that costs as much as parsing it. This reactor calls ``doRead`` itself when a socket
is only readable, and leaves every other event to Twisted.

Thirty large queries that arrive together take 10 ms and more to read. So an iteration handles `MOST_EVENTS` sockets at most.
Timed calls that are due are made between two iterations, and the next one begins with the sockets that were left (epoll_wait(2):
the kernel returns ready sockets "round robin").
"""

from __future__ import annotations

import select
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.python import log

READABLE = select.EPOLLIN

MOST_EVENTS = 8
"""Maximum number of sockets that are read or written in one iteration."""


class LeanReactor(EPollReactor):
    """
    The reactor that calls ``doRead`` without a logging context around it.

    :ivar turn: the transports whose ``send_late`` is called at the end of this iteration (see Note [Turns] in
        `mpp.wire.tuned.transports`); None between iterations.
    """

    turn: list[Any] | None = None

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events, and call the readers and writers that they are for."""
        selectables: dict[int, Any] = self._selectables
        try:
            events = self._poller.poll(-1 if timeout is None else timeout, MOST_EVENTS)
        except InterruptedError:
            return
        turn = self.turn = []
        for fd, event in events:
            selectable = selectables.get(fd)
            if selectable is None:
                # An earlier event of this iteration has closed it.
                continue
            if event != READABLE:
                log.callWithLogger(selectable, self._doReadOrWrite, selectable, fd, event)
                continue
            try:
                why = selectable.doRead()
            # As in Twisted: no error of one connection may stop the others; it ends that connection.
            except BaseException as error:
                log.err()
                why = error
            if why:
                self._disconnectSelectable(selectable, why, True)  # type: ignore[no-untyped-call]
        self.turn = None
        for transport in turn:
            transport.send_late()

    doIteration = doPoll
