"""
The class of client requests that takes the place of `twisted.web.server.Request`.

A forwarded request never uses twisted.web's header objects and writing: its response is written as bytes. That is several times
faster, and leaves the backend's bytes unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import datetimeToString
from zope.interface import implementer

from mpp.core.http import heads
from mpp.core.interfaces import IDownstream, IResponse
from mpp.core.metrics.registry import LOCAL
from mpp.core.model import Backend, Headers, RequestInfo
from mpp.core.prometheus import cors, paths
from mpp.proxy.exchanges.exchange import Exchange
from mpp.proxy.site import page_limits
from mpp.wire.downstream.channel import ProxyChannel
from mpp.wire.downstream.relay import Relay
from mpp.wire.downstream.web_channel import WebChannel
from mpp.wire.tuned.transports import WORTH_COPYING

# As much as the send buffer of a client's socket usually takes at once. A response up to this size is one write, and what remains
# of it for a slow client is limited by this size.
_ONE_WRITE = 128 * 1024


@implementer(IDownstream)
class ProxyRequest(server.Request):
    """
    One client request, for a backend or for an admin page.

    twisted.web's initializer, which takes longer than the parsing, runs for admin pages only.

    :ivar exchange: forwards the request; None before that, after it has ended, and for an admin page.
    """

    defaultContentType = None
    extra: Headers = ()
    """Header fields that are added to errors that mpp sends itself."""
    user = b""
    """The name of the user, as mpp has verified it; empty if mpp verifies no users."""

    def __init__(self, channel: ProxyChannel) -> None:
        self.channel: Any = channel  # It has the parts of the base's HTTPChannel that are used here.
        self.exchange: Exchange | None = None
        self._relay: Relay | None = None
        self._sent = 0

    def received(self, method: bytes, target: bytes, version: bytes, fields: Headers, body: bytes) -> None:
        """Process the complete request; called once by the channel."""
        channel = self.channel
        self.info = RequestInfo(method, target, fields, body, channel.peer, channel.secure, version == b"1.0", self.user)
        self.path = paths.path_of(target)
        if self.path.startswith(b"/mpp") and paths.is_own(self.path):
            self._render_admin_page()
        else:
            channel.site.resource.render(self)

    @property
    def sent(self) -> int:
        """The number of body bytes that were written to the transport."""
        return self._sent if self._relay is None else self._relay.sent

    def reject(self, status: int, error_type: str, message: str) -> None:
        """Send an error of mpp's own to a request that is not forwarded; count and log the request."""
        context = self.channel.site.forwarder.context
        context.metrics.refused(status)
        began = context.clock.seconds()
        self.fail(status, error_type, message, None)
        if context.access is not None:
            context.access.log(self.info, status, began=began, sent=self.sent, backend=LOCAL, reasons=(message,))

    def draining(self) -> None:
        """End an endless response, because mpp is about to stop."""
        if self.exchange is not None:
            self.exchange.draining()

    def connectionLost(self, reason: Failure) -> None:
        """Cancel the exchange, because the client has disconnected before its response was complete."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone()
        elif hasattr(self, "notifications"):
            server.Request.connectionLost(self, reason)

    def _render_admin_page(self) -> None:
        info = self.info
        most = page_limits.max_target(self.path)
        if len(info.target) > most:
            self.reject(414, "bad_data", f"the request target is longer than {most} bytes")
            return
        self.began = self.channel.site.forwarder.context.clock.seconds()
        path = self.path
        server.Request.__init__(self, WebChannel(self.channel))
        for name, value in info.headers:
            self.requestHeaders.addRawHeader(name, value)
        # This replaces requestReceived, which parses as much as a client sends. The body is ignored.
        self.content = BytesIO()
        self.method, self.uri, self.path = info.method, info.target, path
        self.clientproto = b"HTTP/1.0" if info.http_10 else b"HTTP/1.1"
        self.args = page_limits.arguments(info.target.partition(b"?")[2])
        self.process()

    def process(self) -> None:
        """Render the admin page at the request's path, without Twisted's traversal of child resources."""
        self.site = self.channel.site
        self.responseHeaders.setRawHeaders(b"Server", [b"mpp"])
        self.responseHeaders.setRawHeaders(b"Date", [datetimeToString()])
        try:
            server.Request.render(self, self.site.resource.page_at(self.path))
        except BaseException:
            server.Request.processingFailed(self, Failure())

    # IDownstream

    def deliver(
        self,
        response: IResponse,
        served_by: Backend,
        cookies: tuple[bytes, ...],
        attempts: int,
        ended: Callable[[Exception | None], None],
        about: Headers = (),
        also: tuple[Backend, ...] = (),
    ) -> None:
        """Send a backend's response: in one write if it is small and complete, else under back-pressure."""
        channel = self.channel
        bodyless = self.info.method == b"HEAD"
        chunked = response.length is None and not bodyless and not self.info.http_10
        if response.length is None and not bodyless and self.info.http_10:
            channel.persistent = False
        head = heads.response_head(
            response.status,
            response.reason,
            response.headers,
            self._added(served_by, also, cookies, attempts, about),
            length=response.length,
            bodyless=bodyless,
            chunked=chunked,
            served_by=served_by,
        )
        buffered = response.buffered
        size = sum(map(len, buffered)) if response.complete else _ONE_WRITE + 1
        if size <= _ONE_WRITE:
            self._sent = size
            if size <= WORTH_COPYING:
                channel.write(b"".join((head, *buffered)))
            else:
                channel.writeSequence((head, *buffered))
            response.release()
            self._answered()
            ended(None)
        else:
            channel.write(head)
            self._relay_body(response, ended, chunked=chunked)

    def _relay_body(self, response: IResponse, ended: Callable[[Exception | None], None], *, chunked: bool) -> None:
        def relayed(error: Exception | None) -> None:
            if error is None:
                self._answered()
            else:
                self.channel.abort()
            ended(error)

        self._relay = Relay(response, self.channel, chunked, relayed)
        self._relay.begin()

    def fail(self, status: int, error_type: str, message: str, retry_after: int | None) -> None:
        """Send an error of mpp's own. Pages of other origins may read it if they may read errors of Prometheus (CORS)."""
        info, channel = self.info, self.channel
        added = heads.connection_field(persistent=channel.persistent, http_10=info.http_10) + self.extra
        allowed = channel.site.forwarder.context.allowed_origins.fields(cors.origin_of(info.target, info.headers))
        added += allowed
        if allowed and cors.is_preflight(info.method, info.headers):
            # The browser gets the error as the response to its actual request, see `mpp.core.prometheus.cors`.
            channel.write(heads.response_head(204, b"No Content", (), added, length=None, bodyless=True, chunked=False))
            self._answered()
            return
        if retry_after is not None:
            added += ((b"Retry-After", b"%d" % retry_after),)
        answer = heads.error_answer(status, error_type, message, added, bodyless=info.method == b"HEAD")
        self._sent = len(answer.partition(b"\r\n\r\n")[2])
        channel.write(answer)
        self._answered()

    def _answered(self) -> None:
        """End the request, and drop the exchange: the reference cycle would otherwise wait for the garbage collector."""
        self.exchange = None
        self.channel.request_done()

    def abort(self) -> None:
        """Reset the client's connection."""
        self.channel.abort()

    def _added(
        self, served_by: Backend, also: tuple[Backend, ...], cookies: tuple[bytes, ...], attempts: int, about: Headers
    ) -> Headers:
        names = served_by.authority
        for each in also:
            names += b", " + each.authority
        fields: Headers = ((b"MPP.ServedBy", names),)
        if attempts > 1:
            fields += ((b"MPP.Attempts", b"%d" % attempts),)
        fields += about
        for cookie in cookies:
            fields += ((b"Set-Cookie", cookie),)
        persistent, http_10 = self.channel.persistent, self.info.http_10
        return fields if persistent and not http_10 else fields + heads.connection_field(persistent=persistent, http_10=http_10)
