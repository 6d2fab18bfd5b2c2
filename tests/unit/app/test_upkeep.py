"""Tests of the return of free memory to the system."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.app.upkeep import MEMORY_INTERVAL_S, FreeMemory, system_trim


class FreeMemoryTests(SynchronousTestCase):
    """Free memory goes back to the system, not too often."""

    def test_interval(self) -> None:
        """It takes some milliseconds, so that it is not done at each check."""
        clock = Clock()
        trimmed: list[float] = []
        memory = FreeMemory(clock.seconds, lambda: trimmed.append(clock.seconds()))
        for _ in range(5):
            clock.advance(1)
            memory.give_back()
        self.assertEqual(trimmed, [MEMORY_INTERVAL_S, 2 * MEMORY_INTERVAL_S])

    def test_allocator(self) -> None:
        """The allocator of this system accepts the call, or there is nothing to call."""
        system_trim()()
