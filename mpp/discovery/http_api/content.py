"""
The content coding of a response (RFC 9110 section 8.4): undoes gzip, up to a bound. Pure.

A few hundred bytes of gzip can stand for a thousand times as much, and in two layers for a million times. One layer is taken, as
Go's HTTP client does; more of them are refused before anything is unpacked.
"""

from __future__ import annotations

import zlib

# What is asked for; the second name is an old one for the same (RFC 9110 section 8.4.1.3).
ACCEPTED = "gzip"
_GZIP = ("gzip", "x-gzip")
_SHOWN = 60


def decode(body: bytes, codings: str, limit: int) -> bytes | None:
    """
    Undo the content coding of a body.

    :param codings: the value of ``Content-Encoding``, empty if there is none.
    :param limit: the most bytes that the content may have; no more than one byte above it is ever unpacked.
    :return: the content, or None when it is larger than ``limit``.
    :raise ValueError: the coding is another one than gzip, or the body is not one whole gzip member; the message says which.
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
