"""What requests find out about servers between the rounds: broken storage, limiters, refused credentials."""

from __future__ import annotations

from attrs import evolve
from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.metrics.registry import Metrics
from mpp.core.model import Observation, Standing
from mpp.selection.damage import REMEMBERED_S
from mpp.selection.outliers.ejection import FOLLOW_UP_S
from mpp.selection.service import SelectionService
from mpp.selection.strategies import SingleMostData
from tests.logged import logged
from tests.unit.selection.test_selection import NOW, A, B, World, seen

MISMATCH = "cannot populate chunk 8: checksum mismatch"


class FoundByRequestsCase(SynchronousTestCase):
    """A pair that is well, with A selected."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.world = World(self.clock, A, B)
        self.metrics = Metrics(CollectorRegistry())
        self.service = SelectionService(
            self.world,
            self.world,
            self.world,
            SingleMostData(),
            clock=self.clock,
            wall=lambda: NOW + self.clock.seconds(),
            interval=10.0,
            metrics=self.metrics,
            forget=lambda _: None,
        )
        self.addCleanup(self.service.stopService)
        self.service.startService()
        self.world.observe(seen(A), seen(B, days=5))
        self.clock.advance(1)
        self.warnings = logged(self, lambda event: str(event.get("why", "")))

    def shown(self) -> Observation:
        return self.service.current.observed[A]


class DamageTests(FoundByRequestsCase):
    """A backend that cannot read a part of its storage."""

    def test_is_said_once_and_counted_each_time(self) -> None:
        """The log and the journal say it once, the metric counts, and the backend stays selected."""
        for number in range(5):
            self.service.storage_failed(A, f"{MISMATCH} {number}")
        self.assertEqual(self.warnings, [f"{MISMATCH} 0"])
        self.assertEqual(self.shown().unreadable, f"{MISMATCH} 0")
        self.assertEqual(self.metrics.registry.get_sample_value("mpp_storage_errors_total", {"backend": A.name}), 5)
        self.assertEqual(self.service.current.selected, (A,))
        self.assertEqual(self.service.event_log.events[0].kind, "storage")

    def test_stays_shown_over_rounds_and_is_forgotten_in_the_end(self) -> None:
        """A good probe does not take it back; ten quiet minutes do."""
        self.service.storage_failed(A, MISMATCH)
        self.clock.advance(9)
        self.world.observe(seen(A), seen(B, days=5))
        self.assertEqual(self.shown().unreadable, MISMATCH)
        self.clock.advance(REMEMBERED_S)
        self.world.observe(seen(A), seen(B, days=5))
        self.assertEqual(self.shown().unreadable, "")

    def test_unknown_backends_are_ignored(self) -> None:
        """What a request says of a backend that is gone is no news."""
        self.world.backends = (B,)
        self.clock.advance(9)
        self.world.observe(seen(B, days=5))
        self.service.storage_failed(A, MISMATCH)
        self.assertEqual(self.warnings, [])


class TurnedAwayTests(FoundByRequestsCase):
    """A backend whose requests are turned away."""

    def refused(self) -> Observation:
        return evolve(seen(A, Standing.NOT_READY, "503"), turned_away=True)

    def test_it_is_asked_at_once_with_the_newest_credentials(self) -> None:
        """However many requests report it, it is probed once, after the credentials were read again."""
        for _ in range(20):
            self.service.report(A, Standing.BUSY, "answered 503")
        self.clock.advance(0)
        self.assertEqual((set(self.world.began), self.world.renewed), ({A}, 1))
        self.world.observe(seen(A))
        self.assertTrue(self.service.current.is_limited(A))
        self.assertEqual(self.service.current.selected, (A,))

    def test_a_limiter_that_turns_the_probe_away_does_not_eject(self) -> None:
        """As long as requests are answered in between, the server stays in service."""
        for _ in range(20):
            self.service.report(A, Standing.BUSY, "answered 503")
            self.clock.advance(0.3)
            if A in self.world.began:
                self.world.observe(self.refused())
            self.service.answered(A)
        self.assertEqual(self.shown().ejected_at, 0)

    def test_a_gateway_without_a_server_does(self) -> None:
        """Two refused probes, and not one answer in between: it is out, a quarter of a second after the first."""
        self.service.report(A, Standing.BUSY, "answered 503")
        self.clock.advance(0)
        self.world.observe(self.refused())
        self.assertEqual((self.service.current.selected, self.shown().ejected_at), ((A,), 0))
        self.clock.advance(FOLLOW_UP_S)
        self.world.observe(self.refused())
        self.assertGreater(self.shown().ejected_at, 0)
        self.assertEqual(self.shown().standing, Standing.NOT_READY)
