"""What queries read."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from functools import partial
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.promql.estimate import estimated
from mpp.promql.guard import objection
from mpp.promql.literals import bare
from mpp.promql.reader import MOST_CHARACTERS, parser_problem, read
from mpp.promql.reads import SelectorReads
from mpp.promql.walk import ANY_SERIES, PINNED, START_OR_END
from tests.promql_fuzz import MOST_S, Stage, in_process, reads_stages
from tests.promql_queries import Queries

ROOT = Path(__file__).parent.parent.parent.parent
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

Row = tuple[float, float, str]
"""Start, end, and ``newest`` or ``range``, ``fixed`` behind it for a fixed time."""

TABLE: tuple[tuple[str, list[Row]], ...] = (
    ("1", []),
    ("vector(1) + time()", []),
    ('"a text"', []),
    ("up", [(0, 0, "newest")]),
    ('{"up"}', [(0, 0, "newest")]),
    ("up[5m]", [(-300, 0, "range")]),
    ("rate(x[300])", [(-300, 0, "range")]),
    ("rate(x[1h30m])", [(-5400, 0, "range")]),
    ("x offset 1d", [(-DAY, -DAY, "newest")]),
    ("x OFFSET 1d", [(-DAY, -DAY, "newest")]),
    ("x offset -5m", [(300, 300, "newest")]),
    ("rate(x[5m] offset 1h)", [(-HOUR - 300, -HOUR, "range")]),
    ("rate(x[5m] offset -1h)", [(HOUR - 300, HOUR, "range")]),
    ("x @ 1600000000", [(1.6e9, 1.6e9, "newest fixed")]),
    ("x @ 0", [(0, 0, "newest fixed")]),
    ("x @ 1.6e9 offset 5m", [(1.6e9 - 300, 1.6e9 - 300, "newest fixed")]),
    ("x offset 5m @ 1.6e9", [(1.6e9 - 300, 1.6e9 - 300, "newest fixed")]),
    ("rate(x[5m] @ 1.6e9)", [(1.6e9 - 300, 1.6e9, "range fixed")]),
    # A subquery widens what is inside, and shifts it.
    ("max_over_time(x[1h:])", [(-HOUR, 0, "newest")]),
    ("max_over_time(x[1h:1m] offset 1d)", [(-DAY - HOUR, -DAY, "newest")]),
    ("max_over_time((x offset 1d)[1h:1m])", [(-DAY - HOUR, -DAY, "newest")]),
    ("max_over_time(rate(x[5m])[1h:1m])", [(-HOUR - 300, 0, "range")]),
    ("max_over_time(x[1h:1m] offset -1d)", [(DAY - HOUR, DAY, "newest")]),
    ("max_over_time(max_over_time(rate(x[5m])[1h:] offset 1h)[1d:])", [(-DAY - 2 * HOUR - 300, -HOUR, "range")]),
    # Behind @, what the subqueries around it add does not matter; what is inside of it is added to it.
    ("max_over_time((x @ 100)[1h:] offset 1d)", [(100, 100, "newest fixed")]),
    ("max_over_time(x[1h:] @ 1e6)", [(1e6 - HOUR, 1e6, "newest fixed")]),
    ("max_over_time(max_over_time(x[1h:] @ 1e6)[1d:] offset 1d)", [(1e6 - HOUR, 1e6, "newest fixed")]),
    ("max_over_time(rate(x[5m] offset 1m)[1h:] @ 1e6)", [(1e6 - HOUR - 360, 1e6 - 60, "range fixed")]),
    # Every part counts.
    ("x + y offset 1h", [(0, 0, "newest"), (-HOUR, -HOUR, "newest")]),
    ("-(x)", [(0, 0, "newest")]),
    ("topk(scalar(y offset 1h), x)", [(0, 0, "newest"), (-HOUR, -HOUR, "newest")]),
    ("sum by (job) (x) / on (job) group_left () max_over_time(y[5m:])", [(0, 0, "newest"), (-300, 0, "newest")]),
    ("label_replace(x, 'a', '$1', 'b', '(.*)')", [(0, 0, "newest")]),
    ("histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m])))", [(-300, 0, "range")]),
    ("x # y offset 1h", [(0, 0, "newest")]),
    ("x > 1e12", [(0, 0, "newest")]),
)

UNKNOWN: tuple[tuple[str, float, float], ...] = (
    # Newer syntax, and what no server understands: all durations are added up.
    ("rate(x[5m*2])", -604, 0),
    ("rate(x[10m/2])", -1204, 0),
    ("rate(x[5m+1m])", -360, 0),
    ("rate(x[5m] anchored)", -300, 0),
    ("rate(x[5m] smoothed)", -300, 300),
    ("x </ 3", 0, 0),
    ("holt_winters(x[1h], 0.5, 0.5) + y offset 1d", -HOUR - DAY, 0),
    ("fancy_new(x[1h])[1d:5m]", -HOUR - DAY - 300, 0),
    ("unheard_of(x offset -1h)", -HOUR, HOUR),
    ("sum(rate(x[5m])", -300, 0),
    ("+".join(["rate(x[1m])"] * 60), -3600, 0),
    ("unheard_of(x offset 300)", -300, 0),
    ('unheard_of(x{a="1h"}[5m]) # 1d', -300, 0),
    ("job:rate5m ?", 0, 0),
    ("rate(x[$__rate_interval]) + y[5m]", -math.inf, math.inf),
    ("rate(x[step()])", -math.inf, math.inf),
    ("rate(x[2 ^ 20])", -math.inf, math.inf),
    ("x offset (5m)", -math.inf, math.inf),
    ("x offset -(5m)", -math.inf, math.inf),
    ("unheard_of(x @ 5)", -math.inf, math.inf),
    ("unheard_of(x) + 1600000000", -math.inf, math.inf),
    ("unheard_of(x) + 1.6e9", -math.inf, math.inf),
    ("unheard_of(x) + 0x5f5e1000", -math.inf, math.inf),
    ("x @ -100", -math.inf, math.inf),
    ("x @ 1e12", -math.inf, math.inf),
    ("x @ NaN", -math.inf, math.inf),
    # A number without digits is none, so there is no time and no duration in these.
    ("unheard_of(x) + 0x_", 0, 0),
    ("x offset 0x_", 0, 0),
    ("x offset 1D", 0, 0),
    ("x[1e300]", -math.inf, math.inf),
    ("x offset 1e300", -math.inf, math.inf),
    ("x[9999999999y]", -math.inf, math.inf),
    ('x{a="b}', -math.inf, math.inf),
    ("x" * (MOST_CHARACTERS + 1), -math.inf, math.inf),
)


def rows(parts: tuple[SelectorReads, ...]) -> list[Row]:
    """Return the times of what is read."""
    return [(p.start, p.end, ("newest" if p.newest else "range") + (" fixed" if p.fixed else "")) for p in parts]


class TimesTests(SynchronousTestCase):
    """Which times an evaluation reads."""

    def test_modifiers_give_the_times_that_are_read(self) -> None:
        """Offsets, ranges, subqueries and @ give the times that Prometheus reads."""
        for query, expected in TABLE:
            with self.subTest(query=query):
                reads = read(query)
                self.assertEqual((reads.refused, reads.whole), ("", ""))
                self.assertCountEqual(rows(reads.selectors), expected)

    def test_not_understood(self) -> None:
        """A query that is not understood reads all that the durations in it allow for, and is evaluated by one server."""
        for query, start, end in UNKNOWN:
            with self.subTest(query=query[:80]):
                reads = read(query)
                self.assertNotEqual(reads.refused, "")
                self.assertNotEqual(reads.whole, "")
                self.assertEqual([(part.start, part.end) for part in reads.selectors], [(start, end)])

    def test_carriage_return_ends_a_comment(self) -> None:
        """Prometheus' lexer ends a comment at the first \\r or \\n."""
        for end in ("\n", "\r", "\r\n"):
            self.assertEqual(rows(read(f"x # why{end} offset 1h").selectors), [(-HOUR, -HOUR, "newest")])
            self.assertEqual(read(f"x # why{end} @ start()").whole, START_OR_END)

    def test_start_and_end(self) -> None:
        """@ start() and @ end() mean the range of the request, and such a query is evaluated by one server."""
        reads = read("rate(x[5m] @ start()) + max_over_time(y[1h:] @ end() offset 1m) + z")
        self.assertEqual(reads.whole, START_OR_END)
        self.assertEqual(rows(reads.selectors), [(0, 0, "newest")])
        placed = reads.within(1000.0, 9000.0)
        self.assertEqual(
            rows(placed.selectors),
            [(0, 0, "newest"), (700, 1000, "range fixed"), (9000 - HOUR - 60, 8940, "newest fixed")],
        )
        self.assertEqual(placed.within(1.0, 2.0), placed)

    def test_reach_contains_what_each_step_reads(self) -> None:
        """The reach of a range contains what each step looks at."""
        reads = read("x + y offset 1h + z offset -1m + w @ 500")
        self.assertEqual(reads.reach(10_000.0, 20_000.0, 300.0), (200.0, 20_060.0))
        self.assertEqual(read("x").reach(10_000.0, 20_000.0, 300.0), (9700.0, 20_000.0))
        self.assertIsNone(read("1").reach(10_000.0, 20_000.0, 300.0))

    def test_needed_and_looked_back_on(self) -> None:
        """An instant selector needs the newest scrape and looks back on more; a range selector needs its range."""
        (instant,), (range_,) = read("x offset 1m").selectors, read("x[5m]").selectors
        self.assertEqual(instant.needed(1000.0, 30.0), (910.0, 940.0))
        self.assertEqual(instant.looked_back_on(1000.0, 300.0), (640.0, 940.0))
        self.assertEqual(range_.needed(1000.0, 30.0), (700.0, 1000.0))
        self.assertEqual(range_.looked_back_on(1000.0, 300.0), (700.0, 1000.0))


class EmptyTests(SynchronousTestCase):
    """Selectors with matchers for the empty text."""

    def test_selectors_without_a_name(self) -> None:
        """A selector needs one matcher that rejects the empty text, which all of these have."""
        for matchers in (
            'job!=""',
            "job!=''",
            "job!=``",
            'job!~""',
            '__name__!=""',
            'a!="", b="c"',
            '"job"!=""',
            'job != # why\n ""',
        ):
            reads = read(f"count({{{matchers}}}) by (job)")
            self.assertEqual((reads.refused, rows(reads.selectors)), ("", [(0, 0, "newest")]), matchers)
        for query in ('label_replace(x, "a", "", "b", "")', 'count_values("", x)', 'x{a=""}'):
            self.assertEqual(read(query).refused, "", query)


class WholeTests(SynchronousTestCase):
    """Which queries one server evaluates as a whole."""

    def test_parameter_over_what_is_pinned(self) -> None:
        """A parameter that changes from step to step is evaluated once if @ pins what is aggregated."""
        for query in (
            "quantile(time() / 1e10, x @ 100)",
            "topk(scalar(y), rate(x[5m] @ 100))",
            "topk(scalar(y), max_over_time(x[5m:] @ 9))",
        ):
            self.assertEqual(read(query).whole, PINNED, query)
        for query in (
            "quantile(0.9, x @ 100)",
            "quantile(-(0.1 + 0.2), x @ 100)",
            "quantile(scalar(y @ 100), x)",
            'count_values("a", x @ 1)',
        ):
            self.assertEqual(read(query).whole, "", query)

    def test_any_series_of_a_range(self) -> None:
        """limitk takes the first series in the order of the storage, which is another one for another range."""
        self.assertEqual(read("sum(limitk(2, x)) + y").whole, ANY_SERIES)
        for query in ("topk(2, x)", "limit_ratio(0.5, x)", "limitk"):
            self.assertEqual(read(query).whole, "", query)


class MatchersTests(SynchronousTestCase):
    """What the matchers of a selector say."""

    def test_matchers_select_the_jobs(self) -> None:
        """The jobs are those that the matchers let through; an expression that is not a list of literals lets all through."""
        jobs = frozenset(("api", "api-2", "db", "a.b"))
        for matchers, expected in (
            ('job="api"', {"api"}),
            ("job='api'", {"api"}),
            ("job=`api`", {"api"}),
            ('"job"="api"', {"api"}),
            (r'"\u006aob"="\u0061pi"', {"api"}),
            ('job!="api"', {"api-2", "db", "a.b"}),
            ('job=~"api|db"', {"api", "db"}),
            ('job=~ # why\n "api|db"', {"api", "db"}),
            ('job=~"api.*"', {"api", "api-2"}),
            ('job=~"api.+"', {"api-2"}),
            ('job=~"(api|db)"', {"api", "db"}),
            ('job=~"^(?:api|db)$"', {"api", "db"}),
            (r'job=~"a\\.b|api\\-2"', {"a.b", "api-2"}),
            (r"job=~`a\.b`", {"a.b"}),
            ('job!~"api.*"', {"db", "a.b"}),
            ('job!~"api.*",job!="db"', {"a.b"}),
            ('job=~"api.*",job!="api"', {"api-2"}),
            ('job=~".+"', jobs),
            ('job=~".*"', jobs),
            ('job=~"a.b"', jobs),
            ('job=~"(?i)API"', jobs),
            ('job=~"[ad].*"', jobs),
            ('job!~"a.b"', jobs),
            ('job=~"(a+)+$"', jobs),
            (r'job=~"\\Qapi\\E"', jobs),
            (r'job="\x61pi"', jobs),
            ('job=""', jobs),
            ('job!=""', jobs),
            ("job!=``", jobs),
            ('job!~""', jobs),
            ('job!="",job!="db"', {"api", "api-2", "a.b"}),
            ('job=~"api|"', jobs),
            ('job="gone"', jobs),
            # Samples of a Pushgateway have other values.
            ('job=~"api|pushed"', jobs),
            ('job!~"api|pushed"', {"api-2", "db", "a.b"}),
            ('instance="api"', jobs),
            ('job="api" or job="db"', jobs),
        ):
            with self.subTest(matchers=matchers):
                reads = read(f"x{{{matchers}}}")
                self.assertEqual(reads.refused, "")
                self.assertEqual(reads.selectors[0].jobs.select(jobs), expected)

    def test_only_positive_matchers_name_a_job(self) -> None:
        """A job is named by = or an alternative, not by what excludes others or takes all."""
        for matchers, expected in (
            ('job="api"', {"api"}),
            ('job=~"api.*|db"', {"api", "api-2", "db"}),
            ('job!="api"', set()),
            ('job=~".+"', set()),
            ('job=~"(a+)+"', set()),
            ('job=~"api.*",job!="api"', {"api-2"}),
            ("", set()),
        ):
            jobs = read(f"x{{{matchers}}}").selectors[0].jobs
            self.assertEqual({job for job in ("api", "api-2", "db") if jobs.names(job)}, expected, matchers)

    def test_too_many_conditions_count_as_all_jobs(self) -> None:
        """Of a query with more conditions on jobs than are compared, the last selectors read all jobs."""
        query = " or ".join(f'm{number}{{job!="a{number}",job!="b",job!="c",job!="d",job!="e"}}' for number in range(12))
        found = read(query).selectors
        self.assertEqual([each.metric for each in found], [f"m{number}" for number in range(12)])
        jobs = frozenset(("a0", "b", "x"))
        self.assertEqual(found[0].jobs.select(jobs), {"x"})
        self.assertEqual(found[-1].jobs.select(jobs), jobs)

    def test_metric_name_is_found_anywhere(self) -> None:
        """The metric's name is known from wherever it stands, if it is one."""
        for query, expected in (
            ("up", "up"),
            ('{__name__="up"}', "up"),
            ('{"up", a="b"}', "up"),
            ('{__name__=~"up"}', "up"),
            ('{__name__=~"up|down"}', ""),
            ('{__name__!="up", job="a"}', ""),
            ('{job="a"}', ""),
        ):
            self.assertEqual([part.metric for part in read(query).selectors], [expected], query)

    def test_info_reads_target_info_too(self) -> None:
        """``info`` also reads ``target_info``."""
        parts = read('info(x{job="a"})').selectors
        self.assertTrue(any(not part.jobs.conditions for part in parts))


def nested(draw: st.DrawFn) -> tuple[str, float, float, bool]:
    """Return a selector within subqueries, and the start and end that it reads, and whether these are fixed."""
    range_s = draw(st.sampled_from((0, 60, 300)))
    offset, at = draw(st.sampled_from((None, 60, -60))), draw(st.sampled_from((None, 0, 1000)))
    query = "x" + (f"[{range_s}s]" if range_s else "") + _modifiers(offset, at)
    query = f"rate({query})" if range_s else query
    start, end, fixed = -range_s - (offset or 0), -(offset or 0), at is not None
    start, end = start + (at or 0), end + (at or 0)
    for _ in range(draw(st.integers(0, 3))):
        width, offset, at = draw(st.integers(1, 9999)), draw(st.sampled_from((None, 7, -7))), draw(st.sampled_from((None, 5000)))
        query = f"max_over_time(({query})[{width}s:]{_modifiers(offset, at)})"
        if not fixed:
            start, end, fixed = start - width - (offset or 0) + (at or 0), end - (offset or 0) + (at or 0), at is not None
    return query, start, end, fixed


def _modifiers(offset: int | None, at: int | None) -> str:
    before = "" if offset is None else f" offset {'-' if offset < 0 else ''}{abs(offset)}s"
    return before + ("" if at is None else f" @ {at}")


class PropertyTests(SynchronousTestCase):
    """What holds for all queries."""

    @given(st.composite(nested)())
    def test_nested_offsets_add_up_to_the_first_at(self, case: tuple[str, float, float, bool]) -> None:
        """What subqueries, offsets and @ add is added up from the inside to the first @."""
        query, start, end, fixed = case
        (part,) = read(query).selectors
        self.assertEqual((part.start, part.end, part.fixed), (start, end, fixed), query)

    @given(st.integers(0, 10_000))
    def test_estimate_covers(self, seed: int) -> None:
        """The estimate for a query that is not understood is never less than what it reads."""
        query = Queries(seed).valid(4)
        reads, without = read(query), bare(query)
        self.assertEqual(reads.refused, "", query)
        assert without is not None
        estimate = estimated(without.text)
        for part in (*reads.selectors, *reads.from_start, *reads.from_end):
            # What is fixed makes the estimate all time.
            self.assertLessEqual(estimate.start, part.start, query)
            self.assertGreaterEqual(estimate.end, part.end, query)

    @given(st.text())
    def test_unrelated_literals_make_no_difference(self, text: str) -> None:
        """What stands in a literal of a label that says nothing of jobs makes no difference."""
        inner = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for query in (f'rate(x{{a="{inner}",job="b"}}[5m])', f'rate(x{{a=~"{inner}",job="b"}}[5m])'):
            self.assertEqual(read(query), read('rate(x{a="c",job="b"}[5m])'), query)


class GuardTests(SynchronousTestCase):
    """Queries that never reach the parser."""

    def test_one_more_than_the_limit_is_refused(self) -> None:
        """A query within the limits passes; one more operator, bracket or word, and it does not."""
        for least, most, made in (
            (1, 50, lambda n: "+".join(["x"] * (n + 1))),
            (1, 50, lambda n: "(" * n + "x" + ")" * n),
            (1, 50, lambda n: "-" * n + "x"),
            (1, 50, lambda n: " or ".join(["x"] * (n + 1))),
            (1, 24, lambda n: "max_over_time(" * n + "x" + "[5m:1m])" * n),
            (1, 1000, lambda n: "x " * n),
        ):
            for number in (least, most):
                self.assertEqual(objection(made(number)), "", made(number)[:80])
            self.assertNotEqual(objection(made(most + 1)), "", made(most + 1)[:80])

    def test_newer_syntax(self) -> None:
        """A parser that knows newer syntax is not asked, since what it reads is another question."""
        for query in (
            "rate(x[5m] smoothed)",
            "rate(x[5m] anchored)",
            "x > start()",
            "x / range ()",
            "x[step()]",
            "x @ start() + end()",
        ):
            self.assertNotEqual(objection(query), "", query)
        for query in (
            "x @ start()",
            "x[5m] @ end ( )",
            "sum by (start) (x)",
            "step",
            "sum(x) by (end)",
            "anchored_total",
            "x:smoothed",
        ):
            self.assertEqual(objection(query), "", query)

    def test_dangerous_times_are_refused(self) -> None:
        """Lengths and times that panic the parser, or that it reads wrongly, do not pass."""
        for query in (
            "x[1e300]",
            "x[1m1h]",
            "x[]",
            "x[5m",
            "x offset 1e300",
            "x offset",
            "x offset 1D",
            "x OFFSET 300S",
            "x @ -100",
            "x @ 1e12",
            "x @ NaN",
            "x @",
        ):
            self.assertNotEqual(objection(query), "", query)
        for query in ("x[1h30m]", "x[300]", "x[1.5]", "x[5m:]", "x[5m:1m]", "x offset -1w", "x @ 1.7e9", "x @ 0", "offset_total"):
            self.assertEqual(objection(query), "", query)


class HostileTests(SynchronousTestCase):
    """Queries that are meant to harm."""

    def test_random_queries_never_crash_or_block(self) -> None:
        """Of 3,000 random queries none crashes or blocks the process, takes 10 ms, or writes to standard error."""
        run = in_process(0, 3_000, 300.0)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        result = json.loads(run.stdout)
        for name, found in result["stages"].items():
            # Twice the limit, for other tests run beside this one and share the processor's caches; the long test is strict.
            self.assertLess(found["ms"], 2 * MOST_S * 1000, (name, found))
        self.assertGreater(result["different"], 0.1)
        self.assertLess(result["refused"], 0.8)

    def test_many_conditions_on_jobs(self) -> None:
        """However many conditions on jobs a query has, to read and plan it takes less than 10 ms where there are 2,000 jobs."""
        twenty = "|".join(f"j{number}.+" for number in range(20))
        stages = reads_stages()
        for query in (
            "+".join("x{" + ",".join(f'job=~"{k}|{twenty}"' for k in range(i, i + 8)) + "}" for i in range(16)),
            "+".join("x{" + ",".join(f'job=~"j{(i + k) % 8}.*"' for k in range(8)) + "}" for i in range(16)),
            "x{" + ",".join(f'job=~"{k}|{twenty}"' for k in range(8)) + "}",
            "+".join(f'rate(x{{job!="j{i}"}}[{i + 1}m] offset {i + 1}m)' for i in range(12)),
        ):
            reads = read(query)
            self.assertEqual(reads.refused, "")
            for name, stage in stages.items():
                measured = Stage()
                measured.measure(query, partial(stage, reads))
                # As above.
                self.assertLess(measured.worst()["ms"], 2 * MOST_S * 1000, (name, query[:100]))

    def test_small_stack(self) -> None:
        """The deepest query that is parsed fits on the stack of 128 KiB that a thread has with musl."""
        code = (
            "import threading\n"
            "from mpp.promql.reader import read\n"
            "queries = ['+'.join(['x'] * 50), '^'.join(['x'] * 50), '-' * 49 + 'x']\n"
            "queries += ['(' * 50 + 'x' + ')' * 50, 'sum(' * 50 + 'x' + ')' * 50]\n"
            "queries += ['max_over_time(' * 24 + 'x' + '[5m:1m])' * 24, 'x+(' * 25 + 'x' + ')' * 25]\n"
            "seen = []\n"
            "threading.stack_size(128 * 1024)\n"
            "thread = threading.Thread(target=lambda: seen.extend(read(query).refused for query in queries))\n"
            "thread.start(); thread.join(); print(seen)\n"
        )
        run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((run.returncode, run.stdout.strip(), run.stderr), (0, str([""] * 7), ""))


class MissingParserTests(SynchronousTestCase):
    """mpp without promql-parser."""

    def test_every_query_is_estimated_without_the_parser(self) -> None:
        """Every query is estimated, and the reason can be logged."""
        self.assertEqual(parser_problem(), "")
        code = (
            "import sys; sys.modules['promql_parser'] = None\n"
            "from mpp.promql.reader import parser_problem, read\n"
            "reads = read('rate(x[5m])')\n"
            "print(parser_problem()); print(reads.refused == parser_problem(), reads.selectors[0].start)"
        )
        run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
        problem, read_without = run.stdout.splitlines()
        self.assertIn("promql-parser cannot be used", problem)
        self.assertEqual(read_without, "True -300.0")

    def test_unsuitable_parser_is_reported(self) -> None:
        """A parser with other names than the known ones counts as one that does not parse, and the reason can be logged."""
        code = (
            "import promql_parser; promql_parser.MatrixSelector = int\n"
            "from mpp.promql.reader import parser_problem, read\n"
            "print(parser_problem()); print(read('x[5m]').refused)"
        )
        run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
        problem, refused = run.stdout.splitlines()
        self.assertTrue(problem.startswith("the package promql-parser does not parse sum by (a)"), problem)
        self.assertNotEqual(refused, "")
