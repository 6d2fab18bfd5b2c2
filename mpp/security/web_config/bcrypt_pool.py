"""
Computes bcrypt, on threads of its own: few, so that a flood of passwords leaves the processor to those who are known.
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
"""For strangers: as many as the exporter-toolkit computes at the same time."""

FAMILIAR_THREADS = 2
"""For familiar credentials, see `mpp.security.web_config.passwords`."""

NICENESS = 10
"""Of strangers' passwords. Where threads have a priority of their own (Linux), the reactor's goes first."""


class BcryptPool:
    """Two pools of threads. Their methods may be called while it is started."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, THREADS, "mpp-passwords")
        self._familiar_pool = ThreadPool(0, FAMILIAR_THREADS, "mpp-familiar-passwords")
        self._stopped = False

    def start(self) -> None:
        """Begin; no thread runs before there is work."""
        self._pool.start()
        self._familiar_pool.start()

    def stop(self) -> None:
        """End, at the latest when what is being computed is done; what waits for it is not computed any more."""
        self._stopped = True
        self._pool.stop()
        self._familiar_pool.stop()

    def verify(self, password: bytes, hashed: bytes) -> Deferred[bool]:
        """Tell whether a password has a hash; a hash that makes no sense is that of no password."""
        answer: Deferred[bool] = deferToThreadPool(self._reactor, self._pool, self._step_back_and_compute, password, hashed)
        return answer

    def verify_familiar(self, password: bytes, hashed: bytes) -> Deferred[bool]:
        """Do the same as `verify`, on other threads and with the priority of the reactor."""
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
    """Give this thread a lower priority; the whole process where a thread has none, so only on Linux."""
    if os.uname().sysname != "Linux":
        return
    thread = threading.get_native_id()
    # A sandbox may forbid it.
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, thread) < NICENESS:
            os.setpriority(os.PRIO_PROCESS, thread, NICENESS)
