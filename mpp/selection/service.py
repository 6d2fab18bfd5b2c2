"""
Keeps the current Selection up to date: round after round locates, observes, and publishes. Knows the order of these steps
and whose word counts; what each step does is known to others, and so is when a round begins (Note [Rounds] in
`mpp.selection.rounds`).

Requests report what they saw, and reports do not wait for rounds: whom they eject (`mpp.selection.outliers.ejection`) leaves the
current Selection at once. Who has to prove that it is well is probed between the rounds too, alone, and what comes of that is
merged into the current Selection. A round probes everyone, so it puts off all these follow-ups.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from txaio.tx import make_logger
from zope.interface import implementer

from mpp.core.interfaces import ISelections, IStrategy
from mpp.core.metrics import Metrics
from mpp.core.model import Backend, Observation, Selection, Standing
from mpp.core.pacing import of_each, with_breaks
from mpp.selection.event_log import EventLog
from mpp.selection.evidence import Evidence, Probed
from mpp.selection.probe_schedule import ProbeSchedule
from mpp.selection.publication import Publication
from mpp.selection.query_of_death import SuspectQueries
from mpp.selection.round_steps import BackendProber, BackendSource, BeforeRound
from mpp.selection.rounds import PeriodicCall, Rounds, StartWaiters
from mpp.selection.updates import Updates

_log = make_logger()

# Between the beginnings of two rounds: hardly noticed by who waits for one, bearable for the backends.
MIN_SPACING_S = 0.2
# Between two follow-ups, of any backends: far shorter than what they wait for, so it only ever gathers those of many.
_FOLLOW_UP_SPACING_S = 0.05
# So many begin together. A probe takes about 1.5 ms of CPU time: many servers that are down take a fifth of a core at most.
_FOLLOW_UPS = 4
# Between rounds while no backend is known: requests may wait for the first one.
_SEARCH_INTERVAL_S = 1.0


@implementer(ISelections)
class SelectionService(Service):
    """
    The living Selection.

    :param clock: for the interval between rounds, monotonic.
    :param wall: the time of day, seconds since the epoch.
    :param interval: seconds between rounds.
    :param coverage_query: see `Survey`, there ``selector``.
    :param forget: called with each backend that no locator knows any more.
    :ivar event_log: what became of the selection lately.
    :ivar suspects: see `ISelections`.
    :ivar took: how long the last round took, in seconds; None before the first one has finished.
    """

    def __init__(
        self,
        locator: BackendSource,
        addresses: BeforeRound,
        prober: BackendProber,
        strategy: IStrategy,
        *,
        clock: IReactorTime,
        wall: Callable[[], float],
        interval: float,
        metrics: Metrics,
        forget: Callable[[Backend], None],
        coverage_query: str = "",
    ) -> None:
        self.took: float | None = None
        self.suspects = SuspectQueries(clock.seconds)
        self._locator = locator
        self._addresses = addresses
        self._prober = prober
        self._clock = clock
        self._metrics = metrics
        self._forget = forget
        self._rounds = Rounds(self._run, clock, MIN_SPACING_S)
        self._first = StartWaiters(clock.seconds)
        self._interval = interval
        self._repeated = PeriodicCall(self.reselect, clock, interval)
        self.event_log = EventLog(wall)
        self._published = Publication(strategy, wall, metrics, self.event_log)
        self._evidence = Evidence(
            prober, clock, wall, metrics=metrics, event_log=self.event_log, changed=self._republish, coverage_query=coverage_query
        )
        self._membership, self._survey = self._evidence.roster, self._evidence.survey
        self._updates = Updates(self._published, clock, self._survey.begin)
        self._follow_ups = ProbeSchedule(
            self._follow_up, self._membership.due, clock, _FOLLOW_UP_SPACING_S, most=_FOLLOW_UPS, latest=self._membership.latest
        )

    @property
    def current(self) -> Selection:
        """The Selection in force, see `ISelections`."""
        return self._published.current

    def startService(self) -> None:
        """Begin the first round at once."""
        Service.startService(self)
        self._first.begin()
        self._locator.start(self._rounds.refresh)
        self._repeated.start()

    def stopService(self) -> None:
        """End the rounds; who still waits for one gets the current Selection."""
        Service.stopService(self)
        self._locator.stop()
        self._repeated.stop()
        self._rounds.stop()
        self._follow_ups.pause()
        self._survey.stop()
        self._updates.clear()
        self._prober.stop()
        self._first.fire()

    def reconfigure(self, prober: BackendProber, strategy: IStrategy, interval: float, coverage_query: str = "") -> None:
        """Go on with these, at once. What is known of the backends stays."""
        self._prober.stop()
        self._prober = prober
        self._published.strategy = strategy
        self._survey.reconfigure(prober, coverage_query)
        if self.running:
            self._rounds.refresh()
        self._interval = interval
        self._repeated.change(self._pace())

    def _pace(self) -> float:
        """Return how many seconds apart rounds are: less while there is nothing to serve from."""
        return self._interval if self._evidence.discovered else min(self._interval, _SEARCH_INTERVAL_S)

    def ready(self) -> Deferred[Selection]:
        """Wait for the first backend, see `ISelections`."""
        waiter = self._first.wait()
        if self.took is not None:
            self._first.settle(found=bool(self.current.observations))
        return waiter.addCallback(self._give_current)

    def reselect(self) -> Deferred[Selection]:
        """Join or begin a round, see `ISelections`. Once the service is stopped there are no more rounds."""
        waiter = self._rounds.join() if self.running else succeed(None)
        return waiter.addCallback(self._give_current)

    def _give_current(self, _: None) -> Selection:
        return self.current

    def report(self, backend: Backend, standing: Standing, why: str) -> None:
        """Take note of a request that failed, see `ISelections`. It never improves a standing."""
        observation = self._updates.latest(backend)
        if observation is None:
            return
        self._membership.failed(backend, standing, why)
        self._updates.put(self._evidence.shown(observation), at_once=True)
        if self.running:
            self._follow_ups.plan()
            if standing > Standing.SUSPECT:
                self._rounds.refresh()

    def storage_failed(self, backend: Backend, error: str) -> None:
        """Note that a backend cannot read a part of its storage, see `ISelections`."""
        observation = self._updates.latest(backend)
        if observation is not None:
            self._evidence.damage.record(backend, error)
            self._updates.put(self._evidence.shown(observation))

    def answered(self, backend: Backend) -> None:
        """Take note of a request that was answered, see `ISelections`. Nearly always there is nothing to do."""
        if self._membership.failing:
            self._membership.answered(backend)

    def rescued(self, failed: Backend, by: Backend) -> None:
        """Note that a request which failed on one backend was answered by one that is out of service, see `ISelections`."""
        observation = self._published.observation(by)
        if observation is None or self._published.observation(failed) is None:
            return
        self._membership.rescued(failed, by, observation.why)
        self._republish((failed, by))
        if self.running:
            self._follow_ups.plan()

    def suspect(self, key: str, why: str) -> None:
        """Remember a read that a server may have died of, see `ISelections`."""
        self.suspects.add(key)
        self.event_log.record("crash", why)

    @property
    def failing(self) -> Mapping[Backend, int]:
        """The backends in service on which the last request failed, with the number of failed requests reported of each."""
        return {backend: self._membership.reports(backend) for backend in self._membership.failing}

    def watch(self, changed: Callable[[], None]) -> None:
        """Call this whenever there is a new Selection in force."""
        self._published.changed = changed

    def moved(self, host: str) -> None:
        """
        Read nothing on from servers at former addresses of a host name, and publish the Selection anew.

        The workers are told the addresses with each new Selection, and have to know these soon.
        """
        self._prober.keep([backend for backend in self._evidence.discovered if backend.host != host])
        self._updates.again()

    def _republish(self, backends: Collection[Backend]) -> None:
        """Publish what is known of these backends now."""
        known = filter(None, map(self._updates.latest, backends))
        self._updates.put_together([self._evidence.shown(observation) for observation in known])

    def _run(self) -> Deferred[None]:
        """Make one round. Whatever goes wrong in it ends here, so that there is a next one."""
        began = self._clock.seconds()
        return Deferred.fromCoroutine(self._round(began)).addErrback(self._failed).addCallback(self._go_on)

    async def _round(self, began: float) -> None:
        await self._conclude(await self._observe())
        self._metrics.selection_rounds.inc("ok")
        self.took = self._clock.seconds() - began
        self._metrics.round_duration.observe(self.took)
        self._first.settle(found=bool(self.current.observations))

    async def _observe(self) -> list[Probed]:
        located = await self._locator.locate()
        await self._addresses.refresh(tuple(each.backend for each in located))
        self._follow_ups.pause()
        self._evidence.discovered = {each.backend: each for each in located}
        known = self.current.observed
        return await of_each(lambda backend: self._probe(backend, known.get(backend)), self._evidence.discovered, self._clock)

    def _go_on(self, _: None) -> None:
        if self.running:
            self._follow_ups.resume()
            self._repeated.change(self._pace())

    def _follow_up(self, backend: Backend) -> Deferred[None]:
        """Probe one backend between the rounds."""
        self._addresses.refresh_credentials()
        return self._probe(backend, self._updates.latest(backend)).addCallback(self._merge)

    def _probe(self, backend: Backend, previous: Observation | None) -> Deferred[Probed]:
        return self._evidence.probed(self._prober, backend, previous)

    def _merge(self, probed: Probed) -> None:
        self._evidence.note(probed)
        observation = self._evidence.shown(probed.observation)
        self._updates.put(observation)
        self._membership.log_standing(observation)

    async def _conclude(self, probed: list[Probed]) -> None:
        """Publish what a round has found, in steps between which requests go on; what these report meanwhile counts."""
        located = self._evidence.discovered
        gone = [o.backend for o in self.current.observations if o.backend not in located]
        self._evidence.forget(gone)
        self._prober.keep(located)
        # The bad ones first: whether another backend is in service counts for the good ones.
        await with_breaks(self._evidence.note, sorted(probed, key=lambda each: -each.observation.standing), self._clock)
        # What each lacks depends on what all were seen like.
        observations = [each.observation for each in probed]
        await with_breaks(self._evidence.shown, observations, self._clock)
        self._survey.begin()
        await with_breaks(lambda each: self._updates.gather(self._evidence.shown(each)), observations, self._clock)
        self._updates.publish(located)
        # Once more: until now requests may have failed on them.
        self._evidence.forget(gone)
        await with_breaks(self._tell_standing, located, self._clock)
        await with_breaks(self._forget_entirely, gone, self._clock)

    def _tell_standing(self, backend: Backend) -> None:
        observation = self._updates.latest(backend)
        if observation is not None:
            self._membership.log_standing(observation)

    def _forget_entirely(self, backend: Backend) -> None:
        _log.info("{backend} is no longer listed", backend=backend.name)
        self._forget(backend)

    def _failed(self, failure: Failure) -> None:
        # What a round says that was cancelled by stopService is of no interest.
        if self.running:
            _log.failure("A selection round failed", failure)
            self._metrics.selection_rounds.inc("failed")
