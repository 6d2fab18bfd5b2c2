"""
Tests of `mpp.wire.downstream.connection_limit`: how many clients are let in. Real sockets, for the kernel's queue is the subject.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor as typeless
from twisted.internet import tcp
from twisted.internet.defer import inlineCallbacks
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactor
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mpp.wire.downstream.channel import ProxyChannel
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.connection_limit import QUIET_S, ConnectionLimit
from mpp.wire.downstream.proxy_protocol import ProxyHeaderFactory
from mpp.wire.downstream.request_limits import Limits
from mpp.wire.memory_budget import MemoryBudget
from tests.wire_support import GET, PromptRequest, error_page

reactor: Any = typeless


class Aged(Channels):
    """Channels whose clock the test sets ahead."""

    def __init__(self) -> None:
        super().__init__(self)  # type: ignore[arg-type]
        self.ahead = 0.0

    def seconds(self) -> float:
        """Return the time."""
        return float(reactor.seconds()) + self.ahead


class GateTests(TestCase):
    """A port with two places."""

    def setUp(self) -> None:
        """Listen."""
        self.channels = Aged()
        self.gate = ConnectionLimit(self.channels, 2)
        self.logged: list[str] = []
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = self.channel  # type: ignore[method-assign]
        self.port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        self.assertTrue(self.gate.guard(self.port))
        self.clients: list[socket.socket] = []

    @inlineCallbacks
    def tearDown(self) -> Any:
        """Let all go."""
        for client in self.clients:
            client.close()
        self.gate.leave()
        self.channels.abort()
        yield self.settle()

    def log(self, event: Any) -> None:
        if "limit is reached" in str(event.get("log_format")):
            self.logged.append(event["log_format"])

    def channel(self, address: object) -> ProxyChannel:
        return ProxyChannel(lambda channel: PromptRequest(channel, []), Limits(), MemoryBudget(100), error_page, self.channels)

    def connect(self, count: int) -> None:
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", self.port.getHost().port))
            client.setblocking(False)
            self.clients.append(client)

    @inlineCallbacks
    def settle(self) -> Any:
        for _ in range(20):
            yield deferLater(reactor, 0)

    @inlineCallbacks
    def served(self, index: int) -> Any:
        """Ask once; tell whether there is an answer."""
        self.clients[index].send(GET)
        yield self.settle()
        try:
            return self.clients[index].recv(100) == b"</>"
        except BlockingIOError:
            return False

    @inlineCallbacks
    def test_others_wait(self) -> Any:
        """Nobody is let in beyond the limit, and nobody refused: who waits is let in when there is room."""
        self.connect(3)
        yield self.settle()
        self.assertEqual((len(self.channels), repr(self.gate)), (2, "<Gate shut, 2 of 2>"))
        served = yield self.served(2)
        self.assertFalse(served)
        self.clients[0].close()
        yield self.settle()
        self.assertEqual(self.clients[2].recv(100), b"</>")

    @inlineCallbacks
    def test_connections_without_their_header_count(self) -> Any:
        """A connection that waits for its PROXY header has a place, which it gives up for one that waits after a second."""
        factory = Factory()
        factory.buildProtocol = self.channel  # type: ignore[method-assign]
        self.port.factory = ProxyHeaderFactory(factory, reactor)
        self.gate.release(self.port)
        del self.port.doRead
        self.gate.guard(self.port)
        self.connect(3)
        yield self.settle()
        self.assertEqual((len(self.channels), repr(self.gate)), (2, "<Gate shut, 2 of 2>"))
        self.clients[0].send(b"PROXY UNKNOWN\r\n")
        yield self.settle()
        served = yield self.served(0)
        self.assertEqual((served, len(self.channels)), (True, 2))
        self.channels.ahead += 2
        self.gate.check()
        yield self.settle()
        self.clients[2].send(b"PROXY UNKNOWN\r\n")
        served = yield self.served(2)
        self.assertEqual((served, len(self.channels)), (True, 2))

    @inlineCallbacks
    def test_idle_make_room(self) -> Any:
        """The connection that has been idle for longest is closed for one that waits."""
        self.connect(2)
        yield self.settle()
        self.channels.ahead += 10
        served = yield self.served(0)
        self.assertTrue(served)
        self.connect(1)
        yield self.settle()
        self.assertEqual((self.clients[1].recv(100), len(self.channels)), (b"", 2))
        served = yield self.served(2)
        self.assertTrue(served)

    @inlineCallbacks
    def test_active_stay(self) -> Any:
        """A client that was just answered keeps its place for one more answer, which says that it is the last."""
        self.connect(2)
        yield self.settle()
        for index in (0, 1):
            yield self.served(index)
        self.connect(1)
        yield self.settle()
        self.assertFalse(self.channels.keeping)
        served = yield self.served(0)
        self.assertTrue(served)
        served = yield self.served(2)
        self.assertTrue(served)
        self.assertEqual(self.clients[0].recv(100), b"")

    @inlineCallbacks
    def test_newly_idle_connections_are_found_by_the_sweep(self) -> Any:
        """Connections that become idle while others wait are found by the sweep."""
        self.connect(3)
        yield self.settle()
        self.assertEqual(len(self.channels), 2)
        self.channels.ahead += 2
        self.gate.check()
        yield self.settle()
        served = yield self.served(2)
        self.assertTrue(served)

    @inlineCallbacks
    def test_logged_once(self) -> Any:
        """That there is no room is logged once a minute."""
        for expected, ahead in ((1, 0.0), (1, 1.0), (2, QUIET_S)):
            self.channels.ahead += ahead
            self.connect(3)
            yield self.settle()
            self.assertEqual(len(self.logged), expected)
            for client in self.clients:
                client.close()
            self.clients.clear()
            yield self.settle()

    @inlineCallbacks
    def test_no_descriptors(self) -> Any:
        """When there are no descriptors left that is one line in the log, and accepting pauses until the sweep."""
        said: list[str] = []

        def note(event: Any) -> None:
            if "descriptors" in str(event.get("log_format")):
                said.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        real = self.port.socket

        class Exhausted:
            """A listening socket whose process has no descriptors left."""

            def accept(self) -> Any:
                raise OSError(tcp.EMFILE, "Too many open files")

        self.port.socket = Exhausted()
        self.port.doRead()
        self.port.doRead()
        self.port.socket = real
        self.assertEqual((len(said), repr(self.gate)), (1, "<Gate shut, 0 of 2>"))
        self.connect(1)
        yield self.settle()
        self.assertEqual(len(self.channels), 0)
        self.gate.check()
        served = yield self.served(0)
        self.assertTrue(served)


class OtherPortTests(SynchronousTestCase):
    """Ports of other kinds."""

    def test_left_alone(self) -> None:
        """What is no TCP port of Twisted's is left as it is."""
        gate = ConnectionLimit(Channels(reactor), 1)
        self.assertFalse(gate.guard(object()))
        gate.check()

    def test_twisted_has_the_private_attributes_of_the_gate(self) -> None:
        """This release of Twisted has what the gate leans on: how many are accepted at once, and by what it is logged."""
        port = tcp.Port(0, Factory(), reactor=MemoryReactor())
        self.assertTrue(hasattr(port, "_logger"))
        self.assertIn("numberAccepts", tcp.Port.startListening.__code__.co_names)
