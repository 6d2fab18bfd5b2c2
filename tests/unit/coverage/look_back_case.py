"""Two servers with three days of data, and the look back that compares them."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.coverage import Job
from mpp.core.facts import ServerState
from mpp.core.model import Backend, Observation, Standing
from mpp.coverage.history.service import LookBack
from mpp.coverage.knowledge import Knowledge
from tests.unit.coverage.histories import Histories, Prometheus

DAY = 86400.0
MIDNIGHT = 19_000 * DAY
NOW = MIDNIGHT + 40_000.0
OLDEST = NOW - 3 * DAY
A, B, C = (Backend("http", name, 9090) for name in ("prom-a", "prom-b", "prom-c"))
JOBS = {"node": Job(20, 30.0), "web": Job(4, 30.0)}


class LookBackCase(SynchronousTestCase):
    """Two servers with three days of data."""

    def setUp(self) -> None:
        self.clock = Clock()
        targets = {"node": 20, "web": 4}
        self.a, self.b = Prometheus(targets, oldest=OLDEST), Prometheus(targets, oldest=OLDEST, phase=6.0)
        self.histories = Histories({A: self.a, B: self.b})
        self.knowledge = Knowledge()
        self.knowledge.surveyed(JOBS)
        self.noted: list[tuple[str, str]] = []
        self.look_back = LookBack(
            self.histories.ask_history,
            self.clock,
            lambda: NOW + self.clock.seconds(),
            knowledge=self.knowledge,
            learned=self.knowledge.publish,
            selector="up",
            note=lambda kind, text: self.noted.append((kind, text)),
        )
        self.addCleanup(self.look_back.stop)

    def see(self, *backends: Backend, **changed: Any) -> None:
        """Let a round see some servers."""
        for backend in backends:
            facts = ServerState(oldest=self.histories.servers[backend].oldest or None, skew=0.0)
            self.look_back.see(evolve(Observation(backend, Standing.VIABLE, facts=facts), **changed))
        self.look_back.begin()

    def run_for(self, seconds: float) -> None:
        """Let the time go on."""
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)
