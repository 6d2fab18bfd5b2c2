"""
What mpp counts, under the original's names with today's suffixes. Knows the numbers, not what they mean for anyone.

Counters and histograms are kept here; everything that describes the present is computed at scrape time from values that
others publish (`Snapshot`), so that it can never be out of step with them.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator

from attrs import frozen
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric

from mpp._version import __version__
from mpp.model import Selection, Standing
from mpp.tally import Counts, Distributions

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

# From a cached answer on loopback to a heavy query that runs into Prometheus' default timeout of 2 minutes.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

# The ``backend`` label of answers that no backend gave.
OWN = "mpp"


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
    """All that is true now and not counted: given by the assembly, read at scrape time."""

    selection: Selection
    locators: tuple[LocatorState, ...]
    held_bytes: int
    load: tuple[BackendLoad, ...] = ()
    client_connections: int = 0
    client_connections_limit: int = 0


class Metrics:
    """
    The program's metrics, in their own registry.

    :ivar in_flight: client requests being answered now.
    :ivar round_duration: of each selection round that did not fail.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        # A second series for each counter, which only OpenMetrics' readers understand, and ours is the classic format.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry
        self.in_flight = 0
        # Counted with every request.
        self._requests = Counts("mpp_requests", "Client requests, by the backend that answered and status.", ("backend", "code"))
        self._hits = Counts("mpp_affinity_hits", "Requests whose backend an affinity chose.", ("type",))
        durations = Distributions(
            "mpp_request_duration_seconds", "From the complete request to the last byte of its answer.", _BUCKETS
        )
        self._duration = durations.of("")
        self._upstream = Distributions(
            "mpp_upstream_duration_seconds",
            "From sending a request to a backend to its whole or held-back answer.",
            _BUCKETS,
            "backend",
        )
        rounds = Distributions("mpp_selection_round_duration_seconds", "From locating the backends to their selection.", _BUCKETS)
        self.round_duration = rounds.of("")
        for tally in (self._requests, self._hits, durations, self._upstream, rounds):
            registry.register(tally)
        # Counted now and then.
        self._retries = Counter(
            "mpp_retries",
            "Attempts given up for another one, by the backend that failed.",
            ("backend", "reason"),
            registry=registry,
        )
        self._truncated = Counter(
            "mpp_truncated_responses",
            "Answers that broke off after their first byte had gone out.",
            ("backend", "reason"),
            registry=registry,
        )
        self._hedges = Counter(
            "mpp_hedges",
            "Attempts made beside one that took too long, by the backend that did.",
            ("backend", "reason"),
            registry=registry,
        )
        self._suspicions = Counter(
            "mpp_suspicion_probes",
            "Questions to silent backends whether they are there, by what came of them.",
            ("backend", "result"),
            registry=registry,
        )
        self._budget_exhausted = Counter(
            "mpp_retry_budget_exhausted",
            "Retries and hedges that were not made for want of budget.",
            ("reason",),
            registry=registry,
        )
        self.selection_events = Counter("mpp_selection_events", "Changes of the selection.", registry=registry)
        self.selection_rounds = Counter(
            "mpp_selection_rounds", "Selection rounds, by how they ended.", ("result",), registry=registry
        )
        self.discovery_errors = Counter(
            "mpp_discovery_errors", "Look-ups of a locator that failed.", ("locator",), registry=registry
        )
        self.probe_errors = Counter(
            "mpp_probe_errors",
            "Probes that found a backend not viable, by what they found.",
            ("backend", "standing"),
            registry=registry,
        )
        self.ejections = Counter(
            "mpp_ejections",
            "Backends taken out of service, by what was held against them.",
            ("backend", "reason"),
            registry=registry,
        )
        self._reload_succeeded = Gauge(
            "mpp_config_last_reload_successful", "1 if the configuration was applied when it was read last.", registry=registry
        )
        self._reload_succeeded_at = Gauge(
            "mpp_config_last_reload_success_timestamp_seconds",
            "When the configuration was last applied, in seconds since the epoch.",
            registry=registry,
        )
        self.readmissions = Counter("mpp_readmissions", "Ejected backends that came back.", ("backend",), registry=registry)

    def request_began(self) -> None:
        """Count a client request in."""
        self.in_flight += 1

    def request_ended(self, backend: str, code: int, seconds: float) -> None:
        """Count a client request out; ``code`` 499 when the client went away (nginx' convention)."""
        self.in_flight -= 1
        self._requests.inc(backend, code)
        self._duration.observe(seconds)

    def refused(self, code: int) -> None:
        """Count a request that mpp refused before any backend was chosen."""
        self._requests.inc(OWN, code)

    def upstream_answered(self, backend: str, seconds: float) -> None:
        """Record how long one attempt took."""
        self._upstream.of(backend).observe(seconds)

    def retried(self, backend: str, reason: str) -> None:
        """Count an attempt that failed and was followed by another one."""
        self._retries.labels(backend, reason).inc()

    def hedged(self, backend: str, reason: str) -> None:
        """Count an attempt that was made beside one on ``backend``."""
        self._hedges.labels(backend, reason).inc()

    def suspected(self, backend: str, result: str) -> None:
        """Count a question to a silent backend."""
        self._suspicions.labels(backend, result).inc()

    def retry_budget_exhausted(self, reason: str) -> None:
        """Count a ``retry`` or a ``hedge`` that was not made."""
        self._budget_exhausted.labels(reason).inc()

    def truncated(self, backend: str, reason: str) -> None:
        """Count an answer that could not be completed."""
        self._truncated.labels(backend, reason).inc()

    def affinity_hit(self, kind: str) -> None:
        """Count a request that affinity placed."""
        self._hits.inc(kind)

    def config_read(self, *, applied: bool, at: float) -> None:
        """Take note that the configuration was read, and whether it is in force now."""
        self._reload_succeeded.set(int(applied))
        if applied:
            self._reload_succeeded_at.set(at)

    def watch(self, snapshot: Callable[[], Snapshot]) -> None:
        """Add what is computed at scrape time, and the process' own metrics. Call it once, when the program is assembled."""
        self.registry.register(_Present(self, snapshot))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def exposition(self) -> bytes:
        """Give the page in the text format 0.0.4, which every Prometheus reads."""
        return generate_latest(self.registry)


class _Present:
    """The collector of everything that is true now (prometheus_client's custom collector protocol)."""

    def __init__(self, metrics: Metrics, snapshot: Callable[[], Snapshot]) -> None:
        self._metrics = metrics
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        now = self._snapshot()
        selection = now.selection
        yield _gauge("mpp_build_info", "A constant 1, labeled with what runs.", [(_BUILD, 1)])
        yield _gauge("mpp_requests_in_flight", "Client requests being answered.", [({}, self._metrics.in_flight)])
        yield _gauge("mpp_held_bytes", "Request and response bytes held in memory by all requests.", [({}, now.held_bytes)])
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
        yield _gauge("mpp_selected_backends", "Backends that take traffic.", [({}, len(selection.selected))])
        yield _gauge(
            "mpp_selection_degraded",
            "1 while the routing strategy's wish cannot be met and the next best serves.",
            [({}, int(bool(selection.choice.degraded)))],
        )
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
            "mpp_last_resort",
            "1 while no backend is usable and the least bad serves.",
            [({}, int(selection.last_resort))],
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
        yield _gauge(
            "mpp_discovery_up",
            "1 if the locator's last look-up worked.",
            [({"locator": s.name}, int(s.up)) for s in now.locators],
        )
        yield _gauge(
            "mpp_discovered_backends",
            "Backends the locator gave last.",
            [({"locator": s.name}, s.backends) for s in now.locators],
        )


_BUILD = {"version": __version__, "python": platform.python_version()}


def _gauge(name: str, documentation: str, samples: Iterable[tuple[dict[str, str], float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation)
    for labels, value in samples:
        family.add_sample(name, labels, value)
    return family
