"""
The data of the status page. Pure.

`mpp.admin.status.report` makes sentences of it; `mpp.admin.status.html_page` and `mpp.admin.status.json_document` render the same
report as HTML and as JSON. `mpp.admin.status.html` escapes all text that comes from servers and operators.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, frozen

from mpp.admin.cache.view import CacheView
from mpp.admin.status.identity import Identity
from mpp.core.coverage import WHOLE_POOL, Coverage
from mpp.core.metrics.local_errors import LocalErrors
from mpp.core.model import Backend, Selection
from mpp.core.settings import Settings
from mpp.coverage.history.service import Progress
from mpp.security.web_config.protection import ListenerSecurity
from mpp.selection.recent import Event, RecentTraffic
from mpp.selection.verdict.verdict import ConfigProblem, LocatorView, Situation


@frozen
class StatusView:
    """
    The data of the status page. Times are in seconds since the epoch.

    :ivar recent: the traffic of the last minutes by the name of the backend; ``mpp`` for mpp's own error responses.
    :ivar events: the latest events, newest first.
    :ivar load: the numbers of active and of queued requests by the name of the backend.
    :ivar workers: the number of running worker processes.
    :ivar security: the protection of the listener that received the request for the page.
    :ivar errors: mpp's own error responses of late; None if there are none.
    :ivar config: the reason why the configuration on disk is not the active one; None if it is.
    :ivar identity: the identity of this mpp.
    :ivar coverage: what the backends lack of their history.
    :ivar looked_back: how far their histories have been compared.
    :ivar cache: the use of shared and cached responses.
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
    coverage: Coverage = WHOLE_POOL
    looked_back: Mapping[Backend, Progress] = Factory(dict)
    cache: CacheView = Factory(CacheView)

    @property
    def situation(self) -> Situation:
        """The part of the data from which the verdict is made."""
        workers = self.workers, self.settings.workers
        return Situation(self.selection, self.locators, self.errors, self.config, self.security.problem, workers)
