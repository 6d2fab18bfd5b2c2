"""The reader of queries: from the text of a query to what it reads, by the modules beside it. Pure."""

from __future__ import annotations

from mpp.promql import syntax
from mpp.promql.estimate import ALL_TIME, estimated
from mpp.promql.guard import objection
from mpp.promql.literals import Bare, bare
from mpp.promql.reads import QueryReads
from mpp.promql.recorded import Rules, no_rules

MOST_CHARACTERS = 65536
"""The longest query that is read: to replace the literals takes some nanoseconds for each character."""

TOO_LONG = QueryReads((ALL_TIME,), whole="it is not understood", refused="it is too long")
"""The result for longer queries."""


def parser_problem() -> str:
    """Return why there is no parser, so that every query is one that is not understood; empty if there is one."""
    return syntax.MISSING


def read(query: str, rules: Rules = no_rules) -> QueryReads:
    """
    Return what one evaluation of a query reads, which takes less than 5 ms for any text.

    A query that was not understood gets an estimate, and `QueryReads.refused` says why.

    :param rules: returns what the rules behind a metric read.
    """
    if len(query) > MOST_CHARACTERS:
        return TOO_LONG
    without = bare(query)
    if without is None:
        return _unknown("its quotation marks do not fit, or are too many", None)
    problem = syntax.MISSING or objection(without.text)
    if problem:
        return _unknown(problem, without)
    return syntax.reads(without, rules) or _unknown("the parser rejects it", without)


def _unknown(problem: str, query: Bare | None) -> QueryReads:
    part = estimated(None if query is None else query.text)
    return QueryReads((part,), whole="it is not understood", refused=problem)
