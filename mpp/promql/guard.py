"""
The check whether a query can be given to the parser without harm. Pure; looks at characters only.

# Note [Harm to the parser]

Measured with promql-parser 0.12. Its time grows with the product of depth and length: a sum of 100 rates takes 19 ms, and no
Python code runs meanwhile, in any thread. With 4,100 operators or 5,800 brackets within each other the stack overflows and the
process ends; on the stack of 128 KiB that a thread has with musl, 61 operators, 80 brackets or 40 subqueries are enough. Too long
a duration causes a panic of the parser: this raises a BaseException and writes to standard error, past the log. The parser reads
``@ -100`` as ``@ 0``.

So operators, brackets and words are counted first. A range, an offset and a time after ``@`` must have a form that all versions
of Prometheus understand. Newer syntax is rejected here, even if a newer parser may accept it, since `mpp.promql.walk` does not
know its meaning.
"""

from __future__ import annotations

import re

MOST_TEXT = 4096
"""Maximum length of a query without its literals, in characters; a search through all of them takes less than a millisecond."""
MOST_WORDS = 1000
"""Maximum number of names, numbers and signs in a query; the parser takes 0.4 microseconds for each that is not nested."""
MOST_LEVELS = 50
"""Maximum number of operators, brackets and subqueries within each other: less than the 61 that overflow the smallest stack."""
MOST_WORK = 20_000
"""Maximum product of the number of levels and the number of words of a query; the parser takes 1.5 ms for it."""

LONGEST_S = 1e10
"""Seconds, 317 years: with a longer duration the parser panics, or the servers' own numbers overflow."""
LATEST_AT = 2e11
"""Seconds since the epoch: a later time cannot be a `datetime`."""

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
"""The units of durations, in seconds."""
DURATION = (
    r"(?=[0-9])(?:[0-9]{1,12}y)?(?:[0-9]{1,12}w)?(?:[0-9]{1,12}d)?(?:[0-9]{1,12}h)?"
    r"(?:[0-9]{1,12}m(?!s))?(?:[0-9]{1,12}s)?(?:[0-9]{1,12}ms)?(?![0-9a-zA-Z_.])"
)
"""A duration as Prometheus reads it (documentation, "Querying basics", time durations)."""
PART = re.compile(r"([0-9]{1,12}+)(ms|[smhdwy])")
"""A number and its unit in a duration."""

_NUMBER = r"[0-9]{1,20}+(?:\.[0-9]{0,20}+)?(?:[eE][+-]?[0-9]{1,3}+)?(?![0-9a-zA-Z_.])"
_SPACE = r"[ \t\r\n]*+"
_AMOUNT = rf"(?:{DURATION}|{_NUMBER})"
_BRACKET = re.compile(rf"\[{_SPACE}({_AMOUNT}){_SPACE}(?::{_SPACE}({_AMOUNT})?{_SPACE})?\]")
# Keywords are the same in capital letters, units are not.
_OFFSET = re.compile(rf"(?<![0-9a-zA-Z_:.])(?i:offset){_SPACE}-?{_SPACE}({_AMOUNT})")
_OFFSET_WORD = re.compile(r"(?<![0-9a-zA-Z_:.])offset(?![0-9a-zA-Z_:])", re.IGNORECASE)
_AT = re.compile(rf"@{_SPACE}(?:({_NUMBER})|(?:start|end){_SPACE}\({_SPACE}\))")
# Modifiers that read more than the range, and functions whose value is the range of the request (since 3.7 and 3.12).
_NEWER = re.compile(
    rf"(?<![0-9a-zA-Z_:.])(?:(?:anchored|smoothed)(?![0-9a-zA-Z_:])|(?:start|end|range|step){_SPACE}\()", re.IGNORECASE
)

_BRACES = re.compile(r"\{[^{}]*+\}")
_WORD = re.compile(r"[0-9a-zA-Z_:.]++|[^ \t\r\n]")
_OPERATOR = re.compile(
    rf"[-+*/%^<>@]|[=!]=|:{_SPACE}[^ \t\r\n:\[\]]*+{_SPACE}\]|(?<![0-9a-zA-Z_:.])(?:and|or|unless|atan2)(?![0-9a-zA-Z_:.])",
    re.IGNORECASE,
)
_NESTING = re.compile(r"[()\[\]]")


def objection(text: str) -> str:
    """
    Return why a query must not be given to the parser, in a few words; empty if it may.

    :param text: the query without its literals, see `mpp.promql.literals`.
    """
    if len(text) > MOST_TEXT:
        return "it is too long"
    if not text.isascii():
        return "it has letters outside of quotation marks that no name may have"
    words = len(_WORD.findall(text))
    if words > MOST_WORDS:
        return "it has too many words"
    levels = _levels(_BRACES.sub("{}", text))
    if levels > MOST_LEVELS or words * levels > MOST_WORK:
        return "it has too many operators or brackets"
    if _NEWER.search(_AT.sub("", text)):
        return "it has modifiers or functions of newer servers"
    return _objection_to_times(text)


def _objection_to_times(text: str) -> str:
    brackets = _BRACKET.findall(text)
    if len(brackets) != text.count("["):
        return "a range in it is no plain duration"
    offsets = _OFFSET.findall(text)
    if len(offsets) != len(_OFFSET_WORD.findall(text)):
        return "an offset in it is no plain duration"
    times = _AT.findall(text)
    if len(times) != text.count("@"):
        return "a time behind @ is no plain number"
    amounts = [amount for pair in brackets for amount in pair if amount]
    if any(seconds(amount) > LONGEST_S for amount in (*amounts, *offsets)):
        return "a duration in it is too long"
    return "a time behind @ is too late" if any(float(time) > LATEST_AT for time in times if time) else ""


def seconds(amount: str) -> float:
    """Return the seconds of a duration, or of a number, which counts seconds."""
    parts = PART.findall(amount)
    return sum(int(number) * UNITS[unit] for number, unit in parts) if parts else float(amount)


def _levels(text: str) -> int:
    """Return an upper bound of the depth of an expression's syntax tree."""
    depth = deepest = 0
    for bracket in _NESTING.findall(text):
        depth += 1 if bracket in "([" else -1
        deepest = max(deepest, depth)
    return deepest + len(_OPERATOR.findall(text))
