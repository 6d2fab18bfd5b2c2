"""Requests for data that a server lacks."""

from __future__ import annotations

import gzip
import itertools
from typing import Any
from unittest.mock import ANY, Mock

from attrs import evolve
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.coverage import WHOLE_POOL, Coverage, Hole, Job, Missing
from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import MIB, Backend, Choice, Headers, Observation, RequestInfo, Selection, Standing
from mpp.core.settings import Settings
from mpp.proxy.decisions.affinity import AffinityChain, SourceIPAffinity
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.upstream.messages.response import Response
from tests.forward_support import A, B, C, FakeDownstream, FakeResponse, World
from tests.remote_reads import compressed, matcher, query
from tests.wire_support import Consumer

JOBS = {"node": Job(80, 30.0)}
# Its own server, A, lacks a time; so does B, another one. C has all.
COVERAGE = Coverage(
    JOBS,
    {A: Missing.of(Intervals.of([(10_000, 11_000)]), {}), B: Missing.of(Intervals.of([(10_500, 12_000)]), {})},
)
IN_A = "/api/v1/query?query=up&time=10200"
IN_BOTH = "/api/v1/query?query=up&time=10900"
EMPTY = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
RATE = "/api/v1/query?query=rate(up%5B10m%5D)&time=11200"


def world(*servers: Backend, selected: tuple[Backend, ...] = (A,), **settings: Any) -> World:
    """Return a world in which all servers are viable, and lack what `COVERAGE` says."""
    made = World(**settings)
    standbys = tuple(each for each in servers if each not in selected)
    observations = tuple(Observation(each, Standing.VIABLE) for each in servers)
    made.selections.current = Selection(1, Choice(selected, standbys), observations)
    made.selections.coverage = COVERAGE
    return made


class FirstChoiceTests(SynchronousTestCase):
    """The server of the first attempt."""

    def asked(self, target: str, *servers: Backend, **settings: Any) -> Backend:
        """Return the server that a request is sent to."""
        self.world = world(*(servers or (A, B, C)), **settings)
        self.world.request(target=target.encode())
        return self.world.upstreams.sent[0].backend

    def test_query_goes_to_a_server_that_has_its_data(self) -> None:
        """An instant query in a hole of its server is sent to the next one, a query outside of the hole to its own server."""
        self.assertEqual(self.asked(IN_A), B)
        self.assertEqual(self.world.counted("mpp_rerouted_requests_total", backend="a:9090"), 1)
        self.assertEqual(self.asked("/api/v1/query?query=up&time=9000"), A)
        self.assertEqual(self.asked("/api/v1/query?query=up"), A)
        self.assertEqual(self.world.counted("mpp_rerouted_requests_total", backend="a:9090"), 0)

    def test_all_that_an_evaluation_reads_counts(self) -> None:
        """A rate after the hole still reads it; a query with an offset reads what came before."""
        self.assertEqual(self.asked(RATE), C)
        self.assertEqual(self.asked("/api/v1/query?query=up+offset+30m&time=12000"), B)
        self.assertEqual(self.asked("/api/v1/query?query=up&time=12000"), A)

    def test_a_range_goes_to_one_server_that_has_all_of_it(self) -> None:
        """A range over the holes of two servers is answered by the third one."""
        self.assertEqual(self.asked("/api/v1/query_range?query=up&start=9000&end=13000&step=60"), C)

    def test_series_and_labels_too(self) -> None:
        """Requests without an evaluation have a time as well."""
        for path in ("series?match[]=up&", "labels?", "label/job/values?", "query_exemplars?query=up&"):
            self.assertEqual(self.asked(f"/api/v1/{path}start=10100&end=10200"), B, path)
            self.assertEqual(self.asked(f"/api/v1/{path}start=8000&end=9000"), A, path)

    def test_an_address_keeps_its_server(self) -> None:
        """A client that is kept by its address goes to another server for one query only."""
        made = world(A, B, C, selected=(A, B))
        made.forwarder.reconfigure(made.upstreams, AffinityChain((SourceIPAffinity(()),)), Settings())
        made.selections.coverage = WHOLE_POOL
        asked = []
        for _ in range(3):
            made.request(target=IN_A.encode())
            asked.append(made.upstreams.sent[-1].backend)
            made.upstreams.sent[-1].answer.callback(FakeResponse(200))
            lacks = Missing.of(Intervals.of([(10_000, 11_000)]), {})
            made.selections.coverage = WHOLE_POOL if len(asked) == 2 else Coverage(JOBS, {asked[0]: lacks})
        self.assertEqual((asked[0] != asked[1], asked[2]), (True, asked[0]))

    def test_no_server_has_it(self) -> None:
        """What all servers lack stays with the client's own server, and is counted."""
        self.assertEqual(self.asked(IN_BOTH, A, B), A)
        self.assertEqual(self.world.counted("mpp_incomplete_requests_total"), 1)
        self.assertEqual(self.world.counted("mpp_rerouted_requests_total", backend="a:9090"), 0)

    def test_only_the_jobs_that_are_read_count(self) -> None:
        """A server that lacks targets of another job keeps the request."""
        hole = Hole(10_000, 11_000, 40, 80)
        for job, server in (("node", B), ("app", A)):
            self.world = world(A, B)
            self.world.selections.coverage = Coverage({**JOBS, "app": Job(5, 30.0)}, {A: Missing.of(NEVER, {job: [hole]})})
            self.world.request(target=b"/api/v1/query?query=up%7Bjob%3D%22node%22%7D&time=10200")
            self.assertEqual(self.world.upstreams.sent[0].backend, server, job)

    def test_other_requests_stay(self) -> None:
        """A request for no data, a malformed one, and federation go where they always went."""
        for target in (
            "/graph",
            "/api/v1/query_range?query=up&start=10200",
            "/api/v1/query?query=up&time=x",
            "/federate?match[]=up",
        ):
            self.assertEqual(self.asked(target), A, target)

    def test_a_server_out_of_service_is_no_candidate(self) -> None:
        """A hole is better than an error."""
        self.world = world(A, B)
        down = evolve(self.world.selections.current.observed[B], standing=Standing.DOWN)
        current = self.world.selections.current
        self.world.selections.current = evolve(current, observations=(current.observations[0], down))
        client = self.world.request(target=IN_A.encode())
        self.assertEqual(self.world.upstreams.sent[0].backend, A)
        self.world.upstreams.sent[0].answer.callback(FakeResponse(200, EMPTY))
        assert client.delivered is not None
        self.assertIn(b'"warnings":["mpp: no server in service has all data from', b"".join(client.delivered.buffered))

    def test_the_client_keeps_its_server(self) -> None:
        """A server that answers only because the client's own one lacks data gets no affinity."""
        self.world = world(A, B, C, selected=(A, B))
        for target, cookies in ((IN_A.encode(), ()), (b"/api/v1/query?query=up", (ANY,))):
            client = self.world.request(target=target, headers=((b"Cookie", b"MPP.Route=" + A.id.encode()),))
            self.world.upstreams.sent[-1].answer.callback(FakeResponse(200))
            self.assertEqual(client.served_by, B if not cookies else A)
            self.assertEqual([each for each in client.cookies if B.id.encode() in each], [])


class FurtherAttemptsTests(SynchronousTestCase):
    """What follows when the server that has the data fails, is slow, or has no slot."""

    def setUp(self) -> None:
        """Let a request be sent to B, which has the data, while A lacks all of it and C lacks half of it."""
        self.world = world(A, B, C, hedge_after=1.0)
        self.world.upstreams.there = True
        missing = {A: Missing.of(Intervals.of([(10_000, 11_000)]), {}), C: Missing.of(Intervals.of([(10_000, 10_500)]), {})}
        self.world.selections.coverage = Coverage(JOBS, missing)

    def request(self) -> FakeDownstream:
        """Send a rate over all of the hole."""
        client = self.world.request(target=b"/api/v1/query?query=rate(up%5B1000s%5D)&time=11000")
        self.assertEqual([sent.backend for sent in self.world.upstreams.sent], [B])
        return client

    def test_a_retry_goes_to_the_server_that_lacks_least(self) -> None:
        """Although the client's own server would be the next one by rank."""
        client = self.request()
        self.world.upstreams.sent[0].answer.errback(Failure(UpstreamError(Phase.CONNECT, Cause.REFUSED, "refused")))
        self.assertEqual(self.world.upstreams.sent[1].backend, C)
        self.world.upstreams.sent[1].answer.callback(FakeResponse(200))
        self.assertEqual(client.served_by, C)

    def test_the_answer_of_a_further_attempt_says_what_is_missing(self) -> None:
        """The client is warned, and learns of both attempts; a gzipped response could not get the warning."""
        client = self.request()
        self.world.upstreams.sent[0].answer.errback(Failure(UpstreamError(Phase.CONNECT, Cause.REFUSED, "refused")))
        self.assertNotIn(b"gzip", self.world.upstreams.sent[1].head)
        self.world.upstreams.sent[1].answer.callback(FakeResponse(200, EMPTY))
        assert client.delivered is not None
        self.assertIn(b'"warnings":["mpp: no server could answer', b"".join(client.delivered.buffered))
        self.assertEqual((client.served_by, client.attempts), (C, 2))
        self.assertEqual(self.world.counted("mpp_incomplete_requests_total"), 1)
        self.assertEqual(self.world.counted("mpp_retries_total", backend="b:9090", reason="refused"), 1)

    def test_the_answer_of_a_hedge_says_what_is_missing(self) -> None:
        """A server that is stuck is given up for one that lacks more."""
        client = self.request()
        self.world.upstreams.there = False
        while len(self.world.upstreams.sent) < 2:
            self.assertLess(self.world.clock.seconds(), 3)
            self.world.clock.advance(0.05)
        self.assertEqual(self.world.upstreams.sent[1].backend, C)
        self.assertIn(B, self.world.upstreams.cancelled)
        self.world.upstreams.sent[1].answer.callback(FakeResponse(200, EMPTY))
        assert client.delivered is not None
        self.assertIn(b'"warnings":["mpp: no server could answer', b"".join(client.delivered.buffered))

    def test_two_responses_stall_together(self) -> None:
        """The attempt that follows the first of them ends the second, because the response will have a warning."""
        self.world.selections.coverage = Coverage(JOBS, {A: COVERAGE.missing[A]})
        self.world.upstreams.there = False
        client = self.world.request(target=IN_A.encode())
        pump = [self.world.forwarder.context.ticker.period]
        self.world.clock.pump(pump * 10)
        self.assertEqual(self.world.upstreams.backends, [B, C])
        for sent in self.world.upstreams.sent:
            assert sent.progress is not None
            sent.progress.received = 300
        self.world.upstreams.there = True
        self.world.clock.pump(pump * 310)
        self.assertEqual((client.failed, self.world.upstreams.backends), (None, [B, C, A]))
        self.assertEqual([sent.backend for sent in self.world.upstreams.sent if not sent.answer.called], [A])
        self.world.upstreams.sent[2].answer.callback(FakeResponse(200, EMPTY))
        assert client.delivered is not None
        self.assertIn(b'"warnings":["mpp: no server', b"".join(client.delivered.buffered))

    def test_no_hedge_to_a_server_that_lacks_more(self) -> None:
        """A slow server is waited for: the answer of another one would be wrong."""
        self.request()
        self.world.clock.pump([0.05] * 40)
        self.assertEqual(len(self.world.upstreams.sent), 1)

    def test_a_hedge_to_a_server_that_lacks_no_more(self) -> None:
        """If another server has all of it, too, that one is asked."""
        self.world.selections.coverage = Coverage(JOBS, {A: self.world.selections.coverage.missing[A]})
        self.request()
        self.world.clock.pump([0.05] * 40)
        self.assertEqual([sent.backend for sent in self.world.upstreams.sent], [B, C])

    def test_a_request_that_waits_for_a_slot_is_not_moved_to_a_server_that_lacks_more(self) -> None:
        """It waits on, although the other servers have free slots."""
        self.world.upstreams.full = {B}
        self.request()
        self.world.clock.pump([0.05] * 40)
        self.assertEqual(self.world.counted("mpp_moved_requests_total", backend="b:9090"), 0)


class SplicedTests(SynchronousTestCase):
    """Range queries whose steps are answered by several servers."""

    RANGE = b"/api/v1/query_range?query=up&start=9000&end=13000&step=100"
    POST = ((b"Content-Type", b"application/x-www-form-urlencoded"),)

    def setUp(self) -> None:
        """Let both servers of a pair lack a time, not the same."""
        self.world = world(A, B)

    def request(self, target: bytes = RANGE, headers: Headers = ()) -> FakeDownstream:
        """Begin a request; return its client."""
        self.client = self.world.request(target=target, headers=headers)
        return self.client

    def answer(
        self, number: int, *steps: int, status: int = 200, labels: str = '"a":"b"', tail: str = "", complete: bool = True
    ) -> FakeResponse:
        """Answer one part with the values of some steps."""
        values = ",".join(f'[{step},"{number}"]' for step in steps)
        series = f'{{"metric":{{{labels}}},"values":[{values}]}}'
        text = f'{{"status":"success","data":{{"resultType":"matrix","result":[{series}]}}{tail}}}'
        fields = (b"Content-Type", b"application/json"), (b"Content-Length", b"9")
        response = FakeResponse(status, text.encode(), fields, complete=complete)
        self.world.upstreams.sent[number].answer.callback(response)
        return response

    def body(self) -> bytes:
        """Return what the client has got."""
        assert self.client.delivered is not None
        return b"".join(self.client.delivered.buffered)

    def ranges(self) -> list[tuple[str, float, float]]:
        """Return the servers and ranges of all requests that were sent."""
        found = []
        for sent in self.world.upstreams.sent:
            target = sent.head.split()[1].decode()
            values = dict(pair.split("=") for pair in target.partition("?")[2].split("&"))
            found.append((sent.backend.host, float(values["start"]), float(values["end"])))
        return found

    def test_each_step_is_asked_of_a_server_that_has_its_data(self) -> None:
        """The client's own server answers what it has; the responses are joined, and the client sees who served."""
        self.request()
        (first, start, middle), (second, further, end) = self.ranges()
        self.assertEqual((first, start, second, end), ("b", 9000, "a", 13000))
        self.assertEqual(further - middle, 100)
        self.assertTrue(10_000 <= further <= 11_400, further)
        self.answer(1, 11_200, 13_000)
        self.assertIsNone(self.client.delivered)
        self.answer(0, 9_000)
        values = b'{"metric":{"a":"b"},"values":[[9000,"0"],[11200,"1"],[13000,"1"]]}'
        self.assertIn(values, self.body())
        self.assertEqual((self.client.served_by, self.client.also, self.client.attempts), (B, (A,), 1))
        assert self.client.delivered is not None
        self.assertEqual(self.client.delivered.headers, ((b"Content-Type", b"application/json"),))
        self.assertEqual(self.client.delivered.length, len(self.body()))
        self.assertEqual(self.world.counted("mpp_joined_responses_total"), 1)
        self.assertEqual(self.world.counted("mpp_requests_total", backend="b:9090", code="200", method="GET"), 0)

    def test_a_client_that_accepts_gzip_gets_gzip(self) -> None:
        """The parts are asked for without it, for they are joined."""
        self.request(headers=((b"Accept-Encoding", b"deflate, gzip;q=0.8"),))
        self.assertNotIn(b"gzip", self.world.upstreams.sent[0].head)
        self.answer(0, 9_000)
        self.answer(1, 13_000)
        assert self.client.delivered is not None
        self.assertIn((b"Content-Encoding", b"gzip"), self.client.delivered.headers)
        self.assertIn(b'[[9000,"0"],[13000,"1"]]', gzip.decompress(self.body()))

    def test_a_part_whose_server_fails_is_answered_by_the_other_one(self) -> None:
        """The response has a warning that data is missing, since no other server has it."""
        self.request()
        self.world.upstreams.sent[0].answer.errback(Failure(UpstreamError(Phase.CONNECT, Cause.REFUSED, "refused")))
        self.assertEqual([sent.backend for sent in self.world.upstreams.sent], [B, A, A])
        self.answer(1, 13_000)
        self.answer(2, 9_000)
        self.assertIn(b'"warnings":["mpp: no server could answer with all data; a:9090 lacks', self.body())

    def test_many_gaps(self) -> None:
        """Servers are restarted again and again: each step comes from one that has it; 8 subrequests at most are under way."""
        gaps = range(9_200, 12_000, 400)
        lacks = {
            server: Missing.of(Intervals.of([(start + later, start + later + 100) for start in gaps]), {})
            for server, later in ((A, 0), (B, 200))
        }
        self.world.selections.coverage = Coverage(JOBS, lacks)
        self.request(b"/api/v1/query_range?query=up&start=9000&end=13000&step=10")
        self.assertEqual(len(self.world.upstreams.sent), 8)
        answered = 0
        while answered < len(self.world.upstreams.sent):
            server, start, end = self.ranges()[answered]
            for gap, until in lacks[A if server == "a" else B].whole:
                self.assertFalse(start < until and end > gap + 30, (server, start, end))
            self.assertIsNone(self.client.delivered)
            self.answer(answered, int(start), int(end))
            answered += 1
            self.assertLessEqual(len(self.world.upstreams.sent) - answered, 8)
        self.assertGreater(answered, 12)
        self.assertEqual([start for _, start, _ in self.ranges()], sorted(start for _, start, _ in self.ranges()))
        self.assertIn(b'[13000,"%d"]]' % (answered - 1), self.body())
        self.assertNotIn(b"warnings", self.body())

    def test_a_part_with_an_error_means_that_one_server_is_asked_for_all(self) -> None:
        """An error may hold for the whole range only; so may a body that is not understood."""
        for status, tail in ((422, ""), (200, ',"isPartial":true')):
            self.setUp()
            self.request()
            self.answer(0, 9_000, status=status, tail=tail)
            self.answer(1, 13_000, status=200) if status == 200 else None
            self.assertEqual(self.ranges()[2][1:], (9000, 13000), status)
            whole = self.answer(2, 9_000, 13_000)
            self.assertIs(self.client.delivered, whole)

    def test_labels_that_are_no_texts_mean_that_one_server_is_asked_for_all(self) -> None:
        """They are read only when the parts have different series, after the first piece was joined."""
        self.request()
        self.answer(0, 9_000, labels='"a":1')
        self.answer(1, 13_000)
        self.assertEqual(self.ranges()[2][1:], (9000, 13000))

    def test_parts_that_do_not_fit_when_no_server_is_in_service(self) -> None:
        """The client's own server is asked as a last resort; the client does not wait for ever."""
        self.request()
        current = self.world.selections.current
        down = tuple(evolve(each, standing=Standing.DOWN) for each in current.observations)
        self.world.selections.current = evolve(current, observations=down)
        self.answer(0, 9_000, status=422)
        self.assertEqual((len(self.ranges()), self.ranges()[2]), (3, ("a", 9000, 13000)))

    def test_a_bug_after_the_parts_ends_the_request(self) -> None:
        """The client gets an error at once."""
        self.request()
        self.world.selections.current = None  # type: ignore[assignment]
        self.answer(0, 9_000, status=422)
        assert self.client.failed is not None
        self.assertEqual(self.client.failed[0], 500)
        self.assertTrue(self.flushLoggedErrors(AttributeError))

    def test_memory_of_a_joined_response(self) -> None:
        """As many parts as it is long count until the client has read all of it, or leaves in the middle."""
        value = "7" * 300_000
        for gzipped, leaves in itertools.product((False, True), (False, True)):
            budget = MemoryBudget(64 * MIB)
            self.world = world(A, B)
            self.request(headers=((b"Accept-Encoding", b"gzip"),) if gzipped else ())
            sizes = []
            for sent, step in zip(self.world.upstreams.sent, (9_000, 13_000), strict=True):
                response = Response(200, b"OK", (), budget, Mock())
                series = f'{{"metric":{{"a":"b"}},"values":[[{step},"{value}"]]}}'
                text = f'{{"status":"success","data":{{"resultType":"matrix","result":[{series}]}}}}'
                sizes.append(len(text))
                response.buffer(text.encode())
                response.finish()
                sent.answer.callback(response)
            self.world.clock.pump([0.0] * 100)
            delivered = self.client.delivered
            assert delivered is not None
            self.assertEqual(response.buffered, [])
            counted = sizes[0] if gzipped else sum(sizes)
            self.assertEqual(budget.buffered, counted)
            reader = Consumer()
            delivered.pause()
            delivered.relay(reader)
            self.assertEqual(budget.buffered, counted)
            if leaves:
                delivered.cancel()
            else:
                delivered.resume()
                self.assertEqual((len(reader.body), reader.ended), (delivered.length, True))
            self.assertEqual(budget.buffered, 0)

    def test_a_client_that_leaves_cancels_all_parts(self) -> None:
        """No server works for a client that has gone."""
        self.request()
        self.answer(0, 9_000)
        self.world.exchange.client_gone()
        self.assertEqual(self.world.upstreams.cancelled, [A])

    def test_the_deadline_holds_for_all_parts(self) -> None:
        """A part that is not answered in time ends the request."""
        self.world = world(A, B, request_timeout=5.0)
        self.world.upstreams.there = True
        self.request()
        self.answer(0, 9_000)
        self.world.clock.pump([0.05] * 110)
        assert self.client.failed is not None
        self.assertEqual(self.client.failed[0], 504)

    def test_a_part_with_an_error_at_the_deadline(self) -> None:
        """The client gets the error: a server would have no time for the whole range. So does one that is late itself."""
        for late in (False, True):
            self.world = world(A, B, request_timeout=5.0)
            self.world.upstreams.there = True
            self.request()
            if late:
                self.world.clock.rightNow += 5.0
            error = self.answer(0, status=422 if late else 403)
            self.assertEqual(self.client.delivered, error if late else None)
            asked = len(self.ranges())
            self.world.clock.pump([0.05] * 110)
            self.assertEqual((self.client.delivered, self.client.served_by, self.client.also), (error, B, ()))
            self.assertEqual((self.client.failed, len(self.ranges()), error.cancelled), (None, asked, False))
            self.assertEqual(self.world.upstreams.cancelled, [A] * (asked - 1))

    def test_a_part_that_does_not_fit_at_the_deadline(self) -> None:
        """It is no response to the whole query; and there is no time for another one."""
        for complete, tail in ((False, ""), (True, ',"isPartial":true')):
            self.world = world(A, B, request_timeout=5.0)
            self.request()
            self.answer(1, 13_000)
            self.world.clock.rightNow += 5.0
            self.answer(0, 9_000, tail=tail, complete=complete)
            assert self.client.failed is not None
            self.assertEqual((self.client.failed[0], len(self.ranges())), (504, 2))
            self.assertIn("the parts could not be joined", self.client.failed[1])

    def test_what_no_server_has_is_said_in_a_warning(self) -> None:
        """Of an instant query, too; the rest of the response stays as it is."""
        self.request(IN_BOTH.encode())
        body = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
        self.world.upstreams.sent[0].answer.callback(FakeResponse(200, body))
        self.assertEqual(
            self.body(),
            body[:-1] + b',"warnings":["mpp: no server in service has all data from 1970-01-01 03:01:10 to 03:01:40 UTC"]}',
        )
        self.assertEqual((self.client.served_by, self.client.also), (A, ()))

    def test_a_response_that_cannot_get_a_warning_is_delivered_as_it_is(self) -> None:
        """It is right but for what is missing."""
        self.request(IN_BOTH.encode())
        response = FakeResponse(400, b'{"status":"error"}')
        self.world.upstreams.sent[0].answer.callback(response)
        self.assertIs(self.client.delivered, response)

    def test_a_query_of_death_is_not_sent_to_several_servers(self) -> None:
        """While any request is suspect, whole queries are sent."""
        self.world.selections.suspects.add("x")
        self.request()
        self.assertEqual(len(self.world.upstreams.sent), 1)

    def test_a_form_is_divided_as_well(self) -> None:
        """Grafana sends its queries with POST."""
        info = RequestInfo(b"POST", b"/api/v1/query_range", self.POST, self.RANGE.partition(b"?")[2], "203.0.113.9")
        self.world.forwarder.forward(FakeDownstream(info))
        bodies = [sent.body for sent in self.world.upstreams.sent]
        self.assertEqual(len(bodies), 2)
        self.assertTrue(bodies[0].startswith(b"query=up&start=9000.000&end="), bodies)
        self.assertIn(b"&end=13000.000&step=100", bodies[1])


class RemoteReadTests(SynchronousTestCase):
    """Remote read, whose clients stay with one server."""

    def asked(self, start: int, end: int) -> list[Backend]:
        """Return the servers that remote reads of many clients are sent to."""
        made = world(A, B, selected=(A, B))
        made.selections.current = evolve(made.selections.current, sticky=(A, B))
        made.selections.coverage = Coverage(JOBS, {A: COVERAGE.missing[A]})
        body = compressed(query(start * 1000, end * 1000, matcher(0, "__name__", "up")))
        for number in range(20):
            info = RequestInfo(b"POST", b"/api/v1/read", (), body, f"203.0.113.{number}")
            made.forwarder.forward(FakeDownstream(info))
        return [sent.backend for sent in made.upstreams.sent]

    def test_a_client_leaves_its_server_for_a_material_lack_only(self) -> None:
        """For the external labels change with the server, and with them the identity of every series."""
        self.assertEqual(set(self.asked(10_100, 10_900)), {B})
        self.assertEqual(set(self.asked(5_000, 6_000)), {A, B})
        self.assertEqual(set(self.asked(0, 500_000)), {A, B})
