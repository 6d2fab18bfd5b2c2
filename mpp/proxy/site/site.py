"""
The site of twisted.web: makes the channel of each client connection, and logs rejected bytes and requests for admin pages.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.web import server
from twisted.web.resource import IResource

from mpp.core.errors import BadRequest
from mpp.core.http import heads
from mpp.core.metrics.registry import LOCAL
from mpp.core.model import Headers, RequestInfo
from mpp.proxy.exchanges.forwarder import Forwarder
from mpp.proxy.site.request import ProxyRequest
from mpp.wire.downstream.channel import ProxyChannel
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.request_limits import Limits
from mpp.wire.memory_budget import MemoryBudget


class ProxySite(server.Site):
    """
    The factory of client connections, which uses the HTTP implementation of `mpp.wire` instead of Twisted's.

    :ivar forwarder: forwards the requests; its context has the current settings, metrics and access log.
    :ivar limits: the limits of requests on connections that are accepted from now on.
    :param budget: limits the memory of all buffered requests and responses together.
    :param channels: the open client connections, to which each new one is added.
    :param request: makes a request on a channel.
    :param channel: the class of the channels on which ``request`` makes requests.
    """

    noisy = False
    """Twisted does not log the start and the stop, also if a factory of TLS is around this one."""

    def __init__(
        self,
        root: IResource,
        forwarder: Forwarder,
        *,
        limits: Limits,
        budget: MemoryBudget,
        channels: Channels,
        request: Callable[[ProxyChannel], ProxyRequest] = ProxyRequest,
        channel: Callable[..., ProxyChannel] = ProxyChannel,
    ) -> None:
        server.Site.__init__(self, root, ProxyRequest, reactor=channels.clock, parsePOSTFormSubmission=False)
        self.forwarder = forwarder
        self.limits = limits
        self._budget = budget
        self._channels = channels
        self._request = request
        self._channel = channel

    def _reject(self, client: str, error: BadRequest) -> bytes:
        context = self.forwarder.context
        context.metrics.refused(error.status)
        if context.access is not None:
            context.access.log_rejected(client, error.status, error.detail)
        return _error_page(error, context.allowed_origins.fields(error.origin))

    def _client(self, peer: str, fields: Headers) -> str:
        return self.forwarder.context.client_address(RequestInfo(b"", b"", fields, peer=peer))

    def log(self, request: Any) -> None:
        """Write a request for an admin page to the access log when it has ended."""
        access = self.forwarder.context.access
        if access is not None:
            access.log(request.info, request.code, began=request.began, sent=request.sentLength, backend=LOCAL)

    def buildProtocol(self, addr: Any) -> Any:
        """Return the `ProxyChannel` of one client connection."""
        peer = str(getattr(addr, "host", "")).removeprefix("::ffff:")
        reject, client_of = partial(self._reject, peer), partial(self._client, peer)
        channel = self._channel(self._request, self.limits, self._budget, reject, self._channels, client_of)
        channel.site = self
        return channel


def _error_page(error: BadRequest, added: Headers) -> bytes:
    """
    Return the complete response to bytes that are no valid request; the connection is closed after it.

    :param added: further header fields of the response.
    """
    error_type = "bad_data" if error.status < 500 else "unavailable"
    return heads.error_answer(error.status, error_type, error.detail, ((b"Connection", b"close"), *added))
