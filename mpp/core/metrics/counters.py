"""
Counters and histograms with labels, for `mpp.core.metrics.registry`.

prometheus_client's own counters take a lock for each count and search a histogram's buckets one by one: about 5 us of the
80 us of a request. mpp counts in one thread, so it needs neither; prometheus_client reads the counts at each scrape. Also, its
counters can neither list nor remove the series that have one value of one label.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

# A placeholder for the label values with nothing counted. No label value of mpp contains this character.
_ANY_NAME = "\0"


class _Family:
    """One family of metrics (prometheus_client's custom collector protocol)."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family


def _page(family: Metric, names: Sequence[str]) -> bytes:
    """
    Return a metric family in the text format 0.0.4.

    prometheus_client takes 10 us to format a sample. A thousand servers have 100,000 samples, nearly all of them 0. Their text is
    therefore copied from the text of one placeholder.

    :param family: its samples with the label value `_ANY_NAME`, if any, come last.
    :param names: the label values that replace the placeholder.
    """
    text = generate_latest(_Family(family)).decode()
    first = text.find(_ANY_NAME)
    if first < 0:
        return text.encode()
    begin = text.rfind("\n", 0, first) + 1
    escaped = (name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for name in names)
    return (text[:begin] + "".join(text[begin:].replace(_ANY_NAME, name) for name in escaped)).encode()


class LabelledCounter:
    """
    A counter with labels.

    :ivar name: the name of the counter without ``_total``.
    :ivar sample_names: the names of its samples.
    :ivar values: the counts, by the labels' values.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self.values: dict[tuple[object, ...], float] = {}
        self.name, self._documentation, self._labels = name, documentation, tuple(labels)
        self.sample_names = {f"{name}_total"}
        # The values of each label: collecting them from all series takes long when there are many servers.
        self._known: tuple[dict[str, None], ...] = tuple({} for _ in labels)
        self._names: Collection[str] = ()
        self._of_each: Sequence[tuple[object, ...]] = ()

    def inc(self, *key: object) -> None:
        """Increment the series with these label values by one."""
        try:
            self.values[key] += 1
        except KeyError:
            self._begin(key, 1)

    def add(self, amount: float, *key: object) -> None:
        """Increment the series with these label values by an amount."""
        try:
            self.values[key] += amount
        except KeyError:
            self._begin(key, amount)

    def expect(self, *key: object) -> None:
        """Expose a series from now on, at 0 until it is incremented; a series that exists keeps its value."""
        if key not in self.values:
            self._begin(key, 0)

    def expect_each(self, names: Collection[str], of_each: Sequence[tuple[object, ...]]) -> None:
        """
        Expose several series for each of many label values, at 0 until they are incremented.

        :param names: the values of the first label, read again at each scrape. No series is stored for a name until it is
            incremented: there may be a thousand names, with some sixty series each in all counters.
        :param of_each: the values of the other labels.
        """
        self._names, self._of_each = names, of_each

    def _begin(self, key: tuple[object, ...], count: float) -> None:
        self.values[key] = count
        for known, part in zip(self._known, key, strict=True):
            known[str(part)] = None

    def label_values(self, label: str) -> set[str]:
        """Return the values that a label has in any series; none if the counter has no such label."""
        if label not in self._labels:
            return set()
        place = self._labels.index(label)
        return {*self._known[place], *(self._names if place == 0 else ())}

    def remove(self, label: str, values: Collection[str]) -> None:
        """Remove all series in which a label has one of these values."""
        if label in self._labels:
            place, before = self._labels.index(label), self.values
            self.values = {}
            self._known = tuple({} for _ in self._labels)
            for key, count in before.items():
                if str(key[place]) not in values:
                    self._begin(key, count)

    def describe(self) -> Iterator[Metric]:
        """Yield the metric family without samples."""
        yield CounterMetricFamily(self.name, self._documentation, labels=self._labels)

    def collect(self) -> Iterator[Metric]:
        """Yield the metric family with all counts (prometheus_client's custom collector protocol)."""
        yield self._family({**self._at_zero(self._names), **self.values})

    def page(self) -> bytes:
        """Return all counts in the text format 0.0.4."""
        counted = self._known[0] if self._known else {}
        some, others = [n for n in self._names if n in counted], [n for n in self._names if n not in counted]
        values = {**self._at_zero(some), **self.values}
        return _page(self._family({**values, **self._at_zero([_ANY_NAME] if others else [])}), others)

    def _at_zero(self, names: Collection[str]) -> dict[tuple[object, ...], float]:
        return {(name, *values): 0 for name in names for values in self._of_each}

    def counted(self) -> Metric:
        """Return the metric family without the counts that are 0: with many servers, most are."""
        return self._family({key: value for key, value in self.values.items() if value})

    def _family(self, values: Mapping[tuple[object, ...], float]) -> Metric:
        family = CounterMetricFamily(self.name, self._documentation, labels=self._labels)
        for key, value in values.items():
            family.add_metric([str(part) for part in key], value)
        return family


class HistogramSeries:
    """
    One series of a histogram.

    :param bounds: upper bounds of the buckets, ascending, without infinity.
    """

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value in its bucket."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class LabelledHistogram:
    """
    A histogram, with one label or none.

    :ivar label: the name of its label, or None.
    :ivar sample_names: the names of its samples.
    """

    def __init__(self, name: str, documentation: str, bounds: Sequence[float], label: str | None = None) -> None:
        self._name, self._documentation, self._bounds = name, documentation, bounds
        self.label = label
        self.sample_names = {f"{name}_{kind}" for kind in ("bucket", "count", "sum")}
        self._series: dict[str, HistogramSeries] = {}
        self._names: Collection[str] = ()
        if label is None:
            self.of("")

    def of(self, value: str) -> HistogramSeries:
        """Return the series of one label value; a histogram without a label has only the series of the empty value."""
        series = self._series.get(value)
        if series is None:
            series = self._series[value] = HistogramSeries(self._bounds)
        return series

    def expect_each(self, names: Collection[str]) -> None:
        """Expose a series for each of these label values (read at each scrape), at 0 until a value is observed in it."""
        self._names = names

    def label_values(self, label: str) -> set[str]:
        """Return the values that a label has in any series; none if the histogram has no such label."""
        return {*self._series, *self._names} if label == self.label else set()

    def remove(self, label: str, values: Collection[str]) -> None:
        """Remove the series in which a label has one of these values."""
        if label == self.label:
            for value in values:
                self._series.pop(value, None)

    def describe(self) -> Iterator[Metric]:
        """Yield the metric family without samples."""
        yield HistogramMetricFamily(self._name, self._documentation)

    def collect(self) -> Iterator[Metric]:
        """Yield the metric family with all series (prometheus_client's custom collector protocol)."""
        yield self._family({**dict.fromkeys(self._names, HistogramSeries(self._bounds)), **self._series})

    def page(self) -> bytes:
        """Return all series in the text format 0.0.4."""
        others = [name for name in self._names if name not in self._series]
        any_name = {_ANY_NAME: HistogramSeries(self._bounds)} if others else {}
        return _page(self._family({**self._series, **any_name}), others)

    def counted(self) -> Metric:
        """Return the metric family with only the series that have observed a value."""
        return self._family({value: series for value, series in self._series.items() if any(series.counts)})

    def _family(self, known: Mapping[str, HistogramSeries]) -> Metric:
        family = HistogramMetricFamily(self._name, self._documentation, labels=[] if self.label is None else [self.label])
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        for value, series in known.items():
            total = 0
            buckets = []
            for bound, count in zip(bounds, series.counts, strict=True):
                total += count
                buckets.append((bound, float(total)))
            family.add_metric([] if self.label is None else [value], buckets, series.sum)
        return family
