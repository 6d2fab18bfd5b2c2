"""When cached steps are checked, and which of them stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from mpp.core.coverage import Coverage, Job, Missing
from mpp.core.facts import NO_FACTS
from mpp.core.intervals import Intervals
from mpp.core.model import Backend, Choice, Observation, Selection, Standing
from mpp.core.prometheus.data_requests import DataRequest
from mpp.coverage.planning.planner import Planner
from mpp.promql.recorded import no_rules
from mpp.proxy.exchanges.forwarder import Forwarder
from tests.forward_support import A, B, C
from tests.unit.proxy.test_cached_fetch import HOUR, NOW, STEP, CachedCase


class ValidCase(CachedCase):
    """A query over five hours that is cached, while a server lacks some minutes of it."""

    START, END = NOW - 7 * HOUR, NOW - 2 * HOUR

    def setUp(self) -> None:
        super().setUp()
        self.checks = 0
        good_steps = Planner.good_steps

        def counted(planner: Planner, request: DataRequest, *arguments: Any) -> Any:
            self.checks += 1
            return good_steps(planner, request, *arguments)

        self.patch(Planner, "good_steps", counted)

    def lacks(self, server: Backend, start: int) -> None:
        """Let a server lack some minutes from a time after the start of the range on."""
        gap = Missing.of(Intervals.of([(self.START + start, self.START + start + 600)]), {})
        self.world.selections.coverage = Coverage({"node": Job(80, 15.0)}, {server: gap})

    def observe(self, *servers: Backend, at: float = 0.0, answers_id: str = "", oldest: float | None = None) -> None:
        """Let a round observe servers."""
        facts = evolve(NO_FACTS, answers_id=answers_id, oldest=oldest)
        observed = tuple(Observation(each, Standing.VIABLE, facts=facts, at=at, took=at / 1000) for each in servers)
        self.world.selections.current = Selection(1, Choice(servers[:1], servers[1:]), observed)

    def checks_of(self, change: Callable[[], object]) -> int:
        """Ask for all steps after a change, without a server being asked; return how often servers were compared for it."""
        change()
        before = self.checks
        self.request(self.START, self.END)
        self.assertEqual(self.sent, [])
        return self.checks - before


class CheckTests(ValidCase):
    """When the steps are checked."""

    def test_checked_when_something_changes_that_they_depend_on(self) -> None:
        """A round that finds the servers as they were is no reason."""
        self.observe(A, B)
        self.lacks(B, 3600)
        self.served(self.START, self.END)
        self.assertGreater(self.checks_of(lambda: None), 0)
        self.assertEqual(self.checks_of(lambda: None), 0)
        for at in range(10, 60, 10):
            self.assertEqual(self.checks_of(lambda at=at: self.observe(A, B, at=at)), 0)
        self.assertEqual(self.checks_of(lambda: self.observe(B, A)), 0)
        for change in (
            lambda: self.observe(A, B, C),
            lambda: self.observe(A, B, answers_id="one"),
            lambda: self.observe(A, B, answers_id="one", oldest=1000.0),
            lambda: self.lacks(B, 7200),
            lambda: self.world.forwarder.context.planner.forget(no_rules),
        ):
            self.assertGreater(self.checks_of(change), 0)
            self.assertEqual(self.checks_of(lambda: None), 0)

    def test_gap_of_another_server_drops_nothing(self) -> None:
        """However often it becomes known."""
        self.served(self.START, self.END)
        for start in (3600, 3660, 7200):
            self.assertGreater(self.checks_of(lambda start=start: self.lacks(B, start)), 0)


class MeanwhileTests(ValidCase):
    """Knowledge that comes while the steps of a response are prepared in another thread."""

    def test_steps_are_checked_with_it(self) -> None:
        """Although the other steps of the query have been checked with it before."""
        started: list[Callable[[], None]] = []

        def in_thread(function: Callable[[], Any]) -> Deferred[Any]:
            waiting: Deferred[Any] = Deferred()
            started.append(lambda: waiting.callback(function()))
            return waiting

        context = self.world.forwarder.context
        self.world.forwarder = Forwarder(context, in_thread)
        self.series = 500
        middle = self.START + HOUR
        self.lacks(B, -HOUR)
        self.served(self.START, middle)
        started.pop()()
        self.served(middle + STEP, self.END)
        self.lacks(A, 3 * HOUR)
        self.request(self.START, middle)
        self.assertEqual(self.sent, [])
        started.pop()()
        self.request(self.START, self.END)
        self.assertNotEqual(self.sent, [])
