"""
Spans of cached steps: the texts that pages have of consecutive steps. Pure, and done in slices.

Slow work is a generator, which yields the cost of each slice: an estimate in microseconds, so that no clock is needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from mpp.cache.page import CachedPage
from mpp.cache.recent import Row, row_size
from mpp.cache.series import Series
from mpp.cache.texts.cutting import MEMBERS, cut
from mpp.cache.texts.deflate import Deflated, Piece, compressed, inflated, text_length
from mpp.cache.view import View

MOST_JOINED = 512 * 1024
"""The most bytes of text of a span that is joined and cached. The texts of larger answers would take too much memory."""

SERIES_US = 3
PIECE_US = 1
CUT_US = 8
JOIN_US = 5
"""The microseconds that the work on a series, a piece of its text, a cut, and a joined series takes, measured on a slow core."""

_BYTES_INFLATED_PER_US = 100
BYTES_COMPRESSED_PER_US = 50
"""How many bytes of new text are compressed in a microsecond, on a slow core."""
# A shorter text is not compressed: that would take more time than it saves.
_LEAST_COMPRESSED = 1024


class CachedSpan:
    """
    Consecutive steps that are cached.

    :param view: the pages of the query; they have all of the steps.
    :param gzip: whether the pieces will be sent compressed.
    :ivar first: the first step.
    :ivar last: the last step (inclusive).
    :ivar warnings: the warnings of the answers that the steps are from.
    :ivar infos: the infos of these answers.
    :ivar rows: the pieces of each series; complete after `fill`.
    """

    def __init__(self, view: View, first: int, last: int, *, gzip: bool) -> None:
        extents = [each for each in view.extents if each.first <= last and each.last >= first]
        self.first = first
        self.last = last
        self.warnings = [text for each in extents for text in each.warnings]
        self.infos = [text for each in extents for text in each.infos]
        self.rows: Mapping[Series, Row] = {}
        self._pages = [page for page in view.pages if page.extents[0].first <= last and page.extents[-1].last >= first]
        self._times = view.grid.time(first), view.grid.time(last)
        self._recent = view.recent
        self._key = view.version, first, last, gzip
        self._gzip = gzip

    def fill(self) -> Iterator[int]:
        """Collect `rows` from the pages or from the recent spans; yield the cost of each slice of work in microseconds."""
        known = self._recent.get(self._key)
        if known is not None:
            self.rows = known
            return
        rows: defaultdict[Series, tuple[list[Piece], list[Piece]]] = defaultdict(lambda: ([], []))
        length = 0
        for page in self._pages:
            for member in range(len(MEMBERS)):
                for series, piece, cost in self._pieces(page, member):
                    if piece:
                        rows[series][member].append(piece)
                        length += text_length(piece)
                    yield cost
        self.rows = rows
        if length <= MOST_JOINED:
            yield from self._join()

    def _pieces(self, page: CachedPage, member: int) -> Iterator[tuple[Series, Piece, int]]:
        """Yield each series of a page, its piece within the span, which may be empty, and the cost of that."""
        if self.first <= page.extents[0].first and page.extents[-1].last <= self.last:
            for series, piece in page.members[member].pieces():
                yield series, piece, PIECE_US
            return
        for series, text in page.members[member].texts():
            yield series, cut(text, member, *self._times), CUT_US + len(text) // _BYTES_INFLATED_PER_US

    def _join(self) -> Iterator[int]:
        """Make one piece of the pieces of each text, and cache the span; yield the cost of each slice."""
        rows: dict[Series, Row] = {}
        size = 0
        for series, (values, histograms) in self.rows.items():
            rows[series] = row = _joined(values, gzip=self._gzip), _joined(histograms, gzip=self._gzip)
            size += row_size(row)
            yield JOIN_US + sum(map(_joining_us, values)) + sum(map(_joining_us, histograms))
        self.rows = rows
        self._recent.put(self._key, rows, size)


def _joined(pieces: Sequence[Piece], *, gzip: bool) -> Sequence[Piece]:
    """Return the pieces of a text as one piece; none if there is none."""
    if not pieces:
        return ()
    joined = Deflated()
    for piece in separated(pieces):
        joined.put(sent(piece) if gzip else piece)
    run = joined.run()
    return (run,) if gzip else (inflated(run.data),)


def sent(piece: Piece) -> Piece:
    """Return a piece as it is sent in a compressed body: a long text is compressed."""
    return compressed(piece) if isinstance(piece, bytes) and len(piece) >= _LEAST_COMPRESSED else piece


def _joining_us(piece: Piece) -> int:
    return PIECE_US + text_length(piece) // _BYTES_INFLATED_PER_US


def separated(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Yield the pieces of a list of points, with a comma between two of them."""
    for number, piece in enumerate(pieces):
        if number:
            yield b","
        yield piece
