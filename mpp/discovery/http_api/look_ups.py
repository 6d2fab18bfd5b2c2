"""
The set of a locator's look-ups in progress, which are cancelled when the locator is stopped.
"""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class PendingLookups:
    """The look-ups of one locator that have not ended, each as the Deferred of its result."""

    def __init__(self) -> None:
        self._running: set[Deferred[Any]] = set()

    def add(self, looking: Deferred[T]) -> Deferred[T]:
        """Track a Deferred until it fires, and return it."""
        self._running.add(looking)
        return looking.addBoth(self._ended, looking)

    def cancel(self) -> None:
        """Cancel all tracked Deferreds."""
        for looking in list(self._running):
            looking.cancel()

    def _ended(self, outcome: T, looking: Deferred[Any]) -> T:
        self._running.discard(looking)
        return outcome
