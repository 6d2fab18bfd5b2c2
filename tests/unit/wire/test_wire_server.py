"""
Tests of `mpp.wire.downstream.channel`, `mpp.wire.downstream.backpressure` and `mpp.wire.downstream.channels`: a client's
connection.
"""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv6Address
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import MIB
from mpp.wire.downstream.channel import LINGER_BYTES, MOST_AT_ONCE, ProxyChannel
from mpp.wire.downstream.request_limits import Limits
from mpp.wire.downstream.timeouts import LINGER_S
from tests.wire_support import GET, RESET, PromptRequest, RecordingRequest, ServerSide, error_page


def get(target: bytes, *fields: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: a\r\n" % target + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def post(size: int, *fields: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n" % size + b"".join(f + b"\r\n" for f in fields) + b"\r\n"


CHUNKS = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

BAD: list[tuple[bytes, int]] = [
    (b"\x16\x03\x01\x02\x00\x01", 400),
    (b"hello\r\n\r\n", 400),
    (b"GET /\r\n\r\n", 400),
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
    (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
    (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (get(b"/", b"Content-Length: 1", b"Content-Length: 1") + b"a", 400),
    (get(b"/", b"Content-Length: 1, 1") + b"a", 400),
    (get(b"/", b"Content-Length: -1"), 400),
    (get(b"/", b"Content-Length: +1") + b"a", 400),
    (get(b"/", b"Content-Length: 99999999999999999999"), 400),
    (get(b"/", b"Content-Length: 1", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    (get(b"/", b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", 501),
    (get(b"/", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (CHUNKS + b"five\r\nhello", 400),
    (CHUNKS + b"5\r\nhello, world\r\n", 400),
    (CHUNKS + b"fffffffffffffffff\r\n", 400),
    (get(b"/", b"Expect: the unexpected"), 417),
    (get(b"/", b"Connection: upgrade", b"Upgrade: x", b"Content-Length: 1") + b"a", 400),
    (get(b"/", b"X: " + b"x" * 2000), 431),
    (b"GET /" + b"x" * 2000, 431),
    (post(101), 413),
    (post(101, b"Expect: 100-continue"), 413),
    (post(10**15), 413),
    (CHUNKS + b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n", 413),
]


class RequestsTests(SynchronousTestCase):
    """Requests come in, answers go out."""

    def test_request_has_its_fields_as_sent(self) -> None:
        """A request is handed over whole, with its fields as sent."""
        side = ServerSide()
        side.receive(post(5, b"X-Case: Kept") + b"hello")
        (request,) = side.requests
        fields = ((b"Host", b"a"), (b"Content-Length", b"5"), (b"X-Case", b"Kept"))
        self.assertEqual(request.incoming, (b"POST", b"/", b"1.1", fields, b"hello"))

    def test_body_counts_until_the_response(self) -> None:
        """A body counts until its request is answered."""
        side = ServerSide()
        side.receive(post(5000) + b"x" * 5000)
        self.assertEqual(side.budget.buffered, 5000)
        side.requests[0].answer()
        self.assertEqual(side.budget.buffered, 0)

    def test_no_memory(self) -> None:
        """A request for whose body there is no memory is told so."""
        side = ServerSide(budget=4999)
        side.receive(post(5000) + b"x" * 5000)
        self.assertIn(b" 503 ", side.sent)
        self.assertEqual((side.requests, side.budget.buffered), ([], 0))

    def test_one_after_the_other(self) -> None:
        """Pipelined requests are answered strictly in order, the next one begun when the last is done."""
        side = ServerSide()
        side.receive(get(b"/1") + get(b"/2") + get(b"/3")[:-1])
        self.assertEqual([request.target for request in side.requests], [b"/1"])
        side.requests[0].answer()
        side.requests[1].answer()
        side.receive(b"\n")
        side.requests[2].answer()
        self.assertEqual(side.sent, b"</1></2></3>")

    def test_reading_continues_during_a_response(self) -> None:
        """While a request is answered reading goes on, so that a disconnect is seen; it stops when another one waits."""
        side = ServerSide()
        side.receive(get(b"/1"))
        self.assertTrue(side.reading)
        side.receive(get(b"/2"))
        self.assertFalse(side.reading)
        side.requests[0].answer()
        self.assertTrue(side.reading)

    def test_prompt_answers(self) -> None:
        """A segment full of requests that are answered at once is answered whole, but others have their turn meanwhile."""
        side = ServerSide(PromptRequest, budget=10**7)
        side.receive(GET * 2000)
        seen: list[int] = []

        def another() -> None:
            seen.append(len(side.requests))
            if seen[-1] < 2000:
                side.clock.callLater(0, another)

        another()
        side.clock.advance(0)
        self.assertEqual(seen, list(range(MOST_AT_ONCE, 2001, MOST_AT_ONCE)))
        self.assertEqual((len(side.requests), len(side.sent)), (2000, 6000))
        self.assertTrue(side.reading)
        self.assertEqual(side.budget.buffered, 0)

    def test_the_last_of_many(self) -> None:
        """A client that says all at once and then nothing more gets every answer, and counts as busy until then."""
        side = ServerSide(PromptRequest)
        side.receive(GET * 10)
        side.channel.readConnectionLost()
        self.assertFalse(side.channel.idle)
        side.clock.advance(0)
        self.assertEqual(len(side.requests), 10)
        self.assertTrue(side.transport.disconnecting)

    def test_gone_with_requests_waiting(self) -> None:
        """What waits for its turn is dropped when the client goes."""
        side = ServerSide(PromptRequest)
        side.receive(GET * 10)
        side.disconnect()
        side.clock.advance(0)
        self.assertEqual(len(side.requests), MOST_AT_ONCE)
        self.assertEqual(side.budget.buffered, 0)

    @given(st.lists(st.integers(0, 500), max_size=12))
    def test_segments_do_not_matter(self, at: list[int]) -> None:
        """However the bytes are cut on their way, the answers are the same, that to a bad request included."""
        stream = (
            get(b"/1") + post(5) + b"hello" + CHUNKS + b"1\r\na\r\n0\r\n\r\n" + get(b"/4", b"Connection: upgrade", b"Upgrade: x")
        )
        stream += get(b"/5") + b"garbage\r\n\r\n"
        side = ServerSide(PromptRequest)
        edges = [0, *sorted(min(each, len(stream)) for each in at), len(stream)]
        side.receive(*(stream[start:end] for start, end in itertools.pairwise(edges)))
        side.clock.advance(0)
        self.assertTrue(side.sent.startswith(b"</1></></></4></5>HTTP/1.1 400 "), side.sent)
        self.assertEqual(side.sent.count(b"HTTP/1.1"), 1)

    def test_waiting_client_is_told_to_continue(self) -> None:
        """A client that waits to be told to go on is told so, when its turn has come."""
        side = ServerSide()
        side.receive(get(b"/1") + post(5, b"Expect: 100-continue"))
        self.assertEqual(side.sent, b"")
        side.requests[0].answer()
        self.assertEqual(side.sent, b"</1>HTTP/1.1 100 Continue\r\n\r\n")
        side.receive(b"hello")
        self.assertEqual(side.requests[1].incoming[-1], b"hello")

    def test_needless_continue(self) -> None:
        """A client that has not waited is not told to go on."""
        side = ServerSide()
        side.receive(post(5, b"Expect: 100-continue") + b"hello")
        self.assertEqual((side.sent, len(side.requests)), (b"", 1))

    def test_upgrade_request_is_served_as_an_ordinary_one(self) -> None:
        """A request to upgrade is answered as an ordinary one, and so is what follows it."""
        side = ServerSide(PromptRequest)
        side.receive(get(b"/1", b"Connection: Upgrade", b"Upgrade: websocket") + get(b"/2"))
        side.receive(get(b"/3"))
        self.assertEqual(side.sent, b"</1></2></3>")

    def test_channel_has_both_addresses_and_its_security(self) -> None:
        """A channel knows both ends' addresses, and whether it is secure."""
        side = ServerSide()
        self.assertEqual(side.channel.addresses(), (side.transport.getPeer(), side.transport.getHost()))
        self.assertEqual((side.channel.peer, side.channel.secure), ("192.168.1.1", False))
        mapped = ProxyChannel(lambda channel: RecordingRequest(channel, []), Limits(), side.budget, error_page, side.channels)
        mapped.makeConnection(StringTransport(peerAddress=IPv6Address("TCP", "::ffff:10.0.0.9", 1)))
        self.assertEqual(mapped.peer, "10.0.0.9")


class BadRequestTests(SynchronousTestCase):
    """What is no request for us."""

    def receive(self, *segments: bytes) -> ServerSide:
        side = ServerSide(limits=Limits(max_head=1000, max_body=100))
        side.receive(*segments)
        return side

    def test_bad_request_gets_its_status(self) -> None:
        """Each is answered with the status that says what is wrong; nothing of it becomes a request, nothing is logged."""
        for data, status in BAD:
            with self.subTest(data[:80]):
                side = self.receive(data)
                self.assertTrue(side.sent.startswith(b"HTTP/1.1 %d " % status), side.sent)
                self.assertEqual((side.requests, side.budget.buffered), ([], 0))
                self.assertTrue(side.transport.half_closed)
                self.assertEqual(self.flushLoggedErrors(), [])

    def test_byte_by_byte(self) -> None:
        """It does not matter how the bytes are cut."""
        for data, status in BAD:
            with self.subTest(data[:80]):
                side = self.receive(*(data[index : index + 1] for index in range(len(data))))
                self.assertTrue(side.sent.startswith(b"HTTP/1.1 %d " % status), side.sent)
                self.assertEqual((side.requests, side.budget.buffered), ([], 0))

    def test_in_order(self) -> None:
        """A bad request is refused after the earlier ones are answered; nothing is read in the meantime."""
        side = self.receive(get(b"/1") + b"garbage\r\n\r\n")
        self.assertEqual((side.sent, side.reading), (b"", False))
        side.requests[0].answer()
        self.assertTrue(side.sent.startswith(b"</1>HTTP/1.1 400 "))

    def test_rejected_client_is_read_for_a_while(self) -> None:
        """A refused client is listened to for a while, so that it can read why; then it is reset."""
        side = self.receive(b"garbage\r\n\r\n")
        side.receive(b"more")
        self.assertEqual((side.transport.half_closed, side.transport.disconnecting, side.reading), (True, False, True))
        side.clock.advance(LINGER_S)
        side.channels.check_timeouts(60)
        self.assertTrue(side.transport.aborted)

    def test_lingering_is_bounded(self) -> None:
        """A refused client that sends without end is reset early."""
        side = self.receive(b"garbage\r\n\r\n")
        for _ in range(LINGER_BYTES // MIB):
            side.receive(b"x" * MIB)
        self.assertFalse(side.transport.aborted)
        side.receive(b"x")
        self.assertTrue(side.transport.aborted)

    def test_lingering_ends(self) -> None:
        """A refused client that closes leaves nothing."""
        side = self.receive(b"garbage\r\n\r\n")
        side.disconnect()
        self.assertEqual((side.clock.getDelayedCalls(), len(side.channels)), ([], 0))

    def test_no_half_close(self) -> None:
        """A transport that cannot be half-closed is closed."""
        side = ServerSide()
        transport = StringTransport()
        side.channel.makeConnection(transport)
        side.receive(b"garbage\r\n\r\n")
        self.assertTrue(transport.disconnecting)


class EndTests(SynchronousTestCase):
    """How connections end."""

    def test_connection_persists_when_client_and_version_say_so(self) -> None:
        """The connection lives on exactly when the client and its version say so."""
        for data, persistent in (
            (get(b"/"), True),
            (get(b"/", b"Connection: close"), False),
            (b"GET / HTTP/1.0\r\n\r\n", False),
            (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        ):
            side = ServerSide()
            side.receive(data)
            self.assertEqual(side.channel.persistent, persistent)
            side.requests[0].answer(b"answer")
            self.assertEqual((side.sent, side.transport.disconnecting), (b"answer", not persistent))

    def test_client_gone(self) -> None:
        """A request whose client goes away is told once, and its memory given back."""
        side = ServerSide()
        side.receive(post(5) + b"hello" + post(5) + b"world" + post(5) + b"he")
        side.disconnect(RESET)
        self.assertEqual(([request.lost for request in side.requests], side.budget.buffered), ([[RESET]], 0))
        side.requests[0].channel.request_done()
        self.assertEqual((len(side.requests), len(side.channels)), (1, 0))

    def test_client_gone_between(self) -> None:
        """A request that is done is not told of its client's leaving."""
        side = ServerSide(PromptRequest)
        side.receive(GET)
        side.disconnect()
        self.assertEqual(side.requests[0].lost, [])

    def test_aborted_response_resets_the_connection(self) -> None:
        """An answer that breaks off resets the connection; its request is told."""
        side = ServerSide()
        side.receive(get(b"/1") + get(b"/2"))
        side.channel.abort()
        self.assertTrue(side.transport.aborted)
        side.disconnect(RESET)
        self.assertEqual([request.lost for request in side.requests], [[RESET]])

    def test_abort_and_done(self) -> None:
        """A request that is done after it broke off is not followed by another."""
        side = ServerSide()
        side.receive(get(b"/1") + get(b"/2"))
        side.channel.abort()
        side.channel.request_done()
        side.disconnect(RESET)
        self.assertEqual([request.lost for request in side.requests], [[]])

    def test_client_that_sends_too_much_can_read_its_response(self) -> None:
        """A client that sends more than it announced can read its last answer nevertheless."""
        side = ServerSide(PromptRequest)
        side.receive(get(b"/", b"Connection: close") + b"surplus")
        self.assertEqual((side.sent, side.transport.half_closed, side.transport.disconnecting), (b"</>", True, False))


class SlowClientTests(SynchronousTestCase):
    """Clients that do not take their answers."""

    def producer(self, side: ServerSide) -> Any:
        return side.transport.producer

    def test_no_further_answers(self) -> None:
        """A client that does not take its answers gets no further ones until it does."""
        side = ServerSide(PromptRequest)
        self.producer(side).pauseProducing()
        side.receive(get(b"/1") + get(b"/2"))
        self.assertEqual((side.sent, side.reading), (b"", False))
        self.producer(side).resumeProducing()
        self.assertEqual((side.sent, side.reading), (b"</1></2>", True))

    def test_slow_in_the_middle(self) -> None:
        """Catching up in the middle of an answer does not begin the next one."""
        side = ServerSide()
        side.receive(get(b"/1") + get(b"/2"))
        self.producer(side).pauseProducing()
        self.producer(side).resumeProducing()
        self.assertEqual(len(side.requests), 1)

    def test_pull_producer(self) -> None:
        """A producer that wants to be asked for each piece is asked by the transport itself."""
        side = ServerSide()
        side.receive(GET)
        pull: Any = object()
        side.channel.registerProducer(pull, False)
        self.assertEqual((self.producer(side), side.transport.streaming), (pull, False))
        self.assertRaises(RuntimeError, side.channel.registerProducer, pull, False)
        side.channel.unregisterProducer()
        self.assertEqual(side.transport.streaming, True)

    def test_producer_of_a_gone_client(self) -> None:
        """A producer is stopped when the client goes away, before its request is told."""
        side = ServerSide()
        side.receive(GET)
        events: list[str] = []

        class Producer:
            def stopProducing(self) -> None:
                events.append(f"stopped, {len(side.requests[0].lost)} told")

        side.channel.registerProducer(Producer(), True)
        side.disconnect()
        self.assertEqual(events, ["stopped, 0 told"])
