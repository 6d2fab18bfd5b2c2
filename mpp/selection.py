"""
Keeps the current Selection up to date: round after round locates, observes, and publishes. Knows the order of these steps
and whose word counts; what each step does is known to others, and so is when a round begins (Note [Rounds] in `mpp.rounds`).

Requests report what they saw, and reports do not wait for rounds: whom they eject (`mpp.ejection`) leaves the current Selection
at once. Who has to prove that it is well is probed between the rounds too, alone, and what comes of that is merged into the
current Selection. A round probes everyone, so it puts off all these follow-ups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from txaio.tx import make_logger
from zope.interface import implementer

from mpp.damage import Damage
from mpp.follow_ups import FollowUps
from mpp.interfaces import ISelections, IStrategy
from mpp.journal import Journal
from mpp.metrics import Metrics
from mpp.model import Backend, Located, Observation, Selection, Standing
from mpp.publication import Publication
from mpp.query_of_death import SuspectQueries
from mpp.roster import Roster
from mpp.round_steps import Locates, Probes, Refreshes
from mpp.rounds import Repeated, Rounds, StartWaiters, of_each
from mpp.survey import Survey

_log = make_logger()

# Between the beginnings of two rounds: hardly noticed by who waits for one, bearable for the backends.
MIN_SPACING_S = 0.2
# Between two follow-ups, of any backends: far shorter than what they wait for, so it only ever gathers those of many.
_FOLLOW_UP_SPACING_S = 0.05
# Between rounds while no backend is known: requests may wait for the first one.
_SEARCH_INTERVAL_S = 1.0

_Probed = tuple[Observation, int]
"""What a probe saw, and how many failed requests had been reported of the backend when it began."""


@implementer(ISelections)
class SelectionService(Service):
    """
    The living Selection.

    :param clock: for the interval between rounds, monotonic.
    :param wall: the time of day, seconds since the epoch.
    :param interval: seconds between rounds.
    :param coverage_query: see `Survey`, there ``selector``.
    :param forget: called with each backend that no locator knows any more.
    :ivar journal: what became of the selection lately.
    :ivar suspects: see `ISelections`.
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
        self._repeated = Repeated(self.reselect, clock, interval)
        self.journal = Journal(wall)
        self._published = Publication(strategy, wall, metrics, self.journal)
        self._roster = Roster(clock, wall, metrics, self.journal)
        self._damage = Damage(clock, metrics, self.journal)
        self._follow_ups = FollowUps(self._follow_up, self._roster.due, clock, _FOLLOW_UP_SPACING_S)
        counted, note = metrics.surveyed, self.journal.note
        self._survey = Survey(prober, clock, wall, changed=self._republish, selector=coverage_query, counted=counted, note=note)
        self._located: dict[Backend, Located] = {}

    @property
    def current(self) -> Selection:
        """The Selection in force, see `ISelections`."""
        return self._published.current

    def startService(self) -> None:
        """Begin the first round at once."""
        Service.startService(self)
        self._first.begin()
        self._locator.start(self._rounds.renew)
        self._repeated.start()

    def stopService(self) -> None:
        """End the rounds; who still waits for one gets the current Selection."""
        Service.stopService(self)
        self._locator.stop()
        self._repeated.stop()
        self._rounds.stop()
        self._follow_ups.pause()
        self._survey.stop()
        self._prober.stop()
        self._first.fire()

    def reconfigure(self, prober: Probes, strategy: IStrategy, interval: float, coverage_query: str = "") -> None:
        """Go on with these, at once. What is known of the backends stays."""
        self._prober.stop()
        self._prober = prober
        self._published.strategy = strategy
        self._survey.reconfigure(prober, coverage_query)
        if self.running:
            self._rounds.renew()
        self._interval = interval
        self._repeated.change(self._pace())

    def _pace(self) -> float:
        """Return how many seconds apart rounds are: less while there is nothing to serve from."""
        return self._interval if self._located else min(self._interval, _SEARCH_INTERVAL_S)

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
        observation = self._published.observation(backend)
        if observation is None:
            return
        self._roster.failed(backend, standing, why)
        self._published.replace(self._shown(observation))
        if self.running:
            self._survey.begin()
            self._follow_ups.plan()
            if standing > Standing.SUSPECT:
                self._rounds.renew()

    def storage_failed(self, backend: Backend, error: str) -> None:
        """Note that a backend cannot read a part of its storage, see `ISelections`."""
        observation = self._published.observation(backend)
        if observation is not None:
            self._damage.note(backend, error)
            self._published.replace(self._shown(observation))

    def answered(self, backend: Backend) -> None:
        """Take note of a request that was answered, see `ISelections`. Nearly always there is nothing to do."""
        if self._roster.failing:
            self._roster.answered(backend)

    def rescued(self, failed: Backend, by: Backend) -> None:
        """Note that a request which failed on one backend was answered by one that is out of service, see `ISelections`."""
        observation = self._published.observation(by)
        if observation is None or self._published.observation(failed) is None:
            return
        self._roster.rescued(failed, by, observation.why)
        self._republish()
        if self.running:
            self._follow_ups.plan()

    def suspect(self, key: str, why: str) -> None:
        """Remember a read that a server may have died of, see `ISelections`."""
        self.suspects.add(key)
        self.journal.note("crash", why)

    @property
    def failing(self) -> Mapping[Backend, int]:
        """The backends in service on which the last request failed, with the number of failed requests reported of each."""
        return {backend: self._roster.reports(backend) for backend in self._roster.failing}

    def watch(self, changed: Callable[[], None]) -> None:
        """Call this whenever there is a new Selection in force."""
        self._published.changed = changed

    def moved(self, host: str) -> None:
        """
        Read nothing on from servers at former addresses of a host name, and publish the Selection anew.

        The workers are told the addresses with each new Selection, and have to know these at once.
        """
        self._prober.keep([backend for backend in self._located if backend.host != host])
        self._published.publish(self.current.observations)

    def _shown(self, observation: Observation) -> Observation:
        """Return an observation as it is published: what requests and the locator hold against the backend counts."""
        shown, backend = self._damage.shown(self._roster.shown(observation)), observation.backend
        if not self._roster.vouches(backend):
            shown = _as_located(shown, self._located.get(backend))
        return self._survey.shown(shown)

    def _republish(self) -> None:
        """Publish what is known of all backends now."""
        self._published.publish(tuple(map(self._shown, self.current.observations)))

    def _run(self) -> Deferred[None]:
        """Make one round. Whatever goes wrong in it ends here, so that there is a next one."""
        began = self._clock.seconds()
        round_ = Deferred.fromCoroutine(self._observe())
        return round_.addCallback(self._conclude, began).addErrback(self._failed).addCallback(self._go_on)

    async def _observe(self) -> list[_Probed]:
        located = await self._locator.locate()
        await self._addresses.refresh(tuple(each.backend for each in located))
        self._follow_ups.pause()
        self._located = {each.backend: each for each in located}
        known = self.current.observed
        return await of_each(lambda backend: self._probe(backend, known.get(backend)), self._located, self._clock)

    def _go_on(self, _: None) -> None:
        if self.running:
            self._follow_ups.resume()
            self._repeated.change(self._pace())

    def _follow_up(self, backend: Backend) -> Deferred[None]:
        """Probe one backend between the rounds."""
        self._addresses.renew_credentials()
        return self._probe(backend, self._published.observation(backend)).addCallback(self._merge)

    def _merge(self, probed: _Probed) -> None:
        self._note(probed)
        observation = self._shown(probed[0])
        self._published.replace(observation)
        self._roster.tell_standing(observation)
        self._survey.begin()

    def _note(self, probed: _Probed) -> None:
        observation, reports = probed
        located = self._located.get(observation.backend)
        self._roster.observed(observation, reports, held=located is not None and bool(located.not_ready))

    def _probe(self, backend: Backend, previous: Observation | None) -> Deferred[_Probed]:
        reports = self._roster.reports(backend)

        def unobserved(failure: Failure) -> Observation:
            if failure.check(CancelledError):
                failure.raiseException()
            _log.failure("Bug: {backend} could not be probed", failure, backend=backend.name)
            last = previous or Observation(backend, Standing.SUSPECT)
            return evolve(last, standing=Standing.SUSPECT, why=f"could not be probed: {failure.getErrorMessage()}")

        probed: Deferred[Observation] = maybeDeferred(self._prober.probe, backend, previous)
        return probed.addErrback(unobserved).addCallback(lambda observation: (observation, reports))

    def _conclude(self, probed: list[_Probed], began: float) -> None:
        gone = [o.backend for o in self.current.observations if o.backend not in self._located]
        for backend in gone:
            self._roster.forget(backend)
            self._damage.forget(backend)
        self._prober.keep(self._located)
        self._survey.keep(self._located)
        # The bad ones first: whether another backend is in service counts for the good ones.
        for each in sorted(probed, key=_badness):
            self._note(each)
        for observation, _ in probed:
            self._shown(observation)
        self._survey.begin()
        observations = tuple(self._shown(observation) for observation, _ in probed)
        self._published.publish(observations)
        for observation in observations:
            self._roster.tell_standing(observation)
        for backend in gone:
            _log.info("{backend} is no longer listed", backend=backend.name)
            self._forget(backend)
        self._metrics.selection_rounds.inc("ok")
        self.took = self._clock.seconds() - began
        self._metrics.round_duration.observe(self.took)
        self._first.settle(found=bool(observations))

    def _failed(self, failure: Failure) -> None:
        # What a round says that was cancelled by stopService is of no interest.
        if self.running:
            _log.failure("A selection round failed", failure)
            self._metrics.selection_rounds.inc("failed")


def _badness(probed: _Probed) -> int:
    return -probed[0].standing


def _as_located(observation: Observation, located: Located | None) -> Observation:
    """Believe the locator when it says that a backend is not ready, whatever the backend says."""
    if located is not None and located.not_ready and observation.standing < Standing.NOT_READY:
        return evolve(observation, standing=Standing.NOT_READY, why=located.not_ready)
    return observation
