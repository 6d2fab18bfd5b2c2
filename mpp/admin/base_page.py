"""The base of mpp's own pages: response heads, allowed methods and cross-site checks. Twisted resources, without page content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from mpp.admin.status.html import CONTENT_SECURITY_POLICY
from mpp.core.http import heads
from mpp.core.model import RequestInfo

TEXT = b"text/plain; charset=utf-8"
HTML = b"text/html; charset=utf-8"
JSON = b"application/json"

READS = (b"GET", b"HEAD")
"""The methods of a page that changes nothing."""

CHECKS = (*READS, b"OPTIONS")
"""The methods of a page for load balancers: HAProxy's ``option httpchk`` sends OPTIONS by default."""

PageResponse = tuple[int, bytes, bytes]
"""The status, content type and body of a page."""


RENDERED_PER_SECOND = 100
"""
The number of requests a second for which a page is rendered, in about 3 ms each; further ones get the last one rendered.
"""


class RenderedPages:
    """
    The cache of recently rendered pages.

    Each second, the first `RENDERED_PER_SECOND` requests render a page; then a page that was rendered in that second is reused.

    :param seconds: the monotonic clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._began = float("-inf")
        self._count = 0
        self._last: dict[str, PageResponse] = {}

    def page(self, name: str, render: Callable[[], PageResponse]) -> PageResponse:
        """Return the page with a name, rendered now or taken from the cache."""
        now = self._seconds()
        if now - self._began >= 1.0:
            self._began, self._count = now, 0
            self._last.clear()
        if self._count >= RENDERED_PER_SECOND and name in self._last:
            return self._last[name]
        self._count += 1
        page = self._last[name] = render()
        return page


class Pages(Resource):
    """
    The resources below ``/mpp``, each at one exact path. All other paths, and ``/mpp`` itself, get a 404 in Prometheus' format.

    A path is looked up whole. twisted.web splits it at slashes, which takes time that grows with the square of their number.

    :param hint: the message of the 404.
    """

    def __init__(self, hint: str) -> None:
        Resource.__init__(self)
        self._missing = Page(lambda request: (404, JSON, heads.error_body("not_found", hint)))

    def page_at(self, path: bytes) -> Any:
        """Return the resource at a raw path, which is ``/mpp`` or begins with ``/mpp/``."""
        if path == b"/mpp":
            return self
        return self.children.get(path.removeprefix(b"/mpp/"), self._missing)

    def render(self, request: Any) -> Any:
        """Answer a request for ``/mpp`` itself."""
        return self._missing.render(request)


class Page(Resource):
    """
    A page that is computed for each request.

    :param render_page: returns the response to a request, or a Deferred of it.
    :param methods: the allowed methods, which all get the same response; other methods get a 405.
    """

    def __init__(
        self, render_page: Callable[[Any], PageResponse | Deferred[PageResponse]], *, methods: tuple[bytes, ...] = READS
    ) -> None:
        Resource.__init__(self)
        self._render_page = render_page
        self._methods = methods

    def render(self, request: Any) -> Any:
        """Answer a request with an allowed method (twisted.web's own HEAD would log a line each time); reject others."""
        if request.method not in self._methods:
            return reject_method(request, self._methods, "mpp's own pages can be read only")
        if request.method == b"OPTIONS":
            request.setHeader(b"Allow", b", ".join(self._methods))
        page = self._render_page(request)
        if not isinstance(page, Deferred):
            return answer(request, *page)
        request.notifyFinish().addErrback(lambda _: page.cancel())
        page.addCallback(_finish, request).addErrback(_failed, request)
        return NOT_DONE_YET


def _finish(page: PageResponse, request: Any) -> None:
    request.write(answer(request, *page))
    request.finish()


def _failed(failure: Failure, request: Any) -> None:
    if not failure.check(CancelledError):
        _finish((503, TEXT, b"the process that knows does not answer"), request)


class SameOriginOnly(Resource):
    """
    A wrapper for a page that changes something: it rejects requests from pages of other sites.

    :param page: answers each request that is not rejected.
    :param is_cross_site: returns whether the page of another site made a request, see `mpp.proxy.decisions.cross_site`.
    """

    isLeaf = True

    def __init__(self, page: Resource, is_cross_site: Callable[[RequestInfo], bool]) -> None:
        Resource.__init__(self)
        self._page = page
        self._is_cross_site = is_cross_site

    def render(self, request: Any) -> Any:
        """Reject a cross-site request whose method may change something; pass every other request to the page."""
        if request.method not in READS and self._is_cross_site(request.info):
            message = "requests of other sites' pages change nothing here (Sec-Fetch-Site, Origin); see --trusted-proxies"
            return answer(request, 403, JSON, heads.error_body("forbidden", message))
        return self._page.render(request)


def reject_method(request: Any, allowed: tuple[bytes, ...], message: str) -> bytes:
    """
    Set the head of a 405 (RFC 9110 section 15.5.6), and return its body.

    :param allowed: the methods that the page allows.
    :param message: the error message, which says how the page can be used.
    """
    request.setHeader(b"Allow", b", ".join(allowed))
    return answer(request, 405, JSON, heads.error_body("bad_data", message))


def answer(request: Any, code: int, content_type: bytes, body: bytes) -> bytes:
    """Set the head of a response, and return the bytes to write: the body with a final line break, or nothing for HEAD."""
    if not body.endswith(b"\n"):
        body += b"\n"
    request.setResponseCode(code)
    request.setHeader(b"Server", b"mpp")
    request.setHeader(b"Content-Type", content_type)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.setHeader(b"Cache-Control", b"no-store")
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    if content_type == HTML:
        request.setHeader(b"Content-Security-Policy", CONTENT_SECURITY_POLICY)
        request.setHeader(b"Referrer-Policy", b"no-referrer")
    return b"" if request.method == b"HEAD" else body
