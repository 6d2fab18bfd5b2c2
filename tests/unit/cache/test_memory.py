"""The memory that the pages of a query are said to take."""

from __future__ import annotations

import gc
import random
import tracemalloc
from itertools import pairwise, product

from twisted.trial.unittest import SynchronousTestCase

from mpp.cache.grid import Grid
from mpp.cache.preparation import prepare
from mpp.cache.query_pages import QueryPages
from mpp.cache.recent import RecentSpans
from mpp.promql.matrix import Matrix
from tests.unit.cache.answers import Answers, Line, assembled

GRID = Grid.through(1_764_400_000_000, 15_000)


def server(series: int, first: int, last: int) -> Answers:
    """Return random values of some series, of which each tenth has vanished by the middle."""
    numbers = random.Random(1)
    lines = []
    for number in range(series):
        end = (first + last) // 2 if number % 10 == 9 else last
        values = {step: b'"%.12f"' % numbers.random() for step in range(first, end + 1)}
        lines.append(Line({"__name__": "up", "instance": f"10.0.0.{number}:9090"}, values))
    return Answers(GRID, tuple(lines), ("PromQL info: metric might not be a counter",))


class MemoryTests(SynchronousTestCase):
    """Bytes that are allocated, compared with the size of the pages."""

    def check(self, series: int, steps: int, queries: int = 1) -> None:
        """Compare after the pages of queries were filled, and after responses were assembled."""
        first = GRID.last_until(1_764_400_000_000)
        last = first + steps - 1
        answers = server(series, first, last)
        edges = [*range(first, last, 250), last - 9, last + 1]
        parts = [(start, end - 1, Matrix(answers.body(start, end - 1))) for start, end in pairwise(edges)]
        gc.collect()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before = tracemalloc.get_traced_memory()[0]
        recent = RecentSpans(4 * 1024 * 1024)
        cached = [QueryPages(GRID, recent) for _ in range(queries)]
        for pages, (start, end, matrix) in product(cached, parts):
            self.assertTrue(pages.add(prepare(pages.view(start, end), matrix, source="a", expires_at=1.0 + start)))
        for look in (0, 1, 2):
            gc.collect()
            allocated = tracemalloc.get_traced_memory()[0] - before
            size = sum(pages.size for pages in cached) + recent.size
            self.assertLess(abs(size - allocated), allocated / 10, f"{size} after {look} responses, not {allocated}")
            for pages in cached:
                assembled(pages.view(first + 5, last), gzip=bool(look))
        tracemalloc.stop()

    def test_few_series(self) -> None:
        """Those of a usual panel, over six hours."""
        self.check(3, 1440)

    def test_one_series(self) -> None:
        """Single ones with few steps, where the objects take more than the texts."""
        self.check(1, 60, queries=50)

    def test_many_series(self) -> None:
        """A large panel, whose texts are not joined."""
        self.check(100, 700)
