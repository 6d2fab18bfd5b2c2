"""What a service manager is told."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
from collections.abc import Iterator
from unittest import SkipTest

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mpp.app.systemd import ServiceManager, SystemdNotifier, describe
from mpp.core.coverage import WHOLE_POOL
from mpp.core.interfaces import ISelections
from mpp.core.model import Backend, Choice, Observation, Selection, Standing

A, B = (Backend("http", f"prom-{name}", 9090) for name in "ab")
WELL = Selection(1, Choice((A,), (B,)), (Observation(A, Standing.VIABLE), Observation(B, Standing.VIABLE)))
DOWN = Observation(A, Standing.DOWN, "connection refused")
FAILED_OVER = Selection(2, Choice((B,), (A,)), (DOWN, Observation(B, Standing.VIABLE)))


@implementer(ISelections)
class Selections:
    """What is selected, as the test says."""

    def __init__(self) -> None:
        self.current = Selection()
        self.coverage = WHOLE_POOL
        self.first: Deferred[Selection] = Deferred()

    def ready(self) -> Deferred[Selection]:
        return self.first

    def reselect(self) -> Deferred[Selection]:
        return self.first

    def report(self, backend: Backend, standing: Standing, why: str) -> None:
        """Not asked for."""

    def answered(self, backend: Backend) -> None:
        """Not asked for."""


@contextlib.contextmanager
def no_descriptor() -> Iterator[None]:
    """Let this process open nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Inbox:
    """The service manager's socket, a real one."""

    def __init__(self, case: SynchronousTestCase, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        case.addCleanup(self._socket.close)

    def messages(self) -> list[list[str]]:
        """Return the lines of each datagram that has come since."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(65536).decode().splitlines())
            except BlockingIOError:
                return found


class SupervisorTests(SynchronousTestCase):
    """What the environment says of the service manager."""

    def test_notify_socket_and_watchdog_are_read(self) -> None:
        """A socket, a watchdog that is ours, and nothing when there is no socket of this machine."""
        for environ, expected in (
            ({}, ServiceManager()),
            ({"NOTIFY_SOCKET": "/run/notify"}, ServiceManager("/run/notify")),
            ({"NOTIFY_SOCKET": "@notify", "WATCHDOG_USEC": "3000000"}, ServiceManager("@notify", 3.0)),
            ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}, ServiceManager("/n", 3.0)),
            ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}, ServiceManager("/n")),
            ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "often"}, ServiceManager("/n")),
            ({"NOTIFY_SOCKET": "vsock:2:1234"}, ServiceManager()),
            ({"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "3000000"}, ServiceManager()),
        ):
            self.assertEqual(ServiceManager.of(environ, 7), expected, environ)

    def test_abstract_socket(self) -> None:
        """A name in Linux' abstract namespace is no file."""
        if sys.platform != "linux":
            raise SkipTest("only Linux has abstract sockets")
        inbox = Inbox(self, f"@mpp-test-{os.getpid()}")
        self.assertTrue(ServiceManager(inbox.address).notify("READY=1", "STATUS=well"))
        self.assertEqual(inbox.messages(), [["READY=1", "STATUS=well"]])

    def test_nobody_there(self) -> None:
        """A service manager that is gone is no reason to stop."""
        self.assertFalse(ServiceManager("/nonexistent/notify").notify("READY=1"))


class NoticesTests(SynchronousTestCase):
    """What is told when."""

    def setUp(self) -> None:
        # Not mktemp(): the address of a socket may be no longer than 107 bytes.
        self.inbox = Inbox(self, f"mpp-{os.getpid()}-{id(self)}.sock")
        self.addCleanup(os.remove, self.inbox.address)
        self.clock = Clock()
        self.selections = Selections()

    def notices(self, watchdog_s: float = 0.0) -> SystemdNotifier:
        notices = SystemdNotifier(ServiceManager(self.inbox.address, watchdog_s), self.selections, self.clock)
        notices.startService()
        return notices

    def first_round(self, selection: Selection = WELL) -> None:
        self.selections.current = selection
        self.selections.first.callback(selection)

    def test_ready_after_the_first_round(self) -> None:
        """Nobody is sent to an mpp that knows no servers yet."""
        self.notices()
        self.clock.advance(60)
        self.assertEqual(self.inbox.messages(), [])
        self.first_round()
        self.assertEqual(self.inbox.messages(), [["READY=1", "STATUS=serving from prom-a:9090 (1 of 2)"]])

    def test_status_follows(self) -> None:
        """A change of who serves is told once, within a second."""
        self.notices()
        self.first_round()
        self.inbox.messages()
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.inbox.messages(), [])
        self.selections.current = FAILED_OVER
        self.clock.pump([1.0] * 5)
        expected = "STATUS=serving from prom-b:9090 (1 of 2); prom-a:9090 down (connection refused)"
        self.assertEqual(self.inbox.messages(), [["READY=1", expected]])

    def test_watchdog_is_notified_twice_as_often_as_needed(self) -> None:
        """It says that it is alive twice as often as it has to, also while it finishes what is in flight."""
        notices = self.notices(watchdog_s=0.5)
        self.first_round()
        self.assertEqual(self.inbox.messages()[0][-1], "WATCHDOG=1")
        self.clock.pump([0.25] * 4)
        self.assertEqual(self.inbox.messages(), [["WATCHDOG=1"]] * 4)
        notices.stopping()
        self.inbox.messages()
        self.clock.pump([0.25] * 4)
        self.assertEqual(self.inbox.messages(), [["WATCHDOG=1"]] * 4)

    def test_stopping_is_notified_at_its_beginning(self) -> None:
        """Stopping is told at its beginning; when it is over there is nothing more to tell."""
        notices = self.notices()
        self.first_round()
        self.inbox.messages()
        notices.stopping()
        self.assertEqual(self.inbox.messages(), [["STOPPING=1", "STATUS=finishing the requests in flight"]])
        notices.stopService()
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.inbox.messages(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_before_the_first_round(self) -> None:
        """A program that is stopped before it was ready never says that it is."""
        notices = self.notices()
        notices.stopping()
        self.inbox.messages()
        notices.stopService()
        self.selections.first.callback(Selection())
        self.assertEqual(self.inbox.messages(), [])

    def test_sent_again(self) -> None:
        """A notice that could not be sent is sent with the next beat."""
        os.rename(self.inbox.address, f"{self.inbox.address}.away")
        self.notices()
        self.first_round()
        os.rename(f"{self.inbox.address}.away", self.inbox.address)
        self.clock.advance(1.0)
        self.assertEqual(self.inbox.messages(), [["READY=1", "STATUS=serving from prom-a:9090 (1 of 2)"]])

    def test_no_descriptor(self) -> None:
        """A notice for which there is no descriptor is sent with the next beat, and nothing fails for it, not even the stop."""
        notices = self.notices(watchdog_s=2.0)
        self.first_round()
        self.inbox.messages()
        with no_descriptor():
            self.clock.pump([1.0] * 3)
        self.assertEqual(self.inbox.messages(), [])
        self.clock.pump([1.0] * 2)
        self.assertEqual(self.inbox.messages(), [["WATCHDOG=1"]] * 2)
        with no_descriptor():
            notices.stopping()
        self.clock.advance(1.0)
        self.assertEqual(self.inbox.messages(), [["STOPPING=1", "STATUS=finishing the requests in flight", "WATCHDOG=1"]])

    def test_nobody_to_tell(self) -> None:
        """Without a service manager nothing is done at all."""
        notices = SystemdNotifier(ServiceManager(), self.selections, self.clock)
        notices.startService()
        self.first_round()
        notices.stopping()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        notices.stopService()


class DescribeTests(SynchronousTestCase):
    """The line on who serves."""

    def test_one_line(self) -> None:
        """Who serves, who does not, and why; of many, a few."""
        many = tuple(Backend("http", f"prom-{n}", 9090) for n in range(20))
        all_down = tuple(Observation(each, Standing.DOWN, "connection\nrefused") for each in many)
        busy = (Observation(A, Standing.BUSY, "query slots are taken"), Observation(B, Standing.NOT_READY))
        for selection, expected in (
            (Selection(1), "no Prometheus server is known"),
            (
                Selection(1, Choice((), (A,)), (DOWN,)),
                "The only server is down; prom-a:9090 down (connection refused)",
            ),
            (
                Selection(1, Choice((A,), (B,)), busy),
                "serving from prom-a:9090 (1 of 2); prom-a:9090 busy (query slots are taken), prom-b:9090 not ready",
            ),
            (
                Selection(1, Choice(many[:1], many[1:]), all_down),
                "No server is healthy. As a last resort prom-0:9090 serves; prom-0:9090 down (connection refused),"
                " prom-1:9090 down (connection refused), prom-2:9090 down (connection refused) and 17 more",
            ),
        ):
            self.assertEqual(describe(selection), expected)
