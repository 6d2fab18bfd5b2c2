"""
Assembles the response to a range query from cached steps and new answers, byte for byte as one server would have given it. Pure.

The work is done in slices, because a large response takes longer than a turn of the reactor may: see `mpp.cache.spans` for costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import attrgetter

from attrs import frozen

from mpp.cache.recent import Row
from mpp.cache.series import Series, SeriesTable
from mpp.cache.spans import BYTES_COMPRESSED_PER_US, CUT_US, PIECE_US, SERIES_US, CachedSpan, sent, separated
from mpp.cache.texts.body import Body, GzipBody, PlainBody
from mpp.cache.texts.cutting import MEMBERS, cut
from mpp.cache.texts.deflate import Bytes
from mpp.cache.view import Range, View, subtracted
from mpp.promql.matrix import HEAD, Matrix, tail

OWN_WARNING = "mpp: "
"""The beginning of the warnings that mpp itself adds."""

SLICE_US = 1000
"""The time in microseconds, by estimates and not by a clock, after which a slice of the work ends."""


@frozen(eq=False)
class ParsedSteps:
    """
    Consecutive steps of a parsed response: a new answer of a server, or the newest steps of a cached query.

    :ivar first: the first of these steps.
    :ivar last: the last of these steps (inclusive).
    :ivar matrix: the answer to exactly these steps.
    """

    first: int
    last: int
    matrix: Matrix


class Assembly:
    """
    The response for the steps of a view.

    :param view: the steps, and the pages that had some of them before the servers were asked for the others.
    :param new: answers that have all steps that are not cached, in any order. Where a page has the same step, the answer is used.
        Answers may have steps outside of the view, which are left out.
    :param warning: mpp's own warning for the client, in place of the warnings in the answers that begin with `OWN_WARNING`; if it
        is empty, they stay.
    :param gzip: whether the response gets the content coding gzip.
    :ivar length: the length of the body in bytes; known when the work is finished.
    :raise ValueError: a step is neither cached nor new, or two answers have the same step.
    """

    def __init__(self, view: View, new: Sequence[ParsedSteps], warning: str = "", *, gzip: bool) -> None:
        new = [each for each in new if each.first <= view.last and each.last >= view.first]
        self.length = 0
        self._body: Body = GzipBody() if gzip else PlainBody()
        # A function without self, so that an assembly which is never finished is no cycle of references.
        self._slices = _assembled(view, _cached_ranges(view, new), new, self._body, warning, gzip=gzip)

    def work(self) -> bool:
        """
        Do about a millisecond of the work; return whether it is finished.

        :raise NotJoinable: labels or times of an answer are not written as Prometheus writes them.
        """
        cost = 0
        for slice_us in self._slices:
            cost += slice_us
            if cost >= SLICE_US:
                return False
        self.length = self._body.finish()
        return True

    def pieces(self) -> Iterator[Bytes]:
        """Yield the bytes of the body, at most `mpp.cache.texts.body.PIECE` at once; called when the work is finished."""
        return self._body.pieces()


def _cached_ranges(view: View, new: Sequence[ParsedSteps]) -> Sequence[Range]:
    """
    Return the steps that are taken from pages: all that are not new.

    :raise ValueError: a step is neither cached nor new, or two answers have the same step.
    """
    ranges = sorted((max(each.first, view.first), min(each.last, view.last)) for each in new)
    if any(before[1] >= after[0] for before, after in pairwise(ranges)):
        raise ValueError(f"answers have the same steps: {ranges}")
    found = subtracted((view.first, view.last), ranges)
    cached = view.cached
    for first, last in found:
        if not any(each[0] <= first and last <= each[1] for each in cached):
            raise ValueError(f"some of the steps {first} to {last} are neither cached nor new")
    return found


class _NewSpan:
    """The steps of a new answer that lie within a view."""

    def __init__(self, new: ParsedSteps, view: View, table: SeriesTable, *, gzip: bool) -> None:
        self.first = max(new.first, view.first)
        self.rows: dict[Series, Row] = {}
        self.warnings = new.matrix.warnings
        self.infos = new.matrix.infos
        self._matrix = new.matrix
        self._gzip = gzip
        self._table = table
        self._times = view.grid.time(self.first), view.grid.time(min(new.last, view.last))
        self._is_whole = view.first <= new.first and new.last <= view.last

    def fill(self) -> Iterator[int]:
        """Collect the rows; yield the cost of each slice in microseconds."""
        for metric, *texts in self._matrix.rows():
            if not self._is_whole:
                texts = [cut(text, member, *self._times) for member, text in enumerate(texts)]
            if any(texts):
                values, histograms = ([sent(text) if self._gzip else text] if text else [] for text in texts)
                self.rows[self._table.by_metric[metric]] = values, histograms
            cost = SERIES_US if self._is_whole else SERIES_US + CUT_US
            yield cost + sum(map(len, texts)) // BYTES_COMPRESSED_PER_US if self._gzip else cost


def _assembled(
    view: View, cached: Sequence[Range], new: Sequence[ParsedSteps], body: Body, warning: str, *, gzip: bool
) -> Iterator[int]:
    """Write the body; yield the cost of each slice in microseconds."""
    table = yield from view.table.adding(metric for each in new for metric in each.matrix.metrics())
    spans: list[CachedSpan | _NewSpan] = [CachedSpan(view, first, last, gzip=gzip) for first, last in cached]
    spans += [_NewSpan(each, view, table, gzip=gzip) for each in new]
    spans.sort(key=attrgetter("first"))
    for span in spans:
        yield from span.fill()
    body.put(HEAD)
    separator = b""
    for series in table.ordered:
        rows = [row for span in spans if (row := span.rows.get(series))]
        if rows:
            body.put(b'%b{"metric":%b' % (separator, series.metric))
            separator = b","
            yield SERIES_US + PIECE_US * _put_members(rows, body)
    warnings = [text for span in spans for text in span.warnings if not (warning and text.startswith(OWN_WARNING))]
    body.put(tail([*warnings, warning] if warning else warnings, [text for span in spans for text in span.infos]))


def _put_members(rows: Sequence[Row], body: Body) -> int:
    """Write the values, the histograms and the end of a series; return the number of pieces."""
    count = 0
    for name, lists in zip(MEMBERS, zip(*rows, strict=True), strict=True):
        pieces = [piece for each in lists for piece in each]
        if pieces:
            body.put(b',"%b":[' % name)
            for piece in separated(pieces):
                body.put(piece)
            body.put(b"]")
            count += len(pieces)
    body.put(b"}")
    return count
