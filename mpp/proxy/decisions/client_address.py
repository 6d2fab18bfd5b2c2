"""
Determines the client's address of a request that comes through proxies. Pure.

Proxies write it into ``X-Forwarded-For`` or ``Forwarded``. Clients can write these fields, too, so only the entries of trusted
proxies count.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from operator import attrgetter

from mpp.core.http import headers
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
"""Networks that proxies in front of mpp are usually in. Other clients in them can claim any address as well."""

MAX_HOPS = 64
"""
The number of hops of a forwarding chain that are read, from its end, where the nearest proxies write. It is more than any request
passes, and limits the work that a client can cause.
"""
# An element of Forwarded (RFC 7239) has four standard parameters and few others, each a name, a host or an address.
_MAX_PARAMETERS = 16
_LONGEST_HOP = 1000
# More characters than the longest address has with brackets, zone and port.
_LONGEST_ADDRESS = 100


def routing_proxies(trusted: Sequence[str] | None) -> TrustedProxies:
    """
    Return the proxies whose forwarding fields are trusted where a client's address only decides to which server it is routed.

    A client that forges its address gains nothing by that but another server, so proxies need not be configured.

    :param trusted: networks of the configured proxies; if None, proxies in private networks are trusted.
    """
    return TrustedProxies.of(PRIVATE if trusted is None else trusted)


def client_address_of(trusted: Sequence[str] | None) -> Callable[[RequestInfo], str]:
    """
    Return a function that returns a client's address, where the address must be reliable, as in the access log.

    :param trusted: networks of the configured proxies; without any, the function returns the peer address of the socket.
    """
    return TrustedProxies.of(trusted).client_address if trusted else attrgetter("peer")


class TrustedProxies:
    """
    The proxies whose forwarding fields are trusted.

    :param trusted: the networks of these proxies.
    """

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = trusted

    @classmethod
    def of(cls, networks: Sequence[str]) -> TrustedProxies:
        """Return the proxies in networks, which are in CIDR notation."""
        return cls([ipaddress.ip_network(network) for network in networks])

    def client_address(self, info: RequestInfo) -> str:
        """
        Return the address of the client that sent a request, or empty if it is unknown.

        This is the right-most hop of the forwarding chain that is not trusted, or the left-most hop if all are trusted (clients
        in private networks are trusted as proxies, too). Hops left of an unreadable one are ignored. A peer at a Unix socket is
        trusted; without a forwarding chain its client is unknown.
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
        """Return whether the peer of a request is a trusted proxy or is connected to a Unix socket."""
        peer = _parse(info.peer)
        return not info.peer or (peer is not None and self._trusts(peer))

    def _trusts(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._trusted)


def network_of(address: str) -> str:
    """
    Return the network that usually belongs to one client: the /24 of an IPv4 address, the /64 of an IPv6 address (RFC 6177).

    A text that is no address (empty for a Unix socket) is returned unchanged.
    """
    parsed = _parse(address)
    if parsed is None:
        return address
    return str(ipaddress.ip_network(f"{parsed}/{24 if parsed.version == 4 else 64}", strict=False))


def _forwarded_for(info: RequestInfo) -> list[str]:
    """Return the end of the forwarding chain, client first: X-Forwarded-For, else ``for=`` of Forwarded (RFC 7239)."""
    chain = _last_hops(headers.values(info.headers, b"x-forwarded-for"))
    # X-Forwarded-For wins if both are there, because most proxies write it, and pass a client's Forwarded on. A proxy that writes
    # only Forwarded has to remove the other field.
    if chain:
        return chain
    elements = _last_hops(headers.values(info.headers, b"forwarded"))
    pairs = (pair.partition("=") for element in elements for pair in element.split(";", _MAX_PARAMETERS))
    return [value.strip().strip('"') for name, _, value in pairs if name.strip().lower() == "for"]


def _last_hops(values: list[bytes]) -> list[str]:
    """Return the last `MAX_HOPS` elements of a list-valued field, each cut to `_LONGEST_HOP` bytes."""
    joined = b",".join(values)
    return [hop[:_LONGEST_HOP].decode("latin-1") for hop in joined.rsplit(b",", MAX_HOPS)[-MAX_HOPS:]] if joined else []


def _parse(text: str) -> Address | None:
    """Parse an address with or without port and brackets; an IPv4 address mapped into IPv6 becomes IPv4."""
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
