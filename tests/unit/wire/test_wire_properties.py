"""
Properties of `mpp.wire.downstream.request_parser` and `mpp.wire.upstream.messages.response_parser`: whatever arrives, and however
it is cut, is read in one way.
"""

from __future__ import annotations

import itertools

from attrs import frozen
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Headers
from mpp.wire.downstream.request_limits import Limits
from mpp.wire.downstream.request_parser import Incoming, RequestParser
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.upstream.messages.response_parser import MalformedResponse, ResponseParser

LIMITS = Limits(max_body=64, max_head=100_000, small_body=0)

# Parts that are put together at random: most of what comes out is almost right, which is where readings differ.
LINES = (
    b"GET / HTTP/1.1",
    b"POST /p?q=%7B HTTP/1.1",
    b"HEAD / HTTP/1.0",
    b"GET /x HTTP/2.0",
    b"PRI * HTTP/2.0",
    b"GET http://a/ HTTP/1.1",
)
FIELDS = (
    b"Host: a",
    b"Host: a",
    b"Content-Length: 5",
    b"Content-Length: 0",
    b"Content-Length: 70",
    b"Content-Length: 5, 5",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: Upgrade",
    b"Upgrade: h2c",
    b"Expect: 100-continue",
    b"Expect: miracles",
    b"X-Folded: a\r\n b",
    b"X : a",
    b"X: \x00",
)
BODIES = (
    b"",
    b"hello",
    b"hello, world",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;a=b\r\nhello\r\n0\r\nTrailer: t\r\n\r\n",
    b"1\r\nh\r\n" * 5 + b"0\r\n\r\n",
    b"-5\r\nhello\r\n",
    b"ffffffffffffffffff\r\n",
    b"7f\r\n" + b"x" * 127,
    b"5\nhello\n0\n\n",
    b"0\r\n\r\n",
)
STATUS_LINES = (
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 304",
    b"HTTP/1.0 200 OK",
    b"HTTP/1.1 100 Continue",
    b"HTTP/1.1 101 S",
    b"HTTP/2.0 200 OK",
    b"HTTP/1.1 999 X",
    b"ICY 200 OK",
)
NEWLINES = st.sampled_from((b"\r\n",) * 20 + (b"\n", b"\r"))


def messages(starts: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """Return streams of messages, right and wrong."""
    head = st.tuples(st.sampled_from(starts), st.lists(st.sampled_from(FIELDS), max_size=4), NEWLINES)
    whole = st.tuples(head, st.sampled_from(BODIES)).map(
        lambda parts: parts[0][2].join((parts[0][0], *parts[0][1], b"", b"")) + parts[1]
    )
    return st.lists(st.one_of(whole, whole, st.binary(max_size=20)), min_size=1, max_size=4).map(b"".join)


CUTS = st.lists(st.integers(0, 400), max_size=12)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Cut into segments."""
    edges = sorted({0, *(min(each, len(data)) for each in at), len(data)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def each_byte(data: bytes) -> list[bytes]:
    """Cut into bytes."""
    return [data[at : at + 1] for at in range(len(data))]


@frozen
class Asked:
    """What was read of a client."""

    requests: tuple[Incoming, ...]
    refused: int
    over: bool
    owes_continue: bool


def ask(segments: list[bytes]) -> Asked:
    """Read as a server; the budget has to be as before in the end."""
    budget = MemoryBudget(10**6)
    reader = RequestParser(LIMITS, budget)
    for segment in segments:
        reader.feed(segment)
    asked = Asked(tuple(reader.ready), reader.rejection.status if reader.rejection else 0, reader.over, reader.owes_continue)
    held = sum(len(body) for _, _, _, _, body, _ in reader.ready)
    assert budget.buffered >= held, (budget, held)
    reader.close()
    assert budget.buffered == 0, budget
    return asked


@frozen
class Answered:
    """What was read of a backend."""

    status: int
    headers: Headers
    body: bytes
    ended: bool
    persistent: bool
    length: int | None


def answer(segments: list[bytes], *, head_only: bool) -> Answered | None:
    """Read as a client reads one answer, until its end; None if it is garbled or followed by something."""
    reader = ResponseParser()
    reader.expect(head_only=head_only)
    body = b""
    for segment in segments:
        try:
            reader.feed(segment)
        except MalformedResponse:
            return None
        if reader.pieces:
            body += reader.take()
    # A head with two faults may fail at once or when it is complete.
    if reader.excess or not reader.began:
        return None
    return Answered(
        reader.status,
        reader.headers,
        body,
        reader.ended,
        reader.ended and reader.persistent,
        reader.length,
    )


class RequestProperties(SynchronousTestCase):
    """What a client sends."""

    @given(messages(LINES), CUTS)
    @example(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", [70])
    def test_cuts_do_not_matter(self, data: bytes, at: list[int]) -> None:
        """However it is cut, the same requests are read, or refused in the same place with the same status."""
        whole = ask([data])
        self.assertEqual(ask(cut(data, at)), whole)
        self.assertEqual(ask(each_byte(data)), whole)

    @given(st.binary(max_size=200), CUTS)
    def test_any_bytes_are_parsed_alike_however_split(self, data: bytes, at: list[int]) -> None:
        """The same is true of anything at all."""
        self.assertEqual(ask(cut(data, at)), ask([data]))

    @given(messages(LINES))
    def test_no_request_is_ambiguous(self, data: bytes) -> None:
        """Whatever is passed on has one Host if it is HTTP/1.1, a path for a target, and one length at most."""
        for _, target, version, fields, _, _ in ask([data]).requests:
            names = [name.lower() for name, _ in fields]
            self.assertLessEqual(names.count(b"content-length") + names.count(b"transfer-encoding"), 1)
            self.assertEqual(target[:1], b"/")
            self.assertIn(version, (b"1.0", b"1.1"))
            self.assertEqual(names.count(b"host"), 1 if version == b"1.1" else min(1, names.count(b"host")))
            self.assertFalse(any(byte in value for _, value in fields for byte in (b"\r", b"\n", b"\x00")))


class AnswerProperties(SynchronousTestCase):
    """What a backend sends."""

    @given(messages(STATUS_LINES), CUTS, st.booleans())
    def test_cuts_do_not_matter(self, data: bytes, at: list[int], head_only: bool) -> None:
        """However it is cut, the same answer is read, or the connection found to be of no use."""
        whole = answer([data], head_only=head_only)
        self.assertEqual(answer(cut(data, at), head_only=head_only), whole)
        self.assertEqual(answer(each_byte(data), head_only=head_only), whole)

    @given(st.binary(max_size=200), CUTS, st.booleans())
    def test_any_response_is_parsed_alike_however_split(self, data: bytes, at: list[int], head_only: bool) -> None:
        """The same is true of anything at all."""
        self.assertEqual(answer(cut(data, at), head_only=head_only), answer([data], head_only=head_only))
