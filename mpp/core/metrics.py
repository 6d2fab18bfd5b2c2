"""
What mpp counts, under the original's names with today's suffixes. Knows the numbers, not what they mean for anyone.

Counters and histograms are kept here; what describes the present is `mpp.admin.gauges`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

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
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from mpp.core import series
from mpp.core.counters import LabelledCounter, LabelledHistogram
from mpp.core.local_errors import CODES

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

# From a cached answer on loopback to a heavy query that runs into Prometheus' default timeout of 2 minutes.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

# The ``backend`` label of answers that no backend gave.
LOCAL = "mpp"


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
        self._requests = LabelledCounter(
            "mpp_requests", "Client requests, by the backend that answered and status.", ("backend", "code")
        )
        self._hits = LabelledCounter("mpp_affinity_hits", "Requests whose backend an affinity chose.", ("type",))
        durations = LabelledHistogram(
            "mpp_request_duration_seconds", "From the complete request to the last byte of its answer.", _BUCKETS
        )
        self._duration = durations.of("")
        self._upstream = LabelledHistogram(
            "mpp_upstream_duration_seconds",
            "From sending a request to a backend to its whole or held-back answer.",
            _BUCKETS,
            "backend",
        )
        rounds = LabelledHistogram(
            "mpp_selection_round_duration_seconds", "From locating the backends to their selection.", _BUCKETS
        )
        self.round_duration = rounds.of("")
        # Counted now and then.
        of_backend = ("backend",)
        self._retries = LabelledCounter(
            "mpp_retries", "Attempts given up for another one, by the backend that failed.", ("backend", "reason")
        )
        self._truncated = LabelledCounter(
            "mpp_truncated_responses", "Answers that broke off after their first byte had gone out.", ("backend", "reason")
        )
        self._slow_clients = LabelledCounter(
            "mpp_slow_clients_reset",
            "Responses given up because their clients read them too slowly while other requests waited.",
            of_backend,
        )
        self._moved = LabelledCounter(
            "mpp_moved_requests",
            "Requests that waited for a slot on a backend and were sent to another one instead.",
            of_backend,
        )
        self._hedges = LabelledCounter(
            "mpp_hedges", "Attempts made beside one that took too long, by the backend that did.", ("backend", "reason")
        )
        self._suspicions = LabelledCounter(
            "mpp_suspicion_probes",
            "Questions to silent backends whether they are there, by what came of them.",
            ("backend", "result"),
        )
        self._budget_exhausted = LabelledCounter(
            "mpp_retry_budget_exhausted", "Retries and hedges that were not made for want of budget.", ("reason",)
        )
        self._deaths = LabelledCounter(
            "mpp_query_of_death_suspects",
            "Servers that broke off a read after having run it for longer than --crash-suspect, by the server.",
            of_backend,
        )
        self._deaths_refused = Counter(
            "mpp_query_of_death_refusals",
            "Reads answered 502 because a server may have died of them and only one healthy server is left.",
            registry=registry,
        )
        self.selection_events = Counter("mpp_selection_events", "Changes of the selection.", registry=registry)
        self.selection_rounds = LabelledCounter("mpp_selection_rounds", "Selection rounds, by how they ended.", ("result",))
        self.discovery_errors = LabelledCounter("mpp_discovery_errors", "Look-ups of a locator that failed.", ("locator",))
        self.probe_errors = LabelledCounter(
            "mpp_probe_errors", "Probes that found a backend not viable, by what they found.", ("backend", "standing")
        )
        self.surveys = LabelledCounter(
            "mpp_coverage_surveys",
            "Times that a backend was asked for its newest data, by whether it could be.",
            ("backend", "result"),
        )
        self._survey_duration = LabelledHistogram(
            "mpp_coverage_survey_duration_seconds", "How long it took to ask a backend for its newest data.", _BUCKETS, "backend"
        )
        self.ejections = LabelledCounter(
            "mpp_ejections", "Backends taken out of service, by what was held against them.", ("backend", "reason")
        )
        self._reload_succeeded = Gauge(
            "mpp_config_last_reload_successful", "1 if the configuration was applied when it was read last.", registry=registry
        )
        self._reload_succeeded_at = Gauge(
            "mpp_config_last_reload_success_timestamp_seconds",
            "When the configuration was last applied, in seconds since the epoch.",
            registry=registry,
        )
        self.storage_errors = LabelledCounter(
            "mpp_storage_errors", "Responses in which a backend said that it cannot read its own storage.", of_backend
        )
        self.readmissions = LabelledCounter("mpp_readmissions", "Ejected backends that came back.", of_backend)
        counters = [tally for tally in vars(self).values() if isinstance(tally, LabelledCounter)]
        self._counters = {counts.name: counts for counts in counters}
        self._labelled: tuple[LabelledCounter | LabelledHistogram, ...] = (*counters, self._upstream, self._survey_duration)
        self._tallies: tuple[LabelledCounter | LabelledHistogram, ...] = (*self._labelled, durations, rounds)
        for tally in self._tallies:
            registry.register(tally)
        self._others = CollectorRegistry()
        for other in vars(self).values():
            if isinstance(other, Counter | Gauge):
                self._others.register(other)
        for name, each in series.OF_THE_PROGRAM.items():
            for values in each:
                self._counters[name].expect(*values)
        self._backends: dict[str, None] = {}
        for name, each in series.OF_EACH_BACKEND.items():
            self._counters[name].expect_each(self._backends, each)
        self._upstream.expect_each(self._backends)
        self._survey_duration.expect_each(self._backends)

    def expect_backend(self, backend: str) -> None:
        """
        Expose all that is counted of a backend, at 0 at first; see Note [Series begin at 0] in `mpp.core.series`.
        """
        self._backends[backend] = None

    def expect_configured(self, locators: Iterable[str], affinities: Iterable[str]) -> None:
        """Expose all that is counted of locators and affinities, at 0 at first."""
        for locator in locators:
            self.discovery_errors.expect(locator)
        for affinity in affinities:
            self._hits.expect(affinity)

    def label_values(self, label: str) -> set[str]:
        """Return all values that a label has in any counter or histogram."""
        return {value for tally in self._labelled for value in tally.label_values(label)}

    def remove(self, label: str, values: Collection[str]) -> None:
        """Remove all series in which a label has one of these values."""
        if label == "backend":
            for value in values:
                self._backends.pop(value, None)
        for labelled in self._labelled:
            labelled.remove(label, values)

    def counted(self, names: Collection[str]) -> Iterator[Metric]:
        """Return what was counted by backend, locator or affinity in samples of these names, without what is 0."""
        return (tally.counted() for tally in self._labelled if not tally.sample_names.isdisjoint(names))

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
        self._requests.inc(LOCAL, code)

    def local_errors(self) -> dict[int, int]:
        """Return how many requests mpp itself answered with one of `mpp.core.local_errors.CODES` since its start, by the code."""
        values = self._requests.values
        return {code: values.get((LOCAL, code), 0) for code in CODES}

    def upstream_answered(self, backend: str, seconds: float) -> None:
        """Record how long one attempt took."""
        self._upstream.of(backend).observe(seconds)

    def retried(self, backend: str, reason: str) -> None:
        """Count an attempt that failed and was followed by another one."""
        self._retries.inc(backend, reason)

    def hedged(self, backend: str, reason: str) -> None:
        """Count an attempt that was made beside one on ``backend``."""
        self._hedges.inc(backend, reason)

    def suspected(self, backend: str, result: str) -> None:
        """Count a question to a silent backend."""
        self._suspicions.inc(backend, result)

    def surveyed(self, backend: str, result: str, seconds: float) -> None:
        """Count that a backend was asked for its newest data; ``result`` is ``ok`` or ``failed``."""
        self.surveys.inc(backend, result)
        self._survey_duration.of(backend).observe(seconds)

    def retry_budget_exhausted(self, reason: str) -> None:
        """Count a ``retry`` or a ``hedge`` that was not made."""
        self._budget_exhausted.inc(reason)

    def query_of_death_suspected(self, backend: str) -> None:
        """Count a server that may have died of a read."""
        self._deaths.inc(backend)

    def query_of_death_refused(self) -> None:
        """Count a read that was not sent to the last healthy server."""
        self._deaths_refused.inc()

    def truncated(self, backend: str, reason: str) -> None:
        """Count an answer that could not be completed."""
        self._truncated.inc(backend, reason)

    def moved(self, backend: str) -> None:
        """Count a request that left the queue of ``backend`` for another one."""
        self._moved.inc(backend)

    def slow_client_reset(self, backend: str) -> None:
        """Count a response that was given up because its client read it too slowly."""
        self._slow_clients.inc(backend)

    def affinity_hit(self, kind: str) -> None:
        """Count a request that affinity placed."""
        self._hits.inc(kind)

    def config_read(self, *, applied: bool, at: float) -> None:
        """Take note that the configuration was read, and whether it is in force now."""
        self._reload_succeeded.set(int(applied))
        if applied:
            self._reload_succeeded_at.set(at)

    def watch(self, present: Collector) -> None:
        """
        Add what is computed at scrape time, and the process' own metrics. Call it once, when the program is assembled.

        :param present: computes what is not counted, such as `mpp.admin.gauges.GaugeCollector`.
        """
        self.add(present)
        for registry in (self.registry, self._others):
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)
            GCCollector(registry=registry)

    def add(self, collector: Collector) -> None:
        """Have the page show what is counted elsewhere, too."""
        self.registry.register(collector)
        self._others.register(collector)

    def exposition(self) -> bytes:
        """Give the page in the text format 0.0.4, which every Prometheus reads."""
        return b"".join(tally.page() for tally in self._tallies) + generate_latest(self._others)
