"""
The counters and histograms of mpp. Their names are the ones of the original mpp, a program in Go, with the suffixes usual today.

The gauges, which describe the present, are computed by `mpp.admin.gauges`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from mpp.core.metrics import series
from mpp.core.metrics.counters import LabelledCounter, LabelledHistogram
from mpp.core.metrics.families import BUCKETS, COUNTERS, HISTOGRAMS
from mpp.core.metrics.local_errors import CODES

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

# The ``backend`` label of responses that mpp itself makes.
LOCAL = "mpp"


class Metrics:
    """
    The metrics of the program, in a registry of their own.

    A counter that callers increment is an attribute with the name of the metric without ``mpp_``. Its labels are in
    `mpp.core.metrics.families`, in the order in which ``inc`` takes their values.

    :ivar in_flight: the number of client requests that are being answered now.
    :ivar round_duration: the durations of the selection rounds that did not fail.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        # The page is in the classic format, whose readers have no use for a ``_created`` series per counter.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry
        self.in_flight = 0
        self._counters = {name: LabelledCounter(name, text, labels) for name, (text, labels) in COUNTERS.items()}
        self._histograms = {name: LabelledHistogram(name, text, BUCKETS, label) for name, (text, label) in HISTOGRAMS.items()}
        self._tallies: tuple[LabelledCounter | LabelledHistogram, ...] = (*self._counters.values(), *self._histograms.values())
        for tally in self._tallies:
            registry.register(tally)
        self._name_counters()
        self._duration = self._histograms["mpp_request_duration_seconds"].of("")
        self._upstream = self._histograms["mpp_upstream_duration_seconds"]
        self._survey_duration = self._histograms["mpp_coverage_survey_duration_seconds"]
        self.round_duration = self._histograms["mpp_selection_round_duration_seconds"].of("")
        self._others = CollectorRegistry()
        self._reload_succeeded = Gauge(
            "mpp_config_last_reload_successful", "1 if the last reading of the configuration was applied, else 0.", registry=None
        )
        self._reload_succeeded_at = Gauge(
            "mpp_config_last_reload_success_timestamp_seconds",
            "Time when the configuration was last applied, in seconds since the epoch.",
            registry=None,
        )
        self.add(self._reload_succeeded)
        self.add(self._reload_succeeded_at)
        self._backends: dict[str, None] = {}
        self._expect_series()

    def _name_counters(self) -> None:
        """Set an attribute for each counter; the private ones are counted by methods of this class."""
        counters = self._counters
        self._requests = counters["mpp_requests"]
        self._cache_steps = counters["mpp_cache_steps"]
        self._cache_saved = counters["mpp_cache_saved_seconds"]
        self._surveys = counters["mpp_coverage_surveys"]
        self.affinity_hits = counters["mpp_affinity_hits"]
        self.retries = counters["mpp_retries"]
        self.truncated_responses = counters["mpp_truncated_responses"]
        self.slow_clients_reset = counters["mpp_slow_clients_reset"]
        self.moved_requests = counters["mpp_moved_requests"]
        self.rerouted_requests = counters["mpp_rerouted_requests"]
        self.joined_responses = counters["mpp_joined_responses"]
        self.incomplete_requests = counters["mpp_incomplete_requests"]
        self.shared_requests = counters["mpp_shared_requests"]
        self.cache_requests = counters["mpp_cache_requests"]
        self.cache_evictions = counters["mpp_cache_evictions"]
        self.hedges = counters["mpp_hedges"]
        self.suspicion_probes = counters["mpp_suspicion_probes"]
        self.retry_budget_exhausted = counters["mpp_retry_budget_exhausted"]
        self.query_of_death_suspects = counters["mpp_query_of_death_suspects"]
        self.query_of_death_refusals = counters["mpp_query_of_death_refusals"]
        self.selection_events = counters["mpp_selection_events"]
        self.selection_rounds = counters["mpp_selection_rounds"]
        self.discovery_errors = counters["mpp_discovery_errors"]
        self.probe_errors = counters["mpp_probe_errors"]
        self.ejections = counters["mpp_ejections"]
        self.storage_errors = counters["mpp_storage_errors"]
        self.readmissions = counters["mpp_readmissions"]

    def _expect_series(self) -> None:
        for name, each in series.OF_THE_PROGRAM.items():
            for values in each:
                self._counters[name].expect(*values)
        for name, each in series.OF_EACH_BACKEND.items():
            self._counters[name].expect_each(self._backends, each)
        for histogram in self._histograms.values():
            if histogram.label == "backend":
                histogram.expect_each(self._backends)

    def expect_backend(self, backend: str) -> None:
        """Expose all series of a backend, at 0 at first; see Note [Series begin at 0] in `mpp.core.metrics.series`."""
        self._backends[backend] = None

    def expect_configured(self, locators: Iterable[str], affinities: Iterable[str]) -> None:
        """Expose all series of the configured locators and affinities, at 0 at first."""
        for locator in locators:
            self.discovery_errors.expect(locator)
        for affinity in affinities:
            self.affinity_hits.expect(affinity)

    def label_values(self, label: str) -> set[str]:
        """Return all values that a label has in any counter or histogram."""
        return {value for tally in self._tallies for value in tally.label_values(label)}

    def remove(self, label: str, values: Collection[str]) -> None:
        """Remove all series in which a label has one of these values."""
        if label == "backend":
            for value in values:
                self._backends.pop(value, None)
        for tally in self._tallies:
            tally.remove(label, values)

    def counted(self, names: Collection[str]) -> Iterator[Metric]:
        """Return the metric families that have samples of the given names, without the series whose value is 0."""
        return (tally.counted() for tally in self._tallies if not tally.sample_names.isdisjoint(names))

    def request_began(self) -> None:
        """Count the start of a client request."""
        self.in_flight += 1

    def request_ended(self, backend: str, code: int, seconds: float) -> None:
        """Count the end of a client request; ``code`` is 499 when the client disconnected (nginx' convention)."""
        self.in_flight -= 1
        self._requests.inc(backend, code)
        self._duration.observe(seconds)

    def refused(self, code: int) -> None:
        """Count a request that mpp rejected before it chose a backend."""
        self._requests.inc(LOCAL, code)

    def local_errors(self) -> dict[int, int]:
        """Return the number of mpp's own error responses since the start, by code in `mpp.core.metrics.local_errors.CODES`."""
        values = self._requests.values
        return {code: int(values.get((LOCAL, code), 0)) for code in CODES}

    def upstream_answered(self, backend: str, seconds: float) -> None:
        """Record the duration of one attempt."""
        self._upstream.of(backend).observe(seconds)

    def surveyed(self, backend: str, result: str, seconds: float) -> None:
        """Count a survey of the newest data of a backend, and its duration; ``result`` is ``ok`` or ``failed``."""
        self._surveys.inc(backend, result)
        self._survey_duration.of(backend).observe(seconds)

    def cache_steps(self, cached: int, asked: int) -> None:
        """Count the steps of a response that came from the cache, and the steps that a backend was asked for."""
        self._cache_steps.add(cached, "cache")
        self._cache_steps.add(asked, "server")

    def cache_saved(self, seconds: float) -> None:
        """Count the time that a backend would have taken for the steps that came from the cache."""
        self._cache_saved.add(seconds)

    def config_read(self, *, applied: bool, at: float) -> None:
        """Record a reading of the configuration, at the time ``at``, and whether it was applied."""
        self._reload_succeeded.set(int(applied))
        if applied:
            self._reload_succeeded_at.set(at)

    def watch(self, present: Collector) -> None:
        """
        Add a collector of gauges, and the collectors of this process (CPU time, memory, Python) as well.

        Call it once, when the program is assembled.

        :param present: computes gauges at each scrape, such as `mpp.admin.gauges.GaugeCollector`.
        """
        self.add(present)
        for registry in (self.registry, self._others):
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)
            GCCollector(registry=registry)

    def add(self, collector: Collector) -> None:
        """Add a collector to the metrics page and to the registry."""
        self.registry.register(collector)
        self._others.register(collector)

    def exposition(self) -> bytes:
        """Return the metrics page in the text format 0.0.4, which every Prometheus reads."""
        return b"".join(tally.page() for tally in self._tallies) + generate_latest(self._others)
