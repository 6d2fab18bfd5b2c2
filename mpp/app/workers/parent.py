"""The connection of the program to its workers, and each worker's share of the settings."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.internet.defer import Deferred

from mpp.admin.base_page import PageResponse
from mpp.app.workers.codec import packed
from mpp.app.workers.metrics_sum import families
from mpp.app.workers.shared_sockets import SocketOpener
from mpp.app.workers.supervisor import WorkerSupervisor
from mpp.core.settings import KubeSettings, MarathonSettings, Settings
from mpp.security.web_config.passwords import VerifiedCredentials
from mpp.security.web_config.service import Handover
from mpp.selection.service import SelectionService

if TYPE_CHECKING:
    from mpp.app.program import Program
    from mpp.core.http_config import DiscoverySource
    from mpp.core.model import Backend


def employ(program: Program, settings: Settings, reactor: Any) -> None:
    """Let workers serve the clients instead of this program; called before it is started."""
    program.listeners.opener = SocketOpener(reactor)
    program.client_side = supervisor = WorkerSupervisor(settings.workers, encoded(settings), reactor, Parent(program))
    program.addService(supervisor)  # type: ignore[no-untyped-call]


class Parent:
    """The parent's program as the worker supervisor uses it, see `mpp.app.workers.interfaces.ParentProgram`."""

    def __init__(self, program: Program) -> None:
        assert isinstance(program.backends.selections, SelectionService)
        self._program = program
        self.selections = program.backends.selections
        self.token = program.instance.token
        self.addresses: Callable[[Backend], tuple[str, ...]] = program.backends.addresses
        self.sources: Callable[[Backend], Collection[DiscoverySource] | None] = program.backends.credentials.sources
        self.status: Callable[[str, bool], PageResponse] = program.admin_pages.status
        self.config: Callable[[str], PageResponse] = program.admin_pages.config
        self.record: Callable[[str, str], None] = self.selections.event_log.record
        self.reload: Callable[[], Deferred[Any]] = lambda: program.reload()
        self.encoded: Callable[[Settings], str] = encoded

    def handover(self) -> Handover | None:
        """Return the active web configuration with the verified credentials; None without one."""
        return None if self._program.web_config is None else self._program.web_config.handover

    def familiar(self, credentials: VerifiedCredentials) -> None:
        """Remember credentials that a worker has verified."""
        if self._program.web_config is not None:
            self._program.web_config.passwords.learn(credentials)

    def descriptors(self) -> list[int]:
        """Return the descriptors of the listening sockets, in the order in which a worker opens them."""
        return [each.port.socket.fileno() for each in self._program.listeners.open]  # type: ignore[attr-defined]

    def collect(self) -> list[list[Any]]:
        """Return the metrics of the parent process."""
        return families(self._program.metrics.registry.collect())

    def counted(self, names: Collection[str]) -> list[list[Any]]:
        """See `mpp.app.workers.interfaces.ParentProgram`."""
        return families(self._program.metrics.counted(names))


def workers_settings(settings: Settings) -> Settings:
    """Return the settings for one worker: with its share of each limit, and without discovery sources."""
    share = settings.workers
    return evolve(
        settings,
        endpoints_file=None,
        endpoints=(),
        file_sd=(),
        http_sd=(),
        dns=(),
        marathon=MarathonSettings(),
        kube=KubeSettings(),
        reuse_port=False,
        max_connections=settings.max_connections and _share(settings.max_connections, share),
        max_concurrency=_share(settings.max_concurrency, share),
        max_queue=-(-settings.max_queue // share),
    )


def _share(whole: int, workers: int) -> int:
    return max(1, whole // workers)


def encoded(settings: Settings) -> str:
    """Return one worker's settings as text that only a worker of this parent reads, see `mpp.app.workers.codec.packed`."""
    return packed(workers_settings(settings))
