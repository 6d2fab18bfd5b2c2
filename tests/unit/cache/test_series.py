"""The table of a query's series."""

from __future__ import annotations

import json
from collections.abc import Mapping
from sys import getsizeof

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.cache.series import SeriesTable, by_key
from mpp.promql.matrix import NotJoinable, sort_key

LABELS = st.dictionaries(st.sampled_from(["__name__", "a", "le"]), st.sampled_from(["", "<", "up", "x"]), max_size=2)
METRICS = st.lists(st.tuples(LABELS, st.booleans()).map(lambda each: written(*each)), max_size=6)


def written(labels: Mapping[str, str], is_escaped: bool) -> bytes:
    """Return labels as a server writes them; old versions escape some characters."""
    text = json.dumps(labels, separators=(",", ":")).encode()
    return text.replace(b"<", rb"\u003c") if is_escaped else text


class SeriesTableTests(SynchronousTestCase):
    """Tables that get more and more series."""

    @given(st.lists(METRICS, max_size=4), st.sets(st.integers(0, 9)))
    def test_is_like_all_put_together_at_once(self, lists: list[list[bytes]], left: set[int]) -> None:
        """The series are those of all spellings, in order, and stay the same objects; the size is that of what is there."""
        table = SeriesTable()
        for metrics in lists:
            before, table = table, table.including(metrics)
            self.assertEqual(table is before, all(metric in before.by_metric for metric in metrics))
            self.assertTrue(set(before.ordered) <= set(table.ordered))
        every = [metric for metrics in lists for metric in metrics]
        self.assertEqual([each.key for each in table.ordered], sorted({sort_key(metric) for metric in every}))
        self.assertEqual({metric: each.key for metric, each in table.by_metric.items()}, {m: sort_key(m) for m in every})
        self.assertTrue(all(table.ordered.count(each) == 1 for each in table.by_metric.values()))
        self._assert_size(table)
        some = {each for number, each in enumerate(table.ordered) if number in left}
        self.assertEqual(set(table.only(some).ordered), some)
        self._assert_size(table.only(some))

    def _assert_size(self, table: SeriesTable) -> None:
        self.assertEqual(list(table.ordered), sorted(table.ordered, key=by_key))
        spellings = sum(getsizeof(metric) for metric, each in table.by_metric.items() if metric is not each.metric)
        own = sum(map(getsizeof, (table, table.by_metric, table.ordered)))
        self.assertEqual(table.size, own + spellings + sum(each.size for each in table.ordered))

    def test_work_is_divided(self) -> None:
        """Many new series take many parts, and so do many known ones; the last part says that it is done."""
        metrics = [b'{"n":"%05d"}' % number for number in range(4000)]
        calls: list[None] = []
        table = SeriesTable().including(metrics, lambda: calls.append(None))
        self.assertGreater(len(calls), 200)
        calls.clear()
        self.assertIs(table.including(metrics, lambda: calls.append(None)), table)
        self.assertGreater(len(calls), 10)
        new = [b'{"n":"%05d"}' % number for number in range(4000, 0, -200)]
        self.assertEqual(len(table.including(new).ordered), 4001)

    def test_metric_that_is_no_object_of_labels(self) -> None:
        """It is an error, wherever it comes."""
        self.assertRaises(NotJoinable, SeriesTable().including, [b"{}", b'{"a":1}'])
