"""
Lets any number of callers wait for one event; knows nothing of the event.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred


class Waiters:
    """A set of Deferreds that fire together; cancelling one removes only that one."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self) -> Deferred[None]:
        """Return a new Deferred that fires with the others."""
        waiter: Deferred[None] = Deferred(self._leave)
        self._waiting.append(waiter)
        return waiter

    def _leave(self, waiter: Deferred[None]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def fire(self) -> None:
        """Fire all Deferreds that wait now. A callback may wait again, or cancel another Deferred."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)
