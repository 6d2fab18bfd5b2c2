"""Range queries with a cache in a pool with hundreds of gaps: what looks at the gaps is done in steps."""

from __future__ import annotations

from typing import Any

from mpp.core.coverage import Coverage, Job, Missing
from mpp.core.intervals import Intervals
from mpp.coverage.planning import planner
from mpp.proxy.exchanges import cached_queries
from mpp.proxy.exchanges.cached_queries import CachedQueries
from mpp.proxy.plan_queue import Work
from tests.forward_support import A, B, FakeDownstream, FakeResponse
from tests.unit.proxy.test_cached_fetch import HOUR, NOW, STEP, CachedCase, asked, matrix
from tests.unit.proxy.test_prepared_plans import at_once, one_turn

START, END = NOW - 9 * HOUR, NOW - 7 * HOUR
JOBS = {"node": Job(80, 15.0)}


def lacking(*, every: int) -> Coverage:
    """Return the coverage of two servers that lack a minute in each so many seconds, at different times."""
    return Coverage(
        JOBS,
        {
            server: Missing.of(Intervals.of((at, at + 60) for at in range(START + after, NOW, every)), {})
            for server, after in ((A, 0), (B, every // 2))
        },
    )


class PreparedCacheTests(CachedCase):
    """Two servers with many gaps, and a panel of two hours."""

    def setUp(self) -> None:
        super().setUp()
        self.world.selections.coverage = lacking(every=600)
        self.assertGreater(self.world.selections.coverage.gaps, 50)
        for module in (planner, cached_queries):
            self.patch(module, "result_of", at_once)

    def panel(self, start: int = START, end: int = END) -> FakeDownstream:
        """Let a panel be answered by whichever servers are asked."""
        client = self.request(start, end)
        self.turn()
        while self.sent:
            self.answer(self.sent[0])
        self.turn()
        client.ended(None)
        self.assertIsNotNone(client.delivered)
        return client

    def asked_for(self, *args: Any) -> int:
        """Return the number of steps that servers were asked for, for a panel."""
        before = len(self.world.upstreams.sent)
        self.panel(*args)
        return sum(asked(sent).steps for sent in self.world.upstreams.sent[before:])

    def test_no_step_is_worked_out_at_once(self) -> None:
        """Neither for the plan of the missing steps, nor to cache them, nor to check them after a change of the gaps."""
        every = (END - START) // STEP + 1
        self.assertEqual(self.asked_for(), every)
        self.assertEqual(self.asked_for(), 0)
        later = self.asked_for(START + HOUR, END + HOUR // 2)
        self.assertGreater(later, HOUR // 2 // STEP - 1)
        self.assertLess(later, every)
        self.world.selections.coverage = lacking(every=900)
        self.assertGreater(self.asked_for(), 0)

    def test_other_steps_are_cached_while_steps_are_checked(self) -> None:
        """The steps with which they are joined are checked again: one of a server that lacks it is not used."""
        self.world.selections.coverage = Coverage(JOBS)
        end = START + 430 * STEP
        self.served(START, end)
        self.request(end + STEP, end + HOUR)
        (newer,) = self.sent
        gap = Missing.of(Intervals.of([(end - 600.0, end - 540.0)]), {})
        elsewhere = Missing.of(Intervals.of((at, at + 60) for at in range(START - 20 * HOUR, START - 10 * HOUR, 300)), {})
        self.world.selections.coverage = Coverage(JOBS, {A: gap, B: elsewhere})
        checking, ended = CachedQueries._dropping, []

        def slow(*arguments: Any) -> Work:
            for _ in checking(*arguments):
                self.world.clock.rightNow += 0.003
                yield
            ended.append(arguments)

        self.patch(CachedQueries, "_dropping", slow)
        self.request(START, end)
        one_turn(self.world.clock)
        one_turn(self.world.clock)
        newer.answer.callback(FakeResponse(200, matrix(end + STEP, end + HOUR)))
        self.assertEqual(ended, [])
        self.turn()
        self.assertEqual({sent.backend for sent in self.sent}, {B})
        while self.sent:
            self.answer(self.sent[0])
        self.assertEqual(self.asked_for(START, end), 0)

    def test_deadline_passes_while_missing_steps_wait_for_their_plan(self) -> None:
        """The client gets its error in time, and no server is asked."""
        client = self.request(START, END, more=b"&timeout=1s")
        self.world.clock.rightNow += 5.0
        self.exchange.tick()
        assert client.failed is not None
        self.assertEqual(client.failed[0], 504)
        self.turn()
        self.assertEqual(self.world.upstreams.sent, [])

    def test_gaps_change_while_steps_are_checked(self) -> None:
        """The steps are checked again, and none is used that the servers' new gaps make invalid."""
        self.panel()
        self.world.selections.coverage = lacking(every=900)
        self.request(START, END)
        one_turn(self.world.clock)
        one_turn(self.world.clock)
        away = Missing.of(Intervals.of([(START - 300.0, END + 1.0)]), {})
        behind = Missing.of(Intervals.of((at, at + 60) for at in range(END + HOUR, NOW, 300)), {})
        self.world.selections.coverage = Coverage(JOBS, {A: away, B: behind})
        self.turn()
        self.assertEqual({sent.backend for sent in self.sent}, {B})
