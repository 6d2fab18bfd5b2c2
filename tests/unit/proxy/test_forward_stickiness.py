"""Federation and remote read stay with one server."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.model import Choice, Observation, Selection, Standing
from mpp.proxy.ticker import TICKS
from tests.forward_support import A, B, C, FakeResponse, World

FEDERATE = b"/federate?match[]=up"
ALL_WELL = tuple(Observation(each, Standing.VIABLE) for each in (A, B, C))
KEPT = Selection(2, Choice((A, C), (B,)), ALL_WELL, sticky=(B,))
"""A and C are selected, and clients are kept on B."""


class StickyRequestTests(SynchronousTestCase):
    """Requests of clients that are kept on a server which is not selected any more."""

    def world(self, **settings: object) -> World:
        """Make the world around the requests."""
        world = World(selected=(A, C), standbys=(B,), **settings)
        world.selections.current = KEPT
        return world

    def test_federation_and_remote_read(self) -> None:
        """They go to the sticky server, everything else to a selected one, whatever cookie the client returns."""
        cookie = ((b"Cookie", b"MPP.Route=" + A.route),)
        for method, target, sticky in [
            (b"GET", FEDERATE, True),
            (b"GET", b"/prefix/federate", True),
            (b"POST", b"/api/v1/read", True),
            (b"GET", b"/api/v1/query?query=up", False),
            (b"GET", b"/api/v1/series?match[]=federate", False),
        ]:
            world = self.world()
            client = world.request(method, target, cookie)
            self.assertEqual(world.upstreams.backends, [B if sticky else A], target)
            world.upstreams.sent[0].answer.callback(FakeResponse(200))
            self.assertEqual(client.served_by, B if sticky else A)
            self.assertEqual(world.counted("mpp_affinity_hits_total", type="sticky"), sticky, target)

    def test_failed_server(self) -> None:
        """When the sticky server fails, another one answers."""
        world = self.world()
        client = world.request(target=FEDERATE)
        world.upstreams.sent[0].answer.errback(UpstreamError(Phase.CONNECT, Cause.REFUSED, ""))
        world.upstreams.sent[1].answer.callback(FakeResponse(200))
        self.assertIn(client.served_by, (A, C))

    def test_client_behind_proxies(self) -> None:
        """A client is told apart by its own address behind a proxy in a private network, as sourceip does it."""
        world = World(selected=(A, B, C), standbys=())
        world.selections.current = Selection(1, Choice((A, B, C)), ALL_WELL, sticky=(A, B, C))
        for number in range(20):
            facts = world.request(target=FEDERATE).info
            there = facts._replace(peer="10.0.0.1", headers=((b"X-Forwarded-For", b"198.51.100.%d" % number),))
            self.assertEqual(world.forwarder.context.sticky_address(there), f"198.51.100.{number}")

    def test_not_hedged_for_being_slow(self) -> None:
        """A slow federation is not raced on another server, as a slow query is; the server may be alive."""
        for target, asked in ((FEDERATE, 1), (b"/api/v1/query?query=up", 2)):
            world = self.world(hedge_after=1.0)
            world.upstreams.there = True
            world.request(target=target)
            for _ in range(3 * 4 * TICKS):
                world.clock.advance(world.forwarder.context.ticker.period)
            self.assertEqual(len(world.upstreams.sent), asked, target)

    def test_waits_for_a_slot_on_its_server(self) -> None:
        """It is not moved while its server is in service, but it is when the server is not any more."""
        world = self.world()
        world.upstreams.there = True
        world.upstreams.full.add(B)
        client = world.request(target=FEDERATE)
        for _ in range(3 * TICKS):
            world.clock.advance(world.forwarder.context.ticker.period)
        self.assertEqual(world.upstreams.backends, [B])
        lost = tuple(evolve(each, standing=Standing.DOWN) if each.backend == B else each for each in ALL_WELL)
        world.selections.current = evolve(KEPT, observations=lost)
        for _ in range(3 * TICKS):
            world.clock.advance(world.forwarder.context.ticker.period)
        self.assertEqual(len(world.upstreams.sent), 2)
        world.upstreams.sent[1].answer.callback(FakeResponse(200))
        self.assertIn(client.served_by, (A, C))
