"""
Compressed data that is put together from pieces without compressing again. Pure; bytes in, bytes out.

A run is raw deflate data that ends at a byte and refers to nothing before it, so runs can follow one another in any order, with
texts as stored blocks between them. The CRC-32 of the whole is computed from the sums of the pieces.

``isal`` compresses about three times as fast as ``zlib``, and is used where it is installed. Each reads the data of the other.

Source: RFC 1951 (deflate), section 3.2.4 for stored blocks; RFC 1952 (gzip), section 2.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

try:
    from isal import isal_zlib as codec
    from isal.isal_zlib import crc32_combine
except ImportError:  # pragma: no cover
    import zlib as codec  # type: ignore[no-redef]

    from mpp.cache.texts.crc import combined as crc32_combine

Bytes: TypeAlias = bytes | memoryview

_RAW = -15
"""No header, and the largest window (``wbits`` of zlib)."""

_FASTEST = 1
_MOST_STORED = 65535
_STORED = struct.Struct("<BHH")
_END = struct.Struct("<II")
_LAST_BLOCK = b"\x03\x00"

# Deflate, no flags, no time, by the fastest method, on an unknown system.
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"


class Run(NamedTuple):
    """
    Compressed text that can stand anywhere in deflate data.

    :ivar data: raw deflate data that ends with a flush.
    :ivar length: bytes of the text.
    :ivar crc: CRC-32 of the text.
    """

    data: Bytes
    length: int
    crc: int


Piece: TypeAlias = bytes | Run
"""A piece of text: plain, or compressed."""


def text_length(piece: Piece) -> int:
    """Return the number of bytes of a piece when it is not compressed."""
    return len(piece) if isinstance(piece, bytes) else piece.length


def compressed(text: bytes) -> Run:
    """Return a text as a run, compressed. Other threads can run meanwhile."""
    compressor = codec.compressobj(_FASTEST, codec.DEFLATED, _RAW)
    return Run(compressor.compress(text) + compressor.flush(codec.Z_FULL_FLUSH), len(text), codec.crc32(text))


def inflated(data: Bytes) -> bytes:
    """Return the text of the data of a run, or of several runs that follow one another."""
    return codec.decompressobj(_RAW).decompress(data)


class Deflated:
    """Collects compressed runs and plain texts to one stream of raw deflate data."""

    __slots__ = ("_crc", "_length", "_pieces", "_texts")

    def __init__(self) -> None:
        self._pieces: list[Bytes] = []
        self._length = 0
        self._crc = 0
        self._texts: list[bytes] = []

    def put(self, piece: Piece) -> None:
        """Add a text or a run."""
        if isinstance(piece, bytes):
            self._texts.append(piece)
            return
        self._flush()
        self._pieces.append(piece.data)
        self._length += piece.length
        self._crc = crc32_combine(self._crc, piece.crc, piece.length)

    def run(self) -> Run:
        """Return everything that was added, as one run."""
        self._flush()
        return Run(b"".join(self._pieces), self._length, self._crc)

    def gzip(self) -> list[Bytes]:
        """Return everything that was added, as the pieces of a gzip file."""
        self._flush()
        return [_GZIP_HEADER, *self._pieces, _LAST_BLOCK + _END.pack(self._crc, self._length & 0xFFFFFFFF)]

    def _flush(self) -> None:
        """Add the texts since the last run; as one, because each stored block takes five bytes more."""
        if self._texts:
            text = b"".join(self._texts)
            self._texts.clear()
            self._length += len(text)
            self._crc = codec.crc32(text, self._crc)
            if len(text) <= _MOST_STORED:
                self._pieces.append(_STORED.pack(0, len(text), len(text) ^ 0xFFFF) + text)
            else:
                self._pieces.extend(_blocks(text))


def _blocks(text: bytes) -> Iterator[Bytes]:
    """Yield a long text as stored blocks, none of which is the last block of the data."""
    view = memoryview(text)
    for at in range(0, len(text), _MOST_STORED):
        block = view[at : at + _MOST_STORED]
        yield _STORED.pack(0, len(block), len(block) ^ 0xFFFF)
        yield block
