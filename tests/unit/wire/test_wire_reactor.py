"""Tests of `mpp.wire.tuned.reactor`: the poll loop. Real descriptors, for they are the subject."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.internet import main
from twisted.internet.epollreactor import EPollReactor
from twisted.trial.unittest import SynchronousTestCase

from mpp.wire.tuned import reactor

ROOT = Path(__file__).parents[3]


class Reader:
    """Reads when it is told to."""

    connector = None

    def __init__(self, failing: bool = False, answer: Any = None) -> None:
        self.socket, self.other = socket.socketpair()
        self.failing, self.answer = failing, answer
        self.data: list[bytes] = []
        self.lost: list[Any] = []
        self.written = 0

    def fileno(self) -> int:
        return self.socket.fileno()

    def doRead(self) -> Any:
        if self.failing:
            raise ValueError("a bug")
        self.data.append(self.socket.recv(100))
        return self.answer

    def doWrite(self) -> None:
        self.written += 1

    def readConnectionLost(self, reason: Any) -> None:
        self.lost.append(reason.value)

    connectionLost = readConnectionLost

    def logPrefix(self) -> str:
        return "reader"

    def close(self) -> None:
        self.socket.close()
        self.other.close()


class LeanReactorTests(SynchronousTestCase):
    """The lean poll loop does what Twisted's does."""

    def setUp(self) -> None:
        kind = reactor.lean_reactor()
        assert kind is not None
        self.reactor: Any = kind()
        self.addCleanup(self.reactor._poller.close)

    def reader(self, **how: Any) -> Reader:
        reader = Reader(**how)
        self.addCleanup(reader.close)
        self.reactor.addReader(reader)
        return reader

    def test_nothing_changed(self) -> None:
        """This release of Twisted has all that the lean loop leans on."""
        self.assertEqual(reactor.changed_privates(), ())

    def test_changed_twisted_is_detected(self) -> None:
        """A release of Twisted that has changed is found out."""
        self.patch(EPollReactor, "doIteration", None)
        self.assertEqual(reactor.changed_privates(), ("EPollReactor.doIteration is doPoll",))

    def test_only_readable_connections_are_read(self) -> None:
        """Who can read does, and nobody else."""
        first, second = self.reader(), self.reader()
        first.other.send(b"x")
        self.reactor.doPoll(0)
        self.assertEqual((first.data, second.data), ([b"x"], []))

    def test_writes_are_sent_after_all_reads(self) -> None:
        """What is written while others are still read is sent when all have been."""
        story: list[str] = []
        first, second = self.reader(), self.reader()
        for number, each in enumerate((first, second)):

            def read(number: int = number, each: Reader = each) -> None:
                each.socket.recv(100)
                story.append("read")
                self.reactor.turn.append(each)

            each.doRead = read  # type: ignore[method-assign]
            each.send_late = lambda: story.append("sent")  # type: ignore[attr-defined]
            each.other.send(b"x")
        self.reactor.doPoll(0)
        self.assertEqual(story, ["read", "read", "sent", "sent"])
        self.assertIsNone(self.reactor.turn)

    def test_many_events(self) -> None:
        """Many large requests at once do not delay timed calls; sockets that were left are read first, so that none starves."""
        story: list[int] = []
        for number in range(20):
            reader = self.reader()
            # It stays readable.
            reader.other.send(b"x")
            reader.doRead = lambda number=number: story.append(number)  # type: ignore[method-assign, misc]
        turns = []
        for _ in range(5):
            self.reactor.doPoll(0)
            turns.append(len(story))
        self.assertEqual(turns, [8, 16, 24, 32, 40])
        self.assertEqual({*Counter(story).values()}, {2})

    def test_ended_connection_is_removed(self) -> None:
        """Who says that it is over is removed, and told so."""
        reader = self.reader(answer=main.CONNECTION_LOST)
        reader.other.send(b"x")
        self.reactor.doPoll(0)
        self.assertEqual([type(each) for each in reader.lost], [type(main.CONNECTION_LOST)])
        self.assertNotIn(reader, self.reactor.getReaders())

    def test_bug_ends_one_connection_only(self) -> None:
        """A bug in one connection ends that one, is logged, and the others go on."""
        reader, other = self.reader(failing=True), self.reader()
        reader.other.send(b"x"), other.other.send(b"y")
        self.reactor.doPoll(0)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertIsInstance(reader.lost[0], ValueError)
        self.assertEqual(other.data, [b"y"])

    def test_write_and_hang_up(self) -> None:
        """What is not just reading is left to Twisted."""
        reader = self.reader()
        self.reactor.addWriter(reader)
        self.reactor.doPoll(0)
        self.assertEqual(reader.written, 1)
        reader.other.close()
        self.reactor.removeWriter(reader)
        self.reactor.doPoll(0)
        self.assertEqual(len(reader.data) + len(reader.lost), 1)

    def test_closed_by_another(self) -> None:
        """Who was closed by one that came before it in the same turn is left alone."""
        first, second = self.reader(), self.reader()
        first.other.send(b"x"), second.other.send(b"y")
        both = {first: second, second: first}
        for one, two in both.items():
            one.doRead = lambda one=one, two=two: (one.data.append(b"read"), self.reactor.removeReader(two))[1]  # type: ignore
        self.reactor.doPoll(0)
        self.assertEqual(len(first.data) + len(second.data), 1)


class GarbageTests(SynchronousTestCase):
    """What holds up the reactor from outside."""

    def test_early_objects_are_frozen_for_the_collector(self) -> None:
        """What is there when the reactor begins to run is not looked through for garbage any more."""
        code = (
            "import gc; from mpp.wire.tuned.reactor import install; install(tuned=True); from twisted.internet import reactor;"
            "reactor.callWhenRunning(lambda: (print(gc.get_freeze_count() > 10000), reactor.stop())); reactor.run()"
        )
        run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
        self.assertEqual(run.stdout, "True\n")
