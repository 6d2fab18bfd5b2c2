"""
The server side in Twisted's terms: the request, and the resource at the root of the tree; the site is `mpp.proxy.site.site`.

::

    ProxyChannel (mpp.wire.downstream.channel) → ProxyRequest → first path segment "mpp" → own pages, rendered by twisted.web
                                                  → anything else → ProxyResource → Exchange (mpp.proxy.exchange)

A proxied request never touches twisted.web's own header objects and writing: it is answered in bytes. That is several times
faster, and leaves the backend's bytes alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Any

from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import datetimeToString
from twisted.web.iweb import IRequest
from zope.interface import implementer

from mpp.core import headers
from mpp.core.interfaces import IDownstream, IResponse
from mpp.core.metrics import LOCAL
from mpp.core.model import Backend, Headers, RequestInfo
from mpp.core.prometheus import cors, paths
from mpp.core.prometheus.unsafe_paths import FORWARDED_METHODS, MAX_PATH, Rejection
from mpp.proxy.access_log import AccessLog
from mpp.proxy.exchange import Exchange
from mpp.proxy.forwarder import Forwarder
from mpp.proxy.site import kube_probes, page_limits
from mpp.proxy.site.kube_probes import KubeProbes
from mpp.wire.downstream.channel import ProxyChannel
from mpp.wire.downstream.relay import Relay
from mpp.wire.downstream.web_channel import WebChannel

with warnings.catch_warnings():
    # It installs the default reactor and uses what Twisted itself has deprecated. Nothing else of mpp may import it.
    warnings.simplefilter("ignore", DeprecationWarning)
    from twisted.web.proxy import ReverseProxyResource

# What a client's socket usually takes at once: up to here an answer is one write, and what a slow client leaves of it is
# bounded by this for each.
_ONE_WRITE = 128 * 1024

_FORWARDED = ", ".join(sorted(method.decode("ascii") for method in FORWARDED_METHODS))
_ALLOW: Headers = ((b"Allow", _FORWARDED.encode("ascii")),)


@implementer(IDownstream)
class ProxyRequest(server.Request):
    """
    One request, for a backend or for mpp's own pages.

    For a backend it stays a shell: twisted.web's initializer, which costs more than the parsing, runs for own pages only.
    """

    defaultContentType = None
    extra: Headers = ()
    """Fields that answers of mpp's own get beside their own."""
    user = b""
    """Who is asking, where that is verified before."""

    def __init__(self, channel: ProxyChannel) -> None:
        self.channel: Any = channel  # in place of the base's HTTPChannel, of which it has what is used here
        self.exchange: Exchange | None = None
        self._relay: Relay | None = None
        self._sent = 0

    def received(self, method: bytes, target: bytes, version: bytes, fields: Headers, body: bytes) -> None:
        """Answer the request; called once by the channel when it is complete."""
        channel = self.channel
        self.info = RequestInfo(method, target, fields, body, channel.peer, channel.secure, version == b"1.0", self.user)
        self.path = paths.path_of(target)
        if self.path.startswith(b"/mpp") and paths.is_own(self.path):
            self._render_admin_page()
        else:
            channel.site.resource.render(self)

    @property
    def sent(self) -> int:
        """How many bytes of the body were handed to the transport."""
        return self._sent if self._relay is None else self._relay.sent

    def reject(self, status: int, error_type: str, message: str, log: AccessLog | None) -> None:
        """Answer with an error of mpp's own before any backend was asked."""
        began = 0.0 if log is None else log.clock.seconds()
        self.fail(status, error_type, message, None)
        if log is not None:
            log.log(self.info, status, began=began, sent=self.sent, backend=LOCAL, reasons=(message,))

    def draining(self) -> None:
        """Take note that mpp is about to stop."""
        if self.exchange is not None:
            self.exchange.draining()

    def connectionLost(self, reason: Failure) -> None:
        """Take note that the client has gone before its answer was complete."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone()
        elif hasattr(self, "notifications"):
            server.Request.connectionLost(self, reason)

    def _render_admin_page(self) -> None:
        info = self.info
        most = page_limits.max_target(self.path)
        if len(info.target) > most:
            self.channel.site.rejected(414)
            self.reject(414, "bad_data", f"the request target is longer than {most} bytes", self.channel.site.access())
            return
        self.began = self.channel.site.clock.seconds()
        path = self.path
        server.Request.__init__(self, WebChannel(self.channel))
        for name, value in info.headers:
            self.requestHeaders.addRawHeader(name, value)
        # In place of requestReceived, which parses as much as a client sends. Bodies are ignored.
        self.content = BytesIO()
        self.method, self.uri, self.path = info.method, info.target, path
        self.clientproto = b"HTTP/1.0" if info.http_10 else b"HTTP/1.1"
        self.args = page_limits.arguments(info.target.partition(b"?")[2])
        self.process()

    def process(self) -> None:
        """Render the page, which is found by its whole path."""
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
        timing: bytes = b"",
    ) -> None:
        """Send a backend's answer: in one write when it is small and whole, else under back-pressure."""
        channel = self.channel
        bodyless = self.info.method == b"HEAD"
        chunked = response.length is None and not bodyless and not self.info.http_10
        if response.length is None and not bodyless and self.info.http_10:
            channel.persistent = False
        head = headers.response_head(
            response.status,
            response.reason,
            response.headers,
            self._added(served_by, cookies, attempts, timing),
            length=response.length,
            bodyless=bodyless,
            chunked=chunked,
            served_by=served_by,
        )
        held = response.buffered
        size = sum(map(len, held)) if response.complete else _ONE_WRITE + 1
        if size <= _ONE_WRITE:
            self._sent = size
            channel.writeSequence((head, *held))
            response.release()
            self._answered()
            ended(None)
            return

        def relayed(error: Exception | None) -> None:
            if error is None:
                self._answered()
            else:
                channel.abort()
            ended(error)

        channel.write(head)
        self._relay = Relay(response, channel, chunked, relayed)
        self._relay.begin()

    def fail(self, status: int, error_type: str, message: str, retry_after: int | None) -> None:
        """Send an error of mpp's own, which pages of other origins may read as they may read Prometheus' errors."""
        info, channel = self.info, self.channel
        added = headers.connection_field(persistent=channel.persistent, http_10=info.http_10) + self.extra
        allowed = channel.site.allowed_origins.fields(cors.origin_of(info.target, info.headers))
        added += allowed
        if allowed and cors.is_preflight(info.method, info.headers):
            # The error belongs to the request that it asks for, see `mpp.core.prometheus.cors`.
            channel.write(headers.response_head(204, b"No Content", (), added, length=None, bodyless=True, chunked=False))
            self._answered()
            return
        if retry_after is not None:
            added += ((b"Retry-After", b"%d" % retry_after),)
        answer = headers.error_answer(status, error_type, message, added, bodyless=info.method == b"HEAD")
        self._sent = len(answer.partition(b"\r\n\r\n")[2])
        channel.write(answer)
        self._answered()

    def _answered(self) -> None:
        """End, and let go of who answered: what holds each other would be left to the garbage collector."""
        self.exchange = None
        self.channel.request_done()

    def abort(self) -> None:
        """Reset the connection."""
        self.channel.abort()

    def _added(self, served_by: Backend, cookies: tuple[bytes, ...], attempts: int, timing: bytes) -> Headers:
        fields: Headers = ((b"MPP.ServedBy", served_by.authority),)
        if attempts > 1:
            fields += ((b"MPP.Attempts", b"%d" % attempts),)
        if timing:
            fields += ((b"Server-Timing", timing),)
        for cookie in cookies:
            fields += ((b"Set-Cookie", cookie),)
        persistent, http_10 = self.channel.persistent, self.info.http_10
        return fields if persistent and not http_10 else fields + headers.connection_field(persistent=persistent, http_10=http_10)


class ProxyResource(ReverseProxyResource):
    """
    The root: forwards everything but mpp's own pages and what would make a pair diverge.

    It keeps its base's type and place in the resource tree and inherits none of its forwarding, which opens a connection
    per request, knows no back-pressure and passes truncated answers on as whole ones.

    :param page_at: returns the page at a path below ``/mpp``.
    :param probes: reports requests of Kubernetes probes that servers answer.
    """

    def __init__(self, forwarder: Forwarder, page_at: Callable[[bytes], Any], probes: KubeProbes) -> None:
        ReverseProxyResource.__init__(self, "", 0, b"", reactor=forwarder.context.clock)
        self.page_at = page_at
        self._forwarder = forwarder
        self._kube_probes = probes

    def getChild(self, path: bytes, request: IRequest) -> Any:
        """Return itself: every path is answered by `render`."""
        return self

    def render(self, request: ProxyRequest) -> int:
        """Forward the request, or refuse it."""
        context, method, path = self._forwarder.context, request.info.method, request.path
        if method not in FORWARDED_METHODS:
            context.metrics.refused(405)
            request.extra += _ALLOW
            request.reject(405, "bad_data", f"mpp forwards {_FORWARDED} requests only", context.access)
        elif len(path) > MAX_PATH:
            context.metrics.refused(414)
            why = f"the path is longer than {MAX_PATH} bytes (the query string may be)"
            request.reject(414, "bad_data", why, context.access)
        elif (
            not context.settings.allow_unsafe_paths
            and (paths.meaning(path).unsafe or context.selections.current.prefixes != paths.NO_PREFIXES)
            and paths.is_unsafe_behind(method, path, context.selections.current.prefixes)
        ):
            self._reject_unsafe(request, paths.rejection_behind(method, path, context.selections.current.prefixes))
        else:
            if path.endswith(kube_probes.PATHS):
                self._kube_probes.inspect(path, request.info.headers)
            exchange = self._forwarder.forward(request)
            if not exchange.ended:
                request.exchange = exchange
        return server.NOT_DONE_YET

    def _reject_unsafe(self, request: ProxyRequest, rejection: Rejection) -> None:
        """Say why an unsafe request is not forwarded; or, of a method that Prometheus does not have there, what it would say."""
        shown = f"{request.info.method.decode('ascii')} {request.path[:100].decode('ascii', 'replace')}"
        if rejection.status == 405:
            allow = b", ".join(rejection.allow)
            request.extra += ((b"Allow", allow),)
            kind, why = "bad_data", f"{shown}: Prometheus takes {allow.decode('ascii')} requests only at this path"
        else:
            advice = "send it to each server directly, or start mpp with --allow-unsafe-paths"
            kind, why = "forbidden", f"{shown} {rejection.why}; {advice}"
        context = self._forwarder.context
        context.metrics.refused(rejection.status)
        request.reject(rejection.status, kind, why, context.access)
