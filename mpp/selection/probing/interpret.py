"""
The interpretation of Prometheus' responses to probes. Pure: from statuses and bodies to standings and server states.

The names of each version were read in the sources of 1.8 to 3.x; every branch here has a recorded response among the tests.
"""

from __future__ import annotations

from attrs import evolve

from mpp.core.errors import Cause, UpstreamError
from mpp.core.facts import ServerState
from mpp.core.http.instance import Instance
from mpp.core.model import Standing
from mpp.core.prometheus.responses import is_foreign_503
from mpp.core.prometheus.runtimeinfo import ProbeOutcome, ProbeResponse, RuntimeInfo, data_of, parse_object, quote
from mpp.core.text import bounds
from mpp.core.text.bounds import point_in_time
from mpp.selection.probing.config_jobs import MAX_JOBS, MAX_NAME
from mpp.selection.probing.metrics_scanner import Samples, label

METRICS = (
    "prometheus_build_info",
    "process_start_time_seconds",
    "prometheus_local_storage_ingested_samples_total",  # 1.x only
    "prometheus_tsdb_lowest_timestamp",  # ms, from 2.5 on
    "prometheus_tsdb_lowest_timestamp_seconds",  # from 2.6 on; absent while the WAL is replayed
    "prometheus_tsdb_head_max_time",  # ms, from 2.0 on
    "prometheus_tsdb_head_max_time_seconds",  # from 2.8 on
    "prometheus_config_last_reload_successful",
    "prometheus_config_last_reload_success_timestamp_seconds",
    "prometheus_target_scrape_pool_targets",  # by job; younger than the next one
    "prometheus_sd_discovered_targets",  # by job, before relabeling; name="scrape" is for targets
)
"""The metrics that are read from a server's ``/metrics`` page."""


IN_USE = "all connections that it accepts are in use by mpp"
"""The published reason why a server was not probed although it may be healthy."""


IS_SELF = "this mpp itself responds there, so it is never used"
"""
The published reason why a backend is not used whose address leads back to this mpp; see Note [Instance] in
`mpp.core.http.instance`.
"""


def has_come_back(outcome: ProbeOutcome, own: Instance) -> bool:
    """Return whether a request came back to the mpp that sent it."""
    return not isinstance(outcome, UpstreamError) and outcome.status == 508 and own.is_in((outcome.body,))


def judge(ready: ProbeOutcome, query: ProbeOutcome, status: ProbeOutcome | None = None) -> tuple[Standing, str]:
    """
    Return the state of a backend (viable, busy, not ready or down), and the reason in one line (empty for viable).

    :param ready: outcome of ``GET /-/ready``.
    :param query: outcome of a real and cheap query.
    :param status: outcome of a third request, which counts only if a rate limiter rejects ``/-/ready``: with a response of
        status 200 the server is busy, not down.
    """
    if isinstance(ready, UpstreamError):
        if was_not_asked(ready):
            why = IN_USE if ready.cause is Cause.FULL else f"not probed, because mpp itself lacks a resource: {ready}"
            return Standing.BUSY, why
        return Standing.DOWN, f"no response to /-/ready: {ready}"
    if _turned_away(ready) and (ready.status == 429 or _answered(query) or _answered(status)):
        return Standing.BUSY, f"responds, but something in front of it turns /-/ready away ({quote(ready)})"
    # 1.x has no /-/ready: the query decides.
    if ready.status not in (200, 404):
        return Standing.NOT_READY, _unready(ready)
    if isinstance(query, UpstreamError):
        if query.cause is Cause.TIMEOUT or was_not_asked(query):
            return Standing.BUSY, f"ready, but no response to a query: {query}"
        return Standing.DOWN, f"query failed: {query}"
    return _judge_query(query, ready)


def is_turned_away(ready: ProbeOutcome, query: ProbeOutcome) -> bool:
    """Return whether a limiter or gateway in front of a backend may have rejected the request that decides about the probe."""
    if isinstance(ready, UpstreamError) or ready.status not in (200, 404):
        return _turned_away(ready)
    return _turned_away(query)


def _turned_away(outcome: ProbeOutcome) -> bool:
    """Return whether a response is a limiter's, or may be one: 429, or a 503 that is not Prometheus' own."""
    if isinstance(outcome, UpstreamError):
        return False
    return outcome.status == 429 or is_foreign_503(outcome.status, outcome.headers, outcome.body)


def _answered(outcome: ProbeOutcome | None) -> bool:
    return isinstance(outcome, ProbeResponse) and outcome.status == 200


def is_refusal(ready: ProbeOutcome, query: ProbeOutcome) -> bool:
    """
    Return whether a server is probably running although its probe was rejected, so that `judge` finds it not ready.

    That is so if the response that makes it not ready is no server error: a 401, 403 or 404, or a redirect to a login page. A 5xx
    of a gateway, or Prometheus' own 503, shows that it is not running, or must not be used.
    """
    if isinstance(ready, UpstreamError):
        return False
    refused = query if ready.status in (200, 404) else ready
    return not isinstance(refused, UpstreamError) and refused.status < 500


def was_not_asked(outcome: ProbeOutcome) -> bool:
    """
    Return whether a request was not sent because of mpp itself: it uses all connections that the server accepts, or it lacks
    descriptors or the like.
    """
    return isinstance(outcome, UpstreamError) and outcome.cause in (Cause.FULL, Cause.LOCAL)


def is_kept(before: Standing, found: Standing, ready: ProbeOutcome, query: ProbeOutcome) -> bool:
    """
    Return whether the state of a backend before a probe remains, because the probe could not be sent.

    A backend that accepts no further connection from mpp is busy, if not worse. A shortage of mpp itself says nothing about a
    backend, so that it must not lose its place to another one for which a connection was still open.

    :param found: the result of `judge`.
    """
    if was_not_asked(ready) and before > found:
        return True
    decisive = query if isinstance(ready, ProbeResponse) and ready.status in (200, 404) else ready
    return before is Standing.VIABLE and isinstance(decisive, UpstreamError) and decisive.cause is Cause.LOCAL


def _unready(ready: ProbeResponse) -> str:
    if ready.status == 503:
        stopping = (b"x-prometheus-stopping", b"true") in {(name.lower(), value.lower()) for name, value in ready.headers}
        return "shutting down" if stopping else f"not ready ({quote(ready)})"
    return f"/-/ready responded {quote(ready)}"


def _judge_query(query: ProbeResponse, ready: ProbeResponse) -> tuple[Standing, str]:
    answer = parse_object(query.body)
    if query.status == 200 and answer.get("status") == "success":
        return Standing.VIABLE, ""
    if is_foreign_503(query.status, query.headers, query.body) and ready.status == 200:
        return Standing.BUSY, f"ready, but something in front of it turns queries away ({quote(query)})"
    if _is_starved(query):
        return Standing.BUSY, f"ready, but its query slots are taken ({quote(query)})"
    if is_unproven(ready, query):
        why = f"ready, but nothing more is known: it rejects the probe's query ({quote(query)}); see --probe-params"
        return Standing.BUSY, why
    if query.status == 404:
        return Standing.NOT_READY, "responds to queries with 404: no Prometheus, or its path prefix is missing from the endpoint"
    return Standing.NOT_READY, f"no valid response to a query ({quote(query)})"


def is_unproven(ready: ProbeOutcome, query: ProbeOutcome) -> bool:
    """
    Return whether a server is ready, but something in front of it rejects the probe's query, so that its queries are not checked.

    No Prometheus rejects that query. A 400 or 403 is from something in front of it that lets other requests through: a proxy that
    requires a parameter in each, or one that allows certain queries only.
    """
    if isinstance(ready, UpstreamError) or isinstance(query, UpstreamError) or ready.status != 200:
        return False
    return query.status in (400, 403) and not _is_starved(query)


def _is_starved(query: ProbeResponse) -> bool:
    answer = parse_object(query.body)
    return _starved(query.status, answer.get("errorType"), str(answer.get("error", "")))


def _starved(status: int, error_type: object, error: str) -> bool:
    """Return whether a query did not start for lack of a slot; source: prometheus/prometheus ``promql/engine.go``."""
    if status == 503:
        # Up to 2.45 "query timed out in query queue"; the probe's query is too cheap to time out in its evaluation.
        return error_type == "timeout"
    if status == 400:
        # From 2.46 on: NewInstantQuery waits for a slot before it parses, and the wait's error is wrapped as bad data.
        return error_type == "bad_data" and error.endswith("context deadline exceeded")
    if status == 422:
        # From 2.46 on: the second wait, inside exec, gives the raw error of the context.
        return error_type == "execution" and error == "context deadline exceeded"
    # A limiter in front of Prometheus.
    return status == 429


def read_facts(samples: Samples, runtime: RuntimeInfo | None, old: ServerState, now: float) -> ServerState:
    """
    Return the server state from a complete ``/metrics`` page.

    :param runtime: runtime information of the server; None keeps the known retention.
    :param old: the known state.
    """
    started_at = point_in_time(_value(samples, "process_start_time_seconds"))
    server_state = ServerState(
        version=_version(samples),
        # Prefer the source that later rounds use, because a restart is noticed by comparing.
        started_at=runtime.started_at if runtime and runtime.started_at is not None else started_at,
        oldest=_either(samples, "prometheus_tsdb_lowest_timestamp_seconds", "prometheus_tsdb_lowest_timestamp"),
        newest=_either(samples, "prometheus_tsdb_head_max_time_seconds", "prometheus_tsdb_head_max_time"),
        samples=bounds.quantity(_value(samples, "prometheus_local_storage_ingested_samples_total")),
        retention_s=old.retention_s,
        retention_by_size=old.retention_by_size,
        read_at=now,
        targets=_targets(samples),
        pools=_pools(samples),
        config_at=point_in_time(_value(samples, "prometheus_config_last_reload_success_timestamp_seconds")),
        reload_ok=_truth(_value(samples, "prometheus_config_last_reload_successful")),
    )
    if runtime is None:
        return server_state
    return evolve(server_state, retention_s=runtime.retention_s, retention_by_size=runtime.retention_by_size, skew=runtime.skew)


def _targets(samples: Samples) -> int | None:
    """Return the number of scraped targets, or else of discovered ones; None if neither is known."""
    found = samples.get("prometheus_target_scrape_pool_targets")
    if found is None:
        discovered = samples.get("prometheus_sd_discovered_targets", [])
        found = [sample for sample in discovered if label(sample[0], "name") in ("scrape", "")]
    total = bounds.quantity(sum(value for _, value in found)) if found else None
    return None if total is None else int(total)


def has_no_jobs(samples: Samples, server_state: ServerState) -> bool:
    """
    Return whether a server scrapes nothing, because its configuration has no job.

    Such a server still reports discovered targets of the jobs in its previous configuration, so their number would mislead.
    """
    return bool(server_state.config_hash) and not server_state.jobs and "prometheus_target_scrape_pool_targets" not in samples


def _pools(samples: Samples) -> tuple[tuple[str, int], ...]:
    """Return the number of discovered targets per scrape job, for `MAX_JOBS` jobs at most."""
    found = samples.get("prometheus_target_scrape_pool_targets", [])
    named = ((label(labels, "scrape_job"), bounds.quantity(value)) for labels, value in found[:MAX_JOBS])
    return tuple(sorted((name, int(value)) for name, value in named if 0 < len(name) <= MAX_NAME and value is not None))


def _truth(value: float | None) -> bool | None:
    return None if value is None else value == 1


def _version(samples: Samples) -> str:
    found = samples.get("prometheus_build_info", [])
    return bounds.version(label(found[0][0], "version")) if found else ""


def _value(samples: Samples, name: str) -> float | None:
    found = samples.get(name)
    return found[0][1] if found else None


def _either(samples: Samples, seconds: str, milliseconds: str) -> float | None:
    value = _value(samples, seconds)
    if value is not None:
        return point_in_time(value)
    value = _value(samples, milliseconds)
    return None if value is None else point_in_time(value / 1000)


def has_samples(outcome: ProbeOutcome) -> bool:
    """Return whether the result of an instant query is not empty."""
    return bool((data_of(outcome) or {}).get("result"))
