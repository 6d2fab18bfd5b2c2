"""
Cuts the text of a JSON list of points, as Prometheus writes it, between two points. Pure; bytes in, bytes out.

A text has no outer brackets: ``[1.500,"0"],[2,"NaN"]`` are two values, ``[1,{"count":"2",...}]`` is one histogram. Between two
points there is always the same text, which a point itself never contains: a value is a string without quotes, and the lists of a
histogram's buckets follow no brace.

Source: ``MarshalTimestamp`` and ``MarshalHistogram`` in ``util/jsonutil/marshal.go`` of Prometheus.
"""

from __future__ import annotations

from bisect import bisect_left

from mpp.promql.matrix import NotJoinable

VALUES, HISTOGRAMS = 0, 1
MEMBERS = (b"values", b"histograms")
"""The members of a series that are lists of points, by their numbers, in the order in which Prometheus writes them."""

_BETWEEN = (b'"],[', b"}],[")

EARLIEST_MS, LATEST_MS = -(1 << 63), 1 << 63
"""Times before and after all times that Prometheus knows, in milliseconds since the epoch."""


def cut(text: bytes, member: int, first_ms: int, last_ms: int) -> bytes:
    """
    Return the points of a text from one time to another, both included.

    :param member: the number of the member that the text belongs to, see `MEMBERS`.
    :raise NotJoinable: a time is not written as Prometheus writes it.
    """
    start = offset(text, member, first_ms)
    end = offset(text, member, last_ms + 1, start)
    return text[start : end - 1] if start < end < len(text) else text[start:end]


def offset(text: bytes, member: int, time_ms: int, start: int = 0) -> int:
    """
    Return the offset of the first point at or after a time; the length of the text if there is none.

    :param member: the number of the member that the text belongs to, see `MEMBERS`.
    :param start: the offset of a point at which the search begins; it must not be later than the result.
    :raise NotJoinable: a time is not written as Prometheus writes it.
    """
    between = _BETWEEN[member]

    def next_time(at: int) -> int:
        """Return the time of the first point that begins at or after an offset."""
        begin = _next_point(text, between, at)
        return milliseconds(text, begin) if begin < len(text) else LATEST_MS

    return _next_point(text, between, start + bisect_left(range(start, len(text)), time_ms, key=next_time))


def _next_point(text: bytes, between: bytes, at: int) -> int:
    """Return where the first point begins at or after an offset; the length of the text if there is none."""
    if at == 0:
        return 0
    # The bracket that begins a point is the last byte of what is between two points.
    found = text.find(between, max(0, at - len(between) + 1))
    return found + len(between) - 1 if found >= 0 else len(text)


def milliseconds(text: bytes, begin: int) -> int:
    """
    Return the time of the point that begins at an offset, in milliseconds since the epoch.

    :raise NotJoinable: the time is not written as Prometheus writes it.
    """
    written = text[begin + 1 : text.find(b",", begin)]
    whole, _, fraction = written.partition(b".")
    if not whole.removeprefix(b"-").isdigit() or not (fraction or b"0").isdigit() or len(fraction) > 3:
        raise NotJoinable(f"a time is not written in seconds with three decimals: {written[:30]!r}")
    size = int(whole.removeprefix(b"-")) * 1000 + int(fraction.ljust(3, b"0"))
    return -size if whole.startswith(b"-") else size
