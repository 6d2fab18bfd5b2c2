"""
Counters and histograms with labels, for `mpp.metrics`.

prometheus_client's own counters take a lock for each count and walk through a histogram's buckets one by one: some 5 us of a
request's 80. mpp counts in one thread, so it needs neither; what is counted is given to the library when it is scraped. Nor can
the library's list or remove the series that have one value of one label.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString


class Counts:
    """
    A counter with labels.

    :ivar name: without ``_total``.
    :ivar values: the counts, by the labels' values.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self.values: dict[tuple[object, ...], int] = {}
        self.name, self._documentation, self._labels = name, documentation, tuple(labels)

    def inc(self, *key: object) -> None:
        """Count one."""
        try:
            self.values[key] += 1
        except KeyError:
            self.values[key] = 1

    def expect(self, *key: object) -> None:
        """Expose a series from now on, at 0 until something is counted in it; a series that exists keeps its value."""
        self.values.setdefault(key, 0)

    def label_values(self, label: str) -> set[str]:
        """Return the values that a label has in any series; none if the counter has no such label."""
        if label not in self._labels:
            return set()
        place = self._labels.index(label)
        return {str(key[place]) for key in self.values}

    def remove(self, label: str, value: str) -> None:
        """Remove all series in which a label has this value."""
        if label in self._labels:
            place = self._labels.index(label)
            self.values = {key: count for key, count in self.values.items() if str(key[place]) != value}

    def describe(self) -> Iterator[Metric]:
        """Give the name only."""
        yield CounterMetricFamily(self.name, self._documentation, labels=self._labels)

    def collect(self) -> Iterator[Metric]:
        """Give all counts (prometheus_client's custom collector protocol)."""
        family = CounterMetricFamily(self.name, self._documentation, labels=self._labels)
        for key, value in self.values.items():
            family.add_metric([str(part) for part in key], value)
        yield family


class Distribution:
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
        """Count a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class Distributions:
    """A histogram, with one label or none."""

    def __init__(self, name: str, documentation: str, bounds: Sequence[float], label: str | None = None) -> None:
        self._name, self._documentation, self._bounds = name, documentation, bounds
        self._label = label
        self._series: dict[str, Distribution] = {}
        if label is None:
            self.of("")

    def of(self, value: str) -> Distribution:
        """Give the series of one label value; there is the empty one only where there is no label."""
        series = self._series.get(value)
        if series is None:
            series = self._series[value] = Distribution(self._bounds)
        return series

    def label_values(self, label: str) -> set[str]:
        """Return the values that a label has in any series; none if the histogram has no such label."""
        return set(self._series) if label == self._label else set()

    def remove(self, label: str, value: str) -> None:
        """Remove the series in which a label has this value."""
        if label == self._label:
            self._series.pop(value, None)

    def describe(self) -> Iterator[Metric]:
        """Give the name only."""
        yield HistogramMetricFamily(self._name, self._documentation)

    def collect(self) -> Iterator[Metric]:
        """Give all series (prometheus_client's custom collector protocol)."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=[] if self._label is None else [self._label])
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        for value, series in self._series.items():
            total = 0
            buckets = []
            for bound, count in zip(bounds, series.counts, strict=True):
                total += count
                buckets.append((bound, float(total)))
            family.add_metric([] if self._label is None else [value], buckets, series.sum)
        yield family
