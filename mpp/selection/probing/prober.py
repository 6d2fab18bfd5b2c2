"""
The prober, which makes one observation of a server: it sends the requests, and `mpp.selection.probing.interpret` judges the
responses. Knows neither what a response means nor which server is selected.

Every round requests ``/-/ready``, a real query and, where it exists, runtimeinfo in parallel, each with its own time limit. A
server that was down gets ``/-/ready`` first, and the other requests only if it responds: there may be hundreds of servers that
are down, and each request to one takes time. The slowly changing state is read in the background, about once a minute and after a
restart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from attrs import evolve
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime

from mpp.core.errors import UpstreamError
from mpp.core.facts import NO_FACTS, ServerState
from mpp.core.http.instance import Instance
from mpp.core.interfaces import IUpstreams
from mpp.core.model import Backend, Observation, Standing
from mpp.core.prometheus.runtimeinfo import ProbeOutcome, RuntimeInfo, is_same_start, read_replay, read_runtime
from mpp.coverage.drift import SETTLED_S, uptime
from mpp.coverage.rules.survey import MOST_BYTES
from mpp.selection.probing.background import BackgroundReads
from mpp.selection.probing.interpret import IS_SELF, has_come_back, is_kept, is_refusal, is_turned_away, is_unproven, judge
from mpp.selection.probing.requests import PROBE_TIMEOUT_S, ProbeRequests, no_params, query_path, with_params
from mpp.selection.probing.state import StateReader

# The state moves by hours; reading it costs the server as much as a scrape.
FACTS_MAX_AGE_S = 60.0
# A state this new is not read again on the mere suspicion of a restart: a flapping server must not be scraped at each flap.
FACTS_MIN_AGE_S = 5.0
# While a server has just started, it has scraped only some of its targets: what it reports is soon out of date.
FACTS_YOUNG_AGE_S = 15.0

# One query for the newest data: it has some 70 to 150 bytes for each scrape job.
SURVEY_BYTES = 512 * 1024

# One query of the look back: longer than its estimated CPU time of 0.1 s by far.
HISTORY_TIMEOUT_S = 10.0
# Of its response, see `mpp.coverage.history.look_back`.
HISTORY_BYTES = 1024 * 1024

# The rules of a server, which it has in its memory.
RULES_TIMEOUT_S = 10.0

# Number of response times of a server's /-/ready that are kept: half of them make a new median.
_READY_KEPT = 20
# The server's own limit ends a little before the probe's, so that a busy server can report it and the connection can be kept.
_SERVER_SHARE = 0.9


class Prober:
    """
    The observer of servers, by small requests in each round and background reads of ``/metrics``.

    :param clock: a monotonic clock for durations and time limits.
    :param instance: the identity by which this mpp recognizes its own requests.
    :param wall: returns the time of day, in seconds since the epoch.
    :param timeout: time limit in seconds of each small request, from connecting to the last byte.
    :param minimum_history: seconds; a server that cannot report its oldest sample is queried for data of that age.
    :param params: returns additional parameters for the requests to a server, see `ProbeRequests`.
    """

    def __init__(
        self,
        upstreams: IUpstreams,
        clock: IReactorTime,
        instance: Instance,
        *,
        wall: Callable[[], float],
        timeout: float = PROBE_TIMEOUT_S,
        minimum_history: float | None = None,
        params: Callable[[Backend], str] = no_params,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._instance = instance
        self._requests = ProbeRequests(upstreams, clock, wall, instance, timeout=timeout, params=params)
        self._reads = BackgroundReads(StateReader(self._requests, clock, wall, minimum_history).read, clock)
        query = query_path("vector(1)", timeout=f"{timeout * _SERVER_SHARE * 1000:.0f}ms")
        self._paths: tuple[str, ...] = ("/-/ready", query, "/api/v1/status/runtimeinfo")

    def probe(self, backend: Backend, previous: Observation | None) -> Deferred[Observation]:
        """
        Observe a backend once.

        :param previous: the last observation of it; its server state is kept until a newer one is read.
        :return Deferred(Observation): fires after `PROBE_TIMEOUT_S` at the latest, after twice that for a server that was down,
            and `mpp.selection.probing.background.WAIT_S` later if it waits for the server state. A failed probe is a result
            too. Cancelling it cancels its small requests; a background read goes on.
        """
        return Deferred.fromCoroutine(self._probe(backend, previous))

    def ask(self, backend: Backend, path: str) -> Deferred[ProbeOutcome]:
        """
        Send one query for the newest data of a server.

        :return Deferred(ProbeOutcome): never fails, except by cancellation; a time-out (`PROBE_TIMEOUT_S`) is an outcome, too.
            At most `SURVEY_BYTES` of the body are read.
        """
        return Deferred.fromCoroutine(self._requests.ask(backend, path, most=SURVEY_BYTES))

    def ask_history(self, backend: Backend, path: str) -> Deferred[ProbeOutcome]:
        """
        Send one query of the look back, which waits behind the requests of clients.

        :return Deferred(ProbeOutcome): as for `ask`, but at most `HISTORY_BYTES` of the body are read, and the time limit is
            `HISTORY_TIMEOUT_S`, which is also sent to the server.
        """
        path = with_params(path, f"timeout={HISTORY_TIMEOUT_S:g}s")
        sent = self._requests.ask(backend, path, timeout=HISTORY_TIMEOUT_S, most=HISTORY_BYTES, urgent=False)
        return Deferred.fromCoroutine(sent)

    def ask_rules(self, backend: Backend, path: str) -> Deferred[ProbeOutcome]:
        """
        Send one request for the rules of a server, which waits behind the requests of clients.

        :return Deferred(ProbeOutcome): as for `ask`, but at most `mpp.coverage.rules.survey.MOST_BYTES` of the body are read, and
            the time limit is `RULES_TIMEOUT_S`.
        """
        return Deferred.fromCoroutine(self._requests.ask(backend, path, timeout=RULES_TIMEOUT_S, most=MOST_BYTES, urgent=False))

    def keep(self, backends: Collection[Backend]) -> None:
        """Forget all servers except the given ones, and cancel their background reads."""
        self._reads.keep(backends)

    def stop(self) -> None:
        """Cancel all background reads; probes in progress end as usual."""
        self._reads.stop()

    async def _probe(self, backend: Backend, previous: Observation | None) -> Observation:
        at, began = self._wall(), self._clock.seconds()
        ready, query, status, *replay = await self._ask_all(backend, previous)
        standing, why = judge(ready, query, status)
        if previous is not None and is_kept(previous.standing, standing, ready, query):
            standing, why = previous.standing, previous.why
        is_self = self._is_self((ready, query, status), previous)
        if is_self:
            standing, why = Standing.NOT_READY, IS_SELF
        server_state = self._reads.latest(backend, NO_FACTS if previous is None else previous.facts)
        if standing in (Standing.VIABLE, Standing.BUSY):
            server_state = await self._refreshed(backend, server_state, previous, read_runtime(status), at)
        took = self._clock.seconds() - began
        refused = standing is Standing.NOT_READY and is_refusal(ready, query)
        turned_away = standing in (Standing.BUSY, Standing.NOT_READY) and is_turned_away(ready, query)
        observation = Observation(backend, standing, why, server_state, at, took, refused=refused, turned_away=turned_away)
        unproven = standing is Standing.BUSY and is_unproven(ready, query)
        observation = evolve(observation, unproven=unproven, is_self=is_self, ready_took=_ready_took(previous, ready))
        if previous is not None and replay and standing is Standing.NOT_READY:
            return evolve(observation, replay=read_replay(replay[0], previous.replay, at))
        return observation

    def _is_self(self, outcomes: tuple[ProbeOutcome, ...], previous: Observation | None) -> bool:
        """Return whether the backend is this mpp itself; if it was, it remains so while a busy mpp does not respond."""
        if any(has_come_back(outcome, self._instance) for outcome in outcomes):
            return True
        return previous is not None and previous.is_self and isinstance(outcomes[0], UpstreamError)

    async def _refreshed(
        self, backend: Backend, server_state: ServerState, previous: Observation | None, runtime: RuntimeInfo | None, at: float
    ) -> ServerState:
        """Return the known state of a server after starting a new read if that is due."""
        outdated = _is_outdated(server_state, previous, runtime, at)
        if outdated or _is_old(server_state, at):
            await self._reads.begin(backend, server_state, runtime, outdated=outdated)
        return self._reads.latest(backend, server_state)

    async def _ask_all(self, backend: Backend, previous: Observation | None) -> list[ProbeOutcome]:
        paths = self._paths
        if previous is not None and previous.standing > Standing.BUSY:
            paths = (*paths, "/api/v1/status/walreplay")
        first: list[ProbeOutcome] = []
        if previous is not None and previous.standing is Standing.DOWN:
            first.append(await self._requests.ask(backend, paths[0]))
            if isinstance(first[0], UpstreamError):
                return first * len(paths)
        asked = [Deferred.fromCoroutine(self._requests.ask(backend, path)) for path in paths[len(first) :]]
        try:
            return [*first, *await gatherResults(asked, consumeErrors=True)]
        except FirstError as error:
            error.subFailure.raiseException()


def _ready_took(previous: Observation | None, ready: ProbeOutcome) -> tuple[float, ...]:
    """Return the last response times of ``/-/ready``, with this one added if it is a response."""
    before = () if previous is None else previous.ready_took
    return before if isinstance(ready, UpstreamError) else (*before, ready.took)[-_READY_KEPT:]


def _is_outdated(server_state: ServerState, previous: Observation | None, runtime: RuntimeInfo | None, now: float) -> bool:
    """Return whether a server's state is probably outdated: unknown, or read before the server restarted or was away."""
    if not server_state.read_at:
        return True
    was_away = previous is not None and previous.standing in (Standing.NOT_READY, Standing.DOWN)
    restarted = runtime is not None and not is_same_start(runtime.started_at, server_state.started_at)
    return restarted or (was_away and now - server_state.read_at >= FACTS_MIN_AGE_S)


def _is_old(server_state: ServerState, now: float) -> bool:
    """Return whether a server's state must be read again because of its age; sooner if it had no data or had just started."""
    age = now - server_state.read_at
    if server_state.oldest is None and server_state.samples is None:
        limit = FACTS_MIN_AGE_S
    else:
        limit = FACTS_YOUNG_AGE_S if uptime(server_state) < SETTLED_S else FACTS_MAX_AGE_S
    return age < 0 or age >= limit
