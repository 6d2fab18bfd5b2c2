"""
mpp's own pages, below ``/mpp``: health, ready, metrics, status. Twisted resources; they read, and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from mpp import headers, metrics, status
from mpp.metrics import Metrics
from mpp.model import Selection
from mpp.proxy import ProxyRequest
from mpp.status import StatusView

_TEXT = b"text/plain; charset=utf-8"
_HTML = b"text/html; charset=utf-8"
_JSON = b"application/json"


class _Page(Resource):
    """
    A page computed anew for every request.

    :param render_page: gives status, content type and body; it is told the query arguments' names and values.
    """

    def __init__(self, render_page: Callable[[dict[bytes, list[bytes]]], tuple[int, bytes, bytes]]) -> None:
        Resource.__init__(self)
        self._render_page = render_page

    def getChild(self, path: bytes, request: IRequest) -> Resource:
        """Nothing is below a page."""
        return _Page(_missing)

    def render(self, request: Any) -> bytes:
        """Answer GET and HEAD (twisted.web's own HEAD would log a line for each), refuse what would change something."""
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            code, content_type, body = 405, _JSON, headers.error_body("bad_data", "mpp's own pages can be read only")
        else:
            code, content_type, body = self._render_page(request.args)
        request.setResponseCode(code)
        request.setHeader(b"Server", b"mpp")
        request.setHeader(b"Content-Type", content_type)
        request.setHeader(b"Content-Length", b"%d" % len(body))
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        if content_type is _HTML:
            request.setHeader(b"Content-Security-Policy", status.CONTENT_SECURITY_POLICY)
        return b"" if request.method == b"HEAD" else body


def _missing(args: dict[bytes, list[bytes]]) -> tuple[int, bytes, bytes]:
    body = headers.error_body("not_found", "mpp serves /mpp/health, /mpp/ready, /mpp/metrics and /mpp/status")
    return 404, _JSON, body


class OwnPages(Resource):
    """
    The resource at ``/mpp``.

    :param selection: gives the Selection in force.
    :param draining: tells whether the program is about to stop.
    :param view: gives what the status page shows.
    """

    def __init__(
        self,
        *,
        metrics_: Metrics,
        selection: Callable[[], Selection],
        draining: Callable[[], bool],
        view: Callable[[], StatusView],
    ) -> None:
        Resource.__init__(self)
        self._metrics = metrics_
        self._selection = selection
        self._draining = draining
        self._view = view
        self.putChild(b"health", _Page(self._health))
        self.putChild(b"ready", _Page(self._ready))
        self.putChild(b"metrics", _Page(self._metrics_page))
        self.putChild(b"status", _Page(self._status))

    def getChild(self, path: bytes, request: IRequest) -> Resource:
        """Give a 404 in Prometheus' shape for every other path."""
        return _Page(self._status if path == b"" else _missing)

    def render(self, request: Any) -> bytes:
        """Send ``/mpp`` on to the status page."""
        request.redirect(b"/mpp/status")
        return b""

    def probes(self) -> Resource:
        """Give the resource at ``/mpp`` where only health and ready are served, because the rest is elsewhere."""
        return _Probes({name: self.children[name] for name in (b"health", b"ready")})

    def _health(self, args: dict[bytes, list[bytes]]) -> tuple[int, bytes, bytes]:
        return 200, _TEXT, b"OK"

    def _ready(self, args: dict[bytes, list[bytes]]) -> tuple[int, bytes, bytes]:
        selection = self._selection()
        if self._draining():
            return 503, _TEXT, b"draining"
        if not selection.generation:
            return 503, _TEXT, b"the first selection round has not finished"
        if b"backends" in args and args[b"backends"][-1] not in (b"0", b"false", b"no") and not selection.viable:
            return 503, _TEXT, b"no backend is viable"
        return 200, _TEXT, b"OK"

    def _metrics_page(self, args: dict[bytes, list[bytes]]) -> tuple[int, bytes, bytes]:
        return 200, metrics.CONTENT_TYPE, self._metrics.exposition()

    def _status(self, args: dict[bytes, list[bytes]]) -> tuple[int, bytes, bytes]:
        return 200, _HTML, status.page(self._view())


class OwnRoot(Resource):
    """
    The root where nothing but mpp's own pages is served.

    :param own_pages: what answers below ``/mpp``.
    """

    def __init__(self, own_pages: OwnPages, metrics_: Metrics) -> None:
        Resource.__init__(self)
        self.putChild(b"mpp", own_pages)
        self._metrics = metrics_

    def render(self, request: ProxyRequest) -> int:
        """Refuse what a backend would answer elsewhere."""
        self._metrics.refused(404)
        request.fail(404, "not_found", "only mpp's own pages are served here, below /mpp", None)
        return NOT_DONE_YET


class _Probes(Resource):
    """What is left of the own pages when the others have a listener of their own."""

    def __init__(self, pages: dict[bytes, Resource]) -> None:
        Resource.__init__(self)
        for name, page in pages.items():
            self.putChild(name, page)

    def getChild(self, path: bytes, request: IRequest) -> Resource:
        """Give a 404 in Prometheus' shape for every other path."""
        return _Page(_elsewhere)

    def render(self, request: Any) -> bytes:
        """Give the same for ``/mpp`` itself."""
        return _Page(_elsewhere).render(request)


def _elsewhere(args: dict[bytes, list[bytes]]) -> tuple[int, bytes, bytes]:
    body = headers.error_body("not_found", "mpp serves /mpp/health and /mpp/ready here, its other pages on its admin listener")
    return 404, _JSON, body
