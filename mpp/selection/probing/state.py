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
from mpp.core.prometheus.runtimeinfo import RuntimeInfo, is_same_start, read_query_slots
from mpp.selection.probing.answers_id import answers_id
from mpp.selection.probing.config_hash import ConfigHasher
from mpp.selection.probing.flags import Flags, read_flags
from mpp.selection.probing.interpret import METRICS, has_no_jobs, has_samples, read_facts
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
        server_state = evolve(
            server_state, query_slots=read_query_slots(flags), flags=_flags(read_flags(flags), server_state, old)
        )
        server_state = await self._with_config(backend, old, server_state, until)
        return evolve(server_state, targets=0) if has_no_jobs(samples, server_state) else server_state

    async def _with_config(self, backend: Backend, old: ServerState, server_state: ServerState, until: float) -> ServerState:
        """Return the state with what the configuration says, which is read if another configuration was loaded."""
        if server_state.config_at is None:
            return _without_config(server_state, old)
        if old.config_hash and (old.config_at, old.version) == (server_state.config_at, server_state.version):
            server_state = evolve(server_state, config_hash=old.config_hash, external_labels=old.external_labels, jobs=old.jobs)
            return evolve(server_state, settles_s=old.settles_s, settles_job=old.settles_job, answers_id=old.answers_id)
        left = max(_CONFIG_TIMEOUT_S, until - self._clock.seconds())
        try:
            config = await self._requests.scan(backend, "/api/v1/status/config", ConfigHasher(), left)
        except UpstreamError:
            return _without_config(server_state, old)
        server_state = evolve(server_state, config_hash=config.hash, external_labels=config.labels, jobs=config.jobs)
        times = config.times
        server_state = evolve(server_state, settles_s=times.settles_s, settles_job=times.settles_job)
        return evolve(server_state, answers_id=answers_id(server_state, times.evaluation_s))

    async def _look_back(self, backend: Backend, seconds: float) -> float | None:
        """Return the time that many seconds ago if the server has data of that time, else None."""
        then = self._wall() - seconds
        path = query_path("count(up)", time=f"{then:.3f}", timeout=f"{self._requests.timeout:g}s")
        return then if has_samples(await self._requests.ask(backend, path)) else None


def _flags(found: Flags, server_state: ServerState, old: ServerState) -> Flags:
    """Return the flags that were read, or else the known ones of the same process, whose flags cannot have changed."""
    return old.flags if not found and is_same_start(server_state.started_at, old.started_at) else found


def _without_config(server_state: ServerState, old: ServerState) -> ServerState:
    """Return the state of a server whose configuration cannot be read: a failure to read it changes no response."""
    same = old.answers_id and (old.version, old.flags) == (server_state.version, server_state.flags)
    found = old.answers_id if same else answers_id(server_state, None)
    return evolve(server_state, settles_s=old.settles_s, settles_job=old.settles_job, answers_id=found)
