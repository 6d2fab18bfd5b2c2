"""Reloads: what changes for requests that follow, and what stays."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.proxy.decisions.affinity import AffinityChain
from mpp.proxy.decisions.retry_budget import BURST
from tests.forward_support import A, B, FakeDownstream, FakeResponse, RecordingUpstreams, World

RESET = UpstreamError(Phase.HEAD, Cause.RESET)


def wait(world: World, seconds: float) -> None:
    """Advance the clock tick by tick."""
    end = world.clock.seconds() + seconds
    while world.clock.seconds() < end:
        world.clock.advance(world.forwarder.context.ticker.period)


class ReloadTests(SynchronousTestCase):
    """A change of the settings while requests are under way."""

    def streaming(self, world: World) -> FakeDownstream:
        """Return a client whose response has begun and does not go on."""
        client = world.request()
        response = FakeResponse(200)
        response.complete = False
        world.upstreams.sent[-1].answer.callback(response)
        return client

    def test_a_request_keeps_the_settings_that_it_began_with(self) -> None:
        """Only requests that follow a reload have the new ``--stall-timeout``, whatever the new period of the ticks."""
        for before, after in ((0.25, 10.0), (10.0, 0.25)):
            world = World(stall_timeout=5.0, suspect_after=before)
            former = self.streaming(world)
            world.reload(stall_timeout=60.0, suspect_after=after)
            latter = self.streaming(world)
            wait(world, 4)
            self.assertEqual((former.aborted, latter.aborted), (False, False))
            wait(world, 4)
            self.assertEqual((former.aborted, latter.aborted), (True, False))
            wait(world, 60)
            self.assertTrue(latter.aborted)

    def test_a_silent_server_is_noticed_as_early_as_before(self) -> None:
        """A request keeps its ``--suspect-after``; requests that follow, and begin while none waits, have the new one only."""
        world = World()
        client = world.request()
        world.reload(suspect_after=10.0)
        wait(world, 0.3)
        self.assertEqual(len(world.upstreams.probes), 1)
        world.upstreams.sent[0].answer.callback(FakeResponse(200))
        client.ended(None)
        wait(world, 20)
        world.request()
        self.assertEqual(world.forwarder.context.ticker.period, 2.0)
        wait(world, 8)
        self.assertEqual(len(world.upstreams.probes), 1)
        wait(world, 2)
        self.assertEqual(len(world.upstreams.probes), 2)

    def test_the_retry_budget_is_not_filled_up(self) -> None:
        """A reload does not let mpp repeat hundreds of requests again; the new share counts for requests that follow."""
        world = World(retry_budget=0.0)
        budget = world.forwarder.context.budget
        while budget.take(0.0):
            pass
        world.reload(retry_budget=1.0, retries=1)
        for number, asked in enumerate(([A, B], [A, B, A, B]), 1):
            world.request()
            world.upstreams.sent[-1].answer.errback(RESET)
            self.assertEqual(world.upstreams.backends, asked)
            world.upstreams.sent[-1].answer.callback(FakeResponse(200))
            self.assertLess(float(repr(budget).strip("<>").split()[1]), min(BURST, number))

    def test_liveness_checks_use_the_new_credentials(self) -> None:
        """A server is checked through the connections of the new settings, for requests from before the reload too."""
        world = World()
        world.request()
        renewed = RecordingUpstreams()
        world.forwarder.reconfigure(renewed, AffinityChain(()), world.forwarder.context.settings)
        wait(world, 0.3)
        self.assertEqual((len(world.upstreams.probes), len(renewed.probes)), (0, 1))

    def test_nothing_is_left_behind(self) -> None:
        """A removed backend is forgotten, and no timer remains at the end, whatever was reloaded."""
        world = World()
        world.request()
        world.reload(suspect_after=1.0)
        wait(world, 0.3)
        self.assertEqual(len(world.upstreams.probes), 1)
        world.forwarder.forget(A)
        self.assertEqual(world.upstreams.cancelled, [A])
        world.forwarder.stop()
        self.assertEqual(world.clock.getDelayedCalls(), [])
