"""Whose request it is."""

from __future__ import annotations

import ipaddress

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Headers, RequestInfo
from mpp.proxy.decisions.client_address import PRIVATE, TrustedProxies, client_address_of, network_of

TRUSTED = [ipaddress.ip_network(text) for text in PRIVATE]


class ProxiesTests(SynchronousTestCase):
    """The client's address behind proxies."""

    def test_client_address(self) -> None:
        """The address is the client's own, seen through the proxies that are trusted, and nobody else's."""
        xff, forwarded = b"X-Forwarded-For", b"Forwarded"
        cases: tuple[tuple[str, Headers, str], ...] = (
            ("203.0.113.9", (), "203.0.113.9"),
            ("203.0.113.9", ((xff, b"198.51.100.1"),), "203.0.113.9"),
            ("10.0.0.1", (), "10.0.0.1"),
            ("10.0.0.1", ((xff, b"198.51.100.1"),), "198.51.100.1"),
            ("10.0.0.1", ((xff, b"6.6.6.6, 198.51.100.1, 10.0.0.2"),), "198.51.100.1"),
            ("10.0.0.1", ((xff, b"10.0.0.7, 10.0.0.2"),), "10.0.0.7"),
            ("10.0.0.1", ((xff, b"198.51.100.1"), (xff, b"10.0.0.2")), "198.51.100.1"),
            ("10.0.0.1", ((xff, b"198.51.100.1:4711"),), "198.51.100.1"),
            ("10.0.0.1", ((xff, b"[2001:db8::7]:4711"),), "2001:db8::7"),
            ("10.0.0.1", ((xff, b"2001:DB8:0::7"),), "2001:db8::7"),
            ("10.0.0.1", ((xff, b"::ffff:198.51.100.1"),), "198.51.100.1"),
            ("10.0.0.1", ((xff, b"unknown"),), "10.0.0.1"),
            ("10.0.0.1", ((xff, b"6.6.6.6, unknown, 10.0.0.2"),), "10.0.0.2"),
            ("::ffff:10.0.0.1", ((xff, b"198.51.100.1"),), "198.51.100.1"),
            ("::1", ((xff, b"198.51.100.1"),), "198.51.100.1"),
            ("fe80::1%eth0", ((xff, b"198.51.100.1"),), "198.51.100.1"),
            ("10.0.0.1", ((forwarded, b'for="[2001:db8::7]:1";proto=http, for=10.0.0.2'),), "2001:db8::7"),
            ("10.0.0.1", ((forwarded, b"proto=http"),), "10.0.0.1"),
            ("something", ((xff, b"198.51.100.1"),), "something"),
            ("", ((xff, b"198.51.100.1, 10.0.0.2"),), "198.51.100.1"),
            ("", (), ""),
        )
        proxies = TrustedProxies(TRUSTED)
        for peer, fields, expected in cases:
            self.assertEqual(proxies.client_address(RequestInfo(b"GET", b"/", fields, peer=peer)), expected, (peer, fields))

    def test_long_chains(self) -> None:
        """Of a chain the last 64 hops are read: a client cannot make it longer than that for whoever walks it."""
        proxies = TrustedProxies(TRUSTED)
        for chain, expected in (
            (b"198.51.100.1, " + b"10.0.0.2, " * 62 + b"10.0.0.3", "198.51.100.1"),
            (b"198.51.100.1, 10.0.0.4, " + b"10.0.0.2, " * 62 + b"10.0.0.3", "10.0.0.4"),
            (b"10.0.0.5," + b"10.0.0.2," * 250_000 + b"10.0.0.3", "10.0.0.2"),
            (b"198.51.100.1, " + b"." * 10**6, "10.0.0.1"),
            (b"198.51.100.1, " + b"10.0.0.2:" * 10**5, "10.0.0.1"),
        ):
            for name, fields in ((b"X-Forwarded-For", chain), (b"Forwarded", b"for=" + chain.replace(b",", b",for="))):
                facts = RequestInfo(b"GET", b"/", ((name, fields),), peer="10.0.0.1")
                self.assertEqual(proxies.client_address(facts), expected, (name, chain[:40]))

    def test_many_parameters_of_a_hop(self) -> None:
        """An element of Forwarded is read as far as its parameters can go."""
        facts = RequestInfo(b"GET", b"/", ((b"Forwarded", b"proto=http;" * 10 + b"for=198.51.100.1"),), peer="10.0.0.1")
        self.assertEqual(TrustedProxies(TRUSTED).client_address(facts), "198.51.100.1")
        facts = facts._replace(headers=((b"Forwarded", b";" * 10**6 + b"for=198.51.100.1"),))
        self.assertEqual(TrustedProxies(TRUSTED).client_address(facts), "10.0.0.1")

    def test_only_named_proxies_are_trusted(self) -> None:
        """Only proxies that were named are believed by those who rely on it, not whoever is in the same network."""
        facts = RequestInfo(b"GET", b"/", ((b"X-Forwarded-For", b"198.51.100.1, 10.0.0.2"),), peer="10.0.0.1")
        for trusted, expected in (
            (None, "10.0.0.1"),
            ((), "10.0.0.1"),
            (("192.0.2.0/24",), "10.0.0.1"),
            (("10.0.0.1/32",), "10.0.0.2"),
            (("10.0.0.0/8",), "198.51.100.1"),
        ):
            self.assertEqual(client_address_of(trusted)(facts), expected, trusted)
        self.assertEqual(client_address_of(None)(facts._replace(peer="")), "")


class NetworkTests(SynchronousTestCase):
    """The network that a client has to itself."""

    def test_networks_are_24_bits_of_ipv4_and_64_of_ipv6(self) -> None:
        """It is the /24 of an IPv4 address, in whatever form, and the /64 of an IPv6 one; what is no address is its own."""
        for address, network in (
            ("203.0.113.9", "203.0.113.0/24"),
            ("::ffff:203.0.113.9", "203.0.113.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("", ""),
            ("unix", "unix"),
        ):
            with self.subTest(address=address):
                self.assertEqual(network_of(address), network)
