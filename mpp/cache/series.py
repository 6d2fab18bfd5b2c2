"""The series of a query: each is one object, however many pages have it and however servers spell its labels. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Mapping
from operator import attrgetter
from sys import getsizeof

from attrs import Factory, field, frozen

from mpp.core.generators import result_of
from mpp.promql.matrix import sort_key


@frozen(eq=False)
class Series:
    """
    One series of a query. A table has one object for all spellings of the same labels.

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


_KEY_US = 10
_KNOWN_US = 1
_MERGE_US = 3
_PART_US = 200


@frozen(eq=False)
class SeriesTable:
    """
    All series of a query.

    :ivar by_metric: the series by each spelling of their labels that a server has sent.
    :ivar ordered: the series in the order in which Prometheus sorts them.
    :ivar content: bytes of memory of the series and of their other spellings.
    :ivar size: bytes of memory in all.
    """

    by_metric: Mapping[bytes, Series] = Factory(dict)
    ordered: tuple[Series, ...] = ()
    content: int = 0
    size: int = field(init=False)

    def including(self, metrics: Iterable[bytes], between: Callable[[], object] | None = None) -> SeriesTable:
        """
        Return a table that has these series, too; this table if it has all of them.

        :param metrics: the labels of each series, as JSON objects.
        :param between: called after each part of the work.
        :raise NotJoinable: a metric is no JSON object of labels.
        """
        return result_of(self.adding(metrics), between)

    def adding(self, metrics: Iterable[bytes]) -> Generator[int, None, SeriesTable]:
        """
        Make a table that has these series, too, as `including` does, and return it.

        Yields the cost of each part of the work in microseconds: thousands of series take longer than a turn of the reactor may.

        :raise NotJoinable: a metric is no JSON object of labels.
        """
        by_metric: dict[bytes, Series] | None = None
        new: dict[bytes, Series] = {}
        content, cost = self.content, 0
        for metric in metrics:
            cost += _KNOWN_US
            if metric not in (self.by_metric if by_metric is None else by_metric):
                if by_metric is None:
                    by_metric = dict(self.by_metric)
                cost += _KEY_US
                key = sort_key(metric)
                series = self._by_key(key) or new.get(key)
                if series is None:
                    series = new[key] = Series(metric, key)
                    content += series.size
                else:
                    content += getsizeof(metric)
                by_metric[metric] = series
            if cost >= _PART_US:
                yield cost
                cost = 0
        if by_metric is None:
            return self
        return SeriesTable(by_metric, (yield from self._with(new)), content)

    def _by_key(self, key: bytes) -> Series | None:
        """Return the series with a key; None if there is none."""
        place = bisect_left(self.ordered, key, key=by_key)
        return self.ordered[place] if place < len(self.ordered) and self.ordered[place].key == key else None

    def _with(self, new: Mapping[bytes, Series]) -> Generator[int, None, tuple[Series, ...]]:
        """Return all series and new ones in order; yields as `adding` does."""
        found: list[Series] = []
        done = cost = 0
        # A server has sorted them, which takes the time of going through them once.
        for series in sorted(new.values(), key=by_key):
            place = bisect_left(self.ordered, series.key, done, key=by_key)
            found += self.ordered[done:place]
            found.append(series)
            done = place
            cost += _MERGE_US
            if cost >= _PART_US:
                yield cost
                cost = 0
        return (*found, *self.ordered[done:])

    def only(self, series: set[Series]) -> SeriesTable:
        """Return a table with only these of its series; this table if it has no others."""
        if len(series) == len(self.ordered):
            return self
        by_metric = {metric: each for metric, each in self.by_metric.items() if each in series}
        ordered = tuple(each for each in self.ordered if each in series)
        spellings = sum(getsizeof(metric) for metric, each in by_metric.items() if metric is not each.metric)
        return SeriesTable(by_metric, ordered, spellings + sum(each.size for each in ordered))

    @size.default
    def _size(self) -> int:
        return getsizeof(self) + getsizeof(self.by_metric) + getsizeof(self.ordered) + self.content
