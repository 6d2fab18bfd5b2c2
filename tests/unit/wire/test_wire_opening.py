"""Connections that are being opened."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mpp.wire.upstream.connection import UpstreamConnection
from mpp.wire.upstream.opening import Opening


class Owner:
    """What asked for a connection."""

    def __init__(self) -> None:
        self.dialing: Deferred[UpstreamConnection] = Deferred()
        self.failures: list[Failure] = []

    def dial(self, *, prove: bool) -> Deferred[UpstreamConnection]:
        """Return the connection to come."""
        return self.dialing

    def opened(self, opening: Opening, connection: UpstreamConnection) -> None:
        """Not expected here."""
        raise AssertionError(connection)

    def not_opened(self, opening: Opening, failure: Failure) -> None:
        """Take note."""
        self.failures.append(failure)


class OpeningTests(SynchronousTestCase):
    """One connection."""

    def test_pool_is_closed_meanwhile(self) -> None:
        """Cancelled by the pool, which is being closed, it is over; that is no bug."""
        owner = Owner()
        Opening(owner, prove=True, began=0.0).start(b"")
        owner.dialing.cancel()
        self.assertTrue(owner.failures[0].check(CancelledError))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_owner_that_stops_the_port_is_not_told(self) -> None:
        """Its owner, who stops it, is not told."""
        owner = Owner()
        opening = Opening(owner, prove=True, began=0.0)
        opening.start(b"")
        opening.stop()
        self.assertEqual((owner.failures, self.flushLoggedErrors()), ([], []))
