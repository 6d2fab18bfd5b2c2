"""Tests of the division of long computations among the turns of the reactor."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.scheduling.turns import Turns


class TurnsTests(SynchronousTestCase):
    """Several computations at the same time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.turns = Turns(self.clock)
        self.done: list[str] = []

    def turn(self) -> None:
        """Let one turn of the reactor pass; `Clock.advance` also calls what is scheduled meanwhile."""
        (call,) = self.clock.calls
        fire = call.func
        call.cancel()
        fire()

    def wait(self, name: str, count: int = 1) -> None:
        """Begin a computation of some slices."""

        def slice_done(_: None) -> None:
            self.done.append(name)
            if count > 1:
                self.wait(name, count - 1)

        self.turns.next().addCallback(slice_done)

    def test_one_slice_is_done_in_each_turn(self) -> None:
        """Of one computation after the other."""
        self.wait("a", 3)
        self.wait("b", 2)
        for number in range(5):
            self.turn()
            self.assertEqual(len(self.done), number + 1)
        self.assertEqual(self.done, ["a", "b", "a", "b", "a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_cancelled_computation_takes_no_turn(self) -> None:
        """The next one goes on."""
        waiting = self.turns.next()
        self.wait("b")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.clock.advance(0)
        self.assertEqual(self.done, ["b"])
