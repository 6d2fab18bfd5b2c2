"""What clients are told when no server has answered."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.proxy.decisions import local_replies as refusal


class DeadlyTests(SynchronousTestCase):
    """A request that was broken off twice."""

    def test_servers_are_counted_and_not_attempts(self) -> None:
        """One server that broke off twice is one server."""
        self.assertTrue(refusal.query_of_death(2, 2, "reset").message.startswith("2 servers broke off under this request"))
        self.assertTrue(
            refusal.query_of_death(2, 1, "reset").message.startswith("one server broke off 2 times under this request")
        )
