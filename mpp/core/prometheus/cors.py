"""
The header fields that let web pages of another origin read mpp's own error responses (CORS in WHATWG Fetch). Pure.

A browser shows a response of another origin to a script only if the response has these fields; without them the script sees
"Failed to fetch" and no status. Prometheus sends them with the responses of its API to every request that has an ``Origin`` field
(its ``web/api/v1`` and ``util/httputil/cors.go``), and so does mpp. The fields of servers' responses are not changed.

Before some requests a browser sends a preflight request without credentials, and sends the request itself only if the response
has status 2xx. The servers answer preflight requests. Where mpp itself would send an error response, it answers the preflight
request like Prometheus, with 204 and the same fields: the browser then sends the request itself, and the page can read the error.
This does not bypass any check, because the request itself is checked like every other one.
"""

from __future__ import annotations

from attrs import field, frozen

from mpp.core.http import headers
from mpp.core.model import Headers
from mpp.core.prometheus import paths
from mpp.core.text.linear_pattern import LinearPattern

ALL = ".*"
"""Prometheus' default of ``--web.cors.origin``: pages of all origins."""

MAX_ORIGIN = 256
"""Maximum length of an origin, in bytes; longer ones are ignored. A host name has at most 253 (RFC 1035)."""

_API = b"/api/v1/"
_FIELDS: Headers = (
    (b"Access-Control-Allow-Headers", b"Accept, Authorization, Content-Type, Origin"),
    (b"Access-Control-Allow-Methods", b"GET, POST, OPTIONS"),
    (b"Access-Control-Expose-Headers", b"Date"),
    (b"Vary", b"Origin"),
)


def origin_of(target: bytes, fields: Headers) -> bytes:
    """
    Return the origin of the page that made a request below ``/api/v1/``, behind any prefix; empty for all other requests.

    :param fields: the header fields of the request that have arrived.
    """
    path = paths.path_of(target)
    if _API not in path or paths.is_own(path):
        return b""
    origins = headers.values(fields, b"origin")
    return origins[0] if origins and len(origins[0]) <= MAX_ORIGIN else b""


def is_preflight(method: bytes, fields: Headers) -> bool:
    """Return whether a request is a CORS-preflight request (WHATWG Fetch)."""
    return method == b"OPTIONS" and bool(headers.values(fields, b"access-control-request-method"))


@frozen
class AllowedOrigins:
    """
    The origins whose web pages may read mpp's own error responses.

    :ivar pattern: a regular expression for whole origins, see `mpp.core.text.linear_pattern`.
    :raise ValueError: the pattern is not a valid regular expression.
    """

    pattern: str = ALL
    _compiled: LinearPattern = field(init=False, eq=False, repr=False)

    @_compiled.default
    def _compile(self) -> LinearPattern:
        return LinearPattern(self.pattern)

    def fields(self, origin: bytes) -> Headers:
        """
        Return the CORS fields of a response to a page.

        :param origin: the result of `origin_of`; there are no fields if it is empty.
        """
        if not origin:
            return ()
        if self.pattern == ALL:
            return (*_FIELDS, (b"Access-Control-Allow-Origin", b"*"))
        if self._compiled.matches(origin.decode("latin-1")):
            return (*_FIELDS, (b"Access-Control-Allow-Origin", origin))
        return _FIELDS
