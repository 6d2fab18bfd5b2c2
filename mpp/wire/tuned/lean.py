"""
A reactor that calls the readers of sockets without a logging context, for a limited time in each iteration. To be imported only
where there is epoll.

Twisted's own reactor sets a logging context around every single read (``log.callWithLogger``), for the sake of a prefix that
mpp's log does not have; for a small request that costs as much as parsing it. This reactor calls ``doRead`` itself when a socket
is only readable, and leaves every other event to Twisted.

Thirty large queries that arrive together take 10 ms and more to read. So an iteration handles events for `EVENTS_S` only, and the
next one handles the others first, after the timed calls that are due. A socket whose event was not handled stays ready.
"""

from __future__ import annotations

import select
from collections.abc import Mapping
from time import perf_counter
from types import MappingProxyType
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.python import log

READABLE = select.EPOLLIN

EVENTS_S = 0.004
"""The seconds after which an iteration handles no further event."""

BETWEEN_CHECKS = 4
"""So many events are handled before the time is looked at."""


class LeanReactor(EPollReactor):
    """
    The reactor that calls ``doRead`` without a logging context around it.

    :ivar turn: the transports whose ``send_late`` is called at the end of this iteration (see Note [Turns] in
        `mpp.wire.tuned.transports`); None between iterations.
    :ivar _postponed: the file descriptors whose events were not handled, each with its place among them.
    """

    turn: list[Any] | None = None
    _postponed: Mapping[int, int] = MappingProxyType({})

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events, and call the readers and writers that they are for."""
        selectables: dict[int, Any] = self._selectables
        try:
            events = self._poller.poll(-1 if timeout is None else timeout, len(selectables))
        except InterruptedError:
            return
        if self._postponed:
            places, last = self._postponed, len(selectables)
            events.sort(key=lambda each: places.get(each[0], last))
            self._postponed = {}
        turn = self.turn = []
        until = perf_counter() + EVENTS_S
        for first in range(0, len(events), BETWEEN_CHECKS):
            if first and perf_counter() > until:
                self._postponed = {fd: place for place, (fd, _) in enumerate(events[first:])}
                break
            for fd, event in events[first : first + BETWEEN_CHECKS]:
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
