"""Requests in a pool with hundreds of gaps: their plans are worked out in steps, between which other clients are served."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from typing import Any, TypeVar, cast
from unittest.mock import Mock

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.coverage import WHOLE_POOL, Coverage, Job, Missing
from mpp.core.intervals import Intervals
from mpp.core.model import Choice, Observation, Selection, Standing
from mpp.coverage.planning import kept_lacks, planner
from mpp.coverage.planning.kept_lacks import KeptLacks
from mpp.coverage.planning.planner import Planner
from mpp.proxy import preparing
from tests.forward_support import A, B, FakeResponse, World

R = TypeVar("R")

JOBS = {"node": Job(80, 30.0)}
# A and B lack ten minutes of each hour, at different times.
COVERAGE = Coverage(
    JOBS,
    {
        server: Missing.of(Intervals.of((after + 3600 * n, after + 3600 * n + 600) for n in range(60)), {})
        for server, after in ((A, 10_000), (B, 12_000))
    },
)
IN_A = b"/api/v1/query?query=up&time=10200"
RANGE = b"/api/v1/query_range?query=up&start=10000&end=40000&step=60"


def one_turn(clock: Clock) -> None:
    """Run the timers that are due, but not the ones that they start."""
    for call in [each for each in clock.calls if each.getTime() <= clock.seconds()]:
        clock.calls.remove(call)
        call.called = 1
        call.func(*call.args, **call.kw)


def selection(standing: Standing) -> Selection:
    """Return a selection in which both servers have the same standing."""
    return Selection(1, Choice((A,), (B,)), tuple(Observation(each, standing) for each in (A, B)))


def at_once(work: Generator[None, None, R]) -> R:
    """Return the result of a calculation; fail if it has a step that takes long."""
    try:
        next(work)
    except StopIteration as end:
        return cast(R, end.value)
    raise AssertionError("it was not prepared")


class PreparedTests(SynchronousTestCase):
    """Two servers with many gaps; each step takes longer than a slice."""

    def setUp(self) -> None:
        """Let time pass in each step."""
        self.world = self.new_world()
        self.steps = 0
        prepare, test = KeptLacks.preparing, self

        def counting(kept: KeptLacks, *arguments: Any) -> Generator[None, None, None]:
            for _ in prepare(kept, *arguments) or ():
                yield
                test.steps += 1
                test.world.clock.rightNow += 0.003

        self.patch(KeptLacks, "preparing", counting)

    def new_world(self) -> World:
        """Return a world of two servers in service that have gaps."""
        world = World()
        world.selections.current = selection(Standing.VIABLE)
        world.selections.coverage = COVERAGE
        return world

    def pass_time(self) -> None:
        """Let all timers run that are due within a tenth of a second."""
        self.world.clock.pump([0.001] * 100)

    def turn(self) -> None:
        """Run the timers that are due, but not the ones that they start."""
        one_turn(self.world.clock)

    def test_request_is_sent_after_its_preparation(self) -> None:
        """Nothing is sent in the turn in which the request comes; the server is the one that has the data."""
        self.world.request(target=IN_A)
        self.assertEqual(self.world.upstreams.sent, [])
        self.pass_time()
        self.assertEqual([sent.backend for sent in self.world.upstreams.sent], [B])

    def test_parts_are_those_of_an_unprepared_plan(self) -> None:
        """The steps of a range go to the same servers as if all were worked out at once."""
        asked = []
        for many in (1, 10_000):
            self.patch(preparing, "MANY_GAPS", many)
            self.setUp()
            self.world.request(target=RANGE)
            self.pass_time()
            asked.append([(sent.backend, sent.head.split()[1].partition(b"&timeout")[0]) for sent in self.world.upstreams.sent])
        self.assertEqual(asked[0], asked[1])
        self.assertGreater(len(asked[0]), 5)

    def test_work_is_done_once(self) -> None:
        """Requests for the same query that come meanwhile share the steps, and later ones need none."""
        self.world.request(target=b"/api/v1/query?query=down&time=10200")
        self.pass_time()
        alone, self.steps = self.steps, 0
        for at in (10_200, 10_300, 10_400):
            self.world.request(target=b"/api/v1/query?query=up&time=%d" % at)
        self.pass_time()
        self.assertEqual(len(self.world.upstreams.sent), 4)
        self.assertLess(self.steps, alone + 5)
        before = self.steps
        self.world.request(target=b"/api/v1/query?query=up&time=10500")
        self.pass_time()
        self.assertEqual(len(self.world.upstreams.sent), 5)
        self.assertEqual(self.steps, before)

    def test_one_plan_at_a_time_is_prepared(self) -> None:
        """Many panels that come at once do not each take a slice of the same turn."""
        self.world.request(target=IN_A)
        slices = len(self.world.clock.getDelayedCalls())
        for number in range(9):
            self.world.request(target=b"/api/v1/query?query=up%d&time=10200" % number)
        self.assertEqual(len(self.world.clock.getDelayedCalls()), slices)
        self.pass_time()
        self.pass_time()
        self.assertEqual(len({sent.head.split(b"&time")[0] for sent in self.world.upstreams.sent}), 10)

    def test_plans_are_divided_among_turns(self) -> None:
        """Also prepared ones take some milliseconds, and the panels of a dashboard come all at once."""
        plan, clock = Planner.plan, self.world.clock

        def slow(*arguments: Any, **options: Any) -> Any:
            clock.rightNow += 0.0015
            return plan(*arguments, **options)

        self.patch(Planner, "plan", slow)
        self.world.request(target=IN_A)
        self.pass_time()
        self.world.upstreams.sent.clear()
        for at in range(10_200, 10_205):
            self.world.request(target=b"/api/v1/query?query=up&time=%d" % at)
        turns = []
        for _ in range(100):
            before = len(self.world.upstreams.sent)
            self.turn()
            turns.append(len(self.world.upstreams.sent) - before)
        self.assertEqual((max(turns), sum(turns)), (2, 5))

    def test_request_without_an_end(self) -> None:
        """It is planned for the time for which it was prepared, although the time goes on."""
        self.world.forwarder.context = evolve(self.world.forwarder.context, wall=lambda: 50_000.2 + self.world.clock.seconds())
        self.patch(planner, "result_of", at_once)
        self.world.request(target=b"/api/v1/series?match[]=up&start=10000")
        self.pass_time()
        self.assertEqual(len(self.world.upstreams.sent), 1)

    def test_identical_requests_wait_together(self) -> None:
        """One plan is prepared and made, and one server asked."""
        self.world.reload(no_single_flight=False)
        clients = [self.world.request(target=IN_A) for _ in range(3)]
        self.pass_time()
        self.assertEqual([sent.backend for sent in self.world.upstreams.sent], [B])
        self.world.upstreams.sent[0].answer.callback(FakeResponse(200))
        self.assertTrue(all(client.delivered is not None for client in clients))

    def test_deadline_passes_in_the_queue(self) -> None:
        """Each client gets its error in time, and no server is asked."""
        self.world.reload(no_single_flight=False)
        clients, exchanges = [], []
        for _ in range(2):
            clients.append(self.world.request(target=IN_A + b"&timeout=1s"))
            exchanges.append(self.world.exchange)
        for later in (1.5, 1.0):
            self.assertEqual([client.failed for client in clients], [None, None])
            self.world.clock.rightNow += later
            for exchange in exchanges:
                exchange.tick()
        for client in clients:
            assert client.failed is not None
            self.assertEqual(client.failed[0], 504)
        self.pass_time()
        self.assertEqual(self.world.upstreams.sent, [])

    def test_deadline_in_the_queue_is_logged(self) -> None:
        """The access log has the reason, and how many attempts were made."""
        access = Mock()
        self.patch(type(self.world.forwarder.context), "access", access)
        self.world.request(target=IN_A + b"&timeout=1s")
        self.world.clock.rightNow += 5.0
        self.world.exchange.tick()
        (logged,) = access.log.call_args_list
        self.assertEqual(logged.kwargs["attempts"], 0)
        self.assertIn("its plan has to wait for others", logged.kwargs["reasons"][-1])

    def test_known_query_does_not_wait_for_new_ones(self) -> None:
        """It is planned in the next turn, while the first of the new ones is prepared."""
        self.world.request(target=IN_A)
        self.pass_time()
        self.world.upstreams.sent.clear()
        for number in range(9):
            self.world.request(target=b"/api/v1/query?query=up%d&time=10200" % number)
        self.turn()
        self.turn()
        self.world.request(target=IN_A)
        self.turn()
        self.turn()
        self.assertEqual([sent.head.split()[1].partition(b"&timeout")[0] for sent in self.world.upstreams.sent], [IN_A])

    def test_client_leaves_while_its_plan_is_prepared(self) -> None:
        """The rest of the work is left undone, and the next request is prepared."""
        self.world.request(target=IN_A)
        self.turn()
        self.turn()
        self.assertEqual(self.steps, 1)
        self.world.exchange.client_gone()
        self.turn()
        self.assertEqual(self.steps, 1)
        self.world.request(target=b"/api/v1/query?query=other&time=10200")
        self.pass_time()
        self.assertEqual([sent.backend for sent in self.world.upstreams.sent], [B])

    def test_gaps_change_meanwhile(self) -> None:
        """Then the plan is prepared again, for the new gaps."""
        self.world.request(target=IN_A)
        self.turn()
        self.world.selections.coverage = Coverage(JOBS, {A: COVERAGE.missing[B], B: COVERAGE.missing[A]})
        self.patch(planner, "result_of", at_once)
        self.pass_time()
        self.assertEqual([sent.backend for sent in self.world.upstreams.sent], [A])

    def test_client_leaves_meanwhile(self) -> None:
        """Then no server is asked, and the request is counted as one whose client is gone."""
        self.world.request(target=IN_A)
        self.world.exchange.client_gone()
        self.pass_time()
        self.assertEqual(self.world.upstreams.sent, [])
        self.assertEqual(self.steps, 0)
        self.assertEqual(self.world.counted("mpp_requests_total", backend="mpp", code="499"), 1)

    def test_coverage_changes_meanwhile(self) -> None:
        """The request is planned by what is known when it is sent."""
        self.world.request(target=IN_A)
        self.world.selections.coverage = WHOLE_POOL
        self.pass_time()
        self.assertEqual([sent.backend for sent in self.world.upstreams.sent], [A])

    def test_request_outside_of_all_gaps(self) -> None:
        """It is sent at once."""
        self.world.request(target=b"/api/v1/query?query=up&time=5000")
        self.assertEqual([sent.backend for sent in self.world.upstreams.sent], [A])
        self.assertEqual(self.steps, 0)

    def test_last_resort(self) -> None:
        """If no server is in service, one of them is asked nevertheless; also if all leave while the plan is prepared."""
        for standing in (Standing.SUSPECT, Standing.DOWN):
            for turns, target in itertools.product(range(4), (IN_A, RANGE)):
                self.world = self.new_world()
                self.world.selections.current = selection(Standing.VIABLE if turns else standing)
                client = self.world.request(target=target)
                for _ in range(turns):
                    self.turn()
                self.world.selections.current = selection(standing)
                self.pass_time()
                self.assertEqual(self.world.upstreams.backends, [A], (standing, turns, target))
                self.world.upstreams.sent[0].answer.callback(FakeResponse(200))
                self.assertEqual(client.served_by, A)

    def test_bug_in_a_preparation(self) -> None:
        """The client gets an answer, and so does the next one."""

        def broken(*_: object) -> Generator[None, None, None]:
            raise RuntimeError("a bug")
            yield

        works = kept_lacks.working_out_lacks
        self.patch(kept_lacks, "working_out_lacks", broken)
        client = self.world.request(target=IN_A)
        self.pass_time()
        assert client.failed is not None
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.patch(kept_lacks, "working_out_lacks", works)
        self.world.request(target=IN_A)
        self.pass_time()
        self.assertEqual([sent.backend for sent in self.world.upstreams.sent], [B])
