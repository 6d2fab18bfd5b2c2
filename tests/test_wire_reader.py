"""Tests of `mpp.wire.reader` and `mpp.wire.budget`: from bytes to requests."""

from __future__ import annotations

import itertools
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.wire.budget import Budget
from mpp.wire.reader import MAX_FIELDS, Limits, RequestReader

PIPELINE = (
    b"GET /1?a=b HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nx-one: 2\r\n\r\n"
    b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nquery=up{x}"
    b"\r\n"
    b"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\n"
    b"GET /4 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
    b"HEAD /5 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    b"GET /6 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
)
WHOLE = Limits(max_body=1000)


def reader(limits: Limits = WHOLE, budget: int = 10**6) -> RequestReader:
    return RequestReader(limits, Budget(budget))


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Cut into segments."""
    edges = [0, *sorted(at), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


class BudgetTests(SynchronousTestCase):
    """The memory all requests share."""

    def test_limit(self) -> None:
        """What would pass the limit is not taken; what is given back can be taken again."""
        budget = Budget(10)
        self.assertTrue(budget.take(10))
        self.assertFalse(budget.take(1))
        budget.give(4)
        self.assertTrue(budget.take(4))
        self.assertEqual(repr(budget), "<Budget 10 of 10>")

    def test_overdraw(self) -> None:
        """What is in memory already is counted even when it passes the limit."""
        budget = Budget(1)
        budget.overdraw(5)
        self.assertFalse(budget.take(1))
        self.assertEqual(budget.held, 5)


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
        self.assertEqual(reading.refusal and reading.refusal.status, 400)

    def test_requests(self) -> None:
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
        self.assertIsNone(subject.refusal)

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
            budget = Budget(10**6)
            subject = RequestReader(WHOLE, budget)
            subject.feed(prefix)
            subject.feed(data)
            subject.close()
            self.assertEqual(budget.held, 0)

    def test_nothing_after_the_last(self) -> None:
        """What follows a request that was announced as the last is neither a request nor an error."""
        subject = reader()
        subject.feed(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        subject.feed(b"garbage")
        self.assertEqual(len(subject.ready), 1)
        self.assertTrue(subject.surplus)
        self.assertIsNone(subject.refusal)

    def test_large_head(self) -> None:
        """A head over the limit is refused before it is complete."""
        subject = reader(Limits(max_head=100))
        subject.feed(b"GET /" + b"a" * 200)
        assert subject.refusal is not None
        self.assertEqual(subject.refusal.status, 431)

    def test_endless_trailers(self) -> None:
        """Trailers count as head, so that they cannot fill the memory."""
        subject = reader(Limits(max_head=1000))
        subject.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        for _ in range(100):
            subject.feed(b"X-Trailer: aaaaaaaaaaa\r\n")
        assert subject.refusal is not None
        self.assertEqual(subject.refusal.status, 431)

    def test_large_body_in_chunks(self) -> None:
        """A chunked body is refused as soon as it is over the limit, and its memory is given back."""
        budget = Budget(1000)
        subject = RequestReader(Limits(max_body=8), budget)
        subject.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        self.assertEqual(budget.held, 5)
        subject.feed(b"5\r\nworld\r\n")
        assert subject.refusal is not None
        self.assertEqual((subject.refusal.status, budget.held), (413, 0))

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
            assert subject.refusal is not None
            self.assertIn(subject.refusal.status, (400, 431))

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
            assert subject.refusal is not None, before
            self.assertEqual((subject.refusal.status, len(subject.ready)), (431, 0))

    def test_exhausted_budget(self) -> None:
        """A body for which there is no memory left is refused, not kept."""
        subject = reader(budget=4)
        subject.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        assert subject.refusal is not None
        self.assertEqual(subject.refusal.status, 503)

    def test_large_heads_are_held(self) -> None:
        """Large heads count while they arrive, and are refused when there is no memory for them; then nothing stays taken."""
        budget = Budget(250_000)
        readers = [RequestReader(Limits(), budget) for _ in range(3)]
        for each in readers:
            each.feed(b"GET /?" + b"a" * 100_000)
        self.assertEqual([each.refusal and each.refusal.status for each in readers], [None, None, 503])
        self.assertGreater(budget.held, 200_000)
        readers[0].feed(b" HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(len(readers[0].ready), 1)
        readers[1].close()
        self.assertEqual(budget.held, 0)

    def test_upgrade_with_a_body(self) -> None:
        """A request to upgrade that has a body is refused: the parser would take the body for another protocol."""
        subject = reader()
        subject.feed(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nabc")
        assert subject.refusal is not None
        self.assertEqual((subject.refusal.status, len(subject.ready)), (400, 0))
