"""
The processes that serve clients, which are the program itself or its workers (`mpp.app.workers`), and the role of each process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from attrs import field, frozen
from prometheus_client.core import Metric
from twisted.internet.defer import Deferred, succeed

from mpp.admin.base_page import PageResponse
from mpp.cache.store import EMPTY, CacheState, Flushed, RangeCache
from mpp.core.http.instance import Instance
from mpp.core.http_config import DiscoverySources
from mpp.core.interfaces import ISelections
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend
from mpp.core.settings import Reloaded, Settings
from mpp.promql.rules import RuleDefinition
from mpp.security.web_config.service import Handover
from mpp.security.web_config.values import WebConfig
from mpp.selection.service import SelectionService
from mpp.wire.downstream.channels import Channels
from mpp.wire.upstream.pool import Pool


class ClientSide(Protocol):
    """
    The processes that have the client connections.

    :ivar workers: the number of these processes.
    """

    @property
    def workers(self) -> int:
        """The number of these processes."""

    def __len__(self) -> int:
        """Return the number of open client connections."""

    def drain(self) -> Deferred[None]:
        """
        Finish the requests in flight, and close the client connections.

        :return Deferred(None): fires when the last connection is closed. Cancel it to stop waiting.
        """

    def abort(self) -> None:
        """Abort the remaining client connections."""

    def reconfigure(self, settings: Settings) -> None:
        """Apply new settings; the sockets that they configure are already open."""

    def in_step(self) -> Deferred[None]:
        """
        Wait until all processes have applied the changes that were passed to them so far.

        :return Deferred(None): fires when they have, or after one second; never fails.
        """

    def refresh_credentials(self) -> None:
        """Read changed credential files again; called in each selection round."""

    def cache(self) -> CacheState:
        """Return how full the range caches of all processes are together."""

    def flush_cache(self) -> Deferred[Flushed]:
        """
        Remove all entries of the range cache.

        :return Deferred(Flushed): fires when they are removed in all processes, or after one second; never fails.
        """

    def reload_certificates(self) -> None:
        """Read the certificates of ``ssl:`` endpoints again."""

    def secure(self, config: WebConfig) -> None:
        """Apply a new web configuration to the requests that follow."""

    def load(self, backends: Iterable[Backend]) -> Mapping[str, tuple[int, int]]:
        """Return, by the name of each backend, the number of requests in flight to it and of requests in its queue."""

    def collect(self, names: Sequence[str]) -> Iterable[Metric]:
        """Return the metric families that have samples of these names, see `mpp.admin.recorder.Collect`."""

    def local_errors(self) -> Mapping[int, int]:
        """Return the number of error responses that mpp itself has made, by status code: 0 if there are none of a code."""


class InProcess:
    """
    The client side of a program without workers, in its own process.

    `mpp.app.program.Program` applies changes there itself, so that the methods for changes do nothing.

    :param cache: returns the range cache; None while it is off.
    """

    workers = 1

    def __init__(self, channels: Channels, pool: Pool, metrics: Metrics, cache: Callable[[], RangeCache | None]) -> None:
        self._channels = channels
        self._pool = pool
        self._metrics = metrics
        self._cache = cache

    def __len__(self) -> int:
        """Return the number of open client connections."""
        return len(self._channels)

    def drain(self) -> Deferred[None]:
        """Finish the requests in flight, and close the client connections, see `ClientSide`."""
        return self._channels.drain()

    def abort(self) -> None:
        """Abort the remaining client connections."""
        self._channels.abort()

    def reconfigure(self, settings: Settings) -> None:
        """Do nothing, see `InProcess`."""

    def in_step(self) -> Deferred[None]:
        """Return a Deferred that has fired, because changes are active at once."""
        return succeed(None)

    def refresh_credentials(self) -> None:
        """Do nothing, see `InProcess`."""

    def cache(self) -> CacheState:
        """Return how full the range cache is."""
        cache = self._cache()
        return EMPTY if cache is None else cache.state

    def flush_cache(self) -> Deferred[Flushed]:
        """Remove all entries of the range cache; return a Deferred that has fired."""
        cache = self._cache()
        return succeed(Flushed(0 if cache is None else cache.flush()))

    def reload_certificates(self) -> None:
        """Do nothing, see `InProcess`."""

    def secure(self, config: WebConfig) -> None:
        """Do nothing, see `InProcess`."""

    def load(self, backends: Iterable[Backend]) -> Mapping[str, tuple[int, int]]:
        """Return, by the name of each backend, the number of requests in flight to it and of requests in its queue."""
        return {each.name: (self._pool.active(each), self._pool.queued(each)) for each in backends}

    def collect(self, names: Sequence[str]) -> Iterable[Metric]:
        """Return the metric families that have samples of these names, see `mpp.admin.recorder.Collect`."""
        return self._metrics.counted(names)

    def local_errors(self) -> Mapping[int, int]:
        """Return the number of error responses that mpp itself has made, by status code."""
        return self._metrics.local_errors()


P = TypeVar("P")
Reload = Callable[[], Deferred[Reloaded]]
"""A function that reloads the configuration; its Deferred fires with the result and never fails."""


class Follow(Protocol):
    """The function by which a worker gets the Selections of its parent, and sets the functions to call when they change."""

    def __call__(
        self,
        forget: Callable[[Backend], None],
        located: Callable[[DiscoverySources], None],
        moved: Callable[[str, tuple[str, ...]], None],
        ruled: Callable[[Sequence[RuleDefinition]], None],
    ) -> ISelections:
        """
        Return the object that always has the newest Selection of the parent, and call these functions from now on.

        :param forget: called with each backend that is no longer in the Selection.
        :param located: called with the discovery sources that listed each backend, before a Selection with it becomes current.
        :param moved: called with a host name and its current addresses when it no longer has one of the previous addresses.
        :param ruled: called with the recording rules and alerts of all backends when they have changed.
        """


@frozen
class ParentLink:
    """
    The functions by which a worker uses its parent, because it has no discovery and no probes, and reads no configuration.

    :ivar follow: returns the object that has the Selection of the parent, see `Follow`.
    :ivar addresses: returns the IP addresses of a backend.
    :ivar page: returns an admin page about all processes, see `mpp.admin.resource.AdminPages`.
    :ivar flush: removes all entries of the range caches of all processes; never fails.
    :ivar handover: the web configuration that the parent has read; None without one.
    """

    follow: Follow
    addresses: Callable[[Backend], tuple[str, ...]]
    page: Callable[..., Deferred[PageResponse]]
    flush: Callable[[], Deferred[Flushed]]
    handover: Handover | None


def _not_reloadable(_: object) -> Reload:
    return lambda: succeed(Reloaded(errors=("the configuration has no source to read it from",)))


@frozen
class Role(Generic[P]):
    """
    The role of a process, as the parts that its program (of type ``P``) gets: alone, the parent of workers, or a worker.

    The defaults are for a process alone.

    :ivar instance: the identity by which mpp recognizes its own requests, the same in all processes.
    :ivar opener: a stand-in for the reactor, which opens the listening sockets; None: the reactor opens them.
    :ivar client_side: returns the supervisor of workers for a program and the service that runs its selection rounds; None: the
        program serves clients itself.
    :ivar reload: returns the function that reloads the configuration of a program; that of the default reports an error.
    :ivar parent: the parent of a worker; None in the other roles.
    """

    instance: Instance = field(factory=Instance.random)
    opener: Any = None
    client_side: Callable[[P, SelectionService], ClientSide] | None = None
    reload: Callable[[P], Reload] = _not_reloadable
    parent: ParentLink | None = None
