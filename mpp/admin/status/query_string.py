"""
Parses the query string of ``/mpp/explain``, which contains the request to explain. Pure.

``/mpp/explain?`` is meant to be put in front of any URL, as in ``/mpp/explain?/api/v1/query?query=up``, so the text behind the
question mark is used unchanged. ``format``, ``method`` and ``url`` (percent-encoded, as an HTML form sends it) may stand before
it, and ``format`` also behind it.
"""

from __future__ import annotations

import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

from attrs import frozen

_LEADING = re.compile(rb"(format|method|url)=([^&]*)(?:&|$)")
_TRAILING = re.compile(rb"[?&]format=(json|text|html)$")
_ORIGIN = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
_ENCODED = re.compile(rb"(?:%2f|https?(?:%3a|:)%2f)", re.IGNORECASE)
_METHOD = re.compile(rb"[A-Z]{1,16}")
# The characters that a request line may contain: visible ASCII.
_FIT = bytes(range(0x21, 0x7F))

FORMATS = ("json", "text", "html")


@frozen
class PageQuery:
    """
    The parsed query string of ``/mpp/explain``.

    :ivar format: one of `FORMATS`; empty if it is missing.
    :ivar target: the target of the request to explain, which begins with ``/``; empty if it is missing.
    """

    format: str
    method: bytes
    target: bytes


def read(query: bytes) -> PageQuery:
    """Parse the text behind the first question mark."""
    known: dict[bytes, bytes] = {}
    while (found := _LEADING.match(query)) and found[1] not in known:
        known[found[1]] = found[2]
        query = query[found.end() :]
    if b"url" in known:
        query = unquote_to_bytes(known[b"url"].replace(b"+", b" ")).strip()
    elif (behind := _TRAILING.search(query)) and b"format" not in known:
        known[b"format"] = behind[1]
        query = query[: behind.start()]
    form = known.get(b"format", b"").decode("latin-1")
    method = known.get(b"method", b"").upper()
    return PageQuery(form if form in FORMATS else "", method if _METHOD.fullmatch(method) else b"GET", _target(query))


def _target(asked: bytes) -> bytes:
    if _ENCODED.match(asked):
        asked = unquote_to_bytes(asked)
    if not asked:
        return b""
    origin = _ORIGIN.match(asked)
    target = (asked[origin.end() :] if origin else asked).partition(b"#")[0]
    target = quote_from_bytes(target, safe=_FIT).encode("ascii")
    return target if target.startswith(b"/") else b"/" + target


def wanted_format(asked: str, accept: bytes, otherwise: str) -> str:
    """
    Return the format of the response.

    :param asked: the requested format, which wins; empty if none was requested.
    :param accept: the ``Accept`` field of the request; browsers accept HTML.
    :param otherwise: the format if ``accept`` names neither HTML nor JSON.
    """
    if asked:
        return asked
    if b"text/html" in accept:
        return "html"
    return "json" if b"application/json" in accept else otherwise
