"""
Makes the pages that an answer adds to a cached query. Pure, and slow: it cuts and compresses, so for more than a few KiB it runs
in a thread.

The query may get other pages meanwhile. So a `PreparedPages` names the pages that it was made of, and
`mpp.cache.query_pages.QueryPages.add` rejects it if these have been replaced by then.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TypeAlias

from attrs import evolve, frozen

from mpp.cache.extents import Extent, replaced
from mpp.cache.grid import Grid, page_numbers, steps_of
from mpp.cache.member_texts import CompressedTexts, MemberTexts, PlainTexts
from mpp.cache.page import CachedPage
from mpp.cache.series import Series, SeriesTable, by_key
from mpp.cache.texts.cutting import EARLIEST_MS, LATEST_MS, MEMBERS, cut, offset
from mpp.cache.view import View
from mpp.promql.matrix import Matrix

TextsBySeries: TypeAlias = dict[Series, bytes]
Orders: TypeAlias = dict[tuple[Series, ...], tuple[Series, ...]]

_LONG = 16 * 1024
"""Bytes of a series whose cutting takes longer than it takes to offer the lock, which may be 50 µs."""
_MANY = 1000
"""Series of an answer that is so large that a thread prepares its pages."""


@frozen(eq=False)
class PreparedPages:
    """
    The pages that an answer adds to a cached query.

    :ivar pages: pairs of a page that is replaced (None if there is none) and its new page.
    :ivar table: all series of the query.
    :ivar replaces: the table that ``table`` replaces; the same object if that had all series already.
    """

    pages: tuple[tuple[CachedPage | None, CachedPage], ...]
    table: SeriesTable
    replaces: SeriesTable


def prepare(view: View, matrix: Matrix, *, source: Hashable, expires_at: float) -> PreparedPages:
    """
    Return the pages that an answer adds to a cached query. The answer replaces steps that are cached already.

    Takes about 15 ms for each MiB of the answer, most of it while other threads can run.

    :param view: the pages at the steps that are to be cached; the answer has at least these steps.
    :param source: the server that answered, see `mpp.cache.extents.Extent`.
    :param expires_at: the time until which the steps may be used, in seconds of the monotonic clock. Where they follow steps of
        the same source in the same page, they expire with these, because a page is dropped as a whole.
    :raise NotJoinable: labels or times are not written as Prometheus writes them.
    """
    table = view.table.including(matrix.metrics(), _release_lock if len(matrix.series) >= _MANY else None)
    answer = Extent(view.first, view.last, source, expires_at, _annotations(matrix.warnings), _annotations(matrix.infos))
    new = _by_page(view, matrix, table)
    before = {page.number: page for page in view.pages}
    orders = {table.ordered: table.ordered}
    made: list[tuple[CachedPage | None, CachedPage]] = []
    for number in page_numbers(view.first, view.last):
        old = before.get(number)
        extent = _expiring(answer.within(*steps_of(number)), old)
        texts = [_joined(old, member, extent, view.grid, new[number][member]) for member in range(len(MEMBERS))]
        made.append((old, _page(number, replaced(old.extents if old else (), extent), texts, orders)))
    return PreparedPages(tuple(made), table, view.table)


def _expiring(extent: Extent, old: CachedPage | None) -> Extent:
    """Return an extent with the expiry of the one before it in the same page, if both have the same source."""
    extents = () if old is None else old.extents
    before = [each.expires_at for each in extents if each.last < extent.first and each.source == extent.source]
    return evolve(extent, expires_at=before[-1]) if before else extent


def _annotations(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the texts of warnings or of infos in an order of ours, for Prometheus writes them in random order."""
    return tuple(sorted(set(texts)))


def _by_page(view: View, matrix: Matrix, table: SeriesTable) -> Mapping[int, tuple[TextsBySeries, TextsBySeries]]:
    """Return the texts of an answer by page and member."""
    found: dict[int, tuple[TextsBySeries, TextsBySeries]] = {number: ({}, {}) for number in page_numbers(view.first, view.last)}
    for metric, *texts in matrix.rows():
        if sum(map(len, texts)) >= _LONG:
            _release_lock()
        series = table.by_metric[metric]
        for member, text in enumerate(texts):
            for number, points in _divided(text, member, view):
                found[number][member][series] = points
    return found


def _release_lock() -> None:
    """Release Python's global interpreter lock, for which the reactor would otherwise wait for 5 ms in each of its turns."""
    time.sleep(0)


def _divided(text: bytes, member: int, view: View) -> Iterator[tuple[int, bytes]]:
    """Yield the points of a text page by page, each time with the number of the page."""
    start = offset(text, member, view.grid.time(view.first))
    for number in page_numbers(view.first, view.last):
        last = min(view.last, steps_of(number)[1])
        end = offset(text, member, view.grid.time(last) + 1, start)
        if start < end:
            yield number, text[start : end - 1] if end < len(text) else text[start:]
        start = end


def _joined(old: CachedPage | None, member: int, extent: Extent, grid: Grid, new: TextsBySeries) -> TextsBySeries:
    """Return the texts of a page, in which new texts replace the old ones of their steps."""
    if old is None:
        return new
    is_behind = old.extents[-1].last < extent.first
    first, last = grid.time(extent.first), grid.time(extent.last)
    found = dict(new)
    for series, text in old.members[member].texts():
        before = text if is_behind else cut(text, member, EARLIEST_MS, first - 1)
        after = b"" if is_behind else cut(text, member, last + 1, LATEST_MS)
        joined = b",".join(filter(None, (before, new.get(series), after)))
        if joined:
            found[series] = joined
    return found


def _page(number: int, extents: tuple[Extent, ...], texts: Sequence[TextsBySeries], orders: Orders) -> CachedPage:
    """
    Return a page; compressed if it has its last step.

    :param orders: the sequences of series that there are already, by themselves. Most pages have all series, so most share one.
    """
    kind = CompressedTexts if extents[-1].last == steps_of(number)[1] else PlainTexts
    members: list[MemberTexts] = []
    for each in texts:
        series = tuple(sorted(each, key=by_key))
        members.append(kind.of(each, orders.setdefault(series, series)))
    return CachedPage(number, extents, (members[0], members[1]))
