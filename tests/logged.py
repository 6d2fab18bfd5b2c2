"""What is logged while a test runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase


def problems(event: Mapping[str, Any]) -> str:
    """Give the line of an event that tells of a problem."""
    return formatEvent(event) if "problem" in event else ""  # type: ignore[arg-type]


def logged(case: SynchronousTestCase, tell: Callable[[Mapping[str, Any]], str] = problems) -> list[str]:
    """
    Give a list that grows with what is logged until the test ends.

    :param tell: what to note of an event; nothing if that is empty.
    """
    lines: list[str] = []

    def observe(event: Mapping[str, Any]) -> None:
        line = tell(event)
        if line:
            lines.append(line)

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    case.addCleanup(globalLogPublisher.removeObserver, observe)
    return lines
