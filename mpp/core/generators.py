"""
Runs long calculations that are written as generators: each step does a part, and the generator returns the result.

`mpp.core.scheduling.pacing.in_slices` runs such a calculation with pauses, in which the reactor can serve clients.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

R = TypeVar("R")


def result_if_short(steps: Generator[object, None, R]) -> R | None:
    """Run the first step of a calculation; return its result, or None if it has more steps."""
    try:
        next(steps)
    except StopIteration as end:
        result: R = end.value
        return result
    return None


def result_of(steps: Generator[object, None, R], between: Callable[[], object] | None = None) -> R:
    """
    Run a calculation to its end at once, and return its result.

    :param between: called after each step but the last.
    """
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: R = end.value
            return result
        if between is not None:
            between()
