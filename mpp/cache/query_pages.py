"""
The cached answer to one range query, in pages. Only the reactor's thread changes it, without a wait within a change; the objects
that other threads and later turns of the reactor work with (views and prepared pages) are frozen.

Knows neither the query nor the time, nor how much memory all queries may take.

# Note [What a query loses]

When there is no room for all pages of a query, it loses first the pages that no later request has used, in the order in which
they were changed. The used pages have four fifths of the room, in the order of their last use. So a client that asks for very
many different ranges of the query of a panel takes nothing away from the panel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from sys import getsizeof

from mpp.cache.extents import Extent
from mpp.cache.grid import Grid, page_numbers
from mpp.cache.page import CachedPage
from mpp.cache.preparation import PreparedPages
from mpp.cache.recent import RecentSpans
from mpp.cache.series import Series, SeriesTable
from mpp.cache.view import View

MOST_PAGES = 400
"""
The most pages of a query: they have four times the steps of the longest range that Prometheus answers (11,000). Without a limit,
the memory would have room for very many pages without series, and each change visits all pages.
"""
USED_SHARE = 0.8
"""The share of the room of a query that is for the pages which a later request has used."""


class QueryPages:
    """
    The cached answer to one range query.

    :param recent: keeps the spans that are joined for responses.
    :ivar grid: the times of the query's steps.
    :ivar size: bytes of memory, without the recent spans; it changes when pages are added or dropped.
    :ivar unused_size: the bytes of the pages that no later request has used; it changes also when a page is used.
    """

    __slots__ = (
        "_expires_at",
        "_last_use",
        "_last_view",
        "_pages",
        "_recent",
        "_table",
        "_used",
        "_version",
        "grid",
        "size",
        "unused_size",
    )

    def __init__(self, grid: Grid, recent: RecentSpans) -> None:
        self.grid = grid
        self._pages: dict[int, CachedPage] = {}
        self._used: dict[int, None] = {}
        self._last_use: tuple[object, int, int] | None = None
        self._last_view: View | None = None
        self._table = SeriesTable()
        self._recent = recent
        self._expires_at = math.inf
        self._version = object()
        self.size = self._measured()
        self.unused_size = 0

    @property
    def version(self) -> object:
        """Another object after each change of the pages."""
        return self._version

    def view(self, first: int, last: int) -> View:
        """Return a view of the steps from the first to the last one, with the pages that have some of them now."""
        view = self._last_view
        if view is not None and view.first == first and view.last == last:
            return view
        pages = tuple(page for number in page_numbers(first, last) if (page := self._pages.get(number)) is not None)
        self._last_view = view = View(self.grid, first, last, pages, self._table, self._recent, self._version)
        return view

    def use(self, view: View) -> bool:
        """Record that a request uses the cached steps of a view; return whether `unused_size` may have changed."""
        key = view.version, view.first, view.last
        if key == self._last_use:
            # Many look at a dashboard at the same time.
            return False
        self._last_use = key
        first, last = view.first, view.last
        for page in view.pages:
            number, extents = page.number, page.extents
            has_some = extents[0].first <= last and extents[-1].last >= first
            if has_some and len(extents) > 1:
                has_some = any(each.first <= last and each.last >= first for each in extents)
            if has_some and number in self._pages:
                if number in self._used:
                    del self._used[number]
                else:
                    self.unused_size -= self._pages[number].size
                self._used[number] = None
        return True

    def extents(self) -> Iterator[Extent]:
        """Yield the extents of all pages; the pages are in no particular order."""
        for page in self._pages.values():
            yield from page.extents

    def add(self, prepared: PreparedPages) -> bool:
        """
        Add prepared pages; return whether they were added.

        They are not added if the pages or the series that they replace have changed since the view was made, because another
        answer was added or pages were dropped.
        """
        if prepared.replaces is not self._table:
            return False
        if any(self._pages.get(new.number) is not old for old, new in prepared.pages):
            return False
        self._table = prepared.table
        for _, new in prepared.pages:
            # The pages that were changed last are the last ones of the table.
            self._pages.pop(new.number, None)
            self._pages[new.number] = new
        if len(self._pages) > MOST_PAGES:
            self._limit_used(MOST_PAGES, lambda page: 1)
            self._remove(self._dispensable()[: len(self._pages) - MOST_PAGES])
        self._changed()
        return True

    def shrink(self, most_bytes: int) -> None:
        """Drop pages until the query takes at most ``most_bytes`` of memory, see Note [What a query loses]."""
        self._limit_used(most_bytes, lambda page: page.size)
        found, size = [], self.size
        for number in self._dispensable():
            if size <= most_bytes:
                break
            size -= self._pages[number].size
            found.append(number)
        self._remove(found)
        self._changed()

    def drop_unused(self) -> None:
        """Drop the pages that no later request has used."""
        self._remove(self._dispensable())
        self._changed()

    def _limit_used(self, room: int, cost: Callable[[CachedPage], int]) -> None:
        """Count only the pages as used that were used last and have their share of the room."""
        left = room * USED_SHARE
        for number in reversed(list(self._used)):
            left -= cost(self._pages[number])
            if left < 0:
                del self._used[number]

    def _dispensable(self) -> list[int]:
        """Return the numbers of the pages that do not count as used, the one first that was changed the longest time ago."""
        return [number for number in self._pages if number not in self._used]

    def drop(self, bad: Callable[[Extent], bool]) -> int:
        """Drop the pages that have an extent for which ``bad`` returns true; return the number of dropped pages."""
        found = [page.number for page in self._pages.values() if any(map(bad, page.extents))]
        if found:
            self._remove(found)
            self._changed()
        return len(found)

    def expire(self, now: float) -> int:
        """Drop the pages with an extent that has expired at a time of the monotonic clock; return the number of dropped pages."""
        return self.drop(lambda extent: extent.expires_at <= now) if self._expires_at <= now else 0

    def _remove(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            del self._pages[number]
            self._used.pop(number, None)
        self._table = self._table.only({series for order in self._orders() for series in order})

    def _orders(self) -> list[tuple[Series, ...]]:
        """Return the sequences of series of all pages; most pages share one."""
        found = {id(texts.series): texts.series for page in self._pages.values() for texts in page.members}
        return list(found.values())

    def _changed(self) -> None:
        self._version = object()
        self._last_view = None
        self.size = self._measured()
        self.unused_size = sum(page.size for number, page in self._pages.items() if number not in self._used)
        self._expires_at = min((extent.expires_at for extent in self.extents()), default=math.inf)

    def _measured(self) -> int:
        """Return the bytes of memory."""
        orders = sum(getsizeof(order) for order in self._orders() if order is not self._table.ordered)
        pages = sum(page.size for page in self._pages.values())
        return getsizeof(self) + getsizeof(self._pages) + getsizeof(self._used) + orders + pages + self._table.size
