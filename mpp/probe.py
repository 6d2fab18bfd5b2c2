"""
Observes one backend: asks it through the wire layer, and gives what `mpp.readings` makes of the answers. Knows requests
and time limits; knows neither what an answer means nor who is selected.

In every round ``/-/ready``, a real query and, where it exists, runtimeinfo are asked side by side, each with its own time
limit. The big ``/metrics`` page is read, as it streams, about once a minute and after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, NoReturn, Protocol, TypeVar
from urllib.parse import urlencode

from attrs import evolve
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mpp import headers
from mpp.errors import Cause, Phase, UpstreamError
from mpp.exposition import MetricsScanner
from mpp.facts import Facts
from mpp.fingerprint import Fingerprint
from mpp.interfaces import IBodyConsumer, IResponse, IUpstreams
from mpp.model import MIB, Backend, Observation, Standing
from mpp.progress import Question
from mpp.readings import IN_USE, METRICS, has_samples, is_refusal, is_turned_away, judge, read_facts, was_not_asked
from mpp.runtime import Answer, Outcome, Runtime, read_query_slots, read_replay, read_runtime

# A server that has not answered "1" after a second will not serve dashboards; a round over dead hosts is as long.
PROBE_TIMEOUT_S = 1.0
# The whole /metrics page: some MB over a slow network. With the second before it still shorter than a request waits for a round.
METRICS_TIMEOUT_S = 3.0
# Facts move by hours; reading them costs the server what a scrape costs.
FACTS_MAX_AGE_S = 60.0
# Facts this new are not read again on the mere suspicion of a restart: a flapping server must not be scraped at each flap.
FACTS_MIN_AGE_S = 5.0

# How many times of a server's answers to /-/ready are kept: half of them make a new median.
_READY_KEPT = 20

# The probes' JSON answers have a few hundred bytes.
_BODY_BYTES = 64 * 1024
# The page of a server with 10,000 targets has some 10 MB.
_METRICS_BYTES = 64 * MIB
# The server's own limit ends a little before ours, so that a busy server can say so and the connection can be kept.
_SERVER_SHARE = 0.9
# How far the start times from two sources may be apart, in seconds (process start, and web server start a little later).
_SAME_START_S = 10.0


T = TypeVar("T")
Found = TypeVar("Found", covariant=True)


class Scanner(Protocol[Found]):
    """Makes something of a page that comes in pieces."""

    def feed(self, chunk: bytes) -> None:
        """Take the next piece."""

    def finish(self) -> Found:
        """Give what was found in the complete page."""


class Prober:
    """
    Makes observations.

    :param wall: the time of day, seconds since the epoch.
    :param timeout: for each small request, from dialing to the last byte.
    :param minimum_history: seconds; a backend that cannot tell its oldest sample is asked whether it has any of that age.
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
        self._upstreams = upstreams
        self._clock = clock
        self._wall = wall
        self._timeout = timeout
        self._minimum_history = minimum_history
        query = _query("vector(1)", timeout=f"{timeout * _SERVER_SHARE * 1000:.0f}ms")
        self._paths: tuple[str, ...] = ("/-/ready", query, "/api/v1/status/runtimeinfo")

    def probe(self, backend: Backend, previous: Observation | None) -> Deferred[Observation]:
        """
        Observe a backend once.

        :param previous: what was seen of it last; its facts are kept until they are old.
        :return Deferred(Observation): fires after `PROBE_TIMEOUT_S` at the latest, `METRICS_TIMEOUT_S` later when facts are
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
        asked = [Deferred.fromCoroutine(self._ask(backend, path)) for path in paths]
        try:
            return await gatherResults(asked, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()

    async def _ask(self, backend: Backend, path: str) -> Outcome:
        """Make one small request; whatever goes wrong with it is its outcome."""
        at, began, asked = self._wall(), self._clock.seconds(), Question()
        try:
            response = await self._within(self._timeout, self._send(backend, path, _BODY_BYTES, asked))
        except UpstreamError as error:
            late = error.cause is Cause.TIMEOUT and (asked.queued or asked.turn_at)
            return UpstreamError(Phase.CONNECT, Cause.FULL, IN_USE) if late else error
        body = b"".join(response.held)[:_BODY_BYTES]
        if response.complete:
            response.release()
        else:
            response.cancel()
        # What it waited in mpp for its turn is not the server's time.
        took = self._clock.seconds() - max(began, asked.turn_at)
        return Answer(response.status, body, response.headers, (at + self._wall()) / 2, took)

    async def _send(self, backend: Backend, path: str, hold: int, asked: Question | None = None) -> IResponse:
        """Send a request; once more, on a fresh connection, if the kept one turns out to be dead."""
        head = headers.own_request_head(backend, path)
        try:
            return await self._upstreams.send(backend, head, b"", fresh=False, hold=hold, progress=asked, urgent=True)
        except UpstreamError as error:
            if not error.stale:
                raise
        return await self._upstreams.send(backend, head, b"", fresh=True, hold=hold, progress=asked, urgent=True)

    def _within(self, seconds: float, coroutine: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        """Run a coroutine; cancel it, and fail with `UpstreamError`, when the time is up."""

        def run_out(_: object, seconds: float) -> NoReturn:
            raise UpstreamError(Phase.HEAD, Cause.TIMEOUT, f"after {seconds:g} s")

        return Deferred.fromCoroutine(coroutine).addTimeout(seconds, self._clock, onTimeoutCancel=run_out)

    async def _read_facts(self, backend: Backend, old: Facts, runtime: Runtime | None) -> Facts:
        """Give new facts, or the old ones marked to be read again in the next round."""
        until = self._clock.seconds() + METRICS_TIMEOUT_S
        try:
            samples = await self._within(METRICS_TIMEOUT_S, self._scan(backend, "/metrics", MetricsScanner(METRICS)))
        except UpstreamError:
            return evolve(old, read_at=0.0)
        facts = read_facts(samples, runtime, old, self._wall())
        if facts.oldest is None and self._minimum_history is not None:
            facts = evolve(facts, oldest=await self._look_back(backend, self._minimum_history))
        query_slots = read_query_slots(await self._ask(backend, "/api/v1/status/flags"))
        return evolve(facts, query_slots=query_slots, config_hash=await self._read_config(backend, old, facts, until))

    async def _read_config(self, backend: Backend, old: Facts, facts: Facts, until: float) -> str:
        """Give the hash of the configuration: the old one as long as no other was loaded."""
        if facts.config_at is None or (old.config_hash and (old.config_at, old.version) == (facts.config_at, facts.version)):
            return old.config_hash if facts.config_at is not None else ""
        try:
            left = max(0.0, until - self._clock.seconds())
            return await self._within(left, self._scan(backend, "/api/v1/status/config", Fingerprint()))
        except UpstreamError:
            return ""

    async def _scan(self, backend: Backend, path: str, scanner: Scanner[T]) -> T:
        response = await self._send(backend, path, 0)
        if response.status != 200:
            response.cancel()
            raise UpstreamError(Phase.HEAD, Cause.GARBLED, f"{path} answered {response.status}")
        page = _Page(response, path, scanner)
        response.relay(page)
        return await page.ended

    async def _look_back(self, backend: Backend, seconds: float) -> float | None:
        """Give the time so many seconds ago if the backend has data of that time, else None."""
        then = self._wall() - seconds
        outcome = await self._ask(backend, _query("count(up)", time=f"{then:.3f}", timeout=f"{self._timeout:g}s"))
        return then if has_samples(outcome) else None


@implementer(IBodyConsumer)
class _Page(Generic[T]):
    """
    Scans a page while it comes.

    :ivar ended: fires with what was found; fails with `UpstreamError`. Cancelling it ends the connection.
    """

    def __init__(self, response: IResponse, path: str, scanner: Scanner[T]) -> None:
        self._response = response
        self._path = path
        self._scanner = scanner
        self._left = _METRICS_BYTES
        self.ended: Deferred[T] = Deferred(lambda _: response.cancel())

    def body_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            self._scanner.feed(data)
        elif not self.ended.called:
            self._response.cancel()
            detail = f"{self._path} is larger than {_METRICS_BYTES // MIB} MiB"
            self.ended.errback(UpstreamError(Phase.BODY, Cause.GARBLED, detail))

    def taken(self) -> int:
        return _METRICS_BYTES - self._left

    def body_ended(self) -> None:
        if not self.ended.called:
            self.ended.callback(self._scanner.finish())

    def body_failed(self, error: Exception) -> None:
        if not self.ended.called:
            self.ended.errback(error)


def _query(expression: str, **parameters: str) -> str:
    return "/api/v1/query?" + urlencode({"query": expression, **parameters})


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
