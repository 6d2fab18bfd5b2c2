"""
A client's connection with the interface of `twisted.web.http.HTTPChannel`, for a `twisted.web.server.Request`.

It serves mpp's own pages; responses of backends do not use it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.web.http_headers import Headers

from mpp.wire.downstream.channel import ProxyChannel


class WebChannel:
    """
    The channel of one request that is served in twisted.web's way.

    :ivar site: the site that the request belongs to. The request reads it, ``factory`` (the same object) and ``transport``.
    """

    def __init__(self, channel: ProxyChannel) -> None:
        self._channel = channel
        self.site = self.factory = channel.site
        self.transport = channel.transport
        self.write = channel.write
        self.registerProducer = channel.registerProducer
        self.unregisterProducer = channel.unregisterProducer
        self.loseConnection = channel.loseConnection

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Send the head of a response."""
        channel = self._channel
        if version != b"HTTP/1.1":
            # twisted.web does not chunk for HTTP/1.0, so the end of the connection has to end the body.
            channel.persistent = False
        lines = [b"%b %b %b\r\n" % (version, code, reason)]
        lines += [b"%b: %b\r\n" % (name, value) for name, values in headers.getAllRawHeaders() for value in values]
        lines.append(b"\r\n" if channel.persistent else b"Connection: close\r\n\r\n")
        channel.write(b"".join(lines))

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Send a part of a response."""
        self._channel.writeSequence(pieces)

    def requestDone(self, request: Any) -> None:
        """End the response to the request."""
        self._channel.request_done()

    def getPeer(self) -> IAddress:
        """Return the client's address."""
        return self._channel.addresses()[0]

    def getHost(self) -> IAddress:
        """Return the address that the client connected to."""
        return self._channel.addresses()[1]

    def isSecure(self) -> bool:
        """Return whether the client is connected over TLS."""
        return self._channel.secure
