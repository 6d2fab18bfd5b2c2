"""
Counts the time that requests wait: one timer calls all of them, instead of one timer for each.

# Note [Counted time]

The seconds that a request waits are counted tick by tick, and not measured by the clock. When a process was stopped, or got no
processor time, many seconds pass although it has not read the responses that have arrived; by the clock every server would look
stuck. The ticker counts one period for such a pause, and by the next tick all that had arrived has been read.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

TICKS = 5
"""
The number of ticks in the time of ``--suspect-after``. A request begins between two ticks, so that a silent server is noticed up
to a fifth of this time late.
"""

ROUNDING = 1e-6
"""The tolerance in seconds for comparisons of counted times, which are sums of many periods."""


class Ticking(Protocol):
    """The interface of a waiting request that the ticker calls: `mpp.proxy.exchanges.exchange.Exchange`."""

    def tick(self) -> None:
        """Handle one tick; this may remove requests from the ticker, this one or others."""


class Ticker:
    """
    The timer that calls all waiting requests periodically, as long as at least one waits.

    :ivar period: the seconds between two ticks.
    :ivar now: the counted time in seconds, see Note [Counted time].
    """

    def __init__(self, clock: IReactorTime, period: float) -> None:
        self.now = 0.0
        self.period = self._configured = period
        self._clock = clock
        self._waiting: set[Ticking] = set()
        self._next: IDelayedCall | None = None
        self._stopped = False

    def __repr__(self) -> str:
        return f"<Ticker of {len(self._waiting)}>"

    def reconfigure(self, period: float) -> None:
        """Use another period; a longer one only when no request waits, because a waiting one may need the shorter one."""
        self._configured = period
        self.period = min(self.period, period)

    def add(self, waiting: Ticking) -> None:
        """Call a request at each tick from now on."""
        self._waiting.add(waiting)
        if self._next is None and not self._stopped:
            if len(self._waiting) == 1:
                self.period = self._configured
            self._next = self._clock.callLater(self.period, self._tick)

    def discard(self, waiting: Ticking) -> None:
        """Stop calling a request. Harmless if it was not added."""
        self._waiting.discard(waiting)

    def stop(self) -> None:
        """Stop the ticks for good."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _tick(self) -> None:
        self._next = None
        self.now += self.period
        for waiting in tuple(self._waiting):
            if waiting in self._waiting:
                waiting.tick()
        if self._waiting and self._next is None and not self._stopped:
            self._next = self._clock.callLater(self.period, self._tick)
