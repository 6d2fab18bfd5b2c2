"""
Classifies the paths of request targets as Prometheus understands them. Pure.

A path is decoded and normalized to be classified, but is forwarded unchanged. It may have any prefix, because a server may have a
route prefix (``/prometheus/api/v1/query``). `mpp.core.prometheus.unsafe_paths` decides which paths are unsafe.
"""

from __future__ import annotations

import enum
import functools
import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from mpp.core.prometheus import unsafe_paths

# These paths accept POST with a form instead of a long query string, and are reads all the same.
# All other paths of Prometheus under /api/v1 accept only GET, or are writes.
_POST_READS = re.compile(
    rb"(?:^|/)api/v1/(?:query|query_range|query_exemplars|labels|series|format_query|parse_query|read"
    rb"|search/(?:metric_names|label_names|label_values))/?$"
)

# Exactly as written, behind any prefix: Prometheus redirects every other spelling to this one, and the redirect would contain an
# added timeout, which browsers keep. A percent-encoded spelling is not changed.
_TAKES_TIMEOUT = re.compile(rb"/api/v1/query(?:_range)?$")
_FEDERATION = re.compile(rb"(?:^|/)(?:federate|api/v1/read)/?$")
_REDIRECTED = re.compile(rb"/\.{0,2}/")

# Exactly as written: Prometheus itself redirects other spellings, or does not find them. Every version serves the first paths,
# some versions serve the second; a percent-encoded label name may not be found.
_ALWAYS_SERVED = re.compile(rb"/api/v1/(?:query|query_range|series|label/[^/%]+/values)")
_SERVED = re.compile(
    rb"/api/v1/(?:labels|query_exemplars|format_query|parse_query|metadata|targets|targets/metadata|targets/relabel_steps|scrape_pools"
    rb"|rules|alerts|alertmanagers|features|notifications|notifications/live|read|search/(?:metric_names|label_names|label_values)"
    rb"|status/(?:config|flags|runtimeinfo|buildinfo|tsdb|tsdb/blocks|walreplay|self_metrics))"
)

# Longer paths are not cached: 512 of this length take 128 KiB.
_REMEMBERED = 256
# Longer paths are no queries, and would take long to normalize.
_LONGEST_QUERY = 4096

_READ_METHODS = frozenset((b"GET", b"HEAD", b"OPTIONS"))

NO_PREFIXES = ("",)
"""The value of `mpp.core.model.Selection.prefixes` if no backend has a prefix."""


def path_of(target: bytes) -> bytes:
    """Return the raw path of a request target: the part before the first ``?``."""
    return target.partition(b"?")[0]


def normalized(path: bytes) -> bytes:
    """
    Return a path as the most lenient server might understand it: decoded once, slashes merged, dots resolved, lower case.

    >>> normalized(b"/api//v1/x/../%61dmin/")
    b'/api/v1/admin/'
    """
    if b"%" in path:
        path = unquote_to_bytes(path)
    if b"//" in path:
        path = re.sub(rb"/+", b"/", path)
    if b"/." in path:
        path = _without_dots(path)
    return path.lower()


def _without_dots(path: bytes) -> bytes:
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


class PathMeaning(NamedTuple):
    """
    The classification of a raw path.

    :ivar unsafe: the methods with which a request changes or stops only the server that it reaches, so that the servers of a pair
        diverge; see `mpp.core.prometheus.unsafe_paths`. Empty for nearly all paths.
    :ivar post_reads: a POST to the path is a read.
    :ivar takes_timeout: requests accept a ``timeout`` parameter, see `mpp.core.prometheus.query_timeout`.
    :ivar sticky: the path is that of federation or remote read, see `mpp.proxy.decisions.placement`.
    """

    unsafe: frozenset[bytes]
    post_reads: bool
    takes_timeout: bool
    sticky: bool = False

    def is_read(self, method: bytes) -> bool:
        """Return whether a request changes nothing on the server, so that it may be repeated (Prometheus API page)."""
        return method not in self.unsafe and (method in _READ_METHODS or (self.post_reads and method == b"POST"))


def meaning(path: bytes) -> PathMeaning:
    """Return the classification of a raw path. It is cached, because dashboards request the same few paths."""
    return _meaning(path) if len(path) <= _REMEMBERED else _meaning.__wrapped__(path)


@functools.lru_cache(512)
def _meaning(path: bytes) -> PathMeaning:
    unsafe = unsafe_paths.methods(path)
    if len(path) > _LONGEST_QUERY:
        return PathMeaning(unsafe, False, False)
    takes_timeout = _TAKES_TIMEOUT.search(path) is not None and _REDIRECTED.search(path) is None
    normal = normalized(path)
    return PathMeaning(unsafe, _POST_READS.search(normal) is not None, takes_timeout, _FEDERATION.search(normal) is not None)


class APIPath(enum.Enum):
    """Whether Prometheus serves a path as a part of its API."""

    NONE = "none"
    SOME = "some"
    """Only some versions of Prometheus serve it."""
    ALWAYS = "always"


def api(path: bytes) -> APIPath:
    """
    Return which versions of Prometheus serve a path as a part of the API.

    :param path: raw, without the server's prefix.
    """
    if _ALWAYS_SERVED.fullmatch(path):
        return APIPath.ALWAYS
    return APIPath.SOME if _SERVED.fullmatch(path) else APIPath.NONE


def without_prefix(prefix: str, target: bytes, prefixes: tuple[str, ...]) -> bytes:
    """Return the path of a target as a backend sees it behind its own prefix: the counterpart of `with_prefix`."""
    path = path_of(target)
    return path[_prefix_length(path, prefix, prefixes) :]


def is_own(path: bytes) -> bool:
    """Return whether mpp answers a path itself: its first segment is ``mpp``."""
    return path.startswith(b"/mpp/") or path == b"/mpp"


def is_unsafe_behind(method: bytes, path: bytes, prefixes: tuple[str, ...]) -> bool:
    """Return whether a request is unsafe with its received path, or with a path that `with_prefix` would make for a backend."""
    unsafe = meaning(path).unsafe
    if unsafe and method in unsafe:
        return True
    # Nearly always, no backend has a prefix.
    return prefixes != NO_PREFIXES and any(method in meaning(changed).unsafe for changed in _with_any_prefix(path, prefixes))


def rejection_behind(method: bytes, path: bytes, prefixes: tuple[str, ...]) -> unsafe_paths.Rejection:
    """Return the rejection of a request that `is_unsafe_behind` finds unsafe with these prefixes."""
    readings = (path, *_with_any_prefix(path, prefixes))
    unsafe = next((reading for reading in readings if method in meaning(reading).unsafe), path)
    return unsafe_paths.rejection(method, unsafe)


def _with_any_prefix(path: bytes, prefixes: tuple[str, ...]) -> list[bytes]:
    rest = without_prefix("", path, prefixes)
    return [_joined(prefix, rest) for prefix in prefixes]


def with_prefix(prefix: str, target: bytes, prefixes: tuple[str, ...]) -> bytes:
    """
    Return a raw target with the path prefix of a backend in place of the prefix of any known backend.

    Prometheus redirects to paths with its prefix, and its pages request such paths: a client returns with the prefix of the
    backend that answered its previous request.

    :param prefix: the prefix of the backend that gets the request.
    :param prefixes: the prefixes of all known backends, the longest first, see `mpp.core.model.Selection.prefixes`.
    """
    return _joined(prefix, target[_prefix_length(path_of(target), prefix, prefixes) :])


def _prefix_length(path: bytes, prefix: str, prefixes: tuple[str, ...]) -> int:
    """
    Return the length of the first prefix of a known backend that a path begins with, in whole segments; 0 for no prefix.

    ``prefix``, the prefix of the backend of the request, is tried last, in case the backend was removed during the request. A
    prefix in front of ``/mpp`` does not count: the admin pages of a backend that is an mpp itself are not reachable in this way.
    """
    for known in (*prefixes, prefix):
        if known and path.startswith(raw := known.encode("ascii")):
            rest = path[len(raw) :]
            if rest[:1] in (b"", b"/") and not is_own(rest):
                return len(raw)
    return 0


def _joined(prefix: str, rest: bytes) -> bytes:
    """Return a prefix followed by the rest of a target; the result always begins with a slash."""
    return prefix.encode("ascii") + rest if prefix or rest.startswith(b"/") else b"/" + rest
