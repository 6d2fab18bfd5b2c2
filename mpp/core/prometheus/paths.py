"""
What a request target means to a Prometheus. Pure; knows nothing of headers, backends or connections.

Targets are matched decoded and normalized, and forwarded raw. Matching is at any depth, because a server may live under a route
prefix (``/prometheus/api/v1/query``). Which paths are unsafe is decided in `mpp.core.prometheus.unsafe_paths`.
"""

from __future__ import annotations

import enum
import functools
import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from mpp.core.prometheus import unsafe_paths

# POST with a form instead of a long query string changes nothing on the server: all of these are reads.
# Everything else that Prometheus serves under /api/v1 is GET only, or a write.
_POST_READS = re.compile(
    rb"(?:^|/)api/v1/(?:query|query_range|query_exemplars|labels|series|format_query|parse_query|read"
    rb"|search/(?:metric_names|label_names|label_values))/?$"
)

# As it is written, behind any prefix: Prometheus redirects every other spelling to this one, and the redirect would carry an
# injected timeout, which browsers keep. What is percent-encoded where a plain word is expected is left alone.
_TAKES_TIMEOUT = re.compile(rb"/api/v1/query(?:_range)?$")
_FEDERATION = re.compile(rb"(?:^|/)(?:federate|api/v1/read)/?$")
_REDIRECTED = re.compile(rb"/\.{0,2}/")

# As it is written, for any other spelling is redirected, or not found, by a Prometheus as well. The first are served by every
# version, the second by some; a label's name that is percent-encoded may not be found.
_ALWAYS_SERVED = re.compile(rb"/api/v1/(?:query|query_range|series|label/[^/%]+/values)")
_SERVED = re.compile(
    rb"/api/v1/(?:labels|query_exemplars|format_query|parse_query|metadata|targets|targets/metadata|targets/relabel_steps|scrape_pools"
    rb"|rules|alerts|alertmanagers|features|notifications|notifications/live|read|search/(?:metric_names|label_names|label_values)"
    rb"|status/(?:config|flags|runtimeinfo|buildinfo|tsdb|tsdb/blocks|walreplay|self_metrics))"
)

# Longer paths are not remembered: 512 of this length take 128 KiB.
_REMEMBERED = 256
# Longer paths are no query, and not worth the time that it takes to normalize them.
_LONGEST_QUERY = 4096

_READ_METHODS = frozenset((b"GET", b"HEAD", b"OPTIONS"))

NO_PREFIXES = ("",)
"""`mpp.core.model.Selection.prefixes` where no backend has a prefix."""


def path_of(target: bytes) -> bytes:
    """Give the raw path of a request target: what stands before the first ``?``."""
    return target.partition(b"?")[0]


def normalized(path: bytes) -> bytes:
    """
    Give the path as the most lenient server might understand it: decoded once, slashes merged, dots resolved, lower case.

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
    What a raw path means.

    :ivar unsafe: the methods with which a request for it changes or stops the one server it reaches, and so makes a pair
        diverge; see `mpp.core.prometheus.unsafe_paths`. Empty for nearly all paths.
    :ivar post_reads: a POST to it only reads.
    :ivar takes_timeout: what is asked for there has a ``timeout`` parameter, see `mpp.core.prometheus.query_timeout`.
    :ivar sticky: the response is federation's or remote read's, see `mpp.proxy.decisions.stickiness`.
    """

    unsafe: frozenset[bytes]
    post_reads: bool
    takes_timeout: bool
    sticky: bool = False

    def is_read(self, method: bytes) -> bool:
        """Tell whether a request may be repeated: it changes nothing on the server, whatever its method (Prometheus API page)."""
        return method not in self.unsafe and (method in _READ_METHODS or (self.post_reads and method == b"POST"))


def meaning(path: bytes) -> PathMeaning:
    """Tell what a raw path means. Remembered: dashboards ask for the same few."""
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
    """Whether a Prometheus serves a path as a part of its API."""

    NONE = "none"
    SOME = "some"
    """In some versions."""
    ALWAYS = "always"


def api(path: bytes) -> APIPath:
    """
    Return whether a path belongs to Prometheus' API.

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
    """Tell whether mpp answers this path itself: its first segment is ``mpp``."""
    return path.startswith(b"/mpp/") or path == b"/mpp"


def is_unsafe_behind(method: bytes, path: bytes, prefixes: tuple[str, ...]) -> bool:
    """Return whether a request is unsafe with its path as it stands, or as `with_prefix` would send it to any backend."""
    unsafe = meaning(path).unsafe
    if unsafe and method in unsafe:
        return True
    # Nearly always: there are no prefixes, so there is nothing more to look at.
    return prefixes != NO_PREFIXES and any(method in meaning(changed).unsafe for changed in _with_any_prefix(path, prefixes))


def rejection_behind(method: bytes, path: bytes, prefixes: tuple[str, ...]) -> unsafe_paths.Rejection:
    """Return what the client of a request is told that is unsafe behind these prefixes, see `is_unsafe_behind`."""
    readings = (path, *_with_any_prefix(path, prefixes))
    unsafe = next((reading for reading in readings if method in meaning(reading).unsafe), path)
    return unsafe_paths.rejection(method, unsafe)


def _with_any_prefix(path: bytes, prefixes: tuple[str, ...]) -> list[bytes]:
    rest = without_prefix("", path, prefixes)
    return [_joined(prefix, rest) for prefix in prefixes]


def with_prefix(prefix: str, target: bytes, prefixes: tuple[str, ...]) -> bytes:
    """
    Put a backend's path prefix in front of a raw target, in place of the prefix of any known backend.

    Prometheus redirects to paths with its prefix, and its pages ask for such paths: a client comes back with the prefix of
    whichever backend answered it before.

    :param prefix: of the backend that the target is sent to.
    :param prefixes: of all known backends, the longest first, see `mpp.core.model.Selection.prefixes`. There is nothing to do
        where they are `NO_PREFIXES` and there is no ``prefix``.
    """
    return _joined(prefix, target[_prefix_length(path_of(target), prefix, prefixes) :])


def _prefix_length(path: bytes, prefix: str, prefixes: tuple[str, ...]) -> int:
    """
    Return how many bytes at the beginning of a path are a prefix of the known backends: whole segments, the first that fits.

    The backend itself may have been removed while the request was under way; its own prefix counts nevertheless, as the last one.

    Pages below ``/mpp`` of a backend that is an mpp itself are not reached in this way: there is no prefix in front of them.
    """
    for known in (*prefixes, prefix):
        if known and path.startswith(raw := known.encode("ascii")):
            rest = path[len(raw) :]
            if rest[:1] in (b"", b"/") and not is_own(rest):
                return len(raw)
    return 0


def _joined(prefix: str, rest: bytes) -> bytes:
    """Put a prefix in front of what stood behind another one: a target that begins with a slash, whatever is left of it."""
    return prefix.encode("ascii") + rest if prefix or rest.startswith(b"/") else b"/" + rest
