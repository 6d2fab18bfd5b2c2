"""The two sites (Twisted's term for an HTTP server factory): for clients, and for the separate admin sockets."""

from __future__ import annotations

import functools

from mpp.admin.resource import AdminPages, AdminRoot
from mpp.core.metrics.registry import Metrics
from mpp.core.settings import Settings
from mpp.proxy.exchanges.forwarder import Forwarder
from mpp.proxy.site import page_limits
from mpp.proxy.site.kube_probes import KubeProbes
from mpp.proxy.site.request import ProxyRequest
from mpp.proxy.site.resource import ProxyResource
from mpp.proxy.site.site import ProxySite
from mpp.security.web_config.service import WebConfigService
from mpp.wire.downstream.channel import ProxyChannel
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.early_rejection import EarlyRejectionChannel
from mpp.wire.downstream.request_limits import Limits
from mpp.wire.memory_budget import MemoryBudget


class Sites:
    """
    The site for clients and the site for ``--admin-listen``.

    :param web_config: adds TLS and authentication to both sites; None without a web configuration.
    :ivar clients: forwards requests and serves the admin pages; with ``--admin-listen``, only the pages for health checks.
    :ivar kube_probes: logs a warning if Kubernetes sends its probes to paths that mpp forwards.
    :ivar admin: serves the admin pages only.
    """

    def __init__(
        self,
        settings: Settings,
        admin_pages: AdminPages,
        forwarder: Forwarder,
        *,
        budget: MemoryBudget,
        channels: Channels,
        metrics: Metrics,
        web_config: WebConfigService | None,
    ) -> None:
        site = functools.partial(
            ProxySite,
            forwarder=forwarder,
            budget=budget,
            channels=channels,
            request=ProxyRequest if web_config is None else web_config.request,
            channel=ProxyChannel if web_config is None else EarlyRejectionChannel,
        )
        shown = admin_pages.probes() if settings.admin_listen else admin_pages
        self.kube_probes = KubeProbes()
        self.clients = site(ProxyResource(forwarder, shown.page_at, self.kube_probes), limits=_limits(settings.max_request_body))
        # Requests here need no body: the limit is 0 bytes, except on pages with a limit of their own.
        self.admin = site(AdminRoot(admin_pages, metrics), limits=_limits(0))

    def reconfigure(self, settings: Settings) -> None:
        """Apply new settings to the requests that follow."""
        self.clients.limits = _limits(settings.max_request_body)


def _limits(max_body: int) -> Limits:
    return Limits(max_body=max_body, body_rule=page_limits.max_body)
