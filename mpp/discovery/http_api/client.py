"""
The HTTP transport of `mpp.discovery.http_api.json_api`: connections that can be aborted, bodies with a size limit, explained
failures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet import error as errors
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from mpp.core.scheduling.waiters import Waiters
from mpp.discovery.http_api.any_host import host_endpoint
from mpp.wire.tls import TLSPolicy

# A round sends a few requests to one server in turn, so one connection is the rule; two rounds may overlap.
_KEPT_PER_HOST = 2
# Longer than the usual interval between rounds (10 s), shorter than most servers keep a connection.
_KEPT_S = 25


@implementer(IAgentEndpointFactory)
class TrackedConnections:
    """
    The connections of an HTTP agent: a few stay open for further requests, and all can be aborted at once.

    :param connect_timeout: seconds for each attempt to connect.
    :ivar agent: sends requests over these connections.
    :ivar open: the connections that are open now.
    """

    def __init__(self, reactor: Any, policy: TLSPolicy, connect_timeout: float) -> None:
        self._reactor = reactor
        self._policy = policy
        self._timeout = connect_timeout
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = _KEPT_PER_HOST
        self._pool.cachedConnectionTimeout = _KEPT_S
        self._emptied = Waiters()
        self.open: set[TrackedConnection] = set()
        self.agent = Agent.usingEndpointFactory(reactor, self, self._pool)

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the endpoint with which the agent connects to a server."""
        host, port = uri.host, uri.port
        endpoint = host_endpoint(self._reactor, host.decode("ascii"), port, self._timeout)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(host, port), endpoint)
        return _TrackedEndpoint(endpoint, self)

    def close(self) -> Deferred[None]:
        """
        Abort all connections, idle or in use.

        :return Deferred(None): fires when they are closed.
        """
        closed: Deferred[Any] = self._pool.closeCachedConnections()
        for connection in list(self.open):
            connection.loseConnection()
        emptied = self._emptied.wait()
        self._fire_if_empty()
        return closed.addCallback(lambda _: emptied)

    def opened(self, connection: TrackedConnection) -> None:
        """Add a new connection to the open ones."""
        self.open.add(connection)

    def lost(self, connection: TrackedConnection) -> None:
        """Remove a connection from the open ones."""
        self.open.discard(connection)
        self._fire_if_empty()

    def _fire_if_empty(self) -> None:
        if not self.open:
            self._emptied.fire()


class TrackedConnection(ProtocolWrapper):
    """
    A connection that is aborted when it is no longer needed.

    Twisted's HTTP client closes a TLS connection only after the server has confirmed that, which a hanging server never does.
    Aborting loses nothing, because the client closes a connection only when it needs no more data from it.
    """

    def loseConnection(self) -> None:
        """Abort the connection without waiting."""
        self.abortConnection()


class _TrackingFactory(WrappingFactory):
    """A factory of the connections of one attempt; it wraps the agent's factory."""

    protocol = TrackedConnection
    noisy = False

    def __init__(self, wrapped: Any, owner: TrackedConnections) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self._owner = owner

    def registerProtocol(self, protocol: TrackedConnection) -> None:
        """Report a new connection to the owner."""
        self._owner.opened(protocol)

    def unregisterProtocol(self, protocol: TrackedConnection) -> None:
        """Report a closed connection to the owner."""
        self._owner.lost(protocol)


@implementer(IStreamClientEndpoint)
class _TrackedEndpoint:
    """An endpoint that connects through a `TrackedConnection`, and returns the protocol inside."""

    def __init__(self, endpoint: IStreamClientEndpoint, owner: TrackedConnections) -> None:
        self._endpoint = endpoint
        self._owner = owner

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to the server, see `IStreamClientEndpoint`."""
        connected: Deferred[Any] = self._endpoint.connect(_TrackingFactory(protocolFactory, self._owner))
        return connected.addCallback(lambda connection: connection.wrappedProtocol)


class BodyCollector(Protocol):
    """A protocol that collects the body of a response up to a size limit."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._pieces: list[bytes] = []
        self.whole: Deferred[bytes | None] = Deferred(lambda _: self._drop())

    @classmethod
    def read(cls, response: IResponse, limit: int) -> Deferred[bytes | None]:
        """
        Read the body of a response.

        :return Deferred(bytes): fires with the body, or None when it is larger than ``limit``. Fails when the connection ends
            before the body does. Cancelling it aborts the connection.
        """
        body = cls(limit)
        response.deliverBody(body)
        return body.whole

    def dataReceived(self, data: bytes) -> None:
        """Store a piece of the body, or drop the connection if the body exceeds the limit."""
        self._left -= len(data)
        if self._left >= 0:
            self._pieces.append(data)
        elif not self.whole.called:
            self._drop()
            self.whole.callback(None)

    def connectionLost(self, reason: Failure = Failure(errors.ConnectionDone())) -> None:  # noqa: B008
        """
        Fire ``whole`` with the body, or with the error that cut it off.

        A response without a length ends with its connection (RFC 9112 section 6.3).
        """
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
    """Return the causes that an error of Twisted's HTTP client wraps, innermost first, and the error itself."""
    reasons = [reason.value for reason in getattr(error, "reasons", ()) if isinstance(reason, Failure) and reason.value]
    return [cause for reason in reasons for cause in causes(reason)] + [error]


def is_cancelled(error: BaseException) -> bool:
    """Return whether a request ended because its caller cancelled it."""
    return any(isinstance(cause, CancelledError | errors.ConnectingCancelledError) for cause in causes(error))


# The first match counts: subclasses come before their bases.
_EXPLANATIONS: tuple[tuple[type[BaseException], Callable[[Any], str]], ...] = (
    (errors.DNSLookupError, lambda error: "the host name cannot be resolved"),
    (errors.ConnectionRefusedError, lambda error: "connection refused"),
    (errors.TimeoutError, lambda error: "no connection in time"),
    (errors.ConnectionLost, lambda error: "the connection was lost"),
    (errors.ConnectionDone, lambda error: "the connection was closed before the response was complete"),
    (SSL.Error, lambda error: f"TLS failed: {_tls_reason(error)}"),
)


def explain(error: BaseException) -> str:
    """Return why a request failed, in a few words; for an unknown error only its type, as its text may contain secrets."""
    for cause in causes(error):
        for kind, text_of in _EXPLANATIONS:
            if isinstance(cause, kind):
                return text_of(cause)
    return f"no usable response ({type(causes(error)[0]).__name__})"


def _tls_reason(error: SSL.Error) -> str:
    """Return the reasons in OpenSSL's error queue, which holds (library, function, reason) for each error."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(str(entry[-1]) for entry in queue) or "the connection was closed"
