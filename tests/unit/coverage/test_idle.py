"""Which servers ingest nothing, by what they say of themselves."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.facts import Lack, ServerState
from mpp.coverage.idle import by_state
from tests.unit.coverage.test_coverage_lacks import FACTS, IDLE, NOW, A, B


class ByStateTests(SynchronousTestCase):
    """What the servers say of themselves, before the first survey."""

    def test_one_is_old(self) -> None:
        """A server whose newest sample is old lacks everything while another one's is not."""
        old = ServerState(read_at=NOW, newest=NOW - 1800)
        found = by_state({A: FACTS, B: old})
        self.assertEqual(found, {B: Lack(100, 100, NOW - 1800, stopped=True)})
        self.assertEqual(str(found[B]), "has scraped none of 100 targets since 21:43:20 UTC")

    def test_one_has_no_configuration(self) -> None:
        """A server without jobs lacks everything, since its newest sample, or since it was configured so."""
        self.assertEqual(by_state({A: FACTS, B: IDLE}), {B: Lack(100, 100, NOW - 10, stopped=True)})
        never = evolve(IDLE, newest=None, config_at=NOW - 5)
        self.assertEqual(by_state({A: FACTS, B: never}), {B: Lack(100, 100, NOW - 5, stopped=True)})
        self.assertEqual(by_state({A: IDLE, B: IDLE}), {})

    def test_other_clock(self) -> None:
        """The times of a server are by its own clock; what it lacks is by the clock of mpp."""
        ahead = evolve(IDLE, newest=NOW + 60 - 10, skew=60.0)
        self.assertEqual(by_state({A: FACTS, B: ahead}), {B: Lack(100, 100, NOW - 10, stopped=True)})
        never = evolve(ahead, newest=None, config_at=NOW + 60 - 5)
        self.assertEqual(by_state({A: FACTS, B: never}), {B: Lack(100, 100, NOW - 5, stopped=True)})

    def test_two_intervals(self) -> None:
        """Old is what is older than two scrape intervals and 15 s; a server without jobs is judged by those of the others."""
        for interval, age, jobs, old in (
            (2.0, 18, (), False),
            (2.0, 20, (), True),
            (15.0, 40, (), False),
            (15.0, 46, (), True),
            (15.0, 46, (("slow", 30.0),), False),
            # A job that is scraped seldom says nothing.
            (15.0, 46, (("node", 15.0), ("daily", 3600.0)), True),
        ):
            one = evolve(FACTS, jobs=(("node", interval),))
            other = ServerState(newest=NOW - age, read_at=NOW, jobs=jobs)
            self.assertEqual(list(by_state({A: one, B: other})), [B] if old else [], (interval, age, jobs))

    def test_all_are_old_or_unknown(self) -> None:
        """When all are old, or nothing is known of the others, none lacks anything."""
        old = ServerState(read_at=NOW, newest=NOW - 1800)
        self.assertEqual(by_state({A: old, B: old}), {})
        self.assertEqual(by_state({A: ServerState(), B: old}), {})
        self.assertEqual(by_state({A: FACTS, B: FACTS}), {})
