"""What a request does while nothing comes: doubts, hedges, deadlines."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.facts import ServerState
from mpp.core.model import Choice, Headers, Observation, Selection, Standing
from mpp.core.settings import Settings
from mpp.proxy.attempt import ENOUGH
from mpp.proxy.decisions.retry_budget import BURST, FLOOR_PER_S, RetryBudget
from tests.forward_support import A, B, C, FakeResponse, World

SUSPECT_AFTER = Settings().suspect_after
REFUSED = UpstreamError(Phase.CONNECT, Cause.REFUSED)
RESET = UpstreamError(Phase.HEAD, Cause.RESET)
STALE = UpstreamError(Phase.HEAD, Cause.CLOSED, stale=True)


def wait(world: World, seconds: float) -> None:
    """Let time pass tick by tick, as it does."""
    world.clock.pump([world.forwarder.context.ticker.period] * round(seconds / world.forwarder.context.ticker.period))


class SuspicionTests(SynchronousTestCase):
    """When a server is silent."""

    def setUp(self) -> None:
        self.world = World()

    def until_asked(self) -> None:
        wait(self.world, SUSPECT_AFTER)

    def test_a_quick_answer_raises_no_doubt(self) -> None:
        """A server that answers within the time is asked nothing else."""
        client = self.world.request()
        wait(self.world, SUSPECT_AFTER - 0.05)
        self.world.upstreams.sent[0].answer.callback(FakeResponse(200))
        client.ended(None)
        wait(self.world, 10)
        self.assertEqual(self.world.upstreams.probes, [])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_a_heavy_query_runs_once(self) -> None:
        """A server that is there is waited for, as long as it shows signs of life."""
        self.world.upstreams.there = True
        self.world.request()
        wait(self.world, 30)
        self.assertEqual(self.world.upstreams.backends, [A])
        asked = len(self.world.upstreams.probes)
        self.assertTrue(90 <= asked <= 120, asked)
        self.assertEqual(self.world.counted("mpp_suspicion_probes_total", backend="a:9090", result="alive"), asked)
        self.assertEqual(self.world.selections.reports, [])

    def test_a_stuck_server_is_overtaken(self) -> None:
        """A server that does not even say that it is there loses its traffic, and another one is asked beside it."""
        client = self.world.request()
        self.until_asked()
        self.assertEqual(self.world.upstreams.probes[0].head.split()[1], b"/-/ready")
        wait(self.world, SUSPECT_AFTER)
        self.assertEqual(self.world.upstreams.backends, [A, B])
        self.assertEqual(self.world.selections.reports, [(A, Standing.DOWN)])
        self.assertEqual(self.world.counted("mpp_hedges_total", backend="a:9090", reason="stuck"), 1)
        self.world.upstreams.sent[1].answer.callback(FakeResponse(200))
        self.assertEqual((client.served_by, client.attempts), (B, 2))
        self.assertEqual(self.world.upstreams.cancelled, [A])

    def test_a_slow_server_is_given_time(self) -> None:
        """A server that is known to be slow, /-/ready included, is stuck only when it is silent for much longer than usual."""
        for times, expected in (
            ((0.4,) * 20, 1.6),
            ((0.4, 0.4, 0.01), 1.6),
            ((0.01,) * 11 + (0.9,) * 9, SUSPECT_AFTER),
            ((), SUSPECT_AFTER),
            ((2.0,) * 20, 5.0),
        ):
            self.world = World()
            self.world.selections.current = Selection(1, Choice((A,), (B,)), (Observation(A, Standing.VIABLE, ready_took=times),))
            self.world.request()
            self.until_asked()
            self.assertEqual(len(self.world.upstreams.probes), 1)
            wait(self.world, expected - 0.1)
            self.assertEqual((self.world.upstreams.backends, self.world.selections.reports), ([A], []))
            wait(self.world, 0.2)
            self.assertEqual(self.world.upstreams.backends, [A, B])
            self.assertEqual(self.world.selections.reports, [(A, Standing.DOWN)])

    def test_a_slow_answer_in_time_blames_nobody(self) -> None:
        """A slow server that answers the question within the time that it is given stays in service, however often asked."""
        slow = Observation(A, Standing.VIABLE, ready_took=(0.4,) * 20)
        self.world.selections.current = Selection(1, Choice((A,), (B,)), (slow,))
        self.world.request()
        self.until_asked()
        for number in range(1, 11):
            wait(self.world, 0.4)
            self.world.upstreams.probes[-1].answer.callback(FakeResponse(200))
            wait(self.world, SUSPECT_AFTER + 0.05)
            self.assertEqual(len(self.world.upstreams.probes), number + 1)
        self.assertEqual((self.world.upstreams.backends, self.world.selections.reports), ([A], []))

    def test_the_first_answer_wins(self) -> None:
        """A server that wakes up in time answers after all, and the other one need not."""
        client = self.world.request()
        wait(self.world, 3 * SUSPECT_AFTER)
        self.world.upstreams.sent[0].answer.callback(FakeResponse(200))
        self.assertEqual(client.served_by, A)
        self.assertEqual(self.world.upstreams.cancelled, [B])

    def test_requests_share_the_question(self) -> None:
        """However many wait, a server is asked once."""
        for _ in range(10):
            self.world.request()
        self.until_asked()
        self.assertEqual(len(self.world.upstreams.probes), 1)
        wait(self.world, SUSPECT_AFTER)
        self.assertEqual(self.world.upstreams.backends, [A] * 10 + [B] * 10)
        self.assertEqual(self.world.selections.reports, [(A, Standing.DOWN)])

    def test_a_server_that_refuses_the_question_is_stuck(self) -> None:
        """Whoever cannot be asked at all is not waited for any longer."""
        self.world.request()
        self.until_asked()
        self.world.upstreams.probes[0].answer.errback(REFUSED)
        wait(self.world, 0.06)
        self.assertEqual(self.world.upstreams.backends, [A, B])

    def test_a_stale_connection_is_no_answer(self) -> None:
        """The question is put again on a fresh connection."""
        self.world.request()
        self.until_asked()
        self.world.upstreams.probes[0].answer.errback(STALE)
        self.assertEqual([probe.fresh for probe in self.world.upstreams.probes], [False, True])
        self.world.upstreams.probes[1].answer.callback(FakeResponse(503))
        wait(self.world, SUSPECT_AFTER - 0.02)
        self.assertEqual(self.world.upstreams.backends, [A])

    def test_our_own_shortage_blames_nobody(self) -> None:
        """When mpp has no descriptor left to ask with, that says nothing about the server."""
        self.world.request()
        self.until_asked()
        self.world.upstreams.probes[0].answer.errback(UpstreamError(Phase.CONNECT, Cause.LOCAL))
        wait(self.world, 0.06)
        self.assertEqual((self.world.upstreams.backends, self.world.selections.reports), ([A], []))

    def test_a_question_that_cannot_be_put_blames_nobody(self) -> None:
        """When mpp itself uses all connections that a server takes, the server is not held to be stuck for it."""
        self.world.request()
        for _ in range(200):
            wait(self.world, 0.05)
            for probe in self.world.upstreams.probes:
                assert probe.progress is not None
                probe.progress.queued = True
        self.assertEqual((self.world.upstreams.backends, self.world.selections.reports), ([A], []))
        self.assertEqual(self.world.counted("mpp_suspicion_probes_total", backend="a:9090", result="stuck"), 0)

    def test_a_question_that_waited_is_a_question(self) -> None:
        """Once it has been sent, it has to be answered, in as much time as any other."""
        self.world.request()
        self.until_asked()
        progress = self.world.upstreams.probes[0].progress
        assert progress is not None
        progress.queued = True
        wait(self.world, 1)
        progress.queued = False
        wait(self.world, SUSPECT_AFTER)
        self.assertEqual(self.world.upstreams.backends, [A])
        wait(self.world, 0.1)
        self.assertEqual(self.world.upstreams.backends, [A, B])

    def test_progress_dispels_doubt(self) -> None:
        """A long answer that comes in at a good pace is just long; one that drips is not."""
        self.world.request()
        progress = self.world.upstreams.sent[0].progress
        assert progress is not None
        for _ in range(100):
            progress.received += ENOUGH
            wait(self.world, 0.1)
        self.assertEqual(self.world.upstreams.probes, [])
        for _ in range(10):
            progress.received += 1
            wait(self.world, 0.05)
        self.assertEqual(len(self.world.upstreams.probes), 1)

    def test_writes_are_not_run_twice(self) -> None:
        """What changes something waits for the server it was sent to."""
        self.world.request(b"POST", b"/somewhere")
        wait(self.world, 10)
        self.assertEqual(self.world.upstreams.backends, [A])

    def test_nobody_is_asked_who_cannot_answer(self) -> None:
        """With nobody better to ask, the request waits for its server, and goes elsewhere when somebody comes up."""
        down = Selection(1, Choice((A,), (B,)), (Observation(A, Standing.VIABLE), Observation(B, Standing.DOWN, "refused")))
        self.world.selections.current = down
        self.world.request()
        wait(self.world, 2)
        self.assertEqual(self.world.upstreams.backends, [A])
        self.world.selections.current = Selection(
            2, Choice((B,), (A,)), (Observation(A, Standing.DOWN), Observation(B, Standing.VIABLE))
        )
        wait(self.world, 1)
        self.assertEqual(self.world.upstreams.backends, [A, B])

    def test_both_stuck(self) -> None:
        """When the second server is stuck too the third is asked, and no more than retries allow."""
        client = self.world.request()
        wait(self.world, 1.2)
        self.assertEqual(self.world.upstreams.backends, [A, B, C])
        self.world.upstreams.sent[1].answer.errback(RESET)
        self.world.upstreams.sent[2].answer.errback(RESET)
        self.assertIsNone(client.failed)
        self.world.upstreams.sent[0].answer.callback(FakeResponse(200))
        self.assertEqual((client.served_by, client.attempts), (A, 3))

    def test_an_error_of_the_hedge_does_not_win(self) -> None:
        """As long as somebody may still answer well, the client does not get somebody else's trouble."""
        self.world = World(standbys=(B,))
        client = self.world.request()
        wait(self.world, 3 * SUSPECT_AFTER)
        self.world.upstreams.sent[1].answer.callback(FakeResponse(500, b"oops"))
        self.assertIsNone(client.delivered)
        self.world.upstreams.sent[0].answer.callback(FakeResponse(200))
        self.assertEqual(client.served_by, A)

    def test_a_pause_of_our_own_is_not_the_servers(self) -> None:
        """After mpp itself was stopped for a while, nobody is suspected for it."""
        self.world.request()
        wait(self.world, SUSPECT_AFTER / 2)
        self.world.clock.advance(60)
        self.assertEqual(self.world.upstreams.probes, [])

    def test_client_that_leaves_cancels_all(self) -> None:
        """Nothing goes on for a client that is gone."""
        self.world.request()
        wait(self.world, 3 * SUSPECT_AFTER)
        self.world.exchange.client_gone()
        self.assertEqual(self.world.upstreams.cancelled, [A, B])
        self.assertEqual(self.world.metrics.in_flight, 0)


class SlotTests(SynchronousTestCase):
    """Requests that wait for a slot on their server."""

    def setUp(self) -> None:
        self.world = World(standbys=(B,))
        self.world.upstreams.there = True
        both = (Observation(A, Standing.VIABLE), Observation(B, Standing.VIABLE))
        self.both = self.world.selections.current = Selection(1, Choice((A,), (B,)), both)
        self.world.upstreams.full.add(A)

    def sent_to_b(self) -> bytes:
        self.assertEqual((self.world.upstreams.backends, self.world.upstreams.cancelled), ([A, B], [A]))
        return self.world.upstreams.sent[1].head

    def test_goes_where_there_is_room(self) -> None:
        """A request that has waited too long is sent to a server with a free slot; that is no second attempt."""
        client = self.world.request()
        wait(self.world, SUSPECT_AFTER - 0.05)
        self.assertEqual(self.world.upstreams.backends, [A])
        wait(self.world, 0.06)
        self.sent_to_b()
        self.world.upstreams.sent[1].answer.callback(FakeResponse(200))
        self.assertEqual((client.served_by, client.attempts), (B, 1))
        self.assertEqual(self.world.counted("mpp_moved_requests_total", backend="a:9090"), 1)
        self.assertEqual(self.world.counted("mpp_hedges_total", backend="a:9090", reason="stuck"), 0)

    def test_writes_too(self) -> None:
        """Nothing of a waiting request was sent, so even one that changes something may go elsewhere."""
        self.world.request(b"POST", b"/somewhere")
        wait(self.world, SUSPECT_AFTER)
        self.assertTrue(self.sent_to_b().startswith(b"POST /somewhere "))
        self.assertTrue(self.world.upstreams.sent[1].fresh)

    def test_nobody_has_room(self) -> None:
        """With all servers full it waits, and goes as soon as one is not."""
        self.world.upstreams.full.add(B)
        self.world.request()
        wait(self.world, 3)
        self.assertEqual(self.world.upstreams.backends, [A])
        self.world.upstreams.full.discard(B)
        wait(self.world, SUSPECT_AFTER + 0.1)
        self.sent_to_b()

    def test_follows_the_selection(self) -> None:
        """When another server is selected, those that wait go there, even to wait again."""
        self.world.upstreams.full.add(B)
        self.world.request()
        wait(self.world, 1)
        self.world.selections.current = Selection(2, Choice((B,), (A,)), self.both.observations)
        wait(self.world, SUSPECT_AFTER + 0.1)
        self.sent_to_b()
        wait(self.world, 5)
        self.assertEqual(self.world.upstreams.backends, [A, B])

    def test_told_what_is_left(self) -> None:
        """The other server is told how much time is left when the request is sent to it."""
        self.world.request(target=b"/api/v1/query?query=up&timeout=10s")
        wait(self.world, SUSPECT_AFTER)
        self.assertIn(b"timeout=9750ms", self.sent_to_b())

    def test_a_request_under_way_stays(self) -> None:
        """What was sent is waited for; only what waits in mpp is moved."""
        self.world.upstreams.full.clear()
        self.world.request()
        wait(self.world, 5)
        self.assertEqual(self.world.upstreams.backends, [A])

    def test_client_that_leaves(self) -> None:
        """A moved request is cancelled like any other."""
        self.world.request()
        wait(self.world, SUSPECT_AFTER)
        self.world.exchange.client_gone()
        self.assertEqual(self.world.upstreams.cancelled, [A, B])


class QuerySlotTests(SynchronousTestCase):
    """What servers are known to run at once."""

    def selection(self, b: Standing = Standing.VIABLE) -> Selection:
        slots = {A: ServerState(query_slots=20), B: ServerState(query_slots=4)}
        observed = (Observation(A, Standing.VIABLE, facts=slots[A]), Observation(B, b, facts=slots[B]))
        return Selection(1, Choice((A,), (B,)), observed)

    def test_queries_are_limited(self) -> None:
        """A query waits while its server runs as many as it can, if there is another server; other requests do not wait."""
        world = World(standbys=(B,))
        world.selections.current = self.selection()
        for target, expected in (
            (b"/api/v1/query?query=up", 20),
            (b"/api/v1/query_range?query=up", 20),
            (b"/api/v1/labels", 0),
            (b"/federate?match[]=up", 0),
        ):
            world.request(target=target)
            self.assertEqual(world.upstreams.sent[-1].query_slots, expected, target)
        world.selections.current = self.selection(Standing.NOT_READY)
        world.request()
        self.assertEqual(world.upstreams.sent[-1].query_slots, 0)

    def test_moved_to_a_server_that_is_not_busy(self) -> None:
        """A waiting query goes to a server that has a query slot free, and with that server's limit."""
        world = World(standbys=(B,))
        world.upstreams.there = True
        world.upstreams.full.add(A)
        world.selections.current = self.selection(Standing.BUSY)
        world.request()
        wait(world, 1)
        self.assertEqual(world.upstreams.backends, [A])
        world.selections.current = self.selection()
        wait(world, SUSPECT_AFTER + 0.1)
        self.assertEqual([(sent.backend, sent.query_slots) for sent in world.upstreams.sent], [(A, 20), (B, 4)])


class HedgeTests(SynchronousTestCase):
    """Hedging by delay, for those who want it."""

    def test_slow_is_overtaken_when_asked_for(self) -> None:
        """With --hedge-after a second server is asked although the first one is there."""
        world = World(hedge_after=1.0)
        world.upstreams.there = True
        world.request()
        wait(world, 0.9)
        self.assertEqual(world.upstreams.backends, [A])
        wait(world, 0.2)
        self.assertEqual(world.upstreams.backends, [A, B])
        self.assertEqual(world.counted("mpp_hedges_total", backend="a:9090", reason="slow"), 1)


class DeadlineTests(SynchronousTestCase):
    """Nobody waits for ever."""

    def test_request_timeout(self) -> None:
        """A query that never ends gets a 504 in Prometheus' shape, and its server is told to stop."""
        world = World(standbys=())
        world.upstreams.there = True
        client = world.request(target=b"/api/v1/series?match[]=up")
        wait(world, 119)
        self.assertIsNone(client.failed)
        wait(world, 2)
        assert client.failed is not None
        self.assertEqual(client.failed[0], 504)
        self.assertIn("no answer within 120 s: a:9090 did not answer", client.failed[1])
        self.assertEqual(world.upstreams.cancelled, [A])
        self.assertEqual(world.counted("mpp_requests_total", backend="mpp", code="504"), 1)

    def test_the_querys_own_timeout(self) -> None:
        """Who says how long to wait does not wait much longer."""
        world = World(standbys=())
        client = world.request(target=b"/api/v1/query?query=up&timeout=3s")
        wait(world, 3)
        self.assertIsNone(client.failed)
        wait(world, 1.1)
        assert client.failed is not None
        self.assertEqual(client.failed[0], 504)

    def test_waiting_for_a_selection_counts(self) -> None:
        """The time is over, whatever it was that took it."""
        world = World(selected=(), standbys=(), request_timeout=2.0)
        client = world.request()
        wait(world, 2.1)
        assert client.failed is not None
        self.assertEqual((client.failed[0], world.metrics.in_flight), (504, 0))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_servers_are_told_what_is_left(self) -> None:
        """Each attempt's server knows when nobody waits any more; what is no query is not touched."""
        world = World()
        world.upstreams.there = True
        world.request(target=b"/api/v1/query?query=up")
        world.clock.advance(60)
        world.upstreams.sent[0].answer.errback(RESET)
        self.assertEqual(
            [sent.head.split()[1] for sent in world.upstreams.sent],
            [b"/api/v1/query?query=up&timeout=119000ms", b"/api/v1/query?query=up&timeout=59000ms"],
        )
        world.request(target=b"/api/v1/series?match[]=up")
        self.assertEqual(world.upstreams.sent[-1].head.split()[1], b"/api/v1/series?match[]=up")

    def test_timeout_parameter_can_be_switched_off(self) -> None:
        """With --no-timeout-parameter queries are sent as they came."""
        world = World(no_timeout_parameter=True)
        world.request(target=b"/api/v1/query?query=up")
        self.assertEqual(world.upstreams.sent[0].head.split()[1], b"/api/v1/query?query=up")


class StallTests(SynchronousTestCase):
    """Answers that begin and do not go on."""

    def test_a_held_answer_is_asked_for_elsewhere(self) -> None:
        """A server that is there, but whose answer stands still, is given up after a while."""
        world = World(standbys=(B,))
        world.upstreams.there = True
        world.request()
        progress = world.upstreams.sent[0].progress
        assert progress is not None
        progress.received = 300
        wait(world, 14)
        self.assertEqual(world.upstreams.backends, [A])
        wait(world, 2)
        self.assertEqual((world.upstreams.backends, world.upstreams.cancelled), ([A, B], [A]))
        self.assertEqual(world.counted("mpp_retries_total", backend="a:9090", reason="truncated_timeout"), 1)

    def begun(self, world: World, headers: Headers = ()) -> FakeResponse:
        response = FakeResponse(200, headers=headers)
        response.complete = False
        world.upstreams.sent[0].answer.callback(response)
        return response

    def test_an_answer_under_way_is_broken_off(self) -> None:
        """A client is not left hanging in mid-answer; it can tell that there is more."""
        world = World()
        client = world.request()
        response = self.begun(world)
        wait(world, 14)
        self.assertFalse(client.aborted)
        wait(world, 2)
        self.assertEqual((client.aborted, response.cancelled), (True, True))
        self.assertEqual(world.counted("mpp_truncated_responses_total", backend="a:9090", reason="timeout"), 1)
        self.assertEqual((world.metrics.in_flight, world.clock.getDelayedCalls()), (0, []))

    def test_a_slow_client_is_not_the_servers_fault(self) -> None:
        """While the client does not take what there is, the server is not expected to send more."""
        world = World()
        client = world.request()
        self.begun(world).paused = True
        wait(world, 60)
        self.assertFalse(client.aborted)

    def test_event_streams_may_be_silent(self) -> None:
        """An event stream has no deadline, and says nothing as long as nothing happens."""
        world = World()
        client = world.request(target=b"/api/v1/notifications/live")
        self.begun(world, ((b"Content-Type", b"text/event-stream"),))
        wait(world, 300)
        self.assertFalse(client.aborted)


class SaturatedTests(SynchronousTestCase):
    """When servers have more to do than they can."""

    STARVED = (503, b'{"status":"error","errorType":"timeout","error":"query timed out in query queue"}')

    def test_an_idle_server_is_tried(self) -> None:
        """A query that found no slot is worth a try where there may be one."""
        world = World()
        world.request()
        world.upstreams.sent[0].answer.callback(FakeResponse(*self.STARVED))
        self.assertEqual((world.upstreams.backends, world.selections.reports), ([A, B], []))

    def test_a_busy_one_is_not(self) -> None:
        """When the other server is busy as well the client gets the first one's words, and nobody more work."""
        world = World(standbys=(B,))
        busy = (Observation(A, Standing.VIABLE), Observation(B, Standing.BUSY))
        world.selections.current = Selection(1, Choice((A,), (B,)), busy)
        client = world.request()
        world.upstreams.sent[0].answer.callback(FakeResponse(*self.STARVED))
        self.assertEqual((world.upstreams.backends, client.served_by), ([A], A))

    def test_the_servers_words_are_better_than_ours(self) -> None:
        """When the second server has not answered when the time is over, or fails, the client gets what the first one said."""
        for fail in (True, False):
            world = World(standbys=(B,))
            client = world.request(target=b"/api/v1/query?query=up&timeout=3s")
            wait(world, 3)
            words = FakeResponse(*self.STARVED)
            world.upstreams.sent[0].answer.callback(words)
            self.assertEqual(world.upstreams.backends, [A, B])
            if fail:
                world.upstreams.sent[1].answer.errback(RESET)
                world.selections.publish(Selection())
            else:
                wait(world, 1.1)
                self.assertEqual(world.upstreams.cancelled, [B])
            self.assertIs(client.delivered, words)
            self.assertEqual(client.served_by, A)

    def test_the_servers_words_when_no_round_ends_in_time(self) -> None:
        """Also when the second server has failed and the new selection has not come when the time is over."""
        world = World(standbys=(B,))
        client = world.request(target=b"/api/v1/query?query=up&timeout=5s")
        wait(world, 5)
        words = FakeResponse(*self.STARVED)
        world.upstreams.sent[0].answer.callback(words)
        world.upstreams.sent[1].answer.errback(REFUSED)
        (round_end,) = world.selections.waiting
        self.assertIsNone(client.delivered)
        wait(world, 1.1)
        self.assertIs(client.delivered, words)
        self.assertEqual((client.served_by, client.failed), (A, None))
        self.assertTrue(round_end.called)
        self.assertEqual(world.upstreams.backends, [A, B])

    def test_reserve_is_not_needed(self) -> None:
        """When the second server answers, that is the answer."""
        world = World(standbys=(B,))
        client = world.request()
        world.upstreams.sent[0].answer.callback(FakeResponse(*self.STARVED))
        world.upstreams.sent[1].answer.callback(FakeResponse(200))
        self.assertEqual((client.served_by, client.attempts), (B, 2))


class RetryBudgetTests(SynchronousTestCase):
    """How many retries there may be."""

    def test_share_floor_and_burst(self) -> None:
        """A burst is allowed, then a share of the requests, and a little in any case."""
        budget = RetryBudget(0.2, 0.0)
        self.assertEqual(sum(budget.take(0.0) for _ in range(2000)), BURST)
        for _ in range(100):
            budget.deposit()
        self.assertIn(sum(budget.take(0.0) for _ in range(100)), (19, 20))
        self.assertEqual(sum(budget.take(1.0) for _ in range(100)), FLOOR_PER_S)

    def test_without_budget_a_failure_is_told(self) -> None:
        """A pair that is dying is not sent everything twice; it is counted."""
        world = World(retry_budget=0.0)
        for _ in range(int(BURST) + 1):
            client = world.request()
            world.upstreams.sent[-1].answer.errback(RESET)
        assert client.failed is not None
        self.assertEqual(client.failed[0], 503)
        self.assertEqual(world.counted("mpp_retry_budget_exhausted_total", reason="retry"), 1)

    def test_what_was_not_sent_costs_nothing(self) -> None:
        """Going on after a server that could not be reached burdens nobody."""
        world = World(retry_budget=0.0)
        for _ in range(int(BURST) + 1):
            world.request()
            world.upstreams.sent[-1].answer.errback(REFUSED)
        self.assertEqual(world.upstreams.backends[-1], B)
