"""
Keeps the current Selection: round after round locates, observes, selects, and publishes. Knows the order of these steps
and whose word counts; what each step does is known to others, and so is when a round begins (Note [Rounds] in `mpp.rounds`).

A request that failed reports what it saw, and reports do not wait for rounds: they change the current Selection at once,
and are held against the probes of a running round, which began before and may not know yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from txaio.tx import make_logger
from zope.interface import implementer

from mpp.interfaces import ISelections, IStrategy
from mpp.metrics import Metrics
from mpp.model import Backend, Choice, Located, Observation, Selection, Standing
from mpp.rounds import Rounds, Waiters
from mpp.strategies import describe

_log = make_logger()

# Between the beginnings of two rounds: hardly noticed by who waits for one, bearable for the backends.
MIN_SPACING_S = 0.2

STRATEGY_FAILED = "the routing strategy failed (see the log), the last choice is kept"


class Locates(Protocol):
    """Lists the backends, and fails only when cancelled: `mpp.locators.merged.MergedLocator`."""

    def locate(self) -> Deferred[tuple[Located, ...]]:
        """See `MergedLocator`."""

    def start(self, changed: Callable[[], None]) -> None:
        """See `MergedLocator`."""

    def stop(self) -> None:
        """See `MergedLocator`."""


class Refreshes(Protocol):
    """Looks host names up, and fails only when cancelled: `mpp.addresses.AddressBook`."""

    def refresh(self, backends: tuple[Backend, ...], /) -> Deferred[None]:
        """See `AddressBook`."""


class Probes(Protocol):
    """Observes a backend, and fails only when cancelled: `mpp.probe.Prober`."""

    def probe(self, backend: Backend, previous: Observation | None, /) -> Deferred[Observation]:
        """See `Prober`."""


@implementer(ISelections)
class SelectionService(Service):
    """
    The living Selection.

    :param clock: for the interval between rounds, monotonic.
    :param wall: the time of day, seconds since the epoch.
    :param interval: seconds between rounds.
    :param forget: called with each backend that no locator knows any more.
    :ivar current: see `ISelections`.
    :ivar took: how long the last round took, in seconds; None before the first one has finished.
    """

    def __init__(
        self,
        locator: Locates,
        addresses: Refreshes,
        prober: Probes,
        strategy: IStrategy,
        *,
        clock: IReactorTime,
        wall: Callable[[], float],
        interval: float,
        metrics: Metrics,
        forget: Callable[[Backend], None],
    ) -> None:
        self.current = Selection()
        self.took: float | None = None
        self._locator = locator
        self._addresses = addresses
        self._prober = prober
        self._strategy = strategy
        self._clock = clock
        self._wall = wall
        self._interval = interval
        self._metrics = metrics
        self._forget = forget
        self._rounds = Rounds(self._run, clock, MIN_SPACING_S)
        self._first = Waiters()
        self._loop = LoopingCall(self.reselect)
        self._loop.clock = clock
        self._reports: dict[Backend, tuple[Standing, str]] = {}
        self._told: dict[Backend, Standing] = {}

    def startService(self) -> None:
        """Begin the first round at once."""
        Service.startService(self)
        self._locator.start(self._rounds.renew)
        self._loop.start(self._interval).addErrback(lambda f: _log.failure("Selection rounds have ended", f))

    def stopService(self) -> None:
        """End the rounds; who still waits for one gets the current Selection."""
        Service.stopService(self)
        self._locator.stop()
        if self._loop.running:
            self._loop.stop()
        self._rounds.stop()
        self._first.fire()

    def ready(self) -> Deferred[Selection]:
        """Wait for the first round, see `ISelections`."""
        waiter = self._first.wait()
        if self.took is not None:
            self._first.fire()
        return waiter.addCallback(self._give_current)

    def reselect(self) -> Deferred[Selection]:
        """Join or begin a round, see `ISelections`. Once the service is stopped there are no more rounds."""
        waiter = self._rounds.join() if self.running else _done()
        return waiter.addCallback(self._give_current)

    def _give_current(self, _: None) -> Selection:
        return self.current

    def report(self, backend: Backend, standing: Standing, why: str) -> None:
        """Take note of what a request saw, see `ISelections`. It never improves a standing."""
        known = self._reports.get(backend)
        if known is None or standing > known[0]:
            self._reports[backend] = (standing, why)
        observations = self._with_reports(self.current.observations)
        if observations != self.current.observations:
            self._publish(observations)
        if self.running:
            self._rounds.renew()

    def answered(self, backend: Backend) -> None:
        """Take note of a good answer, see `ISelections`."""

    def _with_reports(self, observations: tuple[Observation, ...]) -> tuple[Observation, ...]:
        return tuple(self._with_report(o) for o in observations) if self._reports else observations

    def _with_report(self, observation: Observation) -> Observation:
        standing, why = self._reports.get(observation.backend, (Standing.VIABLE, ""))
        return evolve(observation, standing=standing, why=why) if standing > observation.standing else observation

    def _run(self) -> Deferred[None]:
        """Make one round. Whatever goes wrong in it ends here, so that there is a next one."""
        began = self._clock.seconds()
        round_ = Deferred.fromCoroutine(self._observe())
        return round_.addCallback(self._conclude, began).addErrback(self._failed)

    async def _observe(self) -> tuple[Observation, ...]:
        located = await self._locator.locate()
        await self._addresses.refresh(tuple(each.backend for each in located))
        # What was reported so far is older than these probes.
        self._reports.clear()
        known = {o.backend: o for o in self.current.observations}
        probes = [self._probe(each, known.get(each.backend)) for each in located]
        return tuple(await gatherResults(probes, consumeErrors=True))

    def _probe(self, located: Located, previous: Observation | None) -> Deferred[Observation]:
        backend = located.backend

        def unobserved(failure: Failure) -> Observation:
            if failure.check(CancelledError):
                failure.raiseException()
            _log.failure("Bug: {backend} could not be probed", failure, backend=backend.name)
            last = previous or Observation(backend, Standing.SUSPECT)
            return evolve(last, standing=Standing.SUSPECT, why=f"could not be probed: {failure.getErrorMessage()}")

        probed: Deferred[Observation] = maybeDeferred(self._prober.probe, backend, previous)
        return probed.addErrback(unobserved).addCallback(_as_located, located)

    def _conclude(self, observed: tuple[Observation, ...], began: float) -> None:
        known = {o.backend for o in observed}
        gone = [o.backend for o in self.current.observations if o.backend not in known]
        observations = self._with_reports(observed)
        self._publish(observations)
        self._tell_standings(observations)
        for backend in gone:
            _log.info("{backend} is no longer listed", backend=backend.name)
            self._forget(backend)
        self._metrics.selection_rounds.labels("ok").inc()
        self.took = self._clock.seconds() - began
        self._first.fire()

    def _failed(self, failure: Failure) -> None:
        # What a round says that was cancelled by stopService is of no interest.
        if self.running:
            _log.failure("A selection round failed", failure)
            self._metrics.selection_rounds.labels("failed").inc()

    def _tell_standings(self, observations: tuple[Observation, ...]) -> None:
        """Count who is not viable, and log whose standing has changed since the last round."""
        for o in observations:
            standing = o.standing.name.lower()
            if o.standing is not Standing.VIABLE:
                self._metrics.probe_errors.labels(o.backend.name, standing).inc()
            before = self._told.get(o.backend)
            if before is None or o.standing < before:
                _log.info("{backend} is {standing}{why}", backend=o.backend.name, standing=standing, why=_after_colon(o.why))
            elif o.standing > before:
                _log.warn("{backend} is {standing}{why}", backend=o.backend.name, standing=standing, why=_after_colon(o.why))
        self._told = {o.backend: o.standing for o in observations}

    def _publish(self, observations: tuple[Observation, ...]) -> None:
        """Make a Selection of what is known now, and put it in force."""
        last, now = self.current, self._wall()
        choice = self._choose(observations, now)
        if choice == last.choice and last.generation:
            self.current = evolve(last, observations=observations)
            return
        self.current = Selection(last.generation + 1, choice, observations, now)
        if choice.degraded and choice.degraded != last.choice.degraded:
            _log.warn("Selection is degraded: {degraded}", degraded=choice.degraded)
        elif last.choice.degraded and not choice.degraded:
            _log.info("Selection is no longer degraded")
        if choice.selected != last.choice.selected:
            self._metrics.selection_events.inc()
            _log.info("{change}", change=describe_change(last, self.current, now))

    def _choose(self, observations: tuple[Observation, ...], now: float) -> Choice:
        """Ask the strategy. It may be anyone's, and requests depend on what is published: its bugs end here."""
        last = self.current.choice
        try:
            return self._strategy.select(observations, last if self.current.generation else None, now)
        except Exception:
            if last.degraded != STRATEGY_FAILED:
                _log.failure("Bug in routing strategy {strategy}", strategy=repr(self._strategy))
            return keep_choice(last, observations)


def _as_located(observation: Observation, located: Located) -> Observation:
    """Believe the locator when it says that a backend is not ready, whatever the backend says."""
    if located.not_ready and observation.standing < Standing.NOT_READY:
        return evolve(observation, standing=Standing.NOT_READY, why=located.not_ready)
    return observation


def keep_choice(last: Choice, observations: tuple[Observation, ...]) -> Choice:
    """Give the last choice, less those that are gone or known to be unusable; everyone else is a standby, by standing."""
    usable = {o.backend for o in observations if o.standing < Standing.NOT_READY}
    selected = tuple(b for b in last.selected if b in usable)
    ranked = (o.backend for o in sorted(observations, key=lambda o: o.standing))
    return Choice(selected, tuple(b for b in ranked if b not in selected), STRATEGY_FAILED)


def describe_change(last: Selection, new: Selection, now: float) -> str:
    """Give one line for the log: who takes traffic, and what became of who took it before."""
    left = [b for b in last.selected if b not in new.selected]
    came = [b for b in new.selected if b not in last.selected]
    known = {o.backend: o for o in new.observations}
    text = f"Selection {new.generation}: {', '.join(b.name for b in new.selected) or 'nobody'}"
    parts = [f"new: {_state(b, known.get(b), now)}" for b in came] + [f"out: {_state(b, known.get(b), now)}" for b in left]
    return f"{text} ({'; '.join(parts)})" if parts else text


def _state(backend: Backend, observation: Observation | None, now: float) -> str:
    if observation is None:
        return f"{backend.name} no longer listed"
    if observation.why:
        return f"{backend.name} {observation.standing.name.lower()}: {observation.why}"
    return f"{backend.name} with {describe(observation.history(now))} of history"


def _after_colon(why: str) -> str:
    return f": {why}" if why else ""


def _done() -> Deferred[None]:
    done: Deferred[None] = Deferred()
    done.callback(None)
    return done
