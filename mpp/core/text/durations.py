"""Formats durations for pages, messages and the log. Pure."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """
    Return the text of a duration in its two largest units.

    >>> duration(93784)
    '1d 2h'
    """
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f}ms"
    rest = int(seconds)
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return " ".join(parts[:2])
