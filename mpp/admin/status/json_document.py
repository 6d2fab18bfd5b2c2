"""
Renders the status page as JSON. Pure.

docs/reference/status-page.rst documents every key. If the meaning of a key changes, or it is removed, the number in ``schema``
changes, too.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import asdict

from mpp._version import __version__
from mpp.admin.cache.view import document as cache_document
from mpp.admin.status import report as reports
from mpp.admin.status.data import StatusView
from mpp.admin.status.history import history, missing_on_all
from mpp.admin.status.report import BackendReport
from mpp.core.facts import Replay
from mpp.coverage.drift import Difference
from mpp.security.web_config.protection import ListenerSecurity
from mpp.selection.recent import RecentTraffic, TrafficSpan

SCHEMA = 1


def render(view: StatusView) -> bytes:
    """Render the status page as JSON, ASCII."""
    # allow_nan: NaN and infinities are no JSON numbers; one here is a bug, and raises an error.
    return json.dumps(document(view), indent=2, allow_nan=False).encode() + b"\n"


def document(view: StatusView) -> dict[str, Any]:
    """Return the data of the status page as JSON values. Times are in seconds since the epoch; unknown values are null."""
    report, selection, settings = reports.make(view), view.selection, view.settings
    return {
        "schema": SCHEMA,
        "now": view.now,
        "mpp": {
            "version": __version__,
            "host": view.identity.host or None,
            "pid": view.identity.pid or None,
            "listening": list(view.identity.listening),
            "started_at": view.started_at,
            "routing_strategy": settings.routing_strategy,
            "affinity": list(settings.affinity_options),
            "selection_interval_seconds": settings.selection_interval,
            "own_errors": _recent_of(view, "mpp").errors,
            "workers": {"running": view.workers, "configured": settings.workers},
        },
        "listener": _listener(view.security),
        "verdict": {"level": report.level, "text": report.verdict},
        "selection": {
            "generation": selection.generation,
            "changed_at": selection.changed_at or None,
            "selected": [backend.name for backend in selection.selected],
            "standbys": [backend.name for backend in selection.choice.standbys],
            "degraded": selection.choice.degraded,
            "last_resort": selection.last_resort,
        },
        "backends": [{**_backend(each, view.now), **history(view, each.backend)} for each in report.backends],
        "missing_on_all": missing_on_all(view),
        "drift": [_difference(each) for each in report.drift],
        "locators": [
            {"name": each.name, "up": each.up, "backends": each.backends, "problem": each.problem} for each in view.locators
        ],
        "cache": cache_document(view.cache, settings),
        "events": [{"at": each.at, "kind": each.kind, "text": each.text} for each in view.events],
    }


def _difference(difference: Difference) -> dict[str, Any]:
    each = difference
    return {"kind": each.kind, "level": each.level, "text": each.text, "values": dict(each.values)}


def _listener(security: ListenerSecurity) -> dict[str, Any]:
    return {
        "protected": security.protected,
        "tls": security.tls,
        "tls_min_version": security.tls_minimum or None,
        "client_certificates": security.certificates,
        "passwords": security.users > 0,
        "rate_limit": security.rate_limit,
        "problem": security.problem or None,
    }


def _recent_of(view: StatusView, name: str) -> RecentTraffic:
    return view.recent.get(name, RecentTraffic())


def _backend(each: BackendReport, now: float) -> dict[str, Any]:
    observation, server_state = each.observation, each.observation.facts
    return {
        "name": each.backend.name,
        "url": each.backend.url,
        "role": each.role,
        "level": each.level,
        "why": each.why,
        "standing": observation.standing.name.lower(),
        "is_self": observation.is_self,
        "ejected_at": observation.ejected_at or None,
        "probed_at": observation.at or None,
        "probe_seconds": observation.took,
        "version": server_state.version or None,
        "started_at": server_state.started_at,
        "history_seconds": None if server_state.oldest is None else observation.history(now),
        "missing_seconds": None if server_state.oldest is None else observation.lost(now),
        "retention_seconds": server_state.retention_s,
        "retention_by_size": server_state.retention_by_size,
        "newest_sample_age_seconds": each.age,
        "targets": server_state.targets,
        "lack": None if observation.lack is None else {**asdict(observation.lack), "text": str(observation.lack)},
        "configuration": {
            "hash": server_state.config_hash or None,
            "loaded_at": server_state.config_at,
            "reload_successful": server_state.reload_ok,
        },
        "clock_skew_seconds": server_state.skew,
        "facts_read_at": server_state.read_at or None,
        "facts_current": each.is_current,
        "wal_replay": None if observation.replay is None else _replay(observation.replay, observation.at),
        "active": each.active,
        "queued": each.queued,
        "recent": _recent(each.recent),
    }


def _replay(replay: Replay, now: float) -> dict[str, Any]:
    return {"done": replay.done, "total": replay.total, "share": replay.share, "seconds_left": replay.left(now)}


def _span(span: TrafficSpan) -> dict[str, Any]:
    return {
        "seconds": span.seconds,
        "requests_per_second": span.rate,
        "error_share": span.error_share,
        "retries": span.retries,
        "p50_seconds": span.p50,
        "p99_seconds": span.p99,
    }


def _recent(recent: RecentTraffic) -> dict[str, Any]:
    return {
        "seconds": recent.seconds,
        "requests": recent.requests,
        "errors": recent.errors,
        "retries": recent.retries,
        "requests_per_second": recent.rate,
        "error_share": recent.error_share,
        "p50_seconds": recent.p50,
        "p99_seconds": recent.p99,
        "now": _span(recent.latest),
        "slots": [
            {"seconds": s.seconds, "requests": s.requests, "errors": s.errors, "retries": s.retries, "role": s.state or None}
            for s in recent.slots
        ],
    }
