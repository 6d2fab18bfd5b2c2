"""Parses the durations in a server's configuration and flags. Pure."""

from __future__ import annotations

import re

from mpp.core.text import bounds

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
# Twelve digits suffice for every unit; see `mpp.selection.probing.metrics_scanner` for "++".
_PART = re.compile(r"([0-9]{1,12}+)(ms|[smhdwy])")
_DURATION = re.compile(r"(?:[0-9]{1,12}+(?:ms|[smhdwy]))+")


def seconds(text: str) -> float | None:
    """
    Return a duration in seconds, at most `mpp.core.text.bounds.LONGEST_SPAN`; None if the text is no duration.

    >>> seconds("1m30s")
    90.0
    """
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        return None
    return min(bounds.LONGEST_SPAN, sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
