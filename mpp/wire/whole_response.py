"""
A response that mpp has made itself and that is complete in memory, and its compression.

Source: RFC 9110 section 12.5.3 (``Accept-Encoding``), RFC 1952 (gzip).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

from zope.interface import implementer

from mpp.core.http import headers
from mpp.core.interfaces import IBodyConsumer, IResponse
from mpp.core.model import Headers

GZIP_FIELDS: Headers = ((b"Content-Encoding", b"gzip"), (b"Vary", b"Accept-Encoding"))
"""The fields of a response whose body is compressed."""

# Fast rather than small: the body is compressed while other clients wait.
_LEVEL = 1
# Bytes of a field that are read.
_LONGEST = 1000


def accepts_gzip(fields: Headers) -> bool:
    """Return whether a client accepts gzip."""
    for value in headers.values(fields, b"accept-encoding"):
        for coding in value[:_LONGEST].lower().split(b","):
            name, _, weight = coding.partition(b";")
            if name.strip() == b"gzip":
                return weight.partition(b";")[0].strip().rstrip(b"0") not in (b"q=", b"q=0.", b"q=.")
    return False


def compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the compressed pieces of a body, one for each piece and the rest."""
    encoder = zlib.compressobj(_LEVEL, wbits=31)
    for piece in pieces:
        yield encoder.compress(piece)
    yield encoder.flush()


@implementer(IResponse)
class WholeResponse:
    """
    A response with status 200.

    :param pieces: the body.
    """

    def __init__(self, reason: bytes, fields: Headers, pieces: list[bytes]) -> None:
        self.status = 200
        self.reason = reason
        self.headers = fields
        self.buffered = [piece for piece in pieces if piece]
        self.complete = True
        self.length: int | None = sum(map(len, pieces))
        self.paused = False
        self._send: Callable[[], None] | None = None

    def relay(self, consumer: IBodyConsumer) -> None:
        """See `IResponse`."""

        def send() -> None:
            while self.buffered and not self.paused:
                consumer.body_received(self.buffered.pop(0))
            if not self.paused and self._send is not None:
                self._send = None
                consumer.body_ended()

        self._send = send
        send()

    def pause(self) -> None:
        """See `IResponse`."""
        self.paused = True

    def resume(self) -> None:
        """See `IResponse`."""
        if self.paused:
            self.paused = False
            if self._send is not None:
                self._send()

    def cancel(self) -> None:
        """See `IResponse`."""
        self._send = None
        self.release()

    def release(self) -> None:
        """See `IResponse`."""
        self.buffered.clear()
