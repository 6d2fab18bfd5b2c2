"""
Who of the workers takes the next client, see Note [One queue] in `mpp.app.workers`.

Knows ports, and how many connections each worker has: numbers in memory that all of them share, of which each writes its own.
"""

from __future__ import annotations

import functools
import mmap
import os
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime

NONE = -1
_SIZE = 4
# How long somebody with fewer connections is given to take a client: long for a worker that is not busy, unnoticed by a client.
PATIENCE_S = 0.005


class ConnectionCounts:
    """
    The numbers of connections, by worker; `NONE` where there is none.

    :param descriptor: of the memory; stays open.
    """

    def __init__(self, descriptor: int, workers: int) -> None:
        self.descriptor = descriptor
        # Each is written by one process, in one store.
        self.numbers = memoryview(mmap.mmap(descriptor, workers * _SIZE)).cast("i")

    @classmethod
    def make(cls, workers: int) -> ConnectionCounts:
        """Make the memory; it is nobody's file."""
        descriptor = os.memfd_create("mpp-workers")
        os.ftruncate(descriptor, workers * _SIZE)
        counts = cls(descriptor, workers)
        for worker in range(workers):
            counts.numbers[worker] = NONE
        return counts

    def has_fewer(self, than: int) -> bool:
        """Tell whether a worker has fewer connections than that."""
        return any(NONE < number < than for number in self.numbers)


class AcceptRotation:
    """
    Accepts clients when it is this worker's turn.

    :param count: gives how many connections this worker has.
    """

    def __init__(self, counts: ConnectionCounts, worker: int, count: Callable[[], int], clock: IReactorTime) -> None:
        self._counts = counts
        self._worker = worker
        self._count = count
        self._clock = clock

    def guard(self, port: Any) -> None:
        """Govern a listening port from now on."""
        port.doRead = functools.partial(self._admit, port, port.doRead)

    def update(self) -> None:
        """Write how many connections there are now."""
        self._counts.numbers[self._worker] = self._count()

    def leave(self) -> None:
        """Be no one to whom a client may be left."""
        self._counts.numbers[self._worker] = NONE

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
