"""The pages of a query at some steps. Pure; frozen, so that pages which the query drops later are still there."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeAlias

from attrs import field, frozen

from mpp.cache.extents import Extent
from mpp.cache.grid import Grid
from mpp.cache.page import CachedPage
from mpp.cache.recent import RecentSpans
from mpp.cache.series import SeriesTable

Range: TypeAlias = tuple[int, int]
"""The first and the last of consecutive steps, both included."""


@frozen(eq=False)
class View:
    """
    The pages of a query at some steps.

    :ivar grid: the times of the steps.
    :ivar first: the first step.
    :ivar last: the last step (inclusive).
    :ivar pages: the pages that have some of the steps, in order.
    :ivar table: all series of the query.
    :ivar recent: the spans and bodies of the last responses.
    :ivar version: another object after each change of the query's pages.
    :ivar extents: the extents of the pages, cut to the steps, in order.
    :ivar cached: the steps that are cached, in order, in as few ranges as possible.
    :ivar missing: the steps that are not cached, in order, in as few ranges as possible.
    :ivar sources: the different values of ``source`` of the extents, see `mpp.cache.extents.Extent`, the newest one first.
    """

    grid: Grid
    first: int
    last: int = field()
    pages: tuple[CachedPage, ...]
    table: SeriesTable
    recent: RecentSpans
    version: object
    extents: tuple[Extent, ...] = field(init=False)
    cached: tuple[Range, ...] = field(init=False)
    missing: tuple[Range, ...] = field(init=False)
    sources: tuple[Hashable, ...] = field(init=False)

    @last.validator
    def _has_steps(self, _: object, last: int) -> None:
        if last < self.first:
            raise ValueError(f"the last step ({last}) is before the first one ({self.first})")

    @extents.default
    def _extents(self) -> tuple[Extent, ...]:
        first, last = self.first, self.last
        every = [extent for page in self.pages for extent in page.extents if extent.first <= last and extent.last >= first]
        return tuple([extent.within(first, last) for extent in every])

    @cached.default
    def _cached(self) -> tuple[Range, ...]:
        return merged([(extent.first, extent.last) for extent in self.extents])

    @missing.default
    def _missing(self) -> tuple[Range, ...]:
        return subtracted((self.first, self.last), self.cached)

    @sources.default
    def _sources(self) -> tuple[Hashable, ...]:
        return tuple(dict.fromkeys(extent.source for extent in reversed(self.extents)))


def merged(ranges: Sequence[Range]) -> tuple[Range, ...]:
    """Return ranges, which are in order, with adjacent ones joined to one."""
    found: list[Range] = []
    for first, last in ranges:
        if found and found[-1][1] + 1 == first:
            found[-1] = found[-1][0], last
        else:
            found.append((first, last))
    return tuple(found)


def subtracted(whole: Range, ranges: Sequence[Range]) -> tuple[Range, ...]:
    """Return the parts of a range that are in none of some others, which are in order."""
    edges = [whole[0] - 1, *(edge for each in ranges for edge in each), whole[1] + 1]
    gaps = zip(edges[::2], edges[1::2], strict=True)
    return tuple((before + 1, after - 1) for before, after in gaps if before + 1 <= after - 1)
