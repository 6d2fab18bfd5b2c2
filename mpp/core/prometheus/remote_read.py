"""
The parser of the body of a remote read: its selectors and times. Pure, and bounded, because any client may write the body.

Source: the remote read API of Prometheus (``prompb/remote.proto``: ``ReadRequest``, ``Query``, ``LabelMatcher``), and the block
format of Snappy (``format_description.txt``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

from mpp.core.prometheus.data_requests import DataKind, DataRequest

MOST_BYTES = 64 * 1024
"""Maximum bytes of a body that is parsed; the bodies of real requests have a few hundred."""
MOST_UNCOMPRESSED = 32 * 1024
MOST_FIELDS = 1000
"""Maximum fields of a protobuf message in the body."""
MOST_ELEMENTS = 10_000
"""Maximum elements (literals and copies) of a body in Snappy's format; to decompress so many takes some milliseconds."""
MOST_QUERIES = 200
MOST_MATCHERS = 200

_OPERATORS = ("=", "!=", "=~", "!~")
_VARINT, _LENGTH = 0, 2
_SIGN = 1 << 63


class NotReadable(Exception):
    """The body is no request for remote read, or is too large to be read here."""


def find(body: bytes) -> DataRequest | None:
    """
    Return the data that a remote read asks for; None if its body cannot be parsed.

    The result has the selectors of all queries in the body, and the time from the earliest start to the latest end of a query.
    """
    selectors: list[bytes] = []
    times: list[int] = []
    try:
        for number, value in _fields(uncompressed(body)):
            if number == 1 and isinstance(value, bytes):
                selector, start, end = _query(value)
                selectors.append(quote(selector).encode("ascii"))
                times += (start, end)
                if len(selectors) > MOST_QUERIES:
                    return None
    except (NotReadable, UnicodeDecodeError):
        return None
    return DataRequest(DataKind.SERIES, tuple(dict.fromkeys(selectors)), min(times), max(times)) if selectors else None


def uncompressed(body: bytes) -> bytes:
    """
    Return a body without its compression.

    :raise NotReadable: it is not Snappy's block format, or too large.
    """
    if len(body) > MOST_BYTES:
        raise NotReadable("the body is too large")
    size, at = _varint(body, 0)
    if size > MOST_UNCOMPRESSED:
        raise NotReadable("the body is too large without its compression")
    found = bytearray()
    for _ in range(MOST_ELEMENTS):
        if at >= len(body):
            break
        at = _element(body, at, found)
        if len(found) > size:
            raise NotReadable("the body is longer than it says")
    if at < len(body) or len(found) != size:
        raise NotReadable("the body is not as long as it says")
    return bytes(found)


def _element(body: bytes, at: int, found: bytearray) -> int:
    """Append one literal or copy; return where the next element begins."""
    tag = body[at]
    kind, size = tag & 3, tag >> 2
    at += 1
    if kind == 0:
        if size >= 60:
            width = size - 59
            size = int.from_bytes(_taken(body, at, width), "little")
            at += width
        found += _taken(body, at, size + 1)
        return at + size + 1
    width = (1, 2, 4)[kind - 1]
    offset = int.from_bytes(_taken(body, at, width), "little")
    length = size + 1
    if kind == 1:
        offset |= tag >> 5 << 8
        length = (size & 7) + 4
    if not 0 < offset <= len(found):
        raise NotReadable("a copy begins before the start")
    # A copy may overlap with what it writes: then what is there is repeated.
    start = len(found) - offset
    piece = bytes(found[start : start + length])
    found += (piece * (length // len(piece) + 1))[:length]
    return at + width


def _taken(body: bytes, at: int, size: int) -> bytes:
    piece = body[at : at + size]
    if len(piece) < size:
        raise NotReadable("the body breaks off")
    return piece


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number, and where the rest begins (protobuf encoding, "Base 128 Varints")."""
    value = 0
    for shift in range(0, 70, 7):
        byte = _taken(data, at, 1)[0]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise NotReadable("a number is too long")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the numbers and values of the fields of a message."""
    at = 0
    for _ in range(MOST_FIELDS):
        if at >= len(message):
            return
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
        elif kind == _LENGTH:
            size, at = _varint(message, at)
            yield key >> 3, _taken(message, at, size)
            at += size
        else:
            raise NotReadable("a field has a type that no request has")
    if at < len(message):
        raise NotReadable("a message has too many fields")


def _query(message: bytes) -> tuple[str, int, int]:
    """Return the selector, the start and the end of one query, in milliseconds since the epoch."""
    start = end = 0
    matchers: list[str] = []
    for number, value in _fields(message):
        if isinstance(value, bytes):
            if number == 3:
                matchers.append(_matcher(value))
        elif number == 1:
            start = _signed(value)
        elif number == 2:
            end = _signed(value)
        if len(matchers) > MOST_MATCHERS:
            raise NotReadable("a query has too many matchers")
    return f"{{{','.join(matchers)}}}", start, end


def _signed(value: int) -> int:
    return (value & (2 * _SIGN - 1)) - (2 * _SIGN if value & _SIGN else 0)


def _matcher(message: bytes) -> str:
    kind, name, value = 0, "", ""
    for number, field in _fields(message):
        if isinstance(field, bytes):
            if number == 2:
                name = field.decode()
            elif number == 3:
                value = field.decode()
        elif number == 1:
            kind = field
    if kind >= len(_OPERATORS):
        raise NotReadable("a matcher has an operator that is not known")
    return f"{name}{_OPERATORS[kind]}{json.dumps(value, ensure_ascii=False)}"
