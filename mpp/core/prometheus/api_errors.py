"""
Parses the errors of Prometheus' API in response bodies. Pure; `mpp.core.prometheus.responses` decides what they mean.

The format comes from ``web/api/v1/api.go``: ``{"status": "error", "errorType": "...", "error": "..."}``.
"""

from __future__ import annotations

import json
import zlib

from attrs import frozen

from mpp.core.http import headers
from mpp.core.model import Headers

# Far more than any error text of Prometheus; it limits the work on the error pages of other programs.
MAX_BODY = 64 * 1024

# The window bits by which zlib detects gzip (RFC 1952) or zlib (RFC 1950) itself, and for raw deflate (RFC 1951).
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_RAW = -zlib.MAX_WBITS


@frozen
class ApiError:
    """
    An error of Prometheus' API.

    :ivar kind: the value of ``errorType`` in the body.
    :ivar text: the value of ``error`` in the body, the message; empty when there is none.
    """

    kind: str
    text: str = ""


def decoded(fields: Headers, body: bytes) -> bytes | None:
    """
    Return the bytes of a response body without its compression, which may be gzip, deflate or none (RFC 9110 section 8.4).

    Servers with the coding ``deflate`` send zlib or raw deflate; both are decompressed.

    :param fields: the header fields of the response.
    :param body: the part of the body that has arrived, as received; it may end anywhere.
    :return: the first `MAX_BODY` bytes; None if the body has another compression (``br``, ``zstd``) or several, or is damaged.
    """
    listed = b",".join(headers.values(fields, b"content-encoding")).lower()
    codings = [coding for coding in map(bytes.strip, listed.split(b",")) if coding not in (b"", b"identity")]
    if not codings:
        return body[:MAX_BODY]
    if codings == [b"gzip"] or codings == [b"x-gzip"]:
        return _inflated(body, _GZIP_OR_ZLIB)
    if codings == [b"deflate"]:
        found = _inflated(body, _GZIP_OR_ZLIB)
        return _inflated(body, _RAW) if found is None else found
    return None


def _inflated(body: bytes, window: int) -> bytes | None:
    try:
        return zlib.decompressobj(window).decompress(body, MAX_BODY)
    except zlib.error:
        return None


def parse(content: bytes | None) -> ApiError | None:
    """
    Return the API error in a response body; None if the body is not an API error.

    :param content: the result of `decoded`.
    """
    if content is None:
        return None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("status") != "error":
        return None
    kind, text = found.get("errorType"), found.get("error", "")
    return ApiError(kind, text if isinstance(text, str) else "") if isinstance(kind, str) else None
