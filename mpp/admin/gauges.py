"""
The gauges. They are computed at scrape time from values that other parts publish, so that they always agree with them.
The counters and histograms are in `mpp.core.metrics.registry`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from attrs import Factory, frozen
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mpp._version import __version__
from mpp.cache.store import EMPTY, CacheState
from mpp.core.model import Backend, Observation, Selection, Standing
from mpp.selection.verdict.verdict import LocatorView, VerdictState


@frozen
class Snapshot:
    """
    The values from which the gauges are computed.

    :ivar held_bytes: the bytes that all requests and responses buffer in memory.
    :ivar requests_in_flight: the number of client requests that have no complete response yet.
    :ivar load: the numbers of active and of queued requests by the name of the backend.
    :ivar client_connections: the number of open client connections.
    :ivar client_connections_limit: the largest number of open client connections.
    :ivar held_bytes_limit: the largest number of buffered bytes.
    :ivar states: the states that the verdict names.
    :ivar missing: the missing target-seconds of the backends that lack something of their history.
    :ivar cache: how full the range cache is.
    :ivar cache_freshness: the age in seconds from which on samples count as final for the cache.
    """

    selection: Selection
    locators: tuple[LocatorView, ...]
    held_bytes: int
    requests_in_flight: int = 0
    load: Mapping[str, tuple[int, int]] = Factory(dict)
    client_connections: int = 0
    client_connections_limit: int = 0
    held_bytes_limit: int = 0
    states: Collection[VerdictState] = ()
    missing: Mapping[Backend, float] = Factory(dict)
    cache: CacheState = EMPTY
    cache_freshness: float = 0.0


def all_gauges(now: Snapshot) -> Iterator[Metric]:
    """Return all gauges, with the values of a snapshot."""
    yield from gauges_of_process(now)
    yield _gauge(
        "mpp_verdict",
        "1 for each state that the verdict on the status page names, 0 for the others.",
        [({"state": state.value}, int(state in now.states)) for state in VerdictState],
    )
    yield from _of_selection(now.selection)
    yield from _of_backends(now.selection)
    yield _gauge(
        "mpp_backend_missing_target_seconds",
        "The data that a backend lacks and another one has, of the time that was compared: targets times seconds.",
        [({"backend": each.name}, now.missing.get(each, 0.0)) for each in now.selection.observed],
    )
    yield from _of_locators(now.locators)
    yield _value(
        "mpp_cache_freshness_seconds", "The age from which on samples count as final for the cache.", now.cache_freshness
    )


def gauges_of_process(now: Snapshot) -> Iterator[Metric]:
    """Return the gauges of this process alone: the parent computes the other ones, which takes long with many servers."""
    yield _gauge("mpp_build_info", "A constant 1, labeled with what runs.", [(_BUILD, 1)])
    yield _value("mpp_requests_in_flight", "Client requests being answered.", now.requests_in_flight)
    yield _value("mpp_held_bytes", "Request and response bytes held in memory by all requests.", now.held_bytes)
    yield _value("mpp_held_bytes_limit", "The largest number of request and response bytes held in memory.", now.held_bytes_limit)
    yield _gauge(
        "mpp_backend_requests",
        "Requests to a backend, by state: active, or queued for a free slot.",
        [
            ({"backend": name, "state": state}, count)
            for name, counts in now.load.items()
            for state, count in zip(("active", "queued"), counts, strict=True)
        ],
    )
    yield _value("mpp_client_connections", "Open client connections.", now.client_connections)
    yield _value("mpp_client_connections_limit", "Most open client connections; further ones wait.", now.client_connections_limit)
    yield _value("mpp_cache_entries", "Range queries in the cache.", now.cache.entries)
    yield _value("mpp_cache_bytes", "Bytes of memory that the cache takes.", now.cache.used_bytes)
    yield _value("mpp_cache_limit_bytes", "The most bytes of memory that the cache may take.", now.cache.limit_bytes)


class GaugeCollector(Collector):
    """
    The collector of gauges.

    :param snapshot: returns the present values; called at each scrape.
    :param gauges: `all_gauges`, or `gauges_of_process` in a worker.
    """

    def __init__(self, snapshot: Callable[[], Snapshot], gauges: Callable[[Snapshot], Iterator[Metric]] = all_gauges) -> None:
        self._snapshot = snapshot
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Return the gauges of this moment (prometheus_client's custom collector protocol)."""
        return self._gauges(self._snapshot())


def _of_selection(selection: Selection) -> Iterator[Metric]:
    yield _value("mpp_selected_backends", "Backends that take traffic.", len(selection.selected))
    yield _value(
        "mpp_selection_degraded",
        "1 while the routing strategy cannot be followed and the next best choice is used.",
        int(bool(selection.choice.degraded)),
    )
    yield _value("mpp_last_resort", "1 while no backend is usable and the least bad one is used.", int(selection.last_resort))


def _of_backends(selection: Selection) -> Iterator[Metric]:
    def of_each(name: str, documentation: str, value: Callable[[Observation], float]) -> Metric:
        return _gauge(name, documentation, [({"backend": o.backend.name}, value(o)) for o in selection.observations])

    yield of_each(
        "mpp_backend_selected",
        "1 for a backend that takes traffic, 0 for a standby.",
        lambda o: int(o.backend.id in selection.selected_by_id),
    )
    yield of_each(
        "mpp_backend_ejected",
        "1 for a backend that takes no traffic until a probe and its time out show that it works again.",
        lambda o: int(o.ejected_at > 0),
    )
    yield of_each(
        "mpp_backend_missing_targets",
        "The number of targets of which a backend lacks the newest data that another backend has.",
        lambda o: 0 if o.lack is None else o.lack.missing,
    )
    yield of_each(
        "mpp_backend_is_self", "1 for a backend that is this mpp itself, which is never used.", lambda o: int(o.is_self)
    )
    yield of_each(
        "mpp_backend_leaving",
        "1 for a healthy backend that is being stopped on purpose, according to its discovery source.",
        lambda o: int(o.leaving),
    )
    yield _gauge(
        "mpp_backend_standing",
        "1 for the standing of a backend, 0 for the others.",
        [
            ({"backend": o.backend.name, "standing": standing.name.lower()}, int(o.standing is standing))
            for o in selection.observations
            for standing in Standing
        ],
    )


def _of_locators(locators: Iterable[LocatorView]) -> Iterator[Metric]:
    yield _gauge(
        "mpp_discovery_up",
        "1 if the locator's last lookup succeeded.",
        [({"locator": s.name}, int(s.up)) for s in locators],
    )
    yield _gauge(
        "mpp_discovered_backends",
        "Backends that the locator listed last.",
        [({"locator": s.name}, s.backends) for s in locators],
    )


_BUILD = {"version": __version__, "python": platform.python_version()}


def _value(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return _gauge(name, documentation, [({}, value)])


def _gauge(name: str, documentation: str, samples: Iterable[tuple[dict[str, str], float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation)
    for labels, value in samples:
        family.add_sample(name, labels, value)
    return family
