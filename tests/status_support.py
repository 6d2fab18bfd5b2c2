"""A pair, as the status page is told of it."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from mpp.admin.status.data import StatusView
from mpp.core.facts import ServerState
from mpp.core.model import Backend, Choice, Observation, Selection, Standing
from mpp.core.settings import Settings
from mpp.selection.verdict.verdict import LocatorView

NOW = 1_700_000_000.0
A, B = Backend("http", "prom-a", 9090), Backend("https", "prom-b", 9090, "/x")
FACTS = ServerState(
    "3.5.3",
    NOW - 3600,
    NOW - 15 * 86400,
    NOW - 33,
    retention_s=15 * 86400.0,
    read_at=NOW - 30,
    targets=1234,
    config_hash="0123456789ab",
    config_at=NOW - 7200,
    reload_ok=True,
    skew=0.2,
)
FOREIGN = '<script>alert("x")</script>&\'"><img src=x onerror=alert(1)>\u202e\ud800\x00'
"""What nobody sane would send."""


def well(backend: Backend, **changed: Any) -> Observation:
    """Give a viable backend; ``facts_…`` change its facts, the rest the observation."""
    facts = {name.removeprefix("facts_"): changed.pop(name) for name in tuple(changed) if name.startswith("facts_")}
    observation = Observation(backend, Standing.VIABLE, "", evolve(FACTS, **facts), NOW - 4, 0.012)
    return evolve(observation, **changed)


def view(*observations: Observation, selected: tuple[Backend, ...] = (A,), degraded: str = "", **more: Any) -> StatusView:
    """Give what is shown when these are known."""
    standbys = tuple(o.backend for o in observations if o.backend not in selected)
    selection = more.pop("selection", Selection(3, Choice(selected, standbys, degraded), observations, NOW - 60))
    settings = Settings(**more.pop("settings", {}))
    locators = more.pop("locators", (LocatorView("file", True, 2),))
    return StatusView(selection, settings, locators, NOW - 7200, NOW, **more)


def unplanned(selection: Selection, own: Backend) -> None:
    """Return no plan: no server lacks anything of a request."""
