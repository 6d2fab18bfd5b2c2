"""What is remembered of the lacks of queries: bounded, worked out once, and the same however it was worked out."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.coverage import Coverage, Job, Missing
from mpp.core.generators import result_of
from mpp.core.intervals import Intervals
from mpp.core.model import Backend
from mpp.coverage.planning import kept_lacks
from mpp.coverage.planning.kept_lacks import MOST_BYTES, MOST_KEPT, KeptLacks, LacksKey, size_of
from mpp.coverage.planning.levels import levels_of
from mpp.coverage.planning.query_lacks import QueryLacks
from mpp.coverage.planning.steps import Steps
from mpp.promql.jobs import ALL_JOBS
from mpp.promql.reads import SelectorReads

A, B = (Backend("http", name, 9090) for name in "ab")
INSTANT = (SelectorReads(0.0, 0.0, newest=True, jobs=ALL_JOBS),)
COVERAGE = Coverage(
    {"node": Job(20, 10.0)},
    {
        server: Missing(Intervals.of((after + n, after + n + 60) for n in range(0, 100_000, 400)))
        for server, after in ((A, 0), (B, 100))
    },
)
ALL_STEPS = Steps.until(-1_000_000, 200_000_000, 60_000)


def key(number: int) -> LacksKey:
    """Return the key of one of many queries."""
    return LacksKey((b"up%d" % number,), True, 300.0)


class KeptLacksTests(SynchronousTestCase):
    """Two servers with 250 gaps each."""

    def setUp(self) -> None:
        self.kept = KeptLacks()
        self.kept.clear(COVERAGE)

    def of(self, key: LacksKey, selectors: Iterable[SelectorReads]) -> QueryLacks:
        """Return the lacks of a query, worked out at once."""
        return result_of(self.kept.working_out(key, selectors))

    def held(self, queries: int) -> list[int]:
        """Return which queries are still remembered, without a look that would move them to the end."""
        return [number for number in range(queries) if key(number) in self.kept._kept]

    def test_memory_is_bounded_by_bytes(self) -> None:
        """With many gaps fewer queries are remembered, the last ones."""
        each = size_of(key(100), self.of(key(0), INSTANT))
        self.assertGreater(each, 100_000)
        most = MOST_BYTES // each
        for number in range(most + 5):
            self.of(key(number), INSTANT)
        self.assertEqual(self.held(most + 5), list(range(5, most + 5)))

    def test_memory_is_bounded_by_queries(self) -> None:
        """With few gaps a number of queries is remembered."""
        self.kept.clear(Coverage(COVERAGE.jobs, {A: Missing(Intervals.of([(0.0, 60.0)]))}))
        for number in range(MOST_KEPT + 1):
            self.of(key(number), INSTANT)
        self.assertEqual(self.held(MOST_KEPT + 1), list(range(1, MOST_KEPT + 1)))

    def test_long_query_is_not_remembered(self) -> None:
        """The clients choose the queries, and a body may have 10 MB."""
        long = LacksKey((b"x" * 1_000_000,), True, 300.0)
        self.of(long, INSTANT)
        self.assertEqual(list(self.kept._kept), [])

    def test_query_kept_twice_counts_once(self) -> None:
        """While a plan is prepared the same lacks may be needed at once, and are then kept by both."""
        steps = self.kept.preparing(key(1), INSTANT, ALL_STEPS, [(A, B)])
        assert steps is not None
        next(steps)
        found = self.of(key(1), INSTANT)
        list(steps)
        self.assertEqual(self.kept._bytes, size_of(key(1), found))

    def test_preparation_is_the_same_as_all_at_once(self) -> None:
        """The lacks, and what is kept with them, are equal."""
        steps = self.kept.preparing(key(1), INSTANT, ALL_STEPS, [(A, B)])
        self.assertGreater(len(list(steps)), 10)
        prepared, other = self.of(key(1), INSTANT), self.of(key(2), INSTANT)
        self.assertEqual(prepared, other)
        self.assertEqual(list(prepared.levels.at_steps), [((A, B), ALL_STEPS)])
        self.assertEqual(levels_of(prepared, (A, B), ALL_STEPS), levels_of(other, (A, B), ALL_STEPS))

    def test_nothing_is_left_to_prepare(self) -> None:
        """The preparation of a query that is prepared already ends at once, and that of further steps does the rest."""
        first, other = Steps.until(0, 3_600_000, 60_000), Steps.until(50_000_000, 53_600_000, 60_000)
        self.assertGreater(len(list(self.kept.preparing(key(1), INSTANT, first, [(A, B)]))), 10)
        self.assertEqual(list(self.kept.preparing(key(1), INSTANT, first, [(A, B)])), [])
        self.assertEqual(len(list(self.kept.preparing(key(1), INSTANT, other, [(A, B)]))), 1)

    def test_another_coverage_ends_a_preparation(self) -> None:
        """What was worked out of the old one is not kept."""
        steps = self.kept.preparing(key(1), INSTANT, ALL_STEPS, [(A, B)])
        next(steps)
        self.kept.clear(Coverage(COVERAGE.jobs))
        self.assertEqual(list(steps), [])
        self.assertEqual(self.held(2), [])

    def test_other_rules_end_a_preparation(self) -> None:
        """The coverage is the same then, but the reads of the query may not be."""
        steps = self.kept.preparing(key(1), INSTANT, ALL_STEPS, [(A, B)])
        next(steps)
        self.kept.clear(COVERAGE)
        self.assertEqual(list(steps), [])
        self.assertEqual(self.held(2), [])

    def test_evicted_while_it_was_prepared(self) -> None:
        """The lacks are kept when the preparation ends, for the plan that follows."""
        steps = self.kept.preparing(key(1), INSTANT, ALL_STEPS, [(A, B)])
        while not self.held(2):
            next(steps)
        for number in range(2, 4 + MOST_BYTES // size_of(key(1), self.of(key(1), INSTANT))):
            self.of(key(number), INSTANT)
        self.assertEqual(self.held(2), [])
        list(steps)
        self.assertEqual(self.held(2), [1])

    def test_bug_is_not_kept(self) -> None:
        """The next request for the query tries again."""

        def broken(*_: object) -> object:
            raise RuntimeError("a bug")
            yield

        work = kept_lacks.working_out_lacks
        self.patch(kept_lacks, "working_out_lacks", broken)
        self.assertRaises(RuntimeError, list, self.kept.preparing(key(1), INSTANT, ALL_STEPS, [(A, B)]))
        self.patch(kept_lacks, "working_out_lacks", work)
        self.assertTrue(list(self.kept.preparing(key(1), INSTANT, ALL_STEPS, [(A, B)])))
        self.assertEqual(self.held(2), [1])
