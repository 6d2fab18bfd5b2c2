"""Callers wait for one event."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.scheduling.waiters import Waiters


class WaitersTests(SynchronousTestCase):
    """Those who wait."""

    def test_told_may_cancel_another(self) -> None:
        """Who is told first may cancel another one, and may wait again."""
        waiters = Waiters()
        first, second = waiters.wait(), waiters.wait()
        again: list[Deferred[None]] = []

        def told(_: None) -> None:
            second.cancel()
            again.append(waiters.wait())

        first.addCallback(told)
        waiters.fire()
        self.failureResultOf(second, CancelledError)
        self.assertNoResult(again[0])
