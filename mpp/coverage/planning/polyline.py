"""
Functions of time that consist of straight pieces, in whole numbers, so that comparisons are exact. Pure.

How much a server lacks of a time that ends at t, such as a rate's range, is such a function of t: it bends where an edge of the
time passes an edge of a gap. Many numbers are in arrays, which take a fifth of the memory of tuples, and which the garbage
collector does not visit: with thousands of gaps that took 15 ms.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterable, Mapping, Sequence
from itertools import accumulate, compress, islice, repeat
from math import inf
from operator import add, mul, sub

from attrs import frozen

from mpp.core.intervals import NEVER, Intervals

MOST_IN_TUPLE = 50
"""So many numbers are kept in a tuple, which is read faster than an array."""

BETWEEN_YIELDS = 2000
"""The number of bends that `Polyline.above` looks at in one part of its work, which takes a millisecond."""


@frozen
class Polyline:
    """
    A continuous function that is constant at first and has a new slope from each bend on; make it by `building`.

    :ivar times: the bends in ascending order, in milliseconds since the epoch.
    :ivar values: the value at each bend.
    :ivar slopes: the slope from each bend to the next one, per millisecond.
    :ivar base: the value before the first bend.
    :ivar steepest: the greatest slope of all segments; 0 if none is greater.
    """

    times: Sequence[int] = ()
    values: Sequence[int] = ()
    slopes: Sequence[int] = ()
    base: int = 0
    steepest: int = 0

    @classmethod
    def building(cls, changes: Mapping[int, int], base: int = 0) -> Generator[None, None, Polyline]:
        """
        Return the function with the given change of the slope at each of its bends, by the time of the bend.

        Yields after each part of the work, which takes some milliseconds with 30,000 bends.

        :param changes: see `add_changes`.
        :param base: the value before the first bend.
        """
        times = _numbers(sorted(compress(changes, changes.values())))
        yield
        slopes = _numbers(accumulate(map(changes.__getitem__, times)))
        steepest = max(slopes, default=0)
        yield
        rises = map(mul, slopes, map(sub, times[1:], times))
        return cls(times, _numbers(islice(accumulate(rises, initial=base), len(times))), slopes, base, steepest)

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
        place, found = 0, []
        for time in times:
            place = bisect_right(bends, time, place)
            found.append(values[place - 1] + slopes[place - 1] * (time - bends[place - 1]) if place else self.base)
        return found

    def within(self, start: int, end: int) -> Sequence[int]:
        """Return the times of the bends between two times, the second one excluded."""
        return self.times[bisect_left(self.times, start) : bisect_left(self.times, end)]

    @property
    def positive(self) -> Intervals:
        """The times at which the function is greater than 0; only for one that is never negative. The edges are bends."""
        edges, inside = ([-inf], True) if self.base else ([], False)
        for time, value, slope in zip(self.times, self.values, self.slopes, strict=True):
            if inside is not (value > 0 or slope > 0):
                inside = not inside
                edges.append(time)
        return Intervals((*edges, inf) if inside else tuple(edges))

    def above(self, limit: float) -> Generator[None, None, Intervals]:
        """
        Return the times at which the function is greater than a limit; yields after each part of the work.

        The edges are rounded outwards to milliseconds.
        """
        edges = [-inf] if self.base > limit else []
        until, ends = (self.times[0], (*self.times[1:], inf)) if self.times else (inf, ())
        for place, (start, end, value, slope) in enumerate(zip(self.times, ends, self.values, self.slopes, strict=True), 1):
            if not place % BETWEEN_YIELDS:
                yield
            since, to = float(start), float(end)
            if value <= limit:
                if slope <= 0:
                    continue
                # It is above the limit from the crossing on, if it gets there.
                since = max(since, (start + (limit - value) / slope) // 1)
            elif slope < 0:
                to = min(to, -(-(start + (limit - value) / slope) // 1))
            if since < to:
                if edges and since > until:
                    edges += (until, since)
                elif not edges:
                    edges = [since]
                until = to
        return Intervals((*edges, until)) if edges else NEVER


def add_changes(changes: dict[int, int], times: Sequence[int], by: Iterable[int]) -> None:
    """
    Add to the changes of a slope at some times.

    :param changes: the changes by time; the function adds to them.
    :param times: in milliseconds since the epoch, in any order; one may be there several times.
    :param by: how much is added at each time.
    """
    # As zip and map are lazy, each sum is stored before the next one is made; so a time may be there twice.
    changes.update(zip(times, map(add, map(changes.get, times, repeat(0)), by), strict=True))


def _numbers(numbers: Iterable[int]) -> Sequence[int]:
    """Return an array of whole numbers; a tuple if they are few, or if a number has more than 64 bits."""
    found = tuple(numbers)
    try:
        return array("q", found) if len(found) > MOST_IN_TUPLE else found
    except OverflowError:
        return found


ZERO = Polyline()
