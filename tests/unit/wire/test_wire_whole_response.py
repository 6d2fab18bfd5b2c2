"""Tests of responses that are complete in memory, and of what their bodies count to the memory budget."""

from __future__ import annotations

import gc
import weakref

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.scheduling.turns import Turns
from mpp.wire.whole_response import WholeResponse, copies, counted_for


class Piece(bytearray):
    """A piece of a body that a test can watch."""


class CountedTests(SynchronousTestCase):
    """The bodies of the parts of a response that is made of several."""

    def setUp(self) -> None:
        # Nothing here may need the garbage collector.
        gc.disable()
        self.addCleanup(gc.enable)
        self.released: list[str] = []

    def part(self, name: str, size: int = 1000) -> tuple[WholeResponse, weakref.ref[Piece]]:
        """Return a response, and whether its body is alive."""
        piece = Piece(size)
        return WholeResponse(200, b"OK", (), [piece], released=lambda: self.released.append(name)), weakref.ref(piece)

    def test_bodies_are_free_at_once(self) -> None:
        """The new body alone is in memory, and counts as long as it is."""
        made = [self.part(name) for name in "ab"]
        end = counted_for([response for response, _ in made], 2000)
        self.assertEqual([body() for _, body in made], [None, None])
        self.assertEqual(self.released, [])
        end()
        self.assertEqual(self.released, ["a", "b"])

    def test_small_new_body(self) -> None:
        """Parts beyond its size do not count any longer."""
        made = [self.part(name) for name in "abc"]
        counted_for([response for response, _ in made], 1500)
        self.assertEqual(self.released, ["c"])

    def test_copies(self) -> None:
        """The body is free when each copy is used up, however long the bytes count."""
        response, body = self.part("a")
        turns = Turns(Clock())
        first, second = copies(response, 2, turns)
        ends = [counted_for([each], 1000) for each in (first, second)]
        self.assertIsNone(body())
        ends[0]()
        self.assertEqual(self.released, [])
        ends[1]()
        self.assertEqual(self.released, ["a"])
