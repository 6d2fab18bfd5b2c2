"""What becomes known of single servers between the rounds, and what it costs when there are many."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve
from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mpp.core.interfaces import IStrategy
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, Choice, Observation, Standing
from mpp.selection.event_log import EventLog
from mpp.selection.publication import Publication
from mpp.selection.strategies import RandomStrategy
from mpp.selection.updates import SPACING_S, Updates

BACKENDS = tuple(Backend("http", f"prom-{number}", 9090) for number in range(1000))


@implementer(IStrategy)
class Counting:
    """A strategy that counts how often it is asked."""

    asked = 0

    def select(self, observations: Sequence[Observation], previous: Choice | None, now: float) -> Choice:
        """Select all that are usable."""
        self.asked += 1
        return RandomStrategy().select(observations, previous, now)


class UpdatesTests(SynchronousTestCase):
    """A thousand servers, of which all are viable at first."""

    def setUp(self) -> None:
        self.clock, self.strategy = Clock(), Counting()
        wall = self.clock.seconds
        self.published = Publication(self.strategy, wall, Metrics(CollectorRegistry()), EventLog(wall))
        self.updates = Updates(self.published, self.clock, lambda: None)
        self.publish(BACKENDS)
        self.strategy.asked = 0

    def publish(self, backends: Sequence[Backend]) -> None:
        """Publish these as viable, as a round does."""
        for backend in backends:
            self.updates.gather(Observation(backend, Standing.VIABLE))
        self.updates.publish(backends)

    def test_many_fail(self) -> None:
        """When many servers fail each is unselected at once, and the strategy is asked twice, not once for each of them."""
        for backend in BACKENDS[:300]:
            self.updates.put(Observation(backend, Standing.DOWN, "dead"), at_once=True)
            self.assertNotIn(backend.id, self.published.current.selected_by_id)
        self.clock.advance(SPACING_S)
        self.assertEqual(self.strategy.asked, 2)
        self.assertEqual(self.published.current.selected, BACKENDS[300:])
        self.assertEqual(self.published.current.generation, 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many_hosts_move(self) -> None:
        """When many hosts have other addresses the Selection is published anew twice, not once for each of them."""
        published: list[int] = []
        self.published.changed = lambda: published.append(self.published.current.generation)
        for _ in BACKENDS:
            self.updates.again()
        self.clock.advance(SPACING_S)
        self.assertEqual((published, self.strategy.asked), ([1, 1], 2))

    def test_few_servers(self) -> None:
        """With few servers everything is published at once."""
        self.publish(BACKENDS[:3])
        for backend in BACKENDS[:2]:
            self.updates.put(Observation(backend, Standing.DOWN))
        self.assertEqual(self.published.current.selected, BACKENDS[2:3])

    def test_failed_while_a_round_is_concluded(self) -> None:
        """A request that fails while a round's results are gathered is not overwritten by them."""
        found = Observation(BACKENDS[0], Standing.VIABLE, took=0.5)
        self.updates.gather(found)
        self.updates.put(evolve(found, standing=Standing.DOWN), at_once=True)
        self.updates.publish(BACKENDS[:2])
        self.assertEqual(self.published.current.selected, BACKENDS[1:2])
        self.assertEqual(self.updates.latest(BACKENDS[0]), evolve(found, standing=Standing.DOWN))

    def test_published_while_a_round_is_concluded(self) -> None:
        """What is published between the steps of a round does not take from it a server that it is about to publish first."""
        new = Observation(Backend("http", "new", 9090), Standing.VIABLE)
        self.updates.gather(new)
        self.updates.put_together([Observation(BACKENDS[0], Standing.DOWN)])
        self.assertEqual(self.published.current.selected, BACKENDS[1:])
        self.updates.publish((BACKENDS[1], new.backend))
        self.assertEqual(set(self.published.current.selected), {BACKENDS[1], new.backend})
