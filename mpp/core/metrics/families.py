"""
The names, HELP texts and labels of the counters and histograms. The values are in `mpp.core.metrics.registry`.
"""

from __future__ import annotations

from collections.abc import Mapping

# From a cached response on loopback to a heavy query that reaches Prometheus' default timeout of 2 minutes.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

COUNTERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "mpp_requests": ("Client requests, by the backend that responded and the status code.", ("backend", "code")),
    "mpp_affinity_hits": ("Client requests whose backend was chosen by an affinity.", ("type",)),
    "mpp_retries": ("Failed attempts that were followed by another one, by the backend that failed.", ("backend", "reason")),
    "mpp_truncated_responses": ("Responses that broke off after their first byte had been sent.", ("backend", "reason")),
    "mpp_slow_clients_reset": (
        "Responses that were aborted because their clients read them too slowly while other requests waited.",
        ("backend",),
    ),
    "mpp_moved_requests": ("Requests that waited for a slot on a backend and were sent to another one instead.", ("backend",)),
    "mpp_rerouted_requests": (
        "Requests sent to another backend because this one lacks data that they read and the other one has.",
        ("backend",),
    ),
    "mpp_joined_responses": ("Responses to range queries that were joined from the responses of several backends.", ()),
    "mpp_incomplete_requests": (
        "Requests that get a warning: data is missing on all backends, or the query cannot be divided.",
        (),
    ),
    "mpp_shared_requests": ("Client requests that got the response to an identical request of another client.", ()),
    "mpp_cache_requests": ("Range queries, by how the cache was used: hit, partial, miss or bypass.", ("result",)),
    "mpp_cache_steps": ("Steps of responses to range queries, by where they come from: cache or server.", ("source",)),
    "mpp_cache_saved_seconds": ("Time that backends would have taken for the steps from the cache, as estimated.", ()),
    "mpp_cache_evictions": ("Entries removed from the cache because they were too large, or for others.", ()),
    "mpp_hedges": ("Attempts made in parallel to an attempt on a backend that took too long.", ("backend", "reason")),
    "mpp_suspicion_probes": ("Liveness checks of backends that stalled, by result.", ("backend", "result")),
    "mpp_retry_budget_exhausted": ("Retries and hedges that were skipped because the retry budget was exhausted.", ("reason",)),
    "mpp_query_of_death_suspects": (
        "Reads that a server broke off after it had run them for longer than --crash-suspect.",
        ("backend",),
    ),
    "mpp_query_of_death_refusals": (
        "Reads answered 502 because they may have crashed a server and only one healthy server is left.",
        (),
    ),
    "mpp_selection_events": ("Changes of the selection.", ()),
    "mpp_selection_rounds": ("Selection rounds, by result.", ("result",)),
    "mpp_discovery_errors": ("Failed look-ups of a locator.", ("locator",)),
    "mpp_probe_errors": ("Probes that found a backend not viable, by its standing.", ("backend", "standing")),
    "mpp_coverage_surveys": ("Surveys of the newest data of a backend, by result.", ("backend", "result")),
    "mpp_ejections": ("Ejections of backends from service, by reason.", ("backend", "reason")),
    "mpp_storage_errors": ("Responses in which a backend reported that it cannot read its own storage.", ("backend",)),
    "mpp_readmissions": ("Returns of ejected backends into service.", ("backend",)),
}
"""The counters by name: the HELP text and the labels."""

HISTOGRAMS: Mapping[str, tuple[str, str | None]] = {
    "mpp_upstream_duration_seconds": (
        "Time from sending a request to a backend until its response is complete or the response buffer is full.",
        "backend",
    ),
    "mpp_coverage_survey_duration_seconds": ("Duration of surveys of the newest data of a backend.", "backend"),
    "mpp_request_duration_seconds": ("Time from the complete request to the last byte of its response.", None),
    "mpp_selection_round_duration_seconds": ("Duration of selection rounds, including discovery.", None),
}
"""The histograms by name: the HELP text and the label."""
