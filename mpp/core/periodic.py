"""Does something small again and again, for as long as the program runs."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from txaio import tx

_log = tx.make_logger()


class PeriodicCheck(Service):
    """
    One sweep for everything that takes time.

    :param check: called again and again while the service runs.
    :param interval: seconds between two calls, and before the first one.
    """

    def __init__(self, check: Callable[[], None], clock: IReactorTime, interval: float) -> None:
        self._interval = interval
        self._loop = LoopingCall(check)
        self._loop.clock = clock

    def startService(self) -> None:
        """Begin to sweep."""
        Service.startService(self)
        # A LoopingCall stops for ever at its first error; then at least it is told.
        stopped = self._loop.start(self._interval, now=False)
        stopped.addErrback(lambda failure: _log.failure("housekeeping stopped", failure=failure))

    def stopService(self) -> None:
        """Sweep no more."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()
