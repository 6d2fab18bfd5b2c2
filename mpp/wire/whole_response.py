"""
Responses that are complete in memory: made by mpp itself, or shared by several clients; and their compression.

Source: RFC 1952 (gzip).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator

from zope.interface import implementer

from mpp.core.interfaces import IBodyConsumer, IResponse
from mpp.core.model import Headers

GZIP_FIELDS: Headers = ((b"Content-Encoding", b"gzip"), (b"Vary", b"Accept-Encoding"))
"""The fields of a response whose body is compressed."""

# Fast rather than small: the body is compressed while other clients wait.
_LEVEL = 1


def compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the compressed pieces of a body, one for each piece and the rest."""
    encoder = zlib.compressobj(_LEVEL, wbits=31)
    for piece in pieces:
        yield encoder.compress(piece)
    yield encoder.flush()


@implementer(IResponse)
class WholeResponse:
    """
    A response that is complete in memory.

    :param pieces: the body.
    :param length: see `IResponse`; the length of ``pieces`` if it is left out.
    :param released: called once, when the body is no longer needed.
    """

    def __init__(
        self,
        status: int,
        reason: bytes,
        fields: Headers,
        pieces: Iterable[bytes],
        length: int | None = None,
        released: Callable[[], None] | None = None,
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = fields
        self.buffered = [piece for piece in pieces if piece]
        self.complete = True
        self.length: int | None = sum(map(len, self.buffered)) if length is None else length
        self.paused = False
        self._released = released
        self._consumer: IBodyConsumer | None = None
        self._pieces: Iterator[bytes] = iter(self.buffered)

    def relay(self, consumer: IBodyConsumer) -> None:
        """See `IResponse`."""
        self._consumer = consumer
        self._send()

    def _send(self) -> None:
        while self._consumer is not None and not self.paused:
            piece = next(self._pieces, None)
            if piece is not None:
                self._consumer.body_received(piece)
                continue
            consumer, self._consumer = self._consumer, None
            self.release()
            consumer.body_ended()

    def pause(self) -> None:
        """See `IResponse`."""
        self.paused = True

    def resume(self) -> None:
        """See `IResponse`."""
        if self.paused:
            self.paused = False
            self._send()

    def cancel(self) -> None:
        """See `IResponse`."""
        self._consumer = None
        self.release()

    def release(self) -> None:
        """See `IResponse`."""
        self.buffered = []
        self._pieces = iter(())
        released, self._released = self._released, None
        if released is not None:
            released()


class GeneratedResponse(WholeResponse):
    """
    A response whose pieces are made while the client reads it, because all of them together would take much memory.

    :param pieces: makes the body.
    :param length: its bytes.
    """

    def __init__(self, reason: bytes, fields: Headers, pieces: Iterator[bytes], length: int) -> None:
        super().__init__(200, reason, fields, (), length)
        self.complete = False
        self._pieces = pieces


def copies(response: IResponse, count: int) -> list[WholeResponse]:
    """
    Return responses that share the memory of a complete one, which is released with the last of them.

    :param count: how many responses; they replace the given one.
    """
    left = count

    def released() -> None:
        nonlocal left
        left -= 1
        if not left:
            response.release()

    arguments = response.status, response.reason, response.headers, response.buffered, response.length, released
    return [WholeResponse(*arguments) for _ in range(count)]
