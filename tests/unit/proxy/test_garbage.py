"""
What a request needed is free when it ends, not when the garbage collector comes by: that took a tenth of the time of a small one.
"""

from __future__ import annotations

import gc
from collections import Counter

from mpp.core.coverage import Coverage, Job, Missing
from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.interfaces import IBodyConsumer
from mpp.core.intervals import Intervals
from mpp.core.model import Choice, Observation, Selection, Standing
from mpp.proxy.attempt import Attempt
from mpp.proxy.attempts import Attempts
from mpp.proxy.exchanges.exchange import Exchange
from mpp.proxy.exchanges.server_fetch import ServerFetch
from mpp.proxy.exchanges.splicing import SplicedAttempts
from mpp.proxy.site.request import ProxyRequest
from mpp.wire.downstream.relay import Relay
from tests.forward_support import A, B, FakeResponse
from tests.unit.proxy.test_proxy import ProxyCase, StreamedResponse

OF_A_REQUEST = (ProxyRequest, Exchange, ServerFetch, SplicedAttempts, Attempts, Attempt, Relay)


class GarbageTests(ProxyCase):
    """However a request ends, nothing of it is left to the garbage collector."""

    def setUp(self) -> None:
        super().setUp()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        # Other tests' worlds may be alive still.
        self.others = self.alive()

    def alive(self) -> Counter[str]:
        return Counter(type(each).__name__ for each in gc.get_objects() if type(each) in OF_A_REQUEST)

    def assert_nothing_left(self) -> None:
        self.world.upstreams.sent.clear()
        self.assertEqual(self.alive() - self.others, Counter())

    def test_served_request_leaves_no_garbage(self) -> None:
        """The usual end, with the connection kept."""
        self.client.get()
        self.answer(FakeResponse(200))
        self.assert_nothing_left()

    def test_answered_by_another_backend(self) -> None:
        """A retry."""
        self.client.get()
        self.world.upstreams.sent[0].answer.errback(UpstreamError(Phase.CONNECT, Cause.REFUSED))
        self.answer(FakeResponse(200))
        self.assert_nothing_left()

    def test_response_kept_in_reserve(self) -> None:
        """A response that was kept until another server had done better."""
        self.client.get()
        for response in (FakeResponse(403, b"forbidden"), FakeResponse(200)):
            self.world.upstreams.sent[-1].answer.callback(response)
        self.assertEqual(len(self.world.upstreams.sent), 2)
        self.assert_nothing_left()

    def test_not_answered(self) -> None:
        """An error of mpp's own."""
        self.build(retries=0)
        self.client.get()
        self.world.upstreams.sent[0].answer.errback(UpstreamError(Phase.CONNECT, Cause.REFUSED))
        self.assertIn(b"HTTP/1.1 503 ", self.client.received())
        self.assert_nothing_left()

    def test_rejected_request_leaves_no_garbage(self) -> None:
        """A request that reaches nobody."""
        for target, status in ((b"/-/quit", b"405"), (b"/debug/pprof", b"403")):
            self.client.get(target)
            self.assertIn(b"HTTP/1.1 " + status + b" ", self.client.received())
            self.assert_nothing_left()

    def test_relayed_response_leaves_no_garbage(self) -> None:
        """An answer that comes in pieces."""
        body = self.stream()
        body.body_received(b"hello")
        body.body_ended()
        del body
        self.assert_nothing_left()

    def test_divided_request_leaves_no_garbage(self) -> None:
        """Joined responses of two servers, and the response of one server with a warning."""
        self.world.selections.current = Selection(1, Choice((A,), (B,)), tuple(Observation(e, Standing.VIABLE) for e in (A, B)))
        self.world.selections.coverage = Coverage(
            {"node": Job(80, 30.0)},
            {
                server: Missing.of(Intervals.of([(start, start + 1000), (20_000, 21_000)]), {})
                for server, start in ((A, 10_000), (B, 12_000))
            },
        )
        body = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
        for start, end, parts in ((9000, 13_000, 2), (19_000, 20_500, 1)):
            self.client.get(b"/api/v1/query_range?query=up&start=%d&end=%d&step=100" % (start, end))
            self.assertEqual(len(self.world.upstreams.sent), parts)
            for sent in self.world.upstreams.sent[::-1]:
                sent.answer.callback(FakeResponse(200, body, ((b"Content-Type", b"application/json"),)))
            del sent
            self.assertIn(b"HTTP/1.1 200 ", self.client.received())
            self.assert_nothing_left()

    def test_client_gone(self) -> None:
        """A client that hangs up before there is an answer, and one that does in the middle of it."""
        self.client.get()
        self.client.hang_up()
        self.assert_nothing_left()
        self.build()
        self.stream()
        self.client.hang_up()
        self.assert_nothing_left()

    def stream(self) -> IBodyConsumer:
        self.client.get()
        response = StreamedResponse(5)
        self.answer(response)
        consumer, response.consumer = response.consumer, None
        assert consumer is not None
        return consumer
