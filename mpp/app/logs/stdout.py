"""
Buffered output of log lines to standard output. When its reader is slow, lines are buffered up to a limit; further lines are
lost, and a line reports how many. This module does not know what a line contains.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

# The size of the buffer in bytes: minutes of an ordinary log, seconds of a busy access log.
MAX_HELD = 1024 * 1024
# Seconds for which the end of the program waits until the buffered lines are written.
LAST_WORDS_S = 1.0


def _no_iteration() -> None:
    """Return None, because there is no iteration to join."""


Later = Callable[[Callable[[], None]], None]
"""Calls a function soon in the reactor's thread; may itself be called from any thread."""


class BufferedOutput:
    """
    A buffered writer of lines to a pipe, socket, terminal or file.

    Other processes may share the open file, so that it is not made non-blocking. Instead, a write happens only after ``poll``
    reports that the file is ready, and is not larger than what a ready pipe takes without blocking.

    :param later: calls a function soon, to try again when the reader is stalled.
    :param notice: returns the line that reports how many lines were lost.
    :param turn: returns the list of the reactor's current iteration (`mpp.wire.tuned.reactor`), or None without one. The
        reactor calls ``send_late`` on the items of the list at the end of the iteration, so that the lines of one iteration are
        written together; this saves two system calls per request in the access log.
    """

    def __init__(
        self, descriptor: int, later: Later, notice: Callable[[int], bytes], turn: Callable[[], list[Any] | None] = _no_iteration
    ) -> None:
        self._descriptor = descriptor
        self._later = later
        self._notice = notice
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        # Reentrant, because the garbage collector may run here and log.
        self._lock = threading.RLock()
        self._buffered: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._busy = False
        self._awaited = False
        self._begun = False
        self._torn = False
        self._iteration = turn
        self._joined: list[Any] | None = None

    def write(self, line: bytes) -> None:
        """Write a line, or buffer it until it can be written. May be called from any thread; raises nothing."""
        with self._lock:
            if self._size + len(line) > MAX_HELD:
                self._lost += 1
            else:
                self._buffer(line)
            # A line that is logged while another one is written is written by the same loop.
            if self._busy or self._awaited:
                return
            turn = self._iteration()
            if turn is None:
                self._write_buffered(0)
            elif turn is not self._joined:
                self._joined = turn
                turn.append(self)

    def send_late(self) -> None:
        """Write the lines that were logged in this iteration of the reactor."""
        with self._lock:
            self._joined = None
            if not (self._busy or self._awaited):
                self._write_buffered(0)

    def drain(self, seconds: float = LAST_WORDS_S) -> None:
        """Block until the buffered lines are written, at most for some seconds; called at shutdown."""
        with self._lock:
            end = time.monotonic() + seconds
            while self._buffered and time.monotonic() < end and not self._busy:
                self._write_buffered(max(1, int((end - time.monotonic()) * 1000)))

    def _buffer(self, line: bytes) -> None:
        self._buffered.append(line)
        self._size += len(line)

    def _write_buffered(self, patience: int) -> None:
        self._busy = True
        try:
            while self._buffered:
                if not self._poll.poll(patience) or not self._write_some():
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
                self._write_buffered(0)

    def _write_some(self) -> bool:
        """Write the first lines or a part of them, or drop the first one; return whether to continue."""
        # When a line was dropped after a part of it was written, a newline separates this part from the next line.
        piece = b"\n" + self._first() if self._torn else self._first()
        try:
            written = os.write(self._descriptor, piece[: select.PIPE_BUF])
        except BlockingIOError:
            return False
        except OSError:
            # The file is closed or the disk is full; the next line is tried nevertheless.
            self._size -= len(self._buffered.popleft())
            self._lost += 1
            self._torn, self._begun = self._torn or self._begun, False
            return True
        self._take_out(written - self._torn)
        self._torn = False
        return True

    def _first(self) -> bytes:
        """Return the lines for one write: as many as a pipe takes atomically, or else one line."""
        taken: list[bytes] = []
        size = 0
        for line in self._buffered:
            size += len(line)
            if taken and size > select.PIPE_BUF:
                break
            taken.append(line)
        return b"".join(taken)

    def _take_out(self, written: int) -> None:
        self._size -= written
        ended = False
        while self._buffered and written >= len(self._buffered[0]):
            written -= len(self._buffered.popleft())
            ended = True
        self._begun = written > 0
        if self._begun:
            self._buffered[0] = self._buffered[0][written:]
        if ended and self._lost:
            lost, self._lost = self._lost, 0
            self._buffer(self._notice(lost))
