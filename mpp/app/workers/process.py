"""
One worker, as the parent has it: its process, its line, and what it has been told. Knows how to start and to end it, not when.
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
from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.app.workers.ipc import IPCChannel, NotificationHandlers, RequestHandlers
from mpp.app.workers.metrics_sum import Families
from mpp.core.model import Selection
from mpp.core.text.child_environ import isolated

_log = make_logger()

LINE_DESCRIPTOR = 3
COUNTS_DESCRIPTOR = 4
FIRST_SOCKET = 5


class WorkerProcess(ProcessProtocol):
    """
    A worker's process.

    :param number: its place, from 0.
    :param ended: called once with this when the process has ended.
    :ivar channel: to it.
    :ivar heard: the number of its last report.
    :ivar metrics: as it told them last.
    :ivar pid: its process id; 0 before it is started.
    :ivar ended: how it ended, as the predicate of a sentence; empty while it runs.
    :ivar silences: how often in a row it did not answer when it was asked how it is.
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
        self.silences = 0
        self.pid = 0
        self.ended = ""
        self.began = clock.seconds()
        self.channel = IPCChannel(words, questions, clock, self._disconnected)
        self._ended = gone
        self._published: tuple[Selection | None, str, int] = (None, "", 0)

    def __repr__(self) -> str:
        return f"<Hand {self.number}>"

    def start(self, reactor: Any, boot: Sequence[str], counts: int, sockets: Sequence[int]) -> None:
        """
        Start the process.

        :param boot: all that it has to know, as `mpp.app.workers.worker` understands it.
        """
        ours, theirs = socket.socketpair()
        with ours, theirs:
            inherited = {0: 0, 1: 1, 2: 2, LINE_DESCRIPTOR: theirs.fileno(), COUNTS_DESCRIPTOR: counts}
            inherited.update(enumerate(sockets, FIRST_SOCKET))
            # -P for the reader of "ps"; the variables say the same, and more.
            command = [sys.executable, "-P", "-m", "mpp.app.workers", str(self.number), str(os.getpid()), str(len(sockets))]
            reactor.spawnProcess(self, sys.executable, command, env=isolated(os.environ), childFDs=inherited)
            if self.transport is not None:
                self.pid = self.transport.pid or 0
            ours.setblocking(False)
            reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: self.channel))
        self.channel.notify("boot", *boot)

    def publish(self, selection: Selection, failing: str, world: Callable[[], tuple[list[str], str]]) -> None:
        """
        Tell it what it does not know yet.

        :param world: returns messages that are to come before the Selection, and the Selection, all encoded.
        """
        told, self._published = self._published, (selection, failing, self.heard)
        if selection is not told[0]:
            ahead, known = world()
            for message in ahead:
                self.channel.notify_encoded(message)
            self.channel.notify_encoded(f'["selection",{self.heard},{failing},{known}]')
        elif told != self._published:
            self.channel.notify_encoded(f'["heard",{self.heard},{failing}]')

    def signal(self, name: str) -> None:
        """Send a signal, if it is there."""
        if self.transport is not None and self.transport.pid is not None:
            self.transport.signalProcess(name)

    def _disconnected(self) -> None:
        # Without its line it is of no use, if it is still there.
        self.signal("KILL")

    def processEnded(self, reason: Failure) -> None:
        """Take note of its end."""
        self.ended = how_it_ended(getattr(reason.value, "signal", None), getattr(reason.value, "exitCode", None))
        transport = self.channel.transport
        if transport is not None:
            transport.abortConnection()
        self._ended(self)


def how_it_ended(number: int | None, status: int | None) -> str:
    """
    Return how a process ended, as the predicate of a sentence.

    :param number: the signal that ended it, if one did.
    :param status: its exit status, if it ended by itself.
    """
    if number is None:
        return "has ended" if status is None else f"has ended with exit status {status}"
    try:
        return f"was ended by {signal.Signals(number).name}"
    except ValueError:
        return f"was ended by signal {number}"


def encoded(value: object) -> str:
    """Give JSON."""
    return json.dumps(value, separators=(",", ":"))
