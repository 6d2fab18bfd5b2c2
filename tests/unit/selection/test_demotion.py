"""Taking a server out of the Selection without asking the strategy."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.facts import Lack
from mpp.core.model import Backend, Choice, Observation, Selection, Standing
from mpp.selection.outliers.demotion import demoted

A, B, C = (Backend("http", name, 9090) for name in ("prom-a", "prom-b", "prom-c"))
LACK = Lack(10, 80, 1000.0)
SEEN = (Observation(A, Standing.VIABLE, lack=LACK), Observation(B, Standing.VIABLE), Observation(C, Standing.VIABLE))
SELECTION = Selection(7, Choice((B,), (C, A)), SEEN, 5.0, (B,)).with_past(Choice((A, B), (C,)))


class DemotionTests(SynchronousTestCase):
    """Three servers; A lacks newest data, so B serves all requests, and A and B those for the past."""

    def test_next_backend_replaces_the_only_selected_one(self) -> None:
        """The next one takes the traffic of the only one, also when the backend is one of several for the past."""
        after = demoted(SELECTION, Observation(B, Standing.DOWN, "refused"))
        self.assertEqual((after.generation, after.changed_at, after.sticky), (7, 5.0, (B,)))
        self.assertEqual(after.choice, Choice((C,), (A, B)))
        self.assertEqual(after.observed[B].why, "refused")
        assert after.past is not None
        self.assertEqual(after.past.choice, Choice((A,), (C, B)))
        self.assertEqual((after.observed[A].lack, after.past.observed[A].lack), (LACK, None))

    def test_no_worse(self) -> None:
        """What is no worse than what is published changes nothing."""
        self.assertIs(demoted(SELECTION, Observation(B, Standing.VIABLE, took=3.0)), SELECTION)

    def test_not_known(self) -> None:
        """A backend that is not known is not added, and one without a place gets none."""
        stranger = Backend("http", "prom-d", 9090)
        self.assertIs(demoted(SELECTION, Observation(stranger, Standing.DOWN)), SELECTION)
        chosen = Selection(1, Choice((A,)), SEEN)
        self.assertEqual(demoted(chosen, Observation(B, Standing.DOWN)).choice, chosen.choice)
