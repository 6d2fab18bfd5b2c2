"""
The root resource: forwards requests to backends, and rejects what must not be forwarded.

::

    ProxyChannel (mpp.wire.downstream.channel) → ProxyRequest ─ path below /mpp → admin page, rendered by twisted.web
                                                              └ any other path → ProxyResource → Forwarder → Exchange
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from twisted.web import server
from twisted.web.iweb import IRequest

from mpp.core.model import Headers
from mpp.core.prometheus import paths
from mpp.core.prometheus.unsafe_paths import FORWARDED_METHODS, MAX_PATH, Rejection
from mpp.proxy.exchanges.forwarder import Forwarder
from mpp.proxy.site import kube_probes
from mpp.proxy.site.kube_probes import KubeProbes
from mpp.proxy.site.request import ProxyRequest

with warnings.catch_warnings():
    # This import installs the default reactor and uses deprecated parts of Twisted. No other module of mpp may import it.
    warnings.simplefilter("ignore", DeprecationWarning)
    from twisted.web.proxy import ReverseProxyResource

_FORWARDED = ", ".join(sorted(method.decode("ascii") for method in FORWARDED_METHODS))
_ALLOW: Headers = ((b"Allow", _FORWARDED.encode("ascii")),)


class ProxyResource(ReverseProxyResource):
    """
    The root resource, which forwards all requests but the ones for admin pages, and the ones that would change only one server.

    It is a ReverseProxyResource, so that it can stand in a resource tree in place of one, but uses none of its forwarding, which
    opens a connection per request, has no back-pressure and passes truncated responses on as complete ones.

    :param page_at: returns the admin page at a path, which is ``/mpp`` or begins with ``/mpp/``.
    :param probes: reports Kubernetes probes among the forwarded requests.
    """

    def __init__(self, forwarder: Forwarder, page_at: Callable[[bytes], Any], probes: KubeProbes) -> None:
        ReverseProxyResource.__init__(self, "", 0, b"", reactor=forwarder.context.clock)
        self.page_at = page_at
        self._forwarder = forwarder
        self._kube_probes = probes

    def getChild(self, path: bytes, request: IRequest) -> Any:
        """Return this resource, because `render` handles every path."""
        return self

    def render(self, request: ProxyRequest) -> int:
        """Forward the request, or reject it."""
        context, method, path = self._forwarder.context, request.info.method, request.path
        if method not in FORWARDED_METHODS:
            request.extra += _ALLOW
            request.reject(405, "bad_data", f"mpp forwards {_FORWARDED} requests only")
        elif len(path) > MAX_PATH:
            request.reject(414, "bad_data", f"the path is longer than {MAX_PATH} bytes (the query string may be)")
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
        """Reject an unsafe request with the reason, or with the 405 of Prometheus if it lacks the method at this path."""
        shown = f"{request.info.method.decode('ascii')} {request.path[:100].decode('ascii', 'replace')}"
        if rejection.status == 405:
            allow = b", ".join(rejection.allow)
            request.extra += ((b"Allow", allow),)
            kind, why = "bad_data", f"{shown}: Prometheus takes {allow.decode('ascii')} requests only at this path"
        else:
            advice = "send it to each server directly, or start mpp with --allow-unsafe-paths"
            kind, why = "forbidden", f"{shown} {rejection.why}; {advice}"
        request.reject(rejection.status, kind, why)
