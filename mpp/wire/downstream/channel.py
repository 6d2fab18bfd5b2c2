"""
A client's connection: receives requests and sends their responses, one after the other.

It parses nothing (`mpp.wire.downstream.request_parser`) and decides only the order of requests. A request of twisted.web uses it
through `mpp.wire.downstream.web_channel`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import Protocol as Shape

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mpp.core.errors import BadRequest
from mpp.core.model import MIB, Headers
from mpp.wire.downstream.backpressure import BackPressureAdapter
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.connection import ClientConnection
from mpp.wire.downstream.request_limits import Limits
from mpp.wire.downstream.request_parser import Incoming, RequestParser
from mpp.wire.downstream.timeouts import ACTIVE_S, BODY_S, GONE_S, HEAD_S, LINGER_S, TAKE_S
from mpp.wire.memory_budget import BufferedRequest, MemoryBudget
from mpp.wire.tuned.transports import has_arrived

# How many bytes a rejected client may still send after the response (and for `LINGER_S`): ten times a default body.
LINGER_BYTES = 100 * MIB
MOST_AT_ONCE = 4
"""
How many requests of one connection are answered in one reactor iteration, if each is answered at once. A segment may contain
thousands of requests for mpp's own pages, and other clients would have to wait until all are answered.
"""


class IncomingRequest(Shape):
    """The object that a channel creates for each request."""

    def received(self, method: bytes, target: bytes, version: bytes, headers: Headers, body: bytes, /) -> None:
        """Start the response to the request. It ends with `ProxyChannel.request_done`, perhaps before this returns."""

    def draining(self) -> None:
        """End a response that has no end of its own, such as an event stream, because mpp stops. May be called repeatedly."""

    def connectionLost(self, reason: Failure, /) -> None:
        """Stop, because the client has disconnected. Called at most once, never after `ProxyChannel.request_done`."""


@implementer(IHalfCloseableProtocol)
class ProxyChannel(ClientConnection):
    """
    A client's connection to mpp, on which requests are received and their responses sent.

    Requests are answered strictly one after the other. While one is being answered reading goes on, so that a disconnect is seen;
    it pauses as soon as another request waits. A client that does not read its response gets no further one (see
    `mpp.wire.downstream.backpressure`).

    :param request_factory: makes the request object from the channel.
    :param error_page: returns a complete response with ``Connection: close`` to input that is no valid request.
    :param channels: the registry of open connections.
    :param client_of: returns from a request's fields the address of the client to whose share of memory the request counts.
    :ivar persistent: the connection stays open after the current response, whose ``Connection`` field has to agree.
    :ivar idle_since: when the connection was opened, the arriving request started or the last response ended, whichever was last;
        later bytes of a request do not count. While closing: when closing started.
    :ivar site: the `twisted.web.server.Site` that made the channel.
    :ivar checking: nothing more is read until the head of the incomplete request is checked, see
        `mpp.wire.downstream.early_rejection`.
    """

    site: Any = None
    persistent = True
    checking = False

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
        self._closing = self._lingering = self._heard_all = False
        self._discarded = 0
        self.idle_since = channels.clock.seconds()

    def connectionMade(self) -> None:
        """Configure the transport and register the connection."""
        super().connectionMade()
        self.outlet = BackPressureAdapter(self.transport, self._serve)
        self._channels.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Parse a segment, and start the responses that can be started."""
        if self._closing:
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self.transport.abortConnection()
            return
        if not self._reader.partial:
            # From here on the connection is not idle: a request is arriving, and may take as long as a connection may be idle.
            self.idle_since = self._channels.clock.seconds()
        self._reader.feed(data)
        self._serve()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Unregister the connection, and stop the current response."""
        self._closing = True
        self._channels.remove(self)
        self._reader.close()
        self.outlet.gone()
        request, self._request = self._request, None
        if request is not None:
            self._release()
            request.connectionLost(reason)

    def readConnectionLost(self) -> None:
        """Finish the responses to complete requests, within `GONE_S` seconds: the client has closed its sending side."""
        self._heard_all = True
        self._reading = False
        if self._closing:
            self.transport.loseConnection()
        elif self._request is None and not (self.outlet.stuck or self._postponed):
            self._close(linger=False)
        else:
            self.idle_since = self._channels.clock.seconds()

    def writeConnectionLost(self) -> None:
        """Ignore the event, because mpp itself has closed its sending side."""

    def _serve(self) -> None:
        """Start the next response, and further ones while each ends at once, up to `MOST_AT_ONCE`."""
        if self._serving or self._postponed:
            return
        reader = self._reader
        begun = 0
        self._serving = True
        try:
            while self._request is None and not self.outlet.stuck and not self._closing:
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
            wanted = not (reader.ready or reader.rejection or self.checking)
            if wanted is not self._reading:
                self._read(wanted)

    def _serve_on(self) -> None:
        """Go on with the next responses after other connections had their turn."""
        self._postponed = False
        self._serve()

    def _begin(self, incoming: Incoming, buffered: BufferedRequest | None) -> None:
        method, target, version, headers, body, persistent = incoming
        self.persistent = persistent and self._channels.keeping
        self._buffered = buffered
        self._request = request = self._request_factory(self)
        request.received(method, target, version, headers, body)

    def _nothing_ready(self) -> None:
        """Send the rejection, close, or send ``100 Continue``, whichever is due when no request is ready."""
        reader = self._reader
        if self.checking and not self._heard_all:
            self.announce()
            if self.checking:
                return
        if reader.rejection is not None:
            self.transport.write(self._error_page(reader.rejection))
            self._close(linger=True)
        elif self._heard_all:
            self._close(linger=False)
        elif reader.owes_continue:
            reader.owes_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def announce(self) -> None:
        """Check the incomplete request by its head, if ``checking``. Called when all earlier requests are answered."""

    def request_done(self) -> None:
        """End the current response, after its last byte was written."""
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
        if self._buffered is not None:
            self._budget.release(self._buffered)
            self._buffered = None

    def _read(self, wanted: bool) -> None:
        if self._heard_all:
            return
        self._reading = wanted
        if wanted:
            # While reading was paused no request could arrive.
            self.idle_since = self._channels.clock.seconds()
            self.transport.resumeProducing()
        else:
            self.transport.pauseProducing()

    @property
    def idle(self) -> bool:
        """Whether no request is arriving or being answered, and the connection is open for the next one."""
        return self._request is None and not (self._closing or self._postponed or self._reader.partial or self.outlet.stuck)

    def drain(self, now: float) -> None:
        """
        Close the connection if no request is arriving, being answered or likely to come. Called again and again while mpp stops.

        No request is lost: each response from now on announces that it is the last. A client whose last response has just ended,
        or whose head was sent already, may not have seen that, and has time for one more request.
        """
        if self._request is not None:
            self.persistent = self.persistent and self.outlet.busy
            self._request.draining()
        elif self.idle and now - self.idle_since >= ACTIVE_S:
            self.close_idle()

    def check_timeouts(self, now: float, idle_timeout: float) -> None:
        """Close or reject whatever has exceeded a time limit of `mpp.wire.downstream.timeouts`."""
        waited = now - self.idle_since
        self._reader.arrivals.mark(now)
        if self._closing or self.outlet.stuck or self._heard_all:
            if self._overstayed(now, waited):
                self.abort()
        elif self._request is None:
            reader = self._reader
            if not reader.partial:
                if waited >= idle_timeout:
                    self.close_idle()
            elif waited >= HEAD_S if reader.in_head else waited >= BODY_S and reader.arrivals.stalled(now):
                reader.time_out()
                self._serve()

    def _overstayed(self, now: float, waited: float) -> bool:
        """Return whether the client has taken too long to read, to let the connection close, or to disconnect fully."""
        if self._lingering:
            return waited >= LINGER_S
        if self._closing or self.outlet.stuck:
            return self.outlet.stalled(now, TAKE_S)
        return waited >= GONE_S

    def close_idle(self) -> None:
        """Close the connection, unless a request has arrived just now."""
        if not has_arrived(self.transport):
            self._close(linger=False)

    def abort(self) -> None:
        """Reset the connection, so that the client can see that its response is incomplete. ``connectionLost`` follows."""
        self._closing = True
        self.transport.abortConnection()

    def loseConnection(self) -> None:
        """Close the connection when all that was written is sent."""
        self._close(linger=False)

    def _close(self, *, linger: bool) -> None:
        if self._closing:
            return
        self._closing = True
        self.idle_since = self._channels.clock.seconds()
        self._reader.close()
        self.outlet.shut()
        self._lingering = linger
        if linger and not self._reading:
            self._read(True)
        if linger and self.half_closes:
            self.transport.loseWriteConnection()
        else:
            # For TLS this, too, closes only mpp's side until the client closes its own.
            self.transport.loseConnection()
