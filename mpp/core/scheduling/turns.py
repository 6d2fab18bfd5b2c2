"""
Lets long computations run in slices, by turns: however many are under way, one iteration of the reactor runs one slice.

For computations that clients wait for; `mpp.core.scheduling.pacing` is for work without a waiting client.
"""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Turns:
    """
    The computations that wait for a turn of the reactor, in the order in which they came.

    :param clock: the reactor, which calls back for each turn.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: OrderedDict[Deferred[None], None] = OrderedDict()
        self._next: IDelayedCall | None = None

    def __repr__(self) -> str:
        return f"<Turns: {len(self._waiting)} waiting>"

    def next(self) -> Deferred[None]:
        """Return a Deferred that fires in a later iteration of the reactor, in which no other Deferred of this object fires."""
        waiting: Deferred[None] = Deferred(self._forget)
        self._waiting[waiting] = None
        if self._next is None:
            self._next = self._clock.callLater(0, self._fire)
        return waiting

    def _forget(self, waiting: Deferred[None]) -> None:
        self._waiting.pop(waiting, None)

    def _fire(self) -> None:
        self._next = None
        if self._waiting:
            waiting, _ = self._waiting.popitem(last=False)
            if self._waiting:
                self._next = self._clock.callLater(0, self._fire)
            waiting.callback(None)
