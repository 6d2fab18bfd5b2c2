"""
A client's connection whose requests may be refused by their heads, before their bodies are read.

Kept apart from `mpp.wire.downstream.channel`, so that without somebody who judges no request pays for it. Who judges, and by
what, is not known here.

# Note [Judged early]

A request that arrives whole is not judged early: that would only ask twice. Of one whose head is there and whose body is not, no
more is read than came with the head, and no ``100 Continue`` is sent, until its turn has come and it is let through. What is
refused is answered at once; the connection ends with the answer, for the client may be sending the body already, or may not (RFC
9110 section 10.1.1). For a while it is listened to and what it sends is thrown away, so that it sees the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Shape

from mpp.core.errors import BadRequest
from mpp.core.model import Headers
from mpp.wire.downstream.channel import IncomingRequest, ProxyChannel
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.request_limits import Limits
from mpp.wire.memory_budget import MemoryBudget


class EarlyRejectionRequest(IncomingRequest, Shape):
    """What a channel makes of each request when requests are judged."""

    def announced(self, method: bytes, target: bytes, version: bytes, headers: Headers, /) -> None:
        """
        Judge the request by its head: call `EarlyRejectionChannel.admit`, or answer, at once or later.

        Called before ``received`` for requests whose body is still to come, and only for those.
        """


class EarlyRejectionChannel(ProxyChannel):
    """
    One client's connection.

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
        ProxyChannel.__init__(self, self._next, limits, budget, error_page, channels, client_of)
        self._make = request_factory
        self._admitted: EarlyRejectionRequest | None = None
        self._judged: EarlyRejectionRequest | None = None

    def _next(self, channel: ProxyChannel) -> EarlyRejectionRequest:
        request, self._admitted = self._admitted, None
        return request or self._make(channel)

    def _nothing_ready(self) -> None:
        head = self._reader.head
        if head is None or self._heard_all or self._admitted is not None:
            super()._nothing_ready()
            return
        # If this one is refused, nobody reads on.
        self.persistent = False
        self._request = self._judged = request = self._make(self)
        request.announced(*head)
        if self._admitted is not None:
            super()._nothing_ready()

    def admit(self) -> None:
        """Let the request that was announced through: its body is read, then it is received."""
        if self._judged is None:
            return
        self._admitted, self._judged, self._request = self._judged, None, None
        # Its client has waited for us.
        self.idle_since = self._channels.clock.seconds()
        self._serve()

    def request_done(self) -> None:
        """End the current answer, after its last byte was written."""
        if self._judged is None:
            super().request_done()
            return
        self._judged = self._request = None
        self._close(linger=True)

    def _read(self, wanted: bool) -> None:
        undecided = self._admitted is None and self._reader.head is not None
        super()._read(wanted and (self._closing or not undecided))
