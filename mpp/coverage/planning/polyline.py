"""
Functions of time that consist of straight pieces, in whole numbers, so that comparisons are exact. Pure.

How much a server lacks of a time that ends at t, such as a rate's range, is such a function of t: it bends where an edge of the
time passes an edge of a gap.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from mpp.core.intervals import Intervals


@frozen
class Polyline:
    """
    A continuous function that is constant at first and has a new slope from each bend on; make it by `of`.

    :ivar times: the bends in ascending order, in milliseconds since the epoch.
    :ivar values: the value at each bend.
    :ivar slopes: the slope from each bend to the next one, per millisecond.
    :ivar base: the value before the first bend.
    """

    times: tuple[int, ...] = ()
    values: tuple[int, ...] = ()
    slopes: tuple[int, ...] = ()
    base: int = 0

    @classmethod
    def of(cls, bends: Iterable[tuple[int, int]], base: int = 0) -> Polyline:
        """Build the function from its bends in any order, each with its time and the change of the slope there."""
        changes: dict[int, int] = {}
        for time, change in bends:
            changes[time] = changes.get(time, 0) + change
        return cls.changing(changes, base)

    @classmethod
    def changing(cls, changes: Mapping[int, int], base: int = 0) -> Polyline:
        """Build the function from the change of the slope at each of its bends, by the time of the bend."""
        times, values, slopes = [], [], []
        last, value, slope = 0, base, 0
        for time in sorted(changes):
            if change := changes[time]:
                value += slope * (time - last)
                last, slope = time, slope + change
                times.append(time)
                values.append(value)
                slopes.append(slope)
        return cls(tuple(times), tuple(values), tuple(slopes), base)

    def __bool__(self) -> bool:
        return bool(self.times or self.base)

    def at(self, time: int) -> int:
        """Return the function's value at a time."""
        return self.piece(bisect_right(self.times, time) - 1, time)[0]

    def piece(self, place: int, time: int) -> tuple[int, int]:
        """Return the function's value and slope at a time, given the number of the last bend up to this time (-1: none)."""
        if place < 0:
            return self.base, 0
        return self.values[place] + self.slopes[place] * (time - self.times[place]), self.slopes[place]

    def along(self, times: Sequence[int]) -> list[int]:
        """Return the function's values at some times in ascending order."""
        bends, values, slopes = self.times, self.values, self.slopes
        place = bisect_right(bends, times[0]) if times else 0
        found = []
        for time in times:
            while place < len(bends) and bends[place] <= time:
                place += 1
            found.append(values[place - 1] + slopes[place - 1] * (time - bends[place - 1]) if place else self.base)
        return found

    @property
    def steepest(self) -> int:
        """The greatest slope of all segments."""
        return max(self.slopes, default=0)

    def bends(self) -> Iterable[tuple[int, int]]:
        """Return the bends, each with its time and the change of the slope there, as `of` takes them."""
        before = 0
        for time, slope in zip(self.times, self.slopes, strict=True):
            yield time, slope - before
            before = slope

    def within(self, start: int, end: int) -> tuple[int, ...]:
        """Return the times of the bends between two times, the second one excluded."""
        return self.times[bisect_left(self.times, start) : bisect_left(self.times, end)]

    def above(self, limit: float) -> Intervals:
        """Return the times at which the function is greater than a limit; the edges are rounded outwards to milliseconds."""
        if not self.times:
            return Intervals.of([(float("-inf"), float("inf"))] if self.base > limit else [])
        found = [(float("-inf"), float(self.times[0]))] if self.base > limit else []
        for place, (time, value, slope) in enumerate(zip(self.times, self.values, self.slopes, strict=True)):
            end = float(self.times[place + 1]) if place + 1 < len(self.times) else float("inf")
            crossing = time + (limit - value) / slope if slope else time
            if slope > 0:
                found.append((max(time, crossing // 1), end))
            elif slope < 0:
                found.append((time, min(end, -(-crossing // 1))))
            elif value > limit:
                found.append((time, end))
        return Intervals.of(found)


ZERO = Polyline()
