"""
The service that keeps the current Selection up to date by repeated rounds: discover, observe, publish. It knows the order of
these steps; other modules implement them, and decide when a round starts (Note [Rounds] in `mpp.selection.rounds`).

Reports of failed requests do not wait for rounds: a backend that they eject (`mpp.selection.outliers.ejection`) leaves the
current Selection at once. A backend that must prove its health is also probed between the rounds, and the result is merged into
the current Selection. A round probes all backends, so it postpones all these follow-ups.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from operator import attrgetter

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from txaio.tx import make_logger
from zope.interface import implementer

from mpp.core.coverage import WHOLE_POOL, Coverage
from mpp.core.interfaces import ISelections, IStrategy
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, Observation, Selection, Standing
from mpp.core.scheduling.pacing import of_each, with_breaks
from mpp.core.scheduling.periodic import PeriodicCheck
from mpp.selection.event_log import EventLog
from mpp.selection.evidence import Evidence, Probed
from mpp.selection.probe_schedule import ProbeSchedule
from mpp.selection.probing.prober import Prober
from mpp.selection.publication import Publication
from mpp.selection.query_of_death import SuspectQueries
from mpp.selection.round_steps import BackendSource, BeforeRound
from mpp.selection.rounds import Rounds, StartWaiters
from mpp.selection.updates import Updates

_log = make_logger()

# Between the starts of two rounds: hardly noticed by a request that waits for one, bearable for the backends.
MIN_SPACING_S = 0.2
# Between two follow-ups, of any backends: far shorter than their due times, so that it only batches the follow-ups of many.
_FOLLOW_UP_SPACING_S = 0.05
# Maximum number that start together. A probe takes about 1.5 ms of CPU time, so many dead servers take a fifth of a core at most.
_FOLLOW_UPS = 4
# Between rounds while no backend is known: client requests may wait for the first one.
_SEARCH_INTERVAL_S = 1.0


@implementer(ISelections)
class SelectionService(Service):
    """
    The service that runs the selection rounds and owns the current Selection.

    :param clock: a monotonic clock for the rounds.
    :param wall: returns the time of day, in seconds since the epoch.
    :param interval: seconds between rounds.
    :param coverage_query: the metric by which the data of the backends is compared, see ``selector`` of `Survey`.
    :param forget: called with each backend that no locator lists any longer.
    :ivar event_log: the latest events of the selection.
    :ivar look_back: the comparison of the backends' histories.
    :ivar rules: the rules of all backends.
    :ivar coverage: the known gaps in the histories of the backends, see `ISelections`.
    :ivar suspects: the reads that may have crashed servers lately, see `ISelections`.
    :ivar took: duration of the last round in seconds; None before the first one has finished.
    """

    def __init__(
        self,
        locator: BackendSource,
        addresses: BeforeRound,
        prober: Prober,
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
        self.coverage = WHOLE_POOL
        self.suspects = SuspectQueries(clock.seconds)
        self._locator, self._addresses = locator, addresses
        self._prober = prober
        self._clock = clock
        self._metrics = metrics
        self._forget = forget
        self._rounds = Rounds(self._run, clock, MIN_SPACING_S)
        self._first = StartWaiters(clock.seconds)
        self._interval = interval
        self._repeated = PeriodicCheck(self.reselect, clock, interval, "selection rounds", _log, now=True)
        self.event_log = EventLog(wall)
        self._published = Publication(strategy, wall, metrics, self.event_log)
        self._evidence = self._begin_evidence(wall, coverage_query)
        self._membership, self.look_back, self.rules = self._evidence.roster, self._evidence.look_back, self._evidence.rules
        self._updates = Updates(self._published, clock, self._evidence.survey.begin)
        self._follow_ups = ProbeSchedule(
            self._follow_up, self._membership.due, clock, _FOLLOW_UP_SPACING_S, most=_FOLLOW_UPS, latest=self._membership.latest
        )

    def _begin_evidence(self, wall: Callable[[], float], coverage_query: str) -> Evidence:
        return Evidence(
            self._prober,
            self._clock,
            wall,
            metrics=self._metrics,
            event_log=self.event_log,
            changed=self._republish,
            learned=self._learned,
            coverage_query=coverage_query,
        )

    # Read several times for each request, so without a function in Python.
    current = property(attrgetter("_published.current"), doc="The current Selection, see `ISelections`.")

    def startService(self) -> None:
        """Start the first round at once."""
        Service.startService(self)
        self._first.begin()
        self._locator.start(self._rounds.refresh)
        self._repeated.startService()

    def stopService(self) -> None:
        """Stop the rounds; callers that wait for one get the current Selection."""
        Service.stopService(self)
        self._locator.stop()
        self._repeated.stopService()
        self._rounds.stop()
        self._follow_ups.pause()
        self._evidence.stop()
        self._updates.clear()
        self._prober.stop()
        self._first.fire()

    def reconfigure(self, prober: Prober, strategy: IStrategy, interval: float, coverage_query: str = "") -> None:
        """Replace the prober, the strategy, the interval and the metric at once; the records of failed requests stay."""
        self._prober.stop()
        self._prober = prober
        self._published.strategy = strategy
        self._evidence.reconfigure(prober, coverage_query)
        if self.running:
            self._rounds.refresh()
        self._interval = interval
        self._repeated.change(self._pace())

    def _pace(self) -> float:
        """Return the number of seconds between rounds: less while no backend is known."""
        return self._interval if self._evidence.discovered else min(self._interval, _SEARCH_INTERVAL_S)

    def ready(self) -> Deferred[Selection]:
        """Wait until a backend is known, see `ISelections`."""
        waiter = self._first.wait()
        if self.took is not None:
            self._first.settle(found=bool(self.current.observations))
        return waiter.addCallback(self._give_current)

    def reselect(self) -> Deferred[Selection]:
        """Join or start a round, see `ISelections`. After the service has stopped, the current Selection is returned."""
        waiter = self._rounds.join() if self.running else succeed(None)
        return waiter.addCallback(self._give_current)

    def _give_current(self, _: None) -> Selection:
        return self._published.current

    def report(self, backend: Backend, standing: Standing, why: str) -> None:
        """Record that a request failed because of a backend, which may eject the backend at once; see `ISelections`."""
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
        """Record that a backend cannot read a part of its storage, see `ISelections`."""
        observation = self._updates.latest(backend)
        if observation is not None:
            self._evidence.damage.record(backend, error)
            self._updates.put(self._evidence.shown(observation))

    def answered(self, backend: Backend) -> None:
        """Record that a request succeeded on a backend, see `ISelections`. While no backend fails, there is nothing to record."""
        if self._membership.failing:
            self._membership.answered(backend)

    def rescued(self, failed: Backend, by: Backend) -> None:
        """Record that a request failed on one backend and succeeded on one that is out of service, see `ISelections`."""
        observation = self._published.observation(by)
        if observation is None or self._published.observation(failed) is None:
            return
        self._membership.rescued(failed, by, observation.why)
        self._republish((failed, by))
        if self.running:
            self._follow_ups.plan()

    def suspect(self, key: str, why: str) -> None:
        """Record a read that may have crashed a server, see `ISelections`."""
        self.suspects.add(key)
        self.event_log.record("crash", why)

    @property
    def failing(self) -> Mapping[Backend, int]:
        """The backends that have failed requests since their last success, each with their number; see `Membership`."""
        return {backend: self._membership.reports(backend) for backend in self._membership.failing}

    def watch(self, changed: Callable[[], None]) -> None:
        """Set the callback that is called after each new Selection, and after each change of ``coverage``."""
        self._published.changed = changed

    def _learned(self, coverage: Coverage) -> None:
        self.coverage = coverage
        self._published.changed()

    def moved(self, host: str) -> None:
        """Cancel the background reads from old addresses of a host name, and publish again, so that workers get the new ones."""
        self._prober.keep([backend for backend in self._evidence.discovered if backend.host != host])
        self._updates.again()

    def _republish(self, backends: Collection[Backend]) -> None:
        """Publish the current evidence on some backends now."""
        known = filter(None, map(self._updates.latest, backends))
        self._updates.put_together([self._evidence.shown(observation) for observation in known])

    def _run(self) -> Deferred[None]:
        """Run one selection round. Any failure ends here, so that the next round follows."""
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
        """Probe one backend between the rounds, and publish the result."""
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
        """Publish the results of a round, in steps between which requests go on; reports in the meantime count."""
        located = self._evidence.discovered
        gone = [o.backend for o in self.current.observations if o.backend not in located]
        self._evidence.forget(gone)
        self._prober.keep(located)
        # The bad ones first: whether another backend is in service counts for the good ones.
        await with_breaks(self._evidence.note, sorted(probed, key=lambda each: -each.observation.standing), self._clock)
        # The lack of each server depends on the observations of all.
        observations = [each.observation for each in probed]
        await with_breaks(self._evidence.shown, observations, self._clock)
        self._evidence.compare()
        await with_breaks(lambda each: self._updates.gather(self._evidence.shown(each)), observations, self._clock)
        self._updates.publish(located)
        # Forget them again: requests may have failed on them until now.
        self._evidence.forget(gone)
        await with_breaks(self._log_standing, located, self._clock)
        await with_breaks(self._forget_entirely, gone, self._clock)

    def _log_standing(self, backend: Backend) -> None:
        observation = self._updates.latest(backend)
        if observation is not None:
            self._membership.log_standing(observation)

    def _forget_entirely(self, backend: Backend) -> None:
        _log.info("{backend} is no longer listed by any locator, and no longer used", backend=backend.name)
        self._forget(backend)

    def _failed(self, failure: Failure) -> None:
        # The failure of a round that stopService cancelled is not worth a message.
        if self.running:
            _log.failure("the selection round failed; the selection may be outdated until the next round succeeds", failure)
            self._metrics.selection_rounds.inc("failed")
