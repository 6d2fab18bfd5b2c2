"""
The body of a response that is made of pieces, as it is or as a gzip file. Pure.

All pieces are added before the first byte is sent, so that the length of the body is known. Its bytes are made only while they
are sent: a plain body inflates its compressed pieces, a gzip body contains them as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from mpp.cache.texts.deflate import Bytes, Deflated, Piece, inflated, text_length

PIECE = 65536
"""The most bytes of a body that are sent at once."""


class PlainBody:
    """A body without a content coding."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._length = 0

    def put(self, piece: Piece, /) -> None:
        """Add a piece of text."""
        self._pieces.append(piece)
        self._length += text_length(piece)

    def finish(self) -> int:
        """Return the length of the body in bytes; nothing may be added after this."""
        return self._length

    def pieces(self) -> Iterator[Bytes]:
        """Yield the bytes of the body, at most `PIECE` at once. Takes about 10 µs for each KiB that is inflated."""
        return _grouped(piece if isinstance(piece, bytes) else inflated(piece.data) for piece in self._pieces)


class GzipBody:
    """A body with the content coding gzip."""

    def __init__(self) -> None:
        self._deflated = Deflated()
        self._file: list[Bytes] = []

    def put(self, piece: Piece, /) -> None:
        """Add a piece of text."""
        self._deflated.put(piece)

    def finish(self) -> int:
        """Return the length of the body in bytes; nothing may be added after this."""
        self._file = self._deflated.gzip()
        return sum(map(len, self._file))

    def pieces(self) -> Iterator[Bytes]:
        """Yield the bytes of the body, at most `PIECE` at once."""
        return _grouped(self._file)


Body: TypeAlias = PlainBody | GzipBody
"""A body that is being written."""


def _grouped(pieces: Iterable[Bytes]) -> Iterator[Bytes]:
    """Join small pieces and divide large ones, so that each is as large as may be sent at once."""
    group: list[Bytes] = []
    size = 0
    for piece in pieces:
        if group and size + len(piece) > PIECE:
            yield b"".join(group)
            group, size = [], 0
        if len(piece) <= PIECE:
            group.append(piece)
            size += len(piece)
        else:
            view = memoryview(piece)
            yield from (view[at : at + PIECE] for at in range(0, len(piece), PIECE))
    if group:
        yield b"".join(group)
