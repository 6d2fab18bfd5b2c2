"""
The responses of a simulated Prometheus by path, with the differences between versions.

They were recorded from real servers (2.42.0, 3.5.3); for 1.8.2 they follow its source code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from tests.simulated import queries
from tests.simulated.messages import (
    EXPOSITION,
    HTML,
    JSON,
    TEXT,
    Headers,
    Request,
    SimulatedResponse,
    api_data,
    api_error,
    compact,
    text,
)

if TYPE_CHECKING:
    from tests.simulated.prometheus import SimulatedPrometheus

DAY = 24 * 3600.0
PIECE = b"# a line of filler that stands for a sample, 64 bytes of it....\n" * 256
"""The text that ``/big`` repeats, 16 KiB."""
NO_DATA_MS = 9.223372036854776e18
"""The value of time gauges of an empty TSDB (MaxInt64 milliseconds)."""


def not_ready(sim: SimulatedPrometheus) -> SimulatedResponse:
    """Return the response of a server that is starting or stopping."""
    stopping: Headers = ()
    if sim.release >= (3, 0):
        stopping = ((b"X-Prometheus-Stopping", b"true" if sim.stopping else b"false"),)
    return SimulatedResponse(HTTPStatus.SERVICE_UNAVAILABLE, TEXT, b"Service Unavailable", stopping)


def _ready(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    if not sim.ready:
        return not_ready(sim)
    if request.method == "HEAD":
        return SimulatedResponse(200, "")
    if sim.release < (2, 40):
        return SimulatedResponse(200, TEXT, b"Prometheus is Ready.\n")
    return SimulatedResponse(200, TEXT, b"Prometheus Server is Ready.\n")


def _healthy(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    return SimulatedResponse(
        200, TEXT, b"Prometheus Server is Healthy.\n" if sim.release >= (2, 40) else b"Prometheus is Healthy.\n"
    )


def _starved(sim: SimulatedPrometheus, asked: Mapping[str, list[str]]) -> SimulatedResponse:
    """Return the response to a query that timed out in the queue, see ``promql/engine.go`` of each version."""
    waits = min(queries.duration(asked.get("timeout", ["2m"])[0]), 120.0)
    if sim.release >= (2, 46):
        answer = api_error(400, "bad_data", 'invalid parameter "query": context deadline exceeded')
    else:
        answer = api_error(503, "timeout", "query timed out in query queue")
    return evolve(answer, delay=waits)


def _query(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    asked = request.parameters
    if sim.busy:
        return _starved(sim, asked)
    ranged = request.path.endswith("/query_range")
    try:
        data = (queries.ranged if ranged else queries.instant)(asked, sim.targets, sim.covers, sim.now())
    except queries.BadQuery as error:
        return api_error(400, "bad_data", str(error))
    return evolve(api_data(data), delay=sim.query_takes)


def _series(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    if not request.parameters.get("match[]"):
        return api_error(400, "bad_data", "no match[] parameter provided")
    return api_data([] if sim.oldest is None else [{"__name__": "up", **labels} for labels in queries.identities(sim.targets)])


def _labels(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    return api_data([] if sim.oldest is None else ["__name__", "instance", "job"])


def _label_values(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    name = request.path.split("/")[-2]
    known = {"__name__": ["up"], "job": ["prometheus"], "instance": sorted(sim.targets)}
    return api_data([] if sim.oldest is None else known.get(name, []))


def _build(sim: SimulatedPrometheus) -> dict[str, str]:
    return {"version": sim.version, "revision": "simulated", "branch": "HEAD", "goVersion": "go1.0"}


def _buildinfo(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    return api_data(_build(sim))


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _runtimeinfo(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    known: dict[str, Any] = {"startTime": _moment(sim.started_at), "CWD": "/", "reloadConfigSuccess": sim.reload_ok}
    known["corruptionCount"] = 0
    if sim.release >= (3, 0):
        known["serverTime"] = _moment(sim.now() + sim.ahead)
    return api_data({**known, "storageRetention": _days(sim.retention)})


def _flags(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    return api_data(
        {
            "config.file": f"/etc/{sim.name}.yml",
            "query.max-concurrency": "20",
            "query.timeout": "2m",
            **sim.flags,
            "storage.tsdb.retention.size": "0B",
            "storage.tsdb.retention.time": _days(sim.retention),
            "web.route-prefix": sim.prefix or "/",
        }
    )


def _days(seconds: float) -> str:
    return f"{round(seconds / DAY)}d" if seconds >= DAY else f"{round(seconds)}s"


def _walreplay(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    return api_data({"min": 0, "max": 10, "current": 10 if sim.ready else sim.replayed})


def _config(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    external = f"global:\n  scrape_interval: 15s\n  external_labels:\n    prometheus_replica: {sim.name}\n"
    return api_data({"yaml": external + sim.config})


def _metrics(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    """Return the metrics about stored data and uptime, with the names of the simulated version."""
    lines = [f'prometheus_build_info{{version="{sim.version}",revision="simulated"}} 1']
    lines += [f"process_start_time_seconds {sim.started_at!r}"]
    lines.append(f"prometheus_config_last_reload_success_timestamp_seconds {sim.config_at!r}")
    lines.append(f"prometheus_config_last_reload_successful {int(sim.reload_ok)}")
    if sim.release >= (2, 14):
        lines.append(f'prometheus_target_scrape_pool_targets{{scrape_job="prometheus"}} {len(sim.targets)}')
    release, oldest_ms = sim.release, NO_DATA_MS if sim.oldest is None else sim.oldest * 1000
    newest = -NO_DATA_MS / 1000 if sim.oldest is None else sim.now()
    if release < (2, 0):
        lines.append(f"prometheus_local_storage_ingested_samples_total {sim.samples!r}")
    elif release < (2, 40):
        lines.append(f"prometheus_tsdb_head_samples_appended_total {sim.samples!r}")
    else:
        lines.append(f'prometheus_tsdb_head_samples_appended_total{{type="float"}} {sim.samples!r}')
        lines.append('prometheus_tsdb_head_samples_appended_total{type="histogram"} 0')
    if release >= (2, 5):
        lines.append(f"prometheus_tsdb_lowest_timestamp {oldest_ms if sim.ready else NO_DATA_MS!r}")
    if release >= (2, 6) and sim.ready:
        lines.append(f"prometheus_tsdb_lowest_timestamp_seconds {oldest_ms / 1000!r}")
    if release >= (2, 8) and sim.ready:
        lines.append(f"prometheus_tsdb_head_max_time_seconds {newest!r}")
        lines.append("prometheus_tsdb_retention_limit_bytes 0")
    if release >= (2, 36):
        lines.append(f"prometheus_ready {int(sim.ready)}")
    if release >= (3, 0):
        lines.append(f"prometheus_tsdb_retention_limit_seconds {sim.retention!r}")
    return SimulatedResponse(200, EXPOSITION, ("\n".join(lines) + "\n").encode(), delay=sim.metrics_take)


def _federate(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    lines = ["# TYPE up untyped"]
    for labels in queries.identities(sim.targets) if sim.oldest is not None else ():
        inner = ",".join(f'{name}="{value}"' for name, value in {**labels, "prometheus_replica": sim.name}.items())
        lines.append(f"up{{{inner}}} 1 {int(sim.now() * 1000)}")
    return SimulatedResponse(200, EXPOSITION, ("\n".join(lines) + "\n").encode())


def _read(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    return text(400, "snappy: corrupt input")


def _live(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    event = compact({"text": f"{sim.name} is here", "date": _moment(sim.now()), "active": True})
    return SimulatedResponse(200, "text/event-stream", b"data: " + event + b"\n\n", ((b"Cache-Control", b"no-cache"),), live=True)


def _graph(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    page = f"<!DOCTYPE html><title>Simulated Prometheus</title><h1>Simulated Prometheus {sim.version} ({sim.name})</h1>\n"
    return SimulatedResponse(200, HTML, page.encode())


def _root(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    return SimulatedResponse(302, HTML, b'<a href="/graph">Found</a>.\n\n', ((b"Location", (sim.prefix + "/graph").encode()),))


def _lifecycle(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    return SimulatedResponse(403, TEXT, b"Lifecycle API is not enabled.")


def _big(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    asked = request.parameters
    length = int(asked.get("bytes", ["1000000"])[0])
    return SimulatedResponse(200, EXPOSITION, pieces=lambda: _filler(length), length=None if "chunked" in asked else length)


def _filler(length: int) -> Iterator[bytes]:
    while length >= len(PIECE):
        length -= len(PIECE)
        yield PIECE
    if length:
        yield PIECE[:length]


def _echo(sim: SimulatedPrometheus, request: Request) -> SimulatedResponse:
    """Return the received request as JSON, so that a test can see what a proxy changed."""
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers]
    target, body = request.target.decode("latin-1"), request.body.decode("latin-1")
    return SimulatedResponse(200, JSON, compact({"method": request.method, "target": target, "headers": headers, "body": body}))


@frozen
class SimulatedPage:
    """A path of the server: its responder, its methods, its first release, and whether it needs a ready server (``gated``)."""

    answer: Callable[[SimulatedPrometheus, Request], SimulatedResponse]
    methods: tuple[str, ...] = ("GET", "OPTIONS")
    since: tuple[int, int] = (1, 0)
    gated: bool = True


READ = ("GET", "OPTIONS", "POST")
PROBE = ("GET", "HEAD", "OPTIONS")
ANY = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE")
PAGES: dict[str, SimulatedPage] = {
    "/": SimulatedPage(_root, ANY, gated=False),
    "/graph": SimulatedPage(_graph, gated=False),
    "/metrics": SimulatedPage(_metrics, gated=False),
    "/federate": SimulatedPage(_federate),
    "/-/ready": SimulatedPage(_ready, PROBE, (2, 0), gated=False),
    "/-/healthy": SimulatedPage(_healthy, PROBE, (2, 0), gated=False),
    "/-/reload": SimulatedPage(_lifecycle, ("POST", "PUT"), gated=False),
    "/-/quit": SimulatedPage(_lifecycle, ("POST", "PUT"), gated=False),
    "/api/v1/query": SimulatedPage(_query, READ),
    "/api/v1/query_range": SimulatedPage(_query, READ),
    "/api/v1/series": SimulatedPage(_series, READ),
    "/api/v1/labels": SimulatedPage(_labels, READ, (2, 6)),
    "/api/v1/label/*/values": SimulatedPage(_label_values),
    "/api/v1/read": SimulatedPage(_read, ("OPTIONS", "POST")),
    "/api/v1/status/buildinfo": SimulatedPage(_buildinfo, since=(2, 14)),
    "/api/v1/status/runtimeinfo": SimulatedPage(_runtimeinfo, since=(2, 14)),
    "/api/v1/status/config": SimulatedPage(_config, since=(2, 0)),
    "/api/v1/status/flags": SimulatedPage(_flags, since=(2, 2)),
    "/api/v1/status/walreplay": SimulatedPage(_walreplay, since=(2, 28), gated=False),
    "/api/v1/notifications/live": SimulatedPage(_live, since=(3, 0), gated=False),
    "/big": SimulatedPage(_big, ANY, gated=False),
    "/echo": SimulatedPage(_echo, ANY, gated=False),
}
