"""A log that repeats itself says so, once a minute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mpp.app.logs import format as logs
from mpp.app.logs.observer import LineObserver
from mpp.app.logs.repeats import MAX_LINES, QUIET_S, RepeatFilter
from mpp.proxy.decisions import access_fields as access

START = "2023-11-14T22:13:20.000Z"


class RepeatsTestCase(SynchronousTestCase):
    """A log, with a clock of its own."""

    def setUp(self) -> None:
        """Make the log."""
        self.clock = Clock()
        self.written: list[dict[str, Any]] = []
        self.lines = LineObserver("logfmt", "debug")
        self.repeats = RepeatFilter(self.written.append, self.clock.seconds, self.clock.callLater)  # type: ignore[arg-type]
        self.lines.is_due = self.is_due
        self.lines.write = lambda line: None
        self.log = Logger("mpp.test", observer=LogPublisher(self.take))

    def take(self, event: Any) -> None:
        """Log an event at the clock's time."""
        self.lines({**event, "log_time": 1_700_000_000.0 + self.clock.seconds()})

    def is_due(self, same: str, told: Any) -> bool:
        due = self.repeats.is_due(same, told)
        if due:
            self.written.append(dict(told))
        return due

    def messages(self) -> list[str]:
        """Return the messages that were written since the last call."""
        found = [str(told["msg"]) for told in self.written]
        self.written.clear()
        return found


class RepeatsTests(RepeatsTestCase):
    """Which lines are written."""

    def test_repeated_warning_is_written_once_a_minute(self) -> None:
        """Of a warning that comes ten times a second, one line is written a minute, with how often it came."""
        for _ in range(1000):
            self.log.warn("{backend}: certificate has expired", backend="a:9090")
            self.clock.advance(0.1)
        self.assertEqual(
            self.messages(),
            [
                "a:9090: certificate has expired",
                "a:9090: certificate has expired (599 more since 2023-11-14T22:13:20.000Z, the last at 2023-11-14T22:14:19.900Z)",
            ],
        )

    def test_count_is_told_when_no_more_come(self) -> None:
        """What was counted is told at the end of the minute, and nothing after that."""
        for _ in range(4):
            self.log.error("full")
        self.assertEqual(self.messages(), ["full"])
        self.clock.advance(QUIET_S - 0.1)
        self.assertEqual(self.messages(), [])
        self.clock.advance(0.1)
        (told,) = self.written
        self.assertEqual((told["msg"], told["repeated"]), (f"full (3 more since {START}, the last at {START})", 3))
        self.written.clear()
        self.clock.advance(10 * QUIET_S)
        self.assertEqual((self.messages(), self.clock.getDelayedCalls()), ([], []))

    def test_count_says_when_the_last_repetition_was(self) -> None:
        """A line that was counted and is written later has the time of the last one, so it is not taken for a present one."""
        self.log.warn("a is ejected")
        self.clock.advance(15)
        self.log.warn("a is ejected")
        self.clock.advance(QUIET_S)
        since, last = "2023-11-14T22:13:20.000Z", "2023-11-14T22:13:35.000Z"
        self.assertEqual(self.messages(), ["a is ejected", f"a is ejected (1 more since {since}, the last at {last})"])

    def test_told_again_after_a_minute(self) -> None:
        """A line that comes less often than once a minute is written each time, as it is."""
        for _ in range(3):
            self.log.warn("full")
            self.clock.advance(QUIET_S)
        self.assertEqual(self.messages(), ["full"] * 3)

    def test_distinct_lines(self) -> None:
        """A line that differs in anything but its time is another one: level, component, message, field, or traceback."""
        self.log.warn("full", size=1)
        self.log.warn("full", size=2)
        self.log.error("full", size=1)
        self.log.warn("empty", size=1)
        Logger("mpp.wire", observer=LogPublisher(self.take)).warn("full", size=1)
        for cause in (ValueError, KeyError):
            try:
                raise cause("full")
            except cause:
                self.log.failure("bug")
        self.assertEqual(self.messages(), ["full", "full", "full", "empty", "full", "bug", "bug"])

    def test_information_is_written_each_time(self) -> None:
        """Information is written each time: it may answer somebody who waits for it."""
        for tell in (self.log.info, self.log.debug):
            tell("read again")
            tell("read again")
        written: list[bytes] = []
        self.lines.write = written.append
        for _ in range(3):
            self.log.info("read again")
            self.log.error("not applied", log_each=True)
            Logger(access.COMPONENT, observer=LogPublisher(self.take)).info("request")
        self.assertEqual((self.messages(), len(written)), ([], 9))

    def test_named_by_what_it_says(self) -> None:
        """Information that names what is the same in it is written once a minute, with the numbers that came last."""
        for away in (1.5, 2.5, 3.5):
            self.log.info("{backend} is back after {away:.1f} s", backend="a", away=away, log_same="a is back")
        self.log.info("{backend} is back after {away:.1f} s", backend="b", away=1.0, log_same="b is back")
        self.assertEqual(self.messages(), ["a is back after 1.5 s", "b is back after 1.0 s"])
        self.clock.advance(QUIET_S)
        self.assertEqual(self.messages(), [f"a is back after 3.5 s (2 more since {START}, the last at {START})"])

    def test_counted_repeats_are_written_at_the_end(self) -> None:
        """What has been counted is told at the end of the program; what comes after that is written."""
        self.log.warn("full")
        self.log.warn("full")
        self.repeats.flush()
        self.log.warn("full")
        self.assertEqual(self.messages(), ["full", f"full (1 more since {START}, the last at {START})", "full"])

    def test_many_different_lines(self) -> None:
        """More different lines than are remembered are all written, and do not take memory for ever."""
        for number in range(MAX_LINES + 50):
            self.log.warn("{number}", number=number)
        self.assertEqual(len(self.messages()), MAX_LINES + 50)
        self.assertEqual(len(self.repeats._lines), MAX_LINES)
        self.clock.advance(QUIET_S)
        self.log.warn("another")
        self.assertEqual(len(self.repeats._lines), 1)

    @given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.5, 20.0, 60.0])), max_size=40))
    def test_none_is_lost(self, course: list[tuple[str, float]]) -> None:
        """Whenever lines come, each is written or counted, and none is written twice within a minute."""
        self.setUp()
        at: dict[str, list[float]] = {"a": [], "b": []}
        counted = {"a": 0, "b": 0}

        def look() -> None:
            for told in self.written:
                name = str(told["msg"])[0]
                at[name].append(self.clock.seconds())
                counted[name] += int(told.get("repeated", 1))
            self.written.clear()

        for name, pause in course:
            self.log.warn(name)
            look()
            for _ in range(int(pause * 2)):
                self.clock.advance(0.5)
                look()
        for _ in range(int(QUIET_S * 2)):
            self.clock.advance(0.5)
            look()
        for name in "ab":
            self.assertEqual(counted[name], sum(each == name for each, _ in course))
            self.assertTrue(all(late - early >= QUIET_S for early, late in zip(at[name], at[name][1:], strict=False)))


class SamenessTests(SynchronousTestCase):
    """What a line has in common with others."""

    def same(self, tell: Callable[[Logger], object]) -> str | None:
        """Return what an event has in common with others."""
        events: list[Any] = []
        tell(Logger("mpp.test", observer=LogPublisher(events.append)))
        return logs.sameness(events[0], logs.fields(events[0]))

    def test_sameness_key_is_short(self) -> None:
        """It is short, however long the line is."""
        self.assertEqual(len(self.same(lambda log: log.warn("x" * 100_000)) or ""), 32)

    def test_any_line_has_a_sameness_key(self) -> None:
        """Whatever a line holds, it has one."""
        self.assertIsNotNone(self.same(lambda log: log.warn("{a}", a="\ud800", b=b"\xff", c=float("nan"))))
