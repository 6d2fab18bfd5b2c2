"""
Sets of half-open intervals of numbers, such as points in time. Pure.

An interval contains its start but not its end, so two adjoining intervals have no point in common and none between them. A set is
stored as its edges in ascending order, starts at even and ends at odd indexes: a number is in the set if the number of edges up
to it is odd, which bisection finds.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

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
        starts, ends = _sorted(self.edges, other.edges)
        # As many have ended as have started where the next one starts after the last end: between these two is a gap.
        edges = [starts[0]]
        for end, start in zip(ends, starts[1:], strict=False):
            if start > end:
                edges += (end, start)
        return Intervals((*edges, ends[-1]))

    def __and__(self, other: Intervals) -> Intervals:
        return Intervals(_intersection(self.edges, other.edges)) if self.edges and other.edges else NEVER

    def __sub__(self, other: Intervals) -> Intervals:
        return Intervals(_intersection(self.edges, _complement(other.edges))) if self.edges and other.edges else self

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


def _sorted(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[list[float], list[float]]:
    """Return the starts of the intervals of two sets, and their ends, each in ascending order."""
    # To sort two sequences that are in order takes a time that grows with their length only.
    return sorted(one[::2] + other[::2]), sorted(one[1::2] + other[1::2])


def _intersection(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[float, ...]:
    """Return the edges of what two sets have in common."""
    starts, ends = _sorted(one, other)
    # No point is in more than two intervals. Two go on at once from each start until the end that is one place before it.
    edges: list[float] = []
    for end, start in zip(ends, starts[1:], strict=False):
        if start < end:
            edges += (start, end)
    return tuple(edges)


def _complement(edges: tuple[float, ...]) -> tuple[float, ...]:
    """Return the edges of all numbers that are not in a set, which is not empty."""
    found = edges[1:] if edges[0] == -math.inf else (-math.inf, *edges)
    return found[:-1] if edges[-1] == math.inf else (*found, math.inf)


NEVER = Intervals()
"""The empty set."""

ALWAYS = Intervals((-math.inf, math.inf))
"""The set of all numbers."""
