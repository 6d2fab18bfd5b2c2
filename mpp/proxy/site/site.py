"""
The site in Twisted's terms: makes the channel of each client connection, and tells the access log what no request can tell. What
is answered is `mpp.proxy.site.resource`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

from twisted.web import server
from twisted.web.resource import IResource

from mpp.core import headers
from mpp.core.errors import BadRequest
from mpp.core.metrics import LOCAL, Metrics
from mpp.core.model import Headers, RequestInfo
from mpp.core.prometheus.cors import ALL_ORIGINS, AllowedOrigins
from mpp.proxy.access_log import AccessLog
from mpp.proxy.site.request import ProxyRequest
from mpp.wire.downstream.channel import ProxyChannel
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.request_limits import Limits
from mpp.wire.memory_budget import MemoryBudget


class ProxySite(server.Site):
    """
    Speaks HTTP through the wire layer instead of Twisted's own channel.

    :param budget: what all requests and responses held may take together.
    :param channels: where open connections sign in.
    :ivar limits: what a client may send; another value counts for connections that come then.
    :ivar access: gives where requests are logged, or None.
    :ivar client_of: returns the address of a request's client.
    :ivar allowed_origins: the pages that may read mpp's own errors.
    :param request: makes a request of a channel.
    :param channel: the kind of channel that such requests need.
    """

    def __init__(
        self,
        root: IResource,
        *,
        limits: Limits,
        budget: MemoryBudget,
        channels: Channels,
        metrics: Metrics,
        access: Callable[[], AccessLog | None] = lambda: None,
        client_of: Callable[[RequestInfo], str] = attrgetter("peer"),
        allowed_origins: AllowedOrigins = ALL_ORIGINS,
        request: Callable[[ProxyChannel], ProxyRequest] = ProxyRequest,
        channel: Callable[..., ProxyChannel] = ProxyChannel,
    ) -> None:
        self.access = access
        self.client_of = client_of
        self.allowed_origins = allowed_origins
        self.clock = channels.clock
        server.Site.__init__(self, root, ProxyRequest, reactor=channels.clock, parsePOSTFormSubmission=False)
        self.limits = limits
        self._budget = budget
        self._channels = channels
        self._metrics = metrics
        self._request = request
        self._channel = channel

    def rejected(self, status: int) -> None:
        """Count a request that was refused with this status."""
        self._metrics.refused(status)

    def _reject(self, client: str, error: BadRequest) -> bytes:
        self.rejected(error.status)
        access = self.access()
        if access is not None:
            access.log_rejected(client, error.status, error.detail)
        return _error_page(error, self.allowed_origins.fields(error.origin))

    def _client(self, peer: str, fields: Headers) -> str:
        return self.client_of(RequestInfo(b"", b"", fields, peer=peer))

    def log(self, request: Any) -> None:
        """Tell of a request for one of the own pages, when it has ended."""
        access = self.access()
        if access is not None:
            access.log(request.info, request.code, began=request.began, sent=request.sentLength, backend=LOCAL)

    def buildProtocol(self, addr: Any) -> Any:
        """Make the `ProxyChannel` of one client connection."""
        peer = str(getattr(addr, "host", "")).removeprefix("::ffff:")
        refuse, client_of = partial(self._reject, peer), partial(self._client, peer)
        channel = self._channel(self._request, self.limits, self._budget, refuse, self._channels, client_of)
        channel.site = self
        return channel


def _error_page(error: BadRequest, added: Headers) -> bytes:
    """
    Return the whole response to bytes that are no request for mpp; the connection is closed after it.

    :param added: fields that it has beside its own.
    """
    error_type = "bad_data" if error.status < 500 else "unavailable"
    return headers.error_answer(error.status, error_type, error.detail, ((b"Connection", b"close"), *added))
