"""The data of the admin pages and of the gauges, collected from the parts of the program for each request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import evolve

from mpp.admin.cache.view import CacheView
from mpp.admin.gauges import Snapshot
from mpp.admin.recorder import Recorder
from mpp.admin.status.data import StatusView
from mpp.admin.status.identity import Identity
from mpp.app.backends import Backends
from mpp.app.client_side import ClientSide
from mpp.app.status_log import StatusLog
from mpp.cache.store import EMPTY
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, Selection
from mpp.core.settings import Settings
from mpp.coverage.freshness import Freshness, freshness
from mpp.coverage.history.service import Progress
from mpp.security.web_config.protection import ListenerSecurity
from mpp.security.web_config.service import WebConfigService
from mpp.selection.verdict.verdict import ConfigProblem, LocatorView, Situation, judge
from mpp.wire.downstream.connection_limit import ConnectionLimit
from mpp.wire.memory_budget import MemoryBudget


class ProgramParts(Protocol):
    """The part of `mpp.app.program.Program` that the admin pages use."""

    backends: Backends
    metrics: Metrics
    recorder: Recorder
    budget: MemoryBudget
    gate: ConnectionLimit
    client_side: ClientSide
    web_config: WebConfigService | None
    started_at: float
    status_log: StatusLog
    config_problem: ConfigProblem | None

    @property
    def settings(self) -> Settings:
        """The active settings of the program."""

    @property
    def identity(self) -> Identity:
        """The host, process and addresses of this mpp."""


class StatusSource:
    """
    The collector of the data that the admin pages and the gauges show.

    :param wall: returns the time of day in seconds since the epoch.
    """

    def __init__(self, program: ProgramParts, wall: Callable[[], float]) -> None:
        self._program = program
        self._wall = wall

    def snapshot(self) -> Snapshot:
        """Return the present values for the gauges."""
        situation = self.situation()
        return evolve(
            self.load(),
            selection=situation.selection,
            locators=situation.locators,
            states=judge(situation).states,
            missing=self._missing(),
            cache_freshness=self._freshness().seconds,
        )

    def load(self) -> Snapshot:
        """Return the present values for the gauges of this process alone, without backends and locators."""
        program = self._program
        return Snapshot(
            Selection(),
            (),
            program.budget.buffered,
            program.metrics.in_flight,
            program.client_side.load(self._backends()),
            len(program.client_side),
            program.gate.limit,
            program.budget.limit,
            cache=EMPTY if program.backends.cache is None else program.backends.cache.state,
        )

    def situation(self) -> Situation:
        """Return the inputs of the verdict about the overall status."""
        program, security = self._program, self._security()
        return Situation(
            program.backends.selections.current,
            self._locators(),
            program.status_log.errors,
            program.config_problem,
            security.problem,
            workers=(program.client_side.workers, program.settings.workers),
        )

    def status(self) -> StatusView:
        """Return the data of the status page."""
        program = self._program
        return StatusView(
            program.backends.selections.current,
            program.settings,
            self._locators(),
            program.started_at,
            self._wall(),
            program.recorder.recall(),
            program.backends.event_log.events,
            program.client_side.load(self._backends()),
            self._security(),
            program.client_side.workers,
            program.status_log.errors,
            program.config_problem,
            program.identity,
            program.backends.selections.coverage,
            self._looked_back(),
            CacheView(program.client_side.cache(), program.recorder.recall_cache(), self._freshness()),
        )

    def _freshness(self) -> Freshness:
        program = self._program
        return freshness(program.settings.cache_freshness, program.backends.selections.current.observations)

    def _looked_back(self) -> dict[Backend, Progress]:
        rounds = self._program.backends.rounds
        return {} if rounds is None else rounds.look_back.progress()

    def _missing(self) -> dict[Backend, float]:
        coverage, now = self._program.backends.selections.coverage, self._wall()
        return {backend: each.weight(coverage.jobs, now) for backend, each in coverage.missing.items()}

    def _locators(self) -> tuple[LocatorView, ...]:
        sources = self._program.backends.locator.sources
        return tuple(LocatorView(s.name, s.up, len(s.discovered), s.problem or s.note) for s in sources)

    def _security(self) -> ListenerSecurity:
        return ListenerSecurity() if self._program.web_config is None else self._program.web_config.security

    def _backends(self) -> list[Backend]:
        return [observation.backend for observation in self._program.backends.selections.current.observations]
