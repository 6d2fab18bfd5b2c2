"""Requests for data that a server lacks."""

from __future__ import annotations

from typing import Any
from unittest.mock import ANY

from attrs import evolve
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.coverage import Coverage, Hole, Job, Missing
from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend, Choice, Observation, Selection, Standing
from tests.forward_support import A, B, C, FakeDownstream, FakeResponse, World

JOBS = {"node": Job(80, 30.0)}
# Its own server, A, lacks a time; so does B, another one. C has all.
COVERAGE = Coverage(
    JOBS,
    {A: Missing.of(Intervals.of([(10_000, 11_000)]), {}), B: Missing.of(Intervals.of([(10_500, 12_000)]), {})},
)
IN_A = "/api/v1/query?query=up&time=10200"
IN_BOTH = "/api/v1/query?query=up&time=10900"
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
        self.world.request(target=IN_A.encode())
        self.assertEqual(self.world.upstreams.sent[0].backend, A)

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
