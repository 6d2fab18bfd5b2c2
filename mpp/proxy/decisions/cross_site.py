"""
Recognizes requests that a page of another site has made: a browser sends them with the passwords and certificates that it has for
mpp (cross-site request forgery). Pure; knows the fields that browsers add, and no page.

Programs other than browsers (curl, a config reloader) send none of these fields and are never rejected. A site whose own name
resolves to mpp's address (DNS rebinding) is not recognized, but the browser sends it no password that was entered for mpp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mpp.core.http import headers
from mpp.core.model import RequestInfo
from mpp.proxy.decisions.client_address import TrustedProxies

_OWN_SITES = frozenset((b"same-origin", b"none"))
# The names that are read of one X-Forwarded-Host, from its end: more than there are proxies, and a limit of the work.
_MAX_HOSTS = 64
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}


def is_cross_site(info: RequestInfo, trusted: Sequence[str] | None) -> bool:
    """
    Return whether another site's page made a request: by ``Sec-Fetch-Site`` (W3C Fetch Metadata) and ``Origin`` (RFC 6454), as
    far as the browser sends them.

    :param trusted: networks in CIDR notation of the proxies whose ``X-Forwarded-Host`` counts beside ``Host``; if there are any,
        a proxy at a Unix socket is trusted as well.
    """
    if any(value.strip().lower() not in _OWN_SITES for value in headers.values(info.headers, b"sec-fetch-site")):
        return True
    origins = headers.values(info.headers, b"origin")
    if not origins:
        return False
    hosts = [host.strip().lower() for host in _own_hosts(info, trusted)]
    return not all(_is_among(hosts, origin) for origin in origins)


def _own_hosts(info: RequestInfo, trusted: Sequence[str] | None) -> Iterator[bytes]:
    """Yield the host names, with ports, under which the client may know mpp."""
    yield from headers.values(info.headers, b"host")
    if trusted and TrustedProxies.of(trusted).trusts_peer(info):
        for value in headers.values(info.headers, b"x-forwarded-host"):
            yield from value.rsplit(b",", _MAX_HOSTS)[-_MAX_HOSTS:]


def _is_among(hosts: list[bytes], origin: bytes) -> bool:
    """Return whether an origin's host and port are among ``hosts``; the default port of its scheme may be left out."""
    scheme, _, authority = origin.strip().lower().partition(b"://")
    port = _DEFAULT_PORTS.get(scheme, b"")
    return bool(authority) and authority.removesuffix(port) in [host.removesuffix(port) for host in hosts]
