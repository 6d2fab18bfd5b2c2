"""What is done again and again."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.scheduling.periodic import PeriodicCheck
from tests.logged import logged


class PeriodicCheckTests(SynchronousTestCase):
    """A check each ten seconds."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.calls: list[float] = []
        self.outcomes: list[Deferred[None] | Exception] = []
        self.checks = PeriodicCheck(self.check, self.clock, 10.0, "counting", now=True)

    def check(self) -> Deferred[None] | None:
        """Have the next outcome; none is a success."""
        self.calls.append(self.clock.seconds())
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def test_failed_check_is_repeated(self) -> None:
        """A check that fails, at once or later, is logged and called again at the next time."""
        lines = logged(self, lambda event: formatEvent(event) if "periodic" in formatEvent(event) else "")
        self.outcomes = [OSError("too many open files"), fail(ValueError("later"))]
        self.checks.startService()
        self.clock.pump([10.0] * 3)
        self.assertEqual(self.calls, [0.0, 10.0, 20.0, 30.0])
        self.assertEqual(lines, ["bug: the periodic task 'counting' failed; it runs again in 10 s"] * 2)
        self.assertEqual(len(self.flushLoggedErrors(OSError, ValueError)), 2)

    def test_slow_check_is_not_called_twice(self) -> None:
        """The next call waits for one that takes longer than the interval."""
        slow: Deferred[None] = Deferred()
        self.outcomes = [slow]
        self.checks.startService()
        self.clock.pump([10.0] * 3)
        self.assertEqual(self.calls, [0.0])
        slow.callback(None)
        self.clock.advance(10.0)
        self.assertEqual(self.calls, [0.0, 40.0])

    def test_stop(self) -> None:
        """A service that has stopped calls nothing, and may be stopped again."""
        self.checks.startService()
        self.checks.stopService()
        self.checks.stopService()
        self.clock.pump([10.0] * 3)
        self.assertEqual((self.calls, self.clock.getDelayedCalls()), ([0.0], []))

    def test_changed_interval_applies_at_once(self) -> None:
        """Another interval counts at once, also when it is shorter; the same one changes nothing."""
        self.checks.startService()
        self.clock.advance(1)
        self.checks.change(2.0)
        self.clock.advance(1)
        self.checks.change(2.0)
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.calls, [0, 1, 3, 5])

    def test_change_while_waiting(self) -> None:
        """What is still under way when the interval changes does not make for a second series of calls."""
        waiting: list[Deferred[None]] = [Deferred(), Deferred()]
        self.outcomes = [*waiting]
        self.checks.startService()
        self.checks.change(2.0)
        for each in waiting:
            each.callback(None)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_change_of_a_stopped_service(self) -> None:
        """A service that does not run starts with the interval that was set last."""
        self.checks.change(2.0)
        self.assertEqual(self.calls, [])
        self.checks.startService()
        self.clock.pump([1.0] * 4)
        self.assertEqual(self.calls, [0, 2, 4])
