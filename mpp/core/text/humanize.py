"""Numbers as people say them; durations are written by `mpp.core.text.durations`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from mpp.core.text.durations import duration

_SMALL = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve")


def latency(seconds: float | None) -> str:
    """Give a short time with two or three digits; a hyphen for none."""
    if seconds is None:
        return "-"
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g}ms"
    return f"{seconds:.3g}s" if seconds < 60 else duration(seconds)


def rate(per_second: float) -> str:
    """Give a rate with as many digits as matter."""
    if 0 < per_second < 0.1:
        return f"{per_second * 60:.1f}/min"
    return f"{per_second:.1f}/s" if per_second < 100 else f"{per_second:,.0f}/s"


def share(part: float) -> str:
    """Give a share in percent; one that is not nothing is never shown as nothing."""
    percent = part * 100
    return "<0.1%" if 0 < percent < 0.1 else f"{percent:.1f}%" if 0 < percent < 10 else f"{percent:.0f}%"


def ago(seconds: float) -> str:
    """Give how long something has been over."""
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


def clock(at: float) -> str:
    """Give a time of day, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def moment(at: float) -> str:
    """Return a date and a time of day, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def number(count: int) -> str:
    """Give a count that begins a sentence."""
    return _SMALL[count] if count < len(_SMALL) else str(count)


def listing(names: Sequence[str], most: int = 4) -> str:
    """Join names as in a sentence; of many only the first are named."""
    if len(names) > most:
        return ", ".join(names[: most - 1]) + f" and {len(names) - most + 1} others"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
