"""Forwarders that follow one another."""

from __future__ import annotations

import gc

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.proxy.forwarders import Forwarders
from tests.forward_support import A, FakeDownstream, FakeResponse, World


class ForwardersTests(SynchronousTestCase):
    """Who is still needed."""

    def setUp(self) -> None:
        """Replace a forwarder that has a request under way."""
        self.world = World()
        first = self.world.forwarder
        self.client: FakeDownstream | None = self.world.request()
        self.forwarders = Forwarders(first)
        self.world.forwarder = evolve(first)
        self.forwarders.replace(self.world.forwarder)

    def test_former(self) -> None:
        """One that is replaced stays as long as one of its requests is under way."""
        self.assertEqual([each is self.world.forwarder for each in self.forwarders.all], [True, False])
        sent = self.world.upstreams.sent.pop()
        sent.answer.callback(FakeResponse(200))
        assert self.client is not None
        self.client.ended(None)
        self.assertTrue(self.world.exchange.ended)
        self.client = None
        del sent, self.world.exchange
        gc.collect()
        self.assertEqual(len(self.forwarders.all), 1)
        self.assertIs(self.forwarders.current, self.world.forwarder)

    def test_told(self) -> None:
        """All that are left forget a backend, and stop."""
        self.forwarders.forget(A)
        self.assertNotEqual(self.world.clock.getDelayedCalls(), [])
        self.forwarders.stop()
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
