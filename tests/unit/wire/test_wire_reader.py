"""Tests of `mpp.wire.downstream.request_parser` and `mpp.wire.downstream.arrivals`: from bytes to requests."""

from __future__ import annotations

import itertools
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.wire.downstream.request_limits import FIELD_COST, MAX_FIELDS, REQUEST_COST, Limits
from mpp.wire.downstream.request_parser import RequestParser
from mpp.wire.memory_budget import MemoryBudget

PIPELINE = (
    b"GET /1?a=b HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nx-one: 2\r\n\r\n"
    b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nquery=up{x}"
    b"\r\n"
    b"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\n"
    b"GET /4 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
    b"HEAD /5 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    b"GET /6 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
)
WHOLE = Limits(max_body=1000, small_body=0)


def reader(limits: Limits = WHOLE, budget: int = 10**6) -> RequestParser:
    return RequestParser(limits, MemoryBudget(budget))


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Cut into segments."""
    edges = [0, *sorted(at), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


class RequestReaderTests(SynchronousTestCase):
    """From bytes to requests."""

    def test_absolute_form(self) -> None:
        """A request in absolute-form is read as one in origin-form; without a Host field it is refused as any other is."""
        reading = reader()
        reading.feed(b"GET http://b:1/x?y HTTP/1.1\r\nHost: a\r\n\r\n")
        method, target, _, fields, _, _ = reading.ready[0]
        self.assertEqual((method, target, fields), (b"GET", b"/x?y", ((b"Host", b"b:1"),)))
        reading = reader()
        reading.feed(b"GET http://b:1/x?y HTTP/1.1\r\n\r\n")
        self.assertEqual(reading.rejection and reading.rejection.status, 400)

    def test_requests_have_their_fields_as_sent(self) -> None:
        """Requests are given whole, with their fields as sent and their bodies decoded."""
        subject = reader()
        subject.feed(PIPELINE)
        one, two, three, four, five, six = subject.ready
        self.assertEqual(one, (b"GET", b"/1?a=b", b"1.1", ((b"Host", b"a"), (b"X-One", b"1"), (b"x-one", b"2")), b"", True))
        method, _, _, _, body, _ = two
        self.assertEqual((method, body), (b"POST", b"query=up{x}"))
        _, _, _, fields, body, _ = three
        self.assertEqual((fields[-1], body), ((b"Transfer-Encoding", b"chunked"), b"hello world"))
        _, target, _, _, _, persistent = four
        self.assertEqual((target, persistent), (b"/4", True))
        method, _, version, _, _, persistent = five
        self.assertEqual((method, version, persistent), (b"HEAD", b"1.0", True))
        _, target, _, _, _, persistent = six
        self.assertEqual((target, persistent), (b"/6", False))
        self.assertIsNone(subject.rejection)

    @given(st.lists(st.integers(0, len(PIPELINE)), max_size=20))
    def test_segments_do_not_matter(self, at: list[int]) -> None:
        """However the bytes are cut on their way, the requests are the same."""
        whole, parts = reader(), reader()
        whole.feed(PIPELINE)
        for segment in cut(PIPELINE, at):
            parts.feed(segment)
        self.assertEqual(list(parts.ready), list(whole.ready))
        self.assertTrue(parts.over)

    def test_byte_by_byte(self) -> None:
        """Requests that come byte by byte are the same as those that come at once."""
        whole, parts = reader(), reader()
        whole.feed(PIPELINE)
        for segment in cut(PIPELINE, list(range(1, len(PIPELINE)))):
            parts.feed(segment)
        self.assertEqual(list(parts.ready), list(whole.ready))

    @given(st.binary(max_size=300))
    def test_never_raises(self, data: bytes) -> None:
        """Whatever a client sends is read as requests or refused; nothing is raised, and no memory stays taken."""
        for prefix in (
            b"",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n",
        ):
            budget = MemoryBudget(10**6)
            subject = RequestParser(WHOLE, budget)
            subject.feed(prefix)
            subject.feed(data)
            subject.close()
            self.assertEqual(budget.buffered, 0)

    def test_nothing_after_the_last(self) -> None:
        """What follows a request that was announced as the last is neither a request nor an error."""
        subject = reader()
        subject.feed(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        subject.feed(b"garbage")
        self.assertEqual(len(subject.ready), 1)
        self.assertTrue(subject.surplus)
        self.assertIsNone(subject.rejection)

    def test_large_head(self) -> None:
        """A head over the limit is refused before it is complete."""
        subject = reader(Limits(max_head=100))
        subject.feed(b"GET /" + b"a" * 200)
        assert subject.rejection is not None
        self.assertEqual(subject.rejection.status, 431)

    def test_endless_trailers(self) -> None:
        """Trailers count as head, so that they cannot fill the memory."""
        subject = reader(Limits(max_head=1000))
        subject.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        for _ in range(100):
            subject.feed(b"X-Trailer: aaaaaaaaaaa\r\n")
        assert subject.rejection is not None
        self.assertEqual(subject.rejection.status, 431)

    def test_large_body_in_chunks(self) -> None:
        """A chunked body is refused as soon as it is over the limit, and its memory is given back."""
        budget = MemoryBudget(10_000)
        subject = RequestParser(Limits(max_body=8), budget)
        subject.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        self.assertGreater(budget.buffered, 5)
        subject.feed(b"5\r\nworld\r\n")
        assert subject.rejection is not None
        self.assertEqual((subject.rejection.status, budget.buffered), (413, 0))

    def test_tiny_chunks(self) -> None:
        """A body in chunks of one byte is taken: its framing does not count as head."""
        subject = reader(Limits(max_head=1000, max_body=5000))
        subject.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(5000):
            subject.feed(b"01\r\nx\r\n")
        subject.feed(b"0\r\n\r\n")
        _, _, _, _, body, _ = subject.ready[0]
        self.assertEqual(body, b"x" * 5000)

    def test_padded_chunks(self) -> None:
        """What frames a body may not be many times its size."""
        for filler in (b"0" * 20 + b"1\r\nx\r\n", b"1;" + b"e" * 20 + b"\r\nx\r\n"):
            subject = reader(Limits(max_head=1000, max_body=5000))
            subject.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(1000):
                subject.feed(filler)
            assert subject.rejection is not None
            self.assertIn(subject.rejection.status, (400, 431))

    def test_small_pieces_take_little(self) -> None:
        """A body that comes in small pieces takes no more memory than one that comes at once."""
        subject = reader(Limits(max_body=300_000))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        subject.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100_000):
            subject.feed(b"2\r\nxy\r\n")
        self.assertLess(tracemalloc.get_traced_memory()[0], 500_000)

    def test_many_fields(self) -> None:
        """A head or trailer of very many fields is refused: they take far more memory than their bytes."""
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        for before, after in ((head, b""), (head, b"\r\n"), (head + b"\r\n0\r\n", b"")):
            subject = reader()
            subject.feed(before + b"A:\r\n" * (MAX_FIELDS + 1) + after)
            assert subject.rejection is not None, before
            self.assertEqual((subject.rejection.status, len(subject.ready)), (431, 0))

    def test_small_body(self) -> None:
        """A small body that arrives whole, as that of a usual query does, counts no more than its head; otherwise it counts."""
        budget = MemoryBudget(10**6)
        data = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
        for size, segments, counts in ((4096, 1, False), (4097, 1, True), (4096, 2, True)):
            subject = RequestParser(Limits(), budget)
            request = data % size + b"x" * size
            for segment in cut(request, [len(request) // 2] if segments == 2 else []):
                subject.feed(segment)
            self.assertEqual((len(subject.ready), budget.buffered > 0), (1, counts), (size, segments))
            subject.close()
            self.assertEqual(budget.buffered, 0)

    def test_exhausted_budget(self) -> None:
        """A body for which there is no memory left is refused, not kept."""
        subject = reader(budget=4)
        subject.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        assert subject.rejection is not None
        self.assertEqual(subject.rejection.status, 503)

    def test_body_rule(self) -> None:
        """How large a body may be can depend on the target; what it says counts for chunks, too."""
        limits = Limits(max_body=100, body_rule=lambda target, otherwise: 3 if target == b"/page" else otherwise)
        for head, body, status in (
            (b"POST /page HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", b"abc", 0),
            (b"POST /page HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", b"", 413),
            (b"POST /page HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n", 0),
            (b"POST /page HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n1\r\n", 0),
            (b"POST /page HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n1\r\nd", 413),
            (b"POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n", b"", 0),
        ):
            subject = reader(limits)
            subject.feed(head + body)
            self.assertEqual(subject.rejection.status if subject.rejection else 0, status, (head, body))

    def test_long_lists(self) -> None:
        """A field that is taken apart is bounded, also behind other requests; one that is passed on is not."""
        for field, status in (
            (b"Cookie: " + b";" * 20_000, 431),
            (b"Connection: " + b"a," * 10_000, 431),
            (b"X: " + b";" * 20_000, 0),
        ):
            for before in range(3):
                subject = reader()
                subject.feed(
                    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * before + b"GET / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n"
                )
                self.assertEqual(subject.rejection.status if subject.rejection else 0, status, (field[:10], before))
                self.assertEqual(len(subject.ready), before + (status == 0))

    def test_small_heads_are_not_held(self) -> None:
        """A request that arrives whole, has no body, and waits behind no other, holds nothing."""
        budget = MemoryBudget(0)
        subject = RequestParser(Limits(), budget)
        for _ in range(3):
            subject.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertEqual((len(subject.ready), subject.rejection, budget.buffered), (1, None, 0))
            subject.take()

    def test_whole_requests_are_held(self) -> None:
        """What one segment brings counts for what it takes in memory: many fields, a large head, many requests."""
        start = b"GET / HTTP/1.1\r\nHost: a\r\n"
        small_fields = start + b"".join(b"x%d: %d\r\n" % (n, n) for n in range(900)) + b"\r\n"
        for segment in (small_fields, small_fields * 16, start + b"a: " + b"b" * 50_000 + b"\r\n\r\n", (start + b"\r\n") * 2400):
            budget = MemoryBudget(10**8)
            subject = RequestParser(Limits(), budget)
            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
            subject.feed(segment)
            taken = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            self.assertLess(taken, 1.2 * budget.buffered)
            self.assertLess(budget.buffered, 3 * taken)
            while subject.ready:
                holding = subject.take()[1]
                if holding is not None:
                    budget.release(holding)
            self.assertEqual(budget.buffered, 0)

    def test_too_many_at_once(self) -> None:
        """Requests in one segment for which there is no memory are refused, and those before them are answered."""
        budget = MemoryBudget(100_000)
        subject = RequestParser(Limits(), budget)
        subject.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2400)
        self.assertEqual(subject.rejection and subject.rejection.status, 503)
        self.assertGreater(len(subject.ready), 50)
        self.assertLessEqual(budget.buffered, budget.share)
        subject.close()
        self.assertEqual(budget.buffered, 0)

    def test_heads_are_held(self) -> None:
        """A head counts from its first byte while it arrives, and until its request is answered."""
        budget = MemoryBudget(10**6)
        subject = RequestParser(Limits(), budget)
        for segment, least in ((b"GET /", 5), (b"?" + b"a" * 1000, 1006), (b" HTTP/1.1\r\nHost: a\r\nX: " + b"b" * 500, 1500)):
            subject.feed(segment)
            self.assertGreaterEqual(budget.buffered, least)
            self.assertLess(budget.buffered, least + 300)
        subject.feed(b"\r\n\r\n")
        _, holding = subject.take()
        assert holding is not None
        subject.close()
        self.assertGreaterEqual(budget.buffered, 1500)
        budget.release(holding)
        self.assertEqual(budget.buffered, 0)

    def test_small_fields_take_more_than_their_bytes(self) -> None:
        """Fields of a few bytes are held for what they really take."""
        budget = MemoryBudget(10**6)
        subject = RequestParser(Limits(), budget)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        subject.feed(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"x%d: %d\r\n" % (n, n) for n in range(900)))
        taken = tracemalloc.get_traced_memory()[0]
        self.assertLess(taken, 1.2 * budget.buffered)
        self.assertLess(budget.buffered, 2 * taken)

    def test_surplus_is_held(self) -> None:
        """What has come of a request behind another one in the same segment counts, too."""
        budget = MemoryBudget(10**6)
        subject = RequestParser(Limits(), budget)
        subject.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nX: " + b"b" * 50_000)
        self.assertGreaterEqual(budget.buffered, 50_000)
        (_, holding), _ = subject.take(), subject.feed(b"\r\n\r\n")
        assert holding is not None
        self.assertLess(holding.size, 1000)
        budget.release(holding)
        _, holding = subject.take()
        assert holding is not None
        self.assertGreaterEqual(holding.size, 50_000)
        budget.release(holding)
        self.assertEqual(budget.buffered, 0)

    def test_in_step(self) -> None:
        """Of several requests in one segment each has what it holds itself."""
        budget = MemoryBudget(10**6)
        subject = RequestParser(WHOLE, budget)
        get, post = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
        subject.feed(get + get + post % 3 + b"abc" + get + post % 2 + b"ab" + get)
        sizes = []
        while subject.ready:
            (_, _, _, _, body, _), holding = subject.take()
            sizes.append((len(body), 0 if holding is None else holding.size - len(body)))
        waiting, waiting_post = REQUEST_COST + 10 + FIELD_COST, REQUEST_COST + 29 + 2 * FIELD_COST
        expected = [(0, 0), (0, waiting), (3, waiting_post), (0, waiting), (2, waiting_post), (0, waiting)]
        self.assertEqual(sizes, expected)
        self.assertEqual(budget.buffered, sum(map(sum, expected)))

    def test_slow_heads_give_way(self) -> None:
        """Heads that moved least give way to one that arrives; then nothing of them stays taken."""
        clock = Clock()
        budget = MemoryBudget(250_000, clock.seconds)
        refused: list[int] = []
        readers = []
        for number in range(3):
            readers.append(
                RequestParser(Limits(), budget, lambda headers, name=str(number): name, lambda n=number: refused.append(n))
            )
            readers[-1].feed(b"GET /?" + b"a" * 100_000)
            clock.advance(1)
        self.assertEqual([each.rejection and each.rejection.status for each in readers], [503, None, None])
        self.assertEqual(refused, [0])
        self.assertGreater(budget.buffered, 200_000)
        for each in readers:
            each.close()
        self.assertEqual(budget.buffered, 0)

    def test_arriving_bytes_count_for_the_client_of_the_head(self) -> None:
        """What arrives is held for the peer, and when the head tells whose it is, for that client."""
        budget = MemoryBudget(10**6)
        subject = RequestParser(Limits(), budget, lambda headers: dict(headers).get(b"For", b"peer").decode())
        subject.feed(b"POST / HTTP/1.1\r\nHost: a\r\nFor: client\r\n")
        self.assertGreater(budget.buffered_by("peer"), 0)
        subject.feed(b"Content-Length: 100\r\n\r\nabc")
        self.assertEqual((budget.buffered_by("peer"), budget.buffered_by("client")), (0, budget.buffered))
        subject.feed(b"d" * 97 + b"POST / HTTP/1.1\r\nHost: a\r\nFor: other\r\nContent-Length: 3\r\n\r\nabc")
        self.assertEqual((budget.buffered_by("peer"), budget.buffered_by("other")), (0, 3 + REQUEST_COST + 41 + 3 * FIELD_COST))
        subject.close()
        self.assertEqual(budget.buffered, 0)

    def test_upgrade_with_a_body(self) -> None:
        """A request to upgrade that has a body is refused: the parser would take the body for another protocol."""
        subject = reader()
        subject.feed(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nabc")
        assert subject.rejection is not None
        self.assertEqual((subject.rejection.status, len(subject.ready)), (400, 0))
