"""
A filter of repeated log lines: the same line is written at most once a minute, with the number of its repetitions and the time of
the last one. It must not get lines about a present state, which are wrong when they are written later.

`mpp.app.logs.format` decides which lines are the same, and `mpp.app.logs.observer` writes them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial

from attrs import define

from mpp.app.logs.format import Value

QUIET_S = 60.0
"""Seconds after a line was written in which the same line is only counted."""

MAX_LINES = 1000
"""The largest number of different lines whose repetitions are counted; further lines within a minute are all written."""

LogFields = Mapping[str, Value]


@define
class _Line:
    """
    A line that was written, and its repetitions since.

    :ivar until: the time from which it may be written again, in seconds of the clock.
    :ivar since: its field ``ts`` when it was written.
    :ivar count: the number of repetitions since then.
    :ivar last: the fields of the last repetition; None if there is none.
    """

    until: float
    since: Value
    count: int = 0
    last: LogFields | None = None


class RepeatFilter:
    """
    The filter of repeated lines: it passes the first one, and writes a line with the count of the others after `QUIET_S`.

    It may be called from any thread. Each line is either written or counted in a line that is written after `QUIET_S` or when
    the program ends.

    :param write: writes a line, given its fields.
    :param clock: returns the monotonic time in seconds.
    :param call_later: calls a function after some seconds in the reactor's thread; may be called from any thread.
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
        # In the order in which the lines may be written again.
        self._lines: dict[str, _Line] = {}
        self._ended = False
        # Reentrant, because the garbage collector may run here and log.
        self._lock = threading.RLock()

    def is_due(self, same: str, states: LogFields) -> bool:
        """
        Return whether a line is to be written now; otherwise count it.

        :param same: the key that is equal for lines which repeat each other.
        :param states: the fields of the line.
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
        """Write the counts, and pass every later line; called at shutdown."""
        self._ended = True
        for same in [*self._lines]:
            self._report(same)

    def _remember(self, same: str, at: Value, now: float) -> None:
        """Remember that a line is written now, and forget lines that may be written again."""
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
            text = f"{line.last['msg']} ({line.count} more since {line.since}, the last at {line.last['ts']})"
            record = {**line.last, "msg": text, "repeated": line.count}
            self._remember(same, line.last["ts"], self._clock())
        self._write(record)
