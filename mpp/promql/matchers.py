"""
The reading of a selector's matchers: the conditions on the labels that say where its samples come from. Pure.

Work that takes long is limited for the query as a whole. A matcher beyond a limit is left out, so that the selector counts as one
that reads more.
"""

from __future__ import annotations

import promql_parser as ast

from mpp.promql.labels import LabelCondition, equal, matching
from mpp.promql.literals import Bare, decoded

NAME = "__name__"
"""The label of a metric's name."""
ALERT = "alertname"
"""The label of an alert's name in ``ALERTS``."""
JOB = "job"
"""The label of the scrape job."""

MOST_PATTERNS = 8
"""Maximum number of different expressions with ``.*`` or ``.+`` in a query: each is compared with the names of all jobs."""
MOST_DECODED = 500
"""Maximum number of escapes and alternatives that are decoded in the literals of a query: each takes a microsecond."""

_LABELS = (JOB, NAME, ALERT)
_REGULAR = (ast.MatchOp.Re, ast.MatchOp.NotRe)
_NEGATIVE = (ast.MatchOp.NotEqual, ast.MatchOp.NotRe)


class MatcherReader:
    """
    The reader of all matchers of one query.

    :param query: the query's text, with the literals that the placeholders in the matchers stand for.
    """

    def __init__(self, query: Bare) -> None:
        self._query = query
        self._patterns = 0
        self._decoded = 0
        self._expressions: dict[tuple[str, bool], LabelCondition | None] = {}

    def conditions(self, selector: ast.VectorSelector) -> dict[str, list[LabelCondition]]:
        """Return the understood conditions of a selector, by label; empty if its matchers are joined by ``or``."""
        found: dict[str, list[LabelCondition]] = {}
        if selector.matchers.or_matchers:
            return found
        for matcher in selector.matchers.matchers:
            label = self._text(matcher.name)
            condition = self._condition(matcher) if label in _LABELS else None
            if label is not None and condition is not None:
                found.setdefault(label, []).append(condition)
        return found

    def _condition(self, matcher: ast.Matcher) -> LabelCondition | None:
        value = self._text(matcher.value)
        if value is None:
            return None
        negative = matcher.op in _NEGATIVE
        if self._query.is_expression(matcher.value) or matcher.op in _REGULAR:
            return self._matching(value, negative)
        return equal(value, negative=negative)

    def _matching(self, expression: str, negative: bool) -> LabelCondition | None:
        """Return the condition of a regular expression, one object for all selectors that have the same."""
        key = expression, negative
        if key not in self._expressions:
            if self._patterns >= MOST_PATTERNS:
                return None
            condition = self._expressions[key] = matching(expression, negative=negative)
            self._patterns += condition is not None and condition.has_patterns
        return self._expressions[key]

    def _text(self, placeholder: str) -> str | None:
        """Return the text of a literal; None if it is not valid, or beyond `MOST_DECODED`."""
        literal = self._query.literal(placeholder)
        self._decoded += literal.count("\\") + literal.count("|")
        return decoded(literal) if self._decoded <= MOST_DECODED else None
