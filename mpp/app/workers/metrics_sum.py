"""
The sum of the metrics of several processes. Pure functions on prometheus_client's families of samples.

Counters and histograms are added up, and so are the gauges that measure an amount in each process (`ADDED`). All other gauges are
the parent's: they describe what only the parent knows, or what is the same in all processes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

ADDED = frozenset(
    {
        "mpp_requests_in_flight",
        "mpp_held_bytes",
        "mpp_held_bytes_limit",
        "mpp_backend_requests",
        "mpp_client_connections",
        "mpp_client_connections_limit",
        "mpp_cache_entries",
        "mpp_cache_bytes",
        "mpp_cache_limit_bytes",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
    }
)
REMOVED_BY = ("backend", "locator", "type")
"""The labels with values that may be removed, together with their series."""
_COUNTED = frozenset({"counter", "histogram", "summary"})
# The parent has no clients; its samples of these families repeat the values of the workers.
_NOT_THE_PARENTS = frozenset(
    {"mpp_backend_requests", "mpp_client_connections", "mpp_client_connections_limit", "mpp_held_bytes_limit"}
)

Families = list[list[Any]]
"""Metric families in values of JSON: each is a list of name, type, documentation, and samples of name, labels and value."""


def families(collected: Iterable[Metric]) -> Families:
    """Return the metric families that a registry has collected as values of JSON."""
    return [
        [family.name, family.type, family.documentation, [[s.name, dict(s.labels), s.value] for s in family.samples]]
        for family in collected
    ]


def added_up(found: Families) -> Families:
    """Return the metric families of a worker that the parent adds up."""
    return [family for family in found if family[1] in _COUNTED or family[0] in ADDED]


def counted(found: Families) -> Families:
    """Return the counters, histograms and summaries, which stay valid after their process has ended."""
    return [family for family in found if family[1] in _COUNTED]


def known(found: Families, parents: Families) -> Families:
    """
    Return the samples whose backend, locator or affinity is in the parent's metrics too.

    So the series of ended workers expire together with the parent's series, see `mpp.core.metrics.series`.
    """
    there = {(name, label, value) for name, _, _, samples in parents for label, value in _names(samples)}
    return [
        [name, kind, documentation, [each for each in samples if all((name, *named) in there for named in _names([each]))]]
        for name, kind, documentation, samples in found
    ]


def _names(samples: Iterable[Any]) -> Iterator[tuple[str, str]]:
    return ((label, labels[label]) for _, labels, _ in samples for label in REMOVED_BY if label in labels)


def add(parents: Families, workers: Iterable[Families]) -> Families:
    """Return the sum of the metrics of the parent and its workers."""
    total: dict[str, list[Any]] = {}
    sums: dict[str, dict[tuple[Any, ...], float]] = {}
    for name, kind, documentation, samples in parents:
        total[name] = [name, kind, documentation, []]
        sums[name] = {} if name in _NOT_THE_PARENTS else _by_key(samples)
    for name, kind, documentation, samples in (family for worker in workers for family in worker):
        if kind not in _COUNTED and name not in ADDED:
            continue
        total.setdefault(name, [name, kind, documentation, []])
        series = sums.setdefault(name, {})
        for key, value in _by_key(samples).items():
            series[key] = series.get(key, 0.0) + value
    for name, series in sums.items():
        total[name][3] = [[sample, dict(labels), value] for (sample, labels), value in series.items()]
    return list(total.values())


def _by_key(samples: Iterable[Any]) -> dict[tuple[Any, ...], float]:
    return {(name, tuple(labels.items())): value for name, labels, value in samples}


def restricted(found: Families, names: Collection[str]) -> Families:
    """Return the metric families that have samples of these names."""
    return [family for family in found if any(sample[0] in names for sample in family[3])]


def samples(found: Families, name: str) -> list[Any]:
    """Return the samples of one metric family: for each its name, labels and value."""
    return next((family[3] for family in found if family[0] == name), [])


def metrics(found: Families) -> Iterator[Metric]:
    """Yield the metric families as objects of prometheus_client."""
    return _Collected(found).collect()


def exposition(found: Families) -> bytes:
    """Return the metrics page in Prometheus' text format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(found))
    return generate_latest(registry)


class _Collected:
    """A custom collector of prometheus_client for metrics that were collected in other processes."""

    def __init__(self, found: Families) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        for name, kind, documentation, samples in self._found:
            family = Metric(name, documentation, kind)
            for sample, labels, value in samples:
                family.add_sample(sample, labels, value)
            yield family
