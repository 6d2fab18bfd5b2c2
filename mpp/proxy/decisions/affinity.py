"""
The affinities, which keep a client on one backend. They decide by the request and the Selection; no I/O, no clock.

The only state is the bounded memory of client addresses in `SourceIPAffinity`.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence

from zope.interface import implementer

from mpp.core.http import headers
from mpp.core.http.route_cookie import ROUTE_COOKIE
from mpp.core.interfaces import IAffinity
from mpp.core.model import Backend, RequestInfo, Selection
from mpp.proxy.decisions.client_address import Network, TrustedProxies

_COOKIE_SIZE = len(b"cookie")

# In seconds: as long as a pause in the use of a browser; much longer than the refresh interval of any dashboard.
IDLE_S = 30 * 60.0
# In addresses: more than are active at one mpp; about 2 MB of memory.
MEMORY = 10_000

_COOKIE = ROUTE_COOKIE + b"=%b; Path=/; HttpOnly; SameSite=Lax"
_SECURE_COOKIE = _COOKIE + b"; Secure"

# RFC 9110 section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@implementer(IAffinity)
class CookieAffinity:
    """An affinity that keeps a client that returns cookies on its backend; the cookie is an opaque hash of the backend."""

    name = "cookies"

    def preferred(self, facts: RequestInfo, selection: Selection, now: float) -> Backend | None:
        """Return the backend that the cookie names; None without the cookie, or if that backend is not selected."""
        route = _route(facts)
        return selection.selected_by_id.get(route.decode("latin-1")) if route is not None else None

    def remember(self, facts: RequestInfo, backend: Backend, now: float) -> bytes | None:
        """Return the cookie of the backend; None if the client has sent that cookie."""
        if _route(facts) == backend.route:
            return None
        return (_SECURE_COOKIE if facts.secure else _COOKIE) % backend.route


def _route(facts: RequestInfo) -> bytes | None:
    """Return the value of mpp's cookie; the last one if a client sends several (an old one with a deeper path comes first)."""
    found = None
    # `headers.values` would take longer, and this is called twice for each request.
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
    An affinity that keeps a client address on its backend.

    The backend is chosen by rendezvous hashing, so that several mpp choose the same one without communication. Then it is
    remembered, so that a backend that returns does not take over clients that have moved to another one.

    :param trusted: networks of the proxies whose ``X-Forwarded-For`` or ``Forwarded`` is trusted. Only routing depends on them.
    :param memory: the number of client addresses that are remembered.
    :param idle: after how many seconds without a request a client address is forgotten.
    """

    name = "sourceip"

    def __init__(self, trusted: Sequence[Network], memory: int = MEMORY, idle: float = IDLE_S) -> None:
        self._proxies = TrustedProxies(trusted)
        self._memory = memory
        self._idle = idle
        self._recent: OrderedDict[str, tuple[Backend, float]] = OrderedDict()

    def preferred(self, facts: RequestInfo, selection: Selection, now: float) -> Backend | None:
        """Return the remembered backend while it is selected, else the one that the address hashes to."""
        client = self._proxies.client_address(facts)
        if not client:
            return None
        backend, seen = self._recent.get(client, (None, 0.0))
        if backend is not None and now - seen < self._idle and backend.id in selection.selected_by_id:
            return backend
        return rendezvous(client, selection.selected)

    def remember(self, facts: RequestInfo, backend: Backend, now: float) -> None:
        """Remember the backend of this client address; if there are too many, the address that was idle longest is forgotten."""
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
    An affinity that keeps all requests with the same value of a header field on one backend, the same one on every mpp.

    It remembers no values, because clients could fill such a memory with invented ones.

    :param header: the field's name, as the operator wrote it.
    :raise ValueError: the text is not the name of a header field.
    """

    def __init__(self, header: str) -> None:
        if not header:
            raise ValueError("expected the name of a header field, like header:X-Dashboard-Uid")
        if not _TOKEN.fullmatch(header):
            raise ValueError(f"{header!r} is not the name of a header field such as X-Dashboard-Uid")
        self.name = f"header:{header}"
        self._field = header.lower().encode("ascii")

    def preferred(self, facts: RequestInfo, selection: Selection, now: float) -> Backend | None:
        """Return the backend that the field's value hashes to; None if the field is absent or empty."""
        value = b", ".join(headers.values(facts.headers, self._field)).strip()
        return rendezvous(value.decode("latin-1"), selection.selected) if value else None

    def remember(self, facts: RequestInfo, backend: Backend, now: float) -> None:
        """Do nothing, because this affinity has no memory."""


def rendezvous(key: str, backends: Sequence[Backend]) -> Backend | None:
    """
    Choose a backend by highest random weight (Thaler, Ravishankar 1998); None if there is none.

    Every mpp chooses the same one, and when a backend is removed only its own clients move.
    """
    if not backends:
        return None
    return max(backends, key=lambda b: hashlib.blake2b(f"{key} {b.id}".encode(), digest_size=8).digest())


class AffinityChain:
    """
    A sequence of affinities, which are tried in order.

    :param links: the affinities; may be empty.
    :ivar names: the affinities' names, in the same order.
    """

    def __init__(self, links: Sequence[IAffinity]) -> None:
        self._links = tuple(links)
        self.names = tuple(link.name for link in links)

    def preferred(self, facts: RequestInfo, selection: Selection, now: float) -> tuple[Backend | None, str]:
        """Return the first backend that an affinity prefers, and the affinity's name; (None, "") if none prefers one."""
        for link in self._links:
            backend = link.preferred(facts, selection, now)
            if backend is not None:
                return backend, link.name
        return None, ""

    def remember(self, facts: RequestInfo, backend: Backend, now: float) -> tuple[bytes, ...]:
        """Notify every affinity of the backend that responded, and return the ``Set-Cookie`` values to send."""
        cookies: tuple[bytes, ...] = ()
        for link in self._links:
            cookie = link.remember(facts, backend, now)
            if cookie is not None:
                cookies += (cookie,)
        return cookies
