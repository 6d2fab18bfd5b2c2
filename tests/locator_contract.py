"""
What every locator keeps to, whatever its source.

A locator's test module defines a `Source` for it and says ``class XContractTests(locator_tests(make_source)): ...``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mpp.core.errors import DiscoveryError
from mpp.core.interfaces import ILocator
from mpp.core.model import Backend, DiscoveredBackend


class Source(Protocol):
    """
    Where a locator looks, in the hands of a test. Everything is in memory or in a temporary directory: no wait is needed.

    :ivar locator: configured to look here; fresh.
    :ivar secrets: texts that the locator was told and must not tell.
    :ivar watched: the locator calls ``changed`` when the source changes.
    """

    locator: ILocator
    secrets: Sequence[str]
    watched: bool

    def have(self, *addresses: str) -> None:
        """Have the source list exactly these servers, ``10.0.0.1:9090`` in this order, and be in order."""

    def fail(self) -> None:
        """Have it fail, until ``have`` is called."""

    def leftovers(self) -> Sequence[object]:
        """Give what the locator still does: requests, connections in use, delayed calls, processes."""

    def settle(self) -> None:
        """Let happen what is due by now: deliver what the fake has written, advance a clock that the locator waits for."""


class HangingSource(Source, Protocol):
    """A source that can leave a look-up without an answer, as a file cannot."""

    def hang(self) -> None:
        """Have it not answer, until ``have`` is called."""


ONE, TWO, THREE = "10.0.0.1:9090", "10.0.0.2:9090", "10.0.0.3:9090"


def _backend(address: str) -> Backend:
    host, _, port = address.rpartition(":")
    return Backend("http", host, int(port))


def locator_tests(make_source: Callable[[SynchronousTestCase], HangingSource]) -> type[SynchronousTestCase]:
    """
    Give the test case that a locator must pass.

    :param make_source: called once for each test; may add cleanups to the case it gets.
    """

    class HangingLocatorTests(prompt_locator_tests(make_source)):  # type: ignore[misc]
        """What every locator keeps to whose source can hang."""

        def test_cancelled_lookup_leaves_nothing(self) -> None:
            """A look-up can be given up; nothing of it goes on, and the next one works."""
            self.source.hang()
            looked = self.look()
            self.assertNoResult(looked)
            looked.cancel()
            self.source.settle()
            self.failureResultOf(looked, CancelledError, DiscoveryError)
            self.assertEqual(list(self.source.leftovers()), [])
            self.source.have(ONE)
            self.assertEqual(self.located(), (_backend(ONE),))

        def test_stopped_while_looking(self) -> None:
            """Stopping ends a look-up that is under way."""
            self.source.hang()
            looked = self.look()
            self.assertNoResult(looked)
            self.locator.stop()
            self.source.settle()
            self.failureResultOf(looked, CancelledError, DiscoveryError)
            self.assertEqual(list(self.source.leftovers()), [])

    return HangingLocatorTests


def prompt_locator_tests(make_source: Callable[[SynchronousTestCase], Source]) -> type[SynchronousTestCase]:
    """Give the test case for a locator whose look-ups end before they return; see `locator_tests`."""

    class LocatorTests(SynchronousTestCase):
        """What every locator keeps to."""

        def setUp(self) -> None:
            self.told: list[str] = []
            globalLogPublisher.addObserver(self.hear)
            self.addCleanup(globalLogPublisher.removeObserver, self.hear)
            self.source = make_source(self)
            self.locator = self.source.locator
            self.addCleanup(self.locator.stop)

        def hear(self, event: dict[str, Any]) -> None:
            """Take note of all that is logged, the values that the text leaves out included."""
            self.told.append(f"{formatEvent(event)} {event}")

        def look(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
            """Begin a look-up, and let happen what needs no waiting."""
            looked = self.locator.locate()
            self.source.settle()
            return looked

        def located(self) -> tuple[Backend, ...]:
            """Give what is located now."""
            return tuple(each.backend for each in self.successResultOf(self.look()))

        def refused(self) -> str:
            """Give why nothing can be located now."""
            return str(self.failureResultOf(self.look(), DiscoveryError).value)

        def test_provides_the_interface(self) -> None:
            """It is a locator, with a name that can be a label."""
            self.assertTrue(verifyObject(ILocator, self.locator))
            self.assertRegex(self.locator.name, r"\A[a-z][a-z0-9_.:/-]*\Z")

        def test_says_what_it_looks_for(self) -> None:
            """After a look-up it can be said what was looked for, in case that nothing was found."""
            self.source.have(ONE)
            self.located()
            self.assertRegex(self.locator.sought, r"\A[^\n]{10,}\Z")

        def test_lists_in_order(self) -> None:
            """All servers of the source are listed, in its order."""
            self.source.have(TWO, THREE, ONE)
            self.assertEqual(self.located(), tuple(map(_backend, (TWO, THREE, ONE))))

        def test_unquestioned_servers_are_ready(self) -> None:
            """Servers that nothing is known against are listed as ready."""
            self.source.have(ONE)
            self.assertEqual(self.successResultOf(self.look()), (DiscoveredBackend(_backend(ONE)),))

        def test_each_once(self) -> None:
            """A server that the source lists twice is listed once."""
            self.source.have(ONE, TWO, ONE)
            self.assertEqual(self.located(), (_backend(ONE), _backend(TWO)))

        def test_each_lookup_returns_the_current_addresses(self) -> None:
            """Each look-up sees what was added, and what was removed."""
            for addresses in ((ONE,), (ONE, TWO, THREE), (THREE,)):
                self.source.have(*addresses)
                self.assertEqual(self.located(), tuple(map(_backend, addresses)))

        def test_failure_is_reported_in_one_line(self) -> None:
            """A source that cannot be read is told in one line; the list of before is not repeated as if it were fresh."""
            self.source.have(ONE)
            self.located()
            self.source.fail()
            self.assertRegex(self.refused(), r"\A[^\r\n]+\Z")

        def test_failure_at_first(self) -> None:
            """A source that cannot be read at the first look-up is a failure like any other, and leaves nothing behind."""
            self.source.fail()
            self.refused()
            self.assertEqual(list(self.source.leftovers()), [])

        def test_lookup_after_a_failure_succeeds(self) -> None:
            """When the source works again, so does the locator, without being told."""
            self.source.have(ONE)
            self.located()
            self.source.fail()
            self.refused()
            self.source.have(TWO)
            self.assertEqual(self.located(), (_backend(TWO),))

        def test_two_at_once(self) -> None:
            """Two look-ups that overlap both answer."""
            self.source.have(ONE, TWO)
            looked = [self.locator.locate() for _ in range(2)]
            self.source.settle()
            self.assertEqual(self.successResultOf(looked[0]), self.successResultOf(looked[1]))

        def test_nothing_left(self) -> None:
            """A finished look-up leaves nothing behind."""
            self.source.have(ONE)
            self.located()
            self.assertEqual(list(self.source.leftovers()), [])

        def test_watch_reports_changes(self) -> None:
            """Between start and stop, and only then, a change of a source that can be watched is told; a look-up then sees it."""
            changes: list[str] = []
            self.source.have(ONE)
            self.locator.start(lambda: changes.append("changed"))
            self.source.settle()
            self.located()
            del changes[:]
            self.source.have(ONE, TWO)
            self.source.settle()
            self.assertEqual(bool(changes), self.source.watched)
            self.assertEqual(self.located(), (_backend(ONE), _backend(TWO)))
            self.locator.stop()
            del changes[:]
            self.source.have(ONE)
            self.source.settle()
            self.assertEqual((changes, list(self.source.leftovers())), ([], []))

        def test_stop_is_harmless(self) -> None:
            """Stopping works without a start, and twice."""
            self.locator.stop()
            self.locator.stop()
            self.assertEqual(list(self.source.leftovers()), [])

        def test_no_secret_is_told(self) -> None:
            """No secret is in what the locator logs, in its errors or in its repr, in good times and in bad."""
            self.source.have(ONE)
            self.located()
            self.source.fail()
            told = [*self.told, repr(self.locator), str(self.locator), self.refused(), *self.told]
            for secret in self.source.secrets:
                self.assertNotIn(secret, "\n".join(told))

    return LocatorTests
