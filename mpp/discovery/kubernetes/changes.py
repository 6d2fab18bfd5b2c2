"""
The changes that a watch has reported, and whether a look-up has listed them. Knows no objects of Kubernetes.

A change that was reported while a look-up was under way, or before one that failed, is reported again after a pause: with a long
selection interval, the next look-up would come much later.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mpp.discovery.kubernetes.watch import pause


class ReportedChanges:
    """
    The changes that a watch has reported to the listener of a locator.

    :param clock: measures the pauses, which grow like the ones of the watch.
    :param rng: randomizes the pauses.
    :ivar count: the number of changes that have been reported so far.
    """

    def __init__(self, clock: IReactorTime, rng: random.Random) -> None:
        self.count = 0
        self._clock = clock
        self._rng = rng
        self._changed: Callable[[], None] | None = None
        self._listed = 0
        self._repeats = 0
        self._repeat: IDelayedCall | None = None

    def start(self, changed: Callable[[], None]) -> None:
        """Report changes to a listener from now on."""
        self._changed = changed

    def stop(self) -> None:
        """Report no more changes."""
        self._changed = None
        self._settle()

    def report(self) -> None:
        """Report a change to the listener, if there is one."""
        if self._changed is not None:
            self.count += 1
            self._changed()

    def looked(self, count: int, *, listed: bool) -> None:
        """
        Record the end of a look-up.

        :param count: the number of changes at its beginning.
        :param listed: whether it succeeded.
        """
        if listed:
            self._listed = max(self._listed, count)
        if self._listed == self.count:
            self._settle()
        elif self._changed is not None and self._repeat is None:
            self._repeats += 1
            self._repeat = self._clock.callLater(pause(self._repeats, self._rng), self._again)

    def _settle(self) -> None:
        repeat, self._repeat, self._repeats = self._repeat, None, 0
        if repeat is not None:
            repeat.cancel()

    def _again(self) -> None:
        self._repeat = None
        if self._changed is not None:
            self._changed()
