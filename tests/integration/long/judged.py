"""
Tells from readings of a process at rest, some before its work and some after it, whether the work has left anything behind.

Pure. A single reading says little: an idle mpp probes its servers twice a second, and what it has open and has planned at one
moment swings by a factor of four. What was left behind, though, stays: it lifts the lowest reading as well as the highest.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

Readings = Sequence[Mapping[str, float]]

WATCHED = {
    # All of these are as many as are needed at the moment.
    "descriptors": 0.0,
    "delayed": 0.0,
    "threads": 0.0,
    # What is remembered of the last ten minutes is filled by the work, which takes some thousands. If each request left one
    # behind, the ten thousands of requests would have it doubled.
    "objects": 0.25,
}
"""What is compared, and by which share of it there may be more."""


def left_behind(before: Readings, after: Readings) -> list[str]:
    """
    Give what there is more of, in words.

    The highest may be exceeded by as much as the readings before swung, for that is chance. The lowest may not be above
    the median of those before.
    """
    return [compared(name, before, after) for name, share in WATCHED.items() if _is_more(name, share, before, after)]


def compared(name: str, before: Readings, after: Readings) -> str:
    """Return the ranges of one thing, in words."""
    was, now = _values(name, before), _values(name, after)
    return f"{name}: {min(now):.0f} to {max(now):.0f} at rest, {min(was):.0f} to {max(was):.0f} before"


def _is_more(name: str, share: float, before: Readings, after: Readings) -> bool:
    was, now = _values(name, before), _values(name, after)
    swing, more = max(was) - min(was), share * max(was)
    return max(now) > max(was) + swing + more or min(now) > statistics.median_low(was) + more


def _values(name: str, readings: Readings) -> list[float]:
    return [each[name] for each in readings]
