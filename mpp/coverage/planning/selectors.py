"""The times that a query's selectors read, in whole milliseconds. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from mpp.promql.reads import SelectorReads

_FOREVER_MS = 1 << 53


def span(selector: SelectorReads, before: float) -> tuple[int, int]:
    """Return the time that a selector reads, in milliseconds, from ``before`` seconds before its start on."""
    return ms(selector.start - before), ms(selector.end)


def ms(seconds: float) -> int:
    """Return a time in whole milliseconds; an infinite time becomes one that is beyond all samples."""
    if math.isinf(seconds):
        return _FOREVER_MS if seconds > 0 else -_FOREVER_MS
    return round(seconds * 1000)


def all_ms(times: Iterable[float]) -> list[int]:
    """Return the same as `ms` for many times, in half of the time."""
    return [round(time * 1000) if -math.inf < time < math.inf else ms(time) for time in times]
