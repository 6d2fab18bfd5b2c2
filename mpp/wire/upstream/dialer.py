"""
The opening of connections to backends: tries the addresses of a host in turn (RFC 8305, "Happy Eyeballs").

It knows neither where the addresses come from nor what a connection is used for. Twisted's ``HostnameEndpoint`` is not used: it
reports a refused address only when its delay for the next one has passed, and it asks the resolver each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLClientConnectionCreator, ITCPTransport
from twisted.internet.protocol import ClientFactory, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.model import Backend
from mpp.wire.tuned import transports
from mpp.wire.upstream.connection import UpstreamConnection
from mpp.wire.upstream.dial_errors import cause_of, detail_of

# A server in the same data center answers a SYN within milliseconds; a lost SYN is sent again after one second.
CONNECT_TIMEOUT_S = 1.0
# RFC 8305 section 5: the recommended delay before the next address is tried beside the first.
STAGGER_S = 0.25


class Dialer:
    """
    The opener of connections to backends.

    :param addresses: returns a backend's IP addresses, the preferred one first; for an IP literal the literal itself.
    :param connect_timeout: seconds that a connection may take, TLS handshake included.
    :param stagger: seconds until the next address is tried while one is still pending.
    :param tls: returns the TLS connection creator of an ``https`` backend (see `mpp.wire.tls`); None: there are no such backends.
    :param eager: connections without TLS send inside ``write`` (see `mpp.wire.tuned.transports`).
    """

    def __init__(
        self,
        reactor: Any,
        addresses: Callable[[Backend], Sequence[str]],
        *,
        connect_timeout: float = CONNECT_TIMEOUT_S,
        stagger: float = STAGGER_S,
        tls: Callable[[Backend], IOpenSSLClientConnectionCreator] | None = None,
        eager: bool = False,
    ) -> None:
        self.reactor = reactor
        self.addresses = addresses
        self.connect_timeout = connect_timeout
        self.stagger = stagger
        self.tls = tls
        self.eager = eager

    def dial(self, backend: Backend) -> Deferred[UpstreamConnection]:
        """
        Open a connection to a backend.

        :return Deferred(UpstreamConnection): fires when the connection is made, for ``https`` when the certificate is verified.
            Fails with `UpstreamError` in phase CONNECT. Cancelling it stops all attempts.
        """
        return _Dialing(self, backend).begin()


class _Dialing:
    """One call of `Dialer.dial`: a race between a backend's addresses."""

    def __init__(self, dialer: Dialer, backend: Backend) -> None:
        self._dialer = dialer
        self._backend = backend
        self._tls: IOpenSSLClientConnectionCreator | None = None
        self._tried: set[str] = set()
        self._pending: set[_Attempt] = set()
        self._failed: list[UpstreamError] = []
        self._timers: list[Any] = []
        self._done: Deferred[UpstreamConnection] = Deferred(self._cancelled)

    def begin(self) -> Deferred[UpstreamConnection]:
        done = self._done
        if not self._untried:
            done.errback(UpstreamError(Phase.CONNECT, Cause.UNREACHABLE, f"no address is known for {self._backend.host}"))
            return done
        if self._backend.scheme == "https":
            if self._dialer.tls is None:
                done.errback(UpstreamError(Phase.CONNECT, Cause.TLS, "TLS towards backends is not configured"))
                return done
            try:
                self._tls = self._dialer.tls(self._backend)
            except (ValueError, SSL.Error) as problem:  # no certificate can be issued for such a name
                done.errback(UpstreamError(Phase.CONNECT, Cause.TLS, f"{self._backend.host}: {problem}"))
                return done
        self._timers.append(self._dialer.reactor.callLater(self._dialer.connect_timeout, self._too_late))
        self._next()
        return done

    @property
    def _untried(self) -> list[str]:
        """The present addresses of the backend that have not been tried."""
        return [address for address in self._dialer.addresses(self._backend) if address not in self._tried]

    def _next(self) -> None:
        """Try the next address, and start the timer for the one after it."""
        untried = self._untried
        if not untried:
            return
        address = untried[0]
        self._tried.add(address)
        if len(untried) > 1:
            self._timers[1:] = [self._dialer.reactor.callLater(self._dialer.stagger, self._next)]
        attempt = _Attempt(self, self._tls)
        self._pending.add(attempt)
        attempt.start(self._dialer.reactor, address, self._backend.port, eager=self._dialer.eager)

    def won(self, attempt: _Attempt, connection: UpstreamConnection) -> None:
        """Fire the caller's Deferred with the connection, unless the host name has left this address meanwhile."""
        addresses = self._dialer.addresses(self._backend)
        if addresses and connection.address not in addresses:
            connection.abort()
            self.lost(attempt, UpstreamError(Phase.CONNECT, Cause.UNREACHABLE, f"the host is no longer at {connection.address}"))
            return
        self._pending.discard(attempt)
        self._stop()
        self._done.callback(connection)

    def lost(self, attempt: _Attempt, failed: UpstreamError) -> None:
        """Try the next address at once; after the last one, fail the caller's Deferred."""
        if attempt not in self._pending:
            return
        self._pending.discard(attempt)
        self._failed.append(failed)
        if self._untried:
            self._stop_timer(1)
            self._next()
        elif not self._pending:
            self._stop()
            self._done.errback(self._verdict())

    def _verdict(self) -> UpstreamError:
        """Return an error with the cause of the first address, and the details of all addresses."""
        first = self._failed[0]
        return UpstreamError(Phase.CONNECT, first.cause, "; ".join(dict.fromkeys(each.detail for each in self._failed)))

    def _too_late(self) -> None:
        self._stop()
        detail = f"no connection within {self._dialer.connect_timeout:g} s"
        self._done.errback(UpstreamError(Phase.CONNECT, Cause.TIMEOUT, detail))

    def _cancelled(self, done: Deferred[UpstreamConnection]) -> None:
        self._stop()

    def _stop(self) -> None:
        """Stop all attempts and timers."""
        for index in range(len(self._timers)):
            self._stop_timer(index)
        pending, self._pending = self._pending, set()
        for attempt in pending:
            attempt.stop()

    def _stop_timer(self, index: int) -> None:
        if len(self._timers) > index and self._timers[index].active():
            self._timers[index].cancel()


class _Attempt(ClientFactory["_Connecting"]):
    """The attempt to connect to one address, whose outcome is reported to the `_Dialing`."""

    noisy = False

    def __init__(self, dialing: _Dialing, tls: IOpenSSLClientConnectionCreator | None) -> None:
        self._dialing = dialing
        self._connection: _Connecting | None = None
        self._connector: Any = None
        self._tls = tls
        self._address = ""

    def start(self, reactor: Any, address: str, port: int, *, eager: bool) -> None:
        factory: Any = self
        self._address = address
        if self._tls is not None:
            eager = False
            factory = TLSMemoryBIOFactory(self._tls, True, self)
            factory.noisy = False
        try:
            self._connector = transports.connect(reactor, address, port, factory, eager=eager)
        except OSError as refused:
            self.failed(Failure(refused))

    def stop(self) -> None:
        """Stop the attempt, without a report of its end."""
        if self._connection is not None:
            self._connection.transport.abortConnection()
        elif self._connector is not None:
            self._connector.stopConnecting()

    def buildProtocol(self, addr: object) -> _Connecting:
        self._connection = _Connecting(self) if self._tls is None else _Handshaking(self)
        self._connection.address = self._address
        return self._connection

    def won(self, connection: UpstreamConnection) -> None:
        self._connection = self._connector = None
        self._dialing.won(self, connection)

    def failed(self, reason: Failure) -> None:
        self._connection = self._connector = None
        cause = cause_of(reason, self._address)
        self._dialing.lost(self, UpstreamError(Phase.CONNECT, cause, detail_of(reason, cause)))

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self.failed(reason)

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        # The transport refers to its connector. The cycle would keep the transport, with what it has not sent of a request.
        connector.transport = None


class _Connecting(UpstreamConnection):
    """A connection that is ready as soon as TCP is connected."""

    def __init__(self, attempt: _Attempt) -> None:
        super().__init__()
        self._attempt: _Attempt | None = attempt

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            transports.find_dead_peers(self.transport)
        self._connected()

    def _connected(self) -> None:
        self._won()

    def _won(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.won(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.failed(reason)
        super().connectionLost(reason)


@implementer(IHandshakeListener)
class _Handshaking(_Connecting):
    """A connection that is ready when the TLS handshake is complete and the certificate verified."""

    def _connected(self) -> None:
        pass

    def handshakeCompleted(self) -> None:
        self._won()
