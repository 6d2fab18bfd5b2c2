"""Calls a small periodic check for as long as the program runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from txaio import tx

_log = tx.make_logger()


class PeriodicCheck(Service):
    """
    A service that calls a function at a fixed interval. An error of one call is logged, and does not prevent the next one.

    :param check: called at each interval while the service runs; after a Deferred, the next call waits until it has fired.
    :param interval: seconds between two calls.
    :param name: the name of the task in the log.
    :param log: logs the errors of the function; by default the logger of this module.
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
        text = "bug: the periodic task '{name}' failed; it runs again in {interval:g} s"

        def report(failure: Failure) -> None:
            log.failure(text, failure, name=name, interval=self._interval)

        # A LoopingCall itself stops permanently at its first error.
        self._call = lambda: maybeDeferred(check).addErrback(report)
        self._clock = clock
        self._loop: LoopingCall | None = None

    def startService(self) -> None:
        """Start the periodic calls."""
        Service.startService(self)
        # Always create a new LoopingCall: one that is restarted while it waits for a Deferred would run twice.
        self._loop = LoopingCall(self._call)
        self._loop.clock = self._clock
        self._loop.start(self._interval, now=self._now)

    def stopService(self) -> None:
        """Stop the periodic calls."""
        Service.stopService(self)
        loop, self._loop = self._loop, None
        if loop is not None and loop.running:
            loop.stop()

    def change(self, interval: float) -> None:
        """Change the interval; if it differs from the current one, the periodic calls start again now."""
        if interval != self._interval:
            self._interval = interval
            if self.running:
                self.stopService()
                self.startService()
