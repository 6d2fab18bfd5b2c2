"""
Computation of bcrypt hashes on a few threads, so that a flood of passwords leaves the processor to authenticated clients.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any

import bcrypt
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

THREADS = 1
"""The number of threads that verify passwords that were not verified before; the same as in the exporter-toolkit."""

FAMILIAR_THREADS = 2
"""The number of threads that verify familiar passwords (verified within a day), see `mpp.security.web_config.passwords`."""

NICENESS = 10
"""The niceness of threads that verify unknown passwords, so that the reactor's thread goes first; on Linux only."""


class BcryptPool:
    """Two thread pools that verify passwords; the methods may be called between `start` and `stop`."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, THREADS, "mpp-passwords")
        self._familiar_pool = ThreadPool(0, FAMILIAR_THREADS, "mpp-familiar-passwords")
        self._stopped = False

    def start(self) -> None:
        """Start the pools; threads are created when there is work."""
        self._pool.start()
        self._familiar_pool.start()

    def stop(self) -> None:
        """Stop the pools after the running computations; passwords that still wait count as wrong."""
        self._stopped = True
        self._pool.stop()
        self._familiar_pool.stop()

    def verify(self, password: bytes, hashed: bytes) -> Deferred[bool]:
        """Compute whether a password that was not verified before matches a hash; the result is False for an invalid hash."""
        answer: Deferred[bool] = deferToThreadPool(self._reactor, self._pool, self._step_back_and_compute, password, hashed)
        return answer

    def verify_familiar(self, password: bytes, hashed: bytes) -> Deferred[bool]:
        """Compute the same as `verify` for a familiar password, on other threads and with the priority of the reactor."""
        answer: Deferred[bool] = deferToThreadPool(self._reactor, self._familiar_pool, self._compute, password, hashed)
        return answer

    def _step_back_and_compute(self, password: bytes, hashed: bytes) -> bool:
        _step_back()
        return self._compute(password, hashed)

    def _compute(self, password: bytes, hashed: bytes) -> bool:
        if self._stopped:
            return False
        try:
            return bcrypt.checkpw(password, hashed)
        except ValueError:
            return False


def _step_back() -> None:
    """Lower the priority of this thread; only on Linux, because elsewhere this would affect the whole process."""
    if os.uname().sysname != "Linux":
        return
    thread = threading.get_native_id()
    # A sandbox may forbid it.
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, thread) < NICENESS:
            os.setpriority(os.PRIO_PROCESS, thread, NICENESS)
