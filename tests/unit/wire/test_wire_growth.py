"""
Tests of `mpp.wire.upstream.growth` and `mpp.wire.upstream.proving`: how many connections there are to a server that takes only
so many.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import Cause, ClientTooSlow, Phase, UpstreamError
from mpp.core.interfaces import IResponse
from mpp.core.model import Backend
from mpp.selection.probing.progress import ProbeProgress
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.upstream.connection import UpstreamConnection
from mpp.wire.upstream.pool import Pool
from mpp.wire.upstream.proving import GIVE_UP_S, LENDS_BELOW, PATIENCE_S, RETRY_S, SilenceMeaning, judge, may_open, needs_proof
from tests.wire_support import GET, PROM_A, RESET, Consumer, RecordingDialer, Transport

READY = b"GET /-/ready HTTP/1.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class DecisionTests(SynchronousTestCase):
    """The pure decisions, row by row."""

    def test_needs_proof(self) -> None:
        """The first connection needs none, nor do as many as have answered at once, unless the server takes no more."""
        for others, most, limited, expected in (
            (0, 1, False, False),
            (0, 4, True, False),
            (1, 1, False, True),
            (3, 4, False, False),
            (4, 4, False, True),
            (3, 4, True, True),
        ):
            self.assertEqual(needs_proof(others, most, limited=limited), expected, (others, most, limited))

    def test_may_open(self) -> None:
        """Beyond a known limit only one is opened now and then."""
        for others, limit, retry, expected in (
            (1000, None, False, True),
            (3, 4, False, True),
            (4, 4, False, False),
            (4, 4, True, True),
        ):
            self.assertEqual(may_open(others, limit, retry=retry), expected, (others, limit, retry))

    def test_silence_counts_after_a_while(self) -> None:
        """Silence means nothing for a while; then it depends on what is heard of the server elsewhere."""
        wait, ask, full, failed = SilenceMeaning
        for waited, silent, patience, heard, limited, can_ask, expected in (
            (0.2, 0.2, 0.25, 9, True, True, wait),
            # Other new connections have answered meanwhile: this one may just be late.
            (5.0, 0.2, 0.25, 9, True, True, wait),
            (0.3, 0.3, 0.25, 3, False, True, full),
            # It may not have come to its sockets for a while.
            (0.3, 0.3, 0.25, 2, False, True, ask),
            (0.3, 0.3, 0.25, 2, False, False, wait),
            (0.3, 0.3, 0.25, 0, True, False, full),
            (0.3, 0.3, 0.25, 0, False, True, ask),
            (0.3, 0.3, 0.25, 0, False, False, wait),
            (1.0, 1.0, 0.25, 0, False, False, failed),
            (1.0, 1.0, 0.25, 1, False, False, wait),
            # A server far away.
            (1.0, 1.0, 2.4, 9, True, True, wait),
            (2.4, 2.4, 2.4, 0, False, False, failed),
        ):
            found = judge(waited=waited, silent=silent, patience=patience, heard=heard, limited=limited, can_ask=can_ask)
            self.assertEqual(found, expected, (waited, silent, patience, heard, limited, can_ask))


class Server:
    """A server that takes so many connections; further ones wait in its backlog."""

    def __init__(self, dialer: RecordingDialer, limit: int) -> None:
        self.limit = limit
        self.silent = False
        self.ready = OK
        self.served: list[bytes] = []
        self._dialer = dialer
        self._accepted: list[UpstreamConnection] = []
        self._gone: set[UpstreamConnection] = set()
        self._read: dict[UpstreamConnection, int] = {}

    def transport(self, connection: UpstreamConnection) -> Transport:
        transport: Transport = connection.transport
        return transport

    def turn(self) -> None:
        """Do what a server does in one turn: notice ends, accept, answer questions."""
        for connection in self._dialer.connections:
            transport = self.transport(connection)
            if connection not in self._gone and (transport.disconnecting or transport.aborted):
                self._gone.add(connection)
                connection.connectionLost(RESET if transport.aborted else Failure(ConnectionDone()))
        for connection in self._dialer.connections:
            if connection not in self._accepted and len(self.open) < self.limit:
                self._accepted.append(connection)
        for connection in self.open:
            if not self.silent and self.asked(connection) == READY:
                self.answer(connection, self.ready)

    @property
    def open(self) -> list[UpstreamConnection]:
        return [each for each in self._accepted if each not in self._gone]

    def asked(self, connection: UpstreamConnection) -> bytes:
        """Return what was asked on a connection, and not answered."""
        return self.transport(connection).value()[self._read.get(connection, 0) :]

    def answer(self, connection: UpstreamConnection, response: bytes = OK) -> None:
        self._read[connection] = len(self.transport(connection).value())
        connection.dataReceived(response)

    def answered_in_part(self, connection: UpstreamConnection) -> None:
        self._read[connection] = len(self.transport(connection).value())

    def serve(self) -> None:
        """Answer each request that has been read."""
        for connection in self.open:
            if self.asked(connection) not in (b"", READY):
                self.served.append(self.asked(connection))
                self.answer(connection)


class GrowthTests(SynchronousTestCase):
    """A pool and a server that takes four connections."""

    LIMIT = 4

    def setUp(self) -> None:
        self.clock = Clock()
        self.dialer = RecordingDialer()
        self.pool = Pool(self.dialer, self.clock, MemoryBudget(10**6), question=lambda _: READY)
        self.server = Server(self.dialer, self.LIMIT)
        self.logged: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: dict[str, object]) -> None:
        self.logged.append(formatEvent(event))

    def ask(
        self, *, fresh: bool = False, urgent: bool = False, head: bytes = GET, backend: Backend = PROM_A
    ) -> Deferred[IResponse]:
        self.progress = ProbeProgress()
        return self.pool.send(backend, head, b"", fresh=fresh, buffer=100, urgent=urgent, progress=self.progress)

    def wait(self, seconds: float) -> None:
        """Let time pass, and the server work."""
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)
            for _ in range(3):
                self.server.turn()

    def rounds(self, takes: float, most: int = 50) -> int:
        """Have the server answer what it has read every so many seconds, until nothing waits; return how often it did."""
        for number in range(most):
            self.wait(takes)
            self.server.serve()
            if not self.pool.active(PROM_A) and not self.pool.queued(PROM_A):
                return number + 1
        raise AssertionError(repr(self.pool))

    def named(self) -> list[str]:
        return [line for line in self.logged if "at once" in line]

    def test_all_are_answered(self) -> None:
        """Thirty-two requests at once are answered four at a time, each once, and the limit is named once."""
        asked = [self.ask() for _ in range(32)]
        self.assertLessEqual(self.rounds(0.5), 9)
        self.assertEqual([self.successResultOf(each).status for each in asked], [200] * 32)
        self.assertEqual(self.server.served, [GET] * 32)
        self.assertEqual(len(self.named()), 1)
        self.assertIn("prom-a:9090 accepts no more than 4 connections at once", self.named()[0])
        dialed = len(self.dialer.dialed)
        asked = [self.ask() for _ in range(32)]
        self.assertEqual(self.rounds(0.5), 8)
        self.assertEqual([self.successResultOf(each).status for each in asked], [200] * 32)
        self.assertEqual((len(self.dialer.dialed), len(self.named())), (dialed, 1))

    def test_closed_kept_connections_make_room_for_waiting_requests(self) -> None:
        """Requests that wait for a connection get one when what is kept is closed meanwhile, whatever they wait for."""
        for limit, pause in ((100, 0.0), (100, 0.05), (4, 0.0), (4, 1.0)):
            self.server.limit = limit
            before = len(self.dialer.dialed)
            asked = [self.ask(), self.ask(fresh=True), *(self.ask() for _ in range(6))]
            self.wait(pause)
            self.pool.discard(PROM_A)
            for _ in range(10):
                self.wait(0.1)
                self.server.serve()
            self.assertEqual([self.successResultOf(each).status for each in asked], [200] * 8, (limit, pause))
            self.assertLess(len(self.dialer.dialed) - before, 20, (limit, pause))
            self.assertEqual(self.server.open, [], "a connection is left open")

    def test_what_waits_is_known_to_wait(self) -> None:
        """Once the limit is known, requests beyond it count as waiting, so that they can go elsewhere; a new one does at once."""
        asked = [self.ask() for _ in range(6)]
        sixth = self.progress
        self.assertFalse(sixth.queued)
        self.wait(1)
        self.assertTrue(sixth.queued)
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 4 active, 0 idle, 2 queued>")
        self.assertEqual((self.pool.active(PROM_A), self.pool.queued(PROM_A)), (4, 2))
        self.assertFalse(self.pool.has_room(PROM_A))
        asked.append(self.ask())
        self.assertTrue(self.progress.queued)
        self.server.serve()
        self.wait(0.1)
        self.assertFalse(sixth.queued)
        self.assertGreater(sixth.dequeued_at, 0)
        self.rounds(0.1)
        self.assertTrue(self.pool.has_room(PROM_A))

    def test_a_question_goes_first(self) -> None:
        """A probe takes the next connection that is free, before requests that wait longer."""
        for _ in range(8):
            self.ask()
        self.wait(1)
        probe = self.ask(urgent=True, head=READY)
        self.assertTrue(self.progress.queued)
        self.server.serve()
        self.wait(0.1)
        self.assertEqual(self.successResultOf(probe).status, 200)

    def test_no_limit(self) -> None:
        """Each connection is proved once, and later ones up to that number carry a request at once."""
        self.server.limit = 100
        asked = [self.ask() for _ in range(20)]
        self.wait(0.1)
        self.server.serve()
        self.assertEqual([self.successResultOf(each).status for each in asked], [200] * 20)
        proofs = sum(READY in connection.transport.value() for connection in self.dialer.connections)
        self.assertGreaterEqual(proofs, 18)
        self.pool.close()
        self.assertEqual((self.named(), self.clock.getDelayedCalls()), ([], []))

    def test_below_the_most_at_once(self) -> None:
        """A new connection that is not beyond as many as have answered at once carries its request directly."""
        self.server.limit = 100
        for _ in range(5):
            self.ask()
        self.wait(0.1)
        self.server.serve()
        for connection in self.server.open[:3]:
            connection.connectionLost(RESET)
        before = len(self.dialer.connections)
        for _ in range(4):
            self.ask()
        self.assertTrue(all(each.transport.value() == GET for each in self.dialer.connections[before:]))

    def test_more_than_the_limit_later(self) -> None:
        """It is tried again now and then whether the server takes more, as long as requests wait."""
        for _ in range(8):
            self.ask()
        self.wait(1)
        dialed = len(self.dialer.dialed)
        self.server.limit = 100
        self.wait(RETRY_S)
        self.ask()
        self.wait(0.1)
        self.assertGreater(len(self.dialer.dialed), dialed)
        self.wait(0.5)
        self.assertEqual(self.pool.queued(PROM_A), 0)

    def test_large_limit_keeps_a_spare_one(self) -> None:
        """With more than a few connections one is left for questions, which are answered while all others are taken."""
        self.server.limit = LENDS_BELOW
        for _ in range(20):
            self.ask()
        self.wait(1)
        self.assertEqual(self.pool.active(PROM_A), LENDS_BELOW - 1)
        probe = self.ask(urgent=True, head=READY)
        self.wait(0.1)
        self.assertEqual(self.successResultOf(probe).status, 200)

    def test_a_server_that_stopped(self) -> None:
        """A server that answers nowhere is not taken for one that is full: who waits fails in time, and may go elsewhere."""
        self.ask()
        self.wait(0.1)
        self.server.serve()
        self.server.silent = True
        asked = [self.ask() for _ in range(2)]
        self.wait(GIVE_UP_S + PATIENCE_S + 0.2)
        errors = [self.failureResultOf(each, UpstreamError).value for each in asked]
        self.assertEqual([(error.phase, error.cause) for error in errors], [(Phase.CONNECT, Cause.TIMEOUT)] * 2)
        self.assertEqual(self.named(), [])

    def test_fresh_ones(self) -> None:
        """Requests that want a new connection get one, at the limit too, where a kept one makes room."""
        asked = [self.ask(fresh=True) for _ in range(12)]
        self.rounds(0.3)
        self.assertEqual([self.successResultOf(each).status for each in asked], [200] * 12)
        self.assertEqual(len(self.server.served), 12)
        connections = [each for each in self.dialer.connections if GET in each.transport.value()]
        self.assertEqual(len(connections), 12)

    def test_a_server_that_closes_each_connection(self) -> None:
        """No connection is proved on a server that keeps none: a proof would use it up."""
        self.server.ready, self.server.limit = LAST, 100
        asked = [self.ask() for _ in range(5)]
        self.wait(0.2)
        self.server.serve()
        self.assertEqual([self.successResultOf(each).status for each in asked], [200] * 5)

    def test_who_leaves(self) -> None:
        """A request that is cancelled while it waits for a connection was never there."""
        asked = [self.ask() for _ in range(6)]
        self.wait(1)
        asked[5].cancel()
        self.failureResultOf(asked[5])
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 4 active, 0 idle, 1 queued>")
        self.rounds(0.1)
        self.assertEqual(self.server.served, [GET] * 5)

    def test_a_server_that_was_busy_with_something_else(self) -> None:
        """A server that pauses, and then answers on a kept connection first, is not taken for one that is full."""
        self.server.limit = 100
        for _ in range(3):
            self.ask()
        self.wait(0.1)
        self.server.serve()
        asked = [self.ask() for _ in range(6)]
        for _ in range(4):
            self.clock.advance(0.05)
        for connection in self.server.open:
            if self.server.asked(connection) not in (b"",):
                self.server.answer(connection)
        self.clock.advance(0.05)
        self.wait(0.1)
        self.server.serve()
        self.wait(0.1)
        self.server.serve()
        self.assertEqual([self.successResultOf(each).status for each in asked], [200] * 6)
        self.assertEqual(self.named(), [])

    def test_refused_connection_is_reported_to_its_request(self) -> None:
        """When a new connection is refused, a request that waits for it is told, and can go elsewhere."""
        self.ask()
        self.dialer.hold = True
        waiting = self.ask()
        self.dialer.waiting[0].errback(UpstreamError(Phase.CONNECT, Cause.REFUSED))
        self.assertEqual(self.failureResultOf(waiting, UpstreamError).value.cause, Cause.REFUSED)

    def test_handshake_that_hangs(self) -> None:
        """Over TLS a connection beyond the limit does not even come about; that is not the server's fault."""
        asked = [self.ask() for _ in range(3)]
        self.wait(0.1)
        self.server.serve()
        self.dialer.hold = True
        asked = [self.ask() for _ in range(6)]
        self.wait(0.1)
        self.server.serve()
        self.wait(0.1)
        for dialing in self.dialer.waiting:
            if not dialing.called:
                dialing.errback(UpstreamError(Phase.CONNECT, Cause.TIMEOUT))
        self.rounds(0.1)
        self.assertEqual([self.successResultOf(each).status for each in asked], [200] * 6)
        self.assertEqual(len(self.named()), 1)

    def test_slow_readers(self) -> None:
        """Paused responses keep half of the few connections that a server takes, not all, while other requests wait."""
        asked = [self.pool.send(PROM_A, GET, b"", fresh=False, buffer=0) for _ in range(5)]
        self.wait(1)
        consumers = [Consumer() for _ in range(4)]
        for connection in self.server.open:
            connection.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
            self.server.answered_in_part(connection)
        for each, consumer in zip(asked[:4], consumers, strict=True):
            response = self.successResultOf(each)
            response.relay(consumer)
            response.pause()
        reset = [consumer for consumer in consumers if isinstance(consumer.events[-1], ClientTooSlow)]
        self.assertEqual(len(reset), 1)
        self.wait(0.5)
        self.server.serve()
        self.assertEqual(self.successResultOf(asked[4]).status, 200)

    def test_no_wait_and_no_timer_outlive_the_close(self) -> None:
        """At the end nothing waits, and no timer is left."""
        asked = [self.ask() for _ in range(6)]
        closed = self.pool.close()
        self.server.turn()
        for each in asked:
            self.failureResultOf(each, UpstreamError)
        self.successResultOf(closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_all_gone(self) -> None:
        """When all connections have ended the server may have started anew: what waits gets a new one at once."""
        for _ in range(6):
            self.ask().addErrback(lambda _: None)
        self.wait(1)
        self.assertEqual(self.pool.queued(PROM_A), 2)
        for connection in self.server.open:
            connection.connectionLost(RESET)
        self.wait(0.1)
        self.assertEqual((self.pool.active(PROM_A), self.pool.queued(PROM_A)), (2, 0))
