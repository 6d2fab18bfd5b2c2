"""Tests of `mpp.wire.upstream.pool`: connections to addresses that a host name does not stand for any more."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import UpstreamError
from mpp.core.interfaces import IResponse
from mpp.core.model import Backend
from mpp.proxy.decisions.retry_policy import may_buffer
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.upstream.pool import Pool
from tests.wire_support import CLEAN, GET, PROM_A, PROM_B, RESET, Consumer, RecordingDialer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
OLD, NEW = "10.0.0.1", "10.0.0.7"


class LeaveTests(SynchronousTestCase):
    """A host name moves while connections to it are open."""

    def setUp(self) -> None:
        self.dialer = RecordingDialer()
        self.build()

    def build(self, **limits: Any) -> None:
        self.clock = Clock()
        self.pool = Pool(self.dialer, self.clock, MemoryBudget(10_000), **limits)

    def ask(self, backend: Backend = PROM_A, **options: Any) -> Deferred[IResponse]:
        return self.pool.send(backend, GET, b"", fresh=False, buffer=100, **options)

    def answer(self, index: int = -1) -> None:
        self.dialer.connections[index].dataReceived(OK)

    def move(self, *addresses: str) -> None:
        """Have the host of PROM_A stand for other addresses."""
        self.dialer.address = addresses[0]
        self.pool.leave(PROM_A.host, addresses)

    @property
    def addresses(self) -> list[str]:
        return [connection.address for connection in self.dialer.connections]

    def test_idle_connection_to_the_old_address_is_closed(self) -> None:
        """An idle connection to the old address is closed, and the next request, a probe too, goes to the new one."""
        self.ask()
        self.answer()
        self.move(NEW)
        self.assertTrue(self.dialer.connections[0].transport.disconnecting)
        for urgent in (True, False):
            asked = self.ask(urgent=urgent)
            self.answer()
            self.assertEqual(self.successResultOf(asked).status, 200)
        self.assertEqual(self.addresses, [OLD, NEW])

    def test_request_in_progress_ends_on_the_old_address(self) -> None:
        """A request under way gets its response from the old address; the next one does not use the connection."""
        asked = self.ask()
        self.move(NEW)
        self.assertNoResult(asked)
        self.answer()
        self.assertEqual(self.successResultOf(asked).status, 200)
        self.assertTrue(self.dialer.connections[0].transport.disconnecting)
        self.ask()
        self.assertEqual(self.addresses, [OLD, NEW])
        self.dialer.connections[0].connectionLost(CLEAN)
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 1 active, 0 idle>")

    def test_address_that_stays(self) -> None:
        """Connections to an address that the name keeps are used on, and so are those to other hosts."""
        self.ask(), self.ask(PROM_B)
        self.answer(0), self.answer(1)
        self.move(NEW, OLD)
        self.ask(), self.ask(PROM_B)
        self.assertEqual(self.addresses, [OLD, OLD])

    def test_old_requests_take_no_slot_of_the_new_address(self) -> None:
        """Requests that hang on the old address take no slot of the new one: what waits is sent there at once."""
        self.build(max_active=2)
        for _ in range(2):
            self.ask(query_slots=2)
        waiting = [self.ask(query_slots=2) for _ in range(2)]
        self.move(NEW)
        self.assertEqual(self.addresses, [OLD, OLD, NEW, NEW])
        self.assertEqual((self.pool.active(PROM_A), self.pool.queued(PROM_A)), (2, 0))
        self.answer(2), self.answer(3)
        self.assertEqual([self.successResultOf(each).status for each in waiting], [200, 200])
        self.answer(0), self.answer(1)
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 2 idle>")

    def test_waiting_with_an_idle_connection(self) -> None:
        """A request that waits is not sent on an idle connection to the old address when a slot becomes free."""
        self.build(max_active=2)
        self.ask(), self.ask()
        self.answer(1)
        self.ask(query_slots=1)
        self.answer(0)
        self.ask(query_slots=1)
        self.move(NEW)
        self.assertEqual(self.addresses, [OLD, OLD, NEW])

    def test_proof_on_the_old_address(self) -> None:
        """A request that waits until a connection to the old address is proved gets one to the new address at once."""
        self.build(question=lambda backend: GET)
        self.ask()
        self.answer()
        asked = self.ask()
        self.assertEqual(self.addresses, [OLD, OLD])
        self.move(NEW)
        self.assertTrue(self.dialer.connections[1].transport.aborted)
        self.assertEqual(self.addresses, [OLD, OLD, NEW])
        self.answer()
        self.assertEqual(self.successResultOf(asked).status, 200)
        self.dialer.connections[0].connectionLost(CLEAN), self.dialer.connections[1].connectionLost(RESET)
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 1 idle>")

    def test_event_stream(self) -> None:
        """An event stream of the old address, which would never end, is ended, so that its client comes anew."""
        asked = self.ask(may_buffer=may_buffer)
        self.dialer.connections[0].dataReceived(STREAM)
        consumer = Consumer()
        self.successResultOf(asked).relay(consumer)
        self.move(NEW)
        self.assertEqual((consumer.ended, self.pool.active(PROM_A)), (True, 0))

    def test_paused_response(self) -> None:
        """A response of the old address that its client does not read is not reset to make room at the new one."""
        self.build(max_active=1)
        asked = self.pool.send(PROM_A, GET, b"", fresh=False, buffer=0)
        self.dialer.connections[0].dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
        self.successResultOf(asked)
        self.dialer.connections[0].client_paused()
        self.move(NEW)
        for _ in range(3):
            self.ask()
        self.assertFalse(self.dialer.connections[0].transport.aborted)
        self.dialer.connections[0].client_resumed()
        self.dialer.connections[0].dataReceived(b"llo")
        self.answer(1)
        self.assertEqual((self.addresses, self.pool.active(PROM_A)), ([OLD, NEW], 1))

    def test_moved_twice(self) -> None:
        """A connection is retired once, however often the name moves; nothing is left when all have ended."""
        asked = self.ask()
        self.move(NEW)
        self.move("10.0.0.8")
        self.dialer.connections[0].connectionLost(CLEAN)
        self.failureResultOf(asked, UpstreamError)
        self.ask()
        self.answer()
        self.assertEqual(repr(self.pool), "<Pool prom-a:9090: 0 active, 1 idle>")
        closed = self.pool.close()
        self.dialer.connections[1].connectionLost(CLEAN)
        self.successResultOf(closed)
