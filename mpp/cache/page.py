"""
The kept steps of one page: the texts of all series at these steps, and the servers that answered them. Pure; frozen values.

A page that has its last step is compressed, because it is full. Any other page is *open*: its texts stay as they are, so that
the next steps are added by joining two texts. A series without points in a page is not in it: the extents
say which steps were fetched.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from sys import getsizeof
from typing import TypeAlias

from attrs import evolve, field, frozen

from mpp.cache.deflate import Piece, Run, compressed, inflated
from mpp.cache.series import Series


@frozen
class Extent:
    """
    Consecutive steps that one server answered.

    :ivar first: the first step.
    :ivar last: the last step (inclusive).
    :ivar source: the server that answered, and all that is needed to judge the answer later.
    :ivar kept_until: until when the answer may be used, by the monotonic clock, in seconds.
    :ivar warnings: the warnings of the answer.
    :ivar infos: the infos of the answer.
    """

    first: int
    last: int
    source: Hashable
    kept_until: float
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()

    def within(self, first: int, last: int) -> Extent:
        """Return the part within some steps, of which it has at least one."""
        return evolve(self, first=max(self.first, first), last=min(self.last, last))

    def joins(self, after: Extent) -> bool:
        """Return whether this and the one after it can be one extent."""
        same = (self.source, self.warnings, self.infos) == (after.source, after.warnings, after.infos)
        return same and self.last + 1 == after.first

    @property
    def size(self) -> int:
        """Bytes of memory, the source aside, of which there is one for many extents."""
        texts = (self.warnings, self.infos)
        numbers = (self.first, self.last, self.kept_until)
        return sum(map(getsizeof, (self, *numbers, *(text for each in texts for text in (each, *each)))))


def without(extents: Sequence[Extent], first: int, last: int) -> list[Extent]:
    """Return extents without some steps."""
    before = [each.within(each.first, first - 1) for each in extents if each.first < first]
    after = [each.within(last + 1, each.last) for each in extents if each.last > last]
    return before + after


def replaced(extents: Sequence[Extent], new: Extent) -> tuple[Extent, ...]:
    """Return extents in order, of which a new one replaces the steps that it has. Extents that can be one are one."""
    found: list[Extent] = []
    for each in sorted([*without(extents, new.first, new.last), new], key=_first):
        if found and found[-1].joins(each):
            until = min(found[-1].kept_until, each.kept_until)
            found[-1] = evolve(found[-1], last=each.last, kept_until=until)
        else:
            found.append(each)
    return tuple(found)


def _first(extent: Extent) -> int:
    return extent.first


@frozen(eq=False)
class Texts:
    """The texts of some series, as they are."""

    series: tuple[Series, ...]
    _texts: tuple[bytes, ...]

    @classmethod
    def of(cls, texts: Mapping[Series, bytes], series: tuple[Series, ...]) -> Texts:
        """Return the texts of series, in their order."""
        return cls(series, tuple(texts[each] for each in series))

    def pieces(self) -> Iterator[tuple[Series, Piece]]:
        """Yield each series and its text in the form in which it is kept."""
        return zip(self.series, self._texts, strict=True)

    def texts(self) -> Iterator[tuple[Series, bytes]]:
        """Yield each series and its text."""
        return zip(self.series, self._texts, strict=True)

    @property
    def size(self) -> int:
        """Bytes of memory, without the series and their order."""
        return getsizeof(self) + getsizeof(self._texts) + sum(map(getsizeof, self._texts))


@frozen(eq=False)
class Runs:
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
    def of(cls, texts: Mapping[Series, bytes], series: tuple[Series, ...]) -> Runs:
        """Return the texts of series, in their order. Lets other threads go on meanwhile."""
        runs = [compressed(texts[each]) for each in series]
        ends = accumulate(len(run.data) for run in runs)
        blob = b"".join(run.data for run in runs)
        # Only arrays from lists are exactly as large as they need to be.
        numbers = (list(ends), [run.length for run in runs], [run.crc for run in runs])
        return cls(series, blob, *(array("I", each) for each in numbers))

    def pieces(self) -> Iterator[tuple[Series, Piece]]:
        """Yield each series and its text in the form in which it is kept, without a copy."""
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
        """Bytes of memory, without the series and their order."""
        return getsizeof(self) + sum(map(getsizeof, (self._blob, self._ends, self._lengths, self._crcs)))


Rows: TypeAlias = Texts | Runs


@frozen(eq=False)
class KeptPage:
    """
    The kept steps of a page.

    :ivar number: the page's number, see `mpp.cache.grid`.
    :ivar extents: the steps that it has, in order.
    :ivar rows: the texts of all series at these steps, of each member (`mpp.cache.cutting.MEMBERS`).
    :ivar size: bytes of memory, without the series and their order.
    """

    number: int
    extents: tuple[Extent, ...]
    rows: tuple[Rows, Rows]
    size: int = field(init=False)

    @size.default
    def _size(self) -> int:
        parts = sum(each.size for each in (*self.extents, *self.rows))
        return getsizeof(self) + getsizeof(self.number) + getsizeof(self.extents) + getsizeof(self.rows) + parts
