"""
A client's connection whose requests may be rejected by their heads, before their bodies are read.

It is apart from `mpp.wire.downstream.channel`, so that requests pay nothing for it where no such check is configured. The check
itself is made by the request object.

# Note [Judged early]

A request that arrives whole is not checked early: that would only check it twice. Of a request whose head has arrived and whose
body has not, no more is read than came with the head, and no ``100 Continue`` is sent, until it is its turn and the check has
admitted it. A rejected request gets its response at once, and the connection ends with it, because the client may or may not be
sending the body already (RFC 9110 section 10.1.1). For a while mpp reads and discards what the client sends, so that it sees the
response.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import Protocol as Shape

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from mpp.core.errors import BadRequest
from mpp.core.model import Headers
from mpp.wire.downstream.channel import IncomingRequest, ProxyChannel
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.request_limits import Limits
from mpp.wire.memory_budget import MemoryBudget


class EarlyRejectionRequest(IncomingRequest, Shape):
    """The object that a channel creates for each request when requests are checked by their heads."""

    def announced(self, method: bytes, target: bytes, version: bytes, headers: Headers, /) -> None:
        """
        Check the request by its head: call `EarlyRejectionChannel.admit`, or respond, at once or later.

        Called before ``received``, and only for requests whose body has not arrived.
        """


class EarlyRejectionChannel(ProxyChannel):
    """
    The connection of one client to mpp, with a check of each request's head.

    :param request_factory: makes the request object from the channel.
    """

    def __init__(
        self,
        request_factory: Callable[[ProxyChannel], EarlyRejectionRequest],
        limits: Limits,
        budget: MemoryBudget,
        error_page: Callable[[BadRequest], bytes],
        channels: Channels,
        client_of: Callable[[Headers], str] = lambda headers: "",
    ) -> None:
        # Not the method of this channel, which would be a reference cycle.
        ProxyChannel.__init__(self, EarlyRejectionChannel._next, limits, budget, error_page, channels, client_of)
        self._make = request_factory
        self._admitted: EarlyRejectionRequest | None = None
        self._judged: EarlyRejectionRequest | None = None

    @staticmethod
    def _next(channel: Any) -> EarlyRejectionRequest:
        request: EarlyRejectionRequest = channel._admitted or channel._make(channel)
        channel._admitted = None
        return request

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Unregister the connection, and drop its requests, which refer to it."""
        self._admitted = self._judged = None
        super().connectionLost(reason)

    @property
    def checking(self) -> bool:  # type: ignore[override]
        """Whether a request still has to be checked by its head: the head has arrived, and the body has not."""
        return self._admitted is None and self._reader.head is not None

    def announce(self) -> None:
        """Make the request object, and let it check the head."""
        head = self._reader.head
        assert head is not None
        # If this request is rejected, the rest of the connection's input is not read.
        self.persistent = False
        self._request = self._judged = request = self._make(self)
        request.announced(*head)

    def admit(self) -> None:
        """Accept the announced request: read its body, then pass it to ``received``."""
        if self._judged is None:
            return
        self._admitted, self._judged, self._request = self._judged, None, None
        # The client could not send the body until now.
        self.idle_since = self._channels.clock.seconds()
        self._serve()

    def request_done(self) -> None:
        """End the current response, after its last byte was written."""
        if self._judged is None:
            super().request_done()
            return
        self._judged = self._request = None
        self._close(linger=True)
