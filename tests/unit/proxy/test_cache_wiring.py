"""The cache around a request: what is counted, what a flush means for requests under way, and what is explained."""

from __future__ import annotations

import json
import random

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.cache.store import RangeCache
from mpp.core.model import Choice, Observation, RequestInfo, Selection, Standing
from mpp.core.settings import Settings
from mpp.proxy.decisions.affinity import AffinityChain, CookieAffinity
from mpp.proxy.decisions.explain import explain
from mpp.proxy.exchanges.explained_cache import with_cache
from mpp.selection.query_of_death import SuspectQueries
from tests.forward_support import A, B, FakeDownstream, FakeResponse, World
from tests.status_support import unplanned

RESULTS = ("hit", "partial", "miss", "bypass")


def target(first: int = 0, last: int = 120) -> bytes:
    """Return a range query for steps of ten seconds."""
    return b"/api/v1/query_range?query=up&start=%d&end=%d&step=10" % (first * 10, last * 10)


def matrix(first: int = 0, last: int = 120) -> bytes:
    """Return the response to it."""
    values = [[step * 10, "1"] for step in range(first, last + 1)]
    data = {"resultType": "matrix", "result": [{"metric": {"__name__": "up"}, "values": values}]}
    return json.dumps({"status": "success", "data": data}, separators=(",", ":")).encode()


class CacheCase(SynchronousTestCase):
    """A request before one server, and a cache."""

    def setUp(self) -> None:
        """Switch the cache on."""
        self.world = World(selected=(A,), standbys=(), cache_memory=2**26)
        self.world.selections.current = Selection(1, Choice((A,)), (Observation(A, Standing.VIABLE),))
        context = self.world.forwarder.context
        self.world.clock.advance(1000)
        cache: RangeCache = RangeCache(2**26, 3600.0, self.world.clock, random.Random(1), self.world.metrics)
        self.world.forwarder.context = evolve(context, cache=cache, wall=lambda: 1_000_000.0)
        self.cache = cache

    def ask(self, of: bytes = target(), fields: tuple[tuple[bytes, bytes], ...] = ()) -> FakeDownstream:
        """Begin a request."""
        return self.world.request(target=of, headers=fields)

    def answer(self, body: bytes = matrix()) -> None:
        """Let the server answer the last request that it got, and let the response be cached in the next turn."""
        self.world.upstreams.sent[-1].answer.callback(FakeResponse(200, body, ((b"Content-Type", b"application/json"),)))
        self.world.clock.advance(0)


class CountTests(CacheCase):
    """What is counted."""

    def counts(self) -> list[float]:
        """Return the counts of all results."""
        return [self.world.counted("mpp_cache_requests_total", result=result) for result in RESULTS]

    def test_each_result(self) -> None:
        """Each range query is counted by how the cache was used, whoever has fetched its response."""
        self.ask()
        self.ask()
        self.answer()
        self.assertEqual(self.counts(), [0, 0, 2, 0])
        self.ask()
        self.assertEqual(self.counts(), [1, 0, 2, 0])
        self.ask(target(60, 130))
        self.answer(matrix(121, 130))
        self.assertEqual(self.counts(), [1, 1, 2, 0])
        self.ask(fields=((b"Cache-Control", b"no-store"),))
        self.answer()
        self.assertEqual(self.counts(), [1, 1, 2, 1])

    def test_other_requests(self) -> None:
        """Requests that are no range queries are not counted."""
        for path in (b"/api/v1/query?query=up", b"/api/v1/labels", b"/api/v1/status/config"):
            self.ask(path)
            self.answer(b"{}")
            self.ask(path, ((b"Cache-Control", b"no-store"),))
            self.answer(b"{}")
        self.assertEqual(self.counts(), [0, 0, 0, 0])

    def test_attempts_of_parts_are_not_added_up(self) -> None:
        """A response of which two ranges of steps are missing has needed one attempt, as for each of them."""
        self.ask(target(20, 120))
        self.answer(matrix(20, 120))
        client = self.ask(target(0, 130))
        for sent, body in zip(self.world.upstreams.sent[-2:], (matrix(0, 19), matrix(121, 130)), strict=True):
            sent.answer.callback(FakeResponse(200, body, ((b"Content-Type", b"application/json"),)))
        self.assertEqual((dict(client.about)[b"MPP.Cache"][:7], client.attempts), (b"partial", 1))

    def test_no_cache_replaces_what_is_cached(self) -> None:
        """A client that reloads a page after a backfill gets the new values, and so do all others afterwards."""
        self.ask()
        self.answer()
        changed = matrix().replace(b'"1"', b'"2"')
        self.ask(fields=((b"Cache-Control", b"no-cache"),))
        self.answer(changed)
        client = self.ask()
        assert client.delivered is not None
        self.assertEqual((dict(client.about)[b"MPP.Cache"], b"".join(client.delivered.buffered)), (b"hit", changed))

    def test_many_new_responses(self) -> None:
        """Small ones are all cached in the next turn: one turn for each of them would delay large responses of other clients."""
        targets = [target().replace(b"=up", b"=up%d" % number) for number in range(20)]
        for each in targets:
            self.ask(each)
            self.world.upstreams.sent[-1].answer.callback(FakeResponse(200, matrix()))
        self.world.clock.advance(0)
        for each in targets:
            self.ask(each)
        self.assertEqual(self.counts(), [20, 0, 20, 0])

    def test_without_a_cache(self) -> None:
        """Nothing is counted while the cache is off."""
        self.world.reload()
        self.ask()
        self.answer()
        self.assertEqual(self.counts(), [0, 0, 0, 0])


class FlushTests(CacheCase):
    """Requests that are under way when the cache is flushed."""

    def test_response_that_was_asked_for_before(self) -> None:
        """A response to a request that was sent before a flush is delivered, but not cached."""
        client = self.ask()
        self.world.clock.advance(1)
        self.cache.flush()
        self.answer()
        self.assertIsNotNone(client.delivered)
        self.ask()
        self.assertEqual(len(self.world.upstreams.sent), 2)
        self.world.clock.advance(1)
        self.ask(target(0, 110))
        self.answer(matrix(0, 110))
        self.ask(target(0, 110))
        self.assertEqual(len(self.world.upstreams.sent), 3)

    def test_requests_after_a_flush_join_none_from_before(self) -> None:
        """They want what the servers have now; two of them share a fetch, whatever becomes of the older one."""
        self.ask()
        self.world.clock.advance(1)
        self.cache.flush()
        self.world.clock.advance(1)
        self.ask()
        self.assertEqual(len(self.world.upstreams.sent), 2)
        self.world.upstreams.sent[0].answer.callback(FakeResponse(200, matrix(0, 120)))
        self.ask()
        self.assertEqual(len(self.world.upstreams.sent), 2)

    def test_part_that_was_asked_for_before(self) -> None:
        """The same holds for the steps that were missing."""
        self.ask()
        self.answer()
        self.ask(target(60, 130))
        self.world.clock.advance(1)
        self.cache.flush()
        self.answer(matrix(121, 130))
        self.ask(target(125, 130))
        self.assertEqual(len(self.world.upstreams.sent), 3)

    def test_part_that_joins_an_entry_made_after_the_flush(self) -> None:
        """Nor are its steps added to what was cached after the flush."""
        self.ask(target(60, 130))
        self.world.clock.advance(1)
        self.cache.flush()
        self.world.clock.advance(1)
        self.ask(target(0, 50))
        self.answer(matrix(0, 50))
        self.world.upstreams.sent[0].answer.callback(FakeResponse(200, matrix(60, 130)))
        self.world.clock.advance(0)
        self.ask(target(0, 50))
        self.assertEqual(len(self.world.upstreams.sent), 2)
        self.ask(target(70, 120))
        self.assertEqual(len(self.world.upstreams.sent), 3)


class ExplainTests(CacheCase):
    """``/mpp/explain``."""

    def reasons(self, of: bytes = target(), fields: tuple[tuple[bytes, bytes], ...] = ()) -> tuple[str, ...]:
        """Return the reasons that begin with those about the cache."""
        context, info = self.world.forwarder.context, RequestInfo(b"GET", of, fields, b"", "203.0.113.9")
        affinity = AffinityChain((CookieAffinity(),))
        suspects = SuspectQueries(lambda: 0.0)
        found = explain(info, self.world.selections.current, affinity, Settings(), 1000.0, suspects, unplanned)
        return with_cache(found, context, info).reasons[: -len(found.reasons)]

    def test_new_query(self) -> None:
        """A query that is not cached is said to be new; which of its steps will be cached is said, too."""
        self.assertEqual(
            self.reasons(),
            (
                "None of its 121 steps is cached: new query.",
                "A step is cached if it reads no sample that is newer than 1m.",
            ),
        )

    def test_cached_steps(self) -> None:
        """The cached steps are counted, and nothing changes by that."""
        self.ask()
        self.answer()
        before = self.cache.state
        self.assertEqual(self.reasons()[0], "121 of its 121 steps are cached, and no server is asked.")
        others = "61 of its 71 steps are cached, and servers are asked for the others only"
        self.assertEqual(self.reasons(target(60, 130))[0], f"{others}: first {A.name}, which has answered the newest of these.")
        self.world.selections.current = Selection(
            1, Choice((B,)), (Observation(A, Standing.DOWN), Observation(B, Standing.VIABLE))
        )
        self.assertEqual(self.reasons(target(60, 130))[0], f"{others}.")
        self.assertEqual(self.reasons(target(200, 210))[0], "None of its 11 steps is cached, only other steps of the same query.")
        self.assertEqual(
            self.reasons(fields=((b"Cache-Control", b"no-cache"),))[0],
            "121 of its 121 steps are cached, but the client wants none of them (no-cache).",
        )
        self.assertEqual(
            self.reasons(fields=((b"X-Tenant", b"b"),))[0],
            "None of its 121 steps is cached: cached with other values of x-tenant.",
        )
        self.assertEqual(self.cache.state, before)

    def test_uncached(self) -> None:
        """The reason why the cache is not used is given."""
        for of, why in (
            (b"/api/v1/query?query=up", "instant query"),
            (b"/api/v1/query_range?query=up&start=0&end=10", "its parameters are not understood"),
            (b"/graph", "its response is never shared"),
        ):
            self.assertEqual(self.reasons(of), (f"The cache is not used: {why}.",))
        self.assertEqual(self.reasons(fields=((b"Cache-Control", b"no-store"),)), ("The cache is not used: no-store.",))

    def test_without_a_cache(self) -> None:
        """Nothing is said about a cache that is off, or about requests that mpp answers itself."""
        self.assertEqual(self.reasons(b"/mpp/status"), ())
        self.world.reload()
        self.assertEqual(self.reasons(), ())
