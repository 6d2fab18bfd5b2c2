"""
Decides which requests would change or stop the one server that they reach, and so make the servers of a pair differ. Pure; knows
method and path of a request, nothing of its query string, fields or body.

# Note [Readings of a path]

A path is forwarded as it came, and what it means is decided by whatever stands behind mpp: Prometheus itself, or a gateway that
normalizes paths first. ``/-\\reload`` is no path of Prometheus, but becomes ``/-/reload`` where backslashes count as slashes. So
all *readings* are judged: every path that results from the received one by the steps below, each taken at any place, in any
order, any number of times (percent-decoding twice at most).

- decode percent-encoding: all of it, or all but the slash, which gateways often leave alone (Envoy, Apache)
- take backslashes as slashes
- cut a parameter of a segment: a semicolon and what follows it (RFC 3986 section 3.3)
- cut what follows ``?``, ``#``, a blank or a control character, when it has been decoded: it may be sent on undecoded
- take an overlong UTF-8 sequence as the ASCII character that it stands for
- remove one of two adjacent slashes; remove ``.``; remove ``x/..``, where x may also be empty or ``.``

A request is unsafe if one of the readings is a listed path behind any prefix, or if there are more than `MOST` readings. A prefix
may end within a segment: a gateway that replaces ``/prom`` by ``/`` (nginx's ``location /prom { proxy_pass http://a/; }``) makes
``/-/reload`` of ``/prom-/reload``. Only ``otlp`` and ``ingester`` have to be whole segments, for there are route prefixes that
end so.

# Note [Words]

Each listed path has a segment that begins with one of its words, and no step joins segments: a word in a segment of a reading is
in the received path, once that has been percent-decoded twice. Nearly all paths have no such word and are done with at once. A
property test compares this with the search.
"""

from __future__ import annotations

import re
from binascii import a2b_qp
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from mpp.core.model import KIB

FORWARDED_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"OPTIONS", b"PUT", b"PATCH", b"DELETE"))
"""Methods that servers are sent; every other one is rejected, whatever its path. TRACE would show a client the credentials that
mpp adds (RFC 9110 section 9.3.8)."""

MOST = 64
"""Readings that one path may have; without detours a path has one or two."""

TRIES = 20 * MOST
"""Steps that the search takes at most. Only detours by the dozen need more, which have more than `MOST` readings anyway."""

MAX_PATH = 64 * KIB
"""
Bytes of a path that is forwarded, which bounds the time to judge it: eight times what Apache and nginx allow for a request line.
The query string is not bounded by this.
"""

LONGEST = 1024
"""Bytes of the longest path whose readings are searched for, which bounds the time: a longer one with a word is unsafe."""

_CHANGING = frozenset((b"POST", b"PUT", b"PATCH", b"DELETE"))


class _Listed(NamedTuple):
    """
    Paths that are unsafe with some methods.

    :ivar words: each of the paths has a segment that begins with one of them; lower case.
    :ivar paths: finds one of the paths, behind any prefix, in a lower-case path.
    :ivar why: what such a request would do, for the client.
    """

    methods: frozenset[bytes]
    words: tuple[bytes, ...]
    paths: re.Pattern[bytes]
    why: str = "would change or stop only one of the Prometheus servers behind mpp and make them differ"


_LISTED = (
    # Prometheus itself.
    _Listed(
        FORWARDED_METHODS,
        (b"reload", b"quit", b"admin", b"otlp", b"write"),
        re.compile(rb"-/(?:reload|quit)/?$|api/v1/(?:admin|otlp)(?:/|$)|api/v1/write/?$"),
    ),
    _Listed(
        FORWARDED_METHODS,
        (b"pprof",),
        re.compile(rb"debug/pprof(?:/|$)"),
        "would load one of the Prometheus servers behind mpp, and tell of that one only, whichever it is",
    ),
    # What Mimir, Cortex, Loki, Thanos and VictoriaMetrics have under the same roof; some of it can be read with GET.
    _Listed(
        _CHANGING,
        (b"rules", b"alerts", b"push", b"receive", b"otlp", b"import", b"upload", b"ingester", b"delete_tenant"),
        re.compile(
            rb"api/v1/(?:(?:rules|upload)/|(?:alerts|push|receive)/?$|import)|config/v1/rules/|api/prom/push/?$"
            rb"|(?:^|/)(?:otlp|ingester)/|compactor/delete_tenant"
        ),
    ),
    _Listed(frozenset((b"DELETE",)), (b"series",), re.compile(rb"api/v1/series/?$")),
)

_SERVED = (
    (
        re.compile(rb"(?:^|/)(?:-/(?:reload|quit)|api/v1/admin/tsdb/(?:delete_series|clean_tombstones|snapshot))$"),
        (b"POST", b"PUT"),
    ),
    (re.compile(rb"(?:^|/)api/v1/(?:write|otlp/v1/metrics)$"), (b"POST",)),
    (re.compile(rb"(?:^|/)debug/pprof(?:/|$)"), (b"GET", b"POST")),
)
"""Methods that Prometheus has a route for, of unsafe paths as they are written (``web/web.go``, ``web/api/v1/api.go``)."""

_OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80\x81][\x80-\xbf]|\xf0\x80[\x80\x81][\x80-\xbf]")
_REST = re.compile(rb"[\x00-\x20?#].*", re.DOTALL)
_DETOURS = (
    (re.compile(rb"\\"), b"/"),
    (re.compile(rb";[^/;]*"), b""),  # one of the parameters
    (re.compile(rb"(?<!/)/(?=/)"), b""),  # the first of adjacent slashes
    (re.compile(rb"(?<!/\.)/\.(?=/|$)"), b""),  # the first of adjacent dots
    (re.compile(rb"/(?!\.\./)[^/]*/\.\.(?=/|$)"), b""),
)
"""What is found of each is replaced at one place at a time."""
_AS_QUOTED = bytes.maketrans(b"%=\r\n", b"=\0\0\0")
_AS_PERCENT = bytes.maketrans(b"=", b"%")

_NONE: frozenset[bytes] = frozenset()


def methods(path: bytes) -> frozenset[bytes]:
    """
    Return the methods with which a request for a path is unsafe: empty for nearly all paths.

    Takes a time that is bounded however the path is made: see `LONGEST`.

    :param path: as received, without the query string.
    """
    path = path.lower()
    suspected = _suspected(path)
    if suspected and len(path) <= LONGEST:
        suspected = _searched(path, suspected)
    return _NONE.union(*(listed.methods for listed in suspected)) if suspected else _NONE


class Rejection(NamedTuple):
    """
    What a client is told of an unsafe request.

    :ivar status: 405 where Prometheus says so itself, else 403.
    :ivar why: what the request would do; empty with 405.
    :ivar allow: the methods that Prometheus has there; empty with 403.
    """

    status: int
    why: str = ""
    allow: tuple[bytes, ...] = ()


def rejection(method: bytes, path: bytes) -> Rejection:
    """
    Return what a client is told of a request that `methods` finds unsafe.

    :param path: as received, without the query string.
    """
    served = next((allow for written, allow in _SERVED if written.search(path)), ())
    # OPTIONS is answered everywhere, with the fields for scripts of other origins.
    if served and method not in (*served, b"OPTIONS"):
        return Rejection(405, allow=served)
    path = path.lower()
    suspected = _suspected(path)
    found = _searched(path, suspected) if len(path) <= LONGEST else suspected
    return Rejection(403, next((listed.why for listed in found if method in listed.methods), _LISTED[0].why))


def _suspected(path: bytes) -> list[_Listed]:
    """Return the entries of the list that a path may match in one of its readings, see Note [Words]."""
    if len(path) > MAX_PATH:
        return list(_LISTED)
    path = _without_overlong(path)
    for _ in range(2):
        if b"%" in path:
            path = _without_overlong(_quickly_decoded(path))
    return [listed for listed in _LISTED if any(word in path for word in listed.words)]


def _quickly_decoded(path: bytes) -> bytes:
    """
    Return a path percent-decoded, in lower case.

    Quoted-printable differs from percent-encoding in its escape character, and its decoder is 20 times as fast as that of urllib
    for a path that consists of escapes. It reads a doubled escape character and an escaped end of line in ways of its own. So a
    percent sign before another one is escaped first (twice, as places overlap), and ends of lines and equals signs are replaced.
    """
    if b"%%" in path:
        path = path.replace(b"%%", b"%25%").replace(b"%%", b"%25%")
    return a2b_qp(path.replace(b"%3d", b"\0").translate(_AS_QUOTED)).translate(_AS_PERCENT).lower()


def _without_overlong(path: bytes) -> bytes:
    """Return a path with the characters that its overlong sequences stand for, in lower case."""
    if path.isascii():
        return path
    for overlong in set(_OVERLONG.findall(path)):
        path = path.replace(overlong, _ascii(overlong))
    return path.lower()


def _searched(path: bytes, suspected: list[_Listed]) -> list[_Listed]:
    """Return the suspected entries of the list that one of the readings matches; all of them if there are too many readings."""
    left = {path: 2}
    """The readings, and how often each may still be decoded."""
    queue, tries = [path], 0
    for reading in queue:
        for found, decodings in _steps(reading, left[reading]):
            tries += 1
            if left.get(found, -1) < decodings:
                left[found] = decodings
                queue.append(found)
        if len(left) > MOST or tries > TRIES:
            return suspected
    return [listed for listed in suspected if any(map(listed.paths.search, left))]


def _steps(path: bytes, decodings: int) -> Iterator[tuple[bytes, int]]:
    """Yield what each step makes of a reading, with the number of decodings that are left then; also the reading itself."""
    if decodings and b"%" in path:
        yield unquote_to_bytes(path).lower(), decodings - 1
        yield unquote_to_bytes(path.replace(b"%2f", b"%252f")).lower(), decodings - 1
    yield _REST.sub(b"", path), decodings
    yield _OVERLONG.sub(lambda found: _ascii(found[0]), path).lower(), decodings
    for detour, straight in _DETOURS:
        for place in detour.finditer(path):
            yield path[: place.start()] + straight + path[place.end() :], decodings


def _ascii(overlong: bytes) -> bytes:
    """Return the character of an overlong sequence: seven bits, of which the last byte has six."""
    return bytes(((overlong[-2] & 1) << 6 | overlong[-1] & 0x3F,))
