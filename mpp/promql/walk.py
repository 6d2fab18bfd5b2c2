"""
The walk through a query's syntax tree that collects what each selector reads. Pure.

Each expression is evaluated at certain times: the query at t, the expression of a subquery at the times from t - offset - range
to t - offset. An ``@`` replaces t and all that the subqueries around it have added (Prometheus, ``promql/engine.go``,
``getTimeRangesForSelector``). `promql_parser.walk` is not used: it copies each part of the tree, which takes seconds for a large
one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import promql_parser as ast
from attrs import evolve, frozen

from mpp.promql.jobs import ALL_JOBS, job_matchers
from mpp.promql.literals import Bare
from mpp.promql.matchers import ALERT, JOB, NAME, MatcherReader
from mpp.promql.reads import QueryReads, SelectorReads, merged, with_affordable_jobs
from mpp.promql.recorded import MetricSelection, Rules

MOST_UNNAMED = 4
"""Maximum number of selectors without a metric whose matchers for its name are used: each is compared with all rules' names."""

MOST_PINNED = 4
"""Maximum number of parts that are relative to the start of the range, or to its end; such a query is never divided."""

START_OR_END = "it has @ start() or @ end(), which mean the whole range"
ANY_SERIES = "limitk selects any series, other ones for another range"
PINNED = "a parameter of an aggregation may change from step to step, while @ pins what is aggregated"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class _Times:
    """
    The times at which an expression is evaluated.

    :ivar start: the first time, in seconds.
    :ivar end: the last time.
    :ivar origin: what these are relative to: ``step``, ``start`` or ``end`` of the range, or ``epoch``.
    """

    start: float = 0.0
    end: float = 0.0
    origin: str = "step"

    def modified(self, at: ast.AtModifier | None, offset: timedelta | None, range_s: float = 0.0) -> _Times:
        """Return the times behind ``@`` and an offset, from as much earlier on as the range is long."""
        times = self if at is None else _pinned(at)
        shift = 0.0 if offset is None else offset.total_seconds()
        return _Times(times.start - shift - range_s, times.end - shift, times.origin)


def _pinned(at: ast.AtModifier) -> _Times:
    if at.type == ast.AtModifierType.Start:
        return _Times(origin="start")
    if at.type == ast.AtModifierType.End:
        return _Times(origin="end")
    assert at.at is not None
    seconds = (at.at - _EPOCH).total_seconds()
    return _Times(seconds, seconds, "epoch")


class Walk:
    """
    One walk through the syntax tree of a query.

    :param query: the query's text, with its literals.
    :param rules: returns the data that rules read, for a metric that recording or alerting rules write.
    """

    def __init__(self, query: Bare, rules: Rules) -> None:
        self._matchers = MatcherReader(query)
        self._rules = rules
        self._found: dict[str, list[SelectorReads]] = {"step": [], "start": [], "end": [], "epoch": []}
        self._pins = 0
        self._unnamed = 0
        self._whole = ""

    def reads(self, expression: ast.Expr) -> QueryReads:
        """
        Return the jobs and times that the query reads.

        :raise TypeError: an expression is of an unknown kind; then the parser is newer than this module.
        """
        self._visit(expression, _Times())
        found = self._found
        parts = merged((*found["step"], *found["epoch"])), merged(found["start"], MOST_PINNED), merged(found["end"], MOST_PINNED)
        others, start, end = with_affordable_jobs(*parts)
        whole = START_OR_END if start or end else self._whole
        return QueryReads(others, whole, "", start, end)

    def _visit(self, expression: ast.Expr, times: _Times) -> None:
        if isinstance(expression, ast.VectorSelector):
            self._select(expression, times, None)
        elif isinstance(expression, ast.MatrixSelector):
            self._select(expression.vector_selector, times, expression.range)
        elif isinstance(expression, ast.BinaryExpr):
            self._visit(expression.lhs, times)
            self._visit(expression.rhs, times)
        elif isinstance(expression, ast.AggregateExpr):
            self._aggregate(expression, times)
        elif isinstance(expression, ast.Call):
            self._call(expression, times)
        elif isinstance(expression, ast.ParenExpr | ast.UnaryExpr):
            self._visit(expression.expr, times)
        elif isinstance(expression, ast.SubqueryExpr):
            self._pins += expression.at is not None
            assert expression.range is not None
            self._visit(expression.expr, times.modified(expression.at, expression.offset, expression.range.total_seconds()))
        elif not isinstance(expression, ast.NumberLiteral | ast.StringLiteral):
            raise TypeError(f"{type(expression)} is not known")

    def _aggregate(self, expression: ast.AggregateExpr, times: _Times) -> None:
        pins = self._pins
        self._visit(expression.expr, times)
        if str(expression.op) == "limitk":
            # It takes the first ones in the order of the storage, which is not the same in the head and in a block.
            self._whole = ANY_SERIES
        if expression.param is not None:
            # The servers evaluate a pinned expression once, with the parameter of the first step (``PreprocessExpr``).
            if self._pins > pins and not _is_constant(expression.param):
                self._whole = PINNED
            self._visit(expression.param, times)

    def _call(self, expression: ast.Call, times: _Times) -> None:
        """Visit the arguments; ``info`` reads ``target_info``, or what its second argument selects, at the times of the first."""
        before = {origin: len(found) for origin, found in self._found.items()}
        for argument in expression.args:
            self._visit(argument, times)
        if expression.func.name == "info":
            self._found[times.origin].append(_read(times, None))
            for origin, found in self._found.items():
                found += [evolve(each, jobs=ALL_JOBS, metric="") for each in found[before[origin] :] if each.newest]

    def _select(self, selector: ast.VectorSelector, times: _Times, range_: timedelta | None) -> None:
        self._pins += selector.at is not None
        times = times.modified(selector.at, selector.offset)
        labels = self._matchers.conditions(selector)
        names = labels.get(NAME, [])
        metric = selector.name or next((each.only for each in names if each.only), "")
        if not metric:
            self._unnamed += 1
            names = names if self._unnamed <= MOST_UNNAMED else []
        read = evolve(_read(times, range_), jobs=job_matchers(labels.get(JOB, [])), metric=metric)
        self._add(read, times.origin, MetricSelection(metric, tuple(names), tuple(labels.get(ALERT, ()))))

    def _add(self, read: SelectorReads, origin: str, selection: MetricSelection) -> None:
        """Add what a selector reads, and what the rules behind the metric read."""
        found = self._found[origin]
        recorded = list(self._rules(selection))
        # The result of a rule has the gaps of the jobs that the rule reads, and a scraped metric may have its name.
        if not recorded or not read.metric or read.jobs != ALL_JOBS:
            found.append(read)
        for rule in recorded:
            for each in rule.behind(read):
                # A rule may read at a fixed time, while the selector does not.
                (self._found["epoch"] if each.fixed else found).append(each)


def _read(times: _Times, range_: timedelta | None) -> SelectorReads:
    range_s = 0.0 if range_ is None else range_.total_seconds()
    return SelectorReads(times.start - range_s, times.end, newest=range_ is None, fixed=times.origin == "epoch")


def _is_constant(expression: ast.Expr) -> bool:
    if isinstance(expression, ast.ParenExpr | ast.UnaryExpr):
        return _is_constant(expression.expr)
    if isinstance(expression, ast.BinaryExpr):
        return _is_constant(expression.lhs) and _is_constant(expression.rhs)
    return isinstance(expression, ast.NumberLiteral | ast.StringLiteral)
