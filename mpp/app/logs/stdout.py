"""
Lines on their way to whoever reads standard output. Lines that nobody takes are held for a while; then they are lost, and it is
told how many were. Knows nothing of what is in them.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

# What is held for a reader who pauses: minutes of an ordinary log, seconds of a busy access log.
MAX_HELD = 1024 * 1024
# How long the last lines are waited for at the end.
LAST_WORDS_S = 1.0


def _no_iteration() -> None:
    """Give none."""


Later = Callable[[Callable[[], None]], None]
"""Has something called in a moment; may itself be called from any thread."""


class BufferedOutput:
    """
    Writes lines to a pipe, socket, terminal or file that others may hold, too: so it is not made non-blocking.

    It is written to only when it is ready, and then no more than a pipe that is ready takes without blocking.

    :param notice: gives the line that tells how many lines were lost.
    :param iteration: gives a list, whose ``send_late`` are called in a moment, as `mpp.wire.tuned.reactor` has it; None where
        there is none. The lines of a turn are then written together: with the access log that saves each request two system
        calls.
    """

    def __init__(
        self, descriptor: int, later: Later, notice: Callable[[int], bytes], turn: Callable[[], list[Any] | None] = _no_iteration
    ) -> None:
        self._descriptor = descriptor
        self._later = later
        self._notice = notice
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        # Reentrant: the garbage collector may log, too, in the midst of this.
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
        """Write a line, or hold it until it can be written. From any thread; raises nothing."""
        with self._lock:
            if self._size + len(line) > MAX_HELD:
                self._lost += 1
            else:
                self._buffer(line)
            # Who logs while a line is written is served by the loop that writes it.
            if self._busy or self._awaited:
                return
            turn = self._iteration()
            if turn is None:
                self._write_buffered(0)
            elif turn is not self._joined:
                self._joined = turn
                turn.append(self)

    def send_late(self) -> None:
        """Write what was logged in this turn."""
        with self._lock:
            self._joined = None
            if not (self._busy or self._awaited):
                self._write_buffered(0)

    def drain(self, seconds: float = LAST_WORDS_S) -> None:
        """Wait for what is held to be written, but not for long: for the end."""
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
        """Write the first lines (or a part of them), or give the first one up; tell whether to go on."""
        # What was written of a line that was then given up must not run into the next one.
        piece = b"\n" + self._first() if self._torn else self._first()
        try:
            written = os.write(self._descriptor, piece[: select.PIPE_BUF])
        except BlockingIOError:
            return False
        except OSError:
            # Closed, or the disk is full: the next line may have better luck.
            self._size -= len(self._buffered.popleft())
            self._lost += 1
            self._torn, self._begun = self._torn or self._begun, False
            return True
        self._take_out(written - self._torn)
        self._torn = False
        return True

    def _first(self) -> bytes:
        """Give the lines for one write: as many as a pipe takes without mixing them with another writer's."""
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
