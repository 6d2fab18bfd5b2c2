"""
One worker as seen by the parent: its process, its IPC channel, and the state that was sent to it. This module can start and end
a worker; the supervisor decides when.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.app.workers.ipc import IPCChannel, NotificationHandlers, RequestHandlers
from mpp.app.workers.metrics_sum import Families
from mpp.core.coverage import WHOLE_POOL
from mpp.core.model import Selection
from mpp.core.text.child_environ import isolated

_log = make_logger()

LINE_DESCRIPTOR = 3
COUNTS_DESCRIPTOR = 4
FIRST_SOCKET = 5
# The number of liveness checks in which a worker may still start: two minutes. The start takes a second of CPU time, of which a
# busy machine or the limit of a container may leave little, and a worker that is killed for that has to start again.
_START_CHECKS = 24


class WorkerProcess(ProcessProtocol):
    """
    The process of one worker.

    :param number: the index of the worker, from 0.
    :param gone: called once with this object when the process has ended, or could not be started.
    :ivar channel: the IPC channel to the worker.
    :ivar heard: the number of the last report that has arrived from the worker, see `mpp.app.workers.remote_selections`.
    :ivar metrics: the last metrics of the worker.
    :ivar pid: the process id; 0 before the start, and if there is no process.
    :ivar ended: the way in which the process ended, as the predicate of a sentence; empty while it runs.
    :ivar silences: the number of liveness checks in a row without a response; it begins below 0, because a start takes time.
    """

    def __init__(
        self,
        number: int,
        words: NotificationHandlers,
        questions: RequestHandlers,
        clock: IReactorTime,
        gone: Callable[[WorkerProcess], None],
    ) -> None:
        self.number = number
        self.heard = 0
        self.metrics: Families = []
        self.silences = -_START_CHECKS
        self.pid = 0
        self.ended = ""
        self.began = clock.seconds()
        self.channel = IPCChannel(words, questions, clock, self._disconnected)
        self._ended = gone
        self._published: tuple[Selection | None, str, int] = (None, "", 0)
        # A worker begins with these.
        self._sent: dict[str, object] = {"coverage": WHOLE_POOL, "rules": ()}

    def __repr__(self) -> str:
        return f"<WorkerProcess {self.number}>"

    def start(self, reactor: Any, boot: Sequence[str], counts: int, sockets: Sequence[int]) -> None:
        """
        Start the worker's process and open the channel to it; if the system cannot do that now, the worker ends.

        :param boot: the arguments of the message "boot", see `mpp.app.workers.worker`.
        :param counts: the descriptor of the shared memory of `mpp.app.workers.accept_rotation.ConnectionCounts`.
        :param sockets: the descriptors of the listening sockets.
        """
        try:
            self._spawn(reactor, counts, sockets)
        except OSError as error:
            self._abandon(error)
        else:
            self.channel.notify("boot", *boot)

    def _spawn(self, reactor: Any, counts: int, sockets: Sequence[int]) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            inherited = {0: 0, 1: 1, 2: 2, LINE_DESCRIPTOR: theirs.fileno(), COUNTS_DESCRIPTOR: counts}
            inherited.update(enumerate(sockets, FIRST_SOCKET))
            # -P is repeated here so that "ps" shows it; the environment sets the same and more.
            command = [sys.executable, "-P", "-m", "mpp.app.workers", str(self.number), str(os.getpid()), str(len(sockets))]
            reactor.spawnProcess(self, sys.executable, command, env=isolated(os.environ), childFDs=inherited)
            ours.setblocking(False)
            reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: self.channel))

    def connectionMade(self) -> None:
        """Record the process id; the process has started."""
        assert self.transport is not None
        self.pid = self.transport.pid or 0

    def _abandon(self, error: OSError) -> None:
        """Report the end of a worker for which the system has no process or no descriptor now."""
        why = error.strerror or str(error)
        if self.pid:
            # The end of the process is reported as usual.
            _log.error("worker {number} (process {pid}) cannot be reached ({why})", number=self.number, pid=self.pid, why=why)
            self.signal("KILL")
        else:
            self.ended = f"could not be started ({why})"
            self._ended(self)

    def publish(self, selection: Selection, failing: str, world: Callable[[], tuple[list[str], str]]) -> None:
        """
        Send the worker what has changed since the last call.

        :param failing: the failing backends, encoded.
        :param world: returns the messages to send before the Selection, and the Selection, all encoded.
        """
        before, self._published = self._published, (selection, failing, self.heard)
        if selection is not before[0]:
            ahead, known = world()
            for message in ahead:
                self.channel.notify_encoded(message)
            self.channel.notify_encoded(f'["selection",{self.heard},{failing},{known}]')
        elif before != self._published:
            self.channel.notify_encoded(f'["heard",{self.heard},{failing}]')

    def publish_if_new(self, name: str, value: object, messages: Callable[[], list[str]]) -> None:
        """
        Send the worker what the backends lack of their history, or their rules, if that has changed since it was sent last.

        :param name: which of both: ``coverage`` or ``rules``.
        :param messages: returns the encoded messages.
        """
        if value is not self._sent[name]:
            self._sent[name] = value
            for message in messages():
                self.channel.notify_encoded(message)

    @property
    def is_starting(self) -> bool:
        """True until the worker has reported that it serves, has responded to a check, or has had enough time to start."""
        return self.silences < 0

    def has_started(self) -> None:
        """Record that the worker serves; from now on it must respond to the checks."""
        self.silences = 0

    def signal(self, name: str) -> None:
        """Send a signal to the process, if it is running."""
        if self.transport is not None and self.transport.pid is not None:
            self.transport.signalProcess(name)

    def _disconnected(self) -> None:
        # A worker without its channel is of no use.
        self.signal("KILL")

    def processEnded(self, reason: Failure) -> None:
        """Record how the process ended, and report its end."""
        self.ended = how_it_ended(getattr(reason.value, "signal", None), getattr(reason.value, "exitCode", None))
        transport = self.channel.transport
        if transport is not None:
            transport.abortConnection()
        self._ended(self)


def how_it_ended(number: int | None, status: int | None) -> str:
    """
    Return the way in which a process ended, as the predicate of a sentence.

    :param number: the signal that ended it; None if it exited.
    :param status: its exit status; None if it is not known.
    """
    if number is None:
        return "has ended" if status is None else f"has ended with exit status {status}"
    try:
        return f"was ended by {signal.Signals(number).name}"
    except ValueError:
        return f"was ended by signal {number}"


def encoded(value: object) -> str:
    """Return a value as compact JSON."""
    return json.dumps(value, separators=(",", ":"))


def log_of_worker(level: str, component: str, record: dict[str, Any]) -> None:
    """Log an event that a worker has sent."""
    Logger(namespace=component).emit(LogLevel.lookupByName(level), "{text}", text=record["msg"], log_told=record)
