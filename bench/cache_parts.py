"""
What each step of a cached answer takes: preparing pages, adding them, assembling responses. No network, no server.

``python -m bench.cache_parts`` from the root of the checkout. Times are those of the thread's CPU, the least of several runs, so
other load on the machine matters less; the longest slice of the work is the most that a turn of the reactor takes.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

from bench.figures import table
from mpp.cache.assembly import Assembly, ParsedSteps
from mpp.cache.grid import Grid
from mpp.cache.preparation import prepare
from mpp.cache.query_pages import QueryPages
from mpp.cache.recent import RecentSpans
from mpp.promql.matrix import Matrix

STEP_MS = 15_000
STEPS = 1440
"""Six hours, as a dashboard shows."""
TAIL = 5
"""The newest steps, which are not cached."""
MOST_RECENT = 8 * 1024 * 1024
"""Bytes of the spans that were joined last: an eighth of a cache of 64 MiB."""


class Panel:
    """Random values of some series, as a server would write them."""

    def __init__(self, series: int) -> None:
        numbers = random.Random(1)
        self.grid = Grid.through(1_764_400_000_000, STEP_MS)
        # The range begins within a page, as most do.
        self.first = self.grid.last_until(1_764_400_000_000) // 120 * 120 + 37
        self.last = self.first + STEPS - 1
        self._values = [[f'"{numbers.random() * 100:.15g}"' for _ in range(STEPS)] for _ in range(series)]

    def body(self, first: int, last: int) -> bytes:
        """Return the response for some steps."""
        found = []
        for number, values in enumerate(self._values):
            points = ((self.grid.time(step) // 1000, values[step - self.first]) for step in range(first, last + 1))
            text = ",".join(f"[{time},{value}]" for time, value in points)
            metric = f'{{"__name__":"up","instance":"10.0.0.1:9090","job":"node","shard":"{number:06}"}}'
            found.append(f'{{"metric":{metric},"values":[{text}]}}')
        return f'{{"status":"success","data":{{"resultType":"matrix","result":[{",".join(found)}]}}}}'.encode()


class Taken:
    """The times of one operation, in milliseconds."""

    def __init__(self) -> None:
        self.least = self.longest_slice = float("inf")

    def run(self, slices: Callable[[], Iterator[object]]) -> None:
        """Run the operation once."""
        marks = [time.thread_time()]
        marks.extend(time.thread_time() for _ in slices())
        self.least = min(self.least, (marks[-1] - marks[0]) * 1000)
        self.longest_slice = min(self.longest_slice, max(after - before for before, after in pairwise(marks)) * 1000)


def response(pages: QueryPages, panel: Panel, tail: Matrix, *, gzip: bool) -> Iterator[object]:
    """Assemble the response of a panel and make its bytes; yield after each slice."""
    assembly = Assembly(pages.view(panel.first, panel.last), [ParsedSteps(panel.last - TAIL + 1, panel.last, tail)], gzip=gzip)
    while not assembly.work():
        yield
    yield
    yield from assembly.pieces()


def cached(pages: QueryPages, first: int, last: int, matrix: Matrix, add: Taken) -> Iterator[object]:
    """Prepare steps, and yield; then add them, which is measured by itself."""
    prepared = prepare(pages.view(first, last), matrix, source="server", expires_at=1.0)
    yield
    add.run(lambda: iter([pages.add(prepared)]))


def measure(series: int, rounds: int) -> list[list[str]]:
    """Return a row for each operation on a panel."""
    panel = Panel(series)
    closed = panel.last - TAIL
    whole, step = Matrix(panel.body(panel.first, closed - 1)), Matrix(panel.body(closed, closed))
    tail = Matrix(panel.body(closed + 1, panel.last))
    taken: defaultdict[str, Taken] = defaultdict(Taken)
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        recent = RecentSpans(MOST_RECENT)
        pages = QueryPages(panel.grid, recent)
        for name, first, last, matrix in (("all steps", panel.first, closed - 1, whole), ("one more step", closed, closed, step)):
            add = taken[f"add {name}"]
            slices = partial(cached, pages, first, last, matrix, add)
            taken[f"prepare {name} (in a thread)"].run(slices)
        size = pages.size
        for gzip, coding in ((False, "identity"), (True, "gzip")):
            for name in (f"first response, {coding}", f"next response, {coding}"):
                taken[name].run(partial(response, pages, panel, tail, gzip=gzip))
    title = f"{series} x {STEPS}, {len(panel.body(panel.first, panel.last)) / 1e6:.2f} MB, cached in {size / 1e6:.2f} MB"
    return [[title, name, f"{each.least:.3f}", f"{each.longest_slice:.3f}"] for name, each in taken.items()]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, action="append", help="series of a panel (default: 3, and 1000)")
    parser.add_argument("--rounds", type=int, default=0, help="runs of each operation (default: 100 for few series, 3 for many)")
    options = parser.parse_args()
    rows = []
    for series in options.series or [3, 1000]:
        rows += measure(series, options.rounds or max(3, 300 // series))
    print(table(["series x steps", "operation", "ms", "longest slice, ms"], rows))


if __name__ == "__main__":
    main()
