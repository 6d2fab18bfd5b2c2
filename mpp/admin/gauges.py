"""
The metrics of what is true now: computed at scrape time from values that others publish, so that they can never be out of step
with them. What is counted is `mpp.core.metrics`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterable, Iterator

from attrs import frozen
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mpp._version import __version__
from mpp.core.model import Selection, Standing
from mpp.selection.verdict.verdict import VerdictState


@frozen
class LocatorState:
    """What is known of one locator: whether its last look-up worked, and how many backends it gave last."""

    name: str
    up: bool
    backends: int


@frozen
class BackendLoad:
    """How many requests are under way on one backend, by its label, and how many wait for their turn."""

    name: str
    active: int
    queued: int


@frozen
class Snapshot:
    """
    All that is true now and not counted.

    :ivar held_bytes: what all requests and answers hold in memory.
    :ivar requests_in_flight: client requests being answered.
    :ivar client_connections: those that are open.
    :ivar client_connections_limit: how many there may be.
    :ivar held_bytes_limit: how many bytes may be held in memory.
    :ivar states: what the verdict says.
    """

    selection: Selection
    locators: tuple[LocatorState, ...]
    held_bytes: int
    requests_in_flight: int = 0
    load: tuple[BackendLoad, ...] = ()
    client_connections: int = 0
    client_connections_limit: int = 0
    held_bytes_limit: int = 0
    states: Collection[VerdictState] = ()


class GaugeCollector(Collector):
    """
    Computes the metrics of the present.

    :param snapshot: gives what is true now; called at each scrape.
    """

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Give them, see prometheus_client's custom collectors."""
        now = self._snapshot()
        yield from _of_process(now)
        yield _gauge(
            "mpp_verdict",
            "1 for each state that the verdict on the status page names, 0 for the others.",
            [({"state": state.value}, int(state in now.states)) for state in VerdictState],
        )
        yield from _of_selection(now.selection)
        yield from _of_backends(now.selection)
        yield from _of_locators(now.locators)


class PresentLoad(Collector):
    """
    Computes what there is in a worker now; all else of the present is the parent's to say, and takes long with many servers.

    :param snapshot: see `GaugeCollector`; of it only what is in the process.
    """

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Return the gauges of this moment (prometheus_client's custom collector protocol)."""
        return _of_process(self._snapshot())


def _of_process(now: Snapshot) -> Iterator[Metric]:
    yield _gauge("mpp_build_info", "A constant 1, labeled with what runs.", [(_BUILD, 1)])
    yield _gauge("mpp_requests_in_flight", "Client requests being answered.", [({}, now.requests_in_flight)])
    yield _gauge("mpp_held_bytes", "Request and response bytes held in memory by all requests.", [({}, now.held_bytes)])
    yield _gauge("mpp_held_bytes_limit", "How many bytes they may hold together.", [({}, now.held_bytes_limit)])
    yield _gauge(
        "mpp_backend_requests",
        "Requests under way on a backend, and those that wait for their turn.",
        [
            ({"backend": each.name, "state": state}, count)
            for each in now.load
            for state, count in (("active", each.active), ("queued", each.queued))
        ],
    )
    yield _gauge("mpp_client_connections", "Open client connections.", [({}, now.client_connections)])
    yield _gauge(
        "mpp_client_connections_limit", "How many there may be; further ones wait.", [({}, now.client_connections_limit)]
    )


def _of_selection(selection: Selection) -> Iterator[Metric]:
    yield _gauge("mpp_selected_backends", "Backends that take traffic.", [({}, len(selection.selected))])
    yield _gauge(
        "mpp_selection_degraded",
        "1 while the routing strategy's wish cannot be met and the next best serves.",
        [({}, int(bool(selection.choice.degraded)))],
    )
    yield _gauge(
        "mpp_last_resort",
        "1 while no backend is usable and the least bad serves.",
        [({}, int(selection.last_resort))],
    )


def _of_backends(selection: Selection) -> Iterator[Metric]:
    yield _gauge(
        "mpp_backend_selected",
        "1 for a backend that takes traffic, 0 for a standby.",
        [({"backend": o.backend.name}, int(o.backend.id in selection.selected_by_id)) for o in selection.observations],
    )
    yield _gauge(
        "mpp_backend_ejected",
        "1 for a backend that is out of service until it has proved to be well.",
        [({"backend": o.backend.name}, int(o.ejected_at > 0)) for o in selection.observations],
    )
    yield _gauge(
        "mpp_backend_missing_targets",
        "How many targets of which another backend has newest data a backend has none of.",
        [({"backend": o.backend.name}, 0 if o.lack is None else o.lack.missing) for o in selection.observations],
    )
    yield _gauge(
        "mpp_backend_is_self",
        "1 for a backend that is this mpp itself, which is never used.",
        [({"backend": o.backend.name}, int(o.is_self)) for o in selection.observations],
    )
    yield _gauge(
        "mpp_backend_leaving",
        "1 for a backend that is well, but being stopped on purpose according to its source.",
        [({"backend": o.backend.name}, int(o.leaving)) for o in selection.observations],
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


def _of_locators(locators: Iterable[LocatorState]) -> Iterator[Metric]:
    yield _gauge(
        "mpp_discovery_up",
        "1 if the locator's last look-up worked.",
        [({"locator": s.name}, int(s.up)) for s in locators],
    )
    yield _gauge(
        "mpp_discovered_backends",
        "Backends the locator gave last.",
        [({"locator": s.name}, s.backends) for s in locators],
    )


_BUILD = {"version": __version__, "python": platform.python_version()}


def _gauge(name: str, documentation: str, samples: Iterable[tuple[dict[str, str], float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation)
    for labels, value in samples:
        family.add_sample(name, labels, value)
    return family
