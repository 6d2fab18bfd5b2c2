"""
A client's connection as a `twisted.web.server.Request` knows it: what `twisted.web.http.HTTPChannel` would be to it.

For mpp's own pages; what a backend answers never comes here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.web.http_headers import Headers

from mpp.wire.downstream.channel import ProxyChannel


class WebChannel:
    """
    Answers one request in twisted.web's way.

    :ivar site: for the request, as are ``factory`` and ``transport``.
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
        """Send the head of an answer."""
        channel = self._channel
        if version != b"HTTP/1.1":
            # twisted.web does not chunk for HTTP/1.0, so only the connection's end may end the body.
            channel.persistent = False
        lines = [b"%b %b %b\r\n" % (version, code, reason)]
        lines += [b"%b: %b\r\n" % (name, value) for name, values in headers.getAllRawHeaders() for value in values]
        lines.append(b"\r\n" if channel.persistent else b"Connection: close\r\n\r\n")
        channel.write(b"".join(lines))

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Send a part of an answer."""
        self._channel.writeSequence(pieces)

    def requestDone(self, request: Any) -> None:
        """End the answer."""
        self._channel.request_done()

    def getPeer(self) -> IAddress:
        """Give the client's address."""
        return self._channel.addresses()[0]

    def getHost(self) -> IAddress:
        """Give the address the client connected to."""
        return self._channel.addresses()[1]

    def isSecure(self) -> bool:
        """Whether the client came over TLS."""
        return self._channel.secure
