"""
Limits of requests for admin pages: the sizes of target and body and the number of parameters, checked before any of them is
parsed. Pure; knows the pages by their paths only.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from mpp.core.model import KIB
from mpp.core.prometheus.paths import is_own, path_of

MAX_TARGET = 16 * KIB
"""The most bytes of a target; the longest that any page needs is below 100."""
MAX_EXPLAINED = 64 * KIB
"""The most bytes of a target of ``/mpp/explain``, which contains another target: long PromQL, percent-encoded."""
MAX_BODY = 4 * KIB
"""The most bytes of a POST body, which pages ignore: HTTP clients send an empty form or ``{}`` by themselves."""
MAX_PARAMETERS = 64
"""The number of parameters of a query string that are read; no page has more than a few."""

_EXPLAIN = b"/mpp/explain"
# The pages that accept POST. Their arguments are in the query string.
_POSTED = frozenset((b"/mpp/reload", b"/mpp/cache/flush"))


def max_target(path: bytes) -> int:
    """Return the most bytes that the target of a request for an admin page may have."""
    return MAX_EXPLAINED if path == _EXPLAIN else MAX_TARGET


def max_body(target: bytes, otherwise: int) -> int:
    """
    Return the most bytes that the body of a request may have; 0 if it may have no body.

    :param otherwise: the result for requests that are not for an admin page.
    """
    # This is called for every request; the prefix alone shows that most are not for an admin page.
    if not target.startswith(b"/mpp") or not is_own(path := path_of(target)):
        return otherwise
    return MAX_BODY if path in _POSTED else 0


def arguments(query: bytes) -> dict[bytes, list[bytes]]:
    """Return the first `MAX_PARAMETERS` parameters of a query string, decoded, by their names."""
    found: dict[bytes, list[bytes]] = {}
    for part in query.split(b"&", MAX_PARAMETERS)[:MAX_PARAMETERS]:
        name, mark, value = part.partition(b"=")
        if mark:
            found.setdefault(_decoded(name), []).append(_decoded(value))
    return found


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
