"""Reads the values of header fields, and puts configured fields into requests to backends. Pure."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence, Set

from attrs import field, frozen

from mpp.core.http import instance
from mpp.core.model import Headers

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Fields that concern one connection only (RFC 9110 section 7.6.1), and similar ones."""
REQUEST_DROPPED = HOP_BY_HOP | {
    b"content-length",
    b"expect",
    b"host",
    instance.FIELD,
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
}
"""Fields of requests that mpp writes itself, or has already acted on (Expect: RFC 9110 section 10.1.1)."""
# Bytes of a field that are read.
_LONGEST = 1000
# All control characters except the tab.
_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def values(headers: Headers, name: bytes) -> list[bytes]:
    """Return all values of a header field, in order. ``name`` is lower case."""
    # Most names have another length: comparing lengths first saves the lower-case copies.
    size = len(name)
    found = []
    for key, value in headers:
        if len(key) == size and key.lower() == name:
            found.append(value)
    return found


def nominated(connections: Sequence[bytes], always: Set[bytes]) -> set[bytes]:
    """
    Return the lower-case names of the fields that values of ``Connection`` take off the message (RFC 9110 section 7.6.1).

    :param always: names that are taken off anyway, lower case; they are not returned.
    """
    return {token.strip().lower() for value in connections for token in value.split(b",")} - always - {b"close", b""}


def without(fields: Headers, name: bytes) -> Headers:
    """Return header fields without all fields of one name; ``name`` is lower case."""
    return tuple(field for field in fields if field[0].lower() != name)


@functools.lru_cache(256)
def names_gzip(value: bytes) -> bool:
    """
    Return whether a value of ``Accept-Encoding`` accepts gzip (RFC 9110 section 12.5.3).

    :param value: at most a thousand bytes of it are read.
    """
    for coding in value[:_LONGEST].lower().split(b","):
        name, _, weight = coding.partition(b";")
        if name.strip() in (b"gzip", b"x-gzip"):
            return weight.partition(b";")[0].replace(b" ", b"").rstrip(b"0") not in (b"q=", b"q=0.", b"q=.")
    return False


def accepts_gzip(fields: Headers) -> bool:
    """Return whether a client accepts gzip."""
    return any(names_gzip(value[:_LONGEST]) for value in values(fields, b"accept-encoding"))


def field_value(text: str) -> bytes:
    """
    Return the value of a header field as it is sent, without surrounding blanks.

    :raise ValueError: the value has a control character. The message does not repeat the value.
    """
    value = text.strip().encode("utf-8", "surrogateescape")
    if _CONTROLS.search(value):
        raise ValueError("has characters that a header must not contain; expected one line")
    return value


@frozen
class ConfiguredFields:
    """
    The header fields that are configured for requests to a backend.

    :ivar lines: the fields as they are sent.
    :ivar others: matches fields of the same names in a request head.
    """

    lines: bytes = field(repr=False)
    others: re.Pattern[bytes] = field(eq=False)

    @classmethod
    def of(cls, fields: Headers) -> ConfiguredFields | None:
        """Return the configured fields as one value; None if there are none."""
        names = b"|".join(sorted({re.escape(name.lower()) for name, _ in fields}))
        others = re.compile(rb"(?<=\r\n)(?:%b):[^\r\n]*\r\n" % names, re.IGNORECASE)
        return cls(b"".join([b"%b: %b\r\n" % each for each in fields]), others) if fields else None

    def put_into(self, head: bytes) -> bytes:
        """Return a request head in which these fields replace any fields of the same names."""
        line, _, rest = self.others.sub(b"", head).partition(b"\r\n")
        return b"%b\r\n%b%b" % (line, self.lines, rest)
