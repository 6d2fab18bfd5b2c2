"""
The metrics of several processes, as those of one. Pure; knows prometheus_client's families of samples.

Counters and histograms are added up. Of the gauges those that say how much there is in each process (`ADDED`) are, too; all
others describe what only the parent knows, or what is the same for all, and are the parent's.
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
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
    }
)
REMOVED_BY = ("backend", "locator", "type")
"""Labels whose values come and go, and their series with them."""
_COUNTED = frozenset({"counter", "histogram", "summary"})
# The parent lets no clients in, and says of these what the workers told it.
_NOT_THE_PARENTS = frozenset(
    {"mpp_backend_requests", "mpp_client_connections", "mpp_client_connections_limit", "mpp_held_bytes_limit"}
)

Families = list[list[Any]]
"""Each: name, type, documentation, and samples of name, labels and value; as JSON carries them."""


def families(collected: Iterable[Metric]) -> Families:
    """Give what a registry has collected."""
    return [
        [family.name, family.type, family.documentation, [[s.name, dict(s.labels), s.value] for s in family.samples]]
        for family in collected
    ]


def added_up(found: Families) -> Families:
    """Return what the parent adds up of a worker's metrics."""
    return [family for family in found if family[1] in _COUNTED or family[0] in ADDED]


def counted(found: Families) -> Families:
    """Give what stays true of a process that has ended: what it has counted."""
    return [family for family in found if family[1] in _COUNTED]


def known(found: Families, parents: Families) -> Families:
    """
    Return those samples whose backend, locator or affinity the parent has counters of.

    Each series of an ended process goes when the parent's go, see `mpp.core.series`: nothing else would ever remove
    it.
    """
    there = {(name, label, value) for name, _, _, samples in parents for label, value in _names(samples)}
    return [
        [name, kind, documentation, [each for each in samples if all((name, *named) in there for named in _names([each]))]]
        for name, kind, documentation, samples in found
    ]


def _names(samples: Iterable[Any]) -> Iterator[tuple[str, str]]:
    return ((label, labels[label]) for _, labels, _ in samples for label in REMOVED_BY if label in labels)


def add(parents: Families, workers: Iterable[Families]) -> Families:
    """Give the metrics of all."""
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
    """Give those families that have samples of these names."""
    return [family for family in found if any(sample[0] in names for sample in family[3])]


def samples(found: Families, name: str) -> list[Any]:
    """Return the samples of one family: each its name, labels and value."""
    return next((family[3] for family in found if family[0] == name), [])


def metrics(found: Families) -> Iterator[Metric]:
    """Give them as prometheus_client's."""
    return _Collected(found).collect()


def exposition(found: Families) -> bytes:
    """Give the page in the text format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(found))
    return generate_latest(registry)


class _Collected:
    """What was collected elsewhere (prometheus_client's custom collector protocol)."""

    def __init__(self, found: Families) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        for name, kind, documentation, samples in self._found:
            family = Metric(name, documentation, kind)
            for sample, labels, value in samples:
                family.add_sample(sample, labels, value)
            yield family
