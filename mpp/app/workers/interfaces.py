"""The interfaces through which the worker supervisor uses the parent's program."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from twisted.internet.defer import Deferred

from mpp.admin.base_page import PageResponse
from mpp.app.workers.metrics_sum import Families
from mpp.core.http_config import DiscoverySource
from mpp.core.model import Backend, Selection, Standing
from mpp.core.settings import Reloaded, Settings
from mpp.security.web_config.passwords import VerifiedCredentials
from mpp.security.web_config.service import Handover
from mpp.selection.query_of_death import SuspectQueries


class ParentSelections(Protocol):
    """
    The service that makes the Selection, see `mpp.selection.service.SelectionService`.

    :ivar suspects: see `mpp.core.interfaces.ISelections`.
    """

    suspects: SuspectQueries

    @property
    def current(self) -> Selection:
        """The current Selection, an immutable value."""

    @property
    def failing(self) -> Mapping[Backend, int]:
        """The backends on which the last request failed, with the number of reports about each."""

    def watch(self, changed: Callable[[], None]) -> None:
        """Call a function whenever ``current`` has changed."""

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
    The part of the parent's program that the worker supervisor uses.

    :ivar addresses: returns the known IP addresses of a backend.
    :ivar sources: returns the discovery sources that listed a backend; None when they are not known.
    :ivar status: returns the status page; its arguments are the format, and whether the client uses TLS.
    :ivar config: returns the page of the active configuration in a format.
    :ivar record: adds an event, given its kind and text, to the event log on the status page.
    :ivar reload: reloads the configuration; fires with the result.
    :ivar token: the token by which mpp recognizes its own requests, see `mpp.core.instance`.
    :ivar encoded: returns a worker's share of the settings as text.
    """

    @property
    def selections(self) -> ParentSelections:
        """The service that makes the parent's Selection."""

    token: str
    addresses: Callable[[Backend], tuple[str, ...]]
    sources: Callable[[Backend], Collection[DiscoverySource] | None]
    status: Callable[[str, bool], PageResponse]
    config: Callable[[str], PageResponse]
    record: Callable[[str, str], None]
    reload: Callable[[], Deferred[Reloaded]]
    encoded: Callable[[Settings], str]

    def handover(self) -> Handover | None:
        """Return the active web configuration with the verified credentials; None without one."""

    def familiar(self, credentials: VerifiedCredentials) -> None:
        """Remember credentials that a worker has verified, for workers that start later."""

    def descriptors(self) -> list[int]:
        """Return the descriptors of the listening sockets, in the order in which a worker opens them."""

    def collect(self) -> Families:
        """Return the metrics of the parent process."""

    def counted(self, names: Collection[str]) -> Families:
        """Return the parent's metric families that have samples of these names, without series that are 0."""
