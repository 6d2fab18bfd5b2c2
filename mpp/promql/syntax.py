"""
The parser of PromQL, ``promql-parser`` on PyPI, which is a binding of a parser in Rust. Pure.

Where it is missing, as on a platform for which there is no wheel, mpp works without: every query then counts as one that the
parser refuses.
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
    Return what a query reads; None if it is not valid, or not known to be.

    :param query: one to which `mpp.promql.guard` does not object.
    """
    try:
        return Walk(query, rules).reads(promql_parser.parse(query.text))
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    # What is raised when the parser panics derives from BaseException. A type that is not known means a newer parser.
    except BaseException:
        return None
