"""
Format values in the notation of the configuration, with secrets masked: the inverse of `mpp.core.text.values`. Pure.
"""

from __future__ import annotations

import re

SECRET = "<secret>"
"""The replacement of a secret, as on Prometheus' own configuration page."""

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_SIZES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
# Greedy: a password may contain any character, so it may extend to the last "@".
_USERINFO = re.compile(r"(?<=://).*@")
_PARAMETER = re.compile(r"(?<==)[^&#]+")


def written_duration(seconds: float) -> str:
    """
    Return the text of a duration in the notation of the configuration.

    >>> written_duration(90.25)
    '1m30s250ms'
    """
    rest, parts = round(seconds * 1000), []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0"


def written_size(size: int) -> str:
    """
    Return the text of a number of bytes in the largest unit that leaves no fraction.

    >>> written_size(512 * 1024)
    '512KiB'
    """
    unit, factor = next(((unit, factor) for unit, factor in _SIZES if size and not size % factor), ("", 1))
    return f"{size // factor}{unit}"


def written_share(share: float) -> str:
    """Return the text of a share of a whole, 0 to 1, in percent."""
    return f"{share * 100:.9g}%"


def written_boolean(value: bool) -> str:
    """Return the text of a boolean, ``true`` or ``false``."""
    return "true" if value else "false"


def unmasked(text: str) -> str:
    """Return a text that holds no secret, unchanged."""
    return text


def mask_unless_file(text: str) -> str:
    """Mask a secret; ``@`` and the path of the secret's file stay as they are."""
    return text if not text or text.startswith("@") else SECRET


def mask_url(text: str) -> str:
    """Mask user, password and parameter values (which may be tokens) in a URL; ``@`` and the path of a file stay as they are."""
    if text.startswith("@"):
        return text
    address, mark, query = _USERINFO.sub(f"{SECRET}@", text).partition("?")
    return address + mark + _PARAMETER.sub(SECRET, query)
