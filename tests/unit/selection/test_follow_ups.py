"""Something is done for each of some when it is due."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.selection.probe_schedule import ProbeSchedule


class FollowUpsTests(SynchronousTestCase):
    """What is due is run, each when it is due."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.due: dict[str, float] = {}
        self.latest: dict[str, float] = {}
        self.begun: list[tuple[str, float]] = []
        self.running: dict[str, Deferred[None]] = {}
        self.follow_ups = ProbeSchedule(self.begin, self.due, self.clock, 0.05, most=8, latest=self.latest)
        self.follow_ups.resume()

    def begin(self, name: str) -> Deferred[None]:
        """Begin one that the test ends."""
        self.begun.append((name, self.clock.seconds()))
        self.running[name] = Deferred()
        return self.running[name]

    def plan(self, **due: float) -> None:
        """Change what is due."""
        self.due.clear()
        self.due.update(due)
        self.follow_ups.plan()

    def end(self, name: str, **due: float) -> None:
        """End a running one, and change what is due."""
        self.due.clear()
        self.due.update(due)
        self.running.pop(name).callback(None)

    def test_each_in_its_time(self) -> None:
        """Each begins when it is due, however often the plan is looked at."""
        self.plan(a=0.5, b=0.25)
        for _ in range(10):
            self.clock.advance(0.125)
            self.follow_ups.plan()
        self.assertEqual(self.begun, [("b", 0.25), ("a", 0.5)])
        self.end("b")
        self.end("a")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_once_at_a_time(self) -> None:
        """One that runs does not begin again before it is over, and holds up nobody else."""
        self.plan(a=0.0, b=0.25)
        self.clock.advance(0)
        self.clock.advance(1)
        self.assertEqual([name for name, _ in self.begun], ["a", "b"])
        self.end("a", a=1.5)
        self.clock.advance(0.5)
        self.assertEqual([name for name, _ in self.begun], ["a", "b", "a"])

    def test_earlier_than_planned(self) -> None:
        """What becomes due earlier begins earlier, and what is not due any more does not begin."""
        self.plan(a=10.0)
        self.plan(a=10.0, b=1.0)
        self.clock.advance(1)
        self.end("b")
        self.clock.advance(100)
        self.assertEqual(self.begun, [("b", 1.0)])

    def test_no_hot_loop(self) -> None:
        """What stays due whatever is done begins again only after a pause, even if it is over at once."""
        self.follow_ups = ProbeSchedule(self.begin_and_end, self.due, self.clock, 0.05, most=8, latest=self.latest)
        self.follow_ups.resume()
        self.plan(a=0.0)
        for _ in range(100):
            self.clock.advance(0.01)
        self.assertLessEqual(len(self.begun), 21)
        self.assertGreaterEqual(len(self.begun), 15)

    def begin_and_end(self, name: str) -> Deferred[None]:
        """Make a whole one."""
        running = self.begin(name)
        running.callback(None)
        return running

    def test_due_almost_together(self) -> None:
        """Many that become due one right after the other begin together."""
        self.plan(**{name: 1.0 + number / 1000 for number, name in enumerate("abcdefgh")})
        self.clock.advance(1)
        self.clock.advance(0.05)
        self.assertEqual([at for _, at in self.begun], [1.0] * 2 + [1.05] * 6)

    def test_many_are_due(self) -> None:
        """When more are due than may begin together, those begin first that tolerate the least delay."""
        self.latest.update(x=10.0, y=5.0, **{f"n{number:02}": 0.9 for number in range(16)})
        self.plan(**dict.fromkeys(self.latest, 0.9))
        self.clock.advance(1)
        self.clock.advance(0.05)
        names = [name for name, _ in self.begun]
        self.assertEqual(names, [f"n{number:02}" for number in range(16)])

    def test_failed_follow_up_is_logged_and_repeated(self) -> None:
        """One that fails is logged, and begins again when it is due."""
        self.plan(a=0.0)
        self.clock.advance(0)
        self.running["a"].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(0.05)
        self.assertEqual(len(self.begun), 2)

    def test_pause_cancels_follow_ups_until_it_ends(self) -> None:
        """A pause cancels what runs and what is to come; afterwards it goes on."""
        self.plan(a=0.0, b=1.0)
        self.clock.advance(0)
        self.follow_ups.pause()
        self.assertTrue(self.running["a"].called)
        self.follow_ups.plan()
        self.clock.advance(2)
        self.assertEqual(([name for name, _ in self.begun], self.clock.getDelayedCalls()), (["a"], []))
        self.follow_ups.resume()
        self.clock.advance(0)
        self.assertEqual([name for name, _ in self.begun], ["a", "a", "b"])
