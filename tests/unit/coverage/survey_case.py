"""Two servers that are surveyed, asked by a clock."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.coverage import NOTHING, Missing
from mpp.core.facts import Lack, ServerState
from mpp.core.model import Backend, Observation, Standing
from mpp.core.prometheus.runtimeinfo import ProbeOutcome, ProbeResponse
from mpp.coverage.knowledge import Knowledge
from mpp.coverage.survey import Survey

NOW = 1_700_000_000.0
A, B = (Backend("http", name, 9090) for name in ("prom-a", "prom-b"))
FACTS = ServerState(read_at=NOW, newest=NOW - 3, started_at=NOW - 9000, targets=80, config_at=1.0, jobs=(("node", 2.0),))


class World:
    """Servers that answer at once with how many targets they have."""

    def __init__(self) -> None:
        self.up: dict[Backend, int | dict[str, int] | None] = {A: 80, B: 80}
        self.asked: list[Backend] = []

    def ask(self, backend: Backend, path: str) -> Deferred[ProbeOutcome]:
        """Answer the query with the targets of the job "node", or by job; with 403 where it is None."""
        self.asked.append(backend)
        up = self.up[backend]
        if up is None:
            return succeed(ProbeResponse(403))
        jobs = {"node": up} if isinstance(up, int) else up
        result = [{"metric": {"job": job, "mpp_up": "1"}, "value": [1, str(count)]} for job, count in jobs.items() if count]
        return succeed(ProbeResponse(200, json.dumps({"status": "success", "data": {"result": result}}).encode()))


class SurveyCase(SynchronousTestCase):
    """Two servers, asked by a clock."""

    def setUp(self) -> None:
        self.clock, self.world = Clock(), World()
        self.noted: list[tuple[str, str]] = []
        self.counted: list[tuple[str, str]] = []
        self.changes = 0
        self.knowledge = Knowledge()
        self.survey = Survey(
            self.world.ask,
            self.clock,
            lambda: NOW + self.clock.seconds(),
            changed=self.changed,
            selector="up",
            counted=lambda backend, result, seconds: self.counted.append((backend, result)),
            note=lambda kind, text: self.noted.append((kind, text)),
            knowledge=self.knowledge,
            learned=self.knowledge.publish,
        )
        self.addCleanup(self.survey.stop)

    def changed(self, servers: Collection[Backend]) -> None:
        """Count a change."""
        self.changes += 1

    def see(self, *observations: Observation) -> dict[Backend, Lack | None]:
        """Let a round see these; return what they are published with."""
        shown = [self.survey.shown(each) for each in observations]
        self.survey.begin()
        shown = [self.survey.shown(each) for each in shown]
        return {each.backend: each.lack for each in shown}

    def both(self, **changed: Any) -> dict[Backend, Lack | None]:
        """Let a round see both servers, prom-b as changed."""
        seen = Observation(B, Standing.VIABLE, facts=FACTS)
        return self.see(Observation(A, Standing.VIABLE, facts=FACTS), evolve(seen, **changed))

    def both_for(self, seconds: int, **changed: Any) -> Lack | None:
        """Let rounds see both servers for some time, one each five seconds; return what prom-b lacks at the end."""
        for _ in range(seconds // 5):
            self.both(**changed)
            self.clock.pump([1] * 5)
        return self.both(**changed)[B]

    def missing(self, backend: Backend = B) -> Missing:
        """Return what a server is known to lack."""
        return self.knowledge.coverage.missing.get(backend, NOTHING)
