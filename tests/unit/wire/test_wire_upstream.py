"""
Tests of `mpp.wire.upstream.connection`, `mpp.wire.upstream.messages.response_parser` and `mpp.wire.upstream.messages.response`:
one connection to a backend.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.interfaces import IResponse
from mpp.core.model import Headers
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.upstream.connection import UpstreamConnection
from mpp.wire.upstream.messages.response import MAX_PIECE
from tests.wire_support import CLEAN, GET, RESET, Consumer, Keeping, Transport

OK = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\n\r\n"


def sized(size: int) -> bytes:
    """Return the head of an answer with a body of that size."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size


class Upstream(Keeping):
    """A connection over a Transport, and its keeper."""

    def __init__(self, budget: int = 10**6) -> None:
        self.ended: list[bool] = []
        self.gone = 0
        self.fired: list[Any] = []
        self.budget = MemoryBudget(budget)
        self.transport = Transport()
        self.connection = UpstreamConnection()
        self.connection.makeConnection(self.transport)
        self.connection.adopt(self, self.budget)

    def exchange_ended(self, connection: UpstreamConnection, reusable: bool) -> None:
        self.ended.append(reusable)

    def connection_closed(self, connection: UpstreamConnection) -> None:
        self.gone += 1

    @property
    def reading(self) -> bool:
        return self.transport.producerState == "producing"

    @property
    def response(self) -> Any:
        (response,) = self.fired
        return response

    @property
    def error(self) -> tuple[Phase, Cause, bool]:
        (failure,) = self.fired
        return failure.value.phase, failure.value.cause, failure.value.stale

    def ask(
        self, head: bytes = GET, body: bytes = b"", hold: int = 10**5, may_hold: Callable[[int, Headers], bool] | None = None
    ) -> Any:
        self.fired.clear()
        return self.connection.send(head, body, hold, may_hold).addBoth(self.fired.append)

    def receive(self, *segments: bytes) -> None:
        for segment in segments:
            self.connection.dataReceived(segment)

    def disconnect(self, reason: Failure = CLEAN) -> None:
        self.connection.connectionLost(reason)


class AskingTests(SynchronousTestCase):
    """What is sent."""

    def test_one_write(self) -> None:
        """Head and body go out as they are."""
        up = Upstream()
        up.ask(b"POST / HTTP/1.1\r\n\r\n", b"body")
        self.assertEqual(up.transport.value(), b"POST / HTTP/1.1\r\n\r\nbody")

    def test_large_body(self) -> None:
        """A large body goes out whole, too."""
        for size in (20_000, 200_000):
            up = Upstream()
            up.ask(b"POST / HTTP/1.1\r\n\r\n", b"b" * size)
            self.assertEqual(len(up.transport.value()), 19 + size)
            self.assertIsNone(up.transport.producer)

    def test_answer_before_the_request_is_sent(self) -> None:
        """A connection on which the answer overtook the request is not used again."""
        up = Upstream()

        class Slow(Transport):
            def writeSequence(self, data: Any) -> None:
                self.producer.pauseProducing()

        up.connection.makeConnection(Slow())
        up.ask(b"POST / HTTP/1.1\r\n\r\n", b"b" * 200_000)
        up.receive(OK)
        self.assertEqual((up.response.complete, up.ended), (True, [False]))
        self.assertTrue(up.connection.transport.aborted)


class WholeAnswerTests(SynchronousTestCase):
    """Answers that are held until they are complete."""

    def test_response_has_its_fields_body_and_length(self) -> None:
        """An answer is given with its fields as sent, its whole body and its length."""
        up = Upstream()
        up.ask()
        up.receive(OK)
        response = up.response
        verifyObject(IResponse, response)
        self.assertEqual((response.status, response.reason), (200, b"OK"))
        self.assertEqual(response.headers, ((b"Content-Type", b"a/b"), (b"Content-Length", b"5")))
        self.assertEqual((response.buffered, response.complete, response.length), ([b"hello"], True, 5))
        self.assertEqual(repr(response), "<Response 200 complete, 5 bytes buffered>")
        self.assertEqual(up.ended, [True])

    def test_buffered_bytes_count_until_released(self) -> None:
        """What is held is counted until it is released; releasing twice gives back once."""
        up = Upstream()
        up.ask()
        up.receive(OK)
        self.assertEqual(up.budget.buffered, 5)
        up.response.release()
        up.response.release()
        self.assertEqual((up.budget.buffered, up.response.buffered), (0, []))

    @given(st.lists(st.integers(0, 200), max_size=12), st.sampled_from([True, False]))
    def test_segments_do_not_matter(self, at: list[int], chunked: bool) -> None:
        """However the bytes are cut on their way, the answer is the same."""
        coded = CHUNKED + b"5\r\nhello\r\n1;x=y\r\n \r\n5\r\nworld\r\n0\r\nX-Trailer: t\r\n\r\n"
        stream = coded if chunked else sized(11) + b"hello world"
        up = Upstream()
        for _ in range(2):
            up.ask()
            edges = [0, *sorted(min(each, len(stream)) for each in at), len(stream)]
            up.receive(*(stream[start:end] for start, end in itertools.pairwise(edges) if end > start))
            self.assertEqual((b"".join(up.response.buffered), up.response.length), (b"hello world", 11))
            self.assertEqual(len(up.response.headers), 1)
        self.assertEqual(up.ended, [True, True])

    def test_interim_responses_are_skipped(self) -> None:
        """1xx answers are passed over; their fields are not mixed with the final ones."""
        up = Upstream()
        up.ask()
        up.receive(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
        self.assertEqual((up.response.status, up.response.reason, len(up.response.headers)), (200, b"OK", 2))
        self.assertTrue(up.connection.alive)

    def test_response_to_head_has_no_body(self) -> None:
        """No body follows an answer to HEAD; if it announces none, the connection serves the next request."""
        up = Upstream()
        for _ in range(2):
            up.ask(b"HEAD / HTTP/1.1\r\n\r\n")
            up.receive(sized(0))
            self.assertEqual((up.response.complete, up.response.buffered, up.response.length), (True, [], 0))
        up.ask()
        up.receive(OK)
        self.assertEqual((up.response.buffered, up.ended), ([b"hello"], [True, True, True]))

    def test_announced_body_that_must_not_follow_ends_the_connection(self) -> None:
        """If it may come later nevertheless, it is never read as the answer to the next request."""
        for request, status, announced in itertools.product(
            (b"HEAD / HTTP/1.1\r\n\r\n", GET), (200, 204, 304), (b"Content-Length: 5", b"Transfer-Encoding: chunked")
        ):
            if request == GET and status == 200:
                continue
            up = Upstream()
            up.ask(request)
            up.receive(b"HTTP/1.1 %d x\r\n%b\r\n\r\n" % (status, announced))
            self.assertEqual((up.response.complete, up.response.buffered, up.response.length), (True, [], 0))
            self.assertEqual((up.ended, up.connection.alive, up.transport.disconnecting), ([False], False, True))
            up.receive(OK)
            self.assertEqual(len(up.ended), 1)

    def test_bytes_behind_a_response_are_not_delivered(self) -> None:
        """The body of a second answer in the segment in which the first one ends is not added to the first one's."""
        second = sized(4) + b"EVIL"
        for first, request, body in (
            (OK, GET, b"hello"),
            (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", GET, b"hello"),
            (OK.replace(b"\r\n", b"\n"), GET, b"hello"),
            (sized(0), GET, b""),
            (b"HTTP/1.1 204 x\r\n\r\n", GET, b""),
            (b"HTTP/1.1 304 x\r\n\r\n", GET, b""),
            (sized(0), b"HEAD / HTTP/1.1\r\n\r\n", b""),
            (sized(5), b"HEAD / HTTP/1.1\r\n\r\n", b""),
        ):
            for between in (b"", b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"):
                with self.subTest(first, between=between):
                    up = Upstream()
                    up.ask(request)
                    up.receive(first + between + second)
                    self.assertEqual((b"".join(up.response.buffered), up.response.length), (body, len(body)))
                    self.assertEqual((up.response.complete, up.ended), (True, [False]))

    def test_body_after_head(self) -> None:
        """A body that follows an answer to HEAD nevertheless costs the connection, not the answer."""
        up = Upstream()
        up.ask(b"HEAD / HTTP/1.1\r\n\r\n")
        up.receive(OK)
        self.assertEqual((up.response.buffered, up.ended), ([], [False]))

    def test_no_content(self) -> None:
        """204 and 304 have no body, and the next answer comes on the same connection."""
        for status in (204, 304):
            up = Upstream()
            for announced in (b"X: y", b"Content-Length: 0"):
                up.ask()
                up.receive(b"HTTP/1.1 %d x\r\n%b\r\n\r\n" % (status, announced))
                self.assertEqual((up.response.status, up.response.buffered), (status, []))
            self.assertEqual(up.ended, [True, True])

    def test_to_the_end(self) -> None:
        """A body without a length ends with the connection."""
        up = Upstream()
        up.ask()
        up.receive(TO_THE_END, b"hel", b"lo")
        self.assertEqual(up.fired, [])
        up.disconnect()
        self.assertEqual((b"".join(up.response.buffered), up.response.complete, up.response.length), (b"hello", True, 5))
        self.assertEqual((up.ended, up.gone), ([False], 1))

    def test_to_a_reset(self) -> None:
        """A body without a length that ends with a reset is not complete."""
        up = Upstream()
        up.ask()
        up.receive(TO_THE_END + b"hello")
        up.disconnect(RESET)
        self.assertEqual(up.error, (Phase.BODY, Cause.RESET, False))
        self.assertEqual(up.budget.buffered, 0)


class KeepingTests(SynchronousTestCase):
    """Which connections can be used again."""

    def test_connection_is_kept_when_both_sides_agree(self) -> None:
        """A connection is kept exactly when both sides say so and the end of the answer is certain."""
        for answer, kept in (
            (OK, True),
            (CHUNKED + b"0\r\n\r\n", True),
            (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
            (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", True),
            (OK + b"\r\n", True),
            (OK + OK, False),
            (OK + b"H", False),
            (OK + b"garbage", False),
        ):
            with self.subTest(answer):
                up = Upstream()
                up.ask()
                up.receive(answer)
                self.assertTrue(up.response.complete)
                self.assertEqual((up.ended, up.connection.alive), ([kept], kept))

    def test_unexpected_bytes_end_an_idle_connection(self) -> None:
        """Bytes that nobody asked for end an idle connection."""
        up = Upstream()
        up.receive(OK)
        self.assertTrue(up.transport.aborted)
        self.assertFalse(up.connection.alive)

    def test_next_request_while_firing(self) -> None:
        """Whoever gets an answer can send the next request on the same connection at once."""
        up = Upstream()
        again: list[Any] = []
        up.connection.send(GET, b"", 100, None).addCallback(
            lambda response: up.connection.send(b"GET /2 HTTP/1.1\r\n\r\n", b"", 100, None).addCallback(again.append)
        )
        up.receive(OK)
        up.receive(OK)
        self.assertEqual(up.transport.value(), GET + b"GET /2 HTTP/1.1\r\n\r\n")
        self.assertEqual(again[0].buffered, [b"hello"])


class FailureTests(SynchronousTestCase):
    """Answers that do not come, or not whole."""

    def test_too_early(self) -> None:
        """An end before the end is told by how far the answer had come, and how the connection ended."""
        for received, reason, phase, cause in (
            (b"", CLEAN, Phase.HEAD, Cause.CLOSED),
            (b"", RESET, Phase.HEAD, Cause.RESET),
            (b"HTTP/1.1 200 OK\r\nConte", CLEAN, Phase.HEAD, Cause.CLOSED),
            (b"HTTP/1.1 100 Continue\r\n\r\n", CLEAN, Phase.HEAD, Cause.CLOSED),
            (OK[:-1], CLEAN, Phase.BODY, Cause.CLOSED),
            (OK[:-1], RESET, Phase.BODY, Cause.RESET),
            (CHUNKED + b"5\r\nhello\r\n", CLEAN, Phase.BODY, Cause.CLOSED),
            (CHUNKED + b"5\r\nhello\r\n0\r\n", CLEAN, Phase.BODY, Cause.CLOSED),
            (OK[:-1], Failure(ValueError("alert")), Phase.BODY, Cause.TLS),
        ):
            with self.subTest(received, reason=reason):
                up = Upstream()
                up.ask()
                if received:
                    up.receive(received)
                up.disconnect(reason)
                self.assertEqual(up.error, (phase, cause, False))
                self.assertEqual((up.budget.buffered, up.ended, up.gone), (0, [False], 1))

    def test_garbled_response_fails(self) -> None:
        """What is not HTTP/1.x, or not certain in its framing, is no answer."""
        for answer, phase in (
            (b"<html>", Phase.HEAD),
            (b"HTTP/2.0 200 OK\r\n\r\n", Phase.HEAD),
            (b"HTTP/1.1 999 OK\r\n\r\n", Phase.HEAD),
            (b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", Phase.HEAD),
            (b"HTTP/1.1 101 Switching\r\n\r\n", Phase.HEAD),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Phase.HEAD),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Phase.HEAD),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", Phase.HEAD),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Phase.HEAD),
            (CHUNKED + b"five\r\n", Phase.BODY),
        ):
            with self.subTest(answer):
                up = Upstream()
                up.ask()
                up.receive(answer)
                self.assertEqual(up.error, (phase, Cause.GARBLED, False))
                self.assertTrue(up.transport.aborted)
                self.assertEqual(up.ended, [False])

    def test_endless_head(self) -> None:
        """A head that does not end is no answer."""
        up = Upstream()
        up.ask()
        up.receive(b"HTTP/1.1 200 OK\r\n", *[b"X: %b\r\n" % (b"x" * 60_000)] * 20)
        self.assertEqual(up.error, (Phase.HEAD, Cause.GARBLED, False))

    def test_stale_connection_says_nothing_about_the_backend(self) -> None:
        """A kept connection that ends before any byte of the answer says nothing about the backend."""
        for reason, cause in ((CLEAN, Cause.CLOSED), (RESET, Cause.RESET)):
            up = Upstream()
            up.ask()
            up.receive(OK)
            up.ask()
            up.disconnect(reason)
            self.assertEqual(up.error, (Phase.HEAD, cause, True))

    def test_not_stale(self) -> None:
        """A kept connection that ends after the first byte of the answer was not stale."""
        up = Upstream()
        up.ask()
        up.receive(OK)
        up.ask()
        up.receive(b"H")
        up.disconnect()
        self.assertEqual(up.error, (Phase.HEAD, Cause.CLOSED, False))

    def test_cancelling_resets_the_connection(self) -> None:
        """Cancelling resets the connection and leaves nothing."""
        for received in (b"", b"HTTP/1.1", OK[:-1]):
            up = Upstream()
            asked = up.ask()
            if received:
                up.receive(received)
            asked.cancel()
            up.fired[0].trap(CancelledError)
            self.assertTrue(up.transport.aborted)
            up.receive(b"more")
            up.disconnect(RESET)
            self.assertEqual((up.budget.buffered, up.ended, up.gone, len(up.fired)), (0, [False], 1, 1))


class BegunAnswerTests(SynchronousTestCase):
    """Answers too large, or not allowed, to be held."""

    def begun(self, up: Upstream, stream: bytes = sized(10) + b"hello", **options: Any) -> Any:
        up.ask(**{"hold": 4, **options})
        up.receive(stream)
        return up.response

    def test_more_than_hold(self) -> None:
        """When more has come than may be held the answer is given as far as it has come, and the backend waits."""
        up = Upstream()
        response = self.begun(up)
        self.assertEqual((response.complete, response.buffered, response.length), (False, [b"hello"], 10))
        self.assertFalse(up.reading)
        self.assertEqual(up.ended, [])

    def test_as_much_as_hold(self) -> None:
        """Just as much as may be held is held."""
        up = Upstream()
        up.ask(hold=5)
        up.receive(sized(10) + b"hello")
        self.assertEqual(up.fired, [])
        self.assertTrue(up.reading)

    def test_hold_nothing(self) -> None:
        """With nothing to be held the answer is given when its head is in."""
        up = Upstream()
        response = self.begun(up, CHUNKED, hold=0)
        self.assertEqual((response.complete, response.buffered, response.length), (False, [], None))

    def test_may_not_hold(self) -> None:
        """It is asked once, with status and fields, whether the body may be held; if not, the head is given at once."""
        up = Upstream()
        asked: list[Any] = []
        up.ask(hold=100, may_hold=lambda *facts: bool(asked.append(facts)))
        up.receive(CHUNKED)
        self.assertEqual(asked, [(200, ((b"Transfer-Encoding", b"chunked"),))])
        self.assertFalse(up.response.complete)

    def test_may_hold(self) -> None:
        """What may be held is held."""
        up = Upstream()
        asked: list[Any] = []
        up.ask(hold=100, may_hold=lambda *facts: not asked.append(facts))
        up.receive(CHUNKED, b"1\r\na\r\n", b"1\r\nb\r\n")
        self.assertEqual((len(asked), up.fired), (1, []))

    def test_exhausted_budget(self) -> None:
        """When memory runs out the answer is given as far as it has come; what is in memory is counted."""
        up = Upstream(budget=3)
        response = self.begun(up, hold=100)
        self.assertEqual((response.complete, response.buffered, up.budget.buffered), (False, [b"hello"], 5))
        self.assertFalse(up.reading)

    def test_consumer_gets_buffered_and_later_bytes(self) -> None:
        """A consumer gets what is held, then what arrives; the memory is given back."""
        up = Upstream()
        response = self.begun(up)
        consumer = Consumer()
        response.relay(consumer)
        self.assertTrue(up.reading)
        up.receive(b" wo", b"r")
        self.assertEqual(consumer.events, [b"hello", b" wo", b"r"])
        self.assertEqual((up.ended, up.budget.buffered), ([], 0))

    def test_relay_end(self) -> None:
        """The end of a relayed body is told once, and its connection is free by then."""
        up = Upstream()
        consumer = Consumer()
        self.begun(up).relay(consumer)
        up.receive(b"world")
        self.assertEqual(consumer.events, [b"hello", b"world", "end"])
        self.assertEqual((up.ended, up.reading, up.budget.buffered), ([True], True, 0))

    def test_relay_complete(self) -> None:
        """A complete answer can be relayed, too, in pieces that a slow client can stop."""
        up = Upstream()
        up.ask(hold=10**6)
        up.receive(sized(3 * MAX_PIECE) + b"x" * (3 * MAX_PIECE))
        consumer = Consumer()
        response = up.response
        consumer.body_received = lambda data: (consumer.events.append(data), response.pause())  # type: ignore[method-assign, assignment]
        response.relay(consumer)
        self.assertEqual([len(event) for event in consumer.events], [MAX_PIECE])
        response.resume()
        response.resume()
        self.assertEqual((len(consumer.body), consumer.ended), (3 * MAX_PIECE, False))
        response.resume()
        self.assertEqual((consumer.ended, up.budget.buffered), (True, 0))

    def test_slow_consumer_pauses_the_backend(self) -> None:
        """A slow consumer makes the backend wait; what had been read already is held and counted."""
        up = Upstream()
        response = self.begun(up, hold=0)
        consumer = Consumer()
        response.relay(consumer)
        response.pause()
        self.assertFalse(up.reading)
        up.receive(b"w")
        self.assertEqual((consumer.body, response.buffered, up.budget.buffered), (b"hello", [b"w"], 1))
        response.resume()
        self.assertTrue(up.reading)
        self.assertEqual((consumer.body, up.budget.buffered), (b"hellow", 0))

    def test_end_while_paused(self) -> None:
        """The end is told after what is held; the connection does not wait for the consumer."""
        up = Upstream()
        response = self.begun(up)
        consumer = Consumer()
        response.relay(consumer)
        response.pause()
        up.receive(b"world")
        self.assertEqual((up.ended, up.reading, consumer.ended, response.complete), ([True], True, False, True))
        response.resume()
        self.assertEqual((consumer.body, consumer.ended), (b"helloworld", True))

    def test_consumer_is_told_of_a_truncation(self) -> None:
        """A consumer is told when the backend breaks off."""
        for stream, end, cause in (
            (sized(10), lambda up: up.disconnect(), Cause.CLOSED),
            (sized(10), lambda up: up.disconnect(RESET), Cause.RESET),
            (CHUNKED + b"5\r\n", lambda up: up.receive(b"garbage"), Cause.GARBLED),
        ):
            up = Upstream()
            consumer = Consumer()
            self.begun(up, stream + b"hello").relay(consumer)
            end(up)
            body, error = consumer.events
            self.assertEqual((body, error.phase, error.cause), (b"hello", Phase.BODY, cause))
            self.assertEqual((up.budget.buffered, up.ended), (0, [False]))

    def test_failure_before_relay(self) -> None:
        """A failure that nobody could be told of is remembered: what is held is delivered, then the failure."""
        up = Upstream()
        response = self.begun(up)
        up.disconnect(RESET)
        consumer = Consumer()
        response.relay(consumer)
        body, error = consumer.events
        self.assertEqual((body, type(error), up.budget.buffered), (b"hello", UpstreamError, 0))

    def test_end_before_relay(self) -> None:
        """An answer that became complete before it was relayed says so."""
        up = Upstream()
        response = self.begun(up, TO_THE_END + b"hello")
        up.disconnect()
        consumer = Consumer()
        self.assertTrue(response.complete)
        response.relay(consumer)
        self.assertEqual(consumer.events, [b"hello", "end"])

    def test_cancelling_a_response_resets_its_connection(self) -> None:
        """Cancelling an answer resets its connection, delivers nothing more and gives its memory back."""
        up = Upstream()
        response = self.begun(up)
        consumer = Consumer()
        response.cancel()
        self.assertEqual((up.transport.aborted, up.budget.buffered, up.ended), (True, 0, [False]))
        response.cancel()
        up.receive(b"world")
        up.disconnect(RESET)
        self.assertEqual((consumer.events, up.ended, up.gone), ([], [False], 1))

    def test_cancel_from_within(self) -> None:
        """A consumer can cancel while it is given a piece, even the last."""
        for rest in (b"wor", b"world"):
            up = Upstream()
            response = self.begun(up)
            consumer = Consumer()
            response.relay(consumer)
            consumer.body_received = lambda data, response=response: response.cancel()  # type: ignore[method-assign, misc]
            up.receive(rest)
            self.assertEqual((consumer.events, up.ended, up.transport.aborted), ([b"hello"], [False], True))

    def test_cancel_complete(self) -> None:
        """Cancelling a complete answer gives its memory back and leaves the connection alone."""
        up = Upstream()
        up.ask()
        up.receive(OK)
        up.response.cancel()
        self.assertEqual((up.budget.buffered, up.connection.alive), (0, True))


HEAD = b"HTTP/1.1 200 OK\r\n"
BODY = b"\r\n\r\nhello"
PIECES = b"5\r\nhello\r\n0\r\n\r\n"


class LenientTests(SynchronousTestCase):
    """Responses that are not quite right, but that Go, HAProxy and nginx pass on."""

    ACCEPTED: tuple[tuple[str, bytes, bool], ...] = (
        ("Content-Length twice, the same", HEAD + b"Content-Length: 5\r\nX: y\r\ncontent-length:5" + BODY, True),
        ("Content-Length as a list of the same", HEAD + b"X: y\r\nContent-Length: 5, 5" + BODY, True),
        ("lines of the head end with LF", b"HTTP/1.1 200 OK\nX: y\nContent-Length: 5\n\nhello", True),
        ("some lines of the head end with LF", HEAD + b"X: y\nContent-Length: 5" + BODY, True),
        ("LF, after a 100", b"HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\nX: y\nContent-Length: 5\n\nhello", True),
        ("LF, after a right 100", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\nX: y\nContent-Length: 5\n\nhello", True),
        (
            "blanks after the size of a chunk",
            HEAD + b"X: y\r\nTransfer-Encoding: chunked\r\n\r\n5  \r\nhello\r\n0 \r\n\r\n",
            True,
        ),
        ("both lengths", HEAD + b"X: y\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n" + PIECES, False),
        (
            "both lengths, the other first",
            HEAD + b"X: y\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + PIECES,
            False,
        ),
    )

    REFUSED: tuple[tuple[str, bytes], ...] = (
        ("Content-Length twice, different", HEAD + b"Content-Length: 5\r\nContent-Length: 6" + BODY),
        ("Content-Length as a list of different ones", HEAD + b"Content-Length: 5, 6" + BODY),
        ("Content-Length in hexadecimal, twice", HEAD + b"Content-Length: 0x5\r\nContent-Length: 0x5" + BODY),
        ("Content-Length empty, twice", HEAD + b"Content-Length:\r\nContent-Length:" + BODY),
        (
            "another coding, in a field of its own",
            HEAD + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + PIECES,
        ),
        ("a chunk that ends with LF", HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n"),
        ("a control byte, and LF", b"HTTP/1.1 200 OK\nX: a\x01b\nContent-Length: 5\n\nhello"),
        ("a CR within a line, and LF", b"HTTP/1.1 200 OK\nX: a\rb\nContent-Length: 5\n\nhello"),
        ("another program's greeting", b"SSH-2.0-OpenSSH_9.6\r\n"),
        ("another program's greeting, with LF", b"+OK ready\n"),
        ("an endless head with LF", b"HTTP/1.1 200 OK\n" + b"X: y\n" * 20_000),
        ("endless interim responses with LF", b"HTTP/1.1 100 Continue\n\n" * 4000),
    )

    def test_tolerable_responses_are_normalized(self) -> None:
        """They reach the client with one length and its fields, however they are cut into segments."""
        for (title, data, kept), size in itertools.product(self.ACCEPTED, (1, 7, 10**6)):
            with self.subTest(title, size=size):
                up = Upstream()
                up.ask()
                for start in range(0, len(data), size):
                    up.receive(data[start : start + size])
                response = up.response
                self.assertEqual(b"".join(response.buffered), b"hello")
                self.assertIn((b"X", b"y"), response.headers)
                lengths = [value for name, value in response.headers if name.lower() == b"content-length"]
                self.assertLessEqual(lengths, [b"5"])
                self.assertEqual(up.ended, [kept])

    def test_ambiguous_responses_fail_at_once(self) -> None:
        """What could be read in two ways, or is not HTTP, fails at once."""
        for (title, data), size in itertools.product(self.REFUSED, (1, 10**6)):
            with self.subTest(title, size=size):
                up = Upstream()
                up.ask()
                for start in range(0, len(data), size):
                    if not up.fired:
                        up.receive(data[start : start + size])
                self.assertEqual(up.error[1:], (Cause.GARBLED, False))

    def test_next_response(self) -> None:
        """A connection that was read leniently goes on being used, and is read as strictly as before."""
        up = Upstream()
        up.ask()
        up.receive(b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello")
        up.ask()
        up.receive(OK)
        self.assertEqual(b"".join(up.response.buffered), b"hello")
        self.assertEqual(up.ended, [True, True])

    def test_no_content_has_no_length(self) -> None:
        """A 204 loses its Content-Length: the client would wait for a body that never comes."""
        up = Upstream()
        up.ask()
        up.receive(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nX: y\r\n\r\n")
        self.assertEqual(up.response.headers, ((b"X", b"y"),))
        self.assertEqual(up.ended, [False])
