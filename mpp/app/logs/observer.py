"""
Where the log goes: standard output, or twistd's log file. The program never waits for whoever reads it, nor ends with him.

What is logged, and how a line looks (`mpp.app.logs.format`), is not known here; how lines wait for a reader is
`mpp.app.logs.stdout`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from twisted.logger import ILogObserver
from twisted.python.logfile import LogFile
from twisted.python.threadable import isInIOThread
from zope.interface import implementer

from mpp.app.logs import format as logs
from mpp.app.logs.repeats import RepeatFilter
from mpp.app.logs.stdout import BufferedOutput
from mpp.core.log_components import component_of
from mpp.proxy.decisions import access_fields as access

# After how long a reader who did not take more is looked at again.
RETRY_S = 0.1

JOURNAL = "JOURNAL_STREAM"
"""The variable by which systemd names its journal."""


class RotatedFile:
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
    Writes every event of a level as a line, and every one of the access log; what repeats itself less often, see
    `mpp.app.logs.repeats`.

    :param form: one of `mpp.app.logs.format.RENDERERS`.
    :param priorities: each line begins with its priority, for the journal.
    :param least: one of `mpp.app.logs.format.LEVELS`; what is less important is not written.
    :ivar write: takes a line.
    :ivar is_due: takes what is the same in a line and its fields, see `mpp.app.logs.format.sameness`, and tells whether it is
        written now.
    """

    def __init__(self, form: str, least: str, *, priorities: bool = False) -> None:
        self._priorities = priorities
        self.write: Callable[[bytes], None] = _nowhere
        self.is_due: Callable[[str, Mapping[str, logs.Value]], bool] = _always
        self.change(form, least)

    def change(self, form: str, least: str) -> None:
        """Write like this from now on. Lines that are held were made before, and stay as they are."""
        render = logs.RENDERERS[form]
        self._render = logs.with_priority(render) if self._priorities else render
        self._written = frozenset(logs.LEVELS[logs.LEVELS.index(least) :])

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Write an event."""
        if event.get("log_namespace") == access.COMPONENT:
            self.write(self.line(logs.fields(event)))
        elif logs.level_of(event) in self._written:
            told = logs.fields(event)
            same = logs.sameness(event, told)
            if same is None or self.is_due(same, told):
                self.write(self.line(told))

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
                "component": component_of(__name__),
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
    _write_repeats_seldom(lines, reactor)
    if name != "-":
        lines.write = RotatedFile(_rotated(name, reactor)).write
        return lines
    if sys.__stdout__ is None:
        # Whatever has its number now, it is not ours.
        return lines

    def later(call: Callable[[], None]) -> None:
        reactor.callFromThread(reactor.callLater, RETRY_S, call)

    def turn() -> list[Any] | None:
        # Other threads log, too, and have no turn.
        return getattr(reactor, "turn", None) if isInIOThread() else None

    out = BufferedOutput(sys.__stdout__.fileno(), later, lines.notice, turn)
    lines.write = out.write
    reactor.addSystemEventTrigger("after", "shutdown", out.drain)
    return lines


def _write_repeats_seldom(lines: LineObserver, reactor: Any) -> None:
    """Have the same line written once a minute at most; what was counted until then, also at the end."""

    def write(told: Mapping[str, logs.Value]) -> None:
        lines.write(lines.line({**told, "ts": logs.timestamp(time.time())}))

    def call_later(seconds: float, call: Callable[[], None]) -> None:
        # Other threads log, too.
        reactor.callFromThread(reactor.callLater, seconds, call)

    repeats = RepeatFilter(write, reactor.seconds, call_later)
    lines.is_due = repeats.is_due
    reactor.addSystemEventTrigger("after", "shutdown", repeats.flush)


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


def _always(same: str, told: Mapping[str, logs.Value]) -> bool:
    """Return true: each line is written."""
    return True
