"""Which queries get an entry of the cache."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.cache.admission import SECOND_WITHIN_S, Admission

STEP = 15_000


class AdmissionTests(SynchronousTestCase):
    """The first and the second time of a query."""

    def setUp(self) -> None:
        """Begin without any memory."""
        self.clock = Clock()
        self.admission = Admission(self.clock, b"s" * 32)

    def admits(self, name: str, phase_ms: int, step_ms: int = STEP) -> bool:
        """Ask for a query once."""
        return self.admission.admits(name.encode(), step_ms, phase_ms)

    def test_aligned_at_once(self) -> None:
        """A range that starts at a multiple of the step is admitted the first time."""
        self.assertTrue(self.admits("a", 0))

    def test_others_the_second_time(self) -> None:
        """Another query is admitted if it is asked again within ten minutes."""
        self.assertFalse(self.admits("a", 1))
        self.assertFalse(self.admits("b", 2))
        self.clock.advance(SECOND_WITHIN_S)
        self.assertTrue(self.admits("a", 1))

    def test_too_late(self) -> None:
        """After ten minutes a query with an unusual offset counts as new."""
        for number in range(12):
            self.admits(f"usual {number}", 1000 + number % 4)
        self.assertFalse(self.admits("a", 1))
        self.clock.advance(SECOND_WITHIN_S + 1)
        self.assertFalse(self.admits("a", 1))
        self.assertTrue(self.admits("a", 1))

    def test_usual_phases(self) -> None:
        """New queries with one of the four most used offsets are admitted the first time, for the same step only."""
        for round_ in range(9):
            for phase in (1000, 2000, 3000, 4000):
                self.admits(f"{phase} {round_}", phase)
        self.admits("rare", 5000)
        self.assertTrue(all(self.admits(f"new {phase}", phase) for phase in (1000, 2000, 3000, 4000)))
        self.assertFalse(self.admits("rare again", 5000))
        self.assertFalse(self.admits("other step", 1000, 2 * STEP))

    def test_usual_phases_outlast_made_up_ones(self) -> None:
        """A client that makes up offsets does not make the used ones rare, if these are a tenth of all."""
        for number in range(20_000):
            self.admits(f"made up {number}", number % 14_000 + 1)
            if number % 9 == 0:
                self.admits(f"used {number}", 14_999)
        self.assertTrue(self.admits("new", 14_999))

    def test_former_phases_are_replaced(self) -> None:
        """An offset that is used now replaces those that were used in the past, however often."""
        for number in range(50_000):
            self.admits(f"past {number}", 1 + number % 4)
        self.assertFalse(self.admits("now", 9))
        for number in range(2_000):
            self.admits(f"now {number}", 9)
        self.assertTrue(self.admits("once more", 9))

    def test_a_flood_is_not_admitted(self) -> None:
        """Of a hundred thousand different queries, none is admitted by mistake."""
        self.assertEqual(sum(self.admits(f"flood {number}", 1 + number % 9_973) for number in range(100_000)), 0)

    def test_many_steps(self) -> None:
        """Clients can choose steps as they like: few are remembered."""
        for step in range(1, 5_000):
            self.admits(f"step {step}", 1, step + 1)
        self.assertLessEqual(len(self.admission._phases), 256)

    def test_hashes_differ_by_the_secret(self) -> None:
        """Two queries may share a place in the table, so that one replaces the other; which ones do depends on a secret."""
        queries = [b"query %d" % number for number in range(1000)]
        forgotten = []
        for secret in (b"a" * 32, b"b" * 32):
            admission = Admission(self.clock, secret)
            # Each has a phase of its own, so that none becomes a usual one.
            for phase_ms, query in enumerate(queries, 1):
                admission.admits(query, STEP, phase_ms)
            again = [admission.admits(query, STEP, phase_ms) for phase_ms, query in enumerate(queries, 1)]
            forgotten.append({query for query, admitted in zip(queries, again, strict=True) if not admitted})
        self.assertTrue(all(forgotten))
        self.assertNotEqual(*forgotten)
