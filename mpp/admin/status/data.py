"""
What mpp knows, for people and for programs: values become words, pages and JSON. Pure.

``report`` puts what is known into words; ``page`` and ``document`` show the same report as HTML and as JSON; ``explained`` shows
which backend a request would go to; ``verdict`` is how things stand, in the words of all of them. All that comes from servers and
operators is escaped where it becomes markup: in ``markup``.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, frozen

from mpp.admin.status.identity import Identity
from mpp.core.local_errors import LocalErrors
from mpp.core.model import Selection
from mpp.core.settings import Settings
from mpp.security.web_config.protection import ListenerSecurity
from mpp.selection.recent import Event, RecentTraffic
from mpp.selection.verdict.locators import LocatorView
from mpp.selection.verdict.verdict import ConfigProblem, Situation


@frozen
class StatusView:
    """
    All that is shown. Times in seconds since the epoch.

    :ivar recent: the last minutes, by the backend's name; ``mpp`` for answers of mpp's own.
    :ivar events: newest first.
    :ivar load: by the backend's name: how many requests are under way on it, and how many wait.
    :ivar workers: how many processes serve clients.
    :ivar security: what protects the listener through which it is asked for.
    :ivar errors: what clients got instead of a response lately; None if nothing.
    :ivar config: why the configuration on disk is not the active one; None if it is.
    :ivar identity: which mpp it is.
    """

    selection: Selection
    settings: Settings
    locators: tuple[LocatorView, ...]
    started_at: float
    now: float
    recent: Mapping[str, RecentTraffic] = Factory(dict)
    events: tuple[Event, ...] = ()
    load: Mapping[str, tuple[int, int]] = Factory(dict)
    security: ListenerSecurity = Factory(ListenerSecurity)
    workers: int = 1
    errors: LocalErrors | None = None
    config: ConfigProblem | None = None
    identity: Identity = Factory(Identity)

    @property
    def situation(self) -> Situation:
        """What of it the verdict depends on."""
        workers = self.workers, self.settings.workers
        return Situation(self.selection, self.locators, self.errors, self.config, self.security.problem, workers)


__all__ = ["LocatorView", "StatusView"]
