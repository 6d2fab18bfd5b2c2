"""
Makes one observation of a server: asks it, and has `mpp.readings` judge the responses. Knows neither what a response means nor
who is selected.

In every round ``/-/ready``, a real query and, where it exists, runtimeinfo are asked side by side, each with its own time
limit. What changes slowly is read about once a minute and after a restart.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime

from mpp.errors import UpstreamError
from mpp.facts import Facts
from mpp.interfaces import IUpstreams
from mpp.model import Backend, Observation, Standing
from mpp.probe.requests import PROBE_TIMEOUT_S, ProbeRequests, query_path
from mpp.probe.state import StateReader
from mpp.readings import is_refusal, is_turned_away, judge, was_not_asked
from mpp.runtime import Outcome, Runtime, read_replay, read_runtime

# Facts move by hours; reading them costs the server what a scrape costs.
FACTS_MAX_AGE_S = 60.0
# Facts this new are not read again on the mere suspicion of a restart: a flapping server must not be scraped at each flap.
FACTS_MIN_AGE_S = 5.0

# How many times of a server's answers to /-/ready are kept: half of them make a new median.
_READY_KEPT = 20
# The server's own limit ends a little before ours, so that a busy server can say so and the connection can be kept.
_SERVER_SHARE = 0.9
# How far the start times from two sources may be apart, in seconds (process start, and web server start a little later).
_SAME_START_S = 10.0


class Prober:
    """
    Makes observations.

    :param clock: for durations and time limits, monotonic.
    :param wall: the time of day, seconds since the epoch.
    :param timeout: seconds for each small request, from dialing to the last byte.
    :param minimum_history: see `StateReader`.
    """

    def __init__(
        self,
        upstreams: IUpstreams,
        clock: IReactorTime,
        *,
        wall: Callable[[], float],
        timeout: float = PROBE_TIMEOUT_S,
        minimum_history: float | None = None,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._requests = ProbeRequests(upstreams, clock, wall, timeout)
        self._state = StateReader(self._requests, clock, wall, minimum_history)
        query = query_path("vector(1)", timeout=f"{timeout * _SERVER_SHARE * 1000:.0f}ms")
        self._paths: tuple[str, ...] = ("/-/ready", query, "/api/v1/status/runtimeinfo")

    def probe(self, backend: Backend, previous: Observation | None) -> Deferred[Observation]:
        """
        Observe a backend once.

        :param previous: what was seen of it last; its facts are kept until they are old.
        :return Deferred(Observation): fires after `PROBE_TIMEOUT_S` at the latest, `state.METRICS_TIMEOUT_S` later when facts are
            read. A failed probe is an observation. Cancelling it leaves no request and no connection behind.
        """
        return Deferred.fromCoroutine(self._probe(backend, previous))

    async def _probe(self, backend: Backend, previous: Observation | None) -> Observation:
        at, began = self._wall(), self._clock.seconds()
        ready, query, status, *replay = await self._ask_all(backend, previous)
        standing, why = judge(ready, query, status)
        if previous is not None and was_not_asked(ready) and previous.standing > standing:
            standing, why = previous.standing, previous.why
        facts = Facts() if previous is None else previous.facts
        if standing in (Standing.VIABLE, Standing.BUSY):
            runtime = read_runtime(status)
            restarted = _restarted(facts, runtime)
            if restarted or _due(previous, at):
                facts = await self._read_facts(backend, facts, runtime)
        took = self._clock.seconds() - began
        refused = standing is Standing.NOT_READY and is_refusal(ready, query)
        turned_away = standing in (Standing.BUSY, Standing.NOT_READY) and is_turned_away(ready, query)
        observation = Observation(backend, standing, why, facts, at, took, refused=refused, turned_away=turned_away)
        observation = evolve(observation, ready_took=_ready_took(previous, ready))
        if previous is not None and replay and standing is Standing.NOT_READY:
            return evolve(observation, replay=read_replay(replay[0], previous.replay, at))
        return observation

    async def _ask_all(self, backend: Backend, previous: Observation | None) -> list[Outcome]:
        paths = self._paths
        if previous is not None and previous.standing > Standing.BUSY:
            paths = (*paths, "/api/v1/status/walreplay")
        asked = [Deferred.fromCoroutine(self._requests.ask(backend, path)) for path in paths]
        try:
            return await gatherResults(asked, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()

    async def _read_facts(self, backend: Backend, old: Facts, runtime: Runtime | None) -> Facts:
        """Return new facts, or the old ones marked to be read again in the next round."""
        try:
            return await self._state.read(backend, old, runtime)
        except UpstreamError:
            return evolve(old, read_at=0.0)


def _ready_took(previous: Observation | None, ready: Outcome) -> tuple[float, ...]:
    """Return how long the last answers to ``/-/ready`` took, this one included if it is an answer."""
    before = () if previous is None else previous.ready_took
    return before if isinstance(ready, UpstreamError) else (*before, ready.took)[-_READY_KEPT:]


def _restarted(facts: Facts, runtime: Runtime | None) -> bool:
    """Tell whether the server says that it started at another time than known; tolerant, since two sources may have been used."""
    if runtime is None or runtime.started_at is None or facts.started_at is None:
        return False
    return abs(runtime.started_at - facts.started_at) > _SAME_START_S


def _due(previous: Observation | None, now: float) -> bool:
    """Tell whether the slow facts are old, or likely to be wrong because the backend was away or had no data."""
    if previous is None:
        return True
    facts = previous.facts
    age = now - facts.read_at
    # A young server has no data yet, and will have some soon.
    was_empty = facts.oldest is None and facts.samples is None
    was_away = previous.standing in (Standing.NOT_READY, Standing.DOWN)
    return age < 0 or age >= FACTS_MAX_AGE_S or (age >= FACTS_MIN_AGE_S and (was_away or was_empty))
