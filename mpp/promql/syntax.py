"""
The call of the parser of PromQL, which is the package ``promql-parser``, a binding of a parser in Rust. Pure.

Where the package cannot be imported, as on a platform without a wheel, mpp works without it: every query then counts as one that
the parser rejects.
"""

from __future__ import annotations

from mpp.promql.literals import Bare
from mpp.promql.reads import QueryReads
from mpp.promql.recorded import Rules

try:
    import promql_parser

    from mpp.promql.walk import Walk
except ImportError as error:
    MISSING = f"the package promql-parser cannot be used ({error})"
    """Why there is no parser; empty if there is one."""
else:
    MISSING = ""


def reads(query: Bare, rules: Rules) -> QueryReads | None:
    """
    Return what a query reads; None if the parser rejects it.

    :param query: a query that `mpp.promql.guard` does not reject.
    """
    try:
        return Walk(query, rules).reads(promql_parser.parse(query.text))
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    # A panic of the parser raises an exception that derives from BaseException. A TypeError means a newer parser.
    except BaseException:
        return None
