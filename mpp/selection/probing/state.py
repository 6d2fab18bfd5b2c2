"""
The reader of a server's slowly changing state: its ``/metrics`` page, flags and configuration. Knows requests and time limits;
`mpp.selection.probing.interpret` interprets the responses.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve
from twisted.internet.interfaces import IReactorTime

from mpp.core.errors import UpstreamError
from mpp.core.facts import ServerState
from mpp.core.model import Backend
from mpp.core.prometheus.runtimeinfo import RuntimeInfo, read_query_slots
from mpp.selection.probing.config_hash import ConfigHasher, ConfigSummary
from mpp.selection.probing.flags import read_flags
from mpp.selection.probing.interpret import METRICS, has_samples, read_facts
from mpp.selection.probing.metrics_scanner import MetricsScanner
from mpp.selection.probing.requests import ProbeRequests, query_path

# For the whole /metrics page; as long as Prometheus' default scrape timeout. No round waits for all of it.
METRICS_TIMEOUT_S = 10.0
# For the configuration, when reading the metrics page has left less than that.
_CONFIG_TIMEOUT_S = 1.0


class StateReader:
    """
    The reader of a server's slowly changing state.

    :param clock: a monotonic clock for time limits.
    :param wall: returns the time of day, in seconds since the epoch.
    :param minimum_history: seconds; a server that cannot report its oldest sample is queried for data of that age.
    """

    def __init__(
        self, requests: ProbeRequests, clock: IReactorTime, wall: Callable[[], float], minimum_history: float | None
    ) -> None:
        self._requests = requests
        self._clock = clock
        self._wall = wall
        self._minimum_history = minimum_history

    async def read(self, backend: Backend, old: ServerState, runtime: RuntimeInfo | None) -> ServerState:
        """
        Read and return the current state of a server.

        :param old: its previous state; values that cannot be read again are kept.
        :param runtime: its current runtime information, or None.
        :raise UpstreamError: ``/metrics`` cannot be read.
        """
        until = self._clock.seconds() + METRICS_TIMEOUT_S
        samples = await self._requests.scan(backend, "/metrics", MetricsScanner(METRICS), METRICS_TIMEOUT_S)
        server_state = read_facts(samples, runtime, old, self._wall())
        if server_state.oldest is None and self._minimum_history is not None:
            server_state = evolve(server_state, oldest=await self._look_back(backend, self._minimum_history))
        flags = await self._requests.ask(backend, "/api/v1/status/flags")
        server_state = evolve(server_state, query_slots=read_query_slots(flags), flags=read_flags(flags))
        config = await self._read_config(backend, old, server_state, until)
        return evolve(server_state, config_hash=config.hash, external_labels=config.labels, jobs=config.jobs)

    async def _read_config(self, backend: Backend, old: ServerState, server_state: ServerState, until: float) -> ConfigSummary:
        """Return the summary of the configuration: the known one unless another configuration was loaded."""
        if server_state.config_at is None:
            return ConfigSummary()
        if old.config_hash and (old.config_at, old.version) == (server_state.config_at, server_state.version):
            return ConfigSummary(old.config_hash, old.external_labels, old.jobs)
        left = max(_CONFIG_TIMEOUT_S, until - self._clock.seconds())
        try:
            return await self._requests.scan(backend, "/api/v1/status/config", ConfigHasher(), left)
        except UpstreamError:
            return ConfigSummary()

    async def _look_back(self, backend: Backend, seconds: float) -> float | None:
        """Return the time that many seconds ago if the server has data of that time, else None."""
        then = self._wall() - seconds
        path = query_path("count(up)", time=f"{then:.3f}", timeout=f"{self._requests.timeout:g}s")
        return then if has_samples(await self._requests.ask(backend, path)) else None
