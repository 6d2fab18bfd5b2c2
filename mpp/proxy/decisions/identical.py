"""
Decides which requests are identical, so that one response answers all of them. Pure.

Requests are identical if they ask for the same path and parameters, and no header field differs that may change the response. A
field that is not known to be neutral counts. So requests with different credentials, or of different verified users, never share
a response.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from mpp.core.http.headers import HOP_BY_HOP, names_gzip
from mpp.core.http.route_cookie import ROUTE_COOKIE
from mpp.core.model import Headers, RequestInfo
from mpp.core.prometheus import paths
from mpp.core.prometheus import query_timeout as forms

# In groups: of Grafana, of tracing, of proxies and the connection, of caches and browsers, and conditions.
_NEUTRAL = HOP_BY_HOP | {
    *(b"x-dashboard-uid", b"x-panel-id", b"x-panel-plugin-id", b"x-dashboard-title", b"x-panel-title", b"x-datasource-uid"),
    *(b"x-grafana-org-id", b"x-query-group-id", b"x-grafana-device-id"),
    *(b"traceparent", b"tracestate", b"baggage", b"uber-trace-id", b"b3", b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid"),
    *(b"x-b3-sampled", b"x-b3-flags", b"x-amzn-trace-id", b"x-cloud-trace-context", b"x-request-id"),
    *(b"x-real-ip", b"forwarded", b"via", b"mpp-instance", b"host", b"content-type", b"content-length", b"expect"),
    *(b"cache-control", b"pragma", b"user-agent", b"referer", b"accept-language", b"accept-encoding", b"priority", b"dnt"),
    *(b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"upgrade-insecure-requests"),
}
_NEUTRAL_PREFIXES = (b"x-forwarded-", b"x-envoy-", b"cf-", b"sec-", b"x-rule-")
# Cookies that mpp has not set count; a client that does not accept JSON may get something else.
_COOKIE, _ACCEPT, _ACCEPT_ENCODING = b"cookie", b"accept", b"accept-encoding"
_JSON = re.compile(rb"(?:^|,)[ \t]*(?:\*/\*|application/(?:\*|json))[ \t]*(?:[,;]|$)", re.IGNORECASE)

# Only the API, and no event stream. Federation and remote read keep a server for each client.
_SHARED = re.compile(rb"/api/v1/(?!notifications/live|read$)[^?]*$")
# Statuses of responses that every identical request would get; 401 and 403 may depend on what the key does not contain.
_FOR_ALL = frozenset((200, 400, 404, 422, 500, 502, 503, 504))
_TIMEOUT = re.compile(rb'"errorType" ?: ?"timeout"')

_MOST_PARAMETERS = 200
# Bytes of a field that are searched.
_LONGEST = 1000
_MOST_SPELLINGS = 1024


class RequestKey(NamedTuple):
    """
    The properties by which identical requests are recognized.

    :ivar method: ``GET`` or ``HEAD``; a query in a POST counts as ``GET``.
    :ivar path: as it was sent.
    :ivar parameters: first of the form, then of the query string, sorted by name; equal names keep their order.
    :ivar fields: the header fields that count, with the cookies that are not mpp's, sorted by name.
    :ivar user: the user that mpp has verified, or empty.
    :ivar gzip: the client accepts gzip.
    """

    method: bytes
    path: bytes
    parameters: tuple[bytes, ...]
    fields: Headers
    user: bytes = b""
    gzip: bool = False


class CountedFields:
    """
    The header fields that count.

    :param vary: names of further fields that count, lower case.
    :param neutral: names of further fields that do not, lower case.
    """

    def __init__(self, vary: Sequence[bytes] = (), neutral: Sequence[bytes] = ()) -> None:
        self._vary = frozenset(vary)
        self._neutral = _NEUTRAL | frozenset(neutral)
        # By the spelling of a name, because each of them would be converted to lower case for every request.
        self._spellings: dict[bytes, bytes | None] = {}

    def of(self, headers: Headers) -> tuple[Headers, bool]:
        """Return the fields that count, and whether the client accepts gzip."""
        spellings, found, gzip = self._spellings, [], False
        for name, value in headers:
            try:
                lower = spellings[name]
            except KeyError:
                lower = self._learn(name)
            if lower is None:
                continue
            if lower == _ACCEPT_ENCODING:
                gzip = gzip or names_gzip(value[:_LONGEST])
            elif lower == _ACCEPT:
                if not _JSON.search(value, 0, _LONGEST):
                    found.append((lower, value))
            elif lower == _COOKIE:
                if value := _others(value):
                    found.append((lower, value))
            else:
                found.append((lower, value))
        if len(found) > 1:
            found.sort(key=_name)
        return tuple(found), gzip

    def counts(self, name: bytes) -> bool:
        """Return whether a field counts; ``name`` is lower case."""
        return name in self._vary or not (name in self._neutral or name.startswith(_NEUTRAL_PREFIXES))

    def _learn(self, name: bytes) -> bytes | None:
        lower = name.lower()
        found = lower if self.counts(lower) or lower == _ACCEPT_ENCODING else None
        if len(self._spellings) < _MOST_SPELLINGS:
            self._spellings[name] = found
        return found


def key_of(info: RequestInfo, counted: CountedFields) -> RequestKey | None:
    """Return the key by which identical requests are recognized; None if the response is never shared."""
    path, _, query = info.target.partition(b"?")
    method = info.method
    if not _SHARED.search(path) or not paths.meaning(path).is_read(method):
        return None
    if method == b"POST":
        if not forms.is_form(info):
            return None
        method, query = b"GET", info.body + b"&" + query if query else info.body
    elif info.body or method == b"OPTIONS":
        return None
    parameters = query.split(b"&", _MOST_PARAMETERS)
    if len(parameters) > _MOST_PARAMETERS:
        return None
    if len(parameters) > 1:
        parameters.sort(key=_parameter_name)
    fields, gzip = counted.of(info.headers)
    return RequestKey(method, path, tuple(parameters), fields, info.user, gzip)


def is_for_all(status: int, fields: Headers, counted: CountedFields) -> bool:
    """
    Return whether a response to one request is a response to all identical ones.

    :param fields: its header fields.
    :param counted: the fields of requests that count.
    """
    if status not in _FOR_ALL:
        return False
    for name, value in fields:
        if len(name) == 10 and name.lower() == b"set-cookie":
            return False
        if len(name) == 4 and name.lower() == b"vary" and not _varies_by_counted(value, counted):
            return False
    return True


def is_timeout(status: int, body: Sequence[bytes]) -> bool:
    """Return whether a response says that the time of the query was up."""
    return status in (503, 504) and _TIMEOUT.search(b"".join(body)[:4096]) is not None


def _varies_by_counted(value: bytes, counted: CountedFields) -> bool:
    names = [name.strip().lower() for name in value.split(b",")]
    return b"*" not in names and all(not name or name == _ACCEPT_ENCODING or counted.counts(name) for name in names)


def _others(cookies: bytes) -> bytes:
    """Return the cookies that mpp has not set."""
    if ROUTE_COOKIE not in cookies:
        return cookies
    return b";".join(each for each in cookies.split(b";") if not each.strip().startswith(ROUTE_COOKIE)).strip()


def _name(each: tuple[bytes, bytes]) -> bytes:
    return each[0]


def _parameter_name(parameter: bytes) -> bytes:
    return parameter.partition(b"=")[0]
