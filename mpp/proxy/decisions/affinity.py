"""
Which backend a client belongs on. Decisions over the request's facts and the Selection; no I/O, no clock.

The only state is the source-address memory, bounded, in `SourceIPAffinity`.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence

from zope.interface import implementer

from mpp.core import headers
from mpp.core.interfaces import IAffinity
from mpp.core.model import Backend, RequestInfo, Selection
from mpp.core.route_cookie import ROUTE_COOKIE
from mpp.proxy.decisions.client_address import Network, TrustedProxies

_COOKIE_SIZE = len(b"cookie")

# As long as a browser session that is left alone and taken up again; well above any dashboard's refresh.
IDLE_S = 30 * 60.0
# About 2 MB of memory; more active addresses than one mpp will see.
MEMORY = 10_000

_COOKIE = ROUTE_COOKIE + b"=%b; Path=/; HttpOnly; SameSite=Lax"
_SECURE_COOKIE = _COOKIE + b"; Secure"

# RFC 9110 section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@implementer(IAffinity)
class CookieAffinity:
    """Keeps a client that returns cookies on its backend, by the backend's opaque hash."""

    name = "cookies"

    def preferred(self, facts: RequestInfo, selection: Selection, now: float) -> Backend | None:
        """Give the selected backend that the cookie names."""
        route = _route(facts)
        return selection.selected_by_id.get(route.decode("latin-1")) if route is not None else None

    def remember(self, facts: RequestInfo, backend: Backend, now: float) -> bytes | None:
        """Give the new cookie when the client holds another one or none."""
        if _route(facts) == backend.route:
            return None
        return (_SECURE_COOKIE if facts.secure else _COOKIE) % backend.route


def _route(facts: RequestInfo) -> bytes | None:
    """Give the value of mpp's cookie; the last one when a client sends several (an old one with a deeper path comes first)."""
    found = None
    # Not by `headers.values`: it is called twice for each request.
    for field, value in facts.headers:
        if len(field) != _COOKIE_SIZE or ROUTE_COOKIE not in value or field.lower() != b"cookie":
            continue
        for part in value.split(b";"):
            name, _, content = part.partition(b"=")
            if name.strip() == ROUTE_COOKIE:
                found = content.strip()
    return found


@implementer(IAffinity)
class SourceIPAffinity:
    """
    Keeps a client address on its backend.

    First chosen by rendezvous hashing, so that several mpp agree without speaking to each other; then remembered, so that
    a backend that comes back does not pull clients away from where they are.

    :param trusted: networks whose ``X-Forwarded-For`` or ``Forwarded`` is believed. Only routing depends on it.
    """

    name = "sourceip"

    def __init__(self, trusted: Sequence[Network], memory: int = MEMORY, idle: float = IDLE_S) -> None:
        self._proxies = TrustedProxies(trusted)
        self._memory = memory
        self._idle = idle
        self._recent: OrderedDict[str, tuple[Backend, float]] = OrderedDict()

    def preferred(self, facts: RequestInfo, selection: Selection, now: float) -> Backend | None:
        """Give the remembered backend while it is selected, else the one the address hashes to."""
        client = self._proxies.client_address(facts)
        if not client:
            return None
        backend, seen = self._recent.get(client, (None, 0.0))
        if backend is not None and now - seen < self._idle and backend.id in selection.selected_by_id:
            return backend
        return rendezvous(client, selection.selected)

    def remember(self, facts: RequestInfo, backend: Backend, now: float) -> None:
        """Remember the backend for this address, forgetting the address that was idle longest when there are too many."""
        client = self._proxies.client_address(facts)
        if not client:
            return
        self._recent[client] = (backend, now)
        self._recent.move_to_end(client)
        if len(self._recent) > self._memory:
            self._recent.popitem(last=False)


@implementer(IAffinity)
class HeaderAffinity:
    """
    Keeps all requests with the same value of a header field on one backend, alike on every mpp.

    It remembers nothing: there are more dashboards and users than it could tell apart from values that somebody made up.

    :param header: the field's name, as the operator wrote it.
    :raise ValueError: it is no name of a field.
    """

    def __init__(self, header: str) -> None:
        if not header:
            raise ValueError("expected the name of a header field, like header:X-Dashboard-Uid")
        if not _TOKEN.fullmatch(header):
            raise ValueError(f"{header!r} is not the name of a header field such as X-Dashboard-Uid")
        self.name = f"header:{header}"
        self._field = header.lower().encode("ascii")

    def preferred(self, facts: RequestInfo, selection: Selection, now: float) -> Backend | None:
        """Give the backend that the field's value hashes to; None when the field is absent or empty."""
        value = b", ".join(headers.values(facts.headers, self._field)).strip()
        return rendezvous(value.decode("latin-1"), selection.selected) if value else None

    def remember(self, facts: RequestInfo, backend: Backend, now: float) -> None:
        """Nothing is remembered."""


def rendezvous(key: str, backends: Sequence[Backend]) -> Backend | None:
    """
    Pick one backend by highest random weight (Thaler, Ravishankar 1998); None when there is none.

    Everyone picks the same, and when a backend goes only its own clients move.
    """
    if not backends:
        return None
    return max(backends, key=lambda b: hashlib.blake2b(f"{key} {b.id}".encode(), digest_size=8).digest())


class AffinityChain:
    """
    Several affinities, tried in the order given.

    :param links: empty for no affinity at all.
    :ivar names: the affinities' names, in the same order.
    """

    def __init__(self, links: Sequence[IAffinity]) -> None:
        self._links = tuple(links)
        self.names = tuple(link.name for link in links)

    def preferred(self, facts: RequestInfo, selection: Selection, now: float) -> tuple[Backend | None, str]:
        """Give the first backend that any link prefers, and that link's name; (None, "") when none does."""
        for link in self._links:
            backend = link.preferred(facts, selection, now)
            if backend is not None:
                return backend, link.name
        return None, ""

    def remember(self, facts: RequestInfo, backend: Backend, now: float) -> tuple[bytes, ...]:
        """Tell every link who answered; gives the ``Set-Cookie`` values to send."""
        cookies: tuple[bytes, ...] = ()
        for link in self._links:
            cookie = link.remember(facts, backend, now)
            if cookie is not None:
                cookies += (cookie,)
        return cookies
