"""
A simulated Prometheus: its state, which a test can change, and the routing of requests to pages.

This module knows nothing about connections and timers; the pages are in ``pages``.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence

from attrs import define, evolve, field

from tests.simulated import queries
from tests.simulated.messages import HTML, Request, SimulatedResponse, api_error, text
from tests.simulated.pages import DAY, PAGES, not_ready
from tests.simulated.plan import IFault, Plan

NO_MODIFICATION_TIME = 0
"""The time in gzip headers, constant so that the same body always results in the same bytes."""


@define(eq=False)
class SimulatedPrometheus:
    """
    A simulated server with its state, which a test can change, and its responses.

    :ivar now: returns the time in seconds since the epoch.
    :ivar version: ``1.8.2``, ``2.42.0``, ``3.5.0`` or any other: decides paths, metric names and error texts.
    :ivar name: its name as an external label (``prometheus_replica``).
    :ivar prefix: ``--web.route-prefix``, empty or like ``/prometheus``.
    :ivar ready: False while it replays its WAL (``/-/ready`` and the API return 503).
    :ivar stopping: True if a header field says so while it is not ready (from 3.10 on, but harmless earlier).
    :ivar history: the length of the history in seconds at the start; None for an empty server.
    :ivar busy: True if all query slots are in use: queries time out as in that version.
    :ivar query_takes: seconds that each query takes.
    :ivar metrics_take: seconds that ``/metrics`` takes.
    :ivar targets: instances that ``up`` knows.
    :ivar config: its configuration without the external labels; ``config_at``: the time when it was loaded.
    :ivar flags: its command-line flags besides the defaults, such as ``query.lookback-delta``.
    :ivar reload_ok: True if its last attempt to load a configuration succeeded.
    :ivar ahead: seconds by which its clock is ahead of ``now``.
    :ivar replayed: tenths of its WAL that are replayed while it is not ready.
    :ivar asks_for: header fields such as ``X-Scope-OrgID: a``, one of which each request must have (as for a gateway in front of
        it); other requests get the status ``refuses_with``. Empty: none is needed.
    :ivar wants_parameter: the name of a parameter that each request to the API must have (as for prom-label-proxy in front of
        it); other requests get 400. Empty: none is needed.
    :ivar requests: the last ``remembered`` requests, oldest first. ``counts`` has the number of all requests by path.
    :ivar plan: the present fault, or None; set by ``spoil`` and ``mend``.
    """

    now: Callable[[], float]
    version: str = "2.42.0"
    name: str = "a"
    prefix: str = ""
    ready: bool = True
    stopping: bool = False
    history: float | None = 15 * DAY
    retention: float = 15 * DAY
    samples: float = 1_000_000.0
    busy: bool = False
    query_takes: float = 0.0
    metrics_take: float = 0.0
    targets: tuple[str, ...] = ("prom-a:9090", "prom-b:9090", "mpp:9090")
    config: str = "scrape_configs:\n- job_name: prometheus\n"
    flags: dict[str, str] = field(factory=dict)
    reload_ok: bool = True
    ahead: float = 0.0
    replayed: int = 4
    asks_for: Sequence[str] = ()
    refuses_with: int = 401
    wants_parameter: str = ""
    remembered: int = 10_000
    plan: Plan | None = field(default=None, init=False)
    requests: list[Request] = field(factory=list, init=False)
    counts: dict[str, int] = field(factory=dict, init=False)
    started_at: float = field(init=False)
    oldest: float | None = field(init=False)
    config_at: float = field(init=False)
    plan_changed: list[Callable[[], None]] = field(factory=list, init=False)
    """Functions that are called after ``plan`` has changed, to close or open a socket."""

    def __attrs_post_init__(self) -> None:
        self.restart()
        self.oldest = None if self.history is None else self.started_at - self.history

    @property
    def release(self) -> tuple[int, int]:
        """The major and the minor version, for comparisons."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)

    def restart(self) -> None:
        """Reset the start time as after a restart of the process; the stored data stay."""
        self.started_at = self.config_at = self.now()

    def spoil(self, fault: IFault, *, share: float = 1.0, spare_probes: bool = False) -> None:
        """
        Start a fault, instead of the present one.

        :param share: the share of requests (or of connections, for a fault of that kind) that it affects.
        :param spare_probes: True to leave the requests of health checks alone.
        """
        self._plan(Plan(fault, share=share, spare_probes=spare_probes))

    def mend(self) -> None:
        """End the present fault; requests that it has stalled stay stalled."""
        self._plan(None)

    def _plan(self, plan: Plan | None) -> None:
        self.plan = plan
        for call in tuple(self.plan_changed):
            call()

    def record(self, request: Request) -> None:
        """Count and keep a request, whether it gets a response or not."""
        self.counts[request.path] = self.counts.get(request.path, 0) + 1
        self.requests.append(request)
        del self.requests[: -self.remembered]

    def answer(self, request: Request) -> SimulatedResponse:
        """Return the response without a fault in the present state, compressed if the client accepts it."""
        answer = self._route(request)
        if answer.live or answer.pieces is not None or not answer.body or "gzip" not in request.header("accept-encoding"):
            return answer
        body = gzip.compress(answer.body, 1, mtime=NO_MODIFICATION_TIME)
        return evolve(answer, body=body, headers=((b"Content-Encoding", b"gzip"), *answer.headers))

    def _route(self, request: Request) -> SimulatedResponse:
        path = request.path
        if self.asks_for and not any(_has(request, asked) for asked in self.asks_for):
            return text(self.refuses_with, "no such header")
        if self.prefix:
            if path == "/":
                return SimulatedResponse(302, HTML, b"", ((b"Location", self.prefix.encode()),))
            if not (path + "/").startswith(self.prefix + "/"):
                return text(404, "404 page not found")
            path = path[len(self.prefix) :] or "/"
        if self.wants_parameter and path.startswith("/api/") and self.wants_parameter not in request.parameters:
            return api_error(400, "prom-label-proxy", f'The "{self.wants_parameter}" query parameter must be provided.')
        if path.startswith("/api/v1/label/") and path.endswith("/values"):
            path = "/api/v1/label/*/values"
        page = PAGES.get(path)
        if page is None or self.release < page.since:
            return text(404, "404 page not found")
        if page.gated and not self.ready:
            return not_ready(self)
        if request.method not in page.methods:
            return text(405, "Method Not Allowed", ((b"Allow", ", ".join(page.methods).encode()),))
        return page.answer(self, request)

    def covers(self, at: float) -> bool:
        """Return whether the server has samples for a point in time."""
        return self.oldest is not None and self.oldest <= at <= self.now() + queries.LOOKBACK


def _has(request: Request, asked: str) -> bool:
    name, _, value = asked.partition(": ")
    return request.header(name) == value
