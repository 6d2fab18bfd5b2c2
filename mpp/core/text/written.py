"""
Formats values in the notation of the configuration: the inverse of `mpp.core.text.values`. Pure.
"""

from __future__ import annotations

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_SIZES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


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
