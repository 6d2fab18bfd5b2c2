"""The texts of one member (the values or the histograms) of all series of a page. Pure; frozen values."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from sys import getsizeof
from typing import TypeAlias

from attrs import frozen

from mpp.cache.series import Series
from mpp.cache.texts.deflate import Piece, Run, compressed, inflated


@frozen(eq=False)
class PlainTexts:
    """The texts of some series, uncompressed."""

    series: tuple[Series, ...]
    _texts: tuple[bytes, ...]

    @classmethod
    def of(cls, texts: Mapping[Series, bytes], series: tuple[Series, ...]) -> PlainTexts:
        """Return the texts of some series, in the order of ``series``."""
        return cls(series, tuple(texts[each] for each in series))

    def pieces(self) -> Iterator[tuple[Series, Piece]]:
        """Yield each series and its text in the form in which it is cached."""
        return zip(self.series, self._texts, strict=True)

    def texts(self) -> Iterator[tuple[Series, bytes]]:
        """Yield each series and its text."""
        return zip(self.series, self._texts, strict=True)

    @property
    def size(self) -> int:
        """Bytes of memory, without ``series``, which most pages share."""
        return getsizeof(self) + getsizeof(self._texts) + sum(map(getsizeof, self._texts))


@frozen(eq=False)
class CompressedTexts:
    """
    The texts of some series, compressed.

    :ivar _blob: all runs, one after the other: an object for each would take a tenth more memory.
    :ivar _ends: where each run ends.
    :ivar _lengths: bytes of each text.
    :ivar _crcs: CRC-32 of each text.
    """

    series: tuple[Series, ...]
    _blob: bytes
    _ends: array[int]
    _lengths: array[int]
    _crcs: array[int]

    @classmethod
    def of(cls, texts: Mapping[Series, bytes], series: tuple[Series, ...]) -> CompressedTexts:
        """Return the texts of some series, in the order of ``series``. Other threads can run while a text is compressed."""
        runs = [compressed(texts[each]) for each in series]
        ends = accumulate(len(run.data) for run in runs)
        blob = b"".join(run.data for run in runs)
        # Only arrays from lists are exactly as large as they need to be.
        numbers = (list(ends), [run.length for run in runs], [run.crc for run in runs])
        return cls(series, blob, *(array("I", each) for each in numbers))

    def pieces(self) -> Iterator[tuple[Series, Piece]]:
        """Yield each series and its text in the form in which it is cached, without a copy."""
        view = memoryview(self._blob)
        edges = pairwise((0, *self._ends))
        for series, (start, end), length, crc in zip(self.series, edges, self._lengths, self._crcs, strict=True):
            yield series, Run(view[start:end], length, crc)

    def texts(self) -> Iterator[tuple[Series, bytes]]:
        """Yield each series and its text."""
        start = 0
        for series, end in zip(self.series, self._ends, strict=True):
            yield series, inflated(self._blob[start:end])
            start = end

    @property
    def size(self) -> int:
        """Bytes of memory, without ``series``, which most pages share."""
        return getsizeof(self) + sum(map(getsizeof, (self._blob, self._ends, self._lengths, self._crcs)))


MemberTexts: TypeAlias = PlainTexts | CompressedTexts
"""The texts of one member: plain in an open page, compressed in a full one, see `mpp.cache.page`."""
