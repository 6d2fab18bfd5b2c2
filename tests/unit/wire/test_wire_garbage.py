"""
What a connection needed is free when it ends, not when the garbage collector comes by: that may be after an hour. Real sockets,
for the bytes that their transports have not sent are the subject.
"""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as typeless
from twisted.internet.defer import inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.internet.task import deferLater
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from mpp.core.model import Backend, Headers
from mpp.wire.downstream.channel import ProxyChannel
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.early_rejection import EarlyRejectionChannel
from mpp.wire.downstream.proxy_protocol import ProxyHeaderFactory
from mpp.wire.downstream.request_limits import Limits
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.tls import TLSPolicy
from mpp.wire.tuned.transports import make_eager, unsent
from mpp.wire.upstream.connection import UpstreamConnection
from mpp.wire.upstream.dialer import Dialer
from tests.certificates import Authority
from tests.wire_support import Keeping, error_page

reactor: Any = typeless

# More than the kernel's buffers of both sides take.
LARGE = bytes(24 * 1024 * 1024)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
REQUESTS = {
    "kept open": GET,
    "closed after the response": b"GET / HTTP/1.0\r\n\r\n",
    "more requests behind it": GET * 3,
    "an incomplete request behind it": GET + GET[:-3],
    "an error behind it": GET + b"nonsense\r\n\r\n",
    "a rejected head behind it": GET + b"GET / HTTP/1.1\r\n\r\n",
    "a rejected body behind it": GET + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
}


def alive(reference: weakref.ref[Any]) -> Any:
    """Return the object, which is alive."""
    found = reference()
    assert found is not None
    return found


class LargeResponse:
    """A request that gets more than its client reads; if it has a body, it is admitted at once."""

    whole = True

    def __init__(self, channel: ProxyChannel) -> None:
        self.channel = channel

    def announced(self, method: bytes, target: bytes, version: bytes, headers: Headers) -> None:
        self.channel.admit()  # type: ignore[attr-defined]

    def received(self, method: bytes, target: bytes, version: bytes, headers: Headers, body: bytes) -> None:
        if self.whole:
            self.channel.write(LARGE)
            self.channel.request_done()
        else:
            self.channel.registerProducer(self, True)
            self.channel.write(LARGE)

    def draining(self) -> None: ...

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...

    def connectionLost(self, reason: Failure) -> None: ...


class UnfinishedResponse(LargeResponse):
    """A request whose response has not ended when its client disconnects."""

    whole = False


class Silent(Protocol):
    """A peer that reads nothing, or only what it needs to connect."""

    def connectionMade(self) -> None:
        self.transport.pauseProducing()  # type: ignore[union-attr]


class Owner(Keeping):
    """Owns a connection to a server."""

    closed = False

    def connection_closed(self, connection: UpstreamConnection) -> None:
        self.closed = True


class GarbageCase(TestCase):
    """The garbage collector is off, and all objects of connections are known."""

    def setUp(self) -> None:
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        self.made: list[weakref.ref[Any]] = []

    def watch(self, connection: Any) -> None:
        """Remember a protocol, and the transports below it."""
        self.made.append(weakref.ref(connection))
        transport = connection.transport
        while isinstance(transport, ProtocolWrapper):
            self.made.append(weakref.ref(transport))
            transport = transport.transport
        self.made.append(weakref.ref(transport))

    def left(self) -> list[str]:
        """Return the types of the objects that are left."""
        return [type(each()).__name__ for each in self.made if each() is not None]

    @inlineCallbacks
    def until(self, condition: Callable[[], bool]) -> Any:
        """Wait for up to ten seconds."""
        for _ in range(1000):
            if condition():
                break
            yield deferLater(reactor, 0.01)
        self.assertTrue(condition())
        # What Twisted calls in the next iteration.
        for _ in range(3):
            yield deferLater(reactor, 0)

    def listen(self, factory: Factory, *, eager: bool = True) -> int:
        factory.noisy = False
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        if eager:
            make_eager(port)
        return int(port.getHost().port)


class UnreadResponsesTests(GarbageCase):
    """A client that does not read its response, and disconnects."""

    def setUp(self) -> None:
        super().setUp()
        self.channels = Channels(reactor)
        self.certificate = PrivateCertificate.loadPEM(Authority().sign("DNS:localhost"))

    @inlineCallbacks
    def check(
        self,
        kind: Callable[..., ProxyChannel] = ProxyChannel,
        *,
        data: bytes = GET,
        request: type[LargeResponse] = LargeResponse,
        tls: bool = False,
        proxied: bytes = b"",
        eager: bool = True,
    ) -> Any:
        """Let a client connect, send the data and read nothing; assert that nothing is left when it has disconnected."""

        class Watched(kind):  # type: ignore[valid-type, misc]
            def connectionMade(channel) -> None:
                super().connectionMade()
                self.watch(channel)

        factory: Any = Factory()
        factory.buildProtocol = lambda address: Watched(request, Limits(), MemoryBudget(10**6), error_page, self.channels)
        if tls:
            own = self.certificate
            context = CertificateOptions(privateKey=own.privateKey.original, certificate=own.original)
            factory = TLSMemoryBIOFactory(context, False, factory)
        if proxied:
            factory = ProxyHeaderFactory(factory, reactor)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.listen(factory, eager=eager))
        client: Any = yield connectProtocol(endpoint, Protocol() if tls else Silent())
        client.transport.write(proxied)
        if tls:
            client.transport.startTLS(TLSPolicy(insecure=True).creator("localhost"))
        client.transport.write(data)
        yield self.until(lambda: bool(self.made))
        made = self.made[0]
        if tls:
            # It has to read until the handshake is complete.
            yield self.until(lambda: alive(made).outlet.stuck)
            client.transport.pauseProducing()
            yield self.until(lambda: alive(made).unsent() > 0)
        yield self.until(lambda: alive(made).outlet.stuck)
        gc.freeze()
        self.addCleanup(gc.unfreeze)
        client.transport.abortConnection()
        del client, factory
        yield self.until(lambda: not len(self.channels))
        if tls:
            # Twisted makes a cycle at the end of a connection that is reset: a traceback. It is never frozen.
            gc.collect()
        self.assertEqual(self.left(), [])
        self.made.clear()

    @inlineCallbacks
    def test_unread_response_is_freed(self) -> Any:
        """Whatever the client has sent, and however far its response is, all of it is freed."""
        for (title, data), request in itertools.product(REQUESTS.items(), (LargeResponse, UnfinishedResponse)):
            with self.subTest(title, request=request):
                yield self.check(data=data, request=request)

    @inlineCallbacks
    def test_unread_response_to_an_admitted_request_is_freed(self) -> Any:
        """That holds for channels that check requests by their heads, whether the request was checked or not."""
        post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
        for title, data in {**REQUESTS, "an incomplete body behind it": GET + post, "checked": post + b"hello"}.items():
            with self.subTest(title):
                yield self.check(EarlyRejectionChannel, data=data)

    @inlineCallbacks
    def test_unread_response_behind_a_load_balancer_is_freed(self) -> Any:
        """That holds for connections with a PROXY header."""
        yield self.check(proxied=b"PROXY UNKNOWN\r\n")

    @inlineCallbacks
    def test_unread_response_over_tls_is_freed(self) -> Any:
        """That holds for TLS, also with a PROXY header."""
        for proxied, request in itertools.product((b"", b"PROXY UNKNOWN\r\n"), (LargeResponse, UnfinishedResponse)):
            yield self.check(tls=True, request=request, proxied=proxied)

    @inlineCallbacks
    def test_unread_response_of_twisted_is_freed(self) -> Any:
        """That holds for Twisted's own transports."""
        yield self.check(eager=False)


class UnreadRequestsTests(GarbageCase):
    """A server that does not read a request."""

    @inlineCallbacks
    def check(self, end: Callable[[UpstreamConnection, Protocol], None], *, tls: bool = False, eager: bool = True) -> Any:
        """Send a request, which the server does not read; assert that nothing is left when the connection has ended."""
        servers: list[Protocol] = []

        def accept(address: object) -> Protocol:
            servers.append(Protocol() if tls else Silent())
            return servers[0]

        factory: Any = Factory()
        factory.buildProtocol = accept
        if tls:
            own = PrivateCertificate.loadPEM(Authority().sign("DNS:localhost"))
            context = CertificateOptions(privateKey=own.privateKey.original, certificate=own.original)
            factory = TLSMemoryBIOFactory(context, False, factory)
        backend = Backend("https" if tls else "http", "localhost", self.listen(factory))
        creator = TLSPolicy(insecure=True).creator("localhost")
        dialer = Dialer(reactor, lambda backend: ["127.0.0.1"], connect_timeout=10.0, tls=lambda backend: creator, eager=eager)
        connection = yield dialer.dial(backend)
        self.watch(connection)
        owner = Owner()
        connection.adopt(owner, MemoryBudget(10**6))
        yield self.until(lambda: bool(servers))
        servers[0].transport.pauseProducing()  # type: ignore[union-attr]
        response = connection.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(LARGE), LARGE, 1000, None)
        response.addErrback(lambda failure: None)
        sending = weakref.ref(connection)
        yield self.until(lambda: unsent(alive(sending).transport) > 0)
        gc.freeze()
        self.addCleanup(gc.unfreeze)
        end(connection, servers[0])
        del connection, response
        yield self.until(lambda: owner.closed)
        if servers[0].transport.connected:  # type: ignore[union-attr]
            servers[0].transport.abortConnection()  # type: ignore[union-attr]
        if tls:
            gc.collect()
        self.assertEqual(self.left(), [])
        self.made.clear()

    @inlineCallbacks
    def test_unread_request_is_freed(self) -> Any:
        """However the connection ends, and with each kind of transport, all of the request is freed."""
        ends: tuple[Callable[[Any, Any], None], ...] = (
            lambda connection, server: server.transport.abortConnection(),
            lambda connection, server: connection.abort(),
        )
        for end, how in itertools.product(ends, ({"eager": True}, {"eager": False}, {"tls": True})):
            with self.subTest(**how):
                yield self.check(end, **how)
