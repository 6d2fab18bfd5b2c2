"""
The interface to the processes that serve clients: the program itself, or its workers (`mpp.app.workers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from prometheus_client.core import Metric
from twisted.internet.defer import Deferred, succeed

from mpp.core.metrics import Metrics
from mpp.core.model import Backend
from mpp.core.settings import Settings
from mpp.security.web_config.values import WebConfig
from mpp.wire.downstream.channels import Channels
from mpp.wire.upstream.pool import Pool


class ClientSide(Protocol):
    """
    The processes that have the client connections.

    :ivar workers: the number of these processes.
    """

    @property
    def workers(self) -> int:
        """See `ClientSide`."""

    def __len__(self) -> int:
        """Return the number of open client connections."""

    def drain(self) -> Deferred[None]:
        """
        Finish the requests in flight, and close the client connections.

        :return Deferred(None): fires when the last connection is closed. Cancel it to bound the wait.
        """

    def abort(self) -> None:
        """Abort the remaining client connections."""

    def reconfigure(self, settings: Settings) -> None:
        """Apply new settings; the sockets they ask for are already open."""

    def in_step(self) -> Deferred[None]:
        """
        Wait until all earlier changes are active in all processes.

        :return Deferred(None): fires when they are, or after one second; never fails.
        """

    def refresh_credentials(self) -> None:
        """Read changed credential files again; called in each selection round."""

    def reload_certificates(self) -> None:
        """Read the certificates of ``ssl:`` endpoints again."""

    def secure(self, config: WebConfig) -> None:
        """Apply a new web configuration to the requests that follow."""

    def load(self, backends: Iterable[Backend]) -> Mapping[str, tuple[int, int]]:
        """Return the number of requests in flight and of requests in the queue, by the name of the backend."""

    def collect(self, names: Sequence[str]) -> Iterable[Metric]:
        """See `mpp.admin.recorder.Collect`."""

    def local_errors(self) -> Mapping[int, int]:
        """Return the number of local replies with an error, by status code, see `mpp.core.metrics.Metrics.local_errors`."""


class InProcess:
    """The client side of a program without workers. Changes reach it through the Program, so that most methods do nothing."""

    workers = 1

    def __init__(self, channels: Channels, pool: Pool, metrics: Metrics) -> None:
        self._channels = channels
        self._pool = pool
        self._metrics = metrics

    def __len__(self) -> int:
        """See `ClientSide`."""
        return len(self._channels)

    def drain(self) -> Deferred[None]:
        """See `ClientSide`."""
        return self._channels.drain()

    def abort(self) -> None:
        """See `ClientSide`."""
        self._channels.abort()

    def reconfigure(self, settings: Settings) -> None:
        """Do nothing, see `InProcess`."""

    def in_step(self) -> Deferred[None]:
        """See `ClientSide`."""
        return succeed(None)

    def refresh_credentials(self) -> None:
        """Do nothing, see `InProcess`."""

    def reload_certificates(self) -> None:
        """Do nothing, see `InProcess`."""

    def secure(self, config: WebConfig) -> None:
        """Do nothing, see `InProcess`."""

    def load(self, backends: Iterable[Backend]) -> Mapping[str, tuple[int, int]]:
        """See `ClientSide`."""
        return {each.name: (self._pool.active(each), self._pool.queued(each)) for each in backends}

    def collect(self, names: Sequence[str]) -> Iterable[Metric]:
        """See `ClientSide`."""
        return self._metrics.counted(names)

    def local_errors(self) -> Mapping[int, int]:
        """See `ClientSide`."""
        return self._metrics.local_errors()
