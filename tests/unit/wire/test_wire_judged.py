"""Tests of `mpp.wire.downstream.early_rejection`: requests that are refused by their heads."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Headers
from mpp.wire.downstream.early_rejection import EarlyRejectionChannel
from mpp.wire.downstream.timeouts import BODY_S, LINGER_S
from tests.unit.wire.test_wire_server import CHUNKS, get, post
from tests.wire_support import GET, PromptRequest, RecordingRequest, ServerSide

REFUSED = b"HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Judged(RecordingRequest):
    """A request about which the test decides."""

    head: tuple[bytes, bytes, bytes, Headers] | None = None

    def announced(self, method: bytes, target: bytes, version: bytes, headers: Headers) -> None:
        self.head = (method, target, version, headers)

    def admit(self) -> None:
        self.channel.admit()  # type: ignore[attr-defined]

    def refuse(self) -> None:
        self.answer(REFUSED)


class Admitted(Judged, PromptRequest):
    """A request that is let through at once, and answered at once."""

    def announced(self, method: bytes, target: bytes, version: bytes, headers: Headers) -> None:
        super().announced(method, target, version, headers)
        self.admit()


class Refused(Judged, PromptRequest):
    """A request that is refused at once."""

    def announced(self, method: bytes, target: bytes, version: bytes, headers: Headers) -> None:
        super().announced(method, target, version, headers)
        self.refuse()


class JudgedTests(SynchronousTestCase):
    """A request whose body is still to come."""

    def side(self, request: type[Judged] = Judged, **how: Any) -> ServerSide:
        return ServerSide(request, kind=EarlyRejectionChannel, **how)

    def test_nothing_is_read_while_undecided(self) -> None:
        """While it is not decided nothing is read, and nobody is encouraged to send."""
        side = self.side()
        side.receive(post(5, b"Expect: 100-continue"))
        ((method, target, version, fields),) = [request.head for request in side.requests]  # type: ignore[attr-defined]
        self.assertEqual((method, target, version, fields[0]), (b"POST", b"/", b"1.1", (b"Host", b"a")))
        self.assertEqual((side.sent, side.reading), (b"", False))

    def test_admitted_body_is_read(self) -> None:
        """When it is let through its body is read, and it is received by the same request."""
        for expectation, sent in ((b"Expect: 100-continue", CONTINUE), (b"X: y", b"")):
            side = self.side()
            side.receive(post(5, expectation))
            side.requests[0].admit()  # type: ignore[attr-defined]
            self.assertEqual((side.sent, side.reading), (sent, True))
            side.receive(b"hel", b"lo")
            (request,) = side.requests
            self.assertEqual((request.incoming[0], request.incoming[-1]), (b"POST", b"hello"))
            request.answer(b"answer")
            self.assertEqual((side.sent, side.transport.disconnecting, side.reading), (sent + b"answer", False, True))
            self.assertEqual(side.budget.buffered, 0)

    def test_rejected_client_reads_why_without_continue(self) -> None:
        """When it is refused its client reads why, and is never told to go on; the connection ends, and nothing is kept."""
        for late in (False, True):
            side = self.side(Judged if late else Refused)
            side.receive(post(9, b"Expect: 100-continue"), b"hello")
            if late:
                side.requests[0].refuse()  # type: ignore[attr-defined]
            self.assertEqual((side.sent, side.transport.half_closed, side.reading), (REFUSED, True, True))
            self.assertFalse(side.channel.persistent)
            side.receive(b"more" * 1000)
            self.assertEqual((len(side.requests), side.requests[0].incoming[0], side.budget.buffered), (1, b"", 0))
            side.clock.advance(LINGER_S)
            side.channels.check_timeouts(60)
            self.assertTrue(side.transport.aborted)

    def test_chunked_body_is_not_read_while_undecided(self) -> None:
        """A body of unknown length is not read either."""
        side = self.side(Refused)
        side.receive(CHUNKS + b"5\r\nhello\r\n")
        self.assertEqual((side.sent, side.budget.buffered), (REFUSED, 0))

    def test_complete_request_is_judged_once(self) -> None:
        """A request that arrives whole is received as ever, and asked about once."""
        side = self.side()
        side.receive(GET)
        side.requests[0].answer()
        side.receive(post(5) + b"hello")
        self.assertEqual([request.head for request in side.requests], [None, None])  # type: ignore[attr-defined]
        self.assertEqual(side.requests[1].incoming[-1], b"hello")

    def test_in_turn(self) -> None:
        """It is decided when the earlier ones are answered; until then no more of it is read."""
        side = self.side()
        side.receive(get(b"/1") + post(5, b"Expect: 100-continue"))
        self.assertEqual((len(side.requests), side.reading), (1, False))
        side.requests[0].answer()
        self.assertEqual((len(side.requests), side.sent), (2, b"</1>"))

    def test_rest_had_arrived(self) -> None:
        """What had arrived before reading stopped is answered in its order once the first is let through."""
        side = self.side()
        side.receive(post(5), b"hello" + get(b"/2") + post(5))
        first = side.requests[0]
        first.admit()  # type: ignore[attr-defined]
        self.assertEqual(first.incoming[-1], b"hello")
        first.answer(b"1")
        side.requests[1].answer()
        self.assertEqual([request.head is None for request in side.requests], [False, True, False])  # type: ignore[attr-defined]
        self.assertEqual((side.sent, side.reading), (b"1</2>", False))

    def test_client_gone(self) -> None:
        """A client that goes away meanwhile is told of, once, and nothing happens any more."""
        side = self.side()
        side.receive(post(5))
        side.disconnect()
        request: Any = side.requests[0]
        request.admit()
        request.channel.request_done()
        self.assertEqual((len(request.lost), side.sent, side.budget.buffered, len(side.channels)), (1, b"", 0, 0))

    def test_decision_time_is_not_counted_against_the_client(self) -> None:
        """How long a decision takes is not counted against the client; how long the body takes is."""
        side = self.side()
        side.receive(post(5, b"Expect: 100-continue"))
        side.clock.advance(2 * BODY_S)
        side.channels.check_timeouts(60)
        self.assertEqual(side.sent, b"")
        side.requests[0].admit()  # type: ignore[attr-defined]
        side.clock.advance(BODY_S - 1)
        side.channels.check_timeouts(60)
        self.assertEqual(side.sent, CONTINUE)
        side.clock.advance(2)
        side.channels.check_timeouts(60)
        self.assertIn(b" 408 ", side.sent)

    def test_no_more_to_come(self) -> None:
        """A client that has closed its sending side in mid-body is not judged."""
        side = self.side()
        side.receive(GET + post(5))
        side.channel.readConnectionLost()
        side.requests[0].answer()
        self.assertEqual((len(side.requests), side.transport.disconnecting), (1, True))

    @given(st.lists(st.integers(0, 500), max_size=12))
    def test_segments_do_not_matter(self, at: list[int]) -> None:
        """However the bytes are cut on their way, the answers are the same when all is let through."""
        stream = get(b"/1") + post(5) + b"hello" + CHUNKS + b"1\r\na\r\n0\r\n\r\n" + get(b"/5") + b"garbage\r\n\r\n"
        side = self.side(Admitted)
        edges = [0, *sorted(min(each, len(stream)) for each in at), len(stream)]
        side.receive(*(stream[start:end] for start, end in itertools.pairwise(edges)))
        self.assertTrue(side.sent.startswith(b"</1></></></5>HTTP/1.1 400 "), side.sent)
        self.assertEqual(side.budget.buffered, 0)
