"""
What a query reads, as the plan needs to know it. Pure; `mpp.promql.reads` reads it from the text of a query.
"""

from __future__ import annotations

import math
from typing import Protocol

_FOREVER_MS = 1 << 53


class Jobs(Protocol):
    """Which jobs a selector reads: `mpp.promql.jobs.JobMatchers`. Hashable."""

    def select(self, jobs: frozenset[str]) -> frozenset[str]:
        """Return those of some jobs that it reads."""

    def names(self, job: str) -> bool:
        """Return whether it asks for a job by its name."""


class Selector(Protocol):
    """What one selector reads: `mpp.promql.reads.SelectorReads`, which says what the fields mean."""

    @property
    def start(self) -> float:
        """When the read starts (exclusive), relative to the time of evaluation unless ``fixed``, in seconds."""

    @property
    def end(self) -> float:
        """When it ends (inclusive)."""

    @property
    def newest(self) -> bool:
        """An instant selector: what it needs and looks back on comes before ``start``."""

    @property
    def fixed(self) -> bool:
        """``start`` and ``end`` are points in time, the same at each step."""

    @property
    def jobs(self) -> Jobs:
        """The jobs that it reads."""


def span(selector: Selector, before: float) -> tuple[int, int]:
    """Return what a selector reads in milliseconds, from ``before`` seconds before its start on."""
    return ms(selector.start - before), ms(selector.end)


def ms(seconds: float) -> int:
    """Return a time in whole milliseconds; those without a beginning or an end become ones that no sample is beyond."""
    if math.isinf(seconds):
        return _FOREVER_MS if seconds > 0 else -_FOREVER_MS
    return round(seconds * 1000)
