"""
How values are written for people who configure mpp: in the form that the configuration takes, with secrets masked. Pure.

The inverse of `mpp.core.text.values`, which reads them. Knows nothing of options, and no other module of mpp.
"""

from __future__ import annotations

import re

SECRET = "<secret>"
"""What stands in place of a secret, as on Prometheus' own configuration page."""

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_SIZES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
# Greedy: a password may contain whatever would end the host, so that all up to the last "@" may be a part of it.
_USERINFO = re.compile(r"(?<=://).*@")
_PARAMETER = re.compile(r"(?<==)[^&#]+")


def written_duration(seconds: float) -> str:
    """
    Return a duration as the configuration takes it.

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
    Return a number of bytes in the largest unit that leaves no fraction.

    >>> written_size(512 * 1024)
    '512KiB'
    """
    unit, factor = next(((unit, factor) for unit, factor in _SIZES if size and not size % factor), ("", 1))
    return f"{size // factor}{unit}"


def written_share(share: float) -> str:
    """Return a share of a whole, 0 to 1, in percent."""
    return f"{share * 100:.9g}%"


def written_boolean(value: bool) -> str:
    """Return ``true`` or ``false``."""
    return "true" if value else "false"


def unmasked(text: str) -> str:
    """Return a text that holds no secret."""
    return text


def mask_unless_file(text: str) -> str:
    """Mask a secret; ``@`` and the path of a file that holds one is shown."""
    return text if not text or text.startswith("@") else SECRET


def mask_url(text: str) -> str:
    """Mask user and password in a URL, and the values of its parameters, which may be tokens; paths of files are shown."""
    if text.startswith("@"):
        return text
    address, mark, query = _USERINFO.sub(f"{SECRET}@", text).partition("?")
    return address + mark + _PARAMETER.sub(SECRET, query)
