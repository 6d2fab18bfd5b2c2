"""What becomes of a request whose server is stuck after the server that was asked beside it has failed, too."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.model import Backend, Choice, Observation, Selection, Standing
from mpp.core.settings import Settings
from mpp.proxy.decisions.retry_budget import BURST
from tests.forward_support import A, B, C, FakeDownstream, FakeResponse, World

SUSPECT_AFTER = Settings().suspect_after
VIABLE, BUSY, SUSPECT, NOT_READY, DOWN = Standing
RESET = UpstreamError(Phase.HEAD, Cause.RESET)


def wait(world: World, seconds: float) -> None:
    """Let time pass tick by tick, as it does."""
    world.clock.pump([world.forwarder.context.ticker.period] * round(seconds / world.forwarder.context.ticker.period))


class StuckCase(SynchronousTestCase):
    """A pair whose first server does not answer anything."""

    def setUp(self) -> None:
        self.use(World(standbys=(B,)))

    def use(self, world: World, *others: Backend) -> None:
        """Begin with two servers that are well, and others."""
        self.at = 0.0
        self.world = world
        self.publish(b=VIABLE, others=others)

    def publish(self, *, b: Standing, returns: int = 0, others: tuple[Backend, ...] = ()) -> None:
        """Publish what probes have just found; the first server is always down but for the very first time."""
        self.at += 1
        seen = [Observation(A, DOWN if self.at > 1 else VIABLE, at=self.at), Observation(B, b, at=self.at, returns=returns)]
        seen += [Observation(each, VIABLE, at=self.at) for each in others]
        choice = Choice((A,), (B, *others)) if self.at == 1 else Choice((B,) if b is VIABLE else (), (*others, A))
        self.world.selections.current = Selection(int(self.at), choice, tuple(seen))

    def until_hedged(self) -> FakeDownstream:
        """Begin a request, and wait until the second server is asked as well."""
        client = self.world.request()
        wait(self.world, 2 * SUSPECT_AFTER)
        self.assertEqual(self.world.upstreams.backends, [A, B])
        return client


class ReturnedServerTests(StuckCase):
    """The second server fails the request, too, goes out of service, and comes back."""

    def test_it_is_asked_again(self) -> None:
        """A request that waits for a stuck server is sent to the other one as soon as that is back in service."""
        client = self.until_hedged()
        self.world.upstreams.sent[1].answer.callback(FakeResponse(503))
        self.publish(b=NOT_READY)
        wait(self.world, 5)
        self.assertEqual(self.world.upstreams.backends, [A, B])
        self.publish(b=VIABLE, returns=1)
        wait(self.world, 3 * SUSPECT_AFTER)
        self.assertEqual(self.world.upstreams.backends, [A, B, B])
        self.world.upstreams.sent[2].answer.callback(FakeResponse(200))
        self.assertEqual((client.served_by, client.attempts), (B, 3))
        client.ended(None)
        self.assertEqual(self.world.metrics.in_flight, 0)

    def test_a_return_that_nobody_saw_begin(self) -> None:
        """A server that went and came back between two looks is asked again, too."""
        self.until_hedged()
        self.world.upstreams.sent[1].answer.callback(FakeResponse(503))
        self.publish(b=VIABLE, returns=1)
        wait(self.world, 2 * SUSPECT_AFTER)
        self.assertEqual(self.world.upstreams.backends, [A, B, B])

    def test_once_for_each_return(self) -> None:
        """Each return of a server brings it one attempt of a waiting request, beyond --retries, and no more than that."""
        client = self.until_hedged()
        for returns in range(1, 6):
            self.world.upstreams.sent[-1].answer.callback(FakeResponse(503))
            self.publish(b=NOT_READY, returns=returns - 1)
            wait(self.world, 3)
            self.publish(b=VIABLE, returns=returns)
            wait(self.world, 3)
            self.assertEqual(self.world.upstreams.backends, [A, B] + returns * [B])
        self.world.upstreams.sent[-1].answer.callback(FakeResponse(200))
        self.assertEqual(client.served_by, B)

    def test_returns_do_not_use_up_the_retries(self) -> None:
        """A third server that nobody has asked yet is still asked."""
        self.until_hedged()
        self.world.upstreams.sent[1].answer.callback(FakeResponse(503))
        for returns in (1, 2):
            self.publish(b=VIABLE, returns=returns)
            wait(self.world, 2 * SUSPECT_AFTER)
            self.world.upstreams.sent[-1].answer.callback(FakeResponse(503))
        self.publish(b=NOT_READY, returns=2, others=(C,))
        wait(self.world, 2 * SUSPECT_AFTER)
        self.assertEqual(self.world.upstreams.backends, [A, B, B, B, C])

    def test_attempts_on_a_returned_server_use_the_retry_budget(self) -> None:
        """All these attempts come out of the retry budget: many waiting requests are no storm on the server that returns."""
        self.use(World(standbys=(B,), retry_budget=0.0))
        for _ in range(400):
            self.world.request()
        wait(self.world, 2 * SUSPECT_AFTER)
        for sent in self.world.upstreams.sent[400:]:
            sent.answer.callback(FakeResponse(503))
        self.publish(b=VIABLE, returns=1)
        wait(self.world, 3 * SUSPECT_AFTER)
        self.assertLess(len(self.world.upstreams.sent), 400 + BURST + 20)
        self.assertGreater(len(self.world.upstreams.sent), 400 + BURST - 1)

    def test_without_retries(self) -> None:
        """With --retries 0 no request is ever sent twice."""
        self.use(World(standbys=(B,), retries=0))
        self.world.request()
        wait(self.world, 2)
        self.publish(b=VIABLE, returns=1)
        wait(self.world, 2)
        self.assertEqual(self.world.upstreams.backends, [A])

    def test_not_the_third_server_under_a_query_of_death(self) -> None:
        """A request under which two servers broke off is not sent to either of them again."""
        self.use(World(standbys=(B, C), retries=5), C)
        self.world.request()
        wait(self.world, 1.2)
        self.assertEqual(self.world.upstreams.backends, [A, B, C])
        self.world.upstreams.sent[1].answer.errback(RESET)
        self.world.upstreams.sent[2].answer.errback(RESET)
        self.publish(b=VIABLE, returns=1, others=(C,))
        wait(self.world, 5)
        self.assertEqual(self.world.upstreams.backends, [A, B, C])


class FailedOnceTests(StuckCase):
    """The second server fails the request, too, and stays in service."""

    def test_it_is_asked_again_when_a_probe_has_found_it_well(self) -> None:
        """One failure does not leave a request with a stuck server: the other one is asked again, as far as --retries allow."""
        self.until_hedged()
        self.world.upstreams.sent[1].answer.errback(RESET)
        wait(self.world, 2)
        self.assertEqual(self.world.upstreams.backends, [A, B])
        for _ in range(5):
            self.publish(b=VIABLE)
            wait(self.world, 2 * SUSPECT_AFTER)
        self.assertEqual(self.world.upstreams.backends, [A, B, B])

    def test_not_while_a_probe_finds_it_unwell(self) -> None:
        """A server that probes find suspect is not asked again."""
        self.until_hedged()
        self.world.upstreams.sent[1].answer.errback(RESET)
        for _ in range(5):
            self.publish(b=SUSPECT)
            wait(self.world, 2 * SUSPECT_AFTER)
        self.assertEqual(self.world.upstreams.backends, [A, B])
