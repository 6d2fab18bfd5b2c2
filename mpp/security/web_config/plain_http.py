"""Tells who speaks plain HTTP to a TLS port what is wrong, in the words of Prometheus. Knows nothing of what is served there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.protocols.tls import TLSMemoryBIOFactory

if TYPE_CHECKING:
    from twisted.protocols.tls import TLSMemoryBIOProtocol as _Base
else:
    # What Twisted takes itself, which collects small writes.
    _Base = TLSMemoryBIOFactory.protocol

_BODY = b"Client sent an HTTP request to an HTTPS server.\n"
_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\n"
    b"Connection: close\r\n\r\n%b" % (len(_BODY), _BODY)
)


class TLSOnly(_Base):
    """The server's side of a TLS connection. A TLS record never begins with a capital letter, which a request does."""

    transport: Any
    _is_plain: bool | None = None

    def dataReceived(self, data: bytes) -> None:
        """Take what was received; answer plain HTTP in plain HTTP, and close."""
        if self._is_plain is None:
            self._is_plain = data[:1].isupper()
            if self._is_plain:
                self.transport.write(_ANSWER)
                self.transport.loseConnection()
        if not self._is_plain:
            super().dataReceived(data)  # type: ignore[no-untyped-call]


class TLSOnlyFactory(TLSMemoryBIOFactory):
    """Makes them."""

    protocol = TLSOnly
