"""Tests of `mpp.wire.upstream.pool`: kept connections."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mpp.core.errors import Cause, ClientTooSlow, Phase, UpstreamError
from mpp.core.interfaces import IProgress, IResponse, IUpstreams
from mpp.core.model import Backend
from mpp.proxy.decisions.retry_policy import may_buffer
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.upstream.pool import Pool
from tests.wire_support import CLEAN, GET, PROM_A, PROM_B, RESET, Consumer, RecordingDialer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@implementer(IProgress)
class Progress:
    """Counts nothing, and takes note of its turn."""

    received = 0
    dequeued_at = 0.0
    queued = False

    def __init__(self, client: str = "") -> None:
        self._client = client

    def client(self) -> str:
        return self._client


class PoolTests(SynchronousTestCase):
    """Which connection a request is sent on, and what becomes of it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.dialer = RecordingDialer()
        self.pool = Pool(self.dialer, self.clock, MemoryBudget(1000), idle_timeout=60.0, max_idle=2)

    def ask(self, backend: Backend = PROM_A, *, fresh: bool = False, progress: IProgress | None = None) -> Deferred[IResponse]:
        return self.pool.send(backend, GET, b"", fresh=fresh, buffer=100, progress=progress)

    def answer(self, index: int = -1, data: bytes = OK) -> None:
        self.dialer.connections[index].dataReceived(data)

    def transport(self, index: int = -1) -> Any:
        return self.dialer.connections[index].transport

    def test_pool_provides_upstreams(self) -> None:
        """The pool is what the forwarder sends requests through."""
        verifyObject(IUpstreams, self.pool)
        self.assertEqual(repr(self.pool), "<Pool empty>")

    def test_next_request_reuses_the_connection(self) -> None:
        """The next request goes on the kept connection."""
        for _ in range(2):
            asked = self.ask()
            self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 1 active, 0 idle>")
            self.answer()
            self.assertEqual(self.successResultOf(asked).status, 200)
        self.assertEqual(self.dialer.dialed, [PROM_A])
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 1 idle>")

    def test_another_backend(self) -> None:
        """A connection serves its own backend only."""
        self.ask()
        self.answer()
        self.ask(PROM_B)
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 1 idle; prom-b:9090: 1 active, 0 idle>")
        self.assertEqual((self.pool.active(PROM_A), self.pool.active(PROM_B)), (0, 1))
        self.assertEqual(self.pool.active(Backend("http", "prom-c", 9090)), 0)

    def test_fresh_connection_is_kept_for_others(self) -> None:
        """A request that wants it gets a new connection, which is kept for others."""
        self.ask()
        self.answer()
        self.ask(fresh=True)
        self.answer()
        self.assertEqual(self.dialer.dialed, [PROM_A, PROM_A])
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 2 idle>")

    def test_last_in_first_out(self) -> None:
        """The connection used last is used first, so that the others grow old."""
        self.ask(), self.ask()
        self.answer(0), self.answer(1)
        self.transport(0).clear(), self.transport(1).clear()
        self.ask()
        self.assertEqual((self.transport(0).value(), self.transport(1).value()), (b"", GET))

    def test_not_reusable(self) -> None:
        """A connection whose answer was its last is closed."""
        self.ask()
        self.answer(data=b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 0 idle>")
        self.assertTrue(self.transport().disconnecting)

    def test_gone_while_idle(self) -> None:
        """A connection that ended while it was idle is not used."""
        self.ask()
        self.answer()
        self.dialer.connections[0].connectionLost(CLEAN)
        self.ask()
        self.assertEqual(len(self.dialer.dialed), 2)

    def test_ending_while_idle(self) -> None:
        """A connection on which something arrived unasked is not used, although its end was not told yet."""
        self.ask()
        self.answer()
        self.answer(data=b"unasked")
        self.ask()
        self.assertEqual(len(self.dialer.dialed), 2)

    def test_connection_is_kept_after_a_relayed_response(self) -> None:
        """A connection is kept again when the last byte of a relayed answer has come."""
        asked = self.pool.send(PROM_A, GET, b"", fresh=False, buffer=0)
        self.answer(data=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell")
        self.successResultOf(asked)
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 1 active, 0 idle>")
        self.answer(data=b"o")
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 1 idle>")

    def test_idle_timeout(self) -> None:
        """What is idle too long is closed, by one timer for all; there is no timer when nothing is idle."""
        self.ask(), self.ask(PROM_B)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.answer(0)
        self.clock.advance(20)
        self.answer(1)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([10, 30])
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 0 idle; prom-b:9090: 0 active, 1 idle>")
        self.clock.pump([30])
        self.assertTrue(self.transport(0).disconnecting and self.transport(1).disconnecting)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_max_idle(self) -> None:
        """After a burst only so many connections are kept."""
        for _ in range(3):
            self.ask()
        for index in range(3):
            self.answer(index)
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 2 idle>")
        self.assertTrue(self.transport(2).disconnecting)

    def test_connections_of_a_removed_backend_are_closed(self) -> None:
        """The connections of a backend that is gone are closed, those in use after their answer."""
        self.ask(), self.ask()
        self.answer(0)
        self.pool.discard(PROM_A)
        self.pool.discard(PROM_A)
        self.assertEqual(repr(self.pool), "<Pool empty>")
        self.assertEqual((self.transport(0).disconnecting, self.transport(1).disconnecting), (True, False))
        self.answer(1)
        self.assertTrue(self.transport(1).disconnecting)

    def test_server_is_down(self) -> None:
        """What is idle is closed when the server is down; a request under way goes on, and its connection is kept."""
        first = self.ask()
        self.ask()
        self.answer(1)
        self.pool.close_idle(PROM_A)
        self.pool.close_idle(PROM_B)
        self.assertEqual((self.transport(0).disconnecting, self.transport(1).disconnecting), (False, True))
        self.answer(0)
        self.assertEqual(self.successResultOf(first).status, 200)
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 1 idle>")

    def test_excess_requests_wait_in_order(self) -> None:
        """What exceeds the limit waits for its turn, in order, and uses the connection that is free then."""
        self.pool.max_active = 1
        first, second, third = self.ask(), self.ask(), self.ask()
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 1 active, 0 idle, 2 queued>")
        self.assertEqual((self.pool.active(PROM_A), self.pool.queued(PROM_A), self.pool.queued(PROM_B)), (1, 2, 0))
        for asked in (first, second, third):
            self.answer()
            self.assertEqual(self.successResultOf(asked).status, 200)
        self.assertEqual(self.dialer.dialed, [PROM_A])
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 1 idle>")

    def test_turn_is_told(self) -> None:
        """A request that had to wait for its turn is told when it came, and one that had not is told nothing."""
        self.pool.max_active = 1
        first, second = (Progress() for _ in range(2))
        self.ask(progress=first)
        self.ask(progress=second)
        self.clock.advance(3)
        self.answer()
        self.assertEqual((first.dequeued_at, second.dequeued_at), (0.0, 3.0))

    def test_turn_after_a_failure(self) -> None:
        """A request that fails makes room, too: while it connects, and after."""
        self.pool.max_active = 1
        self.dialer.hold = True
        failing, waiting = self.ask(), self.ask()
        self.dialer.waiting[0].errback(UpstreamError(Phase.CONNECT, Cause.REFUSED))
        self.failureResultOf(failing, UpstreamError)
        self.assertEqual(len(self.dialer.dialed), 2)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual((self.pool.active(PROM_A), self.pool.queued(PROM_A)), (0, 0))

    def test_full_queue(self) -> None:
        """When too many wait already the caller is told at once, and can go elsewhere; another backend has its own queue."""
        self.pool.max_active, self.pool.max_queued = 1, 1
        self.ask(), self.ask()
        error = self.failureResultOf(self.ask(), UpstreamError).value
        self.assertEqual((error.phase, error.cause), (Phase.CONNECT, Cause.FULL))
        self.ask(PROM_B)
        self.assertEqual(self.pool.active(PROM_B), 1)

    def test_probe_does_not_wait_in_the_queue(self) -> None:
        """A probe does not wait behind those whose server it asks after."""
        self.pool.max_active = 1
        self.ask()
        self.pool.send(PROM_A, GET, b"", fresh=False, buffer=100, urgent=True)
        self.assertEqual(self.pool.active(PROM_A), 2)

    def test_leaving_the_queue(self) -> None:
        """Who is cancelled while waiting was never there."""
        self.pool.max_active = 1
        first, second = self.ask(), self.ask()
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.answer()
        self.successResultOf(first)
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 1 idle>")

    def test_close_refuses_who_waits(self) -> None:
        """At the end nobody is left waiting."""
        self.pool.max_active = 1
        self.ask().addErrback(lambda _: None)
        waiting = self.ask()
        self.pool.close()
        self.failureResultOf(waiting, UpstreamError)

    def test_not_connected(self) -> None:
        """A failure to connect is told, and nothing is left, since there may be hundreds of servers that are down."""
        self.dialer.hold = True
        asked = self.ask()
        self.assertEqual(self.pool.active(PROM_A), 1)
        self.dialer.waiting[0].errback(UpstreamError(Phase.CONNECT, Cause.REFUSED))
        self.assertEqual(self.failureResultOf(asked, UpstreamError).value.cause, Cause.REFUSED)
        self.assertEqual(self.pool.active(PROM_A), 0)
        self.assertEqual(repr(self.pool), "<Pool empty>")

    def test_not_connected_once(self) -> None:
        """A failure to connect leaves kept connections as they are."""
        self.ask()
        self.answer()
        self.dialer.hold = True
        asked = self.ask(fresh=True)
        self.dialer.waiting[0].errback(UpstreamError(Phase.CONNECT, Cause.REFUSED))
        self.failureResultOf(asked, UpstreamError)
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 1 idle>")

    def test_cancel_while_connecting(self) -> None:
        """Cancelling a request stops the dialing for it."""
        self.dialer.hold = True
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual((self.dialer.cancelled, self.pool.active(PROM_A)), (1, 0))

    def test_cancel_on_new_connection(self) -> None:
        """Cancelling a request resets the connection it waits on."""
        self.dialer.hold = True
        asked = self.ask()
        self.dialer.waiting[0].callback(self.dialer.connect())
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertTrue(self.transport().aborted)
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 0 idle>")

    def test_cancel_on_kept_connection(self) -> None:
        """Cancelling a request resets the kept connection it waits on."""
        self.ask()
        self.answer()
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertTrue(self.transport().aborted)
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 0 idle>")

    def test_close_ends_everything(self) -> None:
        """Closing ends everything, tells those who wait, and fires when the last connection is gone."""
        self.ask()
        self.answer()
        waiting = self.ask(fresh=True)
        self.dialer.hold = True
        dialing = self.ask(PROM_B)
        closed = self.pool.close()
        self.assertEqual(self.failureResultOf(dialing, UpstreamError).value.phase, Phase.CONNECT)
        for connection in self.dialer.connections:
            self.assertNoResult(closed)
            self.assertTrue(connection.transport.aborted)
            connection.connectionLost(RESET)
        self.successResultOf(closed)
        self.failureResultOf(waiting, UpstreamError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closed_pool_sends_nothing(self) -> None:
        """A closed pool sends nothing, and closes at once when there is nothing to close."""
        self.successResultOf(self.pool.close())
        self.successResultOf(self.pool.close())
        error = self.failureResultOf(self.ask(), UpstreamError).value
        self.assertEqual((error.phase, self.dialer.dialed), (Phase.CONNECT, []))


class SlowClientTests(SynchronousTestCase):
    """Responses that are paused by their clients."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.dialer = RecordingDialer()
        self.reset: list[Backend] = []
        self.pool = Pool(self.dialer, self.clock, MemoryBudget(10**6), max_active=2, reset_slow=self.reset.append)
        self.log: list[str] = []

    def begin(self, client: str) -> tuple[IResponse, Consumer]:
        """Begin a response that its client does not read on."""
        asked = self.pool.send(PROM_A, GET, b"", fresh=False, buffer=0, progress=Progress(client))
        self.dialer.connections[-1].dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
        response, consumer = self.successResultOf(asked), Consumer()
        response.relay(consumer)
        response.pause()
        return response, consumer

    def wait(self) -> Deferred[IResponse]:
        return self.pool.send(PROM_A, GET, b"", fresh=False, buffer=100)

    def test_slots_are_given_back(self) -> None:
        """Paused responses keep nobody waiting, until there are as many as slots."""
        self.begin("a"), self.begin("b")
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 0 idle, 2 paused>")
        self.wait(), self.wait()
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 2 active, 0 idle, 2 paused>")
        self.assertEqual(self.reset, [])

    def test_who_waits_gets_the_slot(self) -> None:
        """A request that waits for a slot gets that of a response that is paused meanwhile."""
        asked = self.pool.send(PROM_A, GET, b"", fresh=False, buffer=0, progress=Progress("a"))
        self.wait()
        waiting = self.wait()
        self.dialer.connections[0].dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
        response = self.successResultOf(asked)
        response.relay(Consumer())
        self.assertEqual(self.pool.queued(PROM_A), 1)
        response.pause()
        self.assertEqual((self.pool.queued(PROM_A), self.pool.active(PROM_A)), (0, 2))
        self.assertNoResult(waiting)

    def test_going_on(self) -> None:
        """A response that goes on takes a slot again, even if it is one too many, and frees it at its end."""
        response, consumer = self.begin("a")
        self.wait(), self.wait()
        response.resume()
        self.assertEqual(self.pool.active(PROM_A), 3)
        self.dialer.connections[0].dataReceived(b"x" * 45)
        self.assertTrue(consumer.ended)
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 2 active, 1 idle>")

    def test_the_slowest_is_reset(self) -> None:
        """When all places are used up and a request waits, the client that took least is reset, and no other."""
        consumers = [self.begin(client)[1] for client in ("a", "b", "c", "d")]
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 2 active, 0 idle, 2 paused>")
        consumers[1].events.clear()
        self.wait()
        self.assertEqual([len(each.events) for each in consumers], [1, 1, 1, 1])
        self.assertIsInstance(consumers[1].events[0], ClientTooSlow)
        self.assertTrue(self.dialer.connections[1].transport.aborted)
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 2 active, 0 idle, 2 paused>")
        self.assertEqual(self.reset, [PROM_A])

    def test_one_client_has_half(self) -> None:
        """One client address holds at most half of the places; beyond that it is its own responses that go."""
        first, second = self.begin("a")[1], self.begin("a")[1]
        other = self.begin("b")[1]
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 1 active, 0 idle, 2 paused>")
        self.wait(), self.wait()
        self.assertEqual(len(self.reset), 1)
        self.assertEqual(sum(isinstance(each.events[-1], ClientTooSlow) for each in (first, second)), 1)
        self.assertEqual(other.events, [b"hello"])

    def test_logged_once_a_minute(self) -> None:
        """However many clients are reset, there is one line a minute, with their number."""
        logged: list[str] = []
        observer = lambda event: logged.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for number in range(8):
            self.begin(f"192.0.2.{number}")
        self.clock.advance(61)
        self.wait()
        self.assertEqual(len([line for line in logged if "were reset" in line or "was reset" in line]), 2, logged)

    def test_nothing_is_left(self) -> None:
        """The timer that looks at slow clients ends with them, and with the pool."""
        response, _ = self.begin("a")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        response.cancel()
        self.clock.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.begin("a")
        self.pool.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StreamTests(SynchronousTestCase):
    """Event streams, which have no end of their own."""

    STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    def setUp(self) -> None:
        self.dialer = RecordingDialer()
        self.pool = Pool(self.dialer, Clock(), MemoryBudget(10**6), max_active=1)

    def ask(self) -> Deferred[IResponse]:
        return self.pool.send(PROM_A, GET, b"", fresh=False, buffer=100, may_buffer=may_buffer)

    def stream(self) -> tuple[IResponse, Consumer]:
        asked = self.ask()
        self.dialer.connections[-1].dataReceived(self.STREAM)
        response, consumer = self.successResultOf(asked), Consumer()
        response.relay(consumer)
        return response, consumer

    def test_slot_is_given_back(self) -> None:
        """A stream has no slot any more when its head has come: others go on, those that waited, too."""
        for _ in range(3):
            self.stream()
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 0 idle>")
        waiting = self.ask(), self.ask()
        self.assertEqual((self.pool.active(PROM_A), self.pool.queued(PROM_A)), (1, 1))
        self.dialer.connections[-1].dataReceived(self.STREAM)
        self.successResultOf(waiting[0])
        self.assertEqual((self.pool.active(PROM_A), self.pool.queued(PROM_A)), (1, 0))

    def test_the_end_frees_nothing_twice(self) -> None:
        """A stream that ends, or whose client leaves, gives no second slot back."""
        (_, consumer), (second, _) = self.stream(), self.stream()
        self.dialer.connections[0].dataReceived(b"0\r\n\r\n")
        second.cancel()
        self.assertTrue(consumer.ended)
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 1 idle>")

    def test_paused_stream_holds_no_slot(self) -> None:
        """A stream that its client does not read holds no slot either, and is not taken for a slow response."""
        response, _ = self.stream()
        response.pause()
        response.resume()
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 0 idle>")

    def test_ends_with_its_server(self) -> None:
        """The streams of a server that is removed end in order; other responses are finished, and other servers' go on."""
        _, consumer = self.stream()
        asked = self.ask()
        other = self.pool.send(PROM_B, GET, b"", fresh=False, buffer=100, may_buffer=may_buffer)
        self.dialer.connections[2].dataReceived(self.STREAM + b"5\r\nhello\r\n")
        on_other = Consumer()
        self.successResultOf(other).relay(on_other)
        self.pool.remove(PROM_A)
        self.assertTrue(consumer.ended)
        self.assertTrue(self.dialer.connections[0].transport.aborted)
        self.assertEqual(on_other.events, [b"hello"])
        self.dialer.connections[1].dataReceived(OK)
        self.assertEqual(self.successResultOf(asked).status, 200)
        self.pool.remove(PROM_A)
        self.pool.discard(PROM_B)
        self.assertEqual(on_other.events, [b"hello"])


class QuerySlotTests(SynchronousTestCase):
    """Queries to a server that runs only so many at once."""

    def setUp(self) -> None:
        self.dialer = RecordingDialer()
        self.pool = Pool(self.dialer, Clock(), MemoryBudget(10**6), max_active=10)

    def query(self, slots: int = 1) -> Deferred[IResponse]:
        return self.pool.send(PROM_A, GET, b"", fresh=False, buffer=0, query_slots=slots)

    def loads(self) -> tuple[int, int]:
        return self.pool.active(PROM_A), self.pool.queued(PROM_A)

    def test_one_after_the_other(self) -> None:
        """A query waits while the server runs as many as it can, and other requests pass it."""
        first, second = self.query(), self.query()
        self.assertEqual(self.loads(), (1, 1))
        self.assertFalse(self.pool.has_room(PROM_A, query_slots=1))
        self.assertTrue(self.pool.has_room(PROM_A) and self.pool.has_room(PROM_A, query_slots=2))
        self.pool.send(PROM_A, GET, b"", fresh=False, buffer=0)
        self.assertEqual(self.loads(), (2, 1))
        self.dialer.connections[0].dataReceived(OK)
        self.successResultOf(first)
        self.assertEqual(self.loads(), (2, 0))
        self.dialer.connections[0].dataReceived(OK)
        self.successResultOf(second)
        self.assertTrue(self.pool.has_room(PROM_A, query_slots=1))

    def test_a_response_that_has_begun_is_run(self) -> None:
        """A query whose response has begun does not keep the next one waiting: the server has run it."""
        self.query(), self.query()
        self.dialer.connections[0].dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell")
        self.assertEqual(self.loads(), (2, 0))
        self.query()
        self.dialer.connections[0].dataReceived(b"o")
        self.assertEqual(self.loads(), (1, 1))

    def test_ends_free_the_slot(self) -> None:
        """A query that fails, is cancelled, or does not even get a connection makes room, once."""
        self.query().addErrback(lambda _: None)
        self.query()
        self.dialer.connections[0].connectionLost(RESET)
        self.assertEqual(self.loads(), (1, 0))
        self.dialer.connections[1].dataReceived(OK)
        self.dialer.connections[1].connectionLost(CLEAN)
        self.dialer.hold = True
        failing, cancelled = self.query(2), self.query(2)
        self.dialer.waiting[0].errback(UpstreamError(Phase.CONNECT, Cause.REFUSED))
        self.failureResultOf(failing, UpstreamError)
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.assertEqual(self.loads(), (0, 0))
        self.assertTrue(self.pool.has_room(PROM_A, query_slots=1))

    def test_in_order(self) -> None:
        """When there is a slot for either, the request goes that has waited longer."""
        self.pool.max_active = 1
        self.pool.send(PROM_A, GET, b"", fresh=False, buffer=0)
        waiting = [self.query(5), self.pool.send(PROM_A, GET, b"", fresh=False, buffer=0), self.query(5)]
        for asked in waiting:
            self.dialer.connections[0].dataReceived(OK)
            self.assertNoResult(asked)
        self.dialer.connections[0].dataReceived(OK)
        self.assertEqual([self.successResultOf(asked).status for asked in waiting], [200, 200, 200])
