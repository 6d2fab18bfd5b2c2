"""
The estimate of what a query reads at most, from the durations in its text, for a query that was not understood. Pure.

A query may be too large for the parser, or have newer syntax. Its meaning is not guessed: all durations in it are added up, as if
each were an offset or a range within another, and the samples of all jobs of that time count as read. A query with a time in it,
or with lengths that are not plain durations or products, may read samples of any time.
"""

from __future__ import annotations

import math
import re

from mpp.promql.guard import MOST_TEXT, PART, UNITS
from mpp.promql.reads import SelectorReads

FIRST_TIME = 1e9
"""Seconds since the epoch, in 2001: a number in a query that is at least as large may be a time."""
SMOOTHED_S = 300.0
"""Seconds after the end of its range that ``smoothed`` reads: the default of ``--query.lookback-delta``."""

MOST_BRACKETS = 200
"""Maximum number of ranges in a query that are added up: each takes up to five microseconds. With more, all times are read."""

ALL_TIME = SelectorReads(-math.inf, math.inf, newest=False, fixed=True)
"""The samples of all jobs and times."""

_DURATION = re.compile(r"(?<![0-9a-zA-Z_.])(?:[0-9]{1,12}(?:ms|[smhdwy]))++(?![0-9a-zA-Z_.])")
_NUMBER = re.compile(
    r"(?<![0-9a-zA-Z_.])(?:0[xX]_{0,9}+[0-9a-fA-F][0-9a-fA-F_]{0,20}"
    r"|(?:[0-9][0-9_]{0,29}+(?:\.[0-9_]{0,30}+)?|\.[0-9][0-9_]{0,29}+)(?:[eE][+-]?[0-9]{1,4}+)?)(?![0-9a-zA-Z_.])"
)
# A number with more digits than the expression above finds.
_ENORMOUS = re.compile(r"[0-9_.]{30}")
# Without exponents, hexadecimal digits and so many digits, a number is less than `FIRST_TIME`.
_MAY_BE_TIME = re.compile(r"[0-9_]{10}|[0-9.][eE]|0[xX]")
_BRACKET = re.compile(r"\[([^\[\]]*+)")
_OFFSET = re.compile(
    r"(?<![0-9a-zA-Z_:.])offset[ \t\r\n]*+([-+]?)[ \t\r\n]*+([0-9.xXeE_]++(?![0-9a-zA-Z_.])|[(a-z])?", re.IGNORECASE
)
_SMOOTHED = re.compile(r"(?<![0-9a-zA-Z_:.])smoothed(?![0-9a-zA-Z_:])", re.IGNORECASE)
_CALCULATED = re.compile(r"[a-zA-Z^]")


def estimated(text: str | None) -> SelectorReads:
    """
    Return what a query reads at most.

    :param text: the query without its literals, see `mpp.promql.literals`; None if the literals are not valid.
    """
    if text is None or len(text) > MOST_TEXT or _may_have_time(text) or text.count("[") > MOST_BRACKETS:
        return ALL_TIME
    offsets = _OFFSET.findall(text)
    if any(amount[:1] == "(" or amount[:1].isalpha() for _, amount in offsets):
        return ALL_TIME
    numbers = sum(_number(amount) for _, amount in offsets if _NUMBER.fullmatch(amount))
    in_ranges, factor = _ranges(text)
    back = (_durations(text) + numbers + in_ranges) * factor
    if not back < FIRST_TIME:
        return ALL_TIME
    ahead = back if any(sign == "-" for sign, _ in offsets) else 0.0
    if _SMOOTHED.search(text):
        ahead += SMOOTHED_S
    return SelectorReads(-back, ahead, newest=True)


def _may_have_time(text: str) -> bool:
    """Return whether there is a time behind ``@``, or a number that may be a time."""
    if "@" in text or _ENORMOUS.search(text):
        return True
    return bool(_MAY_BE_TIME.search(text)) and any(_number(number) >= FIRST_TIME for number in _NUMBER.findall(text))


def _ranges(text: str) -> tuple[float, float]:
    """
    Return the sum of the numbers in ranges that are no part of a duration, in seconds, and the product of all possible factors.

    The sum is infinite if a range has functions, variables or powers.
    """
    total, factor = 0.0, 1.0
    for inner in _BRACKET.findall(text):
        rest = _DURATION.sub(" ", inner)
        if not rest.strip(" :\t\r\n"):
            continue
        numbers = [_number(number) for number in _NUMBER.findall(rest)]
        total += sum(numbers)
        if _CALCULATED.search(_NUMBER.sub(" ", rest)):
            return math.inf, 1.0
        if "*" in rest or "/" in rest or "%" in rest:
            factor *= math.prod(max(number, 1 / number) for number in numbers if number)
    return total, factor


def _durations(text: str) -> float:
    return sum(int(number) * UNITS[unit] for number, unit in PART.findall(" ".join(_DURATION.findall(text))))


def _number(text: str) -> float:
    """Return the value of a number in Go's syntax."""
    if text[:2] in ("0x", "0X"):
        return float(int(text.replace("_", ""), 16))
    return float(text.replace("_", ""))
