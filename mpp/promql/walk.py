"""
What the parts of a query's syntax tree read. Pure.

Each expression is evaluated at some times: the query at t, what stands in a subquery at the times from t - offset - range to t -
offset. An ``@`` replaces t and all that the subqueries around it have added (Prometheus, ``promql/engine.go``,
``getTimeRangesForSelector``). `promql_parser.walk` copies each part of the tree and takes seconds for a large one; this does not.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import promql_parser as ast
from attrs import frozen

from mpp.promql.jobs import ALL_JOBS, JobMatchers, job_matchers
from mpp.promql.labels import LabelCondition, equal, matching
from mpp.promql.literals import Bare, decoded
from mpp.promql.reads import QueryReads, SelectorReads, merged
from mpp.promql.recorded import MetricSelection, Rules

MOST_PATTERNS = 8
"""Different expressions with ``.*`` or ``.+`` of a query that are heeded: each is compared with the names of all jobs."""
MOST_TAKEN_APART = 500
"""Escapes and alternatives in the literals of a query that are heeded: each takes a microsecond."""
MOST_UNNAMED = 4
"""Selectors of a query without a metric whose matchers for the name are heeded: they are compared with those of all rules."""

START_OR_END = "it has @ start() or @ end(), which mean the whole range"
PINNED = "a parameter of an aggregation may change from step to step, while @ pins what is aggregated"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = "__name__"


@frozen
class _Times:
    """
    When an expression is evaluated.

    :ivar start: the first time, in seconds.
    :ivar end: the last time.
    :ivar origin: what these are relative to: ``step``, ``start`` or ``end`` of the range, or ``epoch``.
    """

    start: float = 0.0
    end: float = 0.0
    origin: str = "step"

    def modified(self, at: ast.AtModifier | None, offset: timedelta | None, range_s: float) -> _Times:
        """Return the times at which data is read behind ``@``, an offset and a range; the range widens the times."""
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
    One query's syntax tree and what was found in it.

    :param query: the query's text, which has the literals.
    :param rules: returns what the rules read that make a metric.
    """

    def __init__(self, query: Bare, rules: Rules) -> None:
        self._query = query
        self._rules = rules
        self._found: dict[str, list[SelectorReads]] = {"step": [], "start": [], "end": [], "epoch": []}
        self._pins = self._patterns = self._unnamed = self._taken_apart = 0
        self._expressions: dict[tuple[str, bool], LabelCondition | None] = {}
        self._whole = ""

    def reads(self, expression: ast.Expr) -> QueryReads:
        """
        Return what the query reads.

        :raise TypeError: there is an expression that is not known; then the parser is newer than this.
        """
        self._visit(expression, _Times())
        start, end = merged(self._found["start"]), merged(self._found["end"])
        whole = START_OR_END if start or end else self._whole
        return QueryReads(merged((*self._found["step"], *self._found["epoch"])), whole, "", start, end)

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
        if expression.param is not None:
            # The servers evaluate what is pinned once, with the parameter of the first step (``PreprocessExpr``).
            if self._pins > pins and not _is_constant(expression.param):
                self._whole = PINNED
            self._visit(expression.param, times)

    def _call(self, expression: ast.Call, times: _Times) -> None:
        """Visit the arguments; ``info`` also reads ``target_info``, or what its second argument selects, as its first is read."""
        before = {origin: len(found) for origin, found in self._found.items()}
        for argument in expression.args:
            self._visit(argument, times)
        if expression.func.name == "info":
            self._found[times.origin].append(_read(times, None, ALL_JOBS, ""))
            for origin, found in self._found.items():
                found += [_like(each) for each in found[before[origin] :] if each.newest]

    def _select(self, selector: ast.VectorSelector, times: _Times, range_: timedelta | None) -> None:
        self._pins += selector.at is not None
        times = times.modified(selector.at, selector.offset, 0.0)
        labels = self._conditions(selector)
        names = labels.get(_NAME, [])
        metric = selector.name or next((_only(each) for each in names if _only(each)), "")
        read = _read(times, range_, job_matchers(labels.get("job", [])), metric)
        if not metric:
            self._unnamed += 1
            names = names if self._unnamed <= MOST_UNNAMED else []
        selection = MetricSelection(metric, tuple(names), tuple(labels.get("alertname", ())))
        # A part of a rule may be at a fixed time, wherever the selector reads.
        found = self._found[times.origin]
        recorded = list(self._rules(selection))
        if not recorded or not metric or read.jobs != ALL_JOBS:
            found.append(read)
        for rule in recorded:
            for each in rule.behind(read):
                (self._found["epoch"] if each.fixed else found).append(each)

    def _conditions(self, selector: ast.VectorSelector) -> dict[str, list[LabelCondition]]:
        """Return the conditions on the labels that say where samples come from; none of a selector with alternative matchers."""
        found: dict[str, list[LabelCondition]] = {}
        if selector.matchers.or_matchers:
            return found
        for matcher in selector.matchers.matchers:
            label = self._text(matcher.name)
            if label not in ("job", _NAME, "alertname"):
                continue
            value = self._text(matcher.value)
            if value is None:
                continue
            negative = matcher.op in (ast.MatchOp.NotEqual, ast.MatchOp.NotRe)
            is_expression = matcher.value[:1] == "~" or matcher.op in (ast.MatchOp.Re, ast.MatchOp.NotRe)
            condition = self._matching(value, negative) if is_expression else equal(value, negative=negative)
            if condition is not None:
                found.setdefault(label, []).append(condition)
        return found

    def _matching(self, expression: str, negative: bool) -> LabelCondition | None:
        """Return the condition of a regular expression, one for all selectors that have the same."""
        key = expression, negative
        if key not in self._expressions:
            if self._patterns >= MOST_PATTERNS:
                return None
            condition = self._expressions[key] = matching(expression, negative=negative)
            self._patterns += condition is not None and condition.has_patterns
        return self._expressions[key]

    def _text(self, placeholder: str) -> str | None:
        """Return the text of a literal; None if it is not valid, or if too much of it and others would have to be taken apart."""
        literal = self._query.literal(placeholder)
        self._taken_apart += literal.count("\\") + literal.count("|")
        return decoded(literal) if self._taken_apart <= MOST_TAKEN_APART else None


def _read(times: _Times, range_: timedelta | None, jobs: JobMatchers, metric: str) -> SelectorReads:
    range_s = 0.0 if range_ is None else range_.total_seconds()
    return SelectorReads(times.start - range_s, times.end, range_ is None, times.origin == "epoch", jobs, metric)


def _like(read: SelectorReads) -> SelectorReads:
    return SelectorReads(read.start, read.end, newest=True, fixed=read.fixed)


def _only(condition: LabelCondition) -> str:
    """Return the one value that a condition lets through, empty if there may be others."""
    if condition.negative or condition.prefixes or condition.longer or len(condition.values) != 1:
        return ""
    return next(iter(condition.values))


def _is_constant(expression: ast.Expr) -> bool:
    if isinstance(expression, ast.ParenExpr | ast.UnaryExpr):
        return _is_constant(expression.expr)
    if isinstance(expression, ast.BinaryExpr):
        return _is_constant(expression.lhs) and _is_constant(expression.rhs)
    return isinstance(expression, ast.NumberLiteral | ast.StringLiteral)
