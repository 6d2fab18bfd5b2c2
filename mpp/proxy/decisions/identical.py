"""
Decides which requests are identical, so that one response answers all of them. Pure.

Requests are identical if they ask for the same path and parameters, and no header field differs that may change the response. A
field that is not known to be neutral counts. So requests with different credentials, or of different verified users, never share
a response.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from mpp.core.http import instance, route_cookie
from mpp.core.http.headers import HOP_BY_HOP, REQUEST_DROPPED, names_gzip, nominated
from mpp.core.http.instance import Instance
from mpp.core.model import Headers, RequestInfo
from mpp.core.prometheus import api_errors, paths
from mpp.core.prometheus import query_timeout as forms

# In groups: of Grafana, of tracing, of proxies and the connection, of caches and browsers, and conditions.
_NEUTRAL = HOP_BY_HOP | {
    *(b"x-dashboard-uid", b"x-panel-id", b"x-panel-plugin-id", b"x-dashboard-title", b"x-panel-title", b"x-datasource-uid"),
    *(b"x-grafana-org-id", b"x-query-group-id", b"x-grafana-device-id"),
    *(b"traceparent", b"tracestate", b"baggage", b"uber-trace-id", b"b3", b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid"),
    *(b"x-b3-sampled", b"x-b3-flags", b"x-amzn-trace-id", b"x-cloud-trace-context", b"x-request-id"),
    *(b"x-real-ip", b"forwarded", b"via", b"mpp-instance", b"host", b"content-type", b"content-length", b"expect"),
    # No others of these prefixes: X-Forwarded-User and Cf-Access-Jwt-Assertion name the user.
    *(b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-prefix", b"x-forwarded-proto"),
    *(b"x-forwarded-scheme", b"x-forwarded-server", b"x-forwarded-ssl", b"x-forwarded-by", b"x-forwarded-path"),
    *(b"x-envoy-attempt-count", b"x-envoy-decorator-operation", b"x-envoy-expected-rq-timeout-ms", b"x-envoy-external-address"),
    *(b"x-envoy-internal", b"x-envoy-original-path", b"x-envoy-peer-metadata", b"x-envoy-peer-metadata-id"),
    *(b"cf-connecting-ip", b"cf-connecting-ipv6", b"cf-ew-via", b"cf-ipcountry", b"cf-pseudo-ipv4", b"cf-ray", b"cf-visitor"),
    *(b"cf-warp-tag-id", b"cf-worker", b"cdn-loop", b"true-client-ip"),
    *(b"user-agent", b"referer", b"accept-language", b"priority", b"dnt", b"upgrade-insecure-requests"),
    *(b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"),
}
_NEUTRAL_PREFIXES = (b"sec-", b"x-rule-")
# Cookies that mpp has not set count; a client that does not accept JSON may get something else.
_COOKIE, _ACCEPT = b"cookie", b"accept"
# These count by what they mean, and not by their value.
_ACCEPT_ENCODING, _CACHE_CONTROL, _PRAGMA = b"accept-encoding", b"cache-control", b"pragma"
_OF_NO_CACHE = frozenset((b"max-age=0", b"no-store"))
_BY_MEANING = frozenset((_ACCEPT_ENCODING, _CACHE_CONTROL, _PRAGMA))
# With some of their values a request shares no response; the other values do not count.
_CONNECTION = b"connection"
_PREVENTING = frozenset((_CONNECTION, instance.FIELD))
_JSON = re.compile(rb"(?:^|,)[ \t]*(?:\*/\*|application/(?:\*|json))[ \t]*(?:[,;]|$)", re.IGNORECASE)

# Only the API, and no event stream. Federation and remote read keep a server for each client.
_SHARED = re.compile(rb"/api/v1/(?!notifications/live|read$)[^?]*$")
# Statuses of responses that every identical request would get; 401 and 403 may depend on what the key does not contain.
_FOR_ALL = frozenset((200, 400, 404, 422, 500, 502, 503, 504))
_TIMEOUT = re.compile(rb'"errorType" ?: ?"timeout"')

_MOST_PARAMETERS = 200
# Bytes of a field that are searched.
_LONGEST = 1000
# Bytes of a path for which the result of `_may_share` is kept.
_LONGEST_KEPT = 256
_MOST_SPELLINGS = 1024


class Accepted(NamedTuple):
    """
    The responses that a client accepts.

    :ivar gzip: the client accepts gzip.
    :ivar deflate: the client names deflate before gzip: Prometheus chooses the first of the two that it reads.
    :ivar new: the client accepts no cached response (``no-cache``, ``no-store``), and so shares none with a client that does.
    """

    gzip: bool = False
    deflate: bool = False
    new: bool = False

    def together(self, more: Accepted) -> Accepted:
        """Return what a client accepts by two of its header fields."""
        return Accepted(self.gzip or more.gzip, self.deflate or more.deflate, self.new or more.new)


UNSAID = Accepted()
"""The value for a client that sends none of these header fields: it gets no content coding, and accepts cached responses."""


class RequestKey(Struct, frozen=True):
    """
    The properties by which identical requests are recognized.

    :ivar method: ``GET`` or ``HEAD``; a query in a POST counts as ``GET``.
    :ivar path: as it was sent.
    :ivar parameters: the parameters of the form and the query string, sorted by name; of equal names the form's come first.
    :ivar fields: the header fields that may change the response, with the cookies that are not mpp's, sorted by name.
    :ivar user: the user that mpp has verified, or empty.
    :ivar accepted: the coding and the age of the response that the client accepts.
    """

    method: bytes
    path: bytes
    parameters: tuple[bytes, ...]
    fields: Headers
    user: bytes = b""
    accepted: Accepted = UNSAID


class CountedFields:
    """
    The rules by which header fields count: requests that differ in such a field share no response.

    :param vary: names of further fields that count, lower case.
    :param neutral: names of further fields that do not, lower case.
    :param own: this mpp, whose own requests share no response; None if it sends none.
    """

    def __init__(self, vary: Sequence[bytes] = (), neutral: Sequence[bytes] = (), own: Instance | None = None) -> None:
        self._vary = frozenset(vary)
        self._neutral = _NEUTRAL | frozenset(neutral)
        self._own = own
        # By the spelling of a name, because each of them would be converted to lower case for every request.
        self._spellings: dict[bytes, bytes | None] = {}

    def of(self, headers: Headers) -> tuple[Headers | None, Accepted]:
        """Return the fields that count, None if the response is never shared; and what the client accepts."""
        spellings, found, accepted = self._spellings, [], UNSAID
        for name, value in headers:
            try:
                lower = spellings[name]
            except KeyError:
                lower = self._learn(name)
            if lower is None:
                continue
            if lower in _PREVENTING and self._prevents(lower, value):
                return None, accepted
            if lower == _ACCEPT:
                if not _accepts_json(value[:_LONGEST]):
                    found.append((lower, value))
            elif lower in _BY_MEANING:
                more = _accepted(lower, value[:_LONGEST])
                accepted = more if accepted is UNSAID else accepted.together(more)
            elif lower == _COOKIE:
                if value := route_cookie.without_ours(value):
                    found.append((lower, value))
            elif lower not in _PREVENTING or lower in self._vary:
                found.append((lower, value))
        if len(found) > 1:
            found.sort(key=_name)
        return tuple(found), accepted

    def counts(self, name: bytes) -> bool:
        """Return whether a field counts by its value or meaning; ``name`` is lower case."""
        return name in self._vary or not (name in self._neutral or name.startswith(_NEUTRAL_PREFIXES))

    def _prevents(self, name: bytes, value: bytes) -> bool:
        """
        Return whether the value of a field in `_PREVENTING` prevents that a response is shared.

        A field that ``Connection`` names is not sent to the server, so the response does not belong to its value. A request that
        this mpp has sent itself would wait for its own response, see Note [Instance] in `mpp.core.http.instance`.
        """
        if name == _CONNECTION:
            return bool(nominated((value,), REQUEST_DROPPED))
        return self._own is not None and self._own.is_in((value,))

    def _learn(self, name: bytes) -> bytes | None:
        lower = name.lower()
        found = lower if lower in _PREVENTING or self.counts(lower) else None
        if len(self._spellings) < _MOST_SPELLINGS:
            self._spellings[name] = found
        return found


def key_of(info: RequestInfo, counted: CountedFields) -> RequestKey | None:
    """Return the key by which identical requests are recognized; None if the response is never shared."""
    path, _, query = info.target.partition(b"?")
    method = info.method
    if not (_may_share(path, method) if len(path) <= _LONGEST_KEPT else _may_share.__wrapped__(path, method)):
        return None
    if method == b"POST":
        if not forms.is_form(info):
            return None
        method, query = b"GET", info.body + b"&" + query if query else info.body
    elif info.body or method == b"OPTIONS":
        return None
    parameters = query.split(b"&", _MOST_PARAMETERS)
    if len(parameters) > 1:
        if len(parameters) > _MOST_PARAMETERS:
            return None
        parameters.sort(key=_parameter_name)
    fields, accepted = counted.of(info.headers)
    if fields is None:
        return None
    return RequestKey(method, path, tuple(parameters), fields, info.user, accepted)


def size_of(info: RequestInfo) -> int:
    """Return the size of path, query string and form together: the same number for all requests with the same key."""
    target = info.target
    mark = target.find(b"?")
    # The question mark does not count, unless it stands for the ampersand between a form and a query string.
    omitted = mark >= 0 and (info.method != b"POST" or mark == len(target) - 1)
    return len(target) - omitted + len(info.body)


def is_for_all(status: int, fields: Headers, counted: CountedFields, accepted: Accepted) -> bool:
    """
    Return whether the response to one request may be given to all identical ones.

    :param fields: the header fields of the response.
    :param counted: decides which header fields of requests count.
    :param accepted: what all clients accept.
    """
    if status not in _FOR_ALL:
        return False
    for name, value in fields:
        lower = name.lower()
        if lower == b"set-cookie" or (lower == b"vary" and not _varies_by_counted(value, counted)):
            return False
        # RFC 9111 section 5.2.2. An error, as one of another mpp, says no-store because it is soon over; it is not cached.
        if lower == _CACHE_CONTROL and status == 200 and _is_for_one(value):
            return False
        # A server, or a proxy in front of it, may choose a coding that only the first client accepts.
        if lower == b"content-encoding" and not _accepts(accepted, value.strip().lower()):
            return False
    return True


def fields_of_joined(responses: Sequence[Headers], counted: CountedFields) -> Headers:
    """Return the header fields of a joined response: the ones of the first response that is not for all clients, if any."""
    return next((fields for fields in responses if not is_for_all(200, fields, counted, UNSAID)), responses[0])


def is_timeout(status: int, fields: Headers, body: Sequence[bytes]) -> bool:
    """Return whether a response says that the query ran into its timeout."""
    if status not in (503, 504):
        return False
    text = api_errors.decoded(fields, b"".join(body))
    return text is not None and _TIMEOUT.search(text) is not None


# Dashboards ask for few paths.
@functools.lru_cache(256)
def _may_share(path: bytes, method: bytes) -> bool:
    """Return whether requests for a path may share a response."""
    return _SHARED.search(path) is not None and paths.meaning(path).is_read(method)


@functools.lru_cache(256)
def _accepts_json(value: bytes) -> bool:
    return _JSON.search(value) is not None


# Clients have few different values.
@functools.lru_cache(256)
def _accepted(name: bytes, value: bytes) -> Accepted:
    """Return what a client accepts by one of its header fields; ``name`` is lower case."""
    parts = [part.strip() for part in value.lower().split(b",")]
    if name == _ACCEPT_ENCODING:
        first = next((coding for coding in parts if coding in (b"gzip", b"deflate")), b"")
        return Accepted(gzip=names_gzip(value), deflate=first == b"deflate")
    # RFC 9111 section 5.2.1; Pragma: section 5.4. A response to no-store is not cached, so it comes from no cache, either.
    return Accepted(new=b"no-cache" in parts or (name == _CACHE_CONTROL and not _OF_NO_CACHE.isdisjoint(parts)))


def _accepts(accepted: Accepted, coding: bytes) -> bool:
    if coding == b"gzip":
        return accepted.gzip
    return accepted.deflate if coding == b"deflate" else coding in (b"", b"identity")


def _is_for_one(value: bytes) -> bool:
    """Return whether a response with this value of ``Cache-Control`` is for one client; ``private`` may name fields."""
    return any(each.partition(b"=")[0].strip() in (b"no-store", b"private") for each in value.lower().split(b","))


def _varies_by_counted(value: bytes, counted: CountedFields) -> bool:
    names = [name.strip().lower() for name in value.split(b",")]
    return b"*" not in names and all(not name or counted.counts(name) for name in names)


def _name(each: tuple[bytes, bytes]) -> bytes:
    return each[0]


def _parameter_name(parameter: bytes) -> bytes:
    return parameter.partition(b"=")[0]
