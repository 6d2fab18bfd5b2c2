"""
Decides which requests would change or stop only the server that they reach, so that the servers of a pair differ. Pure; only the
method and the path of a request count.

# Note [Readings of a path]

A path is forwarded as received, and the program behind mpp decides what it means: Prometheus itself, or a gateway that normalizes
paths first. ``/-\\reload`` is no path of Prometheus, but becomes ``/-/reload`` where backslashes count as slashes. Therefore all
*readings* are examined: every path that results from the received one by the steps below, at any place, in any order, any number
of times (percent-decoding at most twice).

- decode percent-encoding: all of it, or all but the slash, which gateways often leave alone (Envoy, Apache)
- replace backslashes by slashes
- remove a parameter of a segment: a semicolon and what follows it (RFC 3986 section 3.3)
- remove the rest after a decoded ``?``, ``#``, blank or control character, which a gateway may forward undecoded
- replace an overlong UTF-8 sequence by the ASCII character that it stands for
- remove one of two adjacent slashes; remove ``.``; remove ``x/..``, where x may also be empty or ``.``

A request is unsafe if one of the readings is a listed path behind any prefix, or if there are more than `MOST` readings. A prefix
may end within a segment: a gateway that replaces ``/prom`` by ``/`` (nginx's ``location /prom { proxy_pass http://a/; }``) makes
``/-/reload`` of ``/prom-/reload``. Only ``otlp`` and ``ingester`` have to be whole segments, because some route prefixes end in
these words.

# Note [Words]

Each listed path has a segment that begins with one of its words, and no step joins segments: a word in a segment of a reading is
in the received path after it has been percent-decoded twice. Nearly all paths have no such word and need no search. A property
test compares this check with the search.
"""

from __future__ import annotations

import re
from binascii import a2b_qp
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from mpp.core.model import KIB

FORWARDED_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"OPTIONS", b"PUT", b"PATCH", b"DELETE"))
"""The methods that are forwarded to servers; every other one is rejected. TRACE would show the client the credentials that mpp
adds (RFC 9110 section 9.3.8)."""

MOST = 64
"""Maximum readings of one path, see Note [Readings of a path]; most paths have one or two."""

TRIES = 20 * MOST
"""
Maximum steps of the search for the readings of a path. Only a path with dozens of places such as ``//`` or ``..`` needs more, and
it has more than `MOST` readings anyway.
"""

MAX_PATH = 64 * KIB
"""
Maximum bytes of a forwarded path, without its query string: eight times the request line that Apache and nginx allow. It limits
the time of the check.
"""

LONGEST = 1024
"""
Maximum bytes of a path whose readings are searched, which limits the time. A longer path is unsafe if it contains a word of an
unsafe path, see Note [Words].
"""

_CHANGING = frozenset((b"POST", b"PUT", b"PATCH", b"DELETE"))


class _Listed(NamedTuple):
    """
    A group of paths that are unsafe with some methods.

    :ivar words: lower-case words; each of the paths has a segment that begins with one of them.
    :ivar paths: finds one of the paths, behind any prefix, in a lower-case path.
    :ivar why: the effect of such a request, for the client.
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
        "would put load on one of the Prometheus servers behind mpp, and show the profile of an arbitrary one",
    ),
    # Paths of Mimir, Cortex, Loki, Thanos and VictoriaMetrics; GET of some of them is a read.
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
"""Unsafe paths, exactly as written, and the methods that Prometheus serves (``web/web.go``, ``web/api/v1/api.go``)."""

_OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80\x81][\x80-\xbf]|\xf0\x80[\x80\x81][\x80-\xbf]")
_REST = re.compile(rb"[\x00-\x20?#].*", re.DOTALL)
_DETOURS = (
    (re.compile(rb"\\"), b"/"),
    (re.compile(rb";[^/;]*"), b""),  # one of the parameters
    (re.compile(rb"(?<!/)/(?=/)"), b""),  # the first of adjacent slashes
    (re.compile(rb"(?<!/\.)/\.(?=/|$)"), b""),  # the first of adjacent dots
    (re.compile(rb"/(?!\.\./)[^/]*/\.\.(?=/|$)"), b""),
)
"""Each detour with its replacement; the search replaces one occurrence at a time."""
_AS_QUOTED = bytes.maketrans(b"%=\r\n", b"=\0\0\0")
_AS_PERCENT = bytes.maketrans(b"=", b"%")

_NONE: frozenset[bytes] = frozenset()


def methods(path: bytes) -> frozenset[bytes]:
    """
    Return the methods with which a request for a path is unsafe: empty for nearly all paths.

    The time is bounded for every path, see `LONGEST`.

    :param path: as received, without the query string.
    """
    path = path.lower()
    suspected = _suspected(path)
    if suspected and len(path) <= LONGEST:
        suspected = _searched(path, suspected)
    return _NONE.union(*(listed.methods for listed in suspected)) if suspected else _NONE


class Rejection(NamedTuple):
    """
    The rejection of an unsafe request, for the client.

    :ivar status: 405 where Prometheus itself would answer 405, else 403.
    :ivar why: the effect of the request; empty with 405.
    :ivar allow: the methods that Prometheus serves there; empty with 403.
    """

    status: int
    why: str = ""
    allow: tuple[bytes, ...] = ()


def rejection(method: bytes, path: bytes) -> Rejection:
    """
    Return the rejection of a request that `methods` finds unsafe.

    :param path: as received, without the query string.
    """
    served = next((allow for written, allow in _SERVED if written.search(path)), ())
    # Prometheus answers OPTIONS on all paths, with the fields for CORS.
    if served and method not in (*served, b"OPTIONS"):
        return Rejection(405, allow=served)
    path = path.lower()
    suspected = _suspected(path)
    found = _searched(path, suspected) if len(path) <= LONGEST else suspected
    return Rejection(403, next((listed.why for listed in found if method in listed.methods), _LISTED[0].why))


def _suspected(path: bytes) -> list[_Listed]:
    """Return the groups of unsafe paths that one of the readings of a path may match, see Note [Words]."""
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
    for a path that consists of escapes. It treats a doubled escape character and an escaped end of line specially. Therefore a
    percent sign before another one is escaped first (twice, because matches overlap), and ends of lines and equals signs are
    replaced.
    """
    if b"%%" in path:
        path = path.replace(b"%%", b"%25%").replace(b"%%", b"%25%")
    return a2b_qp(path.replace(b"%3d", b"\0").translate(_AS_QUOTED)).translate(_AS_PERCENT).lower()


def _without_overlong(path: bytes) -> bytes:
    """Return a path with its overlong sequences replaced by the characters that they stand for, in lower case."""
    if path.isascii():
        return path
    for overlong in set(_OVERLONG.findall(path)):
        path = path.replace(overlong, _ascii(overlong))
    return path.lower()


def _searched(path: bytes, suspected: list[_Listed]) -> list[_Listed]:
    """Return the suspected groups that one of the readings matches; all of them if there are too many readings."""
    left = {path: 2}
    """The readings, each with the number of decodings that are left."""
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
    """Yield the result of each step on a reading, which may be the same, with the number of decodings that are left."""
    if decodings and b"%" in path:
        yield unquote_to_bytes(path).lower(), decodings - 1
        yield unquote_to_bytes(path.replace(b"%2f", b"%252f")).lower(), decodings - 1
    yield _REST.sub(b"", path), decodings
    yield _OVERLONG.sub(lambda found: _ascii(found[0]), path).lower(), decodings
    for detour, straight in _DETOURS:
        for place in detour.finditer(path):
            yield path[: place.start()] + straight + path[place.end() :], decodings


def _ascii(overlong: bytes) -> bytes:
    """Return the ASCII character that an overlong sequence of UTF-8 means: its last seven bits, six of them in the last byte."""
    return bytes(((overlong[-2] & 1) << 6 | overlong[-1] & 0x3F,))
