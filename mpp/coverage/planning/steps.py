"""
Compares what servers lack at the steps of a range, by looking at the bends or at each step, whichever are fewer. Pure.

The amount that a server lacks is a straight line between its bends (`mpp.coverage.planning.polyline`), so a comparison of two
servers changes at most once between two bends, at a step that a division finds. All numbers are whole, so nothing depends on
rounding. `mpp.coverage.planning.levels` chooses between the two ways.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby, pairwise, repeat
from math import inf

from attrs import frozen

from mpp.core.intervals import Intervals
from mpp.coverage.planning.polyline import Polyline


@frozen
class Steps:
    """
    The steps of a range query; an instant query has one.

    :ivar start: the first step, in milliseconds since the epoch.
    :ivar step: milliseconds between two steps, at least 1.
    :ivar count: how many steps there are, at least 1.
    """

    start: int
    step: int = 1
    count: int = 1

    @classmethod
    def until(cls, start: int, end: int, step: int) -> Steps:
        """Return the steps from ``start`` until ``end`` at the latest; all in milliseconds."""
        return cls(start, step, max(0, end - start) // step + 1)

    @property
    def end(self) -> int:
        """The end of the time from the first to the last step, in milliseconds: the last step is in it."""
        return self.time(self.count - 1) + 1

    def time(self, number: int) -> int:
        """Return the time of a step, in milliseconds."""
        return self.start + number * self.step

    def after(self, time: int) -> int:
        """Return the number of the first step later than a time; it may be below 0 or beyond the last step."""
        return (time - self.start) // self.step + 1


@frozen
class Segment:
    """
    Steps at which the same servers are good enough.

    :ivar first: the first step.
    :ivar last: the last step (inclusive).
    :ivar good: these servers as bits: bit n is 1 if the server with number n is one of them.
    """

    first: int
    last: int
    good: int


_Run = tuple[int, int, int]
"""The values ``first``, ``last`` and ``good`` of a `Segment`."""


@frozen
class GoodServers:
    """
    The servers that are good enough at each time or step, in two sequences.

    Thousands of `Segment` objects would take more memory, and make garbage collections longer.

    :ivar ends: the last millisecond since the epoch, or step, of each interval in which they are the same, in order; the first
        interval begins where the times or steps do, and each other one behind the last one.
    :ivar good: these servers as bits (see `Segment`), by interval.
    """

    ends: tuple[int, ...]
    good: tuple[int, ...]

    @classmethod
    def of(cls, segments: Iterable[Segment]) -> GoodServers:
        """Build the value from segments in order, without a time or step between two of them."""
        return cls(*zip(*((each.last, each.good) for each in segments), strict=True))

    @classmethod
    def of_each(cls, good: Iterable[int]) -> GoodServers:
        """Build the value from the servers that are good enough at each step."""
        runs = [(each, len(list(run))) for each, run in groupby(good)]
        return cls(tuple(end - 1 for end in accumulate(length for _, length in runs)), tuple(each for each, _ in runs))

    def at_steps(self, steps: Steps) -> GoodServers:
        """Convert times to the steps of a range; the cost grows with the steps or the intervals, whichever are fewer."""
        ends: list[int] = []
        found: list[int] = []
        start, step, most = steps.start, steps.step, steps.count - 1
        done, place = -1, 0
        while done < most:
            place = bisect_left(self.ends, start + (done + 1) * step, place)
            done = min((self.ends[place] - start) // step, most)
            if found and found[-1] == self.good[place]:
                ends[-1] = done
            else:
                ends.append(done)
                found.append(self.good[place])
        return GoodServers(tuple(ends), tuple(found))

    def runs(self, number: int) -> list[tuple[int, int]]:
        """Return the first and the last of consecutive steps at which the server with this number is good enough."""
        found: list[tuple[int, int]] = []
        first = 0
        for last, good in zip(self.ends, self.good, strict=True):
            if good >> number & 1:
                if found and found[-1][1] + 1 == first:
                    found[-1] = (found[-1][0], last)
                else:
                    found.append((first, last))
            first = last + 1
        return found


@frozen
class Tolerance:
    """
    How much more than the best a server may lack and still count as good as the best.

    One window of the lacking targets, for the edges of gaps are not known better than that; but never more than half of what the
    best one lacks. So a server that lacks something is never as good as one that lacks nothing.

    :ivar window: how much more a server may lack at most, in target-milliseconds.
    """

    window: int

    def allows(self, lack: int, best: int) -> bool:
        """Return whether a lack counts as no greater than the lack of the best server."""
        return lack <= self.most(best)

    def most(self, best: int) -> int:
        """Return the greatest lack that counts as no greater than the lack of the best server."""
        return min(best + self.window, 3 * best // 2)


def pieces(lines: Iterable[Polyline], steps: Steps, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Return the sequences of steps in which all lines are straight, as the first and the last step."""
    low, high = steps.time(first), steps.time(last)
    origin, step = steps.start, steps.step
    starts = {first}
    for line in lines:
        starts.update([(time - origin) // step + 1 for time in line.within(low, high)])
    for start, behind in pairwise((*sorted(starts), last + 1)):
        yield start, behind - 1


def total(line: Polyline, steps: Steps, first: int, last: int) -> int:
    """Return twice the sum of a line's values at some steps. The cost grows with the steps or the bends, whichever are fewer."""
    start, step, bends = steps.time(first), steps.step, line.times
    place, behind = bisect_right(bends, start), bisect_right(bends, steps.time(last))
    if 2 * (behind - place) > last - first:
        return 2 * sum(line.along(range(start, steps.time(last) + 1, step)))
    found, at = 0, first
    for bend in (*bends[place:behind], None):
        until = last if bend is None else steps.after(bend) - 1
        if at <= until:
            value, slope = line.piece(place - 1, steps.time(at))
            if value or slope:
                count = until - at + 1
                found += (2 * value + slope * step * (count - 1)) * count
            at = until + 1
        place += 1
    return found


def compared(segments: Iterable[Segment], lines: Sequence[Polyline], tolerance: Tolerance, steps: Steps) -> list[Segment]:
    """
    Return the segments, cut where needed, each with the servers that count as good as the best of its servers.

    :param segments: in order, without a step between two of them.
    :param lines: what each server lacks, by its number.
    """
    found: list[_Run] = []
    for segment in segments:
        good = segment.good
        among = [number for number in range(len(lines)) if good >> number & 1]
        if len(among) == 1 or not any(lines[number] for number in among):
            _add(found, (segment.first, segment.last, good))
            continue
        straight = list(pieces((lines[number] for number in among), steps, segment.first, segment.last))
        times = [steps.start + step * steps.step for piece in straight for step in piece]
        along = [lines[number].along(times) for number in among]
        values = zip(*(zip(each[::2], each[1::2], strict=True) for each in along), strict=True)
        for (first, last), ends in zip(straight, values, strict=True):
            if ends.count(ends[0]) == len(ends):
                # Mostly no server lacks anything.
                _add(found, (first, last, good))
            else:
                for run in _piece(first, last, among, ends, tolerance):
                    _add(found, run)
    return [Segment(*run) for run in found]


def compared_at_each(lacks: Sequence[Sequence[int]], tolerance: Tolerance, among: Sequence[int] = ()) -> list[int]:
    """
    Return the servers that count as good as the best one at each step, as bits (see `Segment`).

    :param lacks: what each server lacks, by its number, and at each step.
    :param among: by step, the servers that are compared; all of them if it is empty.
    """
    numbers = range(len(lacks))
    every = (1 << len(lacks)) - 1
    found = []
    for values, compared_ones in zip(zip(*lacks, strict=True), among or repeat(every), strict=False):
        if values.count(values[0]) == len(values):
            # Mostly no server lacks anything.
            found.append(compared_ones)
            continue
        others = values if compared_ones == every else [values[number] for number in numbers if compared_ones >> number & 1]
        most = tolerance.most(min(others))
        found.append(sum(1 << number for number in numbers if values[number] <= most) & compared_ones)
    return found


def steps_within(times: Intervals, steps: Steps) -> Iterator[tuple[int, int]]:
    """Return the sequences of steps whose times are in a set of times, as the first and the last step."""
    edges, start, step, count = times.edges, steps.start, steps.step, steps.count
    number = place = 0
    while number < count:
        place = bisect_right(edges, start + number * step, place)
        if place == len(edges):
            return
        behind = count if edges[place] == inf else min(count, int(-((start - edges[place]) // step)))
        if place % 2:
            yield number, behind - 1
        number = behind


def _add(found: list[_Run], run: _Run) -> None:
    """Add a run; join it to the last one if the same servers are good enough in both."""
    if found and found[-1][2] == run[2]:
        found[-1] = (found[-1][0], run[1], run[2])
    else:
        found.append(run)


def _piece(first: int, last: int, among: Sequence[int], ends: Sequence[tuple[int, int]], tolerance: Tolerance) -> Iterator[_Run]:
    """Return the runs of consecutive steps at which all lacks grow or shrink evenly, given the lacks at both ends."""
    if (0, 0) in ends:
        good = 0
        for number, own in zip(among, ends, strict=True):
            if own == (0, 0):
                good |= 1 << number
            elif not (own[0] and own[1]):
                break
        else:
            # The common case: some lack nothing, and the others something at each of the steps.
            yield first, last, good
            return
    everywhere, partly = 0, []
    for number, own in zip(among, ends, strict=True):
        low, high = _range(first, last, own, ends, tolerance)
        if low == first and high == last:
            everywhere |= 1 << number
        elif low <= high:
            partly.append((low, high, 1 << number))
    cuts = sorted({first, last + 1, *(cut for low, high, _ in partly for cut in (low, high + 1))})
    for start, end in pairwise(cuts):
        yield start, end - 1, everywhere | sum(bit for low, high, bit in partly if low <= start and end - 1 <= high)


def _range(first: int, last: int, own: tuple[int, int], ends: Sequence[tuple[int, int]], tolerance: Tolerance) -> tuple[int, int]:
    """Return the first and last step at which a server counts as good as all others; the first is greater if there is none."""
    low, high, length = first, last, last - first
    for other in ends:
        if own[0] <= other[0] and own[1] <= other[1]:
            continue
        for begin, end in (
            (own[0] - other[0] - tolerance.window, own[1] - other[1] - tolerance.window),
            (2 * own[0] - 3 * other[0], 2 * own[1] - 3 * other[1]),
        ):
            # The server is good where begin + (end - begin) * n / length <= 0, at the n-th of these steps.
            if begin > 0 and end > 0:
                return last + 1, first
            if begin > 0:
                low = max(low, first - (-begin * length // (begin - end)))
            elif end > 0:
                high = min(high, first + -begin * length // (end - begin))
    return low, high
