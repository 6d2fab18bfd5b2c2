"""The spans that were joined last, by their steps. They end with the next change of the entry."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from sys import getsizeof
from typing import TypeAlias

from mpp.cache.deflate import Piece, Run
from mpp.cache.series import Series

Row: TypeAlias = tuple[Sequence[Piece], Sequence[Piece]]
"""The pieces of the values and of the histograms of one series."""

MOST = 2
"""Spans of an entry: enough for two windows, or for one window with and without compression."""


class RecentSpans:
    """
    The last spans that were joined from the pages of an entry, while these pages stay as they are.

    Users of one dashboard ask for the same steps within a short time, and only the newest ones, which are not kept, differ.
    """

    __slots__ = ("_found", "size")

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[int, int, bool], tuple[Mapping[Series, Row], int]] = OrderedDict()
        self.size = 0

    def get(self, first: int, last: int, *, gzip: bool) -> Mapping[Series, Row] | None:
        """Return the rows of a span, or None if it is not there."""
        found = self._found.get((first, last, gzip))
        return found[0] if found else None

    def keep(self, rows: Mapping[Series, Row], first: int, last: int, *, gzip: bool) -> None:
        """Keep a span instead of the oldest one."""
        size = _size(rows)
        self._found[first, last, gzip] = rows, size
        self.size += size
        while len(self._found) > MOST:
            self.size -= self._found.popitem(last=False)[1][1]


def _size(rows: Mapping[Series, Row]) -> int:
    found = getsizeof(rows)
    for row in rows.values():
        found += getsizeof(row)
        for pieces in row:
            found += getsizeof(pieces)
            for piece in pieces:
                found += getsizeof(piece)
                if isinstance(piece, Run):
                    found += sum(map(getsizeof, piece))
    return found
