"""
Describes shared and cached responses for the status page, as text and as JSON values. Pure; knows no HTML.
"""

from __future__ import annotations

from typing import Any

from attrs import Factory, frozen

from mpp.cache.store import EMPTY, CacheState
from mpp.core.metrics.cache_use import CacheTraffic, CacheUse
from mpp.core.settings import Settings
from mpp.core.text.durations import duration
from mpp.core.text.humanize import quantity, share, size
from mpp.coverage.freshness import Freshness

WARN = "warn"


@frozen
class CacheView:
    """
    The data about shared and cached responses.

    :ivar state: how full the caches of all processes are.
    """

    state: CacheState = EMPTY
    traffic: CacheTraffic = Factory(CacheTraffic)
    freshness: Freshness = Factory(lambda: Freshness(0.0))


@frozen
class Row:
    """
    A line of the page.

    :ivar level: ``warn``, or empty.
    """

    name: str
    text: str
    level: str = ""


def rows(view: CacheView, settings: Settings) -> list[Row]:
    """Return the lines of the page."""
    shared = (
        [] if settings.no_single_flight else [Row("Shared responses", f"{_requests(view.traffic.total.shared)} since the start")]
    )
    if not settings.cache_memory:
        return [Row("Cache", "off"), *shared]
    state, total, seconds = view.state, view.traffic.total, view.traffic.seconds
    recent, lately = (view.traffic.recent, f"in the last {duration(seconds)}") if seconds else (total, "since the start")
    return [
        Row("Hit ratio", _hit_ratio(recent, lately)),
        Row("Steps from the cache", "-" if recent.step_ratio is None else share(recent.step_ratio)),
        Row("Server time saved", _saved(total, recent, lately)),
        Row("Memory", f"{size(state.used_bytes)} of {size(state.limit_bytes)}, {quantity(state.entries, 'entry', 'entries')}"),
        _freshness(view.freshness),
        *shared,
    ]


def _hit_ratio(recent: CacheUse, lately: str) -> str:
    if recent.hit_ratio is None:
        return f"no range query {lately}"
    queries = quantity(recent.requests, "range query", "range queries")
    return f"{share(recent.hit_ratio)} of {queries} {lately}, and {share(recent.partial / recent.requests)} in part"


def _saved(total: CacheUse, recent: CacheUse, lately: str) -> str:
    if not total.saved_s:
        return "not known: no long query was measured" if total.cached_steps else "none"
    return f"{duration(total.saved_s)} since the start, {_saved_lately(recent)} {lately}"


def _saved_lately(recent: CacheUse) -> str:
    if not recent.saved_s:
        return "not known" if recent.cached_steps else "none"
    return duration(recent.saved_s)


def _freshness(freshness: Freshness) -> Row:
    text = duration(freshness.seconds)
    if freshness.server:
        behind = f", and its clock is {duration(freshness.behind)} behind" if freshness.behind >= 1 else ""
        job = f"; the slowest job that counts is {freshness.job}" if freshness.job else ""
        text += f", from the configuration of {freshness.server}{behind}{job}"
    if freshness.is_long:
        return Row(
            "Freshness", f"{text}. Steps that read newer samples are not cached: for most dashboards that is too long", WARN
        )
    return Row("Freshness", f"{text}; steps that read newer samples are not cached")


def _requests(count: float) -> str:
    return quantity(count, "request")


def document(view: CacheView, settings: Settings) -> dict[str, Any]:
    """Return the data as JSON values; values of a cache that is off are 0 or null."""
    state, total, recent, freshness = view.state, view.traffic.total, view.traffic.recent, view.freshness
    return {
        "enabled": settings.cache_memory > 0,
        "entries": state.entries,
        "bytes": state.used_bytes,
        "limit_bytes": state.limit_bytes,
        "freshness_seconds": freshness.seconds,
        "freshness_job": freshness.job or None,
        "freshness_server": freshness.server or None,
        "requests": {"hit": total.hits, "partial": total.partial, "miss": total.misses, "bypass": total.bypassed},
        "hit_ratio": total.hit_ratio,
        "steps": {"cache": total.cached_steps, "server": total.asked_steps},
        "saved_seconds": total.saved_s,
        "shared_requests": total.shared,
        "recent": {
            "seconds": view.traffic.seconds,
            "requests": recent.requests,
            "hit_ratio": recent.hit_ratio,
            "saved_seconds": recent.saved_s,
        },
    }
