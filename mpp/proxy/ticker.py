"""
Counts the time that requests wait: one tick for all of them, no timer for each.

# Note [Patience]

Time is counted in ticks, and a tick is counted only when it is acted on. A process that was stopped, or starved of the processor,
finds many seconds gone and not one answer read; by the clock every server would look stuck. By ticks one tick has passed, and
before the next one all that has arrived is read.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

TICKS = 5
"""How many ticks make the time after which a silent server is doubted: what is shared by all is late by a fifth at most."""


class Ticking(Protocol):
    """What waits: an `mpp.proxy.exchange.Exchange`."""

    def tick(self) -> None:
        """Take note that a tick has passed. May end the waiting, its own or another one's."""


class Ticker:
    """
    The ticks, as long as there is something that waits.

    :param period: seconds between two ticks.
    :ivar ticks: how many there were.
    """

    def __init__(self, clock: IReactorTime, period: float) -> None:
        self.ticks = 0
        self.period = period
        self._clock = clock
        self._waiting: set[Ticking] = set()
        self._next: IDelayedCall | None = None
        self._stopped = False

    def __repr__(self) -> str:
        return f"<Watch over {len(self._waiting)}>"

    def add(self, watched: Ticking) -> None:
        """Let it know of each tick from now on."""
        self._waiting.add(watched)
        if self._next is None and not self._stopped:
            self._next = self._clock.callLater(self.period, self._tick)

    def discard(self, watched: Ticking) -> None:
        """Leave it alone. Harmless when it is not watched."""
        self._waiting.discard(watched)

    def stop(self) -> None:
        """Tick no more."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _tick(self) -> None:
        self._next = None
        self.ticks += 1
        for watched in tuple(self._waiting):
            if watched in self._waiting:
                watched.tick()
        if self._waiting and self._next is None and not self._stopped:
            self._next = self._clock.callLater(self.period, self._tick)
