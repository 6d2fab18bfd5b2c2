"""Call a small periodic check for as long as the program runs."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from txaio import tx

_log = tx.make_logger()


class PeriodicCheck(Service):
    """
    A service that calls a function at a fixed interval.

    :param check: called at each interval while the service runs.
    :param interval: seconds between two calls, and before the first one.
    """

    def __init__(self, check: Callable[[], None], clock: IReactorTime, interval: float) -> None:
        self._interval = interval
        self._loop = LoopingCall(check)
        self._loop.clock = clock

    def startService(self) -> None:
        """Start the periodic calls."""
        Service.startService(self)
        # A LoopingCall stops permanently at its first error, which is at least logged.
        stopped = self._loop.start(self._interval, now=False)
        stopped.addErrback(lambda failure: _log.failure("periodic check stopped", failure=failure))

    def stopService(self) -> None:
        """Stop the periodic calls."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()
