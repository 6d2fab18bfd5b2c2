"""
Control of a simulated Prometheus by another process, over HTTP on a port that no fault affects.

- ``GET /``: state, counts, number of connections.
- ``POST /state`` with a JSON object sets attributes.
- ``POST /fault`` with ``{"name": "late", "share": 0.3, "spare_probes": true, "arguments": {"seconds": 1}}`` starts a fault.
- ``DELETE /fault`` ends it.
- ``POST /event`` sends its body to all clients that follow the event stream.
- ``POST /forget`` resets the counts.
"""

from __future__ import annotations

import json

from attrs import define

from tests.simulated.faults import FAULTS
from tests.simulated.messages import JSON, Request, SimulatedResponse, compact, text
from tests.simulated.plan import Plan
from tests.simulated.prometheus import SimulatedPrometheus
from tests.simulated.server import SimulatedServer

SETTABLE = (
    "version",
    "name",
    "prefix",
    "ready",
    "stopping",
    "retention",
    "samples",
    "busy",
    "query_takes",
    "metrics_take",
    "oldest",
    "started_at",
    "targets",
    "config",
    "config_at",
    "flags",
    "reload_ok",
    "ahead",
    "replayed",
    "asks_for",
    "refuses_with",
    "wants_parameter",
)


@define(eq=False)
class Control:
    """The control pages of one simulated Prometheus; see the module's docstring."""

    sim: SimulatedPrometheus
    server: SimulatedServer
    plan: Plan | None = None

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return self.sim.now()

    def record(self, request: Request) -> None:
        """Do nothing, because control requests are not counted."""

    def answer(self, request: Request) -> SimulatedResponse:
        """Execute a control request; return the state, or an error."""
        try:
            self._act(request)
        except (KeyError, TypeError, ValueError) as error:
            return text(400, f"{type(error).__name__}: {error}")
        return SimulatedResponse(200, JSON, compact(self._state()))

    def _act(self, request: Request) -> None:
        asked = request.method, request.path
        if asked == ("POST", "/state"):
            self._set(json.loads(request.body))
        elif asked == ("POST", "/fault"):
            wanted = json.loads(request.body)
            fault = FAULTS[wanted["name"]](**wanted.get("arguments", {}))
            self.sim.spoil(fault, share=wanted.get("share", 1.0), spare_probes=wanted.get("spare_probes", False))
        elif asked == ("DELETE", "/fault"):
            self.sim.mend()
        elif asked == ("POST", "/event"):
            self.server.notify(request.body)
        elif asked == ("POST", "/forget"):
            self.sim.counts.clear()
            self.sim.requests.clear()
        elif asked != ("GET", "/"):
            raise ValueError(f"no such control: {request.method} {request.path}")

    def _set(self, values: dict[str, object]) -> None:
        for name, value in values.items():
            if name not in SETTABLE:
                raise KeyError(name)
            setattr(self.sim, name, value)

    def _state(self) -> dict[str, object]:
        state: dict[str, object] = {name: getattr(self.sim, name) for name in SETTABLE}
        fault = None if self.sim.plan is None else repr(self.sim.plan.fault)
        return {**state, "fault": fault, "counts": self.sim.counts, "connections": len(self.server.connections)}
