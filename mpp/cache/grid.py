"""
The steps of a range query, numbered so that every request with the same interval (``step``) and phase numbers them alike. Pure.

The time of a step is its number times the interval, plus the phase. A page has `PAGE_STEPS` consecutive steps, from a multiple of
that number on.
"""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge

PAGE_STEPS = 120
"""
Steps of a page.

A request that begins within a page has it inflated and cut, which takes longer the larger pages are; the smaller they are, the
more memory each step takes. At 120 steps a compressed series takes about 1.2 kB; 12 bytes of this are its length, end and CRC.
"""


@frozen
class Grid:
    """
    The times of the steps.

    :ivar step_ms: milliseconds between two steps, at least 1.
    :ivar phase_ms: the time of step 0, in milliseconds since the epoch; less than ``step_ms``.
    """

    step_ms: int = field(validator=ge(1))
    phase_ms: int = field(validator=ge(0))

    @classmethod
    def through(cls, time_ms: int, step_ms: int) -> Grid:
        """Return the grid with an interval of ``step_ms`` in which a given time is the time of a step."""
        return cls(step_ms, time_ms % step_ms)

    def time(self, step: int) -> int:
        """Return the time of a step, in milliseconds since the epoch."""
        return self.phase_ms + step * self.step_ms

    def last_until(self, time_ms: int) -> int:
        """Return the last step at or before a time."""
        return (time_ms - self.phase_ms) // self.step_ms


def page_numbers(first: int, last: int) -> range:
    """Return the numbers of the pages to which the steps from the first to the last one belong."""
    return range(first // PAGE_STEPS, last // PAGE_STEPS + 1)


def steps_of(page: int) -> tuple[int, int]:
    """Return the first and the last step of a page."""
    return page * PAGE_STEPS, page * PAGE_STEPS + PAGE_STEPS - 1
