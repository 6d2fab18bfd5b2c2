"""
Draws a server's history as a strip, an SVG picture inside the page. Pure.

The strip is a bar of what the server has. A gap is cut from its top, as deep as the share of the targets that are missing, and
has a mark below the bar, so that it is found by its shape also where it is short, or colors are not seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from attrs import frozen

from mpp.admin.status.html import text
from mpp.core.facts import Gap
from mpp.core.intervals import NEVER, Intervals
from mpp.core.text.durations import duration
from mpp.core.text.humanize import moment, share

COLUMNS = 240
"""Number of times that the strip distinguishes; a card is 300 to 700 pixels wide."""
_COLUMN = 2
_WIDTH = COLUMNS * _COLUMN
_HEIGHT = 16
_LEAST = 2
_MARK_Y, _MARK = 18, 4


@frozen
class Strip:
    """
    A server's history between two times, in seconds since the epoch.

    :ivar oldest: the time of the server's oldest data.
    :ivar compared: the time from which on it was compared with the other servers.
    :ivar known: the time until which it was in service, so that its data is known; its ``end`` while it is.
    :ivar again: the times that are compared again, after ``compared`` and before ``known``.
    :ivar gaps: what it lacks, as shares of all targets, in the order of time.
    """

    start: float
    end: float
    oldest: float
    compared: float
    known: float
    gaps: Sequence[Gap] = ()
    again: Intervals = NEVER

    def x(self, time: float) -> float:
        """Return the place of a time from left to right."""
        return _WIDTH * min(1.0, max(0.0, (time - self.start) / (self.end - self.start)))

    def time(self, column: int) -> float:
        """Return the time at which a column begins."""
        return self.start + column * (self.end - self.start) / COLUMNS


def drawn(strip: Strip, label: str) -> str:
    """
    Return the picture as HTML.

    :param label: what it shows, plain text, for readers that do not see it.
    """
    oldest = strip.x(strip.oldest)
    compared = max(oldest, strip.x(strip.compared))
    known = max(compared, strip.x(strip.known))
    parts = [
        _rect("unseen", oldest, 0, compared - oldest, _HEIGHT, "not compared with the other servers"),
        *_compared(strip, compared, known),
        _rect("unseen", known, 0, _WIDTH - known, _HEIGHT, "not known, because the server is out of service"),
        *_holes(strip),
    ]
    return (
        f'<svg class="strip" viewBox="0 0 {_WIDTH} {_MARK_Y + _MARK}" preserveAspectRatio="none" role="img" '
        f'aria-label="{text(label)}">{"".join(parts)}</svg>'
    )


def _compared(strip: Strip, start: float, end: float) -> Iterator[str]:
    """Yield the bar between two places, in which the times that are compared again are drawn apart."""
    again = Intervals.of((strip.x(begin), strip.x(until)) for begin, until in strip.again).within(start, end)
    parts = [(*each, "unseen", "is compared again with the other servers") for each in again]
    parts += [(*each, "has", "it has all data that another server has") for each in Intervals.of([(start, end)]) - again]
    for left, right, kind, told in sorted(parts):
        yield _rect(kind, left, 0, right - left, _HEIGHT, told)


def _holes(strip: Strip) -> list[str]:
    found = []
    deepest = _deepest(strip)
    for height, run in groupby(range(COLUMNS), key=lambda column: _depth(deepest[column])):
        columns = list(run)
        if height:
            x, width = columns[0] * _COLUMN, len(columns) * _COLUMN
            start, end = strip.time(columns[0]), strip.time(columns[-1] + 1)
            most = share(max(deepest[column] for column in columns))
            told = f"{moment(start)} and the {duration(end - start)} after it: lacks up to {most} of the targets"
            found.append(_rect("lack", x, 0, width, height, told) + _rect("tick", x, _MARK_Y, width, _MARK, told))
    return found


def _deepest(strip: Strip) -> list[float]:
    """Return the largest missing share in each column."""
    deepest, scale = [0.0] * COLUMNS, COLUMNS / (strip.end - strip.start)
    begin = max(strip.start, strip.oldest)
    for gap in strip.gaps:
        if gap.end > begin and gap.start < strip.end:
            first = int((max(gap.start, begin) - strip.start) * scale)
            last = math.ceil((min(gap.end, strip.end) - strip.start) * scale)
            for column in range(min(first, COLUMNS - 1), min(max(last, first + 1), COLUMNS)):
                if gap.share > deepest[column]:
                    deepest[column] = gap.share
    return deepest


def _depth(part: float) -> int:
    return max(_LEAST, round(part * _HEIGHT)) if part > 0 else 0


def _rect(kind: str, x: float, y: float, width: float, height: float, told: str) -> str:
    if width <= 0:
        return ""
    size = f'x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}"'
    return f'<rect class="{kind}" {size}><title>{text(told)}</title></rect>'
