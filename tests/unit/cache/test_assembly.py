"""Responses that are assembled from cached steps and new answers."""

from __future__ import annotations

import gc
import gzip
import itertools
import weakref

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.cache import assembly as assembly_module
from mpp.cache import series as series_module
from mpp.cache.assembly import Assembly, ParsedSteps
from mpp.cache.grid import Grid
from mpp.cache.query_pages import QueryPages
from mpp.cache.recent import RecentSpans
from mpp.promql.matrix import Matrix, NotJoinable, joined, sort_key
from tests.unit.cache.answers import LAST, Answers, Line, answers, assembled, pages_of

ranges = st.tuples(st.integers(-LAST, LAST), st.integers(-LAST, LAST)).map(lambda pair: (min(pair), max(pair)))


class AssemblyTests(SynchronousTestCase):
    """A response from pages and new answers."""

    @given(answers, st.lists(st.tuples(ranges, st.booleans()), max_size=6), ranges)
    @settings(deadline=None, max_examples=60)
    def test_is_what_a_server_would_have_given(
        self, server: Answers, cached: list[tuple[tuple[int, int], bool]], asked: tuple[int, int]
    ) -> None:
        """Byte for byte, whichever steps are cached, in whatever order they were asked for, and with both content codings."""
        pages = pages_of(server.grid)
        for (first, last), is_looked_at in cached:
            self.assertTrue(server.fill(pages, first, last))
            if is_looked_at:
                assembled(pages.view(first, last))
        view = pages.view(*asked)
        new = [server.parsed(*each) for each in view.missing]
        expected = server.body(*asked)
        for _ in range(2):
            self.assertEqual(assembled(view, *new), expected)
            self.assertEqual(gzip.decompress(assembled(view, *new, gzip=True)), expected)


GRID = Grid.through(0, 15_000)
SERVER = Answers(GRID, (Line({"a": "x"}, dict.fromkeys(range(1000), b'"1"')),))


class PartsTests(SynchronousTestCase):
    """The steps of a response."""

    def test_new_answers_replace_cached_steps(self) -> None:
        """And may go beyond the steps that were asked for."""
        pages = pages_of(GRID)
        Answers(GRID, (Line({"a": "x"}, dict.fromkeys(range(1000), b'"old"')),)).fill(pages, 0, 200)
        Answers(GRID, (Line({"a": "x"}, dict.fromkeys(range(1000), b'"1"')),)).fill(pages, 20, 180)
        new = SERVER.parsed(0, 19), SERVER.parsed(181, 300)
        for first, last in ((0, 250), (10, 180), (10, 250), (0, 300)):
            self.assertEqual(assembled(pages.view(first, last), *new), SERVER.body(first, last))

    def test_answers_to_other_steps_do_not_matter(self) -> None:
        """They may come before, behind, or twice."""
        pages = pages_of(GRID)
        SERVER.fill(pages, 0, 200)
        other = Answers(GRID, (Line({"a": "y"}, dict.fromkeys(range(1000), b'"1"')),), ("PromQL info: a",))
        new = [other.parsed(0, 9), other.parsed(5, 9), SERVER.parsed(20, 25), other.parsed(101, 120), other.parsed(500, 600)]
        self.assertEqual(assembled(pages.view(10, 100), *new), SERVER.body(10, 100))

    def test_missing_steps_are_an_error(self) -> None:
        """A response with a hole is never made."""
        pages = pages_of(GRID)
        SERVER.fill(pages, 5, 10)
        for first, last, *new in ((4, 10), (5, 11), (5, 20, (12, 20)), (0, 20, (0, 4), (11, 19))):
            steps = [SERVER.parsed(*each) for each in new]
            self.assertRaises(ValueError, Assembly, pages.view(first, last), steps, gzip=False)

    def test_steps_of_two_answers_are_an_error(self) -> None:
        """A step never comes from two servers."""
        new = [SERVER.parsed(0, 5), SERVER.parsed(5, 9)]
        self.assertRaises(ValueError, Assembly, pages_of(GRID).view(0, 9), new, gzip=True)

    def test_work_ends_with_an_answer_that_prometheus_does_not_write(self) -> None:
        """Be it a new answer with times that cannot be cut, or with something else than labels."""
        body = SERVER.body(0, 9)
        for bad in (body.replace(b"[15,", b"[1e1,"), body.replace(b'{"a":"x"}', b'{"a":1}')):
            assembly = Assembly(pages_of(GRID).view(0, 1), [ParsedSteps(0, 9, Matrix(bad))], gzip=False)
            self.assertRaises(NotJoinable, assembly.work)


class SliceTests(SynchronousTestCase):
    """Large responses."""

    def test_work_and_pieces_are_small(self) -> None:
        """Many series are assembled in many slices, and sent in pieces of a bounded size."""
        server = Answers(GRID, tuple(Line({"a": f"{n:04}"}, dict.fromkeys(range(400), b'"%d"' % n)) for n in range(400)))
        pages = pages_of(GRID)
        server.fill(pages, 10, 350)
        for coded in (False, True):
            assembly = Assembly(pages.view(15, 360), [server.parsed(351, 360)], gzip=coded)
            slices = 1
            while not assembly.work():
                slices += 1
            pieces = list(assembly.pieces())
            self.assertGreater(slices, 3)
            self.assertLessEqual(max(map(len, pieces)), 65536)
            body = b"".join(pieces)
            self.assertEqual(len(body), assembly.length)
            self.assertEqual(gzip.decompress(body) if coded else body, server.body(15, 360))

    def test_series_that_are_all_new(self) -> None:
        """The labels of some of them are read in each slice; they have other names after each restart of a container."""
        server, renamed = (
            Answers(GRID, tuple(Line({"pod": f"{name}-{n:04}"}, dict.fromkeys(range(200), b'"1"')) for n in range(800)))
            for name in "xy"
        )
        pages = pages_of(GRID)
        server.fill(pages, 0, 99)
        read: list[bytes] = []

        def counting(metric: bytes) -> bytes:
            read.append(metric)
            return sort_key(metric)

        self.patch(series_module, "sort_key", counting)
        assembly = Assembly(pages.view(0, 119), [renamed.parsed(100, 119)], gzip=False)
        most, before = 0, 0
        while not assembly.work():
            most, before = max(most, len(read) - before), len(read)
        self.assertEqual(len(read), 800)
        self.assertLess(most, 150)
        parts = server.body(0, 99), renamed.body(100, 119)
        self.assertEqual(b"".join(assembly.pieces()), b"".join(joined([Matrix(each) for each in parts])))

    def test_series_that_are_not_in_the_response(self) -> None:
        """Their pages take time, too."""
        server = Answers(GRID, tuple(Line({"a": str(n)}, {60: b'"1"'}) for n in range(50)))
        pages = pages_of(GRID)
        server.fill(pages, 0, 119)
        self.patch(assembly_module, "SLICE_US", 0)
        assembly = Assembly(pages.view(0, 50), [], gzip=False)
        self.assertEqual([assembly.work() for _ in range(51)], [*[False] * 50, True])

    def test_one_long_text(self) -> None:
        """A series with long histograms is sent in pieces of a bounded size, too."""
        histogram = b'{"count":"1","sum":"1","buckets":[%b]}' % b",".join([b'[0,"1","2","3"]'] * 500)
        server = Answers(GRID, (Line({"a": "x"}, dict.fromkeys(range(200), histogram)),))
        pages = pages_of(GRID)
        server.fill(pages, 0, 150)
        for coded in (False, True):
            body = assembled(pages.view(0, 160), server.parsed(151, 160), gzip=coded)
            self.assertEqual(gzip.decompress(body) if coded else body, server.body(0, 160))

    def test_assembly_that_is_not_finished_is_no_garbage(self) -> None:
        """A client that hangs up leaves no cycle of references."""
        pages = pages_of(GRID)
        SERVER.fill(pages, 0, 350)
        self.patch(assembly_module, "SLICE_US", 0)
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for coded in (False, True):
            assembly = Assembly(pages.view(0, 350), [], gzip=coded)
            self.assertFalse(assembly.work())
            gone = weakref.ref(assembly)
            del assembly
            self.assertIsNone(gone())
        self.assertEqual(gc.collect(), 0)


class RecentTests(SynchronousTestCase):
    """Responses for the same steps, soon after one another."""

    def test_later_response_is_cheaper(self) -> None:
        """The texts of cached steps are joined once; then the newest steps are all that is new."""
        self.patch(assembly_module, "SLICE_US", 0)
        pages = pages_of(GRID)
        SERVER.fill(pages, 0, 900)
        for coded in (False, True):
            slices = []
            for last in (905, 906, 907):
                assembly = Assembly(pages.view(15, last), [SERVER.parsed(901, last)], gzip=coded)
                slices.append(1)
                while not assembly.work():
                    slices[-1] += 1
            self.assertGreater(slices[0], slices[1])
            self.assertEqual(slices[1], slices[2])

    def test_a_change_ends_them(self) -> None:
        """A response never has the texts of steps that were replaced since."""
        pages = pages_of(GRID)
        SERVER.fill(pages, 0, 200)
        assembled(pages.view(0, 200))
        other = Answers(GRID, (Line({"a": "x"}, dict.fromkeys(range(1000), b'"2"')),))
        other.fill(pages, 0, 200)
        self.assertEqual(assembled(pages.view(0, 200)), other.body(0, 200))

    def test_memory_is_bounded(self) -> None:
        """The spans that were used least recently go first; pages do not take more memory because of them."""
        recent = RecentSpans(30_000)
        pages = QueryPages(GRID, recent)
        SERVER.fill(pages, 0, 900)
        size = pages.size

        def slices(first: int) -> int:
            """Return into how many slices the work of a response is divided."""
            assembly = Assembly(pages.view(first, 900), [], gzip=False)
            return next(count for count in itertools.count(1) if assembly.work())

        self.patch(assembly_module, "SLICE_US", 0)
        new = slices(0)
        self.assertGreater(recent.size, len(SERVER.body(0, 900)) - 200)
        for first in (0, 1, 0, 2):
            slices(first)
        self.assertEqual([slices(first) < new for first in (2, 0, 1)], [True, True, False])
        self.assertLess(recent.size, 30_000)
        self.assertEqual(pages.size, size)
        recent.clear()
        self.assertEqual((recent.size, slices(2)), (0, new))

    def test_large_texts_are_not_kept(self) -> None:
        """They would take several times the memory of the pages."""
        server = Answers(GRID, tuple(Line({"a": str(n)}, dict.fromkeys(range(700), b'"1"')) for n in range(90)))
        recent = RecentSpans(4 * 1024 * 1024)
        pages = QueryPages(GRID, recent)
        server.fill(pages, 0, 600)
        self.assertEqual(assembled(pages.view(0, 600)), server.body(0, 600))
        self.assertEqual(recent.size, 0)
