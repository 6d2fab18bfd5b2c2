"""
mpp's own pages below ``/mpp``: health, ready, metrics, status, explain, config, reload and cache/flush. Twisted resources; only
the last two change anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from txaio.tx import make_logger

from mpp.admin import explain_page as explained
from mpp.admin.base_page import (
    CHECKS,
    HTML,
    JSON,
    READS,
    TEXT,
    Page,
    PageResponse,
    Pages,
    RenderedPages,
    SameOriginOnly,
    reject_method,
)
from mpp.admin.lifecycle_page import Action, LifecyclePage
from mpp.admin.status import effective
from mpp.admin.status import html_page as page
from mpp.admin.status import json_document as document
from mpp.admin.status import query_string as question
from mpp.admin.status.data import StatusView
from mpp.admin.status.identity import Identity
from mpp.cache.store import Flushed
from mpp.config.configured import EffectiveConfig
from mpp.core.http import heads
from mpp.core.metrics.registry import CONTENT_TYPE, Metrics
from mpp.core.model import RequestInfo, Selection
from mpp.core.settings import Reloaded
from mpp.core.text.humanize import noun
from mpp.proxy.decisions import cross_site
from mpp.proxy.decisions.explain import Explanation
from mpp.proxy.site.request import ProxyRequest

_log = make_logger()


class AdminPages(Pages):
    """
    The resource at ``/mpp``.

    :param selection: returns the current Selection.
    :param draining: returns whether the program is about to stop.
    :param view: returns the data of the status page.
    :param explain: returns which backend would answer a request, and the reason.
    :param config: returns the active configuration.
    :param identity: returns the identity of this mpp.
    :param reload: reads the configuration again.
    :param flush: removes all entries of the range cache, in all processes that have one; never fails.
    :param lifecycle: returns whether clients may reload the configuration and flush the cache.
    :param trusted_proxies: returns the networks of the proxies whose ``X-Forwarded-Host`` is trusted, or None.
    :param seconds: the monotonic clock.
    :param page: returns a page about all processes of mpp from another process, by its name: ``metrics``, ``status`` with the
        format and whether the request came over TLS, or ``config`` with the format. None: this process renders these pages.
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        selection: Callable[[], Selection],
        draining: Callable[[], bool],
        view: Callable[[], StatusView],
        explain: Callable[[RequestInfo], Explanation],
        config: Callable[[], EffectiveConfig],
        identity: Callable[[], Identity],
        reload: Callable[[], Deferred[Reloaded]],
        flush: Callable[[], Deferred[Flushed]],
        lifecycle: Callable[[], bool],
        trusted_proxies: Callable[[], Sequence[str] | None],
        seconds: Callable[[], float],
        page: Callable[..., Deferred[PageResponse]] | None = None,
    ) -> None:
        Pages.__init__(self, "mpp serves /mpp/health, /mpp/ready, /mpp/metrics, /mpp/status, /mpp/explain and /mpp/config")
        self._rendered = RenderedPages(seconds)
        self._metrics = metrics
        self._selection = selection
        self._draining = draining
        self._view = view
        self._explain = explain
        self._trusted_proxies = trusted_proxies
        self._config = config
        self._identity = identity
        self._page = page or self._render_page
        self.putChild(b"health", Page(self._health, methods=CHECKS))
        self.putChild(b"ready", Page(self._ready, methods=CHECKS))
        self.putChild(b"metrics", Page(lambda request: self._page("metrics")))
        self.putChild(b"status", Page(self._status))
        # For ``/mpp/``.
        self.children[b""] = self.children[b"status"]
        self.putChild(b"explain", Page(self._explained))
        self.putChild(b"config", Page(self._config_page))
        self.putChild(b"reload", self._changing(LifecyclePage(_reloading(reload), lifecycle)))
        self.putChild(b"cache/flush", self._changing(LifecyclePage(_flushing(flush), lifecycle)))

    def _changing(self, page: Resource) -> Resource:
        """Return a page that changes something, wrapped so that it rejects cross-site requests."""
        return SameOriginOnly(page, lambda info: cross_site.is_cross_site(info, self._trusted_proxies()))

    def _render_page(self, name: str, *how: Any) -> PageResponse:
        pages: dict[str, Callable[..., PageResponse]] = {
            "metrics": self._metrics_page,
            "status": self.status,
            "config": self.config,
        }
        return pages[name](*how)

    def render(self, request: Any) -> bytes:
        """Redirect a request for ``/mpp`` to the status page."""
        if request.method not in READS:
            return reject_method(request, READS, "mpp's own pages can be read only")
        request.redirect(b"/mpp/status")
        return b""

    def probes(self) -> Pages:
        """Return the resource at ``/mpp`` of a listener that serves only health and ready."""
        pages = Pages("mpp serves /mpp/health and /mpp/ready here, its other pages on its admin listener")
        pages.children.update({name: self.children[name] for name in (b"health", b"ready")})
        return pages

    def _health(self, request: Any) -> PageResponse:
        return 200, TEXT, b"OK"

    def _ready(self, request: Any) -> PageResponse:
        selection = self._selection()
        if self._draining():
            return 503, TEXT, b"draining"
        if not selection.generation:
            return 503, TEXT, b"the first selection round has not finished"
        args = request.args
        if b"backends" in args and args[b"backends"][-1] not in (b"0", b"false", b"no") and not selection.viable:
            return 503, TEXT, b"no backend is viable"
        return 200, TEXT, b"OK"

    def _metrics_page(self) -> PageResponse:
        return self._rendered.page("metrics", lambda: (200, CONTENT_TYPE, self._metrics.exposition()))

    def _status(self, request: Any) -> PageResponse | Deferred[PageResponse]:
        form = _form(request)
        return self._page("status", form, request.info.secure) if form else _NO_SUCH_FORMAT

    def _config_page(self, request: Any) -> PageResponse | Deferred[PageResponse]:
        form = _form(request)
        return self._page("config", form) if form else _NO_SUCH_FORMAT

    def status(self, form: str, secure: bool) -> PageResponse:
        """
        Return the status page.

        :param form: ``html`` or ``json``.
        :param secure: whether the request came over TLS, which can differ between listeners.
        """
        return self._rendered.page(f"{form} {secure}", lambda: self._render_status(form, secure))

    def _render_status(self, form: str, secure: bool) -> PageResponse:
        view = self._view()
        view = evolve(view, security=evolve(view.security, tls=secure))
        return (200, JSON, document.render(view)) if form == "json" else (200, HTML, page.render(view))

    def config(self, form: str) -> PageResponse:
        """
        Return the page of the active configuration.

        :param form: ``html`` or ``json``.
        """
        return self._rendered.page(f"config {form}", lambda: self._render_config(form))

    def _render_config(self, form: str) -> PageResponse:
        config = self._config()
        return (
            (200, JSON, effective.as_json(config)) if form == "json" else (200, HTML, effective.as_page(config, self._identity()))
        )

    def _explained(self, request: Any) -> PageResponse:
        info: RequestInfo = request.info
        asked = question.read(info.target.partition(b"?")[2])
        wanted = question.wanted_format(asked.format, _accepted(request), "text")
        if not asked.target and wanted == "html":
            return 200, HTML, explained.nothing_asked(self._identity())
        if not asked.target:
            usage = "what stands behind the question mark is explained: /mpp/explain?/api/v1/query?query=up"
            return 400, JSON, heads.error_body("bad_data", usage)
        explanation = self._explain(info._replace(method=asked.method, target=asked.target, body=b""))
        if wanted == "html":
            return 200, HTML, explained.as_page(explanation, self._identity())
        return 200, *_EXPLAINED[wanted](explanation)


def _reloading(reload: Callable[[], Deferred[Reloaded]]) -> Action:
    def page(reloaded: Reloaded) -> PageResponse:
        if reloaded.errors:
            return 500, JSON, heads.error_body("internal", "; ".join(reloaded.errors))
        return 200, JSON, json.dumps({"status": "success", "data": {"changed": reloaded.changed}}).encode()

    off = "reloading by HTTP is off; start mpp with --enable-lifecycle, or send it SIGHUP"
    return Action(lambda: reload().addCallback(page), "the configuration is reloaded by POST", off)


def _flushing(flush: Callable[[], Deferred[Flushed]]) -> Action:
    def page(flushed: Flushed) -> PageResponse:
        removed = f"{{entries}} {noun(flushed.entries, 'entry', 'entries')} removed"
        if flushed.problem:
            _log.error(
                f"the cache was flushed in part: {removed}; {{problem}}",
                entries=flushed.entries,
                problem=flushed.problem,
            )
            return 500, JSON, heads.error_body("internal", flushed.problem)
        _log.info(f"the cache was flushed: {removed}", entries=flushed.entries)
        return 200, JSON, json.dumps({"status": "success", "data": {"entries": flushed.entries}}).encode()

    off = "flushing the cache by HTTP is off; start mpp with --enable-lifecycle"
    return Action(lambda: flush().addCallback(page), "the cache is flushed by POST", off)


_EXPLAINED: dict[str, Callable[[Explanation], tuple[bytes, bytes]]] = {
    "text": lambda explanation: (TEXT, explained.as_text(explanation)),
    "json": lambda explanation: (JSON, explained.as_json(explanation)),
}


_NO_SUCH_FORMAT: PageResponse = 400, JSON, heads.error_body("bad_data", "format has to be html or json")


def _form(request: Any) -> str:
    """Return the requested format, ``html`` or ``json``; empty for any other format."""
    asked = request.args.get(b"format", [b""])[-1].decode("latin-1")
    return question.wanted_format(asked, _accepted(request), "html") if asked in ("", "html", "json") else ""


def _accepted(request: Any) -> bytes:
    return b",".join(request.requestHeaders.getRawHeaders(b"accept", []))


class AdminRoot(Resource):
    """
    The root resource of a listener that serves only mpp's own pages.

    :param admin_pages: the resource at ``/mpp``.
    """

    def __init__(self, admin_pages: AdminPages, metrics: Metrics) -> None:
        Resource.__init__(self)
        self._admin_pages = admin_pages
        self._metrics = metrics

    def page_at(self, path: bytes) -> Any:
        """Return the page at a path below ``/mpp``."""
        return self._admin_pages.page_at(path)

    def render(self, request: ProxyRequest) -> int:
        """Reject a request for a path outside ``/mpp`` with a 404."""
        self._metrics.refused(404)
        request.fail(404, "not_found", "only mpp's own pages are served here, below /mpp", None)
        return NOT_DONE_YET
