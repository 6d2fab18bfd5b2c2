"""
The interface of a query's selectors, as far as the plan needs it. Pure; `mpp.promql.reads` implements it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

_FOREVER_MS = 1 << 53


class Jobs(Protocol):
    """The condition that decides which jobs a selector reads; implemented by `mpp.promql.jobs.JobMatchers`. Hashable."""

    def select(self, jobs: frozenset[str]) -> frozenset[str]:
        """Return the given jobs that the selector reads."""

    def names(self, job: str) -> bool:
        """Return whether the selector names the job."""


class Selector(Protocol):
    """The time and the jobs that one selector reads; `mpp.promql.reads.SelectorReads` describes the fields."""

    @property
    def start(self) -> float:
        """When the read starts (exclusive), relative to the time of evaluation unless ``fixed``, in seconds."""

    @property
    def end(self) -> float:
        """When the read ends (inclusive)."""

    @property
    def newest(self) -> bool:
        """Whether it is an instant selector, which also reads the lookback before ``start``."""

    @property
    def fixed(self) -> bool:
        """Whether ``start`` and ``end`` are points in time, the same at each step."""

    @property
    def jobs(self) -> Jobs:
        """The jobs that the selector reads."""


def span(selector: Selector, before: float) -> tuple[int, int]:
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
