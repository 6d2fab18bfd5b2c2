"""Rounds run once at a time, for any number of callers."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.selection.rounds import Rounds


class RoundsTests(SynchronousTestCase):
    """When a round begins, and who waits for which; see Note [Rounds]."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.begun: list[Deferred[None]] = []
        self.rounds = Rounds(self.begin, self.clock, 0.2)

    def begin(self) -> Deferred[None]:
        """Begin a round that the test ends."""
        self.begun.append(Deferred())
        return self.begun[-1]

    def test_requests_for_a_round_join_the_running_one(self) -> None:
        """Everyone who asks while a round runs waits for that one."""
        waiters = [self.rounds.join() for _ in range(3)]
        self.assertEqual(len(self.begun), 1)
        self.begun[0].callback(None)
        for waiter in waiters:
            self.successResultOf(waiter)
        self.clock.advance(1)
        self.assertEqual(len(self.begun), 1)

    def test_next_round_waits_for_the_least_interval(self) -> None:
        """The next round does not begin too soon after the last one; everyone waits for that same one."""
        self.rounds.join()
        self.begun[0].callback(None)
        waiters = [self.rounds.join(), self.rounds.join()]
        self.assertEqual(len(self.begun), 1)
        self.clock.advance(0.2)
        self.assertEqual(len(self.begun), 2)
        self.begun[1].callback(None)
        for waiter in waiters:
            self.successResultOf(waiter)

    def test_outdated_round_is_followed_by_another(self) -> None:
        """An outdated round is followed by another one; who asked before waits for the first, who asks then for the second."""
        before = self.rounds.join()
        self.rounds.refresh()
        self.rounds.refresh()
        after = self.rounds.join()
        self.clock.advance(1)
        self.begun[0].callback(None)
        self.successResultOf(before)
        self.assertNoResult(after)
        self.assertEqual(len(self.begun), 2)
        self.begun[1].callback(None)
        self.successResultOf(after)
        self.clock.advance(1)
        self.assertEqual(len(self.begun), 2)

    def test_renewal_without_a_round(self) -> None:
        """Renewing begins a round when none runs, and that one is joined."""
        self.rounds.refresh()
        waiter = self.rounds.join()
        self.begun[0].callback(None)
        self.successResultOf(waiter)
        self.clock.advance(1)
        self.assertEqual(len(self.begun), 1)

    def test_rounds_that_end_at_once(self) -> None:
        """A round that is over before it has returned is over."""
        rounds = Rounds(self.begin_and_end, self.clock, 0.2)
        self.successResultOf(rounds.join())
        waiter = rounds.join()
        self.clock.advance(0.2)
        self.successResultOf(waiter)

    def begin_and_end(self) -> Deferred[None]:
        """Make a whole round."""
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def test_failed_round(self) -> None:
        """A round that fails is logged, and ends like any other."""
        waiter = self.rounds.join()
        self.begun[0].errback(ZeroDivisionError())
        self.successResultOf(waiter)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.rounds.join()
        self.clock.advance(0.2)
        self.assertEqual(len(self.begun), 2)

    def test_waiter_cancelled(self) -> None:
        """Who does not want to wait any longer does not stop the round, nor the others."""
        waiters = [self.rounds.join(), self.rounds.join()]
        waiters[0].cancel()
        self.failureResultOf(waiters[0], CancelledError)
        self.begun[0].callback(None)
        self.successResultOf(waiters[1])

    def test_stop_cancels_the_running_round(self) -> None:
        """Stopping cancels the running round, lets everyone go, and begins no other one."""
        waiters = [self.rounds.join()]
        self.rounds.refresh()
        waiters.append(self.rounds.join())
        self.rounds.stop()
        for waiter in waiters:
            self.successResultOf(waiter)
        self.assertTrue(self.begun[0].called)
        self.clock.advance(1)
        self.assertEqual(len(self.begun), 1)

    def test_stop_before_a_round(self) -> None:
        """Stopping lets go those whose round has not begun yet."""
        self.rounds.join()
        self.begun[0].callback(None)
        waiter = self.rounds.join()
        self.rounds.stop()
        self.successResultOf(waiter)
        self.assertEqual(self.clock.getDelayedCalls(), [])
