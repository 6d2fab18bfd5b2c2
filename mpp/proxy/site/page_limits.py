"""
What a request for one of mpp's own pages may send: bounds on its target, its body and its parameters, applied before any of them
is parsed. Pure; knows the pages by their paths only.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from mpp.core.model import KIB
from mpp.core.prometheus.paths import is_own, path_of

MAX_TARGET = 16 * KIB
"""Bytes of a target; the longest that any page has a use for is below 100."""
MAX_EXPLAINED = 64 * KIB
"""Bytes of a target of ``/mpp/explain``, which has another target inside: long PromQL, percent-encoded."""
MAX_BODY = 4 * KIB
"""Bytes of a body that a page which takes POST ignores: what HTTP clients send by themselves, such as an empty form or ``{}``."""
MAX_PARAMETERS = 64
"""How many parameters of a query string are read; no page has more than a few."""

_EXPLAIN = b"/mpp/explain"
# The pages that take POST. Their arguments are in the query string.
_POSTED = frozenset((b"/mpp/reload",))


def max_target(path: bytes) -> int:
    """Return how many bytes the target of a request for an own page may have."""
    return MAX_EXPLAINED if path == _EXPLAIN else MAX_TARGET


def max_body(target: bytes, otherwise: int) -> int:
    """
    Return how many bytes the body of a request may have; 0: it may have none.

    :param otherwise: the result for whatever is no own page.
    """
    # The data path: nearly all are told apart by their beginning.
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
