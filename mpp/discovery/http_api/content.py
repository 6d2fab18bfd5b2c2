"""
The decoder for the content coding of a response (RFC 9110 section 8.4): decompresses gzip, up to a limit. Pure.

A few hundred bytes of gzip can expand to a thousand times as much, and in two layers to a million times. One layer is accepted,
as in Go's HTTP client; more layers are rejected before anything is decompressed.
"""

from __future__ import annotations

import zlib

# The accepted coding and its old name (RFC 9110 section 8.4.1.3).
ACCEPTED = "gzip"
_GZIP = ("gzip", "x-gzip")
_SHOWN = 60


def decode(body: bytes, codings: str, limit: int) -> bytes | None:
    """
    Decode the content coding of a body.

    :param codings: the value of ``Content-Encoding``, empty if there is none.
    :param limit: maximum number of bytes of the content; no more than one byte above it is ever decompressed.
    :return: the content, or None when it is larger than ``limit``.
    :raise ValueError: the coding is not gzip, or the body is not one whole gzip member; the message says which.
    """
    names = [name for name in map(str.strip, codings.lower().split(",")) if name not in ("", "identity")]
    if not names or not body:
        return body if len(body) <= limit else None
    if len(names) > 1 or names[0] not in _GZIP:
        raise ValueError(f"Content-Encoding {codings[:_SHOWN]!r} is not supported; expected gzip, once, or none")
    member = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        content = member.decompress(body, limit + 1)
    except zlib.error:
        raise ValueError("Content-Encoding says gzip, but the body is none") from None
    if len(content) > limit:
        return None
    if not member.eof or member.unused_data:
        raise ValueError("Content-Encoding says gzip, but the body is not one whole gzip member")
    return content
