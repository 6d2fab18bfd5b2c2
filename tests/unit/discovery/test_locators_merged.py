"""Several locators as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, FirstError
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mpp.core.errors import ConfigError, DiscoveryError, PartlyDiscovered
from mpp.core.interfaces import ILocator, IVerifiedLocator
from mpp.core.model import Backend, DiscoveredBackend
from mpp.discovery.locator_status import HOLD_S, LocatorStatus
from mpp.discovery.merged import FIRST_WAIT_S, LOOK_UP_TIMEOUT_S, VERIFY_TIMEOUT_S, WAIT_S, MergedLocator
from tests.logged import logged

A, B, C = (DiscoveredBackend(Backend("http", name, 9090)) for name in ("prom-a", "prom-b", "prom-c"))


class Quiet:
    """A source that cannot be watched."""

    changed: Callable[[], None] | None = None
    sought = "targets somewhere"
    explicit = False

    def start(self, changed: Callable[[], None]) -> None:
        self.changed = changed

    def stop(self) -> None:
        self.changed = None


@implementer(ILocator)
class HeldLocator(Quiet):
    """A locator whose Deferreds the test holds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[Deferred[tuple[DiscoveredBackend, ...]]] = []

    def locate(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
        self.asked.append(Deferred())
        return self.asked[-1]


@implementer(IVerifiedLocator)
class VerifiedLocator(HeldLocator):
    """A locator whose source has its own opinion."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.verifying: Deferred[None] = Deferred()

    def verify(self) -> Deferred[None]:
        return self.verifying


@implementer(ILocator)
class BrokenLocator(Quiet):
    """A locator with a bug."""

    name = "broken"

    def locate(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
        raise ZeroDivisionError("a bug")


class VerifyTests(SynchronousTestCase):
    """What sources say of the configuration."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.first, self.second = VerifiedLocator("first"), VerifiedLocator("second")
        merged = MergedLocator([HeldLocator("silent"), self.first, self.second], self.clock, failed=lambda name: None)
        self.verified = merged.verify()

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_every_locator_verifies(self) -> None:
        """All that can tell are asked; there is nothing to say when none of them refuses."""
        self.first.verifying.callback(None)
        self.assertNoResult(self.verified)
        self.second.verifying.callback(None)
        self.assertIsNone(self.successResultOf(self.verified))

    def test_rejection_is_reported_at_once(self) -> None:
        """A refusal is told at once, in the words of who refuses."""
        error = ConfigError("--selector", "refused")
        self.second.verifying.errback(error)
        self.assertIs(self.failureResultOf(self.verified, ConfigError).value, error)
        self.first.verifying.callback(None)

    def test_slow_locator_rejects_nothing(self) -> None:
        """Who does not answer soon refuses nothing."""
        self.first.verifying.callback(None)
        self.clock.advance(VERIFY_TIMEOUT_S)
        self.assertIsNone(self.successResultOf(self.verified))

    def test_bug_rejects_nothing_and_is_logged(self) -> None:
        """A bug refuses nothing, and is logged."""
        self.first.verifying.errback(ZeroDivisionError())
        self.second.verifying.callback(None)
        self.assertIsNone(self.successResultOf(self.verified))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_verification_can_be_cancelled(self) -> None:
        """Who asks may give up."""
        self.verified.cancel()
        self.failureResultOf(self.verified, CancelledError)


class MergedLocatorTests(SynchronousTestCase):
    """What all locators give together."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.failed: list[str] = []
        self.first, self.second = HeldLocator("first"), HeldLocator("second")
        self.merged = MergedLocator([self.first, self.second], self.clock, failed=self.failed.append)

    def test_merged_in_order(self) -> None:
        """All locators are asked at once; their lists are joined in their order, each backend once."""
        located = self.merged.locate()
        self.second.asked[0].callback((C, A))
        self.assertNoResult(located)
        self.first.asked[0].callback((B, A))
        self.assertEqual(self.successResultOf(located), (B, A, C))

    def test_result_that_makes_no_sense(self) -> None:
        """A locator with a bug holds up no round, and is asked again in the next one."""
        nonsense: tuple[Any, ...] = (7, (7,))
        for number, result in enumerate(nonsense):
            located = self.merged.locate()
            self.first.asked[number].callback(result)
            self.second.asked[number].callback((A,))
            self.assertEqual(self.successResultOf(located), (A,))
            self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        located = self.merged.locate()
        self.first.asked[2].callback((B,))
        self.second.asked[2].callback((A,))
        self.assertEqual(self.successResultOf(located), (B, A))

    def test_ready_if_anybody_says_so(self) -> None:
        """A backend that one source holds to be ready and another one not is ready."""
        located = self.merged.locate()
        self.first.asked[0].callback(
            (DiscoveredBackend(A.backend, "pod not ready"), DiscoveredBackend(B.backend, "pod not ready"))
        )
        self.second.asked[0].callback((A,))
        self.assertEqual(self.successResultOf(located), (A, DiscoveredBackend(B.backend, "pod not ready")))

    def test_all_are_watched(self) -> None:
        """A change in any source is heard of, until watching stops."""
        heard: list[str] = []
        self.merged.start(lambda: heard.append("changed"))
        for locator in (self.first, self.second):
            assert locator.changed is not None
            locator.changed()
        self.merged.stop()
        self.assertEqual((heard, self.first.changed, self.second.changed), (["changed"] * 2, None, None))

    def test_failed_locator_keeps_its_list(self) -> None:
        """A locator that fails keeps its last good list, is counted, and visible."""
        located = self.merged.locate()
        self.first.asked[0].callback((A,))
        self.second.asked[0].callback((B,))
        self.successResultOf(located)
        for errors in (1, 2):
            located = self.merged.locate()
            self.first.asked[-1].errback(DiscoveryError("gone"))
            self.second.asked[-1].callback((C,))
            self.assertEqual(self.successResultOf(located), (A, C))
            self.assertEqual(
                self.merged.sources,
                (LocatorStatus("first", (A,), "gone", errors, True), LocatorStatus("second", (C,), read=True)),
            )
        self.assertEqual([s.up for s in self.merged.sources], [False, True])
        self.assertEqual(self.failed, ["first", "first"])

    def test_partly_failed_locator(self) -> None:
        """A locator of which a part fails is not up, and what it knows nevertheless counts."""
        located = self.merged.locate()
        self.first.asked[0].errback(PartlyDiscovered("b.json is broken", (A, B)))
        self.second.asked[0].callback((C,))
        self.assertEqual(self.successResultOf(located), (A, B, C))
        self.assertEqual((self.merged.sources[0].up, self.failed), (False, ["first"]))

    def test_locator_recovers(self) -> None:
        """A locator that works again is up, and its new list counts."""
        for result in (DiscoveryError("gone"), None):
            located = self.merged.locate()
            self.second.asked[-1].callback(())
            if result is not None:
                self.first.asked[-1].errback(result)
            else:
                self.first.asked[-1].callback((B,))
        self.assertEqual(self.successResultOf(located), (B,))
        self.assertEqual(self.merged.sources[0], LocatorStatus("first", (B,), "", 1, True))

    def read(self, *, first: tuple[DiscoveredBackend, ...], second: tuple[DiscoveredBackend, ...]) -> None:
        """Make a round in which both locators answer."""
        located = self.merged.locate()
        self.first.asked[-1].callback(first)
        self.second.asked[-1].callback(second)
        self.successResultOf(located)

    def test_slow_locator_is_not_waited_for(self) -> None:
        """A round waits briefly for a slow source, the next ones not at all; its late list counts at once."""
        changes: list[str] = []
        self.read(first=(A,), second=(B,))
        self.merged.start(lambda: changes.append("changed"))
        located = self.merged.locate()
        self.second.asked[-1].callback((B,))
        self.assertNoResult(located)
        self.clock.advance(WAIT_S)
        self.assertEqual(self.successResultOf(located), (A, B))
        located = self.merged.locate()
        self.second.asked[-1].callback((B,))
        self.assertEqual(self.successResultOf(located), (A, B))
        self.assertEqual((len(self.first.asked), changes, self.failed), (2, [], []))
        self.first.asked[-1].callback((C,))
        self.assertEqual((changes, self.merged.sources[0].discovered), (["changed"], (C,)))
        self.clock.advance(2 * LOOK_UP_TIMEOUT_S)
        self.assertEqual((self.clock.getDelayedCalls(), self.merged.sources[0].problem), ([], ""))

    def test_late_list_without_news(self) -> None:
        """A late list that is the same as before hastens nothing: a slow source would keep rounds going for ever."""
        changes: list[str] = []
        self.read(first=(A,), second=(B,))
        self.merged.start(lambda: changes.append("changed"))
        self.merged.locate()
        self.clock.advance(WAIT_S)
        self.first.asked[-1].callback((A,))
        self.assertEqual(changes, [])

    def test_unknown_source_is_waited_for_longer(self) -> None:
        """The first round waits longer, since it may know no backend otherwise, and the log tells what is missing."""
        lines = logged(self, formatEvent)  # type: ignore[arg-type]
        located = self.merged.locate()
        self.second.asked[0].callback((B,))
        self.clock.advance(FIRST_WAIT_S - 0.1)
        self.assertNoResult(located)
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(located), (B,))
        on = "the round goes on without it, its look-up continues for up to 60 s"
        self.assertEqual(lines, [f"locator first has not responded within 3 s; {on}"])
        self.merged.stop()

    def test_hanging_locator(self) -> None:
        """A source that does not answer at all has failed after a minute, and is asked again in the next round."""
        located = self.merged.locate()
        self.second.asked[0].callback((B,))
        self.clock.pump([FIRST_WAIT_S, LOOK_UP_TIMEOUT_S - FIRST_WAIT_S])
        self.assertEqual(self.successResultOf(located), (B,))
        self.assertEqual(self.merged.sources[0].problem, "no response within 60 s")
        self.assertEqual((self.clock.getDelayedCalls(), self.failed), ([], ["first"]))
        self.merged.locate()
        self.assertEqual(len(self.first.asked), 2)
        self.merged.stop()

    def test_stopping_ends_all_lookups_without_a_failure(self) -> None:
        """Stopping ends all look-ups, and counts as no failure."""
        self.merged.locate().addErrback(lambda _: None)
        self.clock.advance(FIRST_WAIT_S)
        self.merged.stop()
        self.assertTrue(self.first.asked[0].called and self.second.asked[0].called)
        self.assertEqual((self.failed, self.clock.getDelayedCalls()), ([], []))

    def test_bug_in_a_locator(self) -> None:
        """A bug in one locator is logged once, and the others count."""
        merged = MergedLocator([BrokenLocator(), self.second], self.clock, failed=self.failed.append)
        for _ in range(2):
            located = merged.locate()
            self.second.asked[-1].callback((B,))
            self.assertEqual(self.successResultOf(located), (B,))
        self.assertEqual(merged.sources[0].problem, "bug in the locator: ZeroDivisionError: a bug")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_cancelling_counts_as_no_failure(self) -> None:
        """Cancelling ends the wait, and counts as no failure; the look-ups go on until they are stopped."""
        located = self.merged.locate()
        located.cancel()
        self.failureResultOf(located, FirstError).value.subFailure.trap(CancelledError)
        self.first.asked[0].callback((A,))
        self.assertEqual((self.failed, self.merged.sources[0].discovered), ([], (A,)))
        self.merged.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_locators(self) -> None:
        """Without locators there are no backends."""
        self.assertEqual(self.successResultOf(MergedLocator([], self.clock, failed=self.failed.append).locate()), ())


class ReplaceTests(SynchronousTestCase):
    """Other locators than before."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.first, self.second, self.third = (HeldLocator(name) for name in ("first", "second", "third"))
        self.merged = MergedLocator([self.first, self.second], self.clock, failed=lambda name: None)
        self.merged.start(lambda: None)
        self.listed((self.first, (A,)), (self.second, (B,)))

    def listed(self, *answers: tuple[HeldLocator, tuple[DiscoveredBackend, ...] | Exception]) -> tuple[DiscoveredBackend, ...]:
        """Make a round, and give what comes of it."""
        located = self.merged.locate()
        for locator, answer in answers:
            if isinstance(answer, Exception):
                locator.asked[-1].errback(answer)
            else:
                locator.asked[-1].callback(answer)
        found: tuple[DiscoveredBackend, ...] = self.successResultOf(located)
        return found

    def test_kept_and_gone(self) -> None:
        """Who stays keeps what is known of it, who goes is stopped, who comes is started."""
        self.merged.replace([self.third, self.first])
        self.assertEqual([source.name for source in self.merged.sources], ["third", "first"])
        self.assertEqual(self.merged.sources[1].discovered, (A,))
        self.assertIsNone(self.second.changed)
        self.assertIsNotNone(self.third.changed)
        self.assertEqual(self.listed((self.third, (C,)), (self.first, (A,))), (C, A))

    def test_kept_under_another_name(self) -> None:
        """A locator that stays and gets another number keeps what is known of it, under its new name."""
        self.listed((self.first, DiscoveryError("down")), (self.second, (B,)))
        self.first.name = "first-1"
        self.merged.replace([self.first])
        self.assertEqual(self.merged.sources, (LocatorStatus("first-1", (A,), "down", 1, True),))

    def test_taken_away(self) -> None:
        """What nobody lists any more goes at once when nothing has come in its place."""
        self.merged.replace([self.first])
        self.assertEqual(self.listed((self.first, (A,))), (A,))

    def test_source_that_is_down(self) -> None:
        """What was found before stays until each new source has answered once, and only so long."""
        self.merged.replace([self.third])
        self.assertEqual(self.listed((self.third, DiscoveryError("down"))), (A, B))
        self.merged.replace([self.third])
        self.assertEqual(self.listed((self.third, PartlyDiscovered("down", ()))), (A, B))
        self.assertEqual(self.listed((self.third, (C,))), (C,))
        self.assertEqual(self.listed((self.third, DiscoveryError("down"))), (C,))

    def test_source_that_was_down_before(self) -> None:
        """What is removed does not wait for a source that is configured as before, even if that one has never been read."""
        self.merged.replace([self.first, self.second, self.third])
        self.listed((self.first, (A,)), (self.second, (B,)), (self.third, DiscoveryError("down")))
        other = HeldLocator("second")
        self.merged.replace([self.first, other, self.third])
        answers = (self.first, (A,)), (self.third, DiscoveryError("down"))
        self.assertEqual(self.listed(*answers, (other, DiscoveryError("down"))), (A, B))
        self.assertEqual(self.listed(*answers, (other, (C,))), (A, C))

    def test_new_source_is_read_in_part(self) -> None:
        """A new source that can be read in part has responded: what it does not list goes, unless nothing would be left."""
        self.merged.replace([self.first, self.third])
        self.assertEqual(self.listed((self.first, (A,)), (self.third, PartlyDiscovered("no app", ()))), (A,))
        self.merged.replace([self.second])
        self.assertEqual(self.listed((self.second, PartlyDiscovered("no app", ()))), (A,))
        self.assertEqual(self.listed((self.second, DiscoveryError("down"))), (A,))
        self.assertEqual(self.listed((self.second, ())), ())

    def test_new_source_is_replaced_in_turn(self) -> None:
        """What waited for a new source that is removed again waits for the one in its place, or goes if there is none."""
        self.merged.replace([self.first, self.third])
        fourth = HeldLocator("fourth")
        self.merged.replace([self.first, fourth])
        self.assertEqual(self.listed((self.first, (A,)), (fourth, DiscoveryError("down"))), (A, B))
        self.merged.replace([self.first])
        self.assertEqual(self.listed((self.first, (A,))), (A,))

    def test_new_source_is_an_empty_list(self) -> None:
        """A written list that is empty when it is new is held like one that becomes empty: the removed servers stay a minute."""
        self.third.explicit = True
        self.merged.replace([self.first, self.third])
        for _ in range(2):
            self.assertEqual(self.listed((self.first, (A,)), (self.third, ())), (A, B))
            self.clock.advance(HOLD_S / 2)
        self.assertEqual(self.listed((self.first, (A,)), (self.third, ())), (A,))

    def test_empty_source_is_replaced(self) -> None:
        """The minute of the empty list of a source that is removed again does not count for the one in its place."""
        self.third.explicit = True
        fourth = HeldLocator("fourth")
        fourth.explicit = True
        self.merged.replace([self.third])
        self.assertEqual(self.listed((self.third, ())), (A, B))
        self.clock.advance(HOLD_S - 1)
        self.merged.replace([fourth])
        self.clock.advance(2)
        self.assertEqual(self.listed((fourth, ())), (A, B))
        self.clock.advance(HOLD_S)
        self.assertEqual(self.listed((fourth, ())), ())

    def test_new_source_is_an_empty_list_at_first(self) -> None:
        """The removed servers go when a new written list that was empty has servers."""
        self.third.explicit = True
        self.merged.replace([self.first, self.third])
        self.assertEqual(self.listed((self.first, (A,)), (self.third, ())), (A, B))
        self.assertEqual(self.listed((self.first, (A,)), (self.third, (C,))), (A, C))
        self.assertEqual(self.listed((self.first, (A,)), (self.third, (C,))), (A, C))

    def test_replaced_while_asked(self) -> None:
        """A look-up that is under way when its locator goes fails no round, and is not waited for in vain."""
        located = self.merged.locate()
        self.merged.replace([self.first, self.third])
        self.second.asked[-1].errback(CancelledError())
        self.first.asked[-1].callback((A, C))
        self.assertEqual(self.successResultOf(located), (A, C, B))
        self.assertEqual(self.listed((self.first, (A,)), (self.third, ())), (A,))

    def test_not_started(self) -> None:
        """Before the program runs nothing is started."""
        merged = MergedLocator([self.first], self.clock, failed=lambda name: None)
        merged.replace([self.third])
        self.assertIsNone(self.third.changed)


class EmptiedTests(SynchronousTestCase):
    """A source that lists nothing after it has listed backends."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.locator = HeldLocator("http-sd")
        self.locator.explicit = True
        self.merged = MergedLocator([self.locator], self.clock, failed=lambda name: None)
        self.assertEqual(self.ask(A), (A,))

    def ask(self, *answer: DiscoveredBackend) -> tuple[DiscoveredBackend, ...]:
        located = self.merged.locate()
        self.locator.asked[-1].callback(answer)
        return self.successResultOf(located)

    def test_last_list_stays_for_a_minute(self) -> None:
        """The last backends stay for a minute, with a problem to show; then the empty list is believed."""
        self.assertEqual(self.ask(), (A,))
        self.assertIn("lists no backends", self.merged.sources[0].problem)
        self.clock.advance(HOLD_S - 1)
        self.assertEqual(self.ask(), (A,))
        self.clock.advance(1)
        self.assertEqual(self.ask(), ())
        self.assertTrue(self.merged.sources[0].up)

    def test_what_is_not_written_is_believed(self) -> None:
        """An empty list of a source that nobody writes by hand counts at once; it is said what was looked for."""
        self.locator.explicit = False
        self.assertEqual(self.ask(), ())
        source = self.merged.sources[0]
        self.assertEqual((source.up, source.note), (True, "found no backends: it looked for targets somewhere"))
        self.ask(A)
        self.assertEqual(self.merged.sources[0].note, "")

    def test_never_found_anything(self) -> None:
        """A source in which nothing was ever found is no failure, and it is said once in the log what was looked for."""
        said = logged(self, lambda event: formatEvent(event))
        for explicit in (True, False):
            locator = HeldLocator("kubernetes")
            locator.explicit = explicit
            merged = MergedLocator([locator], self.clock, failed=self.fail)
            for _ in range(3):
                located = merged.locate()
                locator.asked[-1].callback(())
                self.assertEqual(self.successResultOf(located), ())
            self.assertIn("looked for targets somewhere", merged.sources[0].note)
            self.assertTrue(merged.sources[0].up)
        expected = "locator kubernetes found no backends: it looked for targets somewhere"
        self.assertEqual([line for line in said if "found no" in line], [expected] * 2)

    def test_time_counts_without_interruption(self) -> None:
        """A list with backends, or a failure, begins the minute anew."""
        self.ask()
        self.clock.advance(HOLD_S - 1)
        self.assertEqual(self.ask(B), (B,))
        self.assertTrue(self.merged.sources[0].up)
        self.assertEqual(self.ask(), (B,))
        self.clock.advance(HOLD_S - 1)
        failed = self.merged.locate()
        self.locator.asked[-1].errback(DiscoveryError("refused"))
        self.assertEqual(self.successResultOf(failed), (B,))
        self.clock.advance(1)
        self.assertEqual(self.ask(), (B,))

    def partly(self, *found: DiscoveredBackend) -> tuple[DiscoveredBackend, ...]:
        located = self.merged.locate()
        self.locator.asked[-1].errback(PartlyDiscovered("b.json is broken", found))
        return self.successResultOf(located)

    def test_broken_file_beside_an_empty_list(self) -> None:
        """An empty list is held for the same minute if a part of the source is broken; the status shows both problems."""
        self.partly(A)
        self.assertEqual(self.partly(), (A,))
        problem = self.merged.sources[0].problem
        self.assertTrue(problem.startswith("b.json is broken; the source lists no backends"), problem)
        self.clock.advance(HOLD_S - 1)
        self.assertEqual(self.partly(), (A,))
        self.clock.advance(1)
        self.assertEqual(self.partly(), ())
        self.assertEqual(self.merged.sources[0].problem, "b.json is broken")
        self.assertEqual(self.merged.sources[0].errors, 4)

    def test_file_breaks_and_is_mended_while_the_list_is_empty(self) -> None:
        """The minute goes on when a part of an empty source breaks or is mended, and begins anew when the list has backends."""
        self.ask()
        self.clock.advance(HOLD_S / 2)
        self.assertEqual(self.partly(), (A,))
        self.clock.advance(HOLD_S / 2)
        self.assertEqual(self.ask(), ())
        self.partly(A)
        self.partly()
        self.clock.advance(HOLD_S - 1)
        self.assertEqual(self.partly(B), (B,))
        self.clock.advance(1)
        self.assertEqual(self.partly(), (B,))

    def test_part_of_what_is_not_written_is_believed(self) -> None:
        """With every other source an empty list counts at once if a part of the source cannot be read, too."""
        self.locator.explicit = False
        self.assertEqual(self.partly(), ())
