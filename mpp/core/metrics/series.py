"""
Decides which series of counters exist before they are incremented, and for how long. Pure; knows no counts.

The series of a backend begin at 0 as soon as the backend is known, and stay for some time after it has been removed.

# Note [Series begin at 0]

``increase()`` and ``rate()`` compare samples. A series that appears with its first event therefore hides this event: there is no
sample at 0 before it. See "Avoid missing metrics" in Prometheus' guide to instrumentation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from mpp.core.errors import Cause
from mpp.core.model import Standing
from mpp.core.prometheus.outcomes import Retry
from mpp.core.prometheus.responses import LIMITED, REFUSED, RULES

KEPT_INTERVALS = 30
"""
How many selection intervals the series of a removed backend stay: 5 minutes by default, as long as Prometheus looks back for a
sample. A backend that returns earlier, such as a pod that was rescheduled, continues its counts.
"""

_BROKEN_OFF = tuple(cause.value for cause in (Cause.TIMEOUT, Cause.TLS, Cause.RESET, Cause.CLOSED, Cause.GARBLED))
_JUDGED = {outcome.reason for outcome in (*(rule.outcome for rule in RULES), LIMITED, REFUSED) if outcome.retry is not Retry.NO}
_FAILED = {cause.value for cause in Cause} | {f"truncated_{cause}" for cause in _BROKEN_OFF}
_UNWELL = tuple(standing.name.lower() for standing in Standing if standing is not Standing.VIABLE)

Values = tuple[object, ...]

OF_EACH_BACKEND: Mapping[str, tuple[Values, ...]] = {
    "mpp_requests": ((200,), (500,), (502,), (503,), (504,)),
    "mpp_retries": tuple((reason,) for reason in sorted(_JUDGED | _FAILED)),
    "mpp_truncated_responses": tuple((reason,) for reason in _BROKEN_OFF),
    "mpp_hedges": (("slow",), ("stuck",)),
    "mpp_suspicion_probes": (("alive",), ("stuck",)),
    "mpp_probe_errors": tuple((standing,) for standing in _UNWELL),
    "mpp_coverage_surveys": (("ok",), ("failed",)),
    "mpp_ejections": (("failures",), ("not_ready",), ("down",)),
    "mpp_slow_clients_reset": ((),),
    "mpp_moved_requests": ((),),
    "mpp_query_of_death_suspects": ((),),
    "mpp_storage_errors": ((),),
    "mpp_readmissions": ((),),
}
"""The label values of the series that each backend has from the start, without the backend's name, by the counter's name."""

OF_THE_PROGRAM: Mapping[str, tuple[Values, ...]] = {
    # The error responses that mpp itself makes.
    "mpp_requests": (("mpp", 500), ("mpp", 502), ("mpp", 503), ("mpp", 504)),
    "mpp_retry_budget_exhausted": (("retry",), ("hedge",)),
    "mpp_query_of_death_refusals": ((),),
    "mpp_shared_requests": ((),),
    "mpp_cache_requests": (("hit",), ("partial",), ("miss",), ("bypass",)),
    "mpp_cache_steps": (("cache",), ("server",)),
    "mpp_cache_saved_seconds": ((),),
    "mpp_cache_evictions": ((),),
    "mpp_selection_events": ((),),
    "mpp_selection_rounds": (("ok",), ("failed",)),
}
"""The label values of the other series that exist from the start of mpp, by the counter's name."""


def gone_since(gone: Mapping[str, float], counted: Iterable[str], known: Collection[str], now: float) -> dict[str, float]:
    """
    Return the names that have series but are not in use, each with the time since when it is not in use.

    :param gone: the previous result of this function.
    :param counted: the names that have series.
    :param known: the names that are in use now.
    :param now: seconds, monotonic.
    """
    return {name: gone.get(name, now) for name in counted if name not in known}


def expired(gone: Mapping[str, float], now: float, interval: float) -> list[str]:
    """
    Return the names whose series have to be removed now.

    :param gone: the result of `gone_since`.
    :param interval: ``--selection-interval``, in seconds.
    """
    return [name for name, since in gone.items() if now - since >= KEPT_INTERVALS * interval]
