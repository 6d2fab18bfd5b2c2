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
        # Looked up once, because every request is counted in them.
        self._requests, self._hits = self._counters["mpp_requests"], self._counters["mpp_affinity_hits"]
        self._cache_requests, self._cache_steps = self._counters["mpp_cache_requests"], self._counters["mpp_cache_steps"]
        self._cache_saved = self._counters["mpp_cache_saved_seconds"]
        self._duration = self._histograms["mpp_request_duration_seconds"].of("")
        self._upstream = self._histograms["mpp_upstream_duration_seconds"]
        self.round_duration = self._histograms["mpp_selection_round_duration_seconds"].of("")
        self.selection_events = self._counters["mpp_selection_events"]
        self.selection_rounds = self._counters["mpp_selection_rounds"]
        self.discovery_errors = self._counters["mpp_discovery_errors"]
        self.probe_errors = self._counters["mpp_probe_errors"]
        self.ejections = self._counters["mpp_ejections"]
        self.storage_errors = self._counters["mpp_storage_errors"]
        self.readmissions = self._counters["mpp_readmissions"]
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
            self._hits.expect(affinity)

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

    def retried(self, backend: str, reason: str) -> None:
        """Count an attempt that failed and was followed by another one."""
        self._counters["mpp_retries"].inc(backend, reason)

    def hedged(self, backend: str, reason: str) -> None:
        """Count an attempt that was made in parallel to one on ``backend``."""
        self._counters["mpp_hedges"].inc(backend, reason)

    def suspected(self, backend: str, result: str) -> None:
        """Count a liveness check of a stalled backend; ``result`` is ``alive`` or ``stuck``."""
        self._counters["mpp_suspicion_probes"].inc(backend, result)

    def surveyed(self, backend: str, result: str, seconds: float) -> None:
        """Count a survey of the newest data of a backend, and its duration; ``result`` is ``ok`` or ``failed``."""
        self._counters["mpp_coverage_surveys"].inc(backend, result)
        self._histograms["mpp_coverage_survey_duration_seconds"].of(backend).observe(seconds)

    def retry_budget_exhausted(self, reason: str) -> None:
        """Count a ``retry`` or a ``hedge``, by ``reason``, that was skipped because the retry budget was exhausted."""
        self._counters["mpp_retry_budget_exhausted"].inc(reason)

    def query_of_death_suspected(self, backend: str) -> None:
        """Count a read that may have crashed ``backend``."""
        self._counters["mpp_query_of_death_suspects"].inc(backend)

    def query_of_death_refused(self) -> None:
        """Count a read that was not sent to the last healthy server, because it may have crashed other servers."""
        self._counters["mpp_query_of_death_refusals"].inc()

    def truncated(self, backend: str, reason: str) -> None:
        """Count a response that broke off after its first byte had been sent."""
        self._counters["mpp_truncated_responses"].inc(backend, reason)

    def moved(self, backend: str) -> None:
        """Count a request that left the queue of ``backend`` for another one."""
        self._counters["mpp_moved_requests"].inc(backend)

    def rerouted(self, backend: str) -> None:
        """Count a request that went to another backend than ``backend``, which lacks data that it reads."""
        self._counters["mpp_rerouted_requests"].inc(backend)

    def joined(self) -> None:
        """Count a response that was joined from the responses of several backends."""
        self._counters["mpp_joined_responses"].inc()

    def incomplete(self) -> None:
        """Count a request whose response gets a warning, because data is or may be missing in it."""
        self._counters["mpp_incomplete_requests"].inc()

    def shared(self) -> None:
        """Count a request that gets the response to an identical one."""
        self._counters["mpp_shared_requests"].inc()

    def cache_answered(self, result: str) -> None:
        """Count a range query by how the cache was used: ``hit``, ``partial``, ``miss`` or ``bypass``."""
        self._cache_requests.inc(result)

    def cache_steps(self, cached: int, asked: int) -> None:
        """Count the steps of a response that came from the cache, and the steps that a backend was asked for."""
        self._cache_steps.add(cached, "cache")
        self._cache_steps.add(asked, "server")

    def cache_saved(self, seconds: float) -> None:
        """Count the time that a backend would have taken for the steps that came from the cache."""
        self._cache_saved.add(seconds)

    def cache_evicted(self) -> None:
        """Count an entry of the cache that was removed because it, or the cache, was too large."""
        self._counters["mpp_cache_evictions"].inc()

    def slow_client_reset(self, backend: str) -> None:
        """Count a response that was aborted because its client read it too slowly."""
        self._counters["mpp_slow_clients_reset"].inc(backend)

    def affinity_hit(self, kind: str) -> None:
        """Count a request whose backend an affinity of this type chose."""
        self._hits.inc(kind)

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
