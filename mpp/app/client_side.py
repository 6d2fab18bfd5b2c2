"""
Who serves the clients: the program itself, or workers in its place (`mpp.app.workers`). The rest of the program asks only this.
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
    Those who have the client connections.

    :ivar workers: how many processes they are.
    """

    @property
    def workers(self) -> int:
        """See `ClientSide`."""

    def __len__(self) -> int:
        """How many client connections there are."""

    def drain(self) -> Deferred[None]:
        """
        Finish what is being answered, and close.

        :return Deferred(None): fires when the last connection is closed. Cancel it to bound the wait.
        """

    def abort(self) -> None:
        """Cut off what is left."""

    def reconfigure(self, settings: Settings) -> None:
        """Serve by these from now on; the sockets they ask for are open."""

    def in_step(self) -> Deferred[None]:
        """
        Wait until all that they were told before is in force.

        :return Deferred(None): never fails; fires a second later at the latest, whether it is or not.
        """

    def refresh_credentials(self) -> None:
        """Read those credentials again that have changed. To be told in each round."""

    def reload_certificates(self) -> None:
        """Read the certificates of ``ssl:`` endpoints again."""

    def secure(self, config: WebConfig) -> None:
        """Judge clients by this web configuration from now on."""

    def load(self, backends: Iterable[Backend]) -> Mapping[str, tuple[int, int]]:
        """Give how many requests are under way on each backend, by its name, and how many wait."""

    def collect(self, names: Sequence[str]) -> Iterable[Metric]:
        """See `mpp.admin.recorder.Collect`."""

    def local_errors(self) -> Mapping[int, int]:
        """Return how many requests were answered with errors of mpp's own, see `mpp.core.metrics.Metrics.local_errors`."""


class InProcess:
    """The program serves its clients itself; what it is told as the Program, it need not be told again."""

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
