"""Something for each of many, in small steps."""

from __future__ import annotations

import gc
from collections.abc import Iterator

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.scheduling.pacing import AT_ONCE, PAUSE_S, SLICE_S, STEPS_AT_ONCE, in_slices, of_each, with_breaks


class OfEachTests(SynchronousTestCase):
    """Something for each of many."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cancelled: list[int] = []
        self.running: dict[int, Deferred[str]] = {}

    def run_one(self, number: int) -> Deferred[str]:
        """Begin one that the test ends."""
        self.running[number] = Deferred(lambda _: self.cancelled.append(number))
        return self.running[number]

    def begin(self, count: int) -> Deferred[list[str]]:
        """Begin all."""
        return Deferred.fromCoroutine(of_each(self.run_one, range(count), self.clock))

    def test_in_turns(self) -> None:
        """So many begin at once, the others in later turns, whether or not the first ones are over."""
        done = self.begin(2 * AT_ONCE + 1)
        self.assertEqual(len(self.running), AT_ONCE)
        self.clock.advance(0)
        for number, running in reversed(self.running.items()):
            running.callback(f"{number}")
        self.assertEqual(self.successResultOf(done), [f"{number}" for number in range(2 * AT_ONCE + 1)])

    def test_cancelled_in_between(self) -> None:
        """Who cancels while some have not begun cancels those that run, and no other begins."""
        done = self.begin(AT_ONCE + 1)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.clock.advance(1)
        self.assertEqual(self.cancelled, list(range(AT_ONCE)))

    def test_cancelled_at_the_end(self) -> None:
        """Who cancels when all run cancels all."""
        done = self.begin(3)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.cancelled, [0, 1, 2])

    def test_dropped_deferred_is_collected_without_an_error(self) -> None:
        """One that nobody waits for any more is collected without an error."""
        self.begin(3)
        self.running.clear()
        for _ in range(3):
            gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_one_failure_ends_all(self) -> None:
        """One that fails ends all of them."""
        done = self.begin(3)
        self.running[1].errback(ZeroDivisionError())
        self.failureResultOf(done, ZeroDivisionError)
        self.assertEqual(self.cancelled, [0, 2])


class WithBreaksTests(SynchronousTestCase):
    """Something that is done at once, for each of many."""

    def test_in_turns(self) -> None:
        """So many steps are done at once, and the others in later turns."""
        clock, done = Clock(), list[int]()
        over = Deferred.fromCoroutine(with_breaks(done.append, range(2 * STEPS_AT_ONCE), clock))
        self.assertEqual(done, list(range(STEPS_AT_ONCE)))
        self.assertNoResult(over)
        clock.advance(0)
        self.successResultOf(over)
        self.assertEqual(done, list(range(2 * STEPS_AT_ONCE)))


class InSlicesTests(SynchronousTestCase):
    """A long calculation."""

    def test_each_slice_is_followed_by_a_pause(self) -> None:
        """After each slice there is a pause; a step is not interrupted, and the end comes with the last step."""
        clock, done = Clock(), []

        def steps() -> Iterator[None]:
            for number in range(9):
                clock.rightNow += SLICE_S / 2
                done.append(number)
                yield

        running = Deferred.fromCoroutine(in_slices(steps(), clock))
        for expected in (2, 4, 6, 8):
            self.assertEqual(len(done), expected)
            clock.advance(PAUSE_S / 2)
            self.assertEqual(len(done), expected)
            clock.advance(PAUSE_S)
        self.assertIsNone(self.successResultOf(running))
        self.assertEqual(len(done), 9)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """A calculation can be cancelled in a pause."""
        clock = Clock()
        running = Deferred.fromCoroutine(in_slices(iter(lambda: setattr(clock, "rightNow", clock.rightNow + 1), 7), clock))
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertEqual(clock.getDelayedCalls(), [])
