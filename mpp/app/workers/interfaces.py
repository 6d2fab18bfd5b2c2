"""The parent's program as the worker supervisor uses it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from attrs import frozen
from twisted.internet.defer import Deferred

from mpp.admin.base_page import PageResponse
from mpp.app.workers.metrics_sum import Families
from mpp.core.http_config import DiscoverySource
from mpp.core.model import Backend
from mpp.core.settings import Reloaded, Settings
from mpp.security.web_config.passwords import VerifiedCredentials
from mpp.security.web_config.service import Handover
from mpp.selection.service import SelectionService


@frozen(eq=False)
class ParentProgram:
    """
    The part of the parent's program that the worker supervisor uses.

    :ivar selections: the service that makes the parent's Selection.
    :ivar token: the token by which mpp recognizes its own requests, see `mpp.core.http.instance`.
    :ivar addresses: returns the known IP addresses of a backend.
    :ivar sources: returns the discovery sources that listed a backend; None when they are not known.
    :ivar status: returns the status page; its arguments are the format, and whether the client uses TLS.
    :ivar config: returns the page of the active configuration in a format.
    :ivar record: adds an event, given its kind and text, to the event log on the status page.
    :ivar reload: reloads the configuration; fires with the result.
    :ivar encoded: returns the settings for one worker as text; limits of the whole program are divided by the number of workers.
    :ivar handover: returns the active web configuration with the verified credentials; None without one.
    :ivar familiar: remembers credentials that a worker has verified, for workers that start later.
    :ivar descriptors: returns the descriptors of the listening sockets, in the order in which a worker opens them.
    :ivar collect: returns the metrics of the parent process.
    :ivar counted: returns the parent's metric families that have samples of these names, without series that are 0.
    """

    selections: SelectionService
    token: str
    addresses: Callable[[Backend], tuple[str, ...]]
    sources: Callable[[Backend], Collection[DiscoverySource] | None]
    status: Callable[[str, bool], PageResponse]
    config: Callable[[str], PageResponse]
    record: Callable[[str, str], None]
    reload: Callable[[], Deferred[Reloaded]]
    encoded: Callable[[Settings], str]
    handover: Callable[[], Handover | None]
    familiar: Callable[[VerifiedCredentials], None]
    descriptors: Callable[[], list[int]]
    collect: Callable[[], Families]
    counted: Callable[[Collection[str]], Families]
