"""What queries of metrics read that rules make."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.promql.reader import read
from mpp.promql.reads import MOST_SELECTORS, QueryReads, SelectorReads, merged
from mpp.promql.rules import RuleBook, RuleDefinition, RuleReading

JOBS = frozenset(("a", "b", "c"))
Row = tuple[str, float, float, frozenset[str]]


def book(*definitions: RuleDefinition) -> RuleBook:
    """Return what some rules read."""
    reading = RuleReading(definitions)
    for _ in reading.steps():
        pass
    return reading.book()


def rows(reads: QueryReads) -> set[Row]:
    """Return metrics, times and jobs."""
    return {(part.metric, part.start, part.end, part.jobs.select(JOBS)) for part in reads.selectors}


RULES = book(
    RuleDefinition("job:rate", 'sum by (job) (rate(x{job="a"}[5m]))', 30.0),
    RuleDefinition("of:rule", "job:rate offset 1h", 60.0),
    RuleDefinition("no:series", "vector(1)", 60.0),
    RuleDefinition("itself", "itself offset 1m or y", 60.0),
    RuleDefinition("ping", "pong", 60.0),
    RuleDefinition("pong", "ping or y", 60.0),
    RuleDefinition("twice", 'y{job="a"}', 60.0),
    RuleDefinition("twice", 'z{job="b"}', 120.0),
    RuleDefinition("fixed", "y @ 1000", 60.0),
    RuleDefinition("at:start", "y @ start() offset 1m", 60.0),
    RuleDefinition("unreadable", "y[5m*2]", 60.0),
    RuleDefinition("Down", 'up{job="b"} == 0', 60.0, alerting=True, pending_s=300.0),
    RuleDefinition("Slow", 'job:rate{job="a"} > 1', 60.0, alerting=True),
)
A, B, ALL = frozenset("a"), frozenset("b"), JOBS


class RecordingTests(SynchronousTestCase):
    """Metrics of recording rules."""

    def test_query_reads_what_the_rule_reads(self) -> None:
        """A query reads what the rule reads, from one evaluation interval back, of the jobs that the rule reads."""
        for query, expected in (
            ("x", {("x", 0, 0, ALL)}),
            ("job:rate", {("job:rate", 0, 0, A), ("x", -330, 0, A)}),
            ("job:rate offset 1h", {("job:rate", -3600, -3600, A), ("x", -3930, -3600, A)}),
            ("avg_over_time(job:rate[1h])", {("job:rate", -3600, 0, A), ("x", -3930, 0, A)}),
            ("max_over_time(job:rate[1h:])", {("job:rate", -3600, 0, A), ("x", -3930, 0, A)}),
            ('{"job:rate"}', {("job:rate", 0, 0, A), ("x", -330, 0, A)}),
            ('{__name__=~"job:rate|else"}', {("", 0, 0, ALL), ("", 0, 0, A), ("x", -330, 0, A)}),
            # A selector that names a job reads that, too: the metric may be scraped as well.
            ('job:rate{job="b"}', {("job:rate", 0, 0, A), ("job:rate", 0, 0, B), ("x", -330, 0, A)}),
            (
                "of:rule",
                {("of:rule", 0, 0, A), ("job:rate", -3660, -3600, A), ("x", -3990, -3600, A)},
            ),
            ("no:series", {("no:series", 0, 0, ALL)}),
            ("twice", {("twice", 0, 0, A), ("twice", 0, 0, B), ("y", -120, 0, A), ("z", -120, 0, B)}),
            ("at:start", {("at:start", 0, 0, ALL), ("y", -120, -60, ALL)}),
            ("unreadable", {("unreadable", 0, 0, ALL), ("", -664, 0, ALL)}),
        ):
            with self.subTest(query=query):
                self.assertEqual(rows(read(query, RULES.recorded)), expected)

    def test_circular_rules_read_what_they_read_directly(self) -> None:
        """Rules that read from themselves, or from each other, read what they read directly."""
        self.assertEqual(
            rows(read("itself", RULES.recorded)), {("itself", 0, 0, ALL), ("itself", -120, -60, ALL), ("y", -60, 0, ALL)}
        )
        self.assertIn(("y", -120, 0, ALL), rows(read("ping", RULES.recorded)))
        self.assertIn(("y", -60, 0, ALL), rows(read("pong", RULES.recorded)))

    def test_fixed_time_of_a_rule_stays_fixed(self) -> None:
        """What a rule reads at a fixed time is read there, wherever the query reads the rule's metric."""
        for query in ("fixed", "fixed offset 1h", "fixed @ start()", "fixed @ 5"):
            parts = read(query, RULES.recorded).selectors
            self.assertIn(("y", 1000.0, 1000.0, True), [(part.metric, part.start, part.end, part.fixed) for part in parts], query)

    def test_pinned_query_needs_the_time_before(self) -> None:
        """Behind @ what the rule read before that time is needed."""
        (own, inner) = read("job:rate @ 9000", RULES.recorded).selectors
        self.assertEqual((own.start, own.end, own.fixed), (9000, 9000, True))
        self.assertEqual((inner.start, inner.end, inner.fixed), (8670, 9000, True))
        parts = read("job:rate @ start()", RULES.recorded).within(9000.0, 9900.0).selectors
        self.assertEqual([(part.start, part.end, part.fixed) for part in parts], [(9000, 9000, True), (8670, 9000, True)])

    def test_no_rules(self) -> None:
        """Without rules a query reads what its selectors read."""
        for query in ("ALERTS", "{__name__!='x'}", "{job='a'}", "x"):
            self.assertEqual(len(read(query, RuleBook().recorded).selectors), 1)

    def test_long_rows(self) -> None:
        """Rules that read from each other in a long row are composed without an error."""
        rules = book(*(RuleDefinition(f"r{number}", f"r{number + 1} or x", 60.0) for number in range(300)))
        self.assertEqual(len(rules.metrics), 300)


class AlertTests(SynchronousTestCase):
    """``ALERTS``."""

    def test_alert_reads_from_before_it_is_pending(self) -> None:
        """An alert reads what its rule reads, from as long before as it is pending."""
        self.assertEqual(rows(read('ALERTS{alertname="Down"}', RULES.recorded)), {("ALERTS", 0, 0, B), ("up", -360, 0, B)})
        self.assertIn(("x", -390, 0, A), rows(read('ALERTS_FOR_STATE{alertname=~"Slow|Other"}', RULES.recorded)))

    def test_no_alert_name_reads_all_alerts(self) -> None:
        """Without a condition on the alert's name, what all alerts read."""
        found = rows(read("ALERTS", RULES.recorded))
        self.assertIn(("ALERTS", 0, 0, A), found)
        self.assertIn(("ALERTS", 0, 0, B), found)
        self.assertEqual(rows(read('ALERTS{alertname="None"}', RULES.recorded)), {("ALERTS", 0, 0, ALL)})


class UnnamedTests(SynchronousTestCase):
    """Selectors without a metric's name."""

    def test_query_that_is_not_understood_may_read_any_rule(self) -> None:
        """As a selector without a name does."""
        for query in ("job:rate + step() * 0", "sum(job:rate)" + " + 1" * 2000, "x offset 1m # '" + "'" * 3000):
            with self.subTest(query=query[:30]):
                reads = read(query, RULES.recorded)
                self.assertNotEqual(reads.refused, "")
                reach = reads.reach(0.0, 0.0, 0.0)
                assert reach is not None
                self.assertLessEqual(reach[0], -3990)
                self.assertLessEqual(len(reads.selectors), MOST_SELECTORS)

    def test_unnamed_selector_may_read_any_rule(self) -> None:
        """A selector without a name may read what any rule makes."""
        reach = read('{instance="i"}', RULES.recorded).reach(0.0, 0.0, 0.0)
        assert reach is not None
        self.assertLessEqual(reach[0], -3990)

    def test_many_rules_give_few_parts(self) -> None:
        """With many rules, a query has few parts all the same, and these cover what each rule reads."""
        rules = book(*(RuleDefinition(f"r{n}", f'x{n}{{job="j{n}"}} offset {n + 1}m', 60.0) for n in range(100)))
        for query in ('{job="j1"}', " + ".join(f"r{number}" for number in range(40))):
            reads = read(query, rules.recorded)
            self.assertLessEqual(len(reads.selectors), MOST_SELECTORS)
            reach = reads.reach(0.0, 0.0, 0.0)
            assert reach is not None
            self.assertLessEqual(reach[0], -40 * 60)


class MergedTests(SynchronousTestCase):
    """Parts that are joined because there are too many."""

    def test_parts_are_merged_from_metric_to_jobs(self) -> None:
        """Parts that differ in the metric are joined first, then in the times, then in the jobs; a fixed time stays apart."""
        parts = [SelectorReads(-number, 0, newest=True, metric=f"m{number}") for number in range(10)]
        self.assertEqual(merged([*parts, *parts], 10), tuple(parts))
        metrics = [SelectorReads(-300, 0, newest=False, metric=f"m{number}") for number in range(10)]
        other = SelectorReads(-60, 0, newest=False)
        self.assertEqual(merged([*metrics, other], 4), (SelectorReads(-300, 0, newest=False), other))
        fixed = SelectorReads(5.0, 6.0, newest=True, fixed=True)
        self.assertEqual(merged([*parts, fixed], 4), (SelectorReads(-9, 0, newest=True), fixed))
        jobs = [read(f'x{{job="{number}"}}').selectors[0] for number in range(10)]
        self.assertEqual(merged(jobs, 4), (SelectorReads(0, 0, newest=True, metric="x"),))
