"""When a backend is out of service, and when it is back."""

from __future__ import annotations

import itertools
import random

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Backend, Observation, Standing
from mpp.selection.outliers import ejection
from mpp.selection.outliers.ejection import FOLLOW_UP_S, FORGIVEN_AFTER_S, MAX_EJECTION_S, ejection_time
from mpp.selection.outliers.record import BackendRecord

VIABLE, BUSY, SUSPECT, NOT_READY, DOWN = Standing
A = Backend("http", "prom-a", 9090)


class Story:
    """What happens to one backend, one after the other; the time is seconds since it was first seen."""

    def __init__(self) -> None:
        self.now = 0.0
        self.record = BackendRecord()
        self.spare = True

    def later(self, seconds: float) -> Story:
        """Let time pass."""
        self.now += seconds
        return self

    def failed(self, standing: Standing = SUSPECT, why: str = "reset") -> Story:
        """Let a request fail."""
        self.record = ejection.failed(self.record, standing, why, self.now, spare=self.spare)
        return self

    def answered(self) -> Story:
        """Let a request be answered."""
        self.record = ejection.answered(self.record)
        return self

    def other_answered(self) -> Story:
        """Let another backend answer a request."""
        self.record = ejection.other_answered(self.record)
        return self

    def probed(self, standing: Standing = VIABLE, why: str = "", *, missed: int = 0) -> Story:
        """Let a probe end; ``missed`` requests have failed since it began."""
        reports = self.record.reports - missed
        self.record = ejection.observed(self.record, standing, why, self.now, reports=reports, spare=self.spare)
        return self

    def follow_up(self, standing: Standing = VIABLE) -> Story:
        """Wait until a probe is due, and let it end at once."""
        assert self.record.due is not None
        self.now = max(self.now, self.record.due)
        return self.probed(standing)

    @property
    def is_in(self) -> bool:
        """Tell whether it is in service."""
        return self.record.absence is None

    @property
    def shown(self) -> tuple[Standing, str]:
        """Return what is published after a probe that found it well."""
        observation = ejection.shown(self.record, Observation(A, VIABLE), 7.0)
        return observation.standing, observation.why

    def fell(self) -> Story:
        """Let it be ejected by hard evidence."""
        return self.failed(DOWN, "refused")

    def out_for(self) -> float:
        """Let it be ejected and be well at once; give how long it stays out."""
        began = self.fell().now
        while not self.is_in:
            self.follow_up()
        return self.now - began


def admitted() -> Story:
    """Begin with a backend that is in service."""
    return Story().probed()


class SoftEvidenceTests(SynchronousTestCase):
    """Requests that fail, one by one."""

    def test_third_in_a_row_ejects(self) -> None:
        """The third request in a row that fails ejects the server, when another one answers meanwhile."""
        story = admitted().failed().other_answered().failed()
        self.assertTrue(story.is_in)
        story.failed(why="closed")
        self.assertEqual(story.shown, (SUSPECT, "3 requests in a row failed, the last: closed"))

    def test_answer_in_between(self) -> None:
        """A server that answers every third request stays in service."""
        story = admitted()
        for _ in range(20):
            story.failed().other_answered().failed().answered()
        self.assertTrue(story.is_in)
        self.assertEqual(story.record.failures, 0)

    def test_good_probes_do_not_help(self) -> None:
        """A server that answers probes well and spoils requests is ejected all the same."""
        story = admitted().failed().other_answered().probed().failed().probed().failed()
        self.assertFalse(story.is_in)

    def test_requests_that_fail_everywhere(self) -> None:
        """While nobody answers, the requests may be the fault: nobody is ejected; from the next answer elsewhere on it counts."""
        story = admitted()
        for _ in range(20):
            story.failed()
        self.assertTrue(story.is_in)
        self.assertFalse(story.other_answered().failed().is_in)

    def test_last_one_stays(self) -> None:
        """The last usable server is not ejected for failures; it is, when they go on and another one has come back."""
        story = admitted()
        story.spare = False
        story.failed().other_answered().failed().failed().failed()
        self.assertTrue(story.is_in)
        story.spare = True
        self.assertFalse(story.failed().is_in)

    def test_old_failures_do_not_count(self) -> None:
        """Failures of a server that is hardly asked do not add up over hours."""
        story = admitted()
        for _ in range(10):
            story.failed().other_answered().later(FORGIVEN_AFTER_S + 1)
        self.assertTrue(story.is_in)

    def test_failure_is_followed_by_a_probe(self) -> None:
        """A failure has the server probed soon, once for many; a probe that began earlier does not count for that."""
        story = admitted().later(10).failed().failed()
        self.assertEqual(story.record.due, 10 + FOLLOW_UP_S)
        story.later(0.1).probed(missed=1)
        self.assertEqual(story.record.due, 10.1 + FOLLOW_UP_S)
        self.assertIsNone(story.follow_up().record.due)


class HardEvidenceTests(SynchronousTestCase):
    """Failures that leave no doubt."""

    def test_ejected_at_once(self) -> None:
        """A request that found a server down, or not ready, ejects it, even the last one."""
        for standing in (NOT_READY, DOWN):
            story = admitted()
            story.spare = False
            self.assertEqual(story.failed(standing, "gone").shown, (standing, "gone"))

    def test_probe_ejects(self) -> None:
        """A probe that finds a server not ready or down ejects it; one that finds it busy, or fails itself, does not."""
        for standing, stays in [(VIABLE, True), (BUSY, True), (SUSPECT, True), (NOT_READY, False), (DOWN, False)]:
            self.assertIs(admitted().probed(standing).is_in, stays, standing)

    def test_worst_is_shown(self) -> None:
        """While it is out, a report makes its standing worse or leaves it; a probe tells what it is now."""
        story = admitted().failed(NOT_READY, "503").failed(SUSPECT, "reset")
        self.assertEqual(story.shown, (NOT_READY, "503"))
        self.assertEqual(story.failed(DOWN, "refused").shown, (DOWN, "refused"))
        self.assertEqual(story.probed(NOT_READY, "replaying").shown, (NOT_READY, "replaying"))


class ReturnTests(SynchronousTestCase):
    """Good probes, and how many it takes; see Note [Enough good probes]."""

    def test_probes_after_an_ejection_lead_to_a_return(self) -> None:
        """Probes after an ejection: how it ends, after each sequence."""
        for ejected_by, probes, back in [
            (DOWN, [VIABLE], False),
            (DOWN, [VIABLE, VIABLE], True),
            (DOWN, [VIABLE, BUSY], True),
            (DOWN, [BUSY, BUSY], True),
            (DOWN, [VIABLE, DOWN, VIABLE], False),
            (DOWN, [VIABLE, SUSPECT, VIABLE], False),
            (DOWN, [VIABLE, DOWN, VIABLE, VIABLE], True),
            (DOWN, [DOWN, DOWN, VIABLE, VIABLE], True),
            (NOT_READY, [VIABLE], False),
            (NOT_READY, [VIABLE, VIABLE], True),
            (DOWN, [NOT_READY, VIABLE], True),
            (DOWN, [NOT_READY, DOWN, VIABLE], False),
            (NOT_READY, [NOT_READY, VIABLE], True),
        ]:
            with self.subTest(ejected_by=ejected_by, probes=probes):
                story = admitted().later(1).failed(ejected_by)
                for standing in probes:
                    story.follow_up(standing)
                self.assertIs(story.is_in, back)

    def test_what_a_probe_saw(self) -> None:
        """A server that told a probe it was not ready needs one good probe, one that did not answer a probe two."""
        self.assertTrue(admitted().probed(NOT_READY).follow_up().is_in)
        self.assertFalse(admitted().probed(DOWN).follow_up().is_in)
        self.assertFalse(admitted().probed(NOT_READY).failed().follow_up().is_in)

    def test_older_probe_does_not_count(self) -> None:
        """A good probe that began before the last failure brings nobody nearer."""
        story = admitted().fell().probed(missed=1).probed(missed=1).probed()
        self.assertFalse(story.is_in)
        story.failed().probed(missed=1)
        self.assertFalse(story.probed().is_in)
        self.assertTrue(story.probed().is_in)

    def test_failure_on_the_way_back(self) -> None:
        """A request that fails while the server is out resets the count of good probes."""
        story = admitted().fell().probed().failed().probed()
        self.assertFalse(story.is_in)
        self.assertTrue(story.probed().is_in)

    def test_on_the_way_back(self) -> None:
        """A server on its way back ranks before those of which nothing good is known, and says how far it is."""
        story = admitted().fell().probed()
        self.assertEqual(story.shown, (SUSPECT, "1 of 2 good probes since: refused"))
        self.assertEqual(story.probed().shown, (VIABLE, ""))

    def test_new_backend(self) -> None:
        """A new server is in service after one good probe; one that is not well at first was never ejected."""
        self.assertTrue(Story().probed().is_in)
        for standing in (NOT_READY, DOWN):
            story = Story().probed(standing)
            self.assertEqual((story.is_in, story.record.ejected, story.record.ejections), (False, False, 0))
            self.assertEqual(ejection.shown(story.record, Observation(A, standing), 7.0).ejected_at, 0.0)
            while not story.is_in:
                story.follow_up()
            self.assertLess(story.now, 1.0)
            self.assertTrue(story.record.admitted)

    def test_returns_are_counted(self) -> None:
        """Each return into service is counted in what is published, so that others see that there was one."""
        story = admitted()
        for expected in (0, 1, 2):
            self.assertEqual(ejection.shown(story.record, Observation(A, VIABLE), 7.0).returns, expected)
            story.later(FORGIVEN_AFTER_S).out_for()

    def test_shown_since(self) -> None:
        """What is published tells since when a server is ejected, and does not any more when it is back."""
        story = admitted().fell()
        out = ejection.shown(story.record, Observation(A, VIABLE), 7.0)
        self.assertEqual(out.ejected_at, 7.0)
        self.assertEqual(ejection.shown(story.probed().probed().record, out, 7.0).ejected_at, 0.0)


class FollowUpTests(SynchronousTestCase):
    """When the next probe is due; see Note [Follow-ups]."""

    def test_distances_grow(self) -> None:
        """Probes of a server that stays away follow at once at first, then at a quarter of the time it has been away."""
        story = admitted().fell()
        times = [story.follow_up(DOWN).now for _ in range(60)]
        self.assertEqual(times[:5], [0.25, 0.5, 0.75, 1.0, 1.25])
        for before, after in itertools.pairwise(times):
            self.assertAlmostEqual(after - before, max(FOLLOW_UP_S, before / 4))
        self.assertGreater(times[-1], 3600)

    def test_return_is_seen_soon(self) -> None:
        """However long a server was away, its return is seen after a quarter of that time at the latest, and half a second."""
        for away in (0.1, 0.9, 5.0, 30.0, 600.0):
            story = admitted().fell()
            while not story.is_in:
                assert story.record.due is not None
                story.follow_up(VIABLE if story.record.due > away else DOWN)
            self.assertLessEqual(story.now - away, away / 4 + 2 * FOLLOW_UP_S)

    def test_nothing_is_due_when_all_is_well(self) -> None:
        """A server in service is probed by the rounds alone, and they leave its record as it is."""
        story = admitted()
        before = story.record
        self.assertIsNone(before.due)
        self.assertIs(story.later(10).probed().record, before)
        self.assertIs(story.answered().other_answered().record, before)


class FlappingTests(SynchronousTestCase):
    """Servers that come and go; see Note [Flapping]."""

    def test_ejection_time_doubles_up_to_a_limit(self) -> None:
        """The shortest time out is none at first, then doubles up to a limit."""
        self.assertEqual([ejection_time(n) for n in range(10)], [0, 0, 1, 2, 4, 8, 16, 32, 60, 60])
        self.assertEqual(ejection_time(10_000), MAX_EJECTION_S)

    def test_stays_out_longer_each_time(self) -> None:
        """A server that is ejected again and again while it answers every probe well stays out longer each time."""
        story = admitted()
        out = [story.later(1).out_for() for _ in range(9)]
        self.assertEqual(out, [0.5, 1, 2, 4, 8, 16, 32, 60, 60])

    def test_says_so(self) -> None:
        """A server that is kept out although it is well says why."""
        story = admitted()
        story.out_for()
        story.out_for()
        story.fell().probed().probed()
        self.assertEqual(story.shown, (SUSPECT, "healthy again, but ejected 3 times lately, so its return is delayed: refused"))

    def test_must_be_well_at_the_end(self) -> None:
        """The time out alone brings nobody back: the probe at its end has to be good, and it comes at its end."""
        story = admitted()
        for _ in range(3):
            story.out_for()
        began = story.fell().now
        story.follow_up().follow_up()
        self.assertEqual(story.record.due, began + 4)
        story.follow_up(DOWN)
        self.assertFalse(story.follow_up().is_in)
        self.assertTrue(story.follow_up().is_in)

    def test_nobody_else_is_left(self) -> None:
        """Who is well is not kept out while nobody else is in service."""
        story = admitted()
        for _ in range(5):
            story.out_for()
        story.spare = False
        self.assertEqual(story.out_for(), 0.5)

    def test_two_good_minutes_forgive_one_ejection(self) -> None:
        """Two minutes of being well make good one ejection, long enough make good all."""
        story = admitted()
        for _ in range(6):
            story.out_for()
        self.assertEqual(story.later(2 * FORGIVEN_AFTER_S).out_for(), 8)
        self.assertEqual(story.later(10 * FORGIVEN_AFTER_S).out_for(), 0.5)


class AnyStoryTests(SynchronousTestCase):
    """What is true whatever happens."""

    def test_any_order_of_events(self) -> None:
        """Whatever happens in whatever order: a probe is due while a server is out, and good ones bring it back within bounds."""
        dice = random.Random(4)
        for _ in range(300):
            story = Story()
            for _ in range(dice.randrange(60)):
                self.happen(story, dice)
                self.check(story)
            story.answered()
            bound = story.now + MAX_EJECTION_S + 4 * FOLLOW_UP_S + max(FOLLOW_UP_S, story.now / 4)
            while not story.is_in:
                story.follow_up()
            self.assertLessEqual(story.now, bound)

    def happen(self, story: Story, dice: random.Random) -> None:
        """Let anything happen."""
        story.later(dice.choice([0, 0.01, 0.3, 5.0]))
        story.spare = dice.random() < 0.7
        match dice.randrange(5):
            case 0:
                story.failed(dice.choice([SUSPECT, SUSPECT, NOT_READY, DOWN]))
            case 1:
                story.answered()
            case 2:
                story.other_answered()
            case _:
                story.probed(dice.choice(list(Standing)), missed=min(dice.choice([0, 0, 1]), story.record.reports))

    def check(self, story: Story) -> None:
        """Check what always holds."""
        record, absence = story.record, story.record.absence
        if absence is None:
            self.assertEqual(story.shown, (VIABLE, ""))
            return
        assert record.due is not None
        self.assertGreaterEqual(absence.standing, SUSPECT)
        self.assertLessEqual(record.due - story.now, max(MAX_EJECTION_S, FOLLOW_UP_S + story.now / 4))
        self.assertLessEqual(absence.until - absence.since, MAX_EJECTION_S)
        self.assertEqual(record.failures, 0)
        self.assertTrue(story.shown[1] or not absence.why)
