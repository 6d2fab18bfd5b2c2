"""
Limits the numbers that servers report to a range that can be calculated with and shown. Pure.

A server, or a program that answers in its place, may report infinity, NaN, a negative time, or an integer of four hundred digits,
which is too large for a float. Each number is checked once, where it is read: a number that is out of bounds becomes None, as if
it had not been reported, so that no other code has to expect it.
"""

from __future__ import annotations

import hashlib

LATEST_TIME = 1e11
"""Seconds since the epoch, in the year 5138: a later time is invalid. An empty TSDB reports MaxInt64 milliseconds."""

LONGEST_SPAN = LATEST_TIME
"""Seconds, some 3,170 years: a longer duration is invalid."""

MOST = 2.0**63
"""The limit of a counter: Prometheus counts samples and segments in 64 bits."""

LONGEST_TEXT = 64
"""Maximum characters of a number, a time or a version; the longest float that Go writes has 24, a time with its zone 35."""


def point_in_time(value: object) -> float | None:
    """Return a number as seconds since the epoch; None unless it is between the epoch and `LATEST_TIME`."""
    return _within(value, LATEST_TIME) or None


def span(value: object) -> float | None:
    """Return a number as a duration in seconds; None unless it is more than 0 and less than `LONGEST_SPAN`."""
    return _within(value, LONGEST_SPAN) or None


def quantity(value: object) -> float | None:
    """Return a count or another quantity; None if it is negative, `MOST` or more, or no number."""
    return _within(value, MOST)


def port(value: object) -> int | None:
    """Return the number of a TCP port; None unless it is an integer from 1 to 65535."""
    return value if type(value) is int and 1 <= value <= 65535 else None


def version(text: str) -> str:
    """Return the text of a version: at most `LONGEST_TEXT` characters, without unprintable ones."""
    return "".join(character for character in text[:LONGEST_TEXT] if character.isprintable())


def line(text: str, longest: int) -> str:
    """
    Return a text as one line that can be shown.

    :param longest: characters; a text that is longer, or has unprintable characters, is shortened and ends in a hash of the whole
        text, so that different texts stay different.
    """
    shown = "".join(character for character in text[:longest] if character.isprintable())
    if shown == text:
        return text
    return f"{shown}... ({hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]})"


def _within(value: object, limit: float) -> float | None:
    # Comparisons with NaN are false, and exact between an integer of any size and a float. True is an int, too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < limit:
        return None
    return float(value)
