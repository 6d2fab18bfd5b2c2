"""What rounds and the probes between them cost when there are a thousand servers, of which nearly all are down."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Iterable, Sequence

from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mpp.core.interfaces import IStrategy
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, Choice, DiscoveredBackend, Observation, Standing
from mpp.core.prometheus.runtimeinfo import ProbeOutcome, ProbeResponse
from mpp.core.scheduling.pacing import AT_ONCE
from mpp.selection.service import SelectionService
from mpp.selection.strategies import SingleMostData, rank

GOOD = 2
BACKENDS = tuple(Backend("http", f"10.0.{number // 250}.{number % 250}", 9090) for number in range(1000))
LONGEST_S = 0.02
"""CPU time that rounds and follow-ups may take in one turn of the reactor."""


class TurnClock(Clock):
    """A clock that runs, like a reactor, in one turn only what was due when the turn began, and measures the turns."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0.0

    def turn(self, seconds: float) -> None:
        """Let some time pass, and run one turn."""
        self.rightNow += seconds
        due: list[IDelayedCall] = [call for call in self.getDelayedCalls() if call.getTime() <= self.rightNow]
        began = time.process_time()
        for call in due:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)
        self.longest = max(self.longest, time.process_time() - began)


@implementer(IStrategy)
class Counting:
    """The default strategy, counting how often it is asked."""

    asked = 0

    def select(self, observations: Sequence[Observation], previous: Choice | None, now: float) -> Choice:
        """Select as the default strategy does."""
        self.asked += 1
        return SingleMostData().select(observations, previous, now)


class World:
    """Locator, addresses and prober: all but the first servers are down, and each probe ends in the next turn."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.begun = 0

    def start(self, changed: Callable[[], None]) -> None:
        """Do nothing: no list ever changes."""

    def stop(self) -> None:
        """Do nothing."""

    def keep(self, backends: Collection[Backend]) -> None:
        """Do nothing."""

    def refresh_credentials(self) -> None:
        """Do nothing: there are none."""

    def locate(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
        """List all."""
        return succeed(tuple(map(DiscoveredBackend, BACKENDS)))

    def refresh(self, backends: Iterable[Backend]) -> Deferred[None]:
        """Have nothing to look up."""
        return succeed(None)

    def probe(self, backend: Backend, previous: Observation | None) -> Deferred[Observation]:
        """Observe a server."""
        self.begun += 1
        is_good = backend in BACKENDS[:GOOD]
        standing, why = (Standing.VIABLE, "") if is_good else (Standing.DOWN, "no response to /-/ready: connect: refused")
        probed: Deferred[Observation] = Deferred()
        self._clock.callLater(0, probed.callback, Observation(backend, standing, why, at=self._clock.seconds()))
        return probed

    def ask(self, backend: Backend, path: str) -> Deferred[ProbeOutcome]:
        """Refuse to say anything of the newest data."""
        return succeed(ProbeResponse(403))

    def ask_history(self, backend: Backend, path: str) -> Deferred[ProbeOutcome]:
        """Refuse to say anything of the history."""
        return succeed(ProbeResponse(403))

    def ask_rules(self, backend: Backend, path: str) -> Deferred[ProbeOutcome]:
        """Report no rules."""
        return succeed(ProbeResponse(200, b'{"data":{"groups":[]}}'))


class Scenario:
    """The first round, and ten seconds of probes between the rounds."""

    def __init__(self) -> None:
        self.clock, self.strategy = TurnClock(), Counting()
        self.world = World(self.clock)
        self.at_once = 0
        self.service = SelectionService(
            self.world,
            self.world,
            self.world,
            self.strategy,
            clock=self.clock,
            wall=self.clock.seconds,
            interval=60.0,
            metrics=Metrics(CollectorRegistry()),
            forget=lambda _: None,
            coverage_query="up",
        )
        self.service.startService()
        while self.service.took is None:
            self.turn(0.0)
        for _ in range(1000):
            self.turn(0.01)
        self.service.stopService()

    def turn(self, seconds: float) -> None:
        """Run a turn of the clock, and count the probes that begin in it."""
        before = self.world.begun
        self.clock.turn(seconds)
        self.at_once = max(self.at_once, self.world.begun - before)


class ManyServersTests(SynchronousTestCase):
    """Two good servers, and 998 that are down."""

    def test_work_in_one_turn(self) -> None:
        """Few probes begin in one turn, and the strategy is asked for all that they find together."""
        scenario = Scenario()
        self.assertLessEqual(scenario.at_once, AT_ONCE)
        self.assertGreater(scenario.world.begun, 1.5 * len(BACKENDS))
        self.assertLess(scenario.strategy.asked, 110)
        self.assertEqual(scenario.service.current.selected, BACKENDS[:1])
        self.assertEqual(len(scenario.service.current.ranked), len(BACKENDS))

    def test_longest_turn(self) -> None:
        """Clients need not wait for more than 20 ms."""
        # As `mpp.wire.tuned.reactor` does: what was imported is not looked through for garbage in the midst of a turn.
        gc.collect()
        gc.freeze()
        self.addCleanup(gc.unfreeze)
        longest: list[float] = []
        while len(longest) < 5 and (not longest or longest[-1] >= LONGEST_S):
            longest.append(Scenario().clock.longest)
        self.assertLess(min(longest), LONGEST_S)

    def test_ranking_is_linear(self) -> None:
        """Four times as many servers take about four times as long to rank, and not sixteen times."""

        def seconds(count: int) -> float:
            observations = [Observation(Backend("http", f"h{number}", 1), Standing.DOWN) for number in range(count)]
            previous = Choice((), tuple(observation.backend for observation in reversed(observations)))
            took = []
            for _ in range(5):
                began = time.process_time()
                rank(observations, previous, 0.0)
                took.append(time.process_time() - began)
            return min(took)

        # The memory of a busy machine makes one comparison in hundreds look worse; what is quadratic fails each of them.
        self.assertTrue(any(seconds(4000) < 9 * seconds(1000) for _ in range(3)))
