"""Responses of a Prometheus server to range queries, written from the samples of a few series."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import pairwise

from attrs import frozen
from hypothesis import strategies as st

from mpp.cache.assembly import Assembly, ParsedSteps
from mpp.cache.grid import PAGE_STEPS, Grid
from mpp.cache.preparation import prepare
from mpp.cache.query_pages import QueryPages
from mpp.cache.recent import RecentSpans
from mpp.cache.view import View
from mpp.promql.matrix import Matrix


@frozen
class Line:
    """
    One series.

    :ivar labels: its labels.
    :ivar samples: a value or a histogram by step, as JSON.
    """

    labels: Mapping[str, str]
    samples: Mapping[int, bytes]


@frozen
class Answers:
    """
    What a server has.

    :ivar grid: the times of the steps.
    :ivar lines: the series, in any order.
    :ivar infos: the infos of each answer.
    :ivar escapes: whether the server writes ``<``, ``>`` and ``&`` in labels as versions until 2.46 do.
    """

    grid: Grid
    lines: tuple[Line, ...]
    infos: tuple[str, ...] = ()
    escapes: bool = False

    def body(self, first: int, last: int) -> bytes:
        """Return the response for some steps, byte for byte as Prometheus writes it."""
        steps = range(first, last + 1)
        found = (self._line(line, steps) for line in sorted(self.lines, key=lambda line: pairs(line.labels)))
        end = b',"infos":' + written(self.infos) if self.infos else b""
        return b'{"status":"success","data":{"resultType":"matrix","result":[%b]}%b}' % (b",".join(filter(None, found)), end)

    def _line(self, line: Line, steps: Iterable[int]) -> bytes:
        there = [(self.grid.time(step), line.samples[step]) for step in steps if step in line.samples]
        found = b""
        for name, mark in ((b"values", b'"'), (b"histograms", b"{")):
            points = [b"[%b,%b]" % (seconds(time), sample) for time, sample in there if sample.startswith(mark)]
            if points:
                found += b',"%b":[%b]' % (name, b",".join(points))
        metric = written(dict(sorted(line.labels.items(), key=lambda pair: pair[0].encode())))
        if self.escapes:
            metric = metric.replace(b"<", rb"\u003c").replace(b">", rb"\u003e").replace(b"&", rb"\u0026")
        return b'{"metric":%b%b}' % (metric, found) if found else b""

    def matrix(self, first: int, last: int) -> Matrix:
        """Return the response for some steps, parsed."""
        return Matrix(self.body(first, last))

    def parsed(self, first: int, last: int) -> ParsedSteps:
        """Return the steps of a response, as an assembly takes them."""
        return ParsedSteps(first, last, self.matrix(first, last))

    def fill(self, pages: QueryPages, first: int, last: int, *, source: str = "a", expires_at: float = 60.0) -> bool:
        """Add some steps to the pages of a query; return whether they were added."""
        return pages.add(prepare(pages.view(first, last), self.matrix(first, last), source=source, expires_at=expires_at))


def pages_of(grid: Grid) -> QueryPages:
    """Return the empty pages of a query, with enough memory for recent spans."""
    return QueryPages(grid, RecentSpans(4 * 1024 * 1024))


def pairs(labels: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return labels as Prometheus compares them."""
    return sorted((name.encode(), value.encode()) for name, value in labels.items())


def seconds(time: int) -> bytes:
    """Return a time in milliseconds as Prometheus writes it."""
    whole, part = divmod(abs(time), 1000)
    return b"%b%d%b" % (b"-" if time < 0 else b"", whole, b".%03d" % part if part else b"")


def written(value: object) -> bytes:
    """Return a value as JSON, without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def assembled(view: View, *new: ParsedSteps, gzip: bool = False) -> bytes:
    """Return the body of a response."""
    assembly = Assembly(view, new, gzip=gzip)
    while not assembly.work():
        pass
    pieces = list(assembly.pieces())
    assert sum(map(len, pieces)) == assembly.length
    return b"".join(pieces)


_HISTOGRAM = b'{"count":"%d","sum":"1.5","buckets":[[0,"0.25","0.5","1"],[3,"-1","1","%d"]]}'
"""The buckets look like values: ``[0,"``."""


LAST = 3 * PAGE_STEPS
"""The random samples are at steps from ``-LAST`` to ``LAST``."""

_labels = st.dictionaries(
    st.sampled_from(["__name__", "Zone", "a", "le", "é"]),
    st.sampled_from(["", "up", 'q"],["', "<b>&", "ü\u2028", "9", "10"]),
    max_size=3,
)
_samples = st.one_of(st.sampled_from([b'"0"', b'"NaN"', b'"-0.30000000000000004"']), st.just(_HISTOGRAM % (7, 8)))


@st.composite
def _lines(draw: st.DrawFn) -> Line:
    """Return a series with periods in which it is a value, a histogram, not there, or changing at each step."""
    edges = sorted({-LAST, *draw(st.lists(st.integers(-LAST, LAST), max_size=6)), LAST + 1})
    samples: dict[int, bytes] = {}
    for start, end in pairwise(edges):
        cycle = draw(st.lists(st.one_of(st.none(), _samples), min_size=1, max_size=3))
        for step in range(start, end):
            sample = cycle[step % len(cycle)]
            if sample is not None:
                samples[step] = sample
    return Line(draw(_labels), samples)


grids = st.builds(Grid.through, st.integers(-100_000, 100_000), st.sampled_from([1, 7, 999, 1000, 1500, 15_000, 3_600_000]))
answers = st.builds(
    Answers,
    grids,
    st.lists(_lines(), max_size=5, unique_by=lambda line: tuple(pairs(line.labels))).map(tuple),
    st.sampled_from([(), ("PromQL info: a", "PromQL info: b")]),
)
"""Answers with times before and after 1970, whole and broken seconds, and series of all kinds."""
