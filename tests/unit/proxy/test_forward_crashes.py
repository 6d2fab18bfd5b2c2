"""Reads that a server may have died of: how far they are sent on."""

from __future__ import annotations

from typing import Any

from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.model import Backend, Choice, Observation, RequestInfo, Selection, Standing
from mpp.selection.query_of_death import REMEMBERED_S, key_of
from tests.forward_support import A, B, C, FakeDownstream, FakeResponse, World

VIABLE, BUSY, SUSPECT, NOT_READY, DOWN = Standing
RESET = UpstreamError(Phase.HEAD, Cause.RESET)
TRUNCATED = UpstreamError(Phase.BODY, Cause.CLOSED)
STALE = UpstreamError(Phase.HEAD, Cause.CLOSED, stale=True)
REFUSED = UpstreamError(Phase.CONNECT, Cause.REFUSED)
QUERY = b"/api/v1/query_range?query=heavy&start=1&end=2&step=1"
REFRESHED = b"/api/v1/query_range?query=heavy&start=31&end=32&step=1"


class CrashCase(SynchronousTestCase):
    """Servers that are well, and show signs of life."""

    def setUp(self) -> None:
        self.use(A, B)
        self.logged: list[str] = []
        globalLogPublisher.addObserver(self.note)
        self.addCleanup(globalLogPublisher.removeObserver, self.note)

    def note(self, event: dict[str, Any]) -> None:
        """Keep what is logged."""
        if str(event.get("log_namespace", "")) == "mpp.proxy.crashes":
            self.logged.append(formatEvent(event))

    def use(self, *backends: Backend, **settings: Any) -> None:
        """Begin with these servers."""
        self.backends = backends
        self.world = World(selected=backends[:1], standbys=backends[1:], **settings)
        self.world.upstreams.there = True
        self.publish()

    def publish(self, **standings: Standing) -> None:
        """Publish how the servers are, by their hosts; all others are viable."""
        seen = tuple(Observation(each, standings.get(each.host, VIABLE)) for each in self.backends)
        ranked = tuple(o.backend for o in sorted(seen, key=lambda o: o.standing))
        self.world.selections.current = Selection(1, Choice(ranked[:1], ranked[1:]), seen)

    def request(self, target: bytes = QUERY, **how: Any) -> FakeDownstream:
        """Begin a request."""
        return self.world.request(target=target, **how)

    def wait(self, seconds: float) -> None:
        """Let time pass tick by tick."""
        period = self.world.forwarder.context.ticker.period
        self.world.clock.pump([period] * round(seconds / period))

    def end(self, outcome: UpstreamError | int, number: int = -1) -> None:
        """End an attempt."""
        answer = self.world.upstreams.sent[number].answer
        if isinstance(outcome, int):
            answer.callback(FakeResponse(outcome, b"Service Unavailable"))
        else:
            answer.errback(outcome)

    def assert_refused(self, client: FakeDownstream, *asked: Backend) -> None:
        """Require that a request was refused after these servers had been asked."""
        assert client.failed is not None
        self.assertEqual((client.failed[0], client.failed[2]), (502, None))
        self.assertIn("may have died of it", client.failed[1])
        self.assertIn("not sent to the last healthy server", client.failed[1])
        self.assertEqual(self.world.upstreams.backends, list(asked))
        self.assertEqual(self.world.metrics.in_flight, 0)


class BrokenOffTests(CrashCase):
    """A server breaks off a read that it has been running."""

    def test_last_healthy_server_is_spared(self) -> None:
        """One of a pair breaks off a long read: the other one does not get it; the client, the log and the metrics say why."""
        for outcome in (RESET, TRUNCATED, STALE, 502):
            self.use(A, B)
            client = self.request()
            self.wait(6)
            self.end(outcome)
            self.assert_refused(client, A)
            self.assertEqual(self.world.counted("mpp_query_of_death_suspects_total", backend=A.name), 1)
            self.assertEqual(self.world.counted("mpp_query_of_death_refusals_total"), 1)
            key, why = self.world.selections.suspected[0]
            self.assertEqual(key, key_of(RequestInfo(b"GET", REFRESHED, ())))
            self.assertIn("a:9090 broke the connection after running a query for", why)
            self.assertIn("the last healthy one: GET /api/v1/query_range?query=heavy&start=1&end=2&step=1", self.logged[-1])

    def test_short_reads_are_retried(self) -> None:
        """A read that a server has not run for long is tried elsewhere, on a fresh connection if its own had been idle."""
        for outcome, asked in ((RESET, [A, B]), (STALE, [A, A]), (502, [A, B])):
            self.use(A, B)
            self.request()
            self.wait(4)
            self.end(outcome)
            self.assertEqual(self.world.upstreams.backends, asked)
            self.assertEqual(self.world.selections.suspected, [])

    def test_other_failures(self) -> None:
        """A server that answers, however badly, or cannot be reached has not died of the read."""
        for outcome in (
            REFUSED,
            UpstreamError(Phase.HEAD, Cause.GARBLED),
            UpstreamError(Phase.HEAD, Cause.TIMEOUT),
            500,
            503,
            504,
        ):
            self.use(A, B)
            self.request()
            self.wait(6)
            self.end(outcome)
            self.assertEqual((self.world.upstreams.backends, self.world.selections.suspected), ([A, B], []), outcome)

    def test_server_that_says_that_it_stops(self) -> None:
        """A server that has said to probes, or to the question whether it is there, that it is not ready was just stopped."""
        self.request()
        self.wait(6)
        self.publish(a=NOT_READY)
        self.end(RESET)
        self.assertEqual((self.world.upstreams.backends, self.world.selections.suspected), ([A, B], []))

    def test_server_that_answers_503_when_asked(self) -> None:
        """The question whether it is there is answered by 503: it stops."""
        self.request()
        self.wait(6)
        self.world.upstreams.there = False
        self.wait(0.3)
        self.world.upstreams.probes[-1].answer.callback(FakeResponse(503))
        self.wait(0.1)
        self.end(RESET)
        self.assertEqual((self.world.upstreams.backends, self.world.selections.suspected), ([A, B], []))

    def test_server_that_has_told_another_request(self) -> None:
        """What a server has said to one request holds for the others, also when it cannot be reached any more since."""
        self.request()
        self.wait(6)
        self.request(b"/api/v1/query?query=light")
        self.end(503)
        self.publish(a=DOWN)
        self.end(RESET, 0)
        self.assertEqual((self.world.upstreams.backends, self.world.selections.suspected), ([A, A, B, B], []))

    def test_server_that_closes_its_port_first(self) -> None:
        """A server that refused connections for a while before the others broke off was stopped; one that died did not."""
        for seconds, asked, suspected in ((0.1, [A, A, B, B], 0), (0.0, [A, A, B], 1)):
            self.use(A, B)
            self.request()
            self.wait(6)
            other = self.request(b"/api/v1/query?query=light")
            self.end(REFUSED)
            self.end(200)
            self.assertEqual(other.served_by, B)
            self.world.clock.advance(seconds)
            self.end(RESET, 0)
            self.assertEqual((self.world.upstreams.backends, len(self.world.selections.suspected)), (asked, suspected))

    def test_port_that_was_closed_before(self) -> None:
        """An outage before the read was sent says nothing about the next one."""
        self.request(b"/api/v1/query?query=light")
        self.end(REFUSED)
        self.world.clock.advance(1)
        client = self.request()
        self.wait(6)
        self.end(RESET)
        self.assertEqual(client.failed and client.failed[0], 502)

    def test_hung_server_that_is_killed(self) -> None:
        """A server that hung from the start has run nothing: when it is killed, the read goes elsewhere."""
        self.world.upstreams.there = False
        self.publish(b=DOWN)
        self.request()
        self.wait(20)
        self.publish(a=DOWN)
        self.end(RESET)
        self.assertEqual((self.world.upstreams.backends, self.world.selections.suspected), ([A, B], []))

    def test_queue_does_not_count(self) -> None:
        """The time that a read waited for its turn is not time that the server has run it."""
        self.request()
        self.wait(6)
        progress = self.world.upstreams.sent[0].progress
        assert progress is not None
        progress.dequeued_at = self.world.clock.seconds() - 0.5
        self.end(RESET)
        self.assertEqual((self.world.upstreams.backends, self.world.selections.suspected), ([A, B], []))

    def test_crash_suspect_sets_the_least_duration(self) -> None:
        """--crash-suspect says what long is; with 0 nothing is ever suspected."""
        self.use(A, B, crash_suspect=1.0)
        client = self.request()
        self.wait(2)
        self.end(RESET)
        self.assert_refused(client, A)
        self.use(A, B, crash_suspect=0.0)
        self.request()
        self.wait(100)
        self.end(RESET)
        self.assertEqual((self.world.upstreams.backends, self.world.selections.suspected), ([A, B], []))

    def test_three_servers(self) -> None:
        """With two more healthy servers one of them is tried; when that breaks off as well, the third one is spared."""
        self.use(A, B, C)
        client = self.request()
        self.wait(6)
        self.end(RESET)
        self.assertEqual(self.world.upstreams.backends, [A, B])
        self.wait(6)
        self.end(RESET)
        self.assert_refused(client, A, B)
        self.assertEqual(self.world.counted("mpp_query_of_death_suspects_total", backend=B.name), 1)

    def test_three_servers_of_which_one_is_not_well(self) -> None:
        """A server that is not well does not count as one that is left."""
        self.use(A, B, C)
        self.publish(c=SUSPECT)
        client = self.request()
        self.wait(6)
        self.end(RESET)
        self.assert_refused(client, A)

    def test_hedge_is_given_up(self) -> None:
        """A read that runs on the last healthy server already, as a hedge, is cancelled there."""
        self.use(A, B, hedge_after=2.0)
        client = self.request()
        self.wait(6)
        self.assertEqual(self.world.upstreams.backends, [A, B])
        self.end(RESET, 0)
        self.assert_refused(client, A, B)
        self.assertEqual(self.world.upstreams.cancelled, [B])

    def test_while_the_client_gets_it(self) -> None:
        """A response that took long and breaks off under way makes its read suspect; one that came at once does not."""
        for seconds, suspected in ((6, 1), (0, 0)):
            self.use(A, B)
            client = self.request()
            self.wait(seconds)
            self.world.upstreams.sent[-1].answer.callback(FakeResponse(200, complete=False))
            self.wait(8)
            client.ended(TRUNCATED)
            self.assertEqual(len(self.world.selections.suspected), suspected)


class AtTheSameTimeTests(CrashCase):
    """Two clients ask the same, one a moment after the other, when their server dies."""

    def setUp(self) -> None:
        super().setUp()
        self.first = self.request()
        self.wait(5.5)
        self.second = self.request(REFRESHED)
        self.wait(0.5)

    def test_older_one_is_lost_first(self) -> None:
        """What the older request has shown holds for the younger one, too."""
        self.end(RESET, 0)
        self.end(RESET, 1)
        self.assert_refused(self.first, A, A)
        self.assert_refused(self.second, A, A)

    def test_younger_one_is_lost_first(self) -> None:
        """The younger request is tried elsewhere, and given up there as soon as the older one tells."""
        self.end(RESET, 1)
        self.assertEqual(self.world.upstreams.backends, [A, A, B])
        self.end(RESET, 0)
        self.wait(0.1)
        self.assert_refused(self.second, A, A, B)
        self.assertEqual(self.world.upstreams.cancelled, [B])


class AskedAgainTests(CrashCase):
    """The same text comes again within ten minutes."""

    def setUp(self) -> None:
        super().setUp()
        self.request()
        self.wait(6)
        self.end(RESET)
        self.world.upstreams.sent.clear()

    def test_one_healthy_server(self) -> None:
        """As long as one healthy server is left, it is refused; anything else is sent there."""
        self.publish(a=DOWN)
        self.assert_refused(self.request(REFRESHED))
        self.request(b"/api/v1/query_range?query=light&start=31&end=32&step=1")
        self.assertEqual(self.world.upstreams.backends, [B])

    def test_selected_server_turns_out_to_be_gone(self) -> None:
        """When its server cannot be reached, it does not go on to the last healthy one."""
        client = self.request(REFRESHED)
        self.publish(a=DOWN)
        self.end(REFUSED)
        self.assert_refused(client, A)

    def test_two_healthy_servers(self) -> None:
        """When both are well again, it is sent to one of them; should that break off, it is not sent to the other one."""
        client = self.request(REFRESHED)
        self.end(200)
        self.assertEqual(client.served_by, A)
        client.ended(None)
        client = self.request(REFRESHED)
        self.wait(1)
        self.end(RESET)
        self.assert_refused(client, A, A)

    def test_no_hedge(self) -> None:
        """It is not sent to the last healthy server beside one that is stuck."""
        self.world.upstreams.there = False
        self.request(REFRESHED)
        self.wait(0.3)
        self.publish(a=DOWN)
        self.wait(5)
        self.assertEqual(self.world.upstreams.backends, [A])

    def test_suspected_query_is_forgotten_after_ten_minutes(self) -> None:
        """After ten minutes it is a query like any other."""
        self.world.clock.advance(REMEMBERED_S)
        self.publish(a=DOWN)
        self.request(REFRESHED)
        self.assertEqual(self.world.upstreams.backends, [B])
