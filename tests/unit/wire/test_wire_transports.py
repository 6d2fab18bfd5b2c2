"""Tests of `mpp.wire.tuned.transports`: sending inside ``write``. Real sockets, for that is the subject."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

from twisted.internet import defer, protocol, tcp
from twisted.internet.testing import MemoryReactor
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mpp.wire.tuned import transports


class ChangedPrivatesTests(SynchronousTestCase):
    """What mpp needs of Twisted's private parts."""

    def test_nothing_changed(self) -> None:
        """This release of Twisted has all that sending inside ``write`` leans on."""
        self.assertEqual(transports.changed_privates(), ())

    def test_plain_fallback(self) -> None:
        """A port or reactor of another kind is left as it is."""
        self.assertFalse(transports.make_eager(object()))
        reactor = MemoryReactor()
        transports.connect(reactor, "10.0.0.1", 80, protocol.ClientFactory(), eager=True)
        self.assertEqual(reactor.tcpClients[0][:2], ("10.0.0.1", 80))

    def test_changed_twisted_is_detected(self) -> None:
        """A release of Twisted that has changed is found out, and a port of its own kind is left as it is."""
        self.patch(tcp.Port, "transport", object)
        transports.changed_privates.cache_clear()
        self.addCleanup(transports.changed_privates.cache_clear)
        self.assertEqual(transports.changed_privates(), ("Port.transport",))
        port = tcp.Port(0, protocol.Factory(), reactor=MemoryReactor())
        self.assertFalse(transports.make_eager(port))
        del port


class RecordingReactor:
    """Takes note of who wants to be told of what."""

    def __init__(self) -> None:
        self.readers: list[object] = []
        self.writers: list[object] = []
        self.turn: list[Any] | None = None
        self.later: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def addReader(self, reader: object) -> None:
        self.readers.append(reader)

    def addWriter(self, writer: object) -> None:
        self.writers.append(writer)

    def removeReader(self, reader: object) -> None:
        self.readers = [each for each in self.readers if each is not reader]

    def removeWriter(self, writer: object) -> None:
        self.writers = [each for each in self.writers if each is not writer]

    def callLater(self, delay: float, call: Callable[..., object], *args: object) -> None:
        self.later.append((call, args))


class Endpoint(protocol.Protocol):
    """Takes note of what happens to it."""

    lost: Any = None

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = reason


class RecordingProducer:
    """Takes note of what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


class EagerWritesTests(SynchronousTestCase):
    """One transport on a real socket, with a reactor that the test plays."""

    def setUp(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)
        self.addCleanup(self.theirs.close)
        self.addCleanup(ours.close)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        self.reactor = RecordingReactor()
        self.endpoint = Endpoint()
        self.transport: Any = transports.EagerServer(
            ours,
            self.endpoint,
            ("127.0.0.1", 1),
            None,  # type: ignore[arg-type]
            1,
            self.reactor,  # type: ignore[arg-type]
        )

    def received(self) -> bytes:
        """Take what has come, playing the reactor as long as the transport wants to write."""
        data = b""
        while True:
            try:
                piece = self.theirs.recv(2**20)
                if not piece:
                    return data
                data += piece
            except BlockingIOError:
                if not self.reactor.writers:
                    return data
            if self.reactor.writers:
                reason = self.transport.doWrite()
                if reason is not None:
                    self.transport.connectionLost(Failure(reason))

    def test_at_once(self) -> None:
        """A small write is sent inside ``write``, and the reactor is not asked to wait for the socket."""
        self.transport.write(b"hello")
        self.assertEqual(self.theirs.recv(100), b"hello")
        self.transport.writeSequence([b"a", b"b"])
        self.assertEqual(self.theirs.recv(100), b"ab")
        self.transport.write(b"")
        self.assertEqual(self.reactor.writers, [])

    def test_in_order(self) -> None:
        """What the socket does not take is sent later, in order with what is written after it."""
        large = bytes(range(256)) * 4000
        self.transport.write(large)
        self.assertEqual(self.reactor.writers, [self.transport])
        self.transport.write(b"after")
        self.transport.writeSequence([b"wards", b"!"])
        self.assertEqual(self.received(), large + b"afterwards!")
        self.transport.write(b"at once")
        self.assertEqual(self.theirs.recv(100), b"at once")

    def test_large_pieces(self) -> None:
        """Pieces too large to be joined are sent in order, wherever the socket stops taking them."""
        for pieces in (
            [b"head", b"x" * 20_000],
            [b"head", b"x" * 300_000, b"y" * 300_000, b"z" * 300_000],
            [b"x" * 900_000, b"", b"tail"],
            [b"x" * 1000] * 100,
        ):
            self.transport.writeSequence(pieces)
            self.transport.write(b"after")
            self.assertEqual(self.received(), b"".join(pieces) + b"after")

    def test_large_pieces_to_nobody(self) -> None:
        """A failure to send many pieces is told as any other."""
        self.theirs.close()
        self.transport.writeSequence([b"x" * 20_000, b"y" * 20_000])
        self.assertIsNone(self.endpoint.lost)
        self.assertTrue(self.reactor.writers)
        self.assertIsInstance(self.transport.doWrite(), Exception)

    def end_turn(self) -> None:
        turn, self.reactor.turn = self.reactor.turn, None
        for each in turn or ():
            each.send_late()

    def test_end_of_turn(self) -> None:
        """In a reactor's turn small writes are sent at its end, as one, and large ones in order with them."""
        large = b"x" * 100_000
        for written in ([b"a", b"b", b"c"], [b"a", large, b"b", b"c"], [b"small" * 3000, b"small" * 3000, large]):
            self.reactor.turn = []
            for data in written:
                self.transport.write(data)
            self.end_turn()
            self.assertEqual(self.received(), b"".join(written))
        self.reactor.turn = []
        self.transport.write(b"a")
        self.assertRaises(BlockingIOError, self.theirs.recv, 100)
        self.transport.writeSequence([b"b", large, large])
        self.transport.writeSequence([b"c", b"d"])
        self.end_turn()
        self.assertEqual(self.received(), b"ab" + large + large + b"cd")

    def test_no_call_without_bytes(self) -> None:
        """At the end of a turn nothing is sent if a large write has sent the small one before it."""
        sizes, send = [], self.transport.socket.send
        self.transport.socket = Mock(wraps=self.transport.socket)
        self.transport.socket.send = lambda data: (sizes.append(len(data)), send(data))[1]
        self.reactor.turn = []
        self.transport.write(b"head")
        self.transport.write(b"x" * 20_000)
        self.end_turn()
        self.assertEqual(sizes, [4, 20_000])

    def test_end_of_turn_after_the_end(self) -> None:
        """What was written before a connection was closed is sent; after it was reset, it is not."""
        self.reactor.turn = []
        self.transport.write(b"bye")
        self.transport.loseConnection()
        self.end_turn()
        self.assertEqual(self.received(), b"bye")
        self.assertIsNotNone(self.endpoint.lost)

    def test_end_of_turn_after_a_reset(self) -> None:
        """Nothing is sent at the end of the turn in which a connection was reset."""
        self.reactor.turn = []
        self.transport.write(b"bye")
        self.transport.abortConnection()
        self.end_turn()
        self.assertRaises(BlockingIOError, self.theirs.recv, 100)

    def test_end_of_turn_with_a_pull_producer(self) -> None:
        """What a pull producer gives comes after what was written before it."""
        producer = RecordingProducer()
        self.reactor.turn = []
        self.transport.write(b"before ")
        self.transport.registerProducer(producer, False)
        self.transport.write(b"x" * 20_000)
        self.end_turn()
        self.assertEqual(self.received(), b"before " + b"x" * 20_000)

    def test_push_producer(self) -> None:
        """A push producer is paused when the socket does not take its data, and resumed when all is sent."""
        producer = RecordingProducer()
        self.transport.registerProducer(producer, True)
        self.transport.write(b"hello")
        self.assertEqual(producer.calls, [])
        self.transport.write(b"x" * 500_000)
        self.assertEqual(producer.calls, ["pause"])
        self.received()
        self.assertEqual(producer.calls, ["pause", "resume"])

    def test_pull_producer(self) -> None:
        """A pull producer is asked for more after each piece."""
        producer = RecordingProducer()
        self.transport.registerProducer(producer, False)
        self.transport.write(b"hello")
        self.assertEqual((producer.calls, self.reactor.writers), (["resume"], [self.transport]))
        self.received()
        self.assertEqual(producer.calls, ["resume", "resume"])

    def test_lose_connection_flushes(self) -> None:
        """Closing after a large write sends all of it first."""
        self.transport.write(b"x" * 500_000)
        self.transport.loseConnection()
        self.assertIsNone(self.endpoint.lost)
        self.assertEqual(len(self.received()), 500_000)
        self.assertIsNotNone(self.endpoint.lost)

    def test_half_close(self) -> None:
        """What is written before the end of writing is sent, what is written after is not."""
        self.transport.write(b"x" * 500_000)
        self.transport.loseWriteConnection()
        self.assertEqual(len(self.received()), 500_000)
        self.transport.write(b"after")
        self.assertEqual(self.theirs.recv(100), b"")

    def test_failed_write_is_reported_later(self) -> None:
        """A write that fails is told by the end of the connection, later, and not inside ``write``."""
        self.theirs.close()
        self.transport.write(b"hello")
        self.assertIsNone(self.endpoint.lost)
        self.assertEqual(self.reactor.writers, [self.transport])
        self.assertIsInstance(self.transport.doWrite(), Exception)

    def test_after_abort(self) -> None:
        """Nothing is sent after a reset was asked for."""
        self.transport.abortConnection()
        self.transport.write(b"hello")
        self.assertRaises(BlockingIOError, self.theirs.recv, 100)
        ((call, args),) = self.reactor.later
        call(*args)
        self.transport.write(b"hello")
        self.assertEqual(self.theirs.recv(100), b"")


class Echo(protocol.Protocol):
    """Sends back what it receives, and closes at ``!``."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]
        if data.endswith(b"!"):
            self.transport.loseConnection()  # type: ignore[union-attr]


class Collect(protocol.Protocol):
    """Sends, and collects until the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.collected: list[bytes] = []
        self.ended: defer.Deferred[bytes] = defer.Deferred()

    def connectionMade(self) -> None:
        self.transport.write(self.data)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.collected.append(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(b"".join(self.collected))


class LoopbackTests(TestCase):
    """Both sides over the loopback, with the real reactor."""

    @defer.inlineCallbacks
    def test_large_data_arrives_whole_and_in_order(self) -> Any:
        """Large data passes both eager transports whole and in order."""
        from twisted.internet import reactor

        running: Any = reactor
        port = running.listenTCP(0, protocol.Factory.forProtocol(Echo), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.assertTrue(transports.make_eager(port))
        data = bytes(range(ord("!") + 1, 256)) * 20_000 + b"!"
        client = Collect(data)
        factory: Any = protocol.ClientFactory()
        factory.buildProtocol = lambda address: client
        transports.connect(running, "127.0.0.1", port.getHost().port, factory, eager=True)
        collected = yield client.ended
        self.assertEqual(collected, data)
        self.assertIsInstance(client.transport, transports.EagerClient)


class LookTests(SynchronousTestCase):
    """What can be seen of a transport from outside."""

    def pair(self) -> tuple[Any, socket.socket]:
        """Return a transport and the socket at its other end."""
        near, far = socket.socketpair()
        near.setblocking(False)
        self.addCleanup(near.close)
        self.addCleanup(far.close)
        return tcp.Connection(near, protocol.Protocol(), RecordingReactor()), far  # type: ignore[arg-type]

    def test_has_arrived(self) -> None:
        """Bytes that nobody has read yet are seen, and stay; an end is no bytes. TLS is looked through."""
        transport, far = self.pair()
        wrapped = ProtocolWrapper(WrappingFactory(protocol.Factory()), protocol.Protocol())
        wrapped.transport = transport
        self.assertFalse(transports.has_arrived(wrapped))
        far.send(b"x")
        self.assertTrue(transports.has_arrived(wrapped))
        self.assertTrue(transports.has_arrived(transport))
        transport.socket.recv(10)
        far.close()
        self.assertFalse(transports.has_arrived(transport))
        self.assertFalse(transports.has_arrived(object()))

    def test_unsent_bytes_are_counted(self) -> None:
        """What waits to be sent is counted, wherever it waits."""
        transport, far = self.pair()
        transport.connected = 1
        self.assertEqual(transports.unsent(transport), 0)
        transport.write(b"x" * 10)
        self.assertEqual(transports.unsent(transport), 10)
        transport.dataBuffer, transport.offset = b"y" * 10, 4
        self.assertEqual(transports.unsent(transport), 16)
        transport.socket.send(b"z" * 1000)
        queued = transports.unsent(transport)
        self.assertGreater(queued, 1000)
        far.recv(1000)
        self.assertEqual(transports.unsent(transport), 16)
        self.assertEqual(transports.unsent(object()), -1)
