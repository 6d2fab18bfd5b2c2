"""What the servers lack, as the selection publishes it: by the survey and by the look back, and switched off."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection

from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.coverage import NOTHING, Missing
from mpp.core.facts import ServerState
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, DiscoveredBackend, Observation, Standing
from mpp.core.prometheus.runtimeinfo import ProbeOutcome, ProbeResponse
from mpp.selection.service import SelectionService
from mpp.selection.strategies import SingleMostData
from tests.unit.coverage.histories import Histories, Prometheus

DAY = 86400.0
NOW = 19_000 * DAY + 40_000.0
A, B = (Backend("http", name, 9090) for name in ("prom-a", "prom-b"))


class World:
    """Two servers, as the locators and the prober report them."""

    def __init__(self) -> None:
        self.histories = Histories({A: Prometheus({"node": 20}), B: Prometheus({"node": 20}, phase=6.0)})
        self.listed = [A, B]
        self.up = {A: 20, B: 20}
        for server in self.histories.servers.values():
            server.oldest = NOW - DAY

    def locate(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
        """List the servers."""
        return succeed(tuple(map(DiscoveredBackend, self.listed)))

    def start(self, changed: Callable[[], None]) -> None:
        """Begin."""

    def stop(self) -> None:
        """End."""

    def keep(self, backends: Collection[Backend], /) -> None:
        """Forget nothing."""

    def refresh(self, backends: tuple[Backend, ...], /) -> Deferred[None]:
        """Look nothing up."""
        return succeed(None)

    def refresh_credentials(self) -> None:
        """Look nothing up."""

    def probe(self, backend: Backend, previous: Observation | None, /) -> Deferred[Observation]:
        """Report a server."""
        facts = ServerState(oldest=NOW - DAY, jobs=(("node", 15.0),), read_at=NOW, newest=NOW, config_at=1.0)
        return succeed(Observation(backend, Standing.VIABLE, facts=facts))

    def ask(self, backend: Backend, path: str) -> Deferred[ProbeOutcome]:
        """Report the targets that a server scrapes now."""
        result = [{"metric": {"job": "node", "mpp_up": "1"}, "value": [1, str(self.up[backend])]}]
        return succeed(ProbeResponse(200, json.dumps({"data": {"result": result}}).encode()))

    def ask_history(self, backend: Backend, path: str) -> Deferred[ProbeOutcome]:
        """Answer a query of the look back."""
        return self.histories.ask_history(backend, path)

    def ask_rules(self, backend: Backend, path: str) -> Deferred[ProbeOutcome]:
        """Report no rules."""
        return succeed(ProbeResponse(200, b'{"data":{"groups":[]}}'))


class CoverageTests(SynchronousTestCase):
    """A service over two servers, of which one has a hole."""

    def setUp(self) -> None:
        self.clock, self.world = Clock(), World()
        self.world.histories.servers[B].holes.append((NOW - 9000, NOW - 8000, None, 99))
        self.told = 0

    def begin(self, coverage_query: str) -> SelectionService:
        """Start a service, and let it run for half a minute."""
        service = SelectionService(
            self.world,
            self.world,
            self.world,
            SingleMostData(),
            clock=self.clock,
            wall=lambda: NOW + self.clock.seconds(),
            interval=5.0,
            metrics=Metrics(CollectorRegistry()),
            forget=lambda _: None,
            coverage_query=coverage_query,
        )
        self.addCleanup(lambda: service.running and service.stopService())
        service.watch(self.tell)
        service.startService()
        self.run_for(30)
        return service

    def tell(self) -> None:
        """Count the calls."""
        self.told += 1

    def run_for(self, seconds: float) -> None:
        """Let the time go on."""
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)

    def test_findings_are_published(self) -> None:
        """The findings of the look back and of the survey are published, and the callback of `watch` is called."""
        service = self.begin("up")
        found = service.coverage.missing[B]
        self.assertTrue(found.whole.covers(NOW - 8950, NOW - 8050))
        self.assertNotIn(A, service.coverage.missing)
        self.assertTrue(service.look_back.progress()[B].finished)
        before = self.told
        self.world.up[A] = 10
        self.run_for(60)
        self.assertGreater(self.told, before)
        (hole,) = service.coverage.missing[A].jobs["node"]
        self.assertEqual((hole.missing, hole.of, hole.end), (10, 20, float("inf")))

    def test_removed_server_lacks_nothing(self) -> None:
        """A server that is no longer listed lacks nothing."""
        service = self.begin("up")
        self.world.listed = [A]
        self.run_for(10)
        self.assertEqual(service.coverage.missing.get(B, NOTHING), Missing())

    def test_switched_off(self) -> None:
        """Without a metric nothing is asked, from the start or after a reload, and nothing is known any more."""
        service = self.begin("")
        self.assertTrue(service.coverage.is_whole)
        self.assertEqual((self.world.histories.asked, service.look_back.progress()), ([], {}))
        service.reconfigure(self.world, SingleMostData(), 5.0, "up")
        self.run_for(30)
        self.assertFalse(service.coverage.is_whole)
        service.reconfigure(self.world, SingleMostData(), 5.0, "")
        self.assertTrue(service.coverage.is_whole)
        asked = len(self.world.histories.asked)
        self.run_for(30)
        self.assertTrue(service.coverage.is_whole)
        self.assertEqual(len(self.world.histories.asked), asked)

    def test_another_metric(self) -> None:
        """The metric of --coverage-query is what the look back asks for."""
        self.begin('scraped{env="x"}')
        self.assertTrue(all('scraped{env="x"' in asked["query"] for _, asked in self.world.histories.asked))
