"""
A client's connection: requests in, answers out, one after the other.

It parses nothing (`mpp.wire.downstream.request_parser`) and decides nothing about requests but their order. How long a client
may take is in `mpp.wire.downstream.timeouts`. A `twisted.web.server.Request` is answered over it raw, or in twisted.web's way by
`mpp.wire.downstream.web_channel`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from typing import Protocol as Shape

from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mpp.core.errors import BadRequest
from mpp.core.model import MIB, Headers
from mpp.wire.downstream.backpressure import BackPressureAdapter
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.request_limits import Limits
from mpp.wire.downstream.request_parser import Incoming, RequestParser
from mpp.wire.downstream.timeouts import ACTIVE_S, BODY_S, GONE_S, HEAD_S, LINGER_S, TAKE_S
from mpp.wire.memory_budget import BufferedRequest, MemoryBudget
from mpp.wire.tuned.transports import has_arrived, unsent

# How much a refused client is listened to after the answer (and `LINGER_S` long): ten times a default body.
LINGER_BYTES = 100 * MIB
MOST_AT_ONCE = 4
"""
How many requests of one connection are answered in one turn of the reactor, if each is answered at once, as mpp's own pages are:
a segment may bring thousands of them, and other clients would have to wait until all are answered.
"""


class IncomingRequest(Shape):
    """What a channel makes of each request."""

    def received(self, method: bytes, target: bytes, version: bytes, headers: Headers, body: bytes, /) -> None:
        """Begin the answer. It ends with `ProxyChannel.request_done`, perhaps before this returns."""

    def draining(self) -> None:
        """Take note, perhaps again, that the program is about to stop: an answer that would never end by itself should end."""

    def connectionLost(self, reason: Failure, /) -> None:
        """Stop: there is nobody to answer to. Called once at most, never after `ProxyChannel.request_done`."""


@implementer(IHalfCloseableProtocol)
class ProxyChannel(Protocol):
    """
    One client's connection.

    Requests are answered strictly one after the other. While one is being answered reading goes on, so that a client's
    leaving is seen; it pauses as soon as another request waits. Of requests that are answered at once no more than `MOST_AT_ONCE`
    are answered before other connections have their turn.

    A client that does not take its answers gets no further ones (see `mpp.wire.downstream.backpressure`).

    :param request_factory: makes the request object from the channel.
    :param error_page: gives a complete answer with ``Connection: close`` for what never became a request.
    :param channels: where to sign in and off.
    :param client_of: returns the client's address, on whose account is held what it sends, of a request's fields.
    :ivar persistent: the connection will be kept after the current answer; what its ``Connection`` field should say.
    :ivar idle_since: when the connection or the arriving request began, or the last answer ended, whichever was last: what a
        client trickles in after the first byte of a request does not count. When closing: since when.
    :ivar peer: the client's IP address (``::ffff:`` removed).
    :ivar secure: the client came over TLS.
    :ivar site: the `twisted.web.server.Site` that made it.
    """

    transport: Any
    site: Any = None
    persistent = True

    def __init__(
        self,
        request_factory: Callable[[ProxyChannel], IncomingRequest],
        limits: Limits,
        budget: MemoryBudget,
        error_page: Callable[[BadRequest], bytes],
        channels: Channels,
        client_of: Callable[[Headers], str] = lambda headers: "",
    ) -> None:
        self._request_factory = request_factory
        self._budget = budget
        self._error_page = error_page
        self._channels = channels
        self._reader = RequestParser(limits, budget, client_of, self._serve)
        self._request: IncomingRequest | None = None
        self._buffered: BufferedRequest | None = None
        self._serving = False
        self._postponed = False
        self._reading = True
        self._closing = False
        self._lingering = False
        self._heard_all = False
        self._discarded = 0
        self.idle_since = channels.clock.seconds()

    # IProtocol

    def connectionMade(self) -> None:
        """Sign in."""
        transport = self.transport
        # Each is a system call or two, and asked for with every request.
        self._peer: IAddress = transport.getPeer()
        self._host: IAddress = transport.getHost()
        self.peer = str(getattr(self._peer, "host", "")).removeprefix("::ffff:")
        self.secure = ISSLTransport.providedBy(transport)
        self._half_closes = IHalfCloseableDescriptor.providedBy(transport) and not self.secure
        if ITCPTransport.providedBy(transport):
            # An answer goes out in one write; waiting for more to come would only delay it.
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        self._outlet = BackPressureAdapter(transport, self._serve)
        self._channels.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Read a segment, and answer what can be answered."""
        if self._closing:
            self._discard(len(data))
            return
        if not self._reader.partial:
            # What follows is not idleness: a request is arriving, and has as long to arrive as a connection may be idle.
            self.idle_since = self._channels.clock.seconds()
        self._reader.feed(data)
        self._serve()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Sign off, and tell whoever is busy with an answer."""
        self._closing = True
        self._channels.remove(self)
        self._reader.close()
        self._outlet.gone()
        request, self._request = self._request, None
        if request is not None:
            self._release()
            request.connectionLost(reason)

    # IHalfCloseableProtocol

    def readConnectionLost(self) -> None:
        """Answer what was asked (for a while, see `GONE_S`): nothing more will be."""
        self._heard_all = True
        self._reading = False
        if self._closing:
            self.transport.loseConnection()
        elif self._request is None and not (self._outlet.stuck or self._postponed):
            self._close(linger=False)
        else:
            self.idle_since = self._channels.clock.seconds()

    def writeConnectionLost(self) -> None:
        """Nothing: it was us."""

    # One after the other

    def _serve(self) -> None:
        """Begin the next answer, and the next, while each is complete at once, and not too many are."""
        if self._serving or self._postponed:
            return
        reader = self._reader
        begun = 0
        self._serving = True
        try:
            while self._request is None and not self._outlet.stuck and not self._closing:
                if reader.ready and begun == MOST_AT_ONCE:
                    self._postponed = True
                    self._channels.clock.callLater(0, self._serve_on)
                    break
                if reader.ready:
                    begun += 1
                    self._begin(*reader.take())
                else:
                    self._nothing_ready()
                    break
        finally:
            self._serving = False
        if not self._closing:
            self._read(not (reader.ready or reader.rejection))

    def _serve_on(self) -> None:
        """Go on answering after other connections had their turn."""
        self._postponed = False
        self._serve()

    def _begin(self, incoming: Incoming, buffered: BufferedRequest | None) -> None:
        method, target, version, headers, body, persistent = incoming
        self.persistent = persistent and self._channels.keeping
        self._buffered = buffered
        self._request = request = self._request_factory(self)
        request.received(method, target, version, headers, body)

    def _nothing_ready(self) -> None:
        """Between two requests: refuse what came, or encourage what is to come."""
        reader = self._reader
        if reader.rejection is not None:
            self.transport.write(self._error_page(reader.rejection))
            self._close(linger=True)
        elif self._heard_all:
            self._close(linger=False)
        elif reader.owes_continue:
            reader.owes_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def request_done(self) -> None:
        """End the current answer, after its last byte was written."""
        if self._request is None:
            return
        self._request = None
        if self._buffered is not None:
            self._release()
        self.idle_since = self._channels.clock.seconds()
        if not self.persistent:
            self._close(linger=self._reader.surplus)
        elif not (self._reading and self._reader.idle):
            self._serve()

    def _release(self) -> None:
        buffered, self._buffered = self._buffered, None
        if buffered is not None:
            self._budget.release(buffered)

    def _read(self, wanted: bool) -> None:
        if wanted is not self._reading and not self._heard_all:
            self._reading = wanted
            if wanted:
                # Meanwhile nothing could come.
                self.idle_since = self._channels.clock.seconds()
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    # The end

    @property
    def idle(self) -> bool:
        """Whether nothing is being asked nor answered, and the connection is open for the next request."""
        return self._request is None and not (self._closing or self._postponed or self._reader.partial or self._outlet.stuck)

    def drain(self, now: float) -> None:
        """
        Take a step towards the end: close, unless an answer or a request is under way or likely.

        Nobody loses a request by it: what is answered from now on says that it is the last, and a client that cannot have been
        told so, because its last answer has just ended or its head is sent already, has time to ask once more.
        """
        if self._request is not None:
            self.persistent = self.persistent and self._outlet.busy
            self._request.draining()
        elif self.idle and now - self.idle_since >= ACTIVE_S:
            self.close_idle()

    def check_timeouts(self, now: float, idle_timeout: float) -> None:
        """End what takes too long: `mpp.wire.downstream.timeouts` says how long that is."""
        waited = now - self.idle_since
        self._reader.mark(now)
        if self._closing or self._outlet.stuck or self._heard_all:
            if self._overstayed(now, waited):
                self.abort()
        elif self._request is None:
            reader = self._reader
            if not reader.partial:
                if waited >= idle_timeout:
                    self.close_idle()
            elif waited >= HEAD_S if reader.in_head else waited >= BODY_S and reader.stalled(now):
                reader.time_out()
                self._serve()

    def _overstayed(self, now: float, waited: float) -> bool:
        """Whether a client does not take what it is sent, or its connection's end, or has probably hung up."""
        if self._lingering:
            return waited >= LINGER_S
        if self._closing or self._outlet.stuck:
            return self._outlet.stalled(now, TAKE_S)
        return waited >= GONE_S

    def close_idle(self) -> None:
        """Close, unless a request has arrived in this moment."""
        if not has_arrived(self.transport):
            self._close(linger=False)

    def abort(self) -> None:
        """Reset the connection, so that the client can tell that its answer is not complete. ``connectionLost`` follows."""
        self._closing = True
        self.transport.abortConnection()

    def loseConnection(self) -> None:
        """Close when all that was written is sent."""
        self._close(linger=False)

    def _close(self, *, linger: bool) -> None:
        if self._closing:
            return
        self._closing = True
        self.idle_since = self._channels.clock.seconds()
        self._reader.close()
        self._outlet.shut()
        if linger:
            self._lingering = True
            self._read(True)
        if linger and self._half_closes:
            self.transport.loseWriteConnection()
        else:
            # Of a TLS connection it only closes our side, too, until the client closes its own.
            self.transport.loseConnection()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > LINGER_BYTES:
            self.transport.abortConnection()

    # For the request

    def write(self, data: bytes) -> None:
        """Send bytes of the current answer."""
        self.transport.write(data)

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Send bytes of the current answer."""
        self.transport.writeSequence(pieces)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Have a producer of the current answer paused and resumed, and stopped when the client goes away."""
        self._outlet.register(producer, streaming)

    def unregisterProducer(self) -> None:
        """Leave the current answer's producer alone from now on."""
        self._outlet.unregister()

    def unsent(self) -> int:
        """Return how many bytes the client has not taken yet of what was written."""
        return unsent(self.transport)

    # What `mpp.wire.downstream.web_channel` tells a request of twisted.web

    def addresses(self) -> tuple[IAddress, IAddress]:
        """Give the client's address, and the one it connected to."""
        return self._peer, self._host
