"""Calls a small periodic check for as long as the program runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from txaio import tx

_log = tx.make_logger()


class PeriodicCheck(Service):
    """
    A service that calls a function at a fixed interval.

    :param check: called at each interval while the service runs; after a Deferred, the next call waits until it has fired.
    :param interval: seconds between two calls.
    :param name: the name of the task in the log.
    :param log: logs the error that ends the calls; by default the logger of this module.
    :param now: make the first call when the service starts, instead of after the first interval.
    """

    def __init__(
        self,
        check: Callable[[], object],
        clock: IReactorTime,
        interval: float,
        name: str = "housekeeping",
        log: Any = _log,
        *,
        now: bool = False,
    ) -> None:
        self._interval, self._now = interval, now
        self._report_end = lambda failure: log.failure(
            "bug: the periodic task '{name}' failed; it does not run again until mpp is restarted", failure=failure, name=name
        )
        self._loop = LoopingCall(check)
        self._loop.clock = clock

    def startService(self) -> None:
        """Start the periodic calls."""
        Service.startService(self)
        # A LoopingCall stops permanently at its first error, which is at least logged.
        self._loop.start(self._interval, now=self._now).addErrback(self._report_end)

    def stopService(self) -> None:
        """Stop the periodic calls."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()
