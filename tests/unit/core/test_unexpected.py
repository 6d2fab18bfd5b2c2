"""Work in the background that fails."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase
from txaio.tx import make_logger

from mpp.core.scheduling.unexpected import log_unexpected

_log = make_logger()


class UnexpectedTests(SynchronousTestCase):
    """What is logged of it."""

    def test_failure_is_logged(self) -> None:
        """A failure is logged once, and goes no further."""
        work: Deferred[None] = fail(ValueError("no"))
        self.assertIsNone(self.successResultOf(work.addErrback(log_unexpected, _log, "bug: the work failed")))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_cancellation_is_not_logged(self) -> None:
        """Work that was cancelled ends without a line in the log."""
        work: Deferred[None] = Deferred()
        work.addErrback(log_unexpected, _log, "bug: the work failed")
        work.cancel()
        self.assertIsNone(self.successResultOf(work))
