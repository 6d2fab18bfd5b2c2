"""
A log that repeats itself: the same line is written once a minute at most, with how often it came.

Which lines are the same is known to `mpp.app.logs.format`; where lines are written is for `mpp.app.logs.observer`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial

from attrs import define

from mpp.app.logs.format import Value

QUIET_S = 60.0
"""After a line was written, the same line is only counted for so long, in seconds."""

MAX_LINES = 1000
"""Lines that are remembered at most; more different ones than that in a minute are all written."""

LogFields = Mapping[str, Value]


@define
class _Line:
    """
    A line that was written.

    :ivar until: when it may be written again, by the clock.
    :ivar since: its time when it was written.
    :ivar count: how often it came since.
    :ivar last: as it came last since; None if it did not.
    """

    until: float
    since: Value
    count: int = 0
    last: LogFields | None = None


class RepeatFilter:
    """
    Decides which lines are written now, and writes how often the others came when their minute is over.

    May be called from any thread. Nothing is lost: each line that is not written is counted in one that is, at the latest
    after `QUIET_S`, or at the end of the program.

    :param write: writes a line, from its fields.
    :param clock: the monotonic time in seconds.
    :param call_later: has something called after some seconds, in the reactor's thread; may be called from any thread.
    """

    def __init__(
        self,
        write: Callable[[LogFields], None],
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._write = write
        self._clock = clock
        self._call_later = call_later
        # In the order in which they may be written again.
        self._lines: dict[str, _Line] = {}
        self._ended = False
        # Reentrant: the garbage collector may log, too, in the midst of this.
        self._lock = threading.RLock()

    def is_due(self, same: str, states: LogFields) -> bool:
        """
        Take a line; return whether it is to be written now, else it is counted.

        :param same: what all lines have that are the same.
        """
        with self._lock:
            now = self._clock()
            line = self._lines.get(same)
            if self._ended or line is None or (now >= line.until and not line.count):
                self._remember(same, states["ts"], now)
                return True
            line.count += 1
            line.last = states
            if line.count == 1:
                self._call_later(max(0.0, line.until - now), partial(self._report, same))
            return False

    def flush(self) -> None:
        """Write all that has been counted, and from now on every line: for the end."""
        self._ended = True
        for same in [*self._lines]:
            self._report(same)

    def _remember(self, same: str, at: Value, now: float) -> None:
        """Note that a line is written now."""
        lines = self._lines
        lines.pop(same, None)
        while lines:
            oldest = next(iter(lines))
            if lines[oldest].until > now or lines[oldest].count:
                break
            del lines[oldest]
        if len(lines) < MAX_LINES:
            lines[same] = _Line(now + QUIET_S, at)

    def _report(self, same: str) -> None:
        with self._lock:
            line = self._lines.get(same)
            if line is None or line.last is None:
                return
            text = f"{line.last['msg']} ({line.count} more since {line.since})"
            told = {**line.last, "msg": text, "repeated": line.count}
            self._remember(same, line.last["ts"], self._clock())
        self._write(told)
