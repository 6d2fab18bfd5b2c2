"""Requests while a server lacks newest data."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.facts import Lack
from mpp.core.model import Backend, Choice, Observation, Selection, Standing
from mpp.proxy.ticker import TICKS
from tests.forward_support import A, B, World
from tests.unit.app.test_workers import arrived
from tests.unit.proxy.test_forward import REFUSED

SINCE = 1_700_000_000.0
LACK = Lack(80, 80, SINCE, stopped=True)


def selection() -> Selection:
    """Return a Selection in which the first choice lacks newest data, so that the second one serves."""
    observations = (Observation(A, Standing.VIABLE, lack=LACK), Observation(B, Standing.VIABLE))
    return Selection(2, Choice((B,), (A,)), observations).with_past(Choice((A,), (B,)))


class LackTests(SynchronousTestCase):
    """The first choice lacks newest data."""

    def setUp(self) -> None:
        self.world = World()
        self.world.selections.current = selection()

    def asked(self) -> list[Backend]:
        """Return which backends were asked, in order."""
        return [each.backend for each in self.world.upstreams.sent]

    def test_where_requests_go(self) -> None:
        """What needs newest data goes to a server that has it; what is about the time before goes where it always went."""
        for query in ("query?query=up", "query?query=up&time=1700000001", "query_range?query=up&start=1&end=1700000001&step=15"):
            self.world.request(target=f"/api/v1/{query}".encode())
        self.world.request(b"POST", b"/api/v1/query")
        self.assertEqual(self.asked(), [B] * 4)
        self.world.request(target=b"/api/v1/query?query=up&time=1699999999")
        self.world.request(target=b"/api/v1/query_range?query=up&start=1&end=1700000000&step=15")
        self.assertEqual(self.asked()[4:], [A] * 2)

    def test_not_asked_beside_a_slow_one(self) -> None:
        """A server that lacks newest data is no stand-in for one that is only slow: it would be quick to find nothing."""
        self.world = World(hedge_after=1.0)
        self.world.selections.current = selection()
        self.world.request()
        self.world.clock.pump([0.25 / TICKS] * 100)
        self.assertEqual(self.asked(), [B])

    def test_asked_when_the_other_fails(self) -> None:
        """It is asked all the same when the other one fails: old data are better than none."""
        self.world.request()
        self.world.upstreams.sent[0].answer.errback(REFUSED)
        self.assertEqual(self.asked(), [B, A])

    def test_workers_know(self) -> None:
        """Lacks, and the choice for the past, reach the workers."""
        given = selection()
        there = arrived(given)
        self.assertEqual((there, there.lacks_since), (given, SINCE))
        self.assertEqual((there.lacks(A), there.lacks(B)), (True, False))
        whole = evolve(given, past=None, observations=tuple(evolve(o, lack=None) for o in given.observations))
        self.assertEqual(arrived(whole), whole)
