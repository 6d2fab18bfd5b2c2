"""
The look-ups of a locator that are under way, so that they can be given up when it is stopped.
"""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class PendingLookups:
    """Some Deferreds that have not fired yet."""

    def __init__(self) -> None:
        self._running: set[Deferred[Any]] = set()

    def add(self, looking: Deferred[T]) -> Deferred[T]:
        """Take note of a Deferred until it fires; give it back."""
        self._running.add(looking)
        return looking.addBoth(self._ended, looking)

    def cancel(self) -> None:
        """Give all of them up."""
        for looking in list(self._running):
            looking.cancel()

    def _ended(self, outcome: T, looking: Deferred[Any]) -> T:
        self._running.discard(looking)
        return outcome
