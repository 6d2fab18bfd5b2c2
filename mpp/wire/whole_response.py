"""
Responses that are complete in memory: made by mpp itself, or shared by several clients; and their compression.

A large response is sent in parts, one in each iteration (turn) of the reactor: a client that reads fast never pauses it, and
other clients would have to wait until all of it is sent.

Source: RFC 1952 (gzip).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator

from twisted.internet.defer import Deferred
from txaio import tx
from zope.interface import implementer

from mpp.core.interfaces import IBodyConsumer, IResponse
from mpp.core.model import Headers
from mpp.core.scheduling.turns import Turns
from mpp.core.scheduling.unexpected import log_unexpected

_log = tx.make_logger()

GZIP_FIELDS: Headers = ((b"Content-Encoding", b"gzip"), (b"Vary", b"Accept-Encoding"))
"""The header fields that a response with a compressed body has in addition."""

AT_ONCE = 512 * 1024
"""Bytes of a response that are sent in one iteration of the reactor. To decompress so many takes two milliseconds."""

# Fast rather than small: the body is compressed while other clients wait.
_LEVEL = 1


def compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a body compressed by gzip: one piece, perhaps empty, for each piece of the body, and a last one."""
    encoder = zlib.compressobj(_LEVEL, wbits=31)
    for piece in pieces:
        yield encoder.compress(piece)
    yield encoder.flush()


@implementer(IResponse)
class WholeResponse:
    """
    A response that is complete in memory.

    :param pieces: the body.
    :param length: how many bytes the body has; None: the length of ``pieces``.
    :param turns: spreads the delivery over several iterations of the reactor; None for a small body.
    :ivar released: called once, when the body is no longer needed.
    """

    def __init__(
        self,
        status: int,
        reason: bytes,
        fields: Headers,
        pieces: Iterable[bytes],
        length: int | None = None,
        released: Callable[[], None] | None = None,
        turns: Turns | None = None,
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = fields
        self.buffered = [piece for piece in pieces if piece]
        self.complete = True
        self.length: int | None = sum(map(len, self.buffered)) if length is None else length
        self.paused = False
        self.released = released
        self._turns = turns
        self._turn: Deferred[None] | None = None
        self._consumer: IBodyConsumer | None = None
        self._pieces: Iterator[bytes] | None = None

    def relay(self, consumer: IBodyConsumer) -> None:
        """Start to deliver the body to a consumer, see `IResponse`."""
        self._consumer = consumer
        if self._pieces is None:
            self._pieces = iter(self.buffered)
        self._send()

    def _send(self) -> None:
        """Send pieces until the consumer pauses, or until the turn of the reactor has to end."""
        sent = 0
        while self._consumer is not None and not self.paused and self._turn is None:
            piece = next(self._pieces, None) if self._pieces is not None else None
            if piece is not None:
                self._consumer.body_received(piece)
                sent += len(piece)
                if sent >= AT_ONCE and self._turns is not None:
                    self._wait(self._turns)
                continue
            consumer, self._consumer = self._consumer, None
            self.release()
            consumer.body_ended()

    def _wait(self, turns: Turns) -> None:
        self._turn = turns.next()
        text = "bug: mpp failed while sending a response from memory; the client does not receive the rest of it"
        self._turn.addCallback(self._turn_came).addErrback(log_unexpected, _log, text)

    def _turn_came(self, _: None) -> None:
        self._turn = None
        self._send()

    def pause(self) -> None:
        """Stop the delivery until `resume`, see `IResponse`."""
        self.paused = True

    def resume(self) -> None:
        """
        Continue the delivery of the body, see `IResponse`.

        A large response goes on in a later iteration of the reactor, because many clients may become ready in the same one.
        """
        if not self.paused:
            return
        self.paused = False
        if self._turns is None or (self.length or 0) <= AT_ONCE:
            self._send()
        elif self._turn is None:
            self._wait(self._turns)

    def cancel(self) -> None:
        """Stop the delivery for good, and release the body, see `IResponse`."""
        self._consumer = None
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.cancel()
        self.release()

    def release(self) -> None:
        """Drop the body, which is no longer needed, see `IResponse`."""
        self.buffered = []
        self._pieces = None
        released, self.released = self.released, None
        if released is not None:
            released()


class GeneratedResponse(WholeResponse):
    """
    A response whose pieces are made while the client reads it, because all of them together would take much memory.

    :param pieces: yields the body piece by piece.
    :param length: how many bytes the body has.
    :param turns: spreads the delivery over several iterations of the reactor.
    """

    def __init__(self, reason: bytes, fields: Headers, pieces: Iterator[bytes], length: int, turns: Turns) -> None:
        super().__init__(200, reason, fields, (), length, turns=turns)
        self.complete = False
        self._pieces = pieces


def copies(response: IResponse, count: int, turns: Turns) -> list[WholeResponse]:
    """
    Return copies of a complete response that share its body, which counts to the memory budget until the last one is released.

    :param count: how many copies; they are used instead of the given response, which keeps no body.
    :param turns: spreads their delivery over several iterations of the reactor.
    """
    left = count

    def released() -> None:
        nonlocal left
        left -= 1
        if not left:
            response.release()

    pieces, response.buffered = response.buffered, []
    arguments = response.status, response.reason, response.headers, pieces, response.length, released, turns
    return [WholeResponse(*arguments) for _ in range(count)]


def counted_for(sources: Iterable[IResponse], size: int) -> Callable[[], None]:
    """
    Drop the bodies of complete responses, and keep their bytes counted to the memory budget for the body that was made of them.

    :param sources: the responses; the ones beyond the bytes of the new body are released at once.
    :param size: how many bytes the new body has.
    :return: ends the count; to be called when the new body is released.
    """
    counting = []
    for source in sources:
        if size > 0:
            size -= sum(map(len, source.buffered))
            source.buffered = []
            counting.append(source)
        else:
            source.release()

    def released() -> None:
        for source in counting:
            source.release()

    return released
