"""
What is below the requests of `mpp.discovery.http_api.json_api`: connections that can be dropped, bodies that are bounded,
failures explained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet import error as errors
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IConsumer, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from mpp.discovery.http_api.any_host import host_endpoint
from mpp.wire.tls import TLSPolicy

# A round asks one server a few things in turn, so one connection is the rule; two rounds may overlap.
_KEPT_PER_HOST = 2
# Longer than the usual interval between rounds (10 s), shorter than most servers keep a connection.
_KEPT_S = 25


@implementer(IAgentEndpointFactory)
class TrackedConnections:
    """
    Opens connections, keeps some, and can close them all.

    :param connect_timeout: seconds for each connection.
    :ivar agent: sends requests over them.
    :ivar open: the connections that are open now.
    """

    def __init__(self, reactor: Any, policy: TLSPolicy, connect_timeout: float) -> None:
        self._reactor = reactor
        self._policy = policy
        self._timeout = connect_timeout
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = _KEPT_PER_HOST
        self._pool.cachedConnectionTimeout = _KEPT_S
        self._emptied: list[Deferred[None]] = []
        self.open: set[TrackedConnection] = set()
        self.agent = Agent.usingEndpointFactory(reactor, self, self._pool)

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Give the endpoint of a server, for the agent."""
        host, port = uri.host, uri.port
        endpoint = host_endpoint(self._reactor, host.decode("ascii"), port, self._timeout)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(host, port), endpoint)
        return _TrackedEndpoint(endpoint, self)

    def close(self) -> Deferred[None]:
        """
        Abort all connections.

        :return Deferred(None): fires when they are gone.
        """
        closed: Deferred[Any] = self._pool.closeCachedConnections()
        for connection in list(self.open):
            connection.loseConnection()
        gone: Deferred[None] = Deferred()
        self._emptied.append(gone)
        self._tell_if_empty()
        return closed.addCallback(lambda _: gone)

    def opened(self, connection: TrackedConnection) -> None:
        """Take note of a new connection."""
        self.open.add(connection)

    def lost(self, connection: TrackedConnection) -> None:
        """Forget a connection."""
        self.open.discard(connection)
        self._tell_if_empty()

    def _tell_if_empty(self) -> None:
        if not self.open:
            waiting, self._emptied = self._emptied, []
            for gone in waiting:
                gone.callback(None)


class TrackedConnection(ProtocolWrapper):
    """
    A connection that is aborted when nobody wants it any more.

    Twisted's HTTP client can only close in order, and over TLS that waits for the other side, for ever if it is silent.
    An HTTP client closes when it has all it wants, so nothing is lost.
    """

    def loseConnection(self) -> None:
        """Abort."""
        self.abortConnection()


class _TrackingFactory(WrappingFactory):
    """Makes connections for one attempt; the agent's factory is inside."""

    protocol = TrackedConnection
    noisy = False

    def __init__(self, wrapped: Any, owner: TrackedConnections) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self._owner = owner

    def registerProtocol(self, protocol: TrackedConnection) -> None:
        """Take note of a new connection."""
        self._owner.opened(protocol)

    def unregisterProtocol(self, protocol: TrackedConnection) -> None:
        """Forget a connection."""
        self._owner.lost(protocol)


@implementer(IStreamClientEndpoint)
class _TrackedEndpoint:
    """Connects through `TrackedConnection`, and gives what is inside."""

    def __init__(self, endpoint: IStreamClientEndpoint, owner: TrackedConnections) -> None:
        self._endpoint = endpoint
        self._owner = owner

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, see `IStreamClientEndpoint`."""
        connected: Deferred[Any] = self._endpoint.connect(_TrackingFactory(protocolFactory, self._owner))
        return connected.addCallback(lambda connection: connection.wrappedProtocol)


@implementer(IBodyProducer)
class BytesProducer:
    """
    A request body that is sent at once.

    Twisted's FileBodyProducer sends it piece by piece on the global reactor's turns instead.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(self._body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Send it."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to be paused."""

    def resumeProducing(self) -> None:
        """Nothing is left to be resumed."""

    def stopProducing(self) -> None:
        """Nothing is left to be stopped."""


class BodyCollector(Protocol):
    """Collects the body of an answer up to a limit."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._pieces: list[bytes] = []
        self.whole: Deferred[bytes | None] = Deferred(lambda _: self._drop())

    @classmethod
    def read(cls, response: IResponse, limit: int) -> Deferred[bytes | None]:
        """
        Read the body of an answer.

        :return Deferred(bytes): fires with the body, or None when it is larger than ``limit``. Fails when the server broke
            off. Cancelling it aborts the connection.
        """
        body = cls(limit)
        response.deliverBody(body)
        return body.whole

    def dataReceived(self, data: bytes) -> None:
        """Keep a piece."""
        self._left -= len(data)
        if self._left >= 0:
            self._pieces.append(data)
        elif not self.whole.called:
            self._drop()
            self.whole.callback(None)

    def connectionLost(self, reason: Failure = Failure(errors.ConnectionDone())) -> None:  # noqa: B008
        """Give what was collected. An answer without a length ends with its connection (RFC 9112 section 6.3)."""
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(b"".join(self._pieces))
        else:
            self.whole.errback(reason)

    def _drop(self) -> None:
        self._pieces = []
        if self.transport is not None:
            self.transport.loseConnection()


def causes(error: BaseException) -> list[BaseException]:
    """Give what is behind an error of Twisted's HTTP client, which wraps them, innermost first."""
    reasons = [reason.value for reason in getattr(error, "reasons", ()) if isinstance(reason, Failure) and reason.value]
    return [cause for reason in reasons for cause in causes(reason)] + [error]


def is_cancelled(error: BaseException) -> bool:
    """Tell whether a request ended because the caller gave it up."""
    return any(isinstance(cause, CancelledError | errors.ConnectingCancelledError) for cause in causes(error))


# The first that fits, in this order: subclasses before their bases.
_EXPLANATIONS: tuple[tuple[type[BaseException], Callable[[Any], str]], ...] = (
    (errors.DNSLookupError, lambda error: "the host name cannot be resolved"),
    (errors.ConnectionRefusedError, lambda error: "connection refused"),
    (errors.TimeoutError, lambda error: "no connection in time"),
    (errors.ConnectionLost, lambda error: "the connection was lost"),
    (errors.ConnectionDone, lambda error: "the connection was closed before the answer was complete"),
    (SSL.Error, lambda error: f"TLS failed: {_tls_reason(error)}"),
)


def explain(error: BaseException) -> str:
    """Say in a few words why a request failed. Unknown errors give only their type: their text may repeat what was sent."""
    for cause in causes(error):
        for kind, words in _EXPLANATIONS:
            if isinstance(cause, kind):
                return words(cause)
    return f"no usable answer ({type(causes(error)[0]).__name__})"


def _tls_reason(error: SSL.Error) -> str:
    """Give OpenSSL's own words: it keeps (library, function, reason) for each error in its queue."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(str(entry[-1]) for entry in queue) or "the connection was closed"
