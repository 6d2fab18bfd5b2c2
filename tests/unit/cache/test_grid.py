"""The numbers of steps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.cache.grid import PAGE_STEPS, Grid, page_numbers, steps_of


class GridTests(SynchronousTestCase):
    """The times of steps."""

    @given(st.integers(-(10**15), 10**15), st.integers(1, 10**8), st.integers(-1000, 1000))
    def test_requests_of_one_phase_have_one_grid(self, start: int, step: int, later: int) -> None:
        """Whenever they start; before 1970, too."""
        grid = Grid.through(start, step)
        self.assertEqual(grid, Grid.through(start + later * step, step))
        number = grid.last_until(start)
        self.assertEqual(grid.time(number), start)
        self.assertEqual(grid.last_until(start + step - 1), number)
        self.assertEqual(grid.last_until(start - 1), number - 1)

    def test_impossible_grids(self) -> None:
        """A step takes at least a millisecond, and the phase is not before 1970."""
        self.assertRaises(ValueError, Grid, 0, 0)
        self.assertRaises(ValueError, Grid, 1, -1)

    @given(st.integers(-(10**9), 10**9), st.integers(0, 1000))
    def test_pages_have_all_steps(self, first: int, count: int) -> None:
        """Each step is in one page, and the pages are those of the steps only."""
        numbers = page_numbers(first, first + count)
        self.assertLessEqual(steps_of(numbers[0])[0], first)
        self.assertGreaterEqual(steps_of(numbers[-1])[1], first + count)
        self.assertLess(len(numbers), count / PAGE_STEPS + 2)
        self.assertEqual(steps_of(numbers[0])[1] + 1, steps_of(numbers[0] + 1)[0])
