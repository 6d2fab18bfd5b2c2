"""
The destination of the log: standard output, or twistd's log file. A reader that stalls or exits never blocks or ends mpp.

The format of a line is in `mpp.app.logs.format`, and the buffer for a slow reader in `mpp.app.logs.stdout`.
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
from mpp.core.text.humanize import noun
from mpp.proxy.decisions import access_fields as access

# Seconds until the next attempt to write when the reader of standard output is stalled.
RETRY_S = 0.1

JOURNAL = "JOURNAL_STREAM"
"""The variable in which systemd passes the identity of its journal stream."""


class RotatedFile:
    """A writer of lines to a rotated log file of Twisted."""

    def __init__(self, file: LogFile) -> None:
        self._file = file

    def write(self, line: bytes) -> None:
        """Write a line; a line that cannot be written is lost."""
        try:
            self._file.write(line)
        except (OSError, ValueError):
            # The disk is full or the file is closed, and there is no other place to report it.
            return


@implementer(ILogObserver)
class LineObserver:
    """
    A log observer that writes each event of sufficient level, and each event of the access log, as one line.

    :param form: one of `mpp.app.logs.format.RENDERERS`.
    :param priorities: True if each line begins with its priority, for the journal.
    :param least: the lowest level that is written, one of `mpp.app.logs.format.LEVELS`.
    :ivar write: writes a line, given as bytes.
    :ivar is_due: returns whether a line is written now, or counted as a repetition, see `mpp.app.logs.repeats`. Its arguments
        are the line's `mpp.app.logs.format.sameness` and fields.
    """

    def __init__(self, form: str, least: str, *, priorities: bool = False) -> None:
        self._priorities = priorities
        self.write: Callable[[bytes], None] = _nowhere
        self.is_due: Callable[[str, Mapping[str, logs.Value]], bool] = _always
        self.change(form, least)

    def change(self, form: str, least: str) -> None:
        """Change the format and the lowest level of the lines that follow; buffered lines keep their format."""
        render = logs.RENDERERS[form]
        self._render = logs.with_priority(render) if self._priorities else render
        self._written = frozenset(logs.LEVELS[logs.LEVELS.index(least) :])

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Write an event as a line, unless its level is too low or it is a repetition."""
        if event.get("log_namespace") == access.COMPONENT:
            self.write(self.line(logs.fields(event)))
        elif logs.level_of(event) in self._written:
            record = logs.fields(event)
            same = logs.sameness(event, record)
            if same is None or self.is_due(same, record):
                self.write(self.line(record))

    def line(self, record: Mapping[str, logs.Value]) -> bytes:
        """Return the line with these fields, in UTF-8 with a newline."""
        return self._render(record).encode("utf-8", "backslashreplace") + b"\n"

    def notice(self, lost: int) -> bytes:
        """Return the line that reports how many lines were lost."""
        were = noun(lost, "line of this log was", "lines of this log were")
        return self.line(
            {
                "ts": logs.timestamp(time.time()),
                "level": "warn",
                "msg": f"{lost} {were} lost: the reader was too slow",
                "component": component_of(__name__),
                "lost": lost,
            }
        )


def is_journal(stream: TextIO | None, said: str) -> bool:
    """
    Return whether a stream is connected to systemd's journal.

    :param said: the value of ``JOURNAL_STREAM``, the device and inode of the stream to the journal (systemd.exec(5)). The
        variable alone proves nothing: a process whose output is redirected inherits it too.
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
    Create the log observer for the destination that twistd's options name.

    :param form: the format of the lines, see `LineObserver`.
    :param least: the lowest level that is written, see `LineObserver`.
    :param twistd: the options of twistd.
    :param journal: the value of ``JOURNAL_STREAM``.
    :return: None if twistd logs in another way (``--logger``, ``--syslog``), or if the destination is the standard output of a
        daemon, which has none.
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
        # Descriptor 1 may now belong to something else.
        return lines

    def later(call: Callable[[], None]) -> None:
        reactor.callFromThread(reactor.callLater, RETRY_S, call)

    def turn() -> list[Any] | None:
        # Other threads log too, outside of the reactor's iterations.
        return getattr(reactor, "turn", None) if isInIOThread() else None

    out = BufferedOutput(sys.__stdout__.fileno(), later, lines.notice, turn)
    lines.write = out.write
    reactor.addSystemEventTrigger("after", "shutdown", out.drain)
    return lines


def _write_repeats_seldom(lines: LineObserver, reactor: Any) -> None:
    """Limit the same line to once a minute; the counts are also written at shutdown."""

    def write(record: Mapping[str, logs.Value]) -> None:
        lines.write(lines.line({**record, "ts": logs.timestamp(time.time())}))

    def call_later(seconds: float, call: Callable[[], None]) -> None:
        # Other threads log too.
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
    """Drop a line, as long as no destination is set."""


def _always(same: str, record: Mapping[str, logs.Value]) -> bool:
    """Return True, so that each line is written."""
    return True
