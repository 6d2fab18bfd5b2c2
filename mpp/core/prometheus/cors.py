"""
The fields that let pages of another origin read mpp's own errors (CORS: WHATWG Fetch, "HTTP extensions"). Pure.

A browser shows a response of another origin to a script only if the response has these fields; without them the script sees
"Failed to fetch" and no status. Prometheus sends them with the responses of its API to every request that has an ``Origin`` field
(its ``web/api/v1`` and ``util/httputil/cors.go``), and so does mpp. Responses of servers are passed on with whatever fields they
have.

Before some requests a browser asks whether the page may make them (a preflight), without credentials, and makes them only if the
response has status 2xx. Servers answer that. Where mpp would answer with an error of its own it answers as Prometheus does
instead, with 204 and the same fields: so the request itself is made, gets that error, and the page can read it. Nothing is let
through by that: the request itself is judged like any other.
"""

from __future__ import annotations

from attrs import field, frozen

from mpp.core import headers
from mpp.core.model import Headers
from mpp.core.prometheus import paths
from mpp.core.text.linear_pattern import LinearPattern

ALL = ".*"
"""Prometheus' default of ``--web.cors.origin``: pages of all origins."""

MAX_ORIGIN = 256
"""Bytes of the longest origin that counts: a host name has 253 at most (RFC 1035), and what is matched should be short."""

_API = b"/api/v1/"
_FIELDS: Headers = (
    (b"Access-Control-Allow-Headers", b"Accept, Authorization, Content-Type, Origin"),
    (b"Access-Control-Allow-Methods", b"GET, POST, OPTIONS"),
    (b"Access-Control-Expose-Headers", b"Date"),
    (b"Vary", b"Origin"),
)


def origin_of(target: bytes, fields: Headers) -> bytes:
    """
    Return the origin of the page that made a request below ``/api/v1/``, behind any prefix; empty of all other requests.

    :param fields: of the request, as far as they have arrived.
    """
    path = paths.path_of(target)
    if _API not in path or paths.is_own(path):
        return b""
    origins = headers.values(fields, b"origin")
    return origins[0] if origins and len(origins[0]) <= MAX_ORIGIN else b""


def is_preflight(method: bytes, fields: Headers) -> bool:
    """Return whether a browser asks whether a page may make a request (WHATWG Fetch, "CORS-preflight request")."""
    return method == b"OPTIONS" and bool(headers.values(fields, b"access-control-request-method"))


@frozen
class AllowedOrigins:
    """
    The origins whose pages may read mpp's own errors.

    :ivar pattern: a regular expression for whole origins, see `mpp.core.text.linear_pattern`.
    :raise ValueError: it is none.
    """

    pattern: str = ALL
    _compiled: LinearPattern = field(init=False, eq=False, repr=False)

    @_compiled.default
    def _compile(self) -> LinearPattern:
        return LinearPattern(self.pattern)

    def fields(self, origin: bytes) -> Headers:
        """
        Return the fields of a response to a page.

        :param origin: what `origin_of` returned; there are no fields if it is empty.
        """
        if not origin:
            return ()
        if self.pattern == ALL:
            return (*_FIELDS, (b"Access-Control-Allow-Origin", b"*"))
        if self._compiled.matches(origin.decode("latin-1")):
            return (*_FIELDS, (b"Access-Control-Allow-Origin", origin))
        return _FIELDS


ALL_ORIGINS = AllowedOrigins()
"""The default: pages of all origins."""
