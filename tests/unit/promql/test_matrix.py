"""The join of the responses to parts of a range query."""

from __future__ import annotations

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mpp.promql import matrix as matrix_module
from mpp.promql.matrix import PIECE, Matrix, NotJoinable, joined, sort_key, with_warning
from mpp.promql.matrix_pieces import MOST_SERIES, parsed

Series = tuple[dict[str, str], dict[int, str], dict[int, str]]
"""Labels, values and histograms by step."""


def response(series: list[Series], steps: range, *, warnings: tuple[str, ...] = (), infos: tuple[str, ...] = ()) -> bytes:
    """Return the response of a Prometheus server for some steps."""
    result = []
    for labels, values, histograms in series:
        found: dict[str, object] = {"metric": dict(sorted(labels.items()))}
        floats = [[step * 15.5, values[step]] for step in steps if step in values]
        buckets = [[step * 15.5, {"count": histograms[step]}] for step in steps if step in histograms]
        if floats:
            found["values"] = floats
        if buckets:
            found["histograms"] = buckets
        if floats or buckets:
            result.append(found)
    whole = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    if warnings:
        whole["warnings"] = list(warnings)
    if infos:
        whole["infos"] = list(infos)
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode()


def join(*bodies: bytes, warning: str = "") -> bytes:
    """Return the joined response."""
    return b"".join(joined([Matrix(body) for body in bodies], warning))


names = st.sampled_from(["__name__", "job", "instance", "Zone", "a", "ü"])
texts = st.sampled_from(["", "up", "x,y", 'q"', "<b>", "é", "10", "9"])
values = st.dictionaries(st.integers(0, 11), st.sampled_from(["1", "NaN", "+Inf", "0.30000000000000004"]), max_size=6)
matrices = st.lists(st.tuples(st.dictionaries(names, texts, max_size=3), values, values), max_size=6)


def ordered(series: list[Series]) -> list[Series]:
    """Return series with distinct labels, as Prometheus sorts them."""
    distinct = {tuple(sorted((k.encode(), v.encode()) for k, v in each[0].items())): each for each in series}
    return [distinct[labels] for labels in sorted(distinct)]


class JoinTests(SynchronousTestCase):
    """Joined responses."""

    @given(matrices, st.lists(st.integers(0, 11), max_size=4))
    def test_any_split_of_a_response_joins_to_it(self, series: list[Series], cuts: list[int]) -> None:
        """Byte for byte, whichever series are missing in a part."""
        series = ordered(series)
        edges = [0, *sorted(cuts), 12]
        parts = [response(series, range(start, end)) for start, end in itertools.pairwise(edges)]
        self.assertEqual(join(*parts), response(series, range(12)))

    def test_labels_of_two_versions_are_the_same(self) -> None:
        """One version escapes what another one does not."""
        older = rb'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"\u003cb"},"values":[[1,"1"]]}]}}'
        newer = b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"<b"},"values":[[2,"2"]]}]}}'
        found = json.loads(join(older, newer))["data"]["result"]
        self.assertEqual(found, [{"metric": {"a": "<b"}, "values": [[1, "1"], [2, "2"]]}])

    def test_warnings_and_infos_are_sets(self) -> None:
        """Each text is there once, those of the servers before mpp's own."""
        series: list[Series] = [({"a": "b"}, {0: "1", 1: "2"}, {})]
        parts = [response(series, range(n, n + 1), warnings=("w", f"w{n}"), infos=("i",)) for n in (0, 1)]
        whole = response(series, range(2), warnings=("w", "w0", "w1", "mpp: x"), infos=("i",))
        self.assertEqual(join(*parts, warning="mpp: x"), whole)

    def test_a_large_response_comes_in_pieces(self) -> None:
        """So that joining it does not stop everything else."""
        series: list[Series] = [({"a": f"{n:05d}"}, {0: "1" * 100, 1: "2" * 100}, {}) for n in range(5000)]
        parts = [Matrix(response(series, range(n, n + 1))) for n in (0, 1)]
        pieces = list(joined(parts))
        self.assertGreater(len(pieces), 10)
        self.assertLess(max(map(len, pieces)), 2 * PIECE)
        self.assertEqual(b"".join(pieces), response(series, range(2)))

    def test_labels_are_read_piece_by_piece(self) -> None:
        """The labels of many series are compared and sorted in many steps, whether the parts have the same ones or not."""
        read: list[object] = []

        def counting(metric: Raw | bytes) -> bytes:
            read.append(metric)
            return sort_key(metric)

        self.patch(matrix_module, "sort_key", counting)
        one, other = ([({"a": f"{name}{n:05d}"}, {0: "1", 1: "2"}, {}) for n in range(4000)] for name in "xy")
        for series, most in ((one, 0), (other, 150)):
            most_read, before, empty = 0, 0, 0
            parts = [Matrix(response(one, range(1))), Matrix(response(series, range(1, 2)))]
            for piece in joined(parts):
                most_read, before, empty = max(most_read, len(read) - before), len(read), empty + (not piece)
            self.assertLessEqual(most_read, most)
            self.assertGreater(empty, 1)
        self.assertEqual(len(read), 8000)

    def test_what_is_no_matrix_is_not_joined(self) -> None:
        """An error, another type of result, a member that is not known, or no JSON at all."""
        good = response([({"a": "b"}, {0: "1"}, {})], range(1))
        for body in (
            b"",
            b"<html>",
            good[:-1],
            good.replace(b"success", b"error"),
            good.replace(b"matrix", b"vector"),
            good.replace(b'"result"', b'"stats":{},"result"'),
            good[:-1] + b',"isPartial":true}',
            b'{"status":"success","data":{"resultType":"matrix","result":[1]}}',
        ):
            self.assertRaises(NotJoinable, Matrix, body)


class WarningTests(SynchronousTestCase):
    """One more warning in a whole response."""

    def test_warning_is_added(self) -> None:
        """The rest stays as it is, be it a vector, a scalar or a matrix."""
        for data in (b'{"resultType":"scalar","result":[1,"1"]}', b'{"resultType":"vector","result":[]}'):
            body = b'{"status":"success","data":%b}' % data
            self.assertEqual(with_warning(body, "mpp: x"), body[:-1] + b',"warnings":["mpp: x"]}')
            more = body[:-1] + b',"warnings":["w"],"infos":["i"]}'
            self.assertEqual(with_warning(more, "x"), body[:-1] + b',"warnings":["w","x"],"infos":["i"]}')
        self.assertRaises(NotJoinable, with_warning, b'{"status":"error","data":{}}', "x")
        self.assertRaises(NotJoinable, with_warning, b"x", "x")


class SortKeyTests(SynchronousTestCase):
    """The keys by which series are sorted."""

    labels = st.dictionaries(st.sampled_from(["", "a", "aa", "a\0", "é", "Z"]), st.text("\0\1az", max_size=3), max_size=3)

    @given(labels, labels)
    def test_keys_sort_as_the_labels_do(self, one: dict[str, str], other: dict[str, str]) -> None:
        """Pair by pair, and fewer labels first, whatever bytes a label has."""
        pairs = [sorted((name.encode(), value.encode()) for name, value in each.items()) for each in (one, other)]
        keys = [sort_key(json.dumps(each).encode()) for each in (one, other)]
        self.assertEqual(keys[0] < keys[1], pairs[0] < pairs[1])
        self.assertEqual(keys[0] == keys[1], pairs[0] == pairs[1])


class PiecesTests(SynchronousTestCase):
    """A response that is parsed piece by piece."""

    def parsed(self, body: bytes) -> Matrix:
        """Parse a response in pieces as they come from a connection."""
        steps = parsed(body[at : at + 65536] for at in range(0, len(body), 65536))
        while True:
            try:
                next(steps)
            except StopIteration as end:
                found: Matrix = end.value
                return found

    def body(self, *series: bytes) -> bytes:
        """Return a response with series."""
        texts = b",".join(b'{"metric":{"n":"%d"},"values":[%b]}' % (number, each) for number, each in enumerate(series))
        return b'{"status":"success","data":{"resultType":"matrix","result":[%b]},"infos":["i"]}' % texts

    def test_it_is_the_same(self) -> None:
        """As when it is parsed at once, whatever the lengths of the series."""
        for count, length in ((0, 0), (1, 1), (3000, 20), (5, 20_000), (1, 100_000)):
            body = self.body(*[b",".join(b'[%d,"1"]' % (15 * step) for step in range(length))] * count)
            found, expected = self.parsed(body), Matrix(body)
            self.assertTrue(list(found.rows()) == list(expected.rows()), (count, length))
            self.assertEqual(found.infos, ["i"])

    def test_a_very_long_series(self) -> None:
        """It cannot be parsed without stopping everything else, so it is refused."""
        body = self.body(b",".join([b'[15,"1"]'] * (MOST_SERIES // 8)))
        self.assertRaises(NotJoinable, self.parsed, body)
