"""
Sets of half-open intervals of numbers, such as points in time. Pure.

An interval contains its start but not its end, so two adjoining intervals have no point in common and none between them. A set is
stored as its edges in ascending order, starts at even and ends at odd indexes: a number is in the set if the number of edges up
to it is odd, which bisection finds.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator

from attrs import frozen


@frozen
class Intervals:
    """
    A set of numbers, as the fewest half-open intervals that make it up.

    :ivar edges: the start and the end of each interval, strictly ascending; the first may be minus infinity, the last infinity.
    """

    edges: tuple[float, ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[float, float]]) -> Intervals:
        """Return the union of intervals in any order; an interval that does not end after its start is empty."""
        edges: list[float] = []
        for start, end in sorted(pairs):
            if end <= start:
                continue
            if edges and start <= edges[-1]:
                edges[-1] = max(edges[-1], end)
            else:
                edges += (start, end)
        return cls(tuple(edges))

    def __iter__(self) -> Iterator[tuple[float, float]]:
        return zip(self.edges[::2], self.edges[1::2], strict=True)

    def __bool__(self) -> bool:
        return bool(self.edges)

    def __contains__(self, point: float) -> bool:
        return bisect_right(self.edges, point) % 2 == 1

    def __or__(self, other: Intervals) -> Intervals:
        if not (self.edges and other.edges):
            return self if self.edges else other
        return self._combined(other, lambda here, there: here or there)

    def __and__(self, other: Intervals) -> Intervals:
        return self._combined(other, lambda here, there: here and there)

    def __sub__(self, other: Intervals) -> Intervals:
        return self._combined(other, lambda here, there: here and not there)

    def _combined(self, other: Intervals, holds: Callable[[bool, bool], bool]) -> Intervals:
        """Return the points for which ``holds(in self, in other)`` is true, which must be false for points of neither set."""
        edges: list[float] = []
        for edge in sorted({*self.edges, *other.edges}):
            if holds(edge in self, edge in other) != (len(edges) % 2 == 1):
                edges.append(edge)
        return Intervals(tuple(edges))

    @property
    def hull(self) -> tuple[float, float] | None:
        """The smallest interval that contains the whole set; None for the empty set."""
        return (self.edges[0], self.edges[-1]) if self.edges else None

    @property
    def measure(self) -> float:
        """The sum of the lengths of all intervals."""
        return sum(end - start for start, end in self)

    def shift(self, by: float) -> Intervals:
        """Return the set with ``by`` added to each point."""
        return Intervals.of((start + by, end + by) for start, end in self)

    def widen(self, before: float, after: float) -> Intervals:
        """
        Return the set with each interval beginning ``before`` earlier and ending ``after`` later.

        Negative lengths make the intervals shorter; an interval that becomes empty is removed.
        """
        return Intervals.of((start - before, end + after) for start, end in self)

    def overlaps(self, start: float, end: float) -> bool:
        """Return whether the set contains a point of an interval."""
        if end <= start:
            return False
        first = bisect_right(self.edges, start)
        return first % 2 == 1 or (first < len(self.edges) and self.edges[first] < end)

    def covers(self, start: float, end: float) -> bool:
        """Return whether the set contains all points of an interval."""
        if end <= start:
            return True
        first = bisect_right(self.edges, start)
        return first % 2 == 1 and end <= self.edges[first]

    def within(self, start: float, end: float) -> Intervals:
        """Return the part of the set within an interval."""
        if end <= start:
            return NEVER
        first, last = bisect_right(self.edges, start), bisect_left(self.edges, end)
        inside = self.edges[first:last]
        return Intervals((*((start,) if first % 2 else ()), *inside, *((end,) if last % 2 else ())))

    def overlap(self, start: float, end: float) -> float:
        """Return the length of the part of the set within an interval."""
        return self.within(start, end).measure


NEVER = Intervals()
"""The empty set."""

ALWAYS = Intervals((-math.inf, math.inf))
"""The set of all numbers."""
