"""What the crew has to know of the parent's program. Says it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from twisted.internet.defer import Deferred

from mpp.admin.base_page import PageResponse
from mpp.app.workers.metrics_sum import Families
from mpp.core.http_config import DiscoverySource
from mpp.core.model import Backend, Reloaded, Selection, Standing
from mpp.core.settings import Settings
from mpp.security.web_config.passwords import VerifiedCredentials
from mpp.security.web_config.service import Handover
from mpp.selection.query_of_death import SuspectQueries


class ParentSelections(Protocol):
    """
    The living Selection, see `mpp.selection.service.SelectionService`.

    :ivar suspects: see `mpp.core.interfaces.ISelections`.
    """

    suspects: SuspectQueries

    @property
    def current(self) -> Selection:
        """The Selection in force."""

    @property
    def failing(self) -> Mapping[Backend, int]:
        """The backends on which the last request failed, and how many reports there were."""

    def watch(self, changed: Callable[[], None]) -> None:
        """Call this whenever ``current`` has changed."""

    def report(self, backend: Backend, standing: Standing, why: str) -> None:
        """See `mpp.core.interfaces.ISelections`."""

    def rescued(self, failed: Backend, by: Backend) -> None:
        """See `mpp.core.interfaces.ISelections`."""

    def storage_failed(self, backend: Backend, error: str) -> None:
        """See `mpp.core.interfaces.ISelections`."""

    def suspect(self, key: str, why: str) -> None:
        """See `mpp.core.interfaces.ISelections`."""

    def answered(self, backend: Backend) -> None:
        """See `mpp.core.interfaces.ISelections`."""

    def reselect(self) -> Deferred[Selection]:
        """See `mpp.core.interfaces.ISelections`."""


class ParentProgram(Protocol):
    """
    What the crew has to know of the parent's program.

    :ivar addresses: gives the known IP addresses of a backend.
    :ivar sources: tells who finds a backend; None when that is not known.
    :ivar status: gives the status page in a format, for who asks over TLS or not.
    :ivar config: gives the page of the configuration in force, in a format.
    :ivar record: takes the kind and the text of an event for the status page.
    :ivar reload: has the configuration read again.
    :ivar token: of this mpp, see `mpp.core.instance`.
    :ivar encoded: gives what a worker has to know of settings, in text.
    """

    @property
    def selections(self) -> ParentSelections:
        """The living Selection."""

    token: str
    addresses: Callable[[Backend], tuple[str, ...]]
    sources: Callable[[Backend], Collection[DiscoverySource] | None]
    status: Callable[[str, bool], PageResponse]
    config: Callable[[str], PageResponse]
    record: Callable[[str, str], None]
    reload: Callable[[], Deferred[Reloaded]]
    encoded: Callable[[Settings], str]

    def handover(self) -> Handover | None:
        """Give the web configuration in force, and who is known; None without one."""

    def familiar(self, credentials: VerifiedCredentials) -> None:
        """Know credentials that a worker has found to be right, for workers that start later."""

    def descriptors(self) -> list[int]:
        """Give the open sockets, in the order in which a worker opens them."""

    def collect(self) -> Families:
        """Give the parent's own metrics."""

    def counted(self, names: Collection[str]) -> Families:
        """Return the families of them that have samples of these names, without series that are 0."""
