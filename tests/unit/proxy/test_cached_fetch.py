"""Tests of range queries whose steps are partly in the cache, against servers that evaluate the range that they are asked for."""

from __future__ import annotations

import gzip
import random
from itertools import product
from typing import Any
from urllib.parse import parse_qs

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mpp.cache.store import RangeCache
from mpp.core.coverage import Coverage, Job, Missing
from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.facts import NO_FACTS
from mpp.core.intervals import Intervals
from mpp.core.model import MIB, Backend, Choice, Headers, Observation, RequestInfo, Selection, Standing
from mpp.proxy.exchanges.cached_queries import CachedQueries
from mpp.proxy.exchanges.exchange import Exchange
from mpp.proxy.exchanges.forwarder import Forwarder
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.upstream.messages.response import Response
from tests.forward_support import A, B, C, FakeDownstream, FakeResponse, Sent, World

NOW = 1_800_000_000
STEP = 15
HOUR = 3600
FORM = ((b"Content-Type", b"application/x-www-form-urlencoded"),)
RESET = Failure(UpstreamError(Phase.HEAD, Cause.RESET))


@frozen
class Asked:
    """The range that a server was asked for."""

    start: int
    end: int

    @property
    def steps(self) -> int:
        """The number of its steps."""
        return (self.end - self.start) // STEP + 1


def asked(sent: Sent) -> Asked:
    """Return the range of a request that was sent."""
    values = parse_qs(sent.head.split()[1].decode().partition("?")[2]) | parse_qs(sent.body.decode())
    return Asked(int(float(values["start"][0])), int(float(values["end"][0])))


def matrix(start: int, end: int, *, series: int = 3, end_of_body: str = "", value: str = "") -> bytes:
    """Return the response of a server to a range."""
    result = ",".join(
        f'{{"metric":{{"__name__":"up","n":"{number:05}"}},"values":['
        + ",".join(f'[{time},"{value}{time % 1000 + number}"]' for time in range(start, end + 1, STEP))
        + "]}"
        for number in range(series)
    )
    return f'{{"status":"success","data":{{"resultType":"matrix","result":[{result}]}}{end_of_body}}}'.encode()


class CachedCase(SynchronousTestCase):
    """mpp with a cache, and a clock that tells the time of day as well."""

    def setUp(self) -> None:
        self.build()

    def build(self, *, memory: int = 64 * MIB, **settings: Any) -> None:
        """Begin with an empty cache."""
        chosen = {"no_single_flight": False, "cache_memory": memory, "selected": (A,), "standbys": (B,), **settings}
        self.world = world = World(**chosen)
        observed = tuple(Observation(each, Standing.VIABLE) for each in (A, B))
        world.selections.current = Selection(1, Choice((A,), (B,)), observed)
        clock = world.clock
        self.cache: RangeCache = RangeCache(memory, 6.0 * HOUR, clock, random.Random(1), world.metrics)
        world.forwarder.context = evolve(world.forwarder.context, cache=self.cache, wall=lambda: NOW + clock.seconds())
        self.series = 3

    def request(
        self,
        start: int = NOW - HOUR,
        end: int = NOW,
        headers: Headers = (),
        method: bytes = b"GET",
        query: bytes = b"up",
        more: bytes = b"",
    ) -> FakeDownstream:
        """Begin a request."""
        text = b"query=%b&start=%d&end=%d&step=%d%b" % (query, start, end, STEP, more)
        target, body = b"/api/v1/query_range", b""
        if method == b"POST":
            headers, body = (*headers, *FORM), text
        else:
            target += b"?" + text
        client = FakeDownstream(RequestInfo(method, target, headers, body, "203.0.113.9"))
        self.exchange: Exchange = self.world.forwarder.forward(client)
        return client

    @property
    def sent(self) -> list[Sent]:
        """The requests that servers have got and not answered."""
        return [each for each in self.world.upstreams.sent if not each.answer.called]

    def answer(self, sent: Sent | None = None, status: int = 200, headers: Headers = (), **how: Any) -> Asked:
        """Let a server answer a request, the only one by default; return what it was asked for."""
        if sent is None:
            (sent,) = self.sent
        found = asked(sent)
        complete = how.pop("complete", True)
        body = matrix(found.start, found.end, **{"series": self.series, **how}) if status == 200 else b"an error"
        sent.answer.callback(FakeResponse(status, body, ((b"Content-Type", b"application/json"), *headers), complete=complete))
        self.turn()
        return found

    def turn(self, count: int = 60) -> None:
        """Let the reactor turn without time passing."""
        for _ in range(count):
            self.world.clock.advance(0)

    def served(self, *args: Any, **how: Any) -> FakeDownstream:
        """Let a request be answered at once."""
        client = self.request(*args, **how)
        for sent in self.sent:
            self.answer(sent)
        self.turn()
        client.ended(None)
        return client

    def postponed(self) -> list[tuple[Any, Deferred[Any]]]:
        """Return the list of what is given to another thread from now on, with the Deferreds for the results."""
        work: list[tuple[Any, Deferred[Any]]] = []

        def in_thread(function: Any) -> Deferred[Any]:
            work.append((function, Deferred()))
            return work[-1][1]

        self.world.forwarder = Forwarder(self.world.forwarder.context, in_thread)
        return work

    def body(self, client: FakeDownstream) -> bytes:
        """Return the body that a client got."""
        response = client.delivered
        assert response is not None, client.failed
        if response.complete:
            return b"".join(response.buffered)
        found = Collected()
        response.relay(found)
        self.turn()
        return b"".join(found.pieces)

    def use(self, client: FakeDownstream) -> str:
        """Return how the cache was used for a client."""
        return dict(client.about).get(b"MPP.Cache", b"").decode()

    def assert_right(self, client: FakeDownstream, start: int, end: int, **how: Any) -> None:
        """Check that a client has got what a server would have sent."""
        self.assertEqual(self.body(client), matrix(start, end, **{"series": self.series, **how}))


class JoinedForOneClientTests(CachedCase):
    """A range whose parts two servers answer, because each of them has a gap."""

    def ask(self, who: Backend | None, field: tuple[bytes, bytes] = (b"", b"")) -> tuple[int, str]:
        """Let a range be answered, by one server with a header field; return how many queries are cached, and the next use."""
        self.build()
        first, last = NOW - 2 * HOUR, NOW - HOUR
        gaps = {A: (600, 1200), B: (2000, 2600)}
        lacking = {each: Missing.of(Intervals.of([(first + start, first + end)]), {}) for each, (start, end) in gaps.items()}
        self.world.selections.coverage = Coverage({"node": Job(80, 15.0)}, lacking)
        client = self.request(first, last)
        servers = set()
        while self.sent:
            sent = self.sent[0]
            servers.add(sent.backend)
            self.answer(sent, headers=(field,) if sent.backend == who else ())
        client.ended(None)
        self.turn()
        self.assertEqual(servers, {A, B})
        entries = self.cache.state.entries
        return entries, self.use(self.request(first, last))

    def test_one_part_for_one_client(self) -> None:
        """The whole is for this client only, whichever part says so: it is not cached."""
        self.assertEqual(self.ask(None), (1, "hit"))
        for who in (A, B):
            for field in ((b"Cache-Control", b"private"), (b"Set-Cookie", b"a=b"), (b"Vary", b"User-Agent")):
                self.assertEqual(self.ask(who, field), (0, ""), (who, field))


class NewestStepsUnderLoadTests(CachedCase):
    """Many viewers look at the same panels."""

    QUERIES = (b"a", b"b", b"c", b"d", b"e")

    def setUp(self) -> None:
        self.build(cache_tail=0.0)
        for query in self.QUERIES:
            self.served(query=query)

    def ready(self) -> None:
        """Let the newest steps of all panels be answered a moment ago."""
        for query in self.QUERIES:
            self.served(query=query)

    def look(self, *queries: bytes) -> list[FakeDownstream]:
        """Let viewers ask for panels."""
        self.exchanges = []
        clients = []
        for query in queries:
            clients.append(self.request(query=query))
            self.exchanges.append(self.exchange)
        return clients

    def test_a_fourth_panel_waits_for_another(self) -> None:
        """All that ask for it meanwhile share its query, which is sent when another one is answered."""
        self.ready()
        clients = self.look(*self.QUERIES, b"d", b"d")
        self.assertEqual(len(self.sent), 3)
        self.answer(self.sent[0])
        self.assertEqual([b"query=d" in each.head for each in self.sent], [False, False, True])
        self.answer(self.sent[2])
        for client in (clients[0], clients[3], *clients[5:]):
            self.assert_right(client, NOW - HOUR, NOW)

    def test_the_wait_is_short(self) -> None:
        """A server that does not answer keeps no other panel waiting."""
        self.ready()
        self.look(*self.QUERIES)
        self.assertEqual(len(self.sent), 3)
        self.world.clock.advance(0.021)
        self.assertEqual(len(self.sent), 5)

    def test_a_dashboard_of_one_viewer_does_not_wait(self) -> None:
        """No viewer would share its queries: these panels were not asked for a moment ago."""
        self.ready()
        self.world.clock.advance(0.5)
        self.look(*self.QUERIES)
        self.assertEqual(len(self.sent), 5)

    def test_a_viewer_who_leaves_while_waiting(self) -> None:
        """Nothing is sent for this viewer, and the others get their panels."""
        self.ready()
        clients = self.look(*self.QUERIES)
        self.exchanges[3].client_gone()
        for _ in self.QUERIES[1:]:
            self.answer(self.sent[0])
        self.assertEqual(self.sent, [])
        for number in (0, 1, 2, 4):
            self.assert_right(clients[number], NOW - HOUR, NOW)
        self.assertEqual(len([each for each in self.world.upstreams.sent if b"query=d" in each.head]), 2)


class Collected:
    """A consumer that keeps all it gets."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ended = False

    @property
    def size(self) -> int:
        """Bytes that it got."""
        return sum(map(len, self.pieces))

    def body_received(self, data: bytes) -> None:
        self.pieces.append(bytes(data))

    def body_ended(self) -> None:
        self.ended = True

    def body_failed(self, error: Exception) -> None:
        raise AssertionError(error)


class UsedTests(CachedCase):
    """What the servers are asked for."""

    def test_a_miss_and_a_hit(self) -> None:
        """A window that is settled is asked for once; GET and POST share it."""
        start, end = NOW - 2 * HOUR, NOW - HOUR
        first = self.request(start, end)
        self.assertEqual(self.answer(), Asked(start, end))
        self.assert_right(first, start, end)
        for method in (b"GET", b"POST"):
            client = self.request(start, end, method=method)
            self.assertEqual((self.sent, self.use(client)), ([], "hit"))
            self.assert_right(client, start, end)
        self.assertEqual(self.use(first), "miss; new query")
        counted = [self.world.counted("mpp_cache_requests_total", result=each) for each in ("hit", "partial", "miss", "bypass")]
        self.assertEqual(counted, [2, 0, 1, 0])

    def test_only_the_newest_steps_are_asked_for(self) -> None:
        """When a window has moved by a step, that are the ones above the freshness limit."""
        self.build(cache_tail=0.0)
        self.served()
        self.world.clock.advance(STEP)
        client = self.request(NOW - HOUR + STEP, NOW + STEP)
        found = self.answer()
        self.assertEqual(found, Asked(NOW - 60 + STEP, NOW + STEP))
        self.assert_right(client, NOW - HOUR + STEP, NOW + STEP)
        self.assertEqual(self.use(client), f"partial; {found.steps} of 241 steps from servers")

    def test_the_tail(self) -> None:
        """Steps above the freshness limit are given again for a second, with an option not at all."""
        for tail, later, count in ((1.0, 0.9, 0), (1.0, 1.1, 1), (0.0, 0.0, 1)):
            self.build(cache_tail=tail)
            self.served()
            self.world.clock.advance(later)
            client = self.request()
            self.assertEqual(len(self.sent), count, (tail, later))
            if count:
                self.answer()
            self.assert_right(client, NOW - HOUR, NOW)

    def test_a_shorter_window_uses_the_tail(self) -> None:
        """Two windows with the same end."""
        self.served()
        client = self.request(NOW - 30)
        self.assertEqual((self.sent, self.use(client)), ([], "hit"))
        self.assert_right(client, NOW - 30, NOW)

    def test_a_slow_response_has_no_step_that_was_too_new_when_it_was_sent(self) -> None:
        """The samples may have changed since the server has read them."""
        self.build(cache_tail=0.0, request_timeout=300.0)
        self.request()
        self.world.clock.advance(100)
        self.answer()
        self.request()
        self.assertEqual(self.answer(), Asked(NOW - 45, NOW))

    def test_times_that_a_query_reads(self) -> None:
        """What counts is the time that is read, and not the one of the step."""
        for query, newest in (
            (b"up+offset+1h", None),
            (b"up+offset+-5m", NOW - 345),
            (b"up+@+1700000000", None),
            (b"time()", None),
        ):
            self.build(cache_tail=0.0)
            self.served(query=query)
            client = self.request(query=query)
            self.assertEqual([asked(each).start for each in self.sent], [] if newest is None else [newest], query)
            for sent in self.sent:
                self.answer(sent)
            self.assert_right(client, NOW - HOUR, NOW)

    def test_whole_range_queries_pass_by(self) -> None:
        """Their steps cannot be joined; the reason is given."""
        for query, more in ((b"up+@+end()", b""), (b"up", b"&limit=1"), (b"up", b"&stats=all"), (b"up[", b"")):
            client = self.served(query=query, more=more)
            self.assertTrue(self.use(client).startswith("bypass; "), query)
        self.assertEqual(self.cache.state.entries, 0)

    def test_two_windows_share_the_request_for_the_newest_steps(self) -> None:
        """The same steps of the same query are asked for once at a time."""
        self.build(cache_tail=0.0)
        self.served()
        self.world.clock.advance(STEP)
        end = NOW + STEP
        clients = [self.request(start, end) for start in (NOW - HOUR, NOW - HOUR // 2)]
        self.answer()
        for client, start in zip(clients, (NOW - HOUR, NOW - HOUR // 2), strict=True):
            self.assert_right(client, start, end)

    def test_gzip_and_head(self) -> None:
        """A client that accepts gzip gets it; one that asks for the head gets no body."""
        fields = ((b"Accept-Encoding", b"gzip"),)
        for _ in range(2):
            client = self.served(headers=fields)
            self.assertEqual(gzip.decompress(self.body(client)), matrix(NOW - HOUR, NOW))
            head = self.served(method=b"HEAD")
            assert head.delivered is not None
            self.assertEqual((self.body(head), head.delivered.length), (b"", 0))
            self.assertIn((b"Content-Length", b"%d" % len(matrix(NOW - HOUR, NOW))), head.delivered.headers)


class ControlTests(CachedCase):
    """Clients that say something about caches."""

    def test_no_cache_is_not_answered_from_the_cache_but_cached(self) -> None:
        """By both fields that say so."""
        for field in ((b"Cache-Control", b"max-age=0"), (b"Pragma", b"no-cache"), (b"Cache-Control", b"No-Cache")):
            self.build()
            for _ in range(2):
                client = self.request(headers=(field,))
                self.assertEqual((self.answer(), self.use(client)), (Asked(NOW - HOUR, NOW), "miss; no-cache"))
            self.request()
            self.assertEqual(self.sent, [])

    def test_no_store(self) -> None:
        """It is neither answered from the cache nor cached."""
        for _ in range(2):
            client = self.request(headers=((b"Cache-Control", b"no-store"),))
            self.answer()
            self.assertEqual(self.use(client), "bypass; no-store")
        self.assertEqual(self.cache.state.entries, 0)

    def test_no_store_keeps_no_other_client_from_the_cache(self) -> None:
        """While its request is under way, others get the cached steps, and the response to their request is cached."""
        self.served()
        no_store = ((b"Cache-Control", b"no-store"),)
        self.request(headers=no_store)
        self.assertEqual(self.use(self.request()), "hit")
        for fields in (no_store, ()):
            self.request(query=b"down", headers=fields)
        for sent in self.sent:
            self.answer(sent)
        self.assertEqual(self.use(self.request(query=b"down")), "hit")

    def test_no_cache_joins_no_subrequest_from_before(self) -> None:
        """Its response replaces cached steps, so it must be as new as the client wants it to be."""
        self.request()
        self.world.clock.advance(1)
        self.request(headers=((b"Cache-Control", b"no-cache"),))
        self.assertEqual(len(self.sent), 2)

    def test_no_cache_does_not_circumvent_the_admission(self) -> None:
        """A query at an odd time is cached when it is asked for again, also for a client that sends no-cache."""
        for count in range(2):
            self.served(NOW - HOUR + 7, NOW + 7, headers=((b"Cache-Control", b"no-cache"),))
            self.assertEqual(self.cache.state.entries, count)


class OtherClientTests(CachedCase):
    """A response is not given to another user."""

    FOR_ONE = ((b"Set-Cookie", b"a=b"), (b"Vary", b"User-Agent"), (b"Cache-Control", b"no-store"), (b"Cache-Control", b"private"))

    def test_fields_that_count(self) -> None:
        """Credentials and unknown fields do; the field is named."""
        for name in (b"Authorization", b"X-Unknown", b"Cookie", b"Origin"):
            self.build()
            self.served()
            client = self.request(headers=((name, b"a"),))
            self.answer()
            self.assertEqual(self.use(client), f"miss; cached with other values of {name.decode().lower()}")

    def test_neutral_fields(self) -> None:
        """Fields of Grafana and of traces differ in each request."""
        self.served()
        for name in (b"X-Query-Group-Id", b"traceparent", b"X-Panel-Id", b"User-Agent", b"X-Forwarded-For"):
            client = self.request(headers=((name, b"%d" % random.random()),))
            self.assertEqual((self.sent, self.use(client)), ([], "hit"), name)

    def test_a_tenant_that_is_not_sent_on(self) -> None:
        """A client that has mpp take its tenant off the request fills no cache of that tenant, and shares no response with it."""
        tenant = (b"X-Scope-OrgID", b"1")
        self.request(headers=(tenant, (b"Connection", b"X-Scope-OrgID")))
        self.assertNotIn(b"X-Scope-OrgID", self.sent[0].head)
        self.request(headers=(tenant,))
        self.assertEqual(len(self.sent), 2)
        self.answer(self.sent[0])
        self.request(headers=(tenant,))
        self.assertEqual((len(self.sent), self.cache.state.entries), (1, 0))

    def test_a_response_that_is_for_one_client_is_not_cached(self) -> None:
        """It sets a cookie, varies by a field that is thought to be neutral, or says so."""
        for field in self.FOR_ONE:
            clients = [self.request() for _ in range(2)]
            self.answer(headers=(field,))
            self.assertEqual((self.cache.state.entries, [each.delivered is None for each in clients]), (0, [False, True]), field)
            self.answer()
            self.assert_right(clients[1], NOW - HOUR, NOW)
            self.cache.flush()
            self.world.clock.advance(1)

    def test_steps_that_are_for_one_client(self) -> None:
        """The others who wait for them and cached ones ask again."""
        for field in self.FOR_ONE:
            self.build(cache_tail=0.0)
            self.served(NOW - 2 * HOUR, NOW - HOUR)
            clients = [self.request(NOW - 3 * HOUR, NOW) for _ in range(2)]
            before, after = self.sent
            self.answer(after)
            self.answer(before, headers=(field,))
            self.assertEqual([each.delivered is None for each in clients], [False, True], field)
            for sent in self.sent:
                self.answer(sent)
            self.assert_right(clients[1], NOW - 3 * HOUR, NOW)


class AffinityTests(CachedCase):
    """The server that a client stays on."""

    def test_cached_steps_move_no_client(self) -> None:
        """Clients without a cookie get none of the server that has answered the cached steps, whoever waits with them."""
        self.build(cache_tail=0.0)
        observed = tuple(Observation(each, Standing.VIABLE) for each in (A, B))
        self.world.selections.current = Selection(2, Choice((A, B), ()), observed)
        first = self.served()
        self.assertEqual(len(first.cookies), 1)
        clients = [self.request() for _ in range(3)]
        self.answer()
        self.assertEqual([(self.use(each)[:7], each.cookies) for each in clients], [("partial", ())] * 3)


class NotesTests(CachedCase):
    """Warnings and infos."""

    def test_notes_about_the_query_are_given_again(self) -> None:
        """They are what the server would say."""
        end = ',"warnings":["PromQL warning: w"],"infos":["PromQL info: i"]'
        self.request()
        self.answer(end_of_body=end)
        client = self.request()
        self.assertEqual(self.use(client), "hit")
        self.assert_right(client, NOW - HOUR, NOW, end_of_body=end)

    def test_a_response_with_another_warning_is_not_cached(self) -> None:
        """It may be incomplete."""
        self.request()
        self.answer(end_of_body=',"warnings":["a remote storage does not answer"]')
        client = self.request()
        self.assertEqual(self.answer(), Asked(NOW - HOUR, NOW))
        self.assertEqual(self.use(client), "miss; new query")


class UnusualSubrequestTests(CachedCase):
    """Parts that are not answered as expected."""

    def setUp(self) -> None:
        """Cache an hour."""
        self.build(cache_tail=0.0)
        self.served()

    def test_a_response_that_cannot_be_joined(self) -> None:
        """One server is asked for the whole range."""
        for how in (
            {"status": 422},
            {"complete": False},
            {"end_of_body": ',"isPartial":true'},
            {"headers": ((b"Content-Encoding", b"gzip"),)},
        ):
            client = self.request()
            self.answer(**how)  # type: ignore[arg-type]
            self.assertIsNone(client.delivered, how)
            self.assertEqual(self.answer(), Asked(NOW - HOUR, NOW))
            self.assertTrue(self.use(client).startswith("bypass; "), how)
            self.assert_right(client, NOW - HOUR, NOW)

    def test_an_error_at_the_deadline(self) -> None:
        """The client gets the error: no server has time for the whole range."""
        client = self.request()
        self.world.clock.rightNow += 1e6
        self.answer(status=422)
        self.assertEqual((client.delivered and client.delivered.status, self.sent), (422, []))

    def test_a_server_that_dies(self) -> None:
        """Another one is asked for the steps."""
        client = self.request()
        self.sent[0].answer.errback(RESET)
        self.assertEqual(self.answer(), Asked(NOW - 45, NOW))
        self.assert_right(client, NOW - HOUR, NOW)

    def test_a_bug_after_the_response(self) -> None:
        """The client has its response, and the log has the bug."""
        for query, use in ((b"up", "partial"), (b"down", "miss")):
            client = self.request(query=query)
            self.patch(CachedQueries, "_last_settled", lambda *_: 1 / 0)
            self.answer()
            self.assert_right(client, NOW - HOUR, NOW)
            self.assertEqual(self.use(client).partition(";")[0], use)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_no_server_answers(self) -> None:
        """The client gets an error, and nothing is left."""
        client = self.request()
        while self.sent:
            self.sent[0].answer.errback(RESET)
        self.world.clock.pump([1.0] * 40)
        self.assertEqual((client.failed is not None, self.world.metrics.in_flight), (True, 0))

    def test_a_server_that_sends_the_request_back(self) -> None:
        """The request for the steps is not answered by the fetch that it comes from, and the next server is asked."""
        client = self.request(more=b"&timeout=10s")
        first, token = self.sent[0], self.world.forwarder.context.instance.token.encode()
        query, fields = first.head.split()[1].partition(b"?")[2], ((b"MPP-Instance", token),)
        back = FakeDownstream(RequestInfo(b"GET", b"/api/v1/query_range?" + query, fields, b"", "203.0.113.9"))
        self.world.forwarder.forward(back)
        self.assertEqual((back.failed or (0,))[0], 508)
        loop = b'{"status":"error","errorType":"loop","error":"this request has come back to the mpp that sent it (fedc)"}'
        first.answer.callback(FakeResponse(508, loop))
        self.answer()
        self.assert_right(client, NOW - HOUR, NOW)

    def test_a_server_that_is_an_mpp_with_the_same_query(self) -> None:
        """It asks this mpp for the same steps, and is not answered by the fetch that waits for it."""
        self.request()
        self.request(NOW - HOUR // 2, headers=((b"MPP-Instance", b"aaa"),))
        self.assertEqual([asked(each).end for each in self.sent], [NOW, NOW])

    def test_all_clients_leave(self) -> None:
        """The servers' work is cancelled, and the next client gets its response."""
        exchanges = []
        for _ in range(3):
            self.request()
            exchanges.append(self.exchange)
        (sent,) = self.sent
        for number, exchange in enumerate(exchanges):
            self.assertFalse(sent.answer.called, number)
            exchange.client_gone()
        self.assertTrue(sent.answer.called)
        self.assertEqual(self.world.metrics.in_flight, 0)
        self.assert_right(self.served(), NOW - HOUR, NOW)

    def test_the_first_client_leaves(self) -> None:
        """The others get the response."""
        self.request()
        first = self.exchange
        second = self.request()
        first.client_gone()
        self.answer()
        self.assert_right(second, NOW - HOUR, NOW)

    def test_an_error_for_a_client_that_wants_the_head_only(self) -> None:
        """Its connection would take a body for the next response."""
        self.build()
        client = self.request(method=b"HEAD")
        self.answer(status=422)
        for sent in self.sent:
            self.assertTrue(sent.head.startswith(b"HEAD "))
            sent.answer.callback(FakeResponse(422))
        assert client.delivered is not None
        self.assertEqual((client.delivered.status, self.body(client)), (422, b""))

    def test_a_server_that_compresses_although_it_was_not_asked_to(self) -> None:
        """Its response is delivered as it is."""
        self.build()
        client = self.request()
        self.answer(headers=((b"Content-Encoding", b"gzip"),))
        assert client.delivered is not None
        self.assertIn((b"Content-Encoding", b"gzip"), client.delivered.headers)
        self.assertEqual(self.cache.state.entries, 0)


class ChangeTests(CachedCase):
    """What is cached when something changes."""

    START, END = NOW - 2 * HOUR, NOW - HOUR

    def test_a_flush_while_a_request_is_under_way(self) -> None:
        """Its response may be older than what made the flush necessary, also if the query is cached again meanwhile."""
        self.request(self.START, self.END)
        old = self.sent[0]
        self.cache.flush()
        self.world.clock.advance(0.01)
        self.request(self.START - HOUR, self.START - STEP)
        self.answer(self.sent[1])
        self.assertEqual(self.cache.state.entries, 1)
        self.answer(old)
        client = self.request(self.START, self.END)
        self.assertEqual(self.answer(), Asked(self.START, self.END))
        self.assertEqual(self.use(client), "miss; other steps")

    def test_a_flush_while_a_response_is_cached(self) -> None:
        """What was answered before it is in no entry that was made after it."""
        self.series = 100
        work = self.postponed()
        self.request(self.START, self.END)
        self.answer()
        self.world.clock.advance(1)
        self.cache.flush()
        self.world.clock.advance(1)
        self.series = 1
        self.served(self.START - HOUR, self.START - HOUR + 300)
        self.assertEqual((len(work), self.cache.state.entries), (1, 1))
        function, done = work.pop()
        done.callback(function())
        client = self.request(self.START, self.END)
        self.assertEqual((self.answer(), self.use(client)), (Asked(self.START, self.END), "miss; other steps"))

    def test_the_highest_age(self) -> None:
        """Pages are asked for again after it, 20 % more or less."""
        self.served(self.START, self.END)
        self.world.clock.advance(4 * HOUR)
        self.request(self.START, self.END)
        self.assertEqual(self.sent, [])
        self.world.clock.advance(4 * HOUR)
        self.request(self.START, self.END)
        self.assertEqual(self.answer(), Asked(self.START, self.END))

    def test_a_wide_window_after_a_narrow_one(self) -> None:
        """When the steps that were cached first are too old, the ones that were cached with a wider window later stay."""
        page = 120 * STEP
        start = (NOW - 96 * HOUR) // page * page
        self.served(start, start + 10 * STEP)
        self.world.clock.advance(4.7 * HOUR)
        self.served(start, start + 20 * page)
        self.world.clock.advance(2.6 * HOUR)
        self.request(start, start + 20 * page)
        self.assertEqual(self.answer(), Asked(start, start + page - STEP))

    def observed(self, answers_id: str, *, standing: Standing = Standing.VIABLE) -> None:
        """Let the servers be found in a state."""
        facts = evolve(NO_FACTS, answers_id=answers_id)
        observed = tuple(Observation(each, standing, facts=facts) for each in (A, B))
        self.world.selections.current = Selection(2, Choice((A,), (B,)), observed)

    def test_other_flags_of_a_server(self) -> None:
        """It would give other answers now; it would not, when it was only away."""
        self.observed("one")
        self.served(self.START, self.END)
        self.world.selections.current = Selection(3, Choice((B,), ()), (Observation(B, Standing.VIABLE),))
        self.request(self.START, self.END)
        self.observed("one")
        self.request(self.START, self.END)
        self.assertEqual(self.sent, [])
        self.observed("two")
        self.request(self.START, self.END)
        self.assertEqual(self.answer(), Asked(self.START, self.END))

    def test_retention(self) -> None:
        """When the last server removes its oldest data, the steps that read it go, and the others stay."""

        def oldest(number: int, *times: float | None) -> None:
            observed = tuple(
                Observation(server, Standing.VIABLE, facts=evolve(NO_FACTS, oldest=time))
                for server, time in zip((A, B), times, strict=True)
            )
            self.world.selections.current = Selection(number, Choice((A,), (B,)), observed)

        oldest(3, self.START - HOUR, self.START - 2 * HOUR)
        self.served(self.START, self.END, query=b"down")
        self.served(self.START, self.END)
        self.request(self.START, self.END)
        self.assertEqual(self.sent, [])
        for number, times in enumerate(
            ((self.START, self.START - HOUR), (self.END, None), (self.END, self.START - HOUR)), start=4
        ):
            oldest(number, *times)
            self.request(self.START, self.END)
            self.assertEqual(self.sent, [], "a server has the data, or may have it")
        oldest(7, self.START + 600, self.START + 600)
        self.request(self.START, self.END)
        found = self.answer()
        self.assertEqual(found.start, self.START)
        self.assertLess(self.START + 600, found.end)
        self.assertLess(found.end, self.END)
        # Nobody has asked for this query since it was cached.
        self.request(self.START, self.END, query=b"down")
        self.assertEqual(self.answer().end, found.end)

    def test_other_flags_of_servers_that_took_the_place_of_others(self) -> None:
        """Steps of a server that has left are kept as long as a server that is there would give the same answers."""
        self.observed("one")
        self.served(self.START, self.END)
        for number, (server, answers_id, kept) in enumerate(((B, "one", True), (C, "", True), (C, "two", False)), start=3):
            observed = Observation(server, Standing.VIABLE, facts=evolve(NO_FACTS, answers_id=answers_id))
            self.world.selections.current = Selection(number, Choice((server,), ()), (observed,))
            self.request(self.START, self.END)
            self.assertEqual(self.sent == [], kept, (server, answers_id))

    def lacks(self, *servers: Backend) -> None:
        """Let servers lack some minutes within the range."""
        gap = Missing.of(Intervals.of([(self.START + 900, self.START + 1200)]), {})
        self.world.selections.coverage = Coverage({"node": Job(80, 15.0)}, dict.fromkeys(servers, gap))

    def test_a_gap_that_becomes_known(self) -> None:
        """The pages with steps that read it are dropped."""
        self.served(self.START, self.END)
        self.lacks(A)
        client = self.request(self.START, self.END)
        self.assertNotEqual(self.sent, [])
        for sent in self.sent:
            self.answer(sent)
        self.assert_right(client, self.START, self.END)
        self.request(self.START, self.END)
        self.assertEqual(self.sent, [])

    def test_steps_that_lack_data_are_not_cached(self) -> None:
        """When no server that answers has them all."""
        self.lacks(A)
        current = self.world.selections.current
        down = Observation(B, Standing.DOWN)
        self.world.selections.current = Selection(2, Choice((A,), ()), (current.observations[0], down))
        self.served(self.START, self.END)
        self.request(self.START, self.END)
        found = [asked(each) for each in self.sent]
        self.assertEqual(len(found), 1, found)
        self.assertTrue(self.START + 600 <= found[0].start <= self.START + 930, found)
        self.assertTrue(self.START + 1200 <= found[0].end <= self.START + 1800, found)

    def test_a_part_that_was_answered_long_before_the_last_one(self) -> None:
        """Its newest steps are as old as its own request, although the response is complete later only."""
        self.build(cache_tail=0.0, request_timeout=300.0)
        gaps = {A: (NOW - 3000, NOW - 2700), B: (NOW - 1500, NOW - 1200)}
        missing = {server: Missing.of(Intervals.of([gap]), {}) for server, gap in gaps.items()}
        self.world.selections.coverage = Coverage({"node": Job(80, 15.0)}, missing)
        self.request()
        first, second = self.sent
        self.answer(second)
        self.world.clock.advance(100)
        first.answer.errback(RESET)
        self.answer()
        self.request()
        self.assertEqual(max(asked(each).end for each in self.sent), NOW)

    def test_a_large_response_while_servers_lack_data(self) -> None:
        """Parts, and a response with a warning, may be as large as others that are cached; so may the whole range instead."""
        self.request(NOW - HOUR, NOW)
        allowed = self.world.upstreams.sent[0].buffer
        self.assertGreater(allowed, self.world.forwarder.context.settings.response_buffer)
        gaps = {server: Missing.of(Intervals.of([(NOW - ago, NOW - ago + 300)]), {}) for server, ago in ((A, 3000), (B, 1800))}
        for missing, parts in ((gaps, 2), (dict.fromkeys((A, B), gaps[A]), 1)):
            self.build()
            self.world.selections.coverage = Coverage({"node": Job(80, 15.0)}, missing)
            self.request(NOW - HOUR, NOW)
            self.assertEqual([sent.buffer for sent in self.world.upstreams.sent], [allowed] * parts)
            self.answer(self.sent[0], status=422)
            self.assertEqual([sent.buffer for sent in self.world.upstreams.sent[parts:]], [allowed] * (parts - 1))

    def test_a_gap_of_all_servers_is_cached_when_a_server_leaves(self) -> None:
        """It was final when it was cached."""
        self.lacks(A, B)
        self.served(self.START, self.END)
        down = Observation(B, Standing.DOWN)
        self.world.selections.current = Selection(2, Choice((A,), ()), (self.world.selections.current.observations[0], down))
        self.request(self.START, self.END)
        self.assertEqual(self.sent, [])

    def test_a_gap_of_all_servers_is_warned_of_each_time(self) -> None:
        """The cached steps and new ones have one warning, with all times that are missing in them."""
        self.world.selections.coverage = Coverage({"node": Job(80, 30.0)}, {}, Intervals.of([(self.START + 900, self.END - 300)]))
        clients = [self.served(self.START, self.END - 600)]
        clients.append(self.request(self.START, self.END - 600))
        self.assertEqual(self.use(clients[-1]), "hit")
        for client in clients:
            self.assertEqual(self.body(client).count(b"mpp: no server in service has all data"), 1)
        until = self.body(clients[1]).partition(b'"warnings":')[2]
        self.assertEqual(until, self.body(clients[0]).partition(b'"warnings":')[2])
        partial = self.served(self.START, self.END)
        self.assertIn("partial", self.use(partial))
        self.assertEqual(self.body(partial).count(b"mpp: no server in service has all data"), 1)
        self.assertNotEqual(self.body(partial).partition(b'"warnings":')[2], until)
        self.assertEqual(self.world.counted("mpp_incomplete_requests_total"), 3)
        before = self.served(self.START, self.START + 600)
        self.assert_right(before, self.START, self.START + 600)

    def test_other_settings_while_a_request_is_under_way(self) -> None:
        """The request goes on with its own; the next one is cached no more."""
        client = self.request()
        self.world.reload(no_single_flight=False)
        self.answer()
        self.assert_right(client, NOW - HOUR, NOW)
        client = self.served()
        self.assertEqual(self.use(client), "")


class HostileTests(CachedCase):
    """A client that asks for very many different ranges of few queries, beside one that looks at a dashboard."""

    PAGE_S = 120 * STEP

    def setUp(self) -> None:
        """Cache a panel, and use it."""
        self.build(memory=2 * MIB)
        self.series = 10
        self.end = (NOW - HOUR) // self.PAGE_S * self.PAGE_S - STEP
        self.assertEqual(self.look(), "miss")
        self.assertEqual(self.look(), "hit")

    def look(self, query: bytes = b"up") -> str:
        """Look at a panel; return how the cache was used."""
        return self.use(self.served(self.end - 2 * HOUR + STEP, self.end, query=query)).partition(";")[0]

    def ask(self, query: bytes, *numbers: int) -> None:
        """Ask for pages that none has looked at."""
        for number in numbers:
            end = self.end - 3 * HOUR - number * self.PAGE_S
            self.assertTrue(self.use(self.served(end - self.PAGE_S + STEP, end, query=query)).startswith("miss"))

    def test_other_ranges_of_the_panel(self) -> None:
        """The steps of the panel stay, however many others of the same query are asked for once."""
        self.ask(b"up", *range(60))
        self.assertLess(self.cache.state.used_bytes - self.cache.recent.size, 2 * MIB / 8)
        self.assertEqual(self.look(), "hit")

    def test_other_ranges_of_all_panels(self) -> None:
        """All panels of a dashboard stay, however many ranges of their queries are asked for once."""
        panels = [b"up*%d" % number for number in range(12)]
        self.assertEqual([self.look(query) for query in panels], ["miss"] * 12)
        self.assertEqual([self.look(query) for query in panels], ["hit"] * 12)
        for query in panels:
            self.ask(query, *range(25))
        self.assertLessEqual(self.cache.state.used_bytes, 2 * MIB)
        self.assertEqual([self.look(query) for query in panels], ["hit"] * 12)

    def test_more_pages_than_a_query_may_have(self) -> None:
        """They take little memory if they have no series, and replace none that is used."""
        self.series = 0
        self.ask(b"up", *range(450))
        self.series = 10
        self.assertEqual(self.look(), "hit")

    def test_ranges_of_other_queries(self) -> None:
        """Different ranges of the same query do not make it one that was used twice."""
        for number in range(300):
            self.ask(b"up*%d" % (number % 20), number)
        used = self.cache.state.used_bytes - self.cache.recent.size
        self.assertLess(used, 0.25 * 2 * MIB)
        self.assertEqual(self.look(), "hit")

    def test_a_panel_that_moves_on(self) -> None:
        """Its newest steps are cached, also when all that it had would take more than one query may have."""
        for _ in range(40):
            self.end += self.PAGE_S // 2
            self.world.clock.advance(self.PAGE_S / 2)
            self.assertIn(self.look(), ("partial", "miss"))
            self.assertEqual(self.look(), "hit")


class FieldsTests(CachedCase):
    """The header fields of responses with cached steps, when servers begin to send others."""

    def origin(self, client: FakeDownstream) -> bytes:
        """Return the origin whose pages may read a response."""
        assert client.delivered is not None
        return dict(client.delivered.headers)[b"Access-Control-Allow-Origin"]

    def look(self, now: int, origin: bytes | None) -> bytes:
        """Look at the last hour; return the origin of the response. Servers answer with another one; None: none is asked."""
        client = self.request(now - HOUR, now)
        if origin is not None:
            self.answer(headers=((b"Access-Control-Allow-Origin", origin),))
        return self.origin(client)

    def test_a_panel_that_is_refreshed(self) -> None:
        """Its responses have the fields of the servers as they are now, and not as they were when the query was cached."""
        self.assertEqual(self.look(NOW, b"https://old"), b"https://old")
        self.assertEqual(self.look(NOW, None), b"https://old")
        self.world.clock.advance(STEP)
        self.assertEqual(self.look(NOW + STEP, b"https://new"), b"https://new")
        self.assertEqual(self.look(NOW + STEP, None), b"https://new")

    def test_responses_that_come_in_another_order(self) -> None:
        """The fields of the newest one stay."""
        self.served(NOW - 2 * HOUR, NOW - HOUR)
        for earlier, later in ((NOW - 3 * HOUR, NOW - 2 * HOUR), (NOW - HOUR, NOW - HOUR + 900)):
            self.request(earlier, later)
            self.world.clock.advance(0.1)
        for sent, origin in zip(reversed(self.sent), (b"https://new", b"https://old"), strict=True):
            self.answer(sent, headers=((b"Access-Control-Allow-Origin", origin),))
        self.assertEqual(self.origin(self.request(NOW - 3 * HOUR, NOW - HOUR)), b"https://new")

    def test_several_new_responses(self) -> None:
        """The fields are those of the one that was asked for last."""
        self.build(cache_tail=0.0)
        self.served(NOW - 2 * HOUR, NOW - HOUR)
        client = self.request(NOW - 3 * HOUR, NOW)
        before, after = self.sent
        self.answer(after, headers=((b"Access-Control-Allow-Origin", b"https://old"),))
        self.world.clock.advance(0.1)
        before.answer.errback(RESET)
        self.answer(headers=((b"Access-Control-Allow-Origin", b"https://new"),))
        self.assertEqual(self.origin(client), b"https://new")

    def test_larger_fields_are_counted(self) -> None:
        """The memory of a query grows with them."""
        used = []
        for size in (1, 10_000):
            self.request(NOW - 30 * size, NOW - 30 * size)
            self.answer(headers=((b"X-Large", b"a" * size),), series=0)
            used.append(self.cache.state.used_bytes)
        self.assertGreater(used[1] - used[0], 9_999)


class Source:
    """A connection to a server that has sent all of its response."""

    def __getattr__(self, name: str) -> Any:
        return lambda: None


class BudgetTests(CachedCase):
    """The memory of responses counts until the clients have them."""

    def setUp(self) -> None:
        super().setUp()
        self.budget = MemoryBudget(32 * MIB)

    def buffered(self, sent: Sent, turns: int = 60) -> None:
        """Let a server answer with a response that counts to the budget."""
        response = Response(200, b"OK", ((b"Content-Type", b"application/json"),), self.budget, Source())
        response.buffer(matrix(asked(sent).start, asked(sent).end, series=self.series))
        response.finish()
        sent.answer.callback(response)
        self.turn(turns)

    def test_a_new_query(self) -> None:
        """Whatever the client does with the response at last; large ones are made while it reads, small ones at once."""
        for number, (series, encoding, reads) in enumerate(product((3, 300), (b"identity", b"gzip"), (True, False))):
            self.series = series
            start = NOW - 2 * (number + 1) * HOUR
            client = self.request(start, start + HOUR, headers=((b"Accept-Encoding", encoding),))
            self.buffered(self.sent[0])
            self.turn(600)
            assert client.delivered is not None
            plain = len(matrix(start, start + HOUR, series=series))
            self.assertEqual(self.budget.buffered, plain, (series, encoding))
            if reads:
                client.delivered.relay(Collected())
                self.turn(600)
            else:
                self.exchange.client_gone()
            self.assertEqual(self.budget.buffered, 0, (series, encoding, reads))
            self.request(start, start + HOUR, headers=((b"Accept-Encoding", encoding),))
            self.assertEqual(self.sent, [], "it is cached")

    def test_a_client_that_leaves_while_the_response_is_made(self) -> None:
        """There is nothing left to count, also if only some of the steps are new."""
        self.series = 300
        self.served(NOW - 3 * HOUR, NOW - 2 * HOUR, query=b"down")
        for query in (b"up", b"down"):
            client = self.request(NOW - 4 * HOUR, NOW - 2 * HOUR, headers=((b"Accept-Encoding", b"gzip"),), query=query)
            self.buffered(self.sent[0], turns=0)
            self.assertEqual((client.delivered, self.budget.buffered > MIB), (None, True), query)
            self.exchange.client_gone()
            self.assertEqual(self.budget.buffered, 0, query)

    def test_a_client_that_wants_the_head_only(self) -> None:
        """It reads no body."""
        client = self.request(method=b"HEAD")
        self.buffered(self.sent[0])
        assert client.delivered is not None
        client.delivered.release()
        self.assertEqual(self.budget.buffered, 0)

    def test_some_new_steps(self) -> None:
        """The responses of servers that are parts of a response."""
        self.served(NOW - 2 * HOUR, NOW - HOUR)
        clients = [self.request(NOW - 3 * HOUR, NOW - 30) for _ in range(2)]
        for sent in self.sent:
            self.buffered(sent)
        before = self.budget.buffered
        for client in clients:
            self.assertEqual(self.budget.buffered, before)
            self.assertGreater(before, 10_000)
            self.assert_right(client, NOW - 3 * HOUR, NOW - 30)
            assert client.delivered is not None
            client.delivered.relay(Collected())
        self.assertEqual(self.budget.buffered, 0)


class LargeTests(CachedCase):
    """Responses that are handled in several turns of the reactor."""

    def setUp(self) -> None:
        """Cache a response of 5 MB."""
        self.build(memory=512 * MIB)
        self.series = 1000
        self.served()

    def test_a_large_response_is_made_while_the_client_reads_it(self) -> None:
        """It is right, also when the client pauses."""
        client = self.request(NOW - HOUR + STEP, NOW)
        self.turn(2000)
        response = client.delivered
        assert response is not None
        self.assertFalse(response.complete)
        found = Collected()

        class Slow(Collected):
            def body_received(self, data: bytes) -> None:
                found.pieces.append(bytes(data))
                response.pause()

        response.relay(Slow())
        for _ in range(1000):
            response.resume()
            self.turn(1)
        expected = matrix(NOW - HOUR + STEP, NOW, series=1000)
        self.assertEqual((b"".join(found.pieces) == expected, response.length), (True, len(expected)))

    def test_a_fast_client_does_not_keep_others_waiting(self) -> None:
        """One turn of the reactor makes and sends half a megabyte, even if the client reads all of it at once."""
        for encoding in (b"identity", b"gzip"):
            client = self.request(NOW - HOUR + STEP, NOW, ((b"Accept-Encoding", encoding),))
            self.turn(2000)
            found = self.relayed(client)
            self.assertEqual((found.size < 600_000, found.ended), (True, False))
            self.turn()
            body = b"".join(found.pieces)
            plain = gzip.decompress(body) if encoding == b"gzip" else body
            self.assertEqual(plain == matrix(NOW - HOUR + STEP, NOW, series=1000), True)

    def test_a_client_that_leaves_between_two_turns(self) -> None:
        """It is sent nothing more."""
        client = self.request(NOW - HOUR + STEP, NOW)
        self.turn(2000)
        found = self.relayed(client)
        assert client.delivered is not None
        client.delivered.cancel()
        self.turn()
        self.assertEqual((found.ended, found.size < 600_000), (False, True))

    def test_a_pause_between_two_turns(self) -> None:
        """A client that pauses gets nothing until it resumes, and then the rest."""
        client = self.request(NOW - HOUR + STEP, NOW)
        self.turn(2000)
        found = self.relayed(client)
        response = client.delivered
        assert response is not None
        response.pause()
        before = found.size
        self.turn()
        self.assertEqual(found.size, before)
        response.resume()
        response.pause()
        response.resume()
        # Others may have resumed as well.
        self.assertEqual(found.size, before)
        self.turn()
        self.assertEqual(b"".join(found.pieces) == matrix(NOW - HOUR + STEP, NOW, series=1000), True)

    def relayed(self, client: FakeDownstream) -> Collected:
        """Begin to relay the response of a client that reads all it is sent."""
        found = Collected()
        assert client.delivered is not None, client.failed
        client.delivered.relay(found)
        return found

    def test_followers_have_time(self) -> None:
        """No server works for a hit, so that no deadline ends it."""
        clients = [self.request(NOW - HOUR + STEP, NOW) for _ in range(3)]
        self.assertIsNone(clients[0].delivered)
        self.world.clock.advance(0.5)
        self.turn(6000)
        self.assertEqual([client.failed for client in clients], [None] * 3)
        expected = matrix(NOW - HOUR + STEP, NOW, series=1000)
        self.assertEqual([self.body(client) == expected for client in clients], [True] * 3)

    def test_a_tail_of_many_series(self) -> None:
        """It is cut out in another thread, as the pages are made in one; nobody waits for it."""
        self.build(memory=512 * MIB)
        self.series = 100
        work = self.postponed()
        client = self.request(NOW - 30)
        self.answer()
        self.assert_right(client, NOW - 30, NOW)
        function, done = work[0]
        done.callback(function())
        client = self.request(NOW - 30)
        self.turn()
        self.assertEqual((self.sent, self.use(client)), ([], "hit"))

    def test_first_answers_at_the_same_time(self) -> None:
        """The steps of all answers to a new query are cached, also if each was begun to be cached before there was an entry."""
        self.build(memory=512 * MIB, cache_tail=0.0)
        self.series = 100
        work = self.postponed()
        windows = [(NOW - hours * HOUR, NOW - hours * HOUR + 900) for hours in (9, 7, 5)]
        for window in windows:
            self.request(*window)
        for sent in self.sent:
            self.answer(sent)
        self.assertEqual(len(work), 3)
        while work:
            function, done = work.pop(0)
            done.callback(function())
        for window in windows:
            client = self.request(*window)
            self.turn()
            self.assertEqual((self.sent, self.use(client)), ([], "hit"))
            self.assert_right(client, *window)

    def test_a_client_that_leaves_meanwhile(self) -> None:
        """The work ends."""
        self.request(NOW - HOUR + STEP, NOW)
        self.assertNotEqual(self.world.clock.getDelayedCalls(), [])
        self.exchange.client_gone()
        self.turn()
        self.assertEqual(self.world.metrics.in_flight, 0)
