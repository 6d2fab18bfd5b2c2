"""How a page of mpp's own is answered: its head, and who may ask how. Twisted resources; knows nothing of what is on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from mpp.admin.status.html import CONTENT_SECURITY_POLICY
from mpp.core import headers
from mpp.core.model import RequestInfo

TEXT = b"text/plain; charset=utf-8"
HTML = b"text/html; charset=utf-8"
JSON = b"application/json"

READS = (b"GET", b"HEAD")
"""The methods of a page that only shows something."""

CHECKS = (*READS, b"OPTIONS")
"""The methods of a page that load balancers ask for: HAProxy's ``option httpchk`` asks with OPTIONS unless told otherwise."""

PageResponse = tuple[int, bytes, bytes]
"""Status, content type and body."""


RENDERED_PER_SECOND = 100
"""Fresh pages in a second: a page takes some 3 ms to render, so that a flood of requests for pages leaves most of the time."""


class RenderedPages:
    """
    The pages that were rendered lately.

    Up to `RENDERED_PER_SECOND` requests each get a page that is rendered for them. More of them get the last one that was
    rendered within that second.

    :param seconds: the monotonic clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._began = float("-inf")
        self._count = 0
        self._last: dict[str, PageResponse] = {}

    def page(self, name: str, render: Callable[[], PageResponse]) -> PageResponse:
        """Return a page, rendered or kept."""
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
    The pages below ``/mpp``, each at one exact path.

    A path is looked up whole, as it was sent: taking it apart, as twisted.web does, costs time that grows with the square of the
    number of its slashes.
    """

    def page_at(self, path: bytes) -> Any:
        """Return the resource at a raw path, which is ``/mpp`` or begins with ``/mpp/``."""
        if path == b"/mpp":
            return self
        name = path.removeprefix(b"/mpp/")
        return self.children.get(name) or self.other(name)

    def other(self, name: bytes) -> Resource:
        """Return what answers where there is no page: a 404 in Prometheus' shape."""
        return Page(missing)


class Page(Resource):
    """
    A page computed anew for every request.

    :param render_page: gives the answer, of a request; at some time, if need be.
    :param methods: those that are answered alike; others get a 405.
    """

    def __init__(
        self, render_page: Callable[[Any], PageResponse | Deferred[PageResponse]], *, methods: tuple[bytes, ...] = READS
    ) -> None:
        Resource.__init__(self)
        self._render_page = render_page
        self._methods = methods

    def render(self, request: Any) -> Any:
        """Answer GET and the like (twisted.web's own HEAD would log a line for each), refuse what would change something."""
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
    A page that changes something, for programs and for mpp's own pages, but not for the pages of other sites.

    :param page: answers whatever is not rejected.
    :param is_cross_site: returns whether a request was made by another site's page, see `mpp.proxy.decisions.cross_site`.
    """

    isLeaf = True

    def __init__(self, page: Resource, is_cross_site: Callable[[RequestInfo], bool]) -> None:
        Resource.__init__(self)
        self._page = page
        self._is_cross_site = is_cross_site

    def render(self, request: Any) -> Any:
        """Reject a request that would change something for another site; looking is left to the page."""
        if request.method not in READS and self._is_cross_site(request.info):
            message = "requests of other sites' pages change nothing here (Sec-Fetch-Site, Origin); see --trusted-proxies"
            return answer(request, 403, JSON, headers.error_body("forbidden", message))
        return self._page.render(request)


def reject_method(request: Any, allowed: tuple[bytes, ...], message: str) -> bytes:
    """
    Set the head of a 405 (RFC 9110 section 15.5.6), and return its body.

    :param allowed: the methods that the page has.
    :param message: says what can be done with the page.
    """
    request.setHeader(b"Allow", b", ".join(allowed))
    return answer(request, 405, JSON, headers.error_body("bad_data", message))


def answer(request: Any, code: int, content_type: bytes, body: bytes) -> bytes:
    """Set the head of an answer, and give what remains to be written of it: in a terminal, whole lines."""
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


def missing(request: Any) -> PageResponse:
    """Give a 404 in Prometheus' shape."""
    body = headers.error_body(
        "not_found", "mpp serves /mpp/health, /mpp/ready, /mpp/metrics, /mpp/status, /mpp/explain and /mpp/config"
    )
    return 404, JSON, body
