"""The spans (ranges of cached steps) that were joined for the last responses, and the bodies of these. Bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from sys import getsizeof
from typing import TypeAlias

from attrs import frozen

from mpp.cache.series import Series
from mpp.cache.texts.deflate import Piece, Run

Row: TypeAlias = tuple[Sequence[Piece], Sequence[Piece]]
"""The pieces of text of the values and of the histograms of one series, which together are its steps of a span."""

_OVERHEAD = 400
"""Bytes of a span besides its rows: its key, the version in it, and its place in the table; measured, rounded up."""

SpanKey: TypeAlias = tuple[object, int, int, bool]
"""The version of the pages, the first and the last step of a span, and whether its pieces will be sent compressed."""

MOST_BODY = 256 * 1024
"""The largest length in bytes of a body that is cached."""

BodyKey: TypeAlias = tuple[object, int, int, bool, object]
"""The items of a `SpanKey`, and then the newest steps, which are in no page, together with mpp's own warning."""


@frozen
class AssembledBody:
    """The body of a response, and its length in bytes."""

    pieces: tuple[bytes, ...]
    length: int


class RecentSpans:
    """
    The spans and bodies of the last responses to any query: users of one dashboard ask for the same steps within a short time.

    They take up to four times the memory of the pages, and are soon useless, because each new step changes the pages. So they
    have a bound of their own: otherwise the cache would have room for fewer queries.

    :param most_bytes: the most bytes of memory.
    :ivar size: bytes of memory of all spans and bodies, without the series.
    """

    __slots__ = ("_found", "_most", "size")

    def __init__(self, most_bytes: int) -> None:
        self._found: OrderedDict[SpanKey | BodyKey, tuple[Mapping[Series, Row] | AssembledBody, int]] = OrderedDict()
        self._most = most_bytes
        self.size = 0

    def get(self, key: SpanKey) -> Mapping[Series, Row] | None:
        """Return the rows of a span by series, or None if the span is not cached."""
        found = self._used(key)
        return None if isinstance(found, AssembledBody) else found

    def body(self, key: BodyKey) -> AssembledBody | None:
        """Return the body of a response, or None if it is not cached."""
        found = self._used(key)
        return found if isinstance(found, AssembledBody) else None

    def put(self, key: SpanKey, rows: Mapping[Series, Row], size: int) -> None:
        """
        Cache the rows of a span; drop the least recently used spans and bodies for which there is no room.

        :param size: the sum of `row_size` of the rows; the caller adds it up, because that takes long for many rows.
        """
        self._put(key, rows, getsizeof(rows) + size)

    def put_body(self, key: BodyKey, body: AssembledBody) -> None:
        """Cache a body; drop the least recently used spans and bodies for which there is no room."""
        self._put(key, body, body.length)

    def _used(self, key: SpanKey | BodyKey) -> Mapping[Series, Row] | AssembledBody | None:
        found = self._found.get(key)
        if found is None:
            return None
        self._found.move_to_end(key)
        return found[0]

    def _put(self, key: SpanKey | BodyKey, found: Mapping[Series, Row] | AssembledBody, size: int) -> None:
        self._drop(key)
        size += _OVERHEAD
        self._found[key] = found, size
        self.size += size
        self._trim()

    def limit(self, most_bytes: int) -> None:
        """Set another limit, and drop the least recently used spans and bodies that exceed it."""
        self._most = most_bytes
        self._trim()

    def clear(self) -> None:
        """Drop all spans and bodies."""
        self._found.clear()
        self.size = 0

    def _trim(self) -> None:
        while self.size > self._most:
            self._drop(next(iter(self._found)))

    def _drop(self, key: SpanKey | BodyKey) -> None:
        found = self._found.pop(key, None)
        if found is not None:
            self.size -= found[1]


def row_size(row: Row) -> int:
    """Return the bytes of memory of a row."""
    found = getsizeof(row) + sum(map(getsizeof, row))
    for pieces in row:
        for piece in pieces:
            found += getsizeof(piece) + (sum(map(getsizeof, piece)) if isinstance(piece, Run) else 0)
    return found
