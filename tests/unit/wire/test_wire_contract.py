"""
The contract of the wire layer, end to end: a client, a channel, the pool and a backend on the loopback.

Run in both forms: tuned (sending inside ``write``) and plain (Twisted's own transports).
"""

from __future__ import annotations

from typing import Any

from twisted.internet import protocol
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from mpp.core.interfaces import IResponse
from mpp.core.model import Backend, Headers
from mpp.wire.downstream.channel import ProxyChannel
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.relay import Relay
from mpp.wire.downstream.request_limits import Limits
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.tuned import transports
from mpp.wire.upstream.dialer import Dialer
from mpp.wire.upstream.pool import Pool
from tests.wire_support import error_page

LARGE = bytes(range(256)) * 20_000
HOLD = 1000


class Scripted(protocol.Protocol):
    """A backend: answers each request by its path."""

    def connectionMade(self) -> None:
        self.factory.connections.append(self)  # type: ignore[union-attr]
        self.factory.open.add(self)  # type: ignore[union-attr]
        self.requests = b""

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.gone(self)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.requests += data
        while b"\r\n\r\n" in self.requests:
            head, rest = self.requests.split(b"\r\n\r\n", 1)
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            if len(rest) < size:
                return
            self.requests = rest[size:]
            getattr(self, "answer_" + head.split()[1].decode()[1:])(rest[:size])

    def send(self, *pieces: bytes) -> None:
        self.transport.write(b"".join(pieces))  # type: ignore[union-attr]

    def answer_small(self, body: bytes) -> None:
        self.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    def answer_echo(self, body: bytes) -> None:
        self.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)

    def answer_large(self, body: bytes) -> None:
        self.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE), LARGE)

    def answer_chunks(self, body: bytes) -> None:
        chunks = [b"%x\r\n%b\r\n" % (10_000, LARGE[at : at + 10_000]) for at in range(0, 500_000, 10_000)]
        self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n")

    def answer_unsized(self, body: bytes) -> None:
        self.send(b"HTTP/1.1 200 OK\r\n\r\n", LARGE)
        self.transport.loseConnection()  # type: ignore[union-attr]

    def answer_truncated(self, body: bytes) -> None:
        self.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE), LARGE[:100_000])
        self.transport.loseConnection()  # type: ignore[union-attr]

    def answer_never(self, body: bytes) -> None:
        pass


class Backends(protocol.Factory):
    """Counts connections."""

    noisy = False
    protocol = Scripted  # type: ignore[assignment]

    def __init__(self) -> None:
        self.connections: list[Scripted] = []
        self.open: set[Scripted] = set()
        self.ended: Deferred[None] = Deferred()

    def gone(self, connection: Scripted) -> None:
        self.open.discard(connection)
        ended, self.ended = self.ended, Deferred()
        ended.callback(None)


class ForwardedRequest:
    """The least a request can do: send itself to the backend and the answer back."""

    def __init__(self, channel: ProxyChannel, pool: Pool, backend: Backend) -> None:
        self.channel, self.pool, self.backend = channel, pool, backend
        self.waiting: Any = None

    def received(self, method: bytes, target: bytes, version: bytes, headers: Headers, body: bytes) -> None:
        head = b"%b %b HTTP/1.1\r\nHost: b\r\nContent-Length: %d\r\n\r\n" % (method, target, len(body))
        self.waiting = self.pool.send(self.backend, head, body, fresh=False, buffer=HOLD)
        self.waiting.addCallbacks(self.answered, self.failed)

    def answered(self, response: IResponse) -> None:
        if response.complete:
            self.channel.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % response.length + b"".join(response.buffered))
            response.release()
            self.channel.request_done()
        else:
            chunked = response.length is None
            framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % response.length  # type: ignore[str-bytes-safe]
            self.channel.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
            Relay(response, self.channel, chunked, self.relayed).begin()

    def relayed(self, error: Exception | None) -> None:
        if error is None:
            self.channel.request_done()
        else:
            self.channel.abort()

    def failed(self, failure: Failure) -> None:
        if self.channel is not None:
            self.channel.abort()

    def draining(self) -> None:
        """Answer to the end."""

    def connectionLost(self, reason: Failure) -> None:
        self.waiting.cancel()


class Client(protocol.Protocol):
    """Collects; ``until`` fires when so many bytes have come, ``ended`` at the end."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.made: Deferred[None] = Deferred()
        self.ended: Deferred[type] = Deferred()
        self.waiting: list[tuple[bytes, Deferred[bytes]]] = []

    def connectionMade(self) -> None:
        self.made.callback(None)

    def ask(self, target: bytes, *fields: bytes, body: bytes = b"") -> None:
        lines = [b"POST %b HTTP/1.1" % target, b"Host: a", b"Content-Length: %d" % len(body), *fields]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)  # type: ignore[union-attr]

    def until(self, ending: bytes) -> Deferred[bytes]:
        """Wait until what has come ends like that."""
        waiting: Deferred[bytes] = Deferred()
        self.waiting.append((ending, waiting))
        self.look()
        return waiting

    def look(self) -> None:
        for each in list(self.waiting):
            if self.data.endswith(each[0]):
                self.waiting.remove(each)
                each[1].callback(bytes(self.data))

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.look()

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        self.ended.callback(type(reason.value))


class PlainTests(TestCase):
    """Twisted's own transports."""

    eager = False
    timeout = 10

    @inlineCallbacks
    def setUp(self) -> Any:
        from twisted.internet import reactor

        self.running: Any = reactor
        self.backends = Backends()
        self.backend_port = self.running.listenTCP(0, self.backends, interface="127.0.0.1")
        backend = Backend("http", "127.0.0.1", self.backend_port.getHost().port)
        self.budget = MemoryBudget(10**7)
        self.channels = Channels(self.running)
        self.pool = Pool(Dialer(self.running, lambda backend: [backend.host], eager=self.eager), self.running, self.budget)
        front: Any = protocol.Factory()
        front.noisy = False
        front.buildProtocol = lambda address: ProxyChannel(
            lambda channel: ForwardedRequest(channel, self.pool, backend), Limits(), self.budget, error_page, self.channels
        )
        self.front_port = self.running.listenTCP(0, front, interface="127.0.0.1")
        if self.eager:
            self.assertTrue(transports.make_eager(self.front_port))
        self.client = Client()
        factory: Any = protocol.ClientFactory()
        factory.noisy = False
        factory.buildProtocol = lambda address: self.client
        self.running.connectTCP("127.0.0.1", self.front_port.getHost().port, factory)
        yield self.client.made

    @inlineCallbacks
    def tearDown(self) -> Any:
        self.client.transport.abortConnection()  # type: ignore[union-attr]
        drained = self.channels.drain()
        self.channels.abort()
        yield drained
        yield self.pool.close()
        while self.backends.open:
            ended = self.backends.ended
            for connection in self.backends.open:
                connection.transport.abortConnection()  # type: ignore[union-attr]
            yield ended
        yield self.front_port.stopListening()
        yield self.backend_port.stopListening()
        self.assertEqual(self.budget.buffered, 0)

    @inlineCallbacks
    def test_small_responses_come_in_order_on_one_connection(self) -> Any:
        """Small answers come whole, in order, and over one connection on each side."""
        for _ in range(3):
            self.client.ask(b"/small")
        while self.client.data.count(b"hello") < 3:
            yield self.more()
        self.assertEqual(len(self.backends.connections), 1)

    @inlineCallbacks
    def test_large_response_is_relayed_whole(self) -> Any:
        """A large answer is relayed whole, and the connection lives on."""
        self.client.ask(b"/large")
        data = yield self.client.until(LARGE[-1000:])
        while len(data) < len(LARGE):
            data = yield self.more()
        self.assertEqual(data[-len(LARGE) :], LARGE)
        self.client.ask(b"/small")
        yield self.client.until(b"hello")
        self.assertEqual(len(self.backends.connections), 1)

    def more(self) -> Deferred[bytes]:
        """Wait for the next segment."""
        waiting: Deferred[bytes] = Deferred()
        seen = len(self.client.data)
        original = self.client.look

        def look() -> None:
            if len(self.client.data) > seen:
                self.client.look = original  # type: ignore[method-assign]
                waiting.callback(bytes(self.client.data))

        self.client.look = look  # type: ignore[method-assign]
        return waiting

    @inlineCallbacks
    def test_slow_client(self) -> Any:
        """A client that stops reading stops the backend, and gets everything when it reads again."""
        self.client.ask(b"/large")
        yield self.more()
        self.client.transport.pauseProducing()  # type: ignore[union-attr]
        yield self.turns(50)
        self.assertLess(self.budget.buffered, 10 * 64 * 1024)
        self.client.transport.resumeProducing()  # type: ignore[union-attr]
        while len(self.client.data) < len(LARGE):
            yield self.more()
        self.assertEqual(bytes(self.client.data[-len(LARGE) :]), LARGE)

    def turns(self, count: int) -> Deferred[None]:
        """Let the reactor turn so many times."""
        waiting: Deferred[None] = Deferred()

        def turn(left: int) -> None:
            if left:
                self.running.callLater(0, turn, left - 1)
            else:
                waiting.callback(None)

        turn(count)
        return waiting

    @inlineCallbacks
    def test_chunked_response_is_relayed_in_chunks(self) -> Any:
        """A chunked answer is relayed in chunks to its end."""
        self.client.ask(b"/chunks")
        data = yield self.client.until(b"\r\n0\r\n\r\n")
        self.assertGreater(len(data), 500_000)

    @inlineCallbacks
    def test_unsized_response_ends_for_the_client(self) -> Any:
        """An answer that ends with the backend's connection has a certain end for the client."""
        self.client.ask(b"/unsized")
        data = yield self.client.until(b"\r\n0\r\n\r\n")
        self.assertGreater(len(data), len(LARGE))

    @inlineCallbacks
    def test_truncated_response_resets_the_client(self) -> Any:
        """An answer that breaks off after its first bytes went out resets the client's connection."""
        self.client.ask(b"/truncated")
        reason = yield self.client.ended
        self.assertIs(reason, ConnectionLost)

    @inlineCallbacks
    def test_large_request(self) -> Any:
        """A large request reaches the backend whole, and its answer the client."""
        body = LARGE[:1_000_000]
        self.client.ask(b"/echo", body=body)
        while len(self.client.data) < len(body):
            yield self.more()
        self.assertEqual(bytes(self.client.data[-len(body) :]), body)

    @inlineCallbacks
    def test_client_gone(self) -> Any:
        """When a client goes away its request is given up at the backend."""
        self.client.ask(b"/never")
        while not self.backends.connections or not self.pool._open:
            yield self.turns(1)
        ended = self.backends.ended
        self.client.transport.abortConnection()  # type: ignore[union-attr]
        yield ended
        self.assertEqual(len(self.channels), 0)

    @inlineCallbacks
    def test_last_response_is_whole_before_the_close(self) -> Any:
        """A last answer comes whole before the connection ends cleanly."""
        self.client.ask(b"/large", b"Connection: close")
        reason = yield self.client.ended
        self.assertIs(reason, ConnectionDone)
        self.assertEqual(bytes(self.client.data[-len(LARGE) :]), LARGE)

    @inlineCallbacks
    def test_client_that_sends_too_much_can_read_why(self) -> Any:
        """A client that sends much more than is allowed can read why it is refused."""
        self.client.transport.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n" + LARGE)  # type: ignore[union-attr]
        data = yield self.client.until(b"\r\n\r\n")
        self.assertTrue(data.startswith(b"HTTP/1.1 413 "))

    @inlineCallbacks
    def test_draining_finishes_requests(self) -> Any:
        """Draining lets what is under way end."""
        self.client.ask(b"/large")
        yield self.more()
        yield self.channels.drain()
        yield self.client.ended
        self.assertEqual(bytes(self.client.data[-len(LARGE) :]), LARGE)


class TunedTests(PlainTests):
    """Transports that send inside ``write``."""

    eager = True
