"""
Whose request it is, when it comes through proxies: the client's address. Pure.

Proxies tell it in ``X-Forwarded-For`` or ``Forwarded``, and so may everybody else: only proxies that are trusted are believed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from operator import attrgetter

from mpp.core import headers
from mpp.core.model import RequestInfo

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PRIVATE = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)
"""Networks of which a proxy in front usually is; whoever else is in them may say what he likes, too."""

MAX_HOPS = 64
"""
How many hops of a forwarding chain are read, from its end, which is what the nearest proxies wrote: more than any request passes,
and a bound on the work that a client can cause.
"""
# An element of Forwarded (RFC 7239) has four parameters of its own and few others, each a name, a host or an address.
_MAX_PARAMETERS = 16
_LONGEST_HOP = 1000
# The longest address, with brackets, zone and port, and then some.
_LONGEST_ADDRESS = 100


def routing_proxies(trusted: Sequence[str] | None) -> TrustedProxies:
    """
    Return the proxies whose word decides where a request goes, which gives no client any right.

    :param trusted: networks of the proxies that an operator named; if None, those in private networks are believed.
    """
    return TrustedProxies.of(PRIVATE if trusted is None else trusted)


def client_address_of(trusted: Sequence[str] | None) -> Callable[[RequestInfo], str]:
    """
    Give what tells a client's address, for those who have to rely on it.

    :param trusted: networks of the proxies that an operator named; without any it is what the socket says.
    """
    return TrustedProxies.of(trusted).client_address if trusted else attrgetter("peer")


class TrustedProxies:
    """
    Proxies that are trusted.

    :param trusted: their networks.
    """

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = trusted

    @classmethod
    def of(cls, networks: Sequence[str]) -> TrustedProxies:
        """Give those of networks in CIDR notation."""
        return cls([ipaddress.ip_network(network) for network in networks])

    def client_address(self, info: RequestInfo) -> str:
        """
        Give the address of the client itself.

        Walks the forwarding chain from the right: the first hop that is not trusted, or, when all are, the left-most
        (clients in private networks are trusted as proxies, too). An unreadable entry ends the walk. Whoever comes through a
        Unix socket is trusted; empty when it does not tell for whom.
        """
        client = _parse(info.peer)
        if info.peer and (client is None or not self._trusts(client)):
            return str(client or info.peer)
        for entry in reversed(_forwarded_for(info)):
            hop = _parse(entry)
            if hop is None:
                break
            client = hop
            if not self._trusts(hop):
                break
        return str(client or "")

    def trusts_peer(self, info: RequestInfo) -> bool:
        """Return whether a request comes from a trusted proxy itself, or through a Unix socket."""
        peer = _parse(info.peer)
        return not info.peer or (peer is not None and self._trusts(peer))

    def _trusts(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._trusted)


def network_of(address: str) -> str:
    """
    Return the network that one client usually has to itself: the /24 of an IPv4 address, the /64 of an IPv6 one (RFC 6177).

    What is no address (nothing, for a Unix socket) stands for itself.
    """
    parsed = _parse(address)
    if parsed is None:
        return address
    return str(ipaddress.ip_network(f"{parsed}/{24 if parsed.version == 4 else 64}", strict=False))


def _forwarded_for(info: RequestInfo) -> list[str]:
    """Return the end of the forwarding chain, client first: X-Forwarded-For, else ``for=`` of Forwarded (RFC 7239)."""
    chain = _last_hops(headers.values(info.headers, b"x-forwarded-for"))
    if chain:
        return chain
    elements = _last_hops(headers.values(info.headers, b"forwarded"))
    pairs = (pair.partition("=") for element in elements for pair in element.split(";", _MAX_PARAMETERS))
    return [value.strip().strip('"') for name, _, value in pairs if name.strip().lower() == "for"]


def _last_hops(values: list[bytes]) -> list[str]:
    """Return the last `MAX_HOPS` elements of a field that is a list, cut to what is read of them; nothing else is looked at."""
    joined = b",".join(values)
    return [hop[:_LONGEST_HOP].decode("latin-1") for hop in joined.rsplit(b",", MAX_HOPS)[-MAX_HOPS:]] if joined else []


def _parse(text: str) -> Address | None:
    """Read an address with or without port and brackets; an IPv4 address mapped into IPv6 is IPv4."""
    text = text.strip()
    if len(text) > _LONGEST_ADDRESS:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
