"""
The choice of the worker that accepts the next connection, see Note [One queue] in `mpp.app.workers`.

The workers share their numbers of connections in memory; each writes only its own number.
"""

from __future__ import annotations

import functools
import mmap
import os
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime

NONE = -1
_LEFT = NONE - 1
_SIZE = 4
# Seconds that a worker with fewer connections has to accept: enough if it is not busy, and too short for a client to notice.
PATIENCE_S = 0.005


class ConnectionCounts:
    """
    The number of connections of each worker, in shared memory; `NONE` for a worker that does not run.

    For a worker that ends and accepts none, it is ``_LEFT`` minus its number of connections.

    :param descriptor: the descriptor of the memory; it stays open.
    """

    def __init__(self, descriptor: int, workers: int) -> None:
        self.descriptor = descriptor
        # Each number is written by one process, in one store, so that no lock is needed.
        self.numbers = memoryview(mmap.mmap(descriptor, workers * _SIZE)).cast("i")

    @classmethod
    def make(cls, workers: int) -> ConnectionCounts:
        """Create the shared memory, an anonymous file (memfd)."""
        descriptor = os.memfd_create("mpp-workers")
        os.ftruncate(descriptor, workers * _SIZE)
        counts = cls(descriptor, workers)
        for worker in range(workers):
            counts.numbers[worker] = NONE
        return counts

    def has_fewer(self, than: int) -> bool:
        """Return whether any worker has fewer connections than ``than``."""
        return any(NONE < number < than for number in self.numbers)

    def total(self) -> int:
        """Return the number of connections of all workers."""
        return sum(_LEFT - number if number <= _LEFT else max(0, number) for number in self.numbers)


class AcceptRotation:
    """
    The gate of one worker's listening sockets: connections are accepted when no other worker has fewer.

    :param count: returns the number of this worker's connections.
    """

    def __init__(self, counts: ConnectionCounts, worker: int, count: Callable[[], int], clock: IReactorTime) -> None:
        self._counts = counts
        self._worker = worker
        self._count = count
        self._clock = clock
        self._has_left = False

    def guard(self, port: Any) -> None:
        """Apply the rotation to a listening port."""
        port.doRead = functools.partial(self._admit, port, port.doRead)

    def update(self) -> None:
        """Publish the current number of this worker's connections."""
        count = self._count()
        self._counts.numbers[self._worker] = _LEFT - count if self._has_left else count

    def leave(self) -> None:
        """Withdraw this worker for good, so that the others do not leave connections to it while its last ones end."""
        self._has_left = True
        self.update()

    def _admit(self, port: Any, accept: Callable[[], None]) -> None:
        count = self._count()
        if self._counts.has_fewer(count):
            port.stopReading()
            self._clock.callLater(PATIENCE_S, self._admit_remaining, port, accept)
            return
        accept()
        self.update()

    def _admit_remaining(self, port: Any, accept: Callable[[], None]) -> None:
        if port.connected:
            port.startReading()
            accept()
            self.update()
