"""Tests of `mpp.wire.downstream.relay`: a body on its way from backend to client."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import UpstreamError
from mpp.wire.downstream.relay import Relay
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.upstream.connection import UpstreamConnection
from tests.wire_support import GET, RESET, Keeping, ServerSide, Transport


class RelayTests(Keeping, SynchronousTestCase):
    """A real upstream connection, a real channel, and the Relay between them."""

    def setUp(self) -> None:
        self.server = ServerSide()
        self.server.receive(GET)
        self.budget = MemoryBudget(10**6)
        self.upstream = UpstreamConnection()
        self.backend = Transport()
        self.upstream.makeConnection(self.backend)
        self.upstream.adopt(self, self.budget)
        self.done: list[Exception | None] = []

    def relay(self, *, chunked: bool = False) -> Relay:
        asked = self.upstream.send(GET, b"", 0, None)
        self.upstream.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        relay = Relay(self.successResultOf(asked), self.server.channel, chunked, self.done.append)
        relay.begin()
        return relay

    def test_as_it_is(self) -> None:
        """A body whose length was announced goes out as it is."""
        relay = self.relay()
        self.upstream.dataReceived(b"hello")
        self.upstream.dataReceived(b"world")
        self.assertEqual((self.server.sent, self.done, relay.sent), (b"helloworld", [None], 10))

    def test_body_is_chunked_when_the_head_says_so(self) -> None:
        """A body is sent in chunks when the head said so."""
        self.relay(chunked=True)
        self.upstream.dataReceived(b"hello")
        self.upstream.dataReceived(b"world")
        self.assertEqual(self.server.sent, b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")

    def test_slow_client(self) -> None:
        """A client that does not take its answer makes the backend wait."""
        self.relay()
        assert self.server.transport.producer is not None
        self.server.transport.producer.pauseProducing()
        self.assertEqual(self.backend.producerState, "paused")
        self.upstream.dataReceived(b"hello")
        self.assertEqual((self.server.sent, self.budget.buffered), (b"", 5))
        self.server.transport.producer.resumeProducing()
        self.assertEqual((self.backend.producerState, self.server.sent, self.budget.buffered), ("producing", b"hello", 0))

    def test_client_slow_already(self) -> None:
        """A client that does not even take the head makes the backend wait, too."""
        assert self.server.transport.producer is not None
        self.server.transport.producer.pauseProducing()
        self.relay()
        self.assertEqual(self.backend.producerState, "paused")

    def test_broken_off(self) -> None:
        """When the backend breaks off, nothing is sent that looks like an end, and it is told why."""
        self.relay(chunked=True)
        self.upstream.dataReceived(b"hello")
        self.upstream.connectionLost(RESET)
        self.assertEqual(self.server.sent, b"5\r\nhello\r\n")
        self.assertIsInstance(self.done[0], UpstreamError)

    def test_client_gone(self) -> None:
        """When the client goes away the backend's answer is given up, and the client's request is told."""
        self.relay()
        self.server.disconnect()
        self.assertTrue(self.backend.aborted)
        self.assertEqual((self.done, len(self.server.requests[0].lost)), ([], 1))

    def test_producer_is_unregistered(self) -> None:
        """After its end a relay leaves the channel to the next answer."""
        for _ in range(2):
            self.relay()
            self.upstream.dataReceived(b"helloworld")
        self.assertEqual(self.done, [None, None])
