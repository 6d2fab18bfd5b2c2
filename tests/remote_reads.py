"""Bodies of remote reads: protobuf in Snappy's block format."""

from __future__ import annotations


def number(value: int) -> bytes:
    """Encode a number of protobuf and Snappy."""
    value &= (1 << 64) - 1
    found = b""
    while value >= 0x80:
        found += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return found + bytes((value,))


def member(field: int, value: bytes) -> bytes:
    """Encode a field with a length."""
    return number(field << 3 | 2) + number(len(value)) + value


def matcher(kind: int, name: str, value: str) -> bytes:
    """Encode a matcher; the number of "=" is left out, as every default is."""
    return member(3, (number(8) + number(kind) if kind else b"") + member(2, name.encode()) + member(3, value.encode()))


def query(start: int, end: int, *matchers: bytes) -> bytes:
    """Encode a query."""
    return member(1, number(8) + number(start) + number(16) + number(end) + b"".join(matchers))


def compressed(body: bytes) -> bytes:
    """Return a body in Snappy's block format, with literals only."""
    pieces = [body[at : at + 60] for at in range(0, len(body), 60)]
    return number(len(body)) + b"".join(bytes((len(piece) - 1 << 2,)) + piece for piece in pieces)
