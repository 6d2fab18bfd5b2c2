"""The response to clients that send plain HTTP to a TLS port, with the text of Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.protocols.tls import TLSMemoryBIOFactory

if TYPE_CHECKING:
    from twisted.protocols.tls import TLSMemoryBIOProtocol as _Base
else:
    # Twisted's own class for server connections, which buffers small writes.
    _Base = TLSMemoryBIOFactory.protocol

_BODY = b"Client sent an HTTP request to an HTTPS server.\n"
_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\n"
    b"Connection: close\r\n\r\n%b" % (len(_BODY), _BODY)
)


class TLSOnly(_Base):
    """
    The server side of a TLS connection, which recognizes plain HTTP by its first byte.

    An HTTP request starts with a capital letter, and a TLS record never does.
    """

    transport: Any
    _is_plain: bool | None = None

    def dataReceived(self, data: bytes) -> None:
        """Process received bytes as TLS; respond to plain HTTP in plain HTTP, and close the connection."""
        if self._is_plain is None:
            self._is_plain = data[:1].isupper()
            if self._is_plain:
                self.transport.write(_ANSWER)
                self.transport.loseConnection()
        if not self._is_plain:
            super().dataReceived(data)  # type: ignore[no-untyped-call]


class TLSOnlyFactory(TLSMemoryBIOFactory):
    """The factory of `TLSOnly` connections."""

    protocol = TLSOnly
