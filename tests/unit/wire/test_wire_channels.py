"""
Tests of `mpp.wire.downstream.channels` and `mpp.wire.downstream.timeouts`: how client connections are looked after, and how they
end.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from mpp.wire.downstream.channels import DRAIN_STEP_S, Channels
from mpp.wire.downstream.timeouts import ACTIVE_S, BODY_BYTES, BODY_S, GONE_S, HEAD_S, TAKE_S
from tests.wire_support import GET, PromptRequest, ServerSide

IDLE_S = 300.0
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"


def later(side: ServerSide, seconds: float) -> None:
    """Let time pass, and look after the connections."""
    side.clock.advance(seconds)
    side.channels.check_timeouts(IDLE_S)


class DrainTests(SynchronousTestCase):
    """The end of all connections."""

    def drain(self, side: ServerSide) -> Any:
        drained = side.channels.drain()
        drained.addErrback(lambda failure: failure.trap(CancelledError))
        self.addCleanup(drained.cancel)
        return drained

    def test_idle_connection_is_closed_at_once(self) -> None:
        """A connection that has been idle for a second is closed at once."""
        side = ServerSide(PromptRequest)
        side.receive(GET)
        side.clock.advance(ACTIVE_S)
        drained = self.drain(side)
        self.assertTrue(side.transport.disconnecting)
        self.assertNoResult(drained)
        side.disconnect()
        self.assertIsNone(self.successResultOf(drained))
        self.assertEqual(side.clock.getDelayedCalls(), [])

    def test_a_request_has_arrived(self) -> None:
        """An idle connection on which a request has arrived in this moment is not closed; the request is answered as its last."""
        side = ServerSide(PromptRequest)
        side.clock.advance(10)
        side.transport.arrived = GET
        self.drain(side)
        self.assertFalse(side.transport.disconnecting)
        side.transport.arrived = b""
        side.receive(GET)
        self.assertEqual((side.sent, side.channel.persistent, side.transport.disconnecting), (b"</>", False, True))

    def test_just_answered(self) -> None:
        """A client that was just answered may ask once more within a second, and is told that it is the last time."""
        side = ServerSide(PromptRequest)
        side.receive(GET)
        self.drain(side)
        side.clock.pump([DRAIN_STEP_S] * 8)
        self.assertFalse(side.transport.disconnecting)
        side.receive(GET)
        self.assertEqual((side.sent, side.channel.persistent, side.transport.disconnecting), (b"</></>", False, True))

    def test_just_answered_and_silent(self) -> None:
        """A client that was just answered and asks nothing more is closed after a second."""
        side = ServerSide(PromptRequest)
        side.receive(GET)
        self.drain(side)
        side.clock.pump([DRAIN_STEP_S] * 11)
        self.assertTrue(side.transport.disconnecting)

    def test_connected_meanwhile(self) -> None:
        """A client that was waiting to be accepted is served."""
        side = ServerSide(PromptRequest)
        drained = self.drain(side)
        other = ServerSide(PromptRequest, beside=side)
        side.disconnect()
        self.assertNoResult(drained)
        other.receive(GET)
        self.assertEqual((other.sent, other.transport.disconnecting), (b"</>", True))

    def test_response_in_progress_is_finished(self) -> None:
        """An answer that is being made is finished; it says that it is the last."""
        side = ServerSide()
        side.receive(GET + GET)
        self.drain(side)
        self.assertEqual((side.channel.persistent, side.transport.disconnecting), (False, False))
        self.assertTrue(side.requests[0].told_to_end)
        side.requests[0].answer()
        self.assertEqual((side.sent, side.transport.disconnecting, len(side.requests)), (b"</>", True, 1))

    def test_answer_has_begun(self) -> None:
        """A client whose answer's head is sent already, without a word of the end, may ask once more after it."""
        side = ServerSide()
        side.receive(GET)

        class Producer:
            def stopProducing(self) -> None:
                """Nothing."""

        side.channel.registerProducer(Producer(), True)
        self.drain(side)
        side.channel.unregisterProducer()
        side.channel.request_done()
        self.assertFalse(side.transport.disconnecting)
        side.receive(GET)
        self.assertFalse(side.channel.persistent)

    def test_arriving_request_is_waited_for(self) -> None:
        """A request that is arriving is waited for."""
        side = ServerSide(PromptRequest)
        side.receive(GET[:-2])
        self.drain(side)
        side.clock.pump([DRAIN_STEP_S] * 30)
        self.assertFalse(side.transport.disconnecting)
        side.receive(b"\r\n")
        self.assertEqual((side.sent, side.transport.disconnecting), (b"</>", True))

    def test_told_again(self) -> None:
        """An answer that begins while all ends is told to end, too, if it would not by itself."""
        side = ServerSide()
        self.drain(side)
        side.receive(GET)
        side.clock.advance(DRAIN_STEP_S)
        self.assertTrue(side.requests[0].told_to_end)

    def test_draining_ends_at_once_without_connections(self) -> None:
        """Draining is over at once when nobody is connected; waiting for it can be given up."""
        side = ServerSide()
        waiting = side.channels.drain()
        waiting.addErrback(lambda failure: None)
        waiting.cancel()
        side.disconnect()
        self.successResultOf(side.channels.drain())

    def test_abort_the_rest(self) -> None:
        """Whoever does not end in time can be reset."""
        side = ServerSide()
        side.receive(GET)
        side.channels.abort()
        self.assertTrue(side.transport.aborted)
        self.assertEqual(repr(side.channels), "<Channels 1 open>")


class IdleTests(SynchronousTestCase):
    """Connections without a request."""

    def test_idle_client_is_closed_after_a_while(self) -> None:
        """A client that has been idle too long is closed, whether it ever sent a request or not."""
        for received in (b"", GET):
            side = ServerSide(PromptRequest)
            side.receive(received)
            later(side, IDLE_S - 1)
            self.assertFalse(side.transport.disconnecting)
            later(side, 1)
            self.assertTrue(side.transport.disconnecting)

    def test_a_request_has_arrived(self) -> None:
        """An idle connection on which a request has arrived in this moment is not closed under it."""
        side = ServerSide(PromptRequest)
        side.transport.arrived = GET
        later(side, IDLE_S)
        self.assertFalse(side.transport.disconnecting)

    def test_a_request_that_arrives_is_not_idleness(self) -> None:
        """A request that begins to arrive after a long pause has its time."""
        side = ServerSide(PromptRequest)
        later(side, IDLE_S - 1)
        side.receive(GET[:-2])
        later(side, 2)
        side.receive(b"\r\n")
        self.assertEqual(side.sent, b"</>")

    def test_busy_is_not_idle(self) -> None:
        """A client that waits for its answer is not idle."""
        side = ServerSide()
        side.receive(GET)
        later(side, 10 * IDLE_S)
        self.assertFalse(side.transport.disconnecting or side.transport.aborted)


class SlowRequestTests(SynchronousTestCase):
    """Requests that do not become complete."""

    def test_trickling_head_is_rejected(self) -> None:
        """A head that trickles in is refused, however steadily it does."""
        side = ServerSide()
        side.receive(GET[:3])
        for byte in GET[3:][: int(HEAD_S)]:
            self.assertEqual(side.sent, b"")
            side.receive(bytes([byte]))
            later(side, 1)
        self.assertTrue(side.sent.startswith(b"HTTP/1.1 408 "), side.sent)
        self.assertEqual((side.transport.half_closed, side.requests), (True, []))

    def test_head_after_an_answer(self) -> None:
        """A head that began to arrive during the answer before has its time from the end of that."""
        side = ServerSide()
        side.receive(GET + GET[:-2])
        later(side, 100)
        side.requests[0].answer()
        later(side, HEAD_S - 1)
        side.receive(b"\r\n")
        self.assertEqual(len(side.requests), 2)

    def test_head_behind_a_request(self) -> None:
        """A head that began to arrive in one segment with the request before it is one that is arriving."""
        side = ServerSide(PromptRequest)
        side.receive(GET + GET[:-2])
        later(side, HEAD_S)
        self.assertTrue(side.sent.startswith(b"</>HTTP/1.1 408 "), side.sent)

    def test_empty_line(self) -> None:
        """An empty line after a request, which some clients send, is not the next one."""
        side = ServerSide(PromptRequest)
        side.receive(GET, b"\r\n")
        later(side, HEAD_S)
        self.assertEqual((side.sent, side.transport.disconnecting), (b"</>", False))

    def test_stalled_body_is_rejected(self) -> None:
        """A body of which nothing comes any more is refused, and its memory given back."""
        side = ServerSide()
        side.receive(POST + b"x" * 500)
        later(side, BODY_S - 1)
        self.assertEqual(side.sent, b"")
        self.assertGreater(side.budget.buffered, 500)
        later(side, 1)
        self.assertTrue(side.sent.startswith(b"HTTP/1.1 408 "), side.sent)
        self.assertEqual((side.requests, side.budget.buffered), ([], 0))

    def test_steady_body(self) -> None:
        """A body that comes slowly, but steadily, has all the time it needs."""
        side = ServerSide()
        side.receive(POST.replace(b"1000", b"100000"))
        for _ in range(199):
            side.receive(b"x" * int(BODY_BYTES / BODY_S))
            later(side, 1)
        self.assertEqual(side.sent, b"")
        side.receive(b"x" * 500)
        self.assertEqual(len(side.requests), 1)

    def test_body_that_comes_to_a_stop(self) -> None:
        """A body that began fast, and of which nearly nothing has come for a while, is refused, however much there was."""
        side = ServerSide(budget=10**7)
        side.receive(POST.replace(b"1000", b"1000000") + b"x" * 500_000)
        for _ in range(int(BODY_S) - 1):
            later(side, 1)
            side.receive(b"x" * 400)
        self.assertEqual(side.sent, b"")
        later(side, 2)
        self.assertTrue(side.sent.startswith(b"HTTP/1.1 408 "), side.sent)
        self.assertEqual(side.budget.buffered, 0)

    def test_invited_body(self) -> None:
        """A client that was told to go on late has its time from then on."""
        side = ServerSide()
        side.receive(GET + POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        later(side, 100)
        side.requests[0].answer()
        later(side, BODY_S - 1)
        side.receive(b"x" * 1000)
        self.assertEqual(len(side.requests), 2)


class HalfClosedTests(SynchronousTestCase):
    """Clients that close their sending side."""

    def hang_up(self, side: ServerSide) -> None:
        side.channel.readConnectionLost()

    def test_half_closed_client_gets_all_responses(self) -> None:
        """All that was asked is answered, then the connection ends."""
        side = ServerSide()
        side.receive(GET + GET + GET[:-2])
        self.hang_up(side)
        for request in (0, 1):
            self.assertFalse(side.transport.disconnecting)
            side.requests[request].answer()
        self.assertEqual((side.sent, side.transport.disconnecting, side.budget.buffered), (b"</></>", True, 0))

    def test_given_up(self) -> None:
        """A client that has probably hung up is not worked for any longer: its request is told by the end of the connection."""
        side = ServerSide()
        later(side, 100)
        side.receive(GET)
        self.hang_up(side)
        later(side, GONE_S / 2)
        self.assertFalse(side.transport.aborted)
        later(side, GONE_S / 2)
        self.assertTrue(side.transport.aborted)

    def test_nothing_asked(self) -> None:
        """A client that asks nothing, or not all of a request, is closed at once."""
        for data in (b"", GET[:-2], POST + b"x"):
            side = ServerSide()
            side.receive(data)
            self.hang_up(side)
            self.assertEqual((side.transport.disconnecting, side.budget.buffered, side.sent), (True, 0, b""))

    def test_rejected_half_closed_client_is_disconnected(self) -> None:
        """A refused client that has read why is let go."""
        side = ServerSide()
        side.receive(b"garbage\r\n\r\n")
        self.assertFalse(side.transport.disconnecting)
        self.hang_up(side)
        self.assertTrue(side.transport.disconnecting)

    def test_slow_half_closed_client_gets_time(self) -> None:
        """A client that is still to take its answer is given the time."""
        side = ServerSide()
        side.receive(GET)
        side.transport.producer.pauseProducing()  # type: ignore[attr-defined]
        side.requests[0].answer()
        self.hang_up(side)
        self.assertFalse(side.transport.disconnecting)
        side.transport.producer.resumeProducing()  # type: ignore[attr-defined]
        self.assertTrue(side.transport.disconnecting)


class SlowReaderTests(SynchronousTestCase):
    """Clients that do not take their answers."""

    def stuck(self) -> ServerSide:
        side = ServerSide()
        side.receive(GET)
        side.transport._tempDataLen = 100_000
        side.transport.producer.pauseProducing()  # type: ignore[attr-defined]
        side.channels.check_timeouts(IDLE_S)
        return side

    def test_takes_nothing(self) -> None:
        """A client that takes nothing for a minute is reset, and its request told by the end of the connection."""
        side = self.stuck()
        later(side, TAKE_S - 1)
        self.assertFalse(side.transport.aborted)
        later(side, 1)
        self.assertTrue(side.transport.aborted)

    def test_takes_little(self) -> None:
        """A client that takes a little each minute goes on."""
        side = self.stuck()
        for _ in range(10):
            later(side, TAKE_S - 1)
            side.transport._tempDataLen -= 1
            later(side, 1)
        self.assertFalse(side.transport.aborted)

    def test_takes_it_and_is_slow_again(self) -> None:
        """A client that catches up, and is as far behind again, goes on."""
        side = self.stuck()
        for _ in range(10):
            later(side, TAKE_S - 1)
            side.transport.producer.resumeProducing()  # type: ignore[attr-defined]
            side.transport.producer.pauseProducing()  # type: ignore[attr-defined]
            later(side, 1)
        self.assertFalse(side.transport.aborted)

    def test_after_the_answer(self) -> None:
        """It does not matter that the answer was handed over whole."""
        side = self.stuck()
        side.requests[0].answer()
        later(side, TAKE_S)
        self.assertTrue(side.transport.aborted)

    def test_client_that_does_not_close_is_reset(self) -> None:
        """A client that does not let its connection end is reset."""
        side = ServerSide(PromptRequest)
        side.receive(LAST)
        later(side, 1)
        later(side, TAKE_S - 1)
        self.assertFalse(side.transport.aborted)
        later(side, 1)
        self.assertTrue(side.transport.aborted)


class RoomTests(SynchronousTestCase):
    """Making room for other clients."""

    def sides(self, count: int) -> list[ServerSide]:
        """Make connections to one set of channels, each a second after the other."""
        sides = [ServerSide(PromptRequest)]
        for _ in range(1, count):
            sides[0].clock.advance(1)
            sides.append(ServerSide(PromptRequest, beside=sides[0]))
        return sides

    def closed(self, sides: list[ServerSide]) -> list[bool]:
        return [side.transport.disconnecting for side in sides]

    def test_longest_idle(self) -> None:
        """Those that have been idle for longest are closed."""
        sides = self.sides(5)
        sides[0].receive(GET)
        sides[0].channels.make_room(2)
        self.assertEqual(self.closed(sides), [False, True, True, False, False])

    def test_active_client_is_not_closed_for_room(self) -> None:
        """Nobody is closed who asks, is answered, or was answered within the last second."""
        sides = self.sides(3)
        sides[0].receive(GET)
        sides[1].receive(GET[:-2])
        sides[0].clock.advance(0.5)
        sides[0].channels.make_room(3)
        self.assertEqual(self.closed(sides), [False, False, False])

    def test_not_kept(self) -> None:
        """While there is no room answers are their connections' last."""
        side = ServerSide(PromptRequest)
        side.channels.keeping = False
        side.receive(GET)
        self.assertEqual((side.channel.persistent, side.transport.disconnecting), (False, True))

    def test_each_disconnection_is_reported(self) -> None:
        """Whoever asked for it is told of each connection's end."""
        side = ServerSide()
        counts: list[int] = []
        side.channels.left.append(lambda: counts.append(len(side.channels)))
        side.disconnect()
        self.assertEqual(counts, [0])

    def test_nothing_is_closed_without_clients(self) -> None:
        """Where nobody is there is nobody to close."""
        side = ServerSide()
        side.disconnect()
        channels = Channels(side.clock)
        channels.make_room(3)
        channels.check_timeouts(IDLE_S)
        self.assertEqual(len(channels), 0)
