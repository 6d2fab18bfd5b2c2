"""Backends that DNS lists."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.names import dns
from twisted.names.error import DNSNameError, DNSQueryRefusedError, DNSServerError, DNSUnknownError, ResolverError
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import ConfigError, DiscoveryError
from mpp.discovery.dns import MAX_JOINED, SRV_TIMEOUTS_S, DNSLocator
from tests.fake_resolver import HeldResolver
from tests.locator_contract import locator_tests
from tests.logged import logged

SRV = "srv+_web._tcp.prom.example.org"


def record(priority: int, weight: int, target: str, port: int) -> dns.RRHeader:
    """Return an SRV record as an answer has it."""
    payload = dns.Record_SRV(priority, weight, port, target.encode())
    return dns.RRHeader(b"_web._tcp.prom.example.org", dns.SRV, payload=payload)


@define(eq=False)
class FakeNames:
    """
    Name servers.

    :ivar answers: what they answer, or how they fail; None: not at all.
    :ivar asked: for what, and how often in which time.
    :ivar waiting: look-ups that nobody has answered or cancelled.
    """

    answers: list[dns.RRHeader] | Exception | None = field(factory=list)
    asked: list[tuple[str, Sequence[int]]] = field(factory=list)
    waiting: list[Deferred[object]] = field(factory=list)

    def lookupService(self, name: str, timeout: Sequence[int]) -> Deferred[object]:
        """See `IResolver`."""
        self.asked.append((name, timeout))
        looked: Deferred[object] = Deferred(self.waiting.remove)
        if isinstance(self.answers, Exception):
            looked.errback(self.answers)
        elif self.answers is None:
            self.waiting.append(looked)
        else:
            looked.callback((self.answers, [], []))
        return looked


class SRVSource:
    """Name servers, as the contract wants them."""

    secrets: Sequence[str] = ()
    watched = False

    def __init__(self, case: SynchronousTestCase) -> None:
        self.names = FakeNames()
        self.locator = DNSLocator(SRV, HeldResolver(), self.names)

    def have(self, *addresses: str) -> None:
        split = [address.rpartition(":") for address in addresses]
        self.names.answers = [record(n, 0, host, int(port)) for n, (host, _, port) in enumerate(split)]

    def fail(self) -> None:
        self.names.answers = DNSServerError(dns.Message())

    def hang(self) -> None:
        self.names.answers = None

    def leftovers(self) -> Sequence[object]:
        return self.names.waiting

    def settle(self) -> None:
        """Do nothing: look-ups are answered at once."""


class SRVContractTests(locator_tests(SRVSource)):  # type: ignore[misc]
    """What every locator keeps to, of an SRV record."""


class AddressSource:
    """The system's resolver, as the contract wants it; it gives addresses only, so all ports are the same."""

    secrets: Sequence[str] = ()
    watched = False

    def __init__(self, case: SynchronousTestCase) -> None:
        self.resolver = HeldResolver()
        self.locator = DNSLocator("prom.example.org:9090", self.resolver, FakeNames())
        self.addresses: tuple[str, ...] | None = ()
        self._answered = 0

    def have(self, *addresses: str) -> None:
        self.addresses = tuple(address.rpartition(":")[0] for address in addresses)

    def fail(self) -> None:
        self.addresses = ()

    def hang(self) -> None:
        self.addresses = None

    def leftovers(self) -> Sequence[object]:
        """Return an empty sequence: a lookup in a thread cannot be stopped, and is joined by the next one."""
        return ()

    def settle(self) -> None:
        while self.addresses is not None and self._answered < len(self.resolver.receivers):
            self.resolver.answer(self._answered, *self.addresses)
            self._answered += 1


class AddressContractTests(locator_tests(AddressSource)):  # type: ignore[misc]
    """What every locator keeps to, of a host name: all but the order, and ports, which addresses do not have."""

    def test_lists_in_order(self) -> None:
        """Addresses are listed in their own order, since resolvers turn theirs round."""
        self.source.have("10.0.0.2:9090", "10.0.0.10:9090", "10.0.0.1:9090")
        self.assertEqual([b.host for b in self.located()], ["10.0.0.1", "10.0.0.2", "10.0.0.10"])

    def test_each_lookup_returns_the_current_addresses(self) -> None:
        """Each look-up sees what was added, and what was removed."""
        for addresses in (("10.0.0.1:9090",), ("10.0.0.1:9090", "10.0.0.2:9090"), ("10.0.0.2:9090",)):
            self.source.have(*addresses)
            self.assertEqual([f"{b.host}:9090" for b in self.located()], list(addresses))


class DNSCase(SynchronousTestCase):
    """A resolver, name servers, and what is logged."""

    def setUp(self) -> None:
        self.resolver = HeldResolver()
        self.names = FakeNames()
        self.logged = logged(self)

    def make(self, spec: str) -> DNSLocator:
        """Make a locator."""
        return DNSLocator(spec, self.resolver, self.names)


class SpecTests(DNSCase):
    """What the option means."""

    def test_bad_specs(self) -> None:
        """A spec that is none is an error at start that names option and value, and repeats no password."""
        table = {
            "prom": "no port given: expected host:port, like prom-a:9090, or a URL",
            "prom:x": "the port must be a number from 1 to 65535, not 'x'",
            "srv+_web._tcp.prom.example.org:9090": "the ports are in the SRV record; expected a name only, like " + SRV,
            "srv+prom": "expected a fully qualified name, like " + SRV,
            "srv+": "expected a fully qualified name, like " + SRV,
            "srv+ftp://a.b": "the scheme must be http or https",
        }
        for spec, problem in table.items():
            error = self.assertRaises(ConfigError, self.make, spec)
            self.assertEqual(str(error), f"--dns: {spec!r}: {problem}")
        for spec in ("http://me:s3cret@prom:9090", "srv+https://me:s3cret@_web._tcp.prom.example.org"):
            self.assertNotIn("s3cret", str(self.assertRaises(ConfigError, self.make, spec)))

    def test_repr_shows_the_spec(self) -> None:
        """It shows its spec."""
        self.assertEqual(repr(self.make(SRV)), f"<DNSLocator {SRV}>")


class AddressesTests(DNSCase):
    """All addresses of a host name."""

    def setUp(self) -> None:
        super().setUp()
        self.locator = self.make("https://prom.example.org:9090/p")

    def urls(self, *addresses: str) -> list[str]:
        """Return what is located when the resolver answers so."""
        looked = self.locator.locate()
        self.resolver.answer(-1, *addresses)
        return [each.backend.url for each in self.successResultOf(looked)]

    def test_both_families(self) -> None:
        """IPv4 and IPv6 addresses are asked for and listed, each once, with scheme, port and prefix as given."""
        found = self.urls("2001:db8::1", "10.0.0.2", "10.0.0.1", "2001:db8::1", "10.0.0.2")
        self.assertEqual(found, [f"https://{host}:9090/p" for host in ("10.0.0.1", "10.0.0.2", "[2001:db8::1]")])
        self.assertEqual((self.resolver.asked, self.resolver.types), (["prom.example.org"], [(IPv4Address, IPv6Address)]))

    def test_other_addresses(self) -> None:
        """What is no IP address does not count; a zone cannot be used, and is told once."""
        for number in range(2):
            looked = self.locator.locate()
            self.resolver.receivers[number].addressResolved(UNIXAddress(None))
            self.resolver.answer(number, "fe80::1%eth0", "10.0.0.1")
            self.assertEqual(len(self.successResultOf(looked)), 1)
        expected = "fe80::1%eth0: an IPv6 address with a zone (%) is not supported"
        self.assertEqual(self.logged, [f"DNS record of https://prom.example.org:9090/p skipped: {expected}"])

    def test_no_address(self) -> None:
        """A name without addresses is told, and is no empty list."""
        looked = self.locator.locate()
        self.resolver.answer(0)
        error = self.failureResultOf(looked, DiscoveryError).value
        self.assertEqual(str(error), "prom.example.org: does not resolve to any address")

    def test_resolver_dislikes_the_name(self) -> None:
        """What the resolver thinks of a name is told."""
        looked = self.make("broken:9090").locate()
        self.assertEqual(str(self.failureResultOf(looked, DiscoveryError).value), "broken: label too long")

    def test_stuck_lookup_is_shared(self) -> None:
        """While a look-up is stuck in its thread there is no second one; all who wait get its answer."""
        first, second = self.locator.locate(), self.locator.locate()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        third = self.locator.locate()
        self.resolver.answer(0, "10.0.0.1")
        self.assertEqual(self.successResultOf(second), self.successResultOf(third))
        self.assertEqual(len(self.resolver.asked), 1)
        self.urls("10.0.0.1")
        self.assertEqual(len(self.resolver.asked), 2)

    def test_late_response_is_used_by_the_next_lookup(self) -> None:
        """An answer that comes when nobody waits any more is the next look-up's, once: slow is better than never."""
        for addresses in (("10.0.0.1",), ()):
            self.locator.locate().addErrback(lambda f: f.trap(CancelledError))
            self.locator.stop()
            self.resolver.answer(-1, *addresses)
            looked = self.locator.locate()
            if addresses:
                self.assertEqual(len(self.successResultOf(looked)), 1)
            else:
                self.failureResultOf(looked, DiscoveryError)
        self.assertEqual(len(self.resolver.asked), 2)
        self.assertEqual(len(self.urls("10.0.0.2")), 1)

    def test_endless_lookup_is_abandoned(self) -> None:
        """A look-up that never ends is given up for lost after a while, and what it says then does not count."""
        for _ in range(MAX_JOINED + 1):
            self.locator.locate().addErrback(lambda f: f.trap(CancelledError))
            self.locator.stop()
        self.assertEqual(len(self.resolver.asked), 1)
        looked = self.locator.locate()
        self.assertEqual(len(self.resolver.asked), 2)
        self.resolver.answer(0, "10.0.0.1")
        self.assertNoResult(looked)
        self.resolver.answer(1, "10.0.0.2")
        self.assertEqual([each.backend.host for each in self.successResultOf(looked)], ["10.0.0.2"])


class ServicesTests(DNSCase):
    """The targets of an SRV record."""

    def urls(self, spec: str = SRV) -> list[str]:
        """Return what is located now."""
        return [each.backend.url for each in self.successResultOf(self.make(spec).locate())]

    def refused(self, answers: list[dns.RRHeader] | Exception) -> str:
        """Return why nothing is located with such an answer."""
        self.names.answers = answers
        return str(self.failureResultOf(self.make(SRV).locate(), DiscoveryError).value)

    def test_services_are_ordered_by_priority_and_weight(self) -> None:
        """Low priority comes first, then high weight, then the name; the names stay names."""
        self.names.answers = [
            record(20, 0, "d.example.org", 9090),
            record(10, 1, "c.example.org", 9090),
            record(10, 5, "b.example.org", 9091),
            record(10, 5, "A.example.org", 9092),
            record(10, 1, "c.example.org", 9090),
        ]
        expected = ["a.example.org:9092", "b.example.org:9091", "c.example.org:9090", "d.example.org:9090"]
        self.assertEqual(self.urls(), [f"http://{netloc}" for netloc in expected])
        self.assertEqual(self.names.asked, [("_web._tcp.prom.example.org", SRV_TIMEOUTS_S)])

    def test_scheme_and_prefix(self) -> None:
        """Scheme and prefix may be given; a last dot is not part of the name."""
        self.names.answers = [record(0, 0, "a.example.org", 9090)]
        self.assertEqual(self.urls("srv+https://_web._tcp.prom.example.org./p"), ["https://a.example.org:9090/p"])
        self.assertEqual(self.names.asked[0][0], "_web._tcp.prom.example.org")

    def test_other_records(self) -> None:
        """An alias on the way does not count."""
        alias = dns.RRHeader(b"_web._tcp.prom.example.org", dns.CNAME, payload=dns.Record_CNAME(b"x.example.org"))
        self.names.answers = [alias, record(0, 0, "a.example.org", 9090)]
        self.assertEqual(self.urls(), ["http://a.example.org:9090"])

    def test_bad_targets_are_skipped(self) -> None:
        """A target that is none is logged once, and the others count."""
        self.names.answers = [record(0, 0, "a b.example.org", 9090), record(0, 0, "a.example.org", 0), record(1, 0, "b.org", 1)]
        locator = self.make(SRV)
        for _ in range(2):
            self.assertEqual(len(self.successResultOf(locator.locate())), 1)
        self.assertEqual(len(self.logged), 2)
        problem = "a.example.org:0: the port must be a number from 1 to 65535, not '0'"
        self.assertIn(f"DNS record of {SRV} skipped: {problem}", self.logged)

    def test_failure_names_the_host_and_is_no_empty_list(self) -> None:
        """Whatever goes wrong is told with the name, and is no empty list."""
        message = dns.Message()
        table: list[tuple[list[dns.RRHeader] | Exception, str]] = [
            ([], "no records"),
            ([record(0, 0, "", 0)], ".:0: expected a host name or address, like prom-a:9090 or https://prom-a:9090/prefix"),
            (DNSNameError(message), "no such name (NXDOMAIN; search domains do not count)"),
            (DNSServerError(message), "the name server failed (SERVFAIL)"),
            (DNSQueryRefusedError(message), "the name server rejected the query"),
            (DNSUnknownError(message), "the name server cannot resolve it"),
            (ResolverError("x"), "the resolver rejected the query"),
            (TimeoutError([]), "no name server responded"),
            (ConnectionRefusedError(), "no connection to the name server"),
            (ConnectionLost(), "the name server closed the connection"),
            (OSError("No domain name servers available"), "no name server can be queried"),
        ]
        for answers, problem in table:
            self.assertEqual(self.refused(answers), f"{SRV}: {problem}")
