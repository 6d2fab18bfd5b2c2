"""
Parses the values of the options of the range cache. Pure; see `mpp.core.text.values`.
"""

from __future__ import annotations

import re

from mpp.core.text.values import parse_size

MIN_MEMORY = 2**20
"""Smallest cache: a smaller number is most likely one without its unit."""

# RFC 9110 section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_NEVER_NEUTRAL = ("authorization", "cookie", "origin")
"""The fields by which servers, or the proxies before them, decide what a client may read."""


def parse_cache_memory(text: str) -> int:
    """Return a number of bytes, see `parse_size`: 0, or at least `MIN_MEMORY`."""
    size = parse_size(text)
    if 0 < size < MIN_MEMORY:
        raise ValueError(f"{text!r} is too small for a cache; expected 0, or a size from 1MiB on such as 256MiB")
    return size


def parse_field_name(text: str) -> str:
    """Return the name of a header field in lower case."""
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of a header field such as X-Scope-OrgID")
    return text.lower()


def parse_neutral_name(text: str) -> str:
    """Return the name in lower case of a header field that may be declared to have no influence on responses."""
    name = parse_field_name(text)
    if name in _NEVER_NEUTRAL:
        raise ValueError(f"{text!r} decides what a client may read; expected a field without influence on responses")
    return name
