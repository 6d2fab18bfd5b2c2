"""Backends that turn requests away: limited, or gone."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Backend, Observation, Standing
from mpp.selection.outliers import ejection
from mpp.selection.outliers.ejection import FOLLOW_UP_S
from mpp.selection.outliers.limiting import CHECK_EVERY_S, LIMITED_FOR_S, REFUSALS_WITHIN_S
from tests.unit.selection.test_ejection import Story, admitted

VIABLE, BUSY, SUSPECT, NOT_READY, DOWN = Standing
A = Backend("http", "prom-a", 9090)


def refused(story: Story, standing: Standing = NOT_READY) -> Story:
    """Let a probe, or a part of it, be turned away by something in front of the backend."""
    record = story.record
    story.record = ejection.observed(record, standing, "503", story.now, reports=record.reports, spare=True, turned_away=True)
    return story


def shown(story: Story, *, turned_away: bool = False) -> Observation:
    """Return what is published after a probe."""
    observation = Observation(A, NOT_READY if turned_away else VIABLE, "503" if turned_away else "", turned_away=turned_away)
    return ejection.shown(story.record, observation, 7.0)


class TurnedAwayTests(SynchronousTestCase):
    """Requests that were turned away."""

    def test_the_server_is_asked_at_once_and_then_once_a_second(self) -> None:
        """However many requests are turned away, there is one question, and the next one a second later."""
        story = admitted()
        began = story.now
        for _ in range(100):
            story.failed(BUSY)
        self.assertEqual(story.record.due, began)
        story.probed()
        self.assertIsNone(story.record.due)
        for _ in range(100):
            story.later(0.005).failed(BUSY)
        self.assertEqual(story.record.due, began + CHECK_EVERY_S)

    def test_they_never_eject_by_themselves(self) -> None:
        """A server that is ready is in service, however many requests its limiter turns away."""
        story = admitted()
        for _ in range(1000):
            story.later(0.01).failed(BUSY).other_answered().probed()
        self.assertTrue(story.is_in)

    def test_a_ready_server_is_shown_as_limited_for_a_while(self) -> None:
        """It is known that something in front of it limits it, until no request was turned away for ten seconds."""
        story = admitted()
        self.assertFalse(shown(story.failed(BUSY)).limited)
        self.assertTrue(shown(story.probed()).limited)
        self.assertTrue(shown(story.later(LIMITED_FOR_S).probed()).limited)
        self.assertFalse(shown(story.later(0.1).probed()).limited)

    def test_a_server_that_says_so_itself_is_out_at_once(self) -> None:
        """A request was turned away, and the server says that it is not ready, or does not answer."""
        for standing in (NOT_READY, DOWN):
            self.assertFalse(admitted().failed(BUSY).probed(standing).is_in)

    def test_other_reasons_to_ask_do_not_make_it_limited(self) -> None:
        """Refused credentials have it probed, and say nothing of a limiter."""
        story = admitted().failed(VIABLE)
        self.assertEqual(story.record.due, story.now)
        self.assertFalse(shown(story.probed()).limited)
        self.assertTrue(story.is_in)

    def test_who_is_out_stays_out(self) -> None:
        """Requests that are turned away make no difference to a server that is out of service already."""
        story = admitted().failed(DOWN)
        before = story.record
        self.assertEqual(story.failed(BUSY).record, before)


class RefusedProbeTests(SynchronousTestCase):
    """Probes that were turned away, too."""

    def test_one_is_no_proof(self) -> None:
        """A server stays in service as it was, and is asked once more."""
        story = refused(admitted())
        self.assertTrue(story.is_in)
        self.assertEqual(story.record.due, story.now + FOLLOW_UP_S)
        self.assertEqual(shown(story, turned_away=True).standing, VIABLE)

    def test_two_within_a_second_are(self) -> None:
        """A server of which something in front of it knows nothing any more is out after a quarter of a second."""
        story = refused(refused(admitted()).later(FOLLOW_UP_S))
        self.assertFalse(story.is_in)
        self.assertEqual(shown(story, turned_away=True).standing, NOT_READY)

    def test_not_if_anything_was_answered_in_between(self) -> None:
        """A limiter that turns both probes away lets some requests pass: the server is there."""
        story = refused(refused(admitted()).later(0.1).answered().later(0.15))
        self.assertTrue(story.is_in)
        self.assertTrue(refused(refused(admitted()).later(0.1).probed().later(0.15)).is_in)

    def test_probes_do_not_use_up_the_limit(self) -> None:
        """A server that answers requests and turns probe after probe away is not probed every quarter of a second for it."""
        story = refused(refused(admitted()).later(0.1).answered().later(0.15))
        self.assertIsNone(story.record.due)
        refused(story.later(10))
        self.assertEqual(story.record.due, story.now + FOLLOW_UP_S, "nothing was answered since")
        self.assertFalse(refused(story.later(FOLLOW_UP_S)).is_in)

    def test_not_if_they_are_close_together(self) -> None:
        """Two probes that meet the same full limiter are one sign; the one after a quarter of a second decides."""
        story = refused(refused(admitted()).later(0.03))
        self.assertTrue(story.is_in)
        self.assertEqual(shown(story, turned_away=True).standing, VIABLE)
        self.assertEqual(story.record.due, story.now + FOLLOW_UP_S)
        self.assertFalse(refused(story.later(FOLLOW_UP_S)).is_in)

    def test_not_if_they_are_far_apart(self) -> None:
        """A probe that was turned away long ago says nothing of now."""
        self.assertTrue(refused(refused(admitted()).later(REFUSALS_WITHIN_S + 0.1)).is_in)

    def test_a_part_of_a_probe_is_no_proof_either(self) -> None:
        """A server whose queries are all turned away is busy; while any is answered it stays what it was."""
        story = refused(admitted(), BUSY)
        self.assertEqual(shown(story, turned_away=True).standing, VIABLE)
        refused(story.later(FOLLOW_UP_S), BUSY)
        self.assertEqual((story.is_in, shown(story, turned_away=True).why), (True, "503"))
        refused(story.later(10), BUSY)
        self.assertEqual(shown(story, turned_away=True).why, "503", "it was believed before")
        refused(story.answered().later(10), BUSY)
        self.assertEqual(shown(story, turned_away=True).standing, VIABLE)
        self.assertIsNone(story.probed().record.limiting.refused_at)

    def test_a_new_backend_has_to_answer_first(self) -> None:
        """A backend that was never in service does not come into it by being turned away."""
        story = refused(Story())
        self.assertEqual((story.is_in, shown(story, turned_away=True).standing), (False, NOT_READY))
