"""Finds out from the text of a query which data it reads, by the other modules of this package. Pure."""

from __future__ import annotations

from mpp.promql import syntax
from mpp.promql.estimate import ALL_TIME, estimated
from mpp.promql.guard import objection
from mpp.promql.literals import Bare, bare
from mpp.promql.reads import QueryReads, merged
from mpp.promql.recorded import MetricSelection, Rules, no_rules

MOST_CHARACTERS = 65536
"""The longest query that is read: to replace the literals takes some nanoseconds for each character."""

TOO_LONG = QueryReads((ALL_TIME,), whole="it is not understood", refused="it is too long")
"""The result for a query that is longer than `MOST_CHARACTERS`."""


_SAMPLE = 'sum by (a) (rate(x{job=~"b|c"}[5m] offset 1m)) / on (a) -max_over_time((y)[1h:1m] @ end()) > bool 1'


def parser_problem() -> str:
    """Return why queries are not understood: there is no parser, or an unsuitable one; empty if they are. Takes a millisecond."""
    if syntax.MISSING:
        return syntax.MISSING
    return f"the package promql-parser does not parse {_SAMPLE}" if read(_SAMPLE).refused else ""


def read(query: str, rules: Rules = no_rules) -> QueryReads:
    """
    Return the jobs and times that one evaluation of a query reads, which takes less than 5 ms for any text.

    A query that was not understood gets an estimate, and `QueryReads.refused` says why.

    :param rules: returns the data that rules read, for a metric that recording or alerting rules write.
    """
    if len(query) > MOST_CHARACTERS:
        return TOO_LONG
    without = bare(query)
    if without is None:
        return _unknown("its quotation marks do not fit, or are too many", None, rules)
    problem = syntax.MISSING or objection(without.text)
    if problem:
        return _unknown(problem, without, rules)
    return syntax.reads(without, rules) or _unknown("the parser rejects it", without, rules)


def _unknown(problem: str, query: Bare | None, rules: Rules) -> QueryReads:
    """Return an estimate of what a query reads, which may read the results of all rules."""
    part = estimated(None if query is None else query.text)
    behind = (each for rule in rules(MetricSelection("")) for each in rule.behind(part))
    return QueryReads(merged((part, *behind)), whole="it is not understood", refused=problem)
