"""Addresses of host names, kept over outages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Backend
from mpp.core.scheduling.pacing import AT_ONCE
from mpp.wire.address_book import FIRST_WAIT_S, LOST_AFTER_S, REFRESH_WAIT_S, AddressBook
from tests.fake_resolver import HeldResolver
from tests.logged import logged

A, B = (Backend("http", name, 9090) for name in ("prom-a", "prom-b"))
LITERAL_4, LITERAL_6 = Backend("http", "10.0.0.9", 9090), Backend("http", "2001:db8::9", 9090)


def _about_host(event: Mapping[str, Any]) -> str:
    if "before" in event:
        return "move"
    return ("outage" if "problem" in event else "recovery") if "host" in event else ""


class AddressBookTests(SynchronousTestCase):
    """What is known of hosts."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.resolver = HeldResolver()
        self.moves: list[Any] = []
        self.book = AddressBook(self.resolver, self.clock, lambda *move: self.moves.append(move))
        self.logged = logged(self, _about_host)

    def know(self, *backends: Backend) -> None:
        """Have every host resolved to 10.0.0.1, 10.0.0.2, and so on."""
        refreshed = self.book.refresh(backends)
        for number in range(len(self.resolver.receivers)):
            self.resolver.answer(number, f"10.0.0.{number + 1}")
        self.successResultOf(refreshed)
        self.resolver.asked.clear()
        self.resolver.receivers.clear()

    def test_nothing_known_yet(self) -> None:
        """Before the first look-up a host name has no address; an IP literal is its own."""
        self.assertEqual([self.book.addresses(b) for b in (A, LITERAL_4, LITERAL_6)], [(), ("10.0.0.9",), ("2001:db8::9",)])

    def test_all_hosts_at_once(self) -> None:
        """All host names are looked up beside each other, each once, IP literals never."""
        refreshed = self.book.refresh([A, Backend("https", "prom-a", 443), LITERAL_4, B])
        self.assertEqual(self.resolver.asked, ["prom-a", "prom-b"])
        self.resolver.answer(1, "10.0.0.2")
        self.assertNoResult(refreshed)
        self.resolver.answer(0, "2001:db8::1", "10.0.0.1", "2001:db8::1")
        self.successResultOf(refreshed)
        self.assertEqual([self.book.addresses(b) for b in (A, B)], [("2001:db8::1", "10.0.0.1"), ("10.0.0.2",)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many_hosts(self) -> None:
        """The look-ups of many hosts begin a few at a time, the others in later turns of the reactor."""
        backends = [Backend("http", f"prom-{number}", 9090) for number in range(10 * AT_ONCE)]
        refreshed = self.book.refresh(backends)
        self.assertEqual(len(self.resolver.asked), AT_ONCE)
        self.clock.advance(0)
        for number in range(len(backends)):
            self.resolver.answer(number, "10.0.0.1")
        self.successResultOf(refreshed)

    def test_moved_host(self) -> None:
        """New addresses replace the old ones, and it is reported that the old ones are gone."""
        self.know(A)
        self.book.refresh([A])
        self.resolver.answer(0, "10.0.0.7")
        self.assertEqual(self.book.addresses(A), ("10.0.0.7",))
        self.assertEqual((self.moves, self.logged), ([("prom-a", ("10.0.0.7",))], ["move"]))

    def test_no_move(self) -> None:
        """Further addresses, another order, and a look-up that fails leave no address behind."""
        self.know(A)
        for number, addresses in enumerate((("10.0.0.1", "10.0.0.2"), ("10.0.0.2", "10.0.0.1"), ())):
            self.book.refresh([A])
            self.resolver.answer(number, *addresses)
        self.assertEqual(self.moves, [])

    def test_outage_keeps_addresses(self) -> None:
        """A look-up that fails leaves the last good addresses in force, and is logged once, as is its end."""
        self.know(A)
        for number in range(3):
            self.book.refresh([A])
            self.resolver.answer(number)
            self.assertEqual(self.book.addresses(A), ("10.0.0.1",))
        self.book.refresh([A])
        self.resolver.answer(3, "10.0.0.1")
        self.assertEqual(self.logged, ["outage", "recovery"])

    def test_outage_does_not_slow_the_round(self) -> None:
        """A host that has addresses is waited for but briefly; its answer counts when it comes."""
        self.know(A)
        refreshed = self.book.refresh([A])
        self.clock.advance(REFRESH_WAIT_S)
        self.successResultOf(refreshed)
        self.assertEqual(self.book.addresses(A), ("10.0.0.1",))
        self.resolver.answer(0, "10.0.0.7")
        self.assertEqual(self.book.addresses(A), ("10.0.0.7",))

    def test_unknown_host_is_waited_for(self) -> None:
        """A host without an address is waited for longer, but not for ever, and complained about."""
        refreshed = self.book.refresh([A])
        self.clock.advance(REFRESH_WAIT_S)
        self.assertNoResult(refreshed)
        self.clock.advance(FIRST_WAIT_S)
        self.successResultOf(refreshed)
        self.assertEqual((self.book.addresses(A), self.logged), ((), ["outage"]))

    def test_one_look_up_at_a_time(self) -> None:
        """While a look-up hangs no other one is begun for the same host, until it must be lost; all who wait hear of it."""
        self.book.refresh([A])
        self.clock.advance(FIRST_WAIT_S)
        refreshed = self.book.refresh([A])
        self.assertEqual(len(self.resolver.asked), 1)
        self.resolver.answer(0, "10.0.0.1")
        self.successResultOf(refreshed)
        self.book.refresh([A])
        self.clock.advance(LOST_AFTER_S)
        self.book.refresh([A])
        self.assertEqual(len(self.resolver.asked), 3)

    def test_forgotten_host(self) -> None:
        """A host that is no longer in use is forgotten."""
        self.know(A, B)
        self.book.refresh([B])
        self.assertEqual((self.book.addresses(A), self.book.addresses(B)), ((), ("10.0.0.2",)))
        self.assertEqual(self.resolver.asked, ["prom-b"])

    def test_resolver_that_raises(self) -> None:
        """A resolver that refuses a name is a look-up that failed."""
        self.successResultOf(self.book.refresh([Backend("http", "broken", 9090)]))
        self.assertEqual(self.logged, ["outage"])

    def test_foreign_address_is_ignored(self) -> None:
        """An address of an unknown kind is passed over."""
        self.book.refresh([A])
        self.resolver.receivers[0].addressResolved(object())
        self.resolver.answer(0, "10.0.0.1")
        self.assertEqual(self.book.addresses(A), ("10.0.0.1",))

    def test_cancelled_wait_keeps_the_late_response(self) -> None:
        """Cancelling stops the wait; the answer counts when it comes."""
        refreshed = self.book.refresh([A])
        refreshed.cancel()
        self.failureResultOf(refreshed, CancelledError)
        self.resolver.answer(0, "10.0.0.1")
        self.assertEqual((self.book.addresses(A), self.logged), (("10.0.0.1",), []))
        self.assertEqual(self.clock.getDelayedCalls(), [])
