"""
Where the log goes: standard output, or twistd's log file. The program never waits for whoever reads it, nor ends with him.

What is logged, and how a line looks (`mpp.logs`), is not known here. Lines that nobody takes are held for a while; then they are
lost, and it is told how many were.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from twisted.logger import ILogObserver
from twisted.python.logfile import LogFile
from zope.interface import implementer

from mpp import access, logs

# What is held for a reader who pauses: minutes of an ordinary log, seconds of a busy access log.
MAX_HELD = 1024 * 1024
# After how long a reader who did not take more is looked at again.
RETRY_S = 0.1
# How long the last lines are waited for at the end.
LAST_WORDS_S = 1.0

Later = Callable[[Callable[[], None]], None]
"""Has something called in a moment; may itself be called from any thread."""


class Descriptor:
    """
    Writes lines to a pipe, socket, terminal or file that others may hold, too: so it is not made non-blocking.

    It is written to only when it is ready, and then no more than a pipe that is ready takes without blocking.

    :param notice: gives the line that tells how many lines were lost.
    """

    def __init__(self, descriptor: int, later: Later, notice: Callable[[int], bytes]) -> None:
        self._descriptor = descriptor
        self._later = later
        self._notice = notice
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        # Reentrant: the garbage collector may log, too, in the midst of this.
        self._lock = threading.RLock()
        self._held: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._busy = False
        self._awaited = False
        self._begun = False
        self._torn = False

    def write(self, line: bytes) -> None:
        """Write a line, or hold it until it can be written. From any thread; raises nothing."""
        with self._lock:
            if self._size + len(line) > MAX_HELD:
                self._lost += 1
            else:
                self._hold(line)
            # Who logs while a line is written is served by the loop that writes it.
            if not (self._busy or self._awaited):
                self._write_held(0)

    def drain(self, seconds: float = LAST_WORDS_S) -> None:
        """Wait for what is held to be written, but not for long: for the end."""
        with self._lock:
            end = time.monotonic() + seconds
            while self._held and time.monotonic() < end and not self._busy:
                self._write_held(max(1, int((end - time.monotonic()) * 1000)))

    def _hold(self, line: bytes) -> None:
        self._held.append(line)
        self._size += len(line)

    def _write_held(self, patience: int) -> None:
        self._busy = True
        try:
            while self._held:
                if not self._poll.poll(patience) or not self._write_one():
                    self._write_later()
                    break
        finally:
            self._busy = False

    def _write_later(self) -> None:
        if not self._awaited:
            self._awaited = True
            self._later(self._again)

    def _again(self) -> None:
        with self._lock:
            self._awaited = False
            if not self._busy:
                self._write_held(0)

    def _write_one(self) -> bool:
        """Write (a part of) the first line, or give it up; tell whether to go on."""
        line = self._held[0]
        # What was written of a line that was then given up must not run into the next one.
        piece = b"\n" + line if self._torn else line
        try:
            written = os.write(self._descriptor, piece[: select.PIPE_BUF])
        except BlockingIOError:
            return False
        except OSError:
            # Closed, or the disk is full: the next line may have better luck.
            self._held.popleft()
            self._size -= len(line)
            self._lost += 1
            self._torn, self._begun = self._torn or self._begun, False
            return True
        self._take_out(line, written - self._torn)
        self._torn = False
        return True

    def _take_out(self, line: bytes, written: int) -> None:
        self._size -= written
        self._begun = written < len(line)
        if self._begun:
            self._held[0] = line[written:]
            return
        self._held.popleft()
        if self._lost:
            lost, self._lost = self._lost, 0
            self._hold(self._notice(lost))


class File:
    """Writes lines to a log file of Twisted's, which is rotated."""

    def __init__(self, file: LogFile) -> None:
        self._file = file

    def write(self, line: bytes) -> None:
        """Write a line; where it cannot be written it is lost."""
        try:
            self._file.write(line)
        except (OSError, ValueError):
            # A full disk, or a file that is closed: there is nobody to tell.
            return


@implementer(ILogObserver)
class LineObserver:
    """
    Writes every event of a level as a line, and every one of the access log.

    :param form: one of `mpp.logs.RENDERERS`.
    :param priorities: each line begins with its priority, for the journal.
    :param least: one of `mpp.logs.LEVELS`; what is less important is not written.
    :ivar render: gives an event's line.
    """

    def __init__(self, form: str, least: str, *, priorities: bool = False) -> None:
        self._priorities = priorities
        self.write: Callable[[bytes], None] = _nowhere
        self.change(form, least)

    def change(self, form: str, least: str) -> None:
        """Write like this from now on. Lines that are held were made before, and stay as they are."""
        render = logs.RENDERERS[form]
        self._render = logs.with_priority(render) if self._priorities else render
        self._written = frozenset(logs.LEVELS[logs.LEVELS.index(least) :])

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Write an event."""
        if logs.level_of(event) in self._written or event.get("log_namespace") == access.COMPONENT:
            self.write(self.line(logs.fields(event)))

    def line(self, told: Mapping[str, logs.Value]) -> bytes:
        """Give a line."""
        return self._render(told).encode("utf-8", "backslashreplace") + b"\n"

    def notice(self, lost: int) -> bytes:
        """Give the line that tells how many were lost."""
        return self.line(
            {
                "ts": logs.timestamp(time.time()),
                "level": "warn",
                "msg": f"{lost} lines of this log were lost, nobody took them",
                "component": __name__,
                "lost": lost,
            }
        )


def is_journal(stream: TextIO | None, said: str) -> bool:
    """
    Tell whether a stream ends in systemd's journal.

    :param said: ``JOURNAL_STREAM``, the device and inode of the journal's end (systemd.exec(5)); it is inherited even by those
        whose output goes elsewhere.
    """
    if not said or stream is None:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return said == f"{found.st_dev}:{found.st_ino}"


def observer(form: str, least: str, twistd: Mapping[str, Any], reactor: Any, journal: str) -> LineObserver | None:
    """
    Make the observer for the place that twistd was told to log to.

    :param twistd: twistd's own options.
    :param journal: ``JOURNAL_STREAM``.
    :return: None when it was told to log in a way of its own, by ``--logger`` or ``--syslog``, or in none that there is: a
        daemon has no standard output.
    """
    name = twistd.get("logfile") or ("-" if twistd.get("nodaemon") else "twistd.log")
    if twistd.get("logger") or twistd.get("syslog") or (name == "-" and not twistd.get("nodaemon")):
        return None
    lines = LineObserver(form, least, priorities=name == "-" and is_journal(sys.__stdout__, journal))
    if name != "-":
        lines.write = File(_rotated(name, reactor)).write
        return lines
    if sys.__stdout__ is None:
        # Whatever has its number now, it is not ours.
        return lines

    def later(call: Callable[[], None]) -> None:
        reactor.callFromThread(reactor.callLater, RETRY_S, call)

    out = Descriptor(sys.__stdout__.fileno(), later, lines.notice)
    lines.write = out.write
    reactor.addSystemEventTrigger("after", "shutdown", out.drain)
    return lines


def _rotated(name: str, reactor: Any) -> LogFile:
    """Open a log file that SIGUSR1 rotates, as twistd does."""
    file: LogFile = LogFile.fromFullPath(name)

    def rotate(number: int, frame: object) -> None:
        reactor.callFromThread(file.rotate)

    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, rotate)
    return file


def _nowhere(line: bytes) -> None:
    """Write nothing."""
