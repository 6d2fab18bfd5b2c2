"""Sets of half-open intervals."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.intervals import ALWAYS, Intervals

LOW, HIGH = -5, 30

PAIRS = st.lists(st.tuples(st.integers(LOW, HIGH), st.integers(LOW, HIGH)), max_size=8)
BOUNDLESS = {LOW: -math.inf, HIGH: math.inf}
POINT = st.integers(LOW - 3, HIGH + 3)


def cells(pairs: list[tuple[int, int]]) -> set[int]:
    """Return the model of a set: its unit cells, each by its lower end."""
    return {cell for start, end in pairs for cell in range(start, end)}


def cells_of(found: Intervals) -> set[int]:
    """Return the unit cells of a set, which must have no other edges than whole numbers."""
    return cells([(int(start), int(end)) for start, end in found])


class ModelTests(SynchronousTestCase):
    """Every operation does what it does on sets of unit cells."""

    def assert_well_formed(self, found: Intervals) -> None:
        """The edges ascend strictly, so that there are no empty and no adjoining intervals."""
        self.assertEqual(list(found.edges), sorted(set(found.edges)))
        self.assertEqual(len(found.edges) % 2, 0)

    @given(PAIRS)
    def test_made_of_pairs(self, pairs: list[tuple[int, int]]) -> None:
        """Intervals in any order, overlapping, adjoining or empty, make their union."""
        found = Intervals.of(pairs)
        self.assert_well_formed(found)
        self.assertEqual(cells_of(found), cells(pairs))
        self.assertEqual(found.measure, len(cells(pairs)))
        self.assertEqual(bool(found), bool(cells(pairs)))

    @given(PAIRS, PAIRS)
    def test_two_sets(self, one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
        """Union, intersection and difference are those of sets."""
        first, second = Intervals.of(one), Intervals.of(other)
        for found, expected in (
            (first | second, cells(one) | cells(other)),
            (first & second, cells(one) & cells(other)),
            (first - second, cells(one) - cells(other)),
        ):
            self.assert_well_formed(found)
            self.assertEqual(cells_of(found), expected)

    @given(PAIRS, PAIRS)
    def test_two_sets_without_bounds(self, one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
        """The same holds for sets that have a beginning or an end at infinity, as seen at each point."""
        first, second = (Intervals.of((BOUNDLESS.get(a, a), BOUNDLESS.get(b, b)) for a, b in pairs) for pairs in (one, other))
        for found, holds in (
            (first | second, lambda here, there: here or there),
            (first & second, lambda here, there: here and there),
            (first - second, lambda here, there: here and not there),
        ):
            self.assert_well_formed(found)
            for point in (-math.inf, *range(LOW - 1, HIGH + 1)):
                self.assertEqual(point in found, holds(point in first, point in second))

    @given(PAIRS, PAIRS)
    def test_equal_sets_are_equal_values(self, one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
        """Two values are equal when their sets are, and never else."""
        self.assertEqual(Intervals.of(one) == Intervals.of(other), cells(one) == cells(other))

    @given(PAIRS, POINT, POINT)
    def test_asked_for_an_interval(self, pairs: list[tuple[int, int]], start: int, end: int) -> None:
        """What a set has of one interval is found by its edges."""
        found, asked = Intervals.of(pairs), set(range(start, end))
        inside = found.within(start, end)
        self.assert_well_formed(inside)
        self.assertEqual(cells_of(inside), cells(pairs) & asked)
        self.assertEqual(found.within(start, end).measure, len(cells(pairs) & asked))
        self.assertEqual(found.overlaps(start, end), bool(cells(pairs) & asked))
        self.assertEqual(found.covers(start, end), asked <= cells(pairs))

    @given(PAIRS, POINT)
    def test_interval_contains_its_start_and_not_its_end(self, pairs: list[tuple[int, int]], point: int) -> None:
        """An interval has its start and not its end."""
        self.assertEqual(point in Intervals.of(pairs), point in cells(pairs))

    @given(PAIRS, st.integers(-9, 9))
    def test_shift_moves_all_points(self, pairs: list[tuple[int, int]], by: int) -> None:
        """All points move by as much."""
        self.assertEqual(cells_of(Intervals.of(pairs).shift(by)), {cell + by for cell in cells(pairs)})

    @given(PAIRS, st.integers(0, 4), st.integers(0, 4))
    def test_widened_set_contains_points_near_enough(self, pairs: list[tuple[int, int]], before: int, after: int) -> None:
        """A wider set has the points that are near enough to one of the set."""
        widened = Intervals.of(pairs).widen(before, after)
        self.assert_well_formed(widened)
        self.assertEqual(cells_of(widened), {near for cell in cells(pairs) for near in range(cell - before, cell + after + 1)})

    @given(PAIRS, st.integers(0, 4), st.integers(0, 4))
    def test_narrowed_set_contains_points_far_from_edges(self, pairs: list[tuple[int, int]], before: int, after: int) -> None:
        """A narrower set has the points that are as far from the edges of it."""
        had = cells(pairs)
        expected = {cell for cell in had if had.issuperset(range(cell - before, cell + after + 1))}
        self.assertEqual(cells_of(Intervals.of(pairs).widen(-before, -after)), expected)

    @given(PAIRS)
    def test_hull_spans_first_start_to_last_end(self, pairs: list[tuple[int, int]]) -> None:
        """The hull reaches from the first point to the end of the last interval."""
        had = cells(pairs)
        self.assertEqual(Intervals.of(pairs).hull, (min(had), max(had) + 1) if had else None)


class EndlessTests(SynchronousTestCase):
    """Intervals without a start or an end."""

    def test_goes_on(self) -> None:
        """What has no end overlaps with all that is later, and is endlessly long."""
        found = Intervals.of([(10, math.inf)])
        self.assertTrue(found.covers(1e12, 2e12))
        self.assertFalse(found.overlaps(0, 10))
        self.assertEqual(found.measure, math.inf)
        self.assertEqual(found.within(0, 15).measure, 5)
        self.assertEqual(found.shift(5), Intervals.of([(15, math.inf)]))

    def test_difference_from_all_numbers_is_the_rest(self) -> None:
        """The difference from all numbers is the rest of them."""
        rest = ALWAYS - Intervals.of([(1, 2)])
        self.assertEqual(list(rest), [(-math.inf, 1), (2, math.inf)])
        self.assertEqual(ALWAYS - rest, Intervals.of([(1, 2)]))
