"""Where the log goes: nobody who reads it, or does not, stops the program."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mpp.app.logs import observer as output
from mpp.app.logs.observer import LineObserver, observer
from mpp.app.logs.stdout import MAX_HELD, BufferedOutput
from mpp.proxy.decisions import access_fields as access


class Reader:
    """A pipe whose reader does as the test says."""

    def __init__(self) -> None:
        self.end, self.given = os.pipe()
        os.set_blocking(self.end, False)

    def read(self) -> bytes:
        """Take all there is."""
        taken = b""
        while True:
            try:
                piece = os.read(self.end, 65536)
            except BlockingIOError:
                return taken
            if not piece:
                return taken
            taken += piece

    def close(self) -> None:
        """Close both ends, those that are open."""
        for end in (self.end, self.given):
            try:
                os.close(end)
            except OSError:
                continue


class DescriptorTests(SynchronousTestCase):
    """Lines on their way into a pipe."""

    def setUp(self) -> None:
        """Open a pipe."""
        self.pipe = Reader()
        self.addCleanup(self.pipe.close)
        self.later: list[Callable[[], None]] = []
        self.out = BufferedOutput(self.pipe.given, self.later.append, lambda lost: b"lost %d\n" % lost)

    def go_on(self) -> None:
        """Let some time pass."""
        later, self.later[:] = self.later[:], []
        for call in later:
            call()

    def read_all(self) -> bytes:
        """Read until nothing more comes."""
        taken = self.pipe.read()
        while self.later:
            self.go_on()
            taken += self.pipe.read()
        return taken

    def test_written_at_once(self) -> None:
        """A line is with its reader when it has been logged."""
        self.out.write(b"one\n")
        self.assertEqual(self.pipe.read(), b"one\n")
        self.assertEqual(self.later, [])

    def test_lines_of_a_turn(self) -> None:
        """What is logged in one turn of the reactor is written together, in order, when the turn ends."""
        turn: list[Any] | None = []
        out = BufferedOutput(self.pipe.given, self.later.append, lambda lost: b"lost %d\n" % lost, lambda: turn)
        for line in (b"one\n", b"two\n", b"x" * 5000 + b"\n", b"three\n"):
            out.write(line)
        self.assertEqual((self.pipe.read(), len(turn)), (b"", 1))
        ended, turn = turn, None
        ended[0].send_late()
        self.assertEqual(self.pipe.read(), b"one\ntwo\n" + b"x" * 5000 + b"\nthree\n")
        out.write(b"four\n")
        self.assertEqual(self.pipe.read(), b"four\n")

    def test_turn_that_broke_off(self) -> None:
        """A turn that did not come to its end, by a bug, does not silence the log: its lines come with the next one's."""
        turn: list[Any] = []
        out = BufferedOutput(self.pipe.given, self.later.append, lambda lost: b"lost %d\n" % lost, lambda: turn)
        out.write(b"one\n")
        turn = []
        out.write(b"two\n")
        turn[0].send_late()
        self.assertEqual(self.pipe.read(), b"one\ntwo\n")

    def test_last_words_of_a_turn(self) -> None:
        """What was logged in a turn that is the last is not lost."""
        out = BufferedOutput(self.pipe.given, self.later.append, lambda lost: b"lost %d\n" % lost, lambda: [])
        out.write(b"one\n")
        out.drain()
        self.assertEqual(self.pipe.read(), b"one\n")

    def test_reader_who_pauses(self) -> None:
        """A reader who pauses stops nothing, and gets every line, in order and whole, when he goes on."""
        lines = [b"%05d %b\n" % (number, b"x" * 300) for number in range(1000)]
        for line in lines:
            self.out.write(line)
        self.assertEqual(len(self.later), 1)
        self.assertEqual(self.read_all().splitlines(keepends=True), lines)

    def test_line_longer_than_the_pipe(self) -> None:
        """A line of any length passes, piece by piece."""
        line = b"y" * 300_000 + b"\n"
        self.out.write(line)
        self.out.write(b"next\n")
        self.assertEqual(self.read_all(), line + b"next\n")

    def test_reader_who_does_not_go_on(self) -> None:
        """What is held for a reader is bounded; he is told how many lines he has lost."""
        line = b"z" * 999 + b"\n"
        number = 2 * MAX_HELD // len(line)
        for _ in range(number):
            self.out.write(line)
        *kept, last = self.read_all().splitlines(keepends=True)
        self.assertEqual(set(kept), {line})
        self.assertLess(len(kept), number)
        self.assertEqual(last, b"lost %d\n" % (number - len(kept)))
        self.out.write(b"all is well\n")
        self.assertEqual(self.pipe.read(), b"all is well\n")

    def test_reader_who_is_gone(self) -> None:
        """A reader who is gone stops nothing, and nothing is kept for him."""
        os.close(self.pipe.end)
        for _ in range(3):
            self.out.write(b"one\n")
        self.assertEqual(self.later, [])

    def test_closed_output_stops_nothing(self) -> None:
        """An output that is closed stops nothing."""
        os.close(self.pipe.given)
        self.out.write(b"one\n")
        self.assertEqual(self.later, [])

    def test_non_blocking(self) -> None:
        """An output that somebody has made non-blocking loses nothing either."""
        os.set_blocking(self.pipe.given, False)
        lines = [b"%05d %b\n" % (number, b"x" * 300) for number in range(1000)]
        for line in lines:
            self.out.write(line)
        self.assertEqual(self.read_all().splitlines(keepends=True), lines)

    def test_disk_that_is_full(self) -> None:
        """Where a disk is full lines are lost, not torn into the next one, and how many is told when there is room again."""
        with tempfile.NamedTemporaryFile() as file:
            out = BufferedOutput(os.dup(file.fileno()), self.later.append, lambda lost: b"lost %d\n" % lost)
            self.addCleanup(signal.signal, signal.SIGXFSZ, signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
            try:
                for _ in range(3):
                    out.write(b"seven.\n")
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            out.write(b"room\n")
            self.assertEqual(Path(file.name).read_bytes(), b"seven.\nsev\nroom\nlost 2\n")

    def test_last_words(self) -> None:
        """At the end what is held is written if it is taken, and not waited for if it is not."""
        for number in range(1000):
            self.out.write(b"%05d %b\n" % (number, b"x" * 300))
        held = self.pipe.read()
        self.out.drain(0.05)
        self.assertGreater(len(self.pipe.read()), 0)
        self.assertTrue(held)
        os.close(self.pipe.end)
        self.out.drain(0.05)

    def test_logged_while_a_line_is_written(self) -> None:
        """Somebody may log in the midst of it: the notice of a loss does."""
        os.close(self.pipe.end)
        again = Reader()
        self.addCleanup(again.close)

        def notice(lost: int) -> bytes:
            out.write(b"in the midst\n")
            return b"lost %d\n" % lost

        out = BufferedOutput(again.given, self.later.append, notice)
        out.write(b"x" * (MAX_HELD + 1))
        out.write(b"one\n")
        self.assertEqual(again.read(), b"one\nin the midst\nlost 1\n")


class ObserverTests(SynchronousTestCase):
    """What becomes of an event."""

    def lines(self, least: str) -> list[str]:
        """Log one event of each level, and one request; give the messages that were written."""
        written: list[bytes] = []
        lines = LineObserver("logfmt", least)
        lines.write = written.append
        publisher = LogPublisher(lines)
        logger = Logger("mpp.test", observer=publisher)
        for tell in (logger.debug, logger.info, logger.warn, logger.error, logger.critical):
            tell(tell.__name__)
        Logger(access.COMPONENT, observer=publisher).info("request")
        self.assertTrue(all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in written))
        return [line.decode().partition("msg=")[2].partition(" ")[0] for line in written]

    def test_less_important_lines_are_not_written(self) -> None:
        """What is less important than the level is not written; the access log always is."""
        self.assertEqual(self.lines("debug"), ["debug", "info", "warn", "error", "critical", "request"])
        self.assertEqual(self.lines("warn"), ["warn", "error", "critical", "request"])
        self.assertEqual(self.lines("error"), ["error", "critical", "request"])

    def test_journal_lines_begin_with_their_priority(self) -> None:
        """For the journal each line begins with syslog's number of its level; so does the one that tells of a loss."""
        written: list[bytes] = []
        lines = LineObserver("logfmt", "debug", priorities=True)
        lines.write = written.append
        logger = Logger("mpp.test", observer=LogPublisher(lines))
        for tell in (logger.debug, logger.info, logger.warn, logger.error, logger.critical):
            tell("x")
        self.assertEqual(
            [line[:6] for line in (*written, lines.notice(1))], [b"<%d>ts=" % number for number in (7, 6, 4, 3, 3, 4)]
        )

    def test_format_and_level_change_between_lines(self) -> None:
        """Format and level may be others from one line to the next."""
        written: list[bytes] = []
        lines = LineObserver("logfmt", "warn")
        lines.write = written.append
        logger = Logger("mpp.test", observer=LogPublisher(lines))
        logger.info("unseen")
        logger.warn("first")
        lines.change("json", "info")
        logger.info("second")
        self.assertEqual([b"msg=first" in written[0], json.loads(written[1])["msg"]], [True, "second"])


class Reactor(MemoryReactorClock):
    """Has one thread only."""

    def callFromThread(self, call: Callable[..., object], *arguments: object) -> None:
        """Call."""
        call(*arguments)


class PlaceTests(SynchronousTestCase):
    """What twistd was told of the log."""

    def setUp(self) -> None:
        """Stand in for twistd's reactor, and its standard output."""
        self.reactor = Reactor()
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))

    def log(self, twistd: dict[str, Any], journal: str = "") -> ILogObserver | None:
        """Make the observer, and log one event."""
        made = observer("json", "info", twistd, self.reactor, journal)
        if made is not None:
            Logger("mpp.test", observer=made).info("hello")
        return made

    def test_ways_of_its_own(self) -> None:
        """Who asks twistd for syslog, or for an observer of his own, gets that."""
        self.assertIsNone(self.log({"syslog": True}))
        self.assertIsNone(self.log({"logger": lambda: None}))

    def test_daemon_without_a_file(self) -> None:
        """twistd itself refuses a daemon that is to log to standard output."""
        self.assertIsNone(self.log({"logfile": "-"}))

    def test_log_file_of_twistd_is_rotated_by_a_signal(self) -> None:
        """twistd's log file has the same lines, and is rotated by a signal."""
        path = Path(self.mktemp())
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        self.log({"logfile": str(path), "nodaemon": True})
        self.assertIn('"msg":"hello"', path.read_text())
        os.kill(os.getpid(), signal.SIGUSR1)
        self.assertTrue(path.with_name(path.name + ".1").exists())

    def test_standard_output(self) -> None:
        """In the foreground the lines go to standard output."""
        pipe = Reader()
        self.addCleanup(pipe.close)
        self.patch(sys, "__stdout__", io.TextIOWrapper(os.fdopen(os.dup(pipe.given), "wb")))
        self.log({"nodaemon": True})
        self.assertIn(b'"msg":"hello"', pipe.read())

    def test_only_the_journal_gets_priorities(self) -> None:
        """Only where standard output is the journal's end, and not something else, its lines say how important they are."""
        pipe = Reader()
        self.addCleanup(pipe.close)
        self.patch(sys, "__stdout__", io.TextIOWrapper(os.fdopen(os.dup(pipe.given), "wb")))
        end = os.fstat(pipe.given)
        for journal, mark in ((f"{end.st_dev}:{end.st_ino}", b"<6>"), (f"{end.st_dev}:{end.st_ino + 1}", b""), ("", b"")):
            self.log({"nodaemon": True}, journal)
            self.assertTrue(pipe.read().startswith(mark + b'{"ts":'), journal)
        path = Path(self.mktemp())
        self.log({"logfile": str(path), "nodaemon": True}, f"{end.st_dev}:{end.st_ino}")
        self.assertTrue(path.read_text().startswith('{"ts":'))

    def test_no_standard_output(self) -> None:
        """A program that was started without standard output runs without a log."""
        self.patch(sys, "__stdout__", None)
        self.assertIsNotNone(self.log({"nodaemon": True}, "1:2"))

    def test_paused_reader_is_looked_at_again(self) -> None:
        """What a reader did not take at once he gets soon."""
        pipe = Reader()
        self.addCleanup(pipe.close)
        self.patch(sys, "__stdout__", io.TextIOWrapper(os.fdopen(os.dup(pipe.given), "wb")))
        made = observer("logfmt", "info", {"nodaemon": True}, self.reactor, "")
        logger = Logger("mpp.test", observer=made)
        for number in range(1000):
            logger.info("{number} {padding}", number=number, padding="x" * 300)
        taken = pipe.read()
        for _ in range(30):
            self.reactor.advance(output.RETRY_S)
            taken += pipe.read()
        self.assertEqual(taken.count(b"\n"), 1000)
