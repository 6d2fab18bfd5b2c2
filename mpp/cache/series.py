"""The series of a query: each is one object, however many pages have it and however servers spell its labels. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from sys import getsizeof

from attrs import Factory, field, frozen

from mpp.promql.matrix import sort_key


@frozen(eq=False)
class Series:
    """
    One series of a query. No table has two with the same labels.

    :ivar metric: the labels as the first server wrote them, a JSON object.
    :ivar key: the text by which series are sorted, see `mpp.promql.matrix.sort_key`.
    """

    metric: bytes
    key: bytes

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return getsizeof(self) + getsizeof(self.metric) + getsizeof(self.key)


by_key = attrgetter("key")


@frozen(eq=False)
class SeriesTable:
    """
    All series of a query.

    :ivar by_metric: by each spelling that was seen.
    :ivar ordered: as Prometheus sorts them.
    :ivar size: bytes of memory.
    """

    by_metric: Mapping[bytes, Series] = Factory(dict)
    ordered: tuple[Series, ...] = ()
    size: int = field(init=False)

    def including(self, metrics: Iterable[bytes]) -> SeriesTable:
        """
        Return the table with these series, too; itself if it has all of them.

        :raise NotJoinable: a metric is no JSON object of labels.
        """
        new = [metric for metric in metrics if metric not in self.by_metric]
        if not new:
            return self
        by_metric, known = dict(self.by_metric), {each.key: each for each in self.ordered}
        for metric in new:
            key = sort_key(metric)
            by_metric[metric] = known.setdefault(key, Series(metric, key))
        return SeriesTable(by_metric, tuple(sorted(known.values(), key=by_key)))

    def only(self, series: set[Series]) -> SeriesTable:
        """Return the table without all other series; itself if it has no others."""
        if len(series) == len(self.ordered):
            return self
        by_metric = {metric: each for metric, each in self.by_metric.items() if each in series}
        return SeriesTable(by_metric, tuple(each for each in self.ordered if each in series))

    @size.default
    def _size(self) -> int:
        spellings = sum(getsizeof(metric) for metric, each in self.by_metric.items() if metric is not each.metric)
        own = getsizeof(self) + getsizeof(self.by_metric) + getsizeof(self.ordered)
        return own + spellings + sum(each.size for each in self.ordered)
