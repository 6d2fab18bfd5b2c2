"""Look-ups that are under way."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mpp.discovery.http_api.look_ups import PendingLookups


class LookUpsTests(SynchronousTestCase):
    """What is given up, and what is not."""

    def test_all_running_lookups_are_cancelled(self) -> None:
        """All that have not ended are given up."""
        look_ups = PendingLookups()
        running = [look_ups.add(Deferred()) for _ in range(2)]
        look_ups.cancel()
        for each in running:
            self.failureResultOf(each, CancelledError)
        look_ups.cancel()

    def test_ended_lookup_keeps_its_outcome(self) -> None:
        """What has ended keeps its outcome, and is forgotten: a Deferred that is handed out waits for others meanwhile."""
        look_ups = PendingLookups()
        looked: Deferred[int] = Deferred()
        later: Deferred[int] = Deferred()
        handed_out = look_ups.add(looked).addCallback(lambda _: later)
        looked.callback(7)
        look_ups.cancel()
        later.callback(8)
        self.assertEqual(self.successResultOf(handed_out), 8)
