"""
What mpp knows, for people and for programs: values become words, pages and JSON. Pure.

``report`` puts what is known into words; ``page`` and ``document`` show the same report as HTML and as JSON; ``explained`` shows
which backend a request would go to. All that comes from servers and operators is escaped where it becomes markup: in ``markup``.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, frozen

from mpp.model import Selection
from mpp.recent import Event, Recent
from mpp.settings import Settings
from mpp.status.guards import Guards
from mpp.status.identity import Identity


@frozen
class LocatorView:
    """One locator: whether its last look-up worked, how many backends it gave last, and why it failed."""

    name: str
    up: bool
    backends: int
    problem: str = ""


@frozen
class StatusView:
    """
    All that is shown. Times in seconds since the epoch.

    :ivar recent: the last minutes, by the backend's name; ``mpp`` for answers of mpp's own.
    :ivar events: newest first.
    :ivar load: by the backend's name: how many requests are under way on it, and how many wait.
    :ivar workers: how many processes serve clients.
    :ivar guards: what protects the listener through which it is asked for.
    :ivar identity: which mpp it is.
    """

    selection: Selection
    settings: Settings
    locators: tuple[LocatorView, ...]
    started_at: float
    now: float
    recent: Mapping[str, Recent] = Factory(dict)
    events: tuple[Event, ...] = ()
    load: Mapping[str, tuple[int, int]] = Factory(dict)
    guards: Guards = Factory(Guards)
    workers: int = 1
    identity: Identity = Factory(Identity)
