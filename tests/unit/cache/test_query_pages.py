"""The cached steps of one query."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.cache.extents import Extent
from mpp.cache.grid import PAGE_STEPS, Grid
from mpp.cache.preparation import prepare
from mpp.cache.query_pages import MOST_PAGES
from mpp.promql.matrix import Matrix, NotJoinable
from tests.unit.cache.answers import Answers, Line, assembled, pages_of

GRID = Grid.through(0, 15_000)


def line(name: str, *ranges: tuple[int, int]) -> Line:
    """Return a series that has values in some ranges of steps."""
    return Line({"a": name}, {step: b'"%d"' % step for first, last in ranges for step in range(first, last + 1)})


SERVER = Answers(GRID, (line("x", (0, 1000)), line("y", (0, 1000))))


class CachedStepsTests(SynchronousTestCase):
    """What the pages of a query tell about its steps."""

    @given(st.lists(st.tuples(st.integers(-300, 300), st.integers(0, 200)), max_size=6), st.integers(-400, 400))
    @example([(0, 9), (0, 8)], 0)
    @example([(0, 9), (1, 9)], 0)
    @settings(deadline=None)
    def test_cached_and_missing_steps(self, ranges: list[tuple[int, int]], first: int) -> None:
        """Steps are cached if they were fetched, whether or not a series has points there; the others are missing."""
        pages = pages_of(GRID)
        there = set()
        for start, length in ranges:
            self.assertTrue(SERVER.fill(pages, start, start + length))
            there |= {*range(start, start + length + 1)}
        view = pages.view(first, first + 300)
        asked = range(first, first + 301)
        self.assertEqual([step for each in view.cached for step in range(each[0], each[1] + 1)], [n for n in asked if n in there])
        self.assertEqual(
            [step for each in view.missing for step in range(each[0], each[1] + 1)], [n for n in asked if n not in there]
        )
        for found in (view.cached, view.missing):
            self.assertTrue(all(before[1] + 1 < after[0] for before, after in pairwise(found)))

    def test_new_query_has_no_cached_steps(self) -> None:
        """All steps are missing."""
        view = pages_of(GRID).view(5, 300)
        self.assertEqual((view.cached, view.missing, view.extents), ((), ((5, 300),), ()))

    def test_extents_tell_who_answered(self) -> None:
        """Consecutive steps of one server are one extent per page, which ends when the first of its steps does."""
        pages = pages_of(GRID)
        for first, last, source, until in (
            (10, 14, "a", 40.0),
            (0, 9, "a", 50.0),
            (15, 19, "a", 45.0),
            (20, 29, "b", 60.0),
            (5, 6, "b", 70.0),
        ):
            SERVER.fill(pages, first, last, source=source, expires_at=until)
        expected = [(0, 4, "a", 40.0), (5, 6, "b", 70.0), (7, 19, "a", 40.0), (20, 29, "b", 60.0)]
        self.assertEqual(sorted(pages.extents(), key=lambda each: each.first), [Extent(*each) for each in expected])
        self.assertEqual(pages.view(6, 8).extents, (Extent(6, 6, "b", 70.0), Extent(7, 8, "a", 40.0)))

    def test_notes_in_another_order_are_the_same(self) -> None:
        """Prometheus writes warnings and infos in random order: an extent must not end with each of them."""
        pages = pages_of(GRID)
        for step, notes in enumerate((("i", "j"), ("j", "i"))):
            Answers(GRID, SERVER.lines, notes).fill(pages, step, step)
        self.assertEqual(list(pages.extents()), [Extent(0, 1, "a", 60.0, (), ("i", "j"))])

    def test_no_steps_are_an_error(self) -> None:
        """The last step is not before the first one."""
        self.assertRaises(ValueError, pages_of(GRID).view, 5, 4)

    def test_notes_of_an_answer_stay_with_its_steps(self) -> None:
        """A response has those of the answers that it is made of, each once, warnings before infos."""
        pages = pages_of(GRID)
        for first, last, notes in ((0, 9, b'"warnings":["w"],"infos":["i"]'), (10, 19, b'"infos":["i","j"]')):
            matrix = Matrix(SERVER.body(first, last)[:-1] + b",%b}" % notes)
            pages.add(prepare(pages.view(first, last), matrix, source="a", expires_at=1.0))
        self.assertTrue(assembled(pages.view(0, 19)).endswith(b']}]},"warnings":["w"],"infos":["i","j"]}'))
        self.assertTrue(assembled(pages.view(10, 19)).endswith(b']}]},"infos":["i","j"]}'))


class ChangeTests(SynchronousTestCase):
    """What changes the pages of a query."""

    def test_new_steps_replace_cached_ones(self) -> None:
        """A later answer counts, in closed pages, too; and a series that it does not have any more is gone there."""
        later = Answers(GRID, (Line({"a": "x"}, dict.fromkeys(range(1000), b'"new"')),))
        for last in (99, 2 * PAGE_STEPS - 1):
            pages = pages_of(GRID)
            SERVER.fill(pages, 0, last)
            later.fill(pages, 10, 20)
            expected = (
                Line({"a": "x"}, {**SERVER.lines[0].samples, **dict.fromkeys(range(10, 21), b'"new"')}),
                line("y", (0, 9), (21, 1000)),
            )
            self.assertEqual(assembled(pages.view(0, last)), Answers(GRID, expected).body(0, last))

    def test_full_pages_are_compressed(self) -> None:
        """With its last step a page takes less memory than before; until then each new step is added to the texts as they are."""
        pages = pages_of(GRID)
        SERVER.fill(pages, 0, PAGE_STEPS - 2)
        size = pages.size
        SERVER.fill(pages, PAGE_STEPS - 1, PAGE_STEPS - 1)
        self.assertLess(pages.size, 0.75 * size)

    def test_view_does_not_change(self) -> None:
        """A response is assembled from what was cached when it was begun."""
        pages = pages_of(GRID)
        SERVER.fill(pages, 0, 299)
        view = pages.view(0, 299)
        pages.drop(lambda extent: extent.first < PAGE_STEPS)
        self.assertEqual(assembled(view), SERVER.body(0, 299))
        self.assertEqual(pages.view(0, 299).cached, ((PAGE_STEPS, 299),))

    def test_changed_page_is_not_overwritten(self) -> None:
        """Of two answers that were prepared at the same time, one is added; the other one changes nothing."""
        pages = pages_of(GRID)
        SERVER.fill(pages, 0, 9)
        view = pages.view(10, 19)
        both = [prepare(view, SERVER.matrix(10, 19), source=source, expires_at=1.0) for source in "ab"]
        self.assertTrue(pages.add(both[0]))
        before = pages.size, tuple(pages.extents())
        self.assertFalse(pages.add(both[1]))
        self.assertEqual((pages.size, tuple(pages.extents())), before)

    def test_page_dropped_meanwhile_does_not_return(self) -> None:
        """What was prepared from a page is not added once the page is gone."""
        pages = pages_of(GRID)
        SERVER.fill(pages, 0, 9)
        prepared = prepare(pages.view(10, 19), SERVER.matrix(10, 19), source="a", expires_at=1.0)
        self.assertEqual(pages.drop(lambda extent: True), 1)
        self.assertFalse(pages.add(prepared))
        self.assertEqual(pages.view(0, 19).cached, ())

    def test_same_new_series_is_not_added_twice(self) -> None:
        """Not even for different pages: a series would be there twice in a response."""
        pages = pages_of(GRID)
        edges = (0, PAGE_STEPS)
        prepared = [prepare(pages.view(first, first), SERVER.matrix(first, first), source="a", expires_at=1.0) for first in edges]
        self.assertEqual([pages.add(each) for each in prepared], [True, False])

    def test_pages_expire(self) -> None:
        """A page goes when one of its steps must not be used any more."""
        pages = pages_of(GRID)
        SERVER.fill(pages, PAGE_STEPS + 10, PAGE_STEPS + 20, expires_at=5.0)
        SERVER.fill(pages, 0, PAGE_STEPS + 9, expires_at=10.0)
        self.assertEqual(pages.expire(4.9), 0)
        self.assertEqual(pages.expire(5.0), 1)
        self.assertEqual(pages.view(0, 300).cached, ((0, PAGE_STEPS - 1),))
        self.assertEqual(pages.expire(10.0), 1)
        self.assertEqual(pages.view(0, 300).cached, ())

    def test_new_steps_expire_with_the_steps_before_them(self) -> None:
        """They expire with the last ones of the same server in the same page; in other pages they have a life of their own."""
        pages = pages_of(GRID)
        SERVER.fill(pages, 0, 1, expires_at=8.0)
        SERVER.fill(pages, 4, 4, source="b", expires_at=9.0)
        SERVER.fill(pages, 2 * PAGE_STEPS + 5, 2 * PAGE_STEPS + 5, expires_at=7.0)
        SERVER.fill(pages, 6, 3 * PAGE_STEPS, expires_at=20.0)
        found = {each.first: each.expires_at for each in pages.extents()}
        expected = {0: 8.0, 4: 9.0, 6: 8.0, PAGE_STEPS: 20.0, 2 * PAGE_STEPS: 20.0, 3 * PAGE_STEPS: 20.0}
        self.assertEqual(found, expected)

    def test_ranges_without_series_are_bounded_in_number(self) -> None:
        """They take so little memory that very many fit into it; the pages that were changed last stay."""
        pages, empty = pages_of(GRID), Answers(GRID, ())
        SERVER.fill(pages, 0, 9)
        for number in range(1, 2 * MOST_PAGES - 1):
            empty.fill(pages, number * PAGE_STEPS, number * PAGE_STEPS)
            if number == MOST_PAGES - 1:
                SERVER.fill(pages, 10, 19)
        self.assertEqual(len(list(pages.extents())), MOST_PAGES)
        self.assertEqual(pages.view(0, 30).cached, ((0, 19),))
        self.assertEqual(pages.view(PAGE_STEPS, PAGE_STEPS).cached, ())

    def test_pages_that_are_used_stay(self) -> None:
        """Without room the pages go that only one request has asked for, the oldest one first."""
        pages = pages_of(GRID)
        SERVER.fill(pages, 0, 2 * PAGE_STEPS - 1)
        pages.use(pages.view(0, PAGE_STEPS - 1))
        SERVER.fill(pages, 2 * PAGE_STEPS, 4 * PAGE_STEPS - 1)
        pages.use(pages.view(3 * PAGE_STEPS, 3 * PAGE_STEPS))
        pages.shrink(pages.size - 1)
        self.assertEqual(pages.view(0, 1000).cached, ((0, PAGE_STEPS - 1), (2 * PAGE_STEPS, 4 * PAGE_STEPS - 1)))
        pages.shrink(pages.size - 1)
        self.assertEqual(pages.view(0, 1000).cached, ((0, PAGE_STEPS - 1), (3 * PAGE_STEPS, 4 * PAGE_STEPS - 1)))
        size = pages.size
        pages.shrink(size)
        self.assertEqual(pages.size, size)

    def test_used_pages_leave_room_for_others(self) -> None:
        """Those that were not used for the longest time go as well, so that there is room for new steps."""
        pages = pages_of(GRID)
        for number in range(8):
            SERVER.fill(pages, number * PAGE_STEPS, number * PAGE_STEPS + PAGE_STEPS - 1)
            pages.use(pages.view(number * PAGE_STEPS, number * PAGE_STEPS))
        pages.use(pages.view(0, 0))
        pages.shrink(pages.size - 1)
        self.assertEqual(pages.view(0, 1000).cached, ((0, PAGE_STEPS - 1), (2 * PAGE_STEPS, 8 * PAGE_STEPS - 1)))

    def test_a_page_with_a_gap(self) -> None:
        """A request for the steps between the ones that a page has is no use of the page."""
        pages = pages_of(GRID)
        SERVER.fill(pages, 0, 9)
        SERVER.fill(pages, 20, 29)
        pages.use(pages.view(10, 19))
        SERVER.fill(pages, PAGE_STEPS, PAGE_STEPS + 9)
        pages.shrink(pages.size - 1)
        self.assertEqual(pages.view(0, 1000).cached, ((PAGE_STEPS, PAGE_STEPS + 9),))
        SERVER.fill(pages, 0, 9)
        SERVER.fill(pages, 20, 29)
        pages.use(pages.view(10, 20))
        pages.shrink(pages.size - 1)
        self.assertEqual(pages.view(0, 1000).cached, ((0, 9), (20, 29)))

    def test_a_use_of_pages_that_were_dropped(self) -> None:
        """It changes nothing."""
        pages = pages_of(GRID)
        SERVER.fill(pages, 0, PAGE_STEPS - 1)
        view = pages.view(0, 9)
        pages.drop(lambda extent: True)
        pages.use(view)
        pages.shrink(0)
        self.assertEqual(pages.view(0, 1000).cached, ())

    def test_steps_beside_the_used_ones(self) -> None:
        """A request for steps that a page does not have is no use of the page."""
        pages = pages_of(GRID)
        SERVER.fill(pages, 0, 9)
        pages.use(pages.view(10, 19))
        SERVER.fill(pages, PAGE_STEPS, PAGE_STEPS + 9)
        pages.shrink(pages.size - 1)
        self.assertEqual(pages.view(0, 1000).cached, ((PAGE_STEPS, PAGE_STEPS + 9),))

    def test_vanished_series_are_forgotten(self) -> None:
        """A query with no pages takes as much memory as a new one, whatever it had."""
        pages = pages_of(GRID)
        Answers(GRID, tuple(line(f"{n}", (0, 0)) for n in range(100))).fill(pages, 0, 0)
        SERVER.fill(pages, PAGE_STEPS, PAGE_STEPS + 1)
        size = pages.size
        pages.drop(lambda extent: extent.first == 0)
        self.assertLess(pages.size, size / 5)
        self.assertEqual(assembled(pages.view(PAGE_STEPS, PAGE_STEPS)), SERVER.body(PAGE_STEPS, PAGE_STEPS))

    def test_answer_that_prometheus_does_not_write(self) -> None:
        """It is an error, and the pages do not change."""
        pages = pages_of(GRID)
        body = SERVER.body(0, 9)
        for bad in (body.replace(b"[15,", b"[1e1,"), body.replace(b'{"a":"x"}', b'{"a":1}')):
            self.assertRaises(NotJoinable, prepare, pages.view(0, 0), Matrix(bad), source="a", expires_at=1.0)
        self.assertEqual(pages.view(0, 9).cached, ())


class SpellingTests(SynchronousTestCase):
    """Labels that two versions of Prometheus write in different ways."""

    def test_two_spellings_are_one_series(self) -> None:
        """Its points come from pages of both."""
        lines = (Line({"a": "<b>&c"}, dict.fromkeys(range(400), b'"1"')),)
        older, newer = Answers(GRID, lines, escapes=True), Answers(GRID, lines)
        pages = pages_of(GRID)
        older.fill(pages, 0, 150)
        newer.fill(pages, 151, 300)
        self.assertEqual(assembled(pages.view(0, 310), newer.parsed(301, 310)), older.body(0, 310))
        self.assertEqual(assembled(pages.view(0, 310), older.parsed(301, 310)), older.body(0, 310))
