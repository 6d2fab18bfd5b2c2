"""Formats numbers and times for people; see `mpp.core.text.durations` for durations. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from mpp.core.text.durations import duration

_SMALL = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve")


def latency(seconds: float | None) -> str:
    """Return the text of a short time with two or three digits; a hyphen for None."""
    if seconds is None:
        return "-"
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g}ms"
    return f"{seconds:.3g}s" if seconds < 60 else duration(seconds)


def rate(per_second: float) -> str:
    """Return the text of a rate, per minute if it is below 0.1 per second."""
    if 0 < per_second < 0.1:
        return f"{per_second * 60:.1f}/min"
    return f"{per_second:.1f}/s" if per_second < 100 else f"{per_second:,.0f}/s"


def share(part: float) -> str:
    """Return the text of a share in percent; a share above 0 is never shown as 0%."""
    percent = part * 100
    return "<0.1%" if 0 < percent < 0.1 else f"{percent:.1f}%" if 0 < percent < 10 else f"{percent:.0f}%"


def size(count: int) -> str:
    """Return the text of a number of bytes in MiB with a digit after the point, or in KiB if it is below 1 MiB."""
    return f"{count / 2**20:,.1f} MiB" if count >= 2**20 else f"{count / 2**10:,.0f} KiB"


def ago(seconds: float) -> str:
    """Return the text of the time since an event, such as ``2m 5s ago``."""
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


def clock(at: float) -> str:
    """Return the text of a time of day, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def moment(at: float) -> str:
    """Return the text of a date and a time of day, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def number(count: int) -> str:
    """Return the text of a count at the beginning of a sentence: a word for numbers up to twelve."""
    return _SMALL[count] if count < len(_SMALL) else str(count)


def quantity(count: float, one: str, several: str = "") -> str:
    """
    Return a number with its noun, such as ``1 user`` or ``1,200 users``.

    :param several: the noun for other numbers than 1; empty if it has an ``s`` more.
    """
    return f"{count:,.0f} {noun(count, one, several)}"


def noun(count: float, one: str, several: str = "") -> str:
    """Return the form of a noun or another text for a number, see `quantity`."""
    return one if count == 1 else several or f"{one}s"


def listing(names: Sequence[str], most: int = 4) -> str:
    """Join names for a sentence: ``a, b and c``; more than ``most`` names end in ``and 5 others``."""
    if len(names) > most:
        return ", ".join(names[: most - 1]) + f" and {len(names) - most + 1} others"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
