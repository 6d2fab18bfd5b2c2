"""The spans that were joined last, by their steps, and the last body. They end with the next change of the entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from sys import getsizeof
from typing import TypeAlias

from attrs import frozen

from mpp.cache.series import Series
from mpp.cache.texts.deflate import Piece, Run

Row: TypeAlias = tuple[Sequence[Piece], Sequence[Piece]]
"""The pieces of the values and of the histograms of one series."""

MOST = 2
"""Spans of an entry: enough for two windows, or for one window with and without compression."""


MOST_BODY = 256 * 1024
"""Bytes of a body that is kept at most."""


@frozen
class AssembledBody:
    """The body of a response, and its length in bytes."""

    pieces: tuple[bytes, ...]
    length: int


class RecentSpans:
    """
    The last spans that were joined from the pages of an entry, while these pages stay as they are.

    Users of one dashboard ask for the same steps within a short time, and only the newest ones, which are not kept, differ.
    """

    __slots__ = ("_body", "_found")

    def __init__(self) -> None:
        self._found: dict[tuple[int, int, bool], tuple[Mapping[Series, Row], int]] = {}
        self._body: tuple[tuple[object, ...], AssembledBody] | None = None

    @property
    def size(self) -> int:
        """Bytes of memory, without the series."""
        own = getsizeof(self) + getsizeof(self._found)
        body = 0 if self._body is None else self._body[1].length
        return own + body + sum(getsizeof(key) + getsizeof(found) + found[1] for key, found in self._found.items())

    def get(self, first: int, last: int, *, gzip: bool) -> Mapping[Series, Row] | None:
        """Return the rows of a span, or None if it is not there."""
        found = self._found.get((first, last, gzip))
        return found[0] if found else None

    def body(self, *key: object) -> AssembledBody | None:
        """Return the last body if it was kept with the same key: its steps, coding, and newest steps; None if it was not."""
        return self._body[1] if self._body is not None and self._body[0] == key else None

    def keep_body(self, body: AssembledBody, *key: object) -> None:
        """Keep a body instead of the last one."""
        self._body = key, body

    def keep(self, rows: Mapping[Series, Row], first: int, last: int, *, gzip: bool) -> None:
        """Keep a span instead of the oldest one."""
        self._found[first, last, gzip] = rows, _size(rows)
        if len(self._found) > MOST:
            del self._found[next(iter(self._found))]


def _size(rows: Mapping[Series, Row]) -> int:
    """Return the bytes of memory of rows."""
    found = getsizeof(rows)
    for row in rows.values():
        found += getsizeof(row) + sum(map(getsizeof, row))
        for pieces in row:
            for piece in pieces:
                found += getsizeof(piece) + (sum(map(getsizeof, piece)) if isinstance(piece, Run) else 0)
    return found
