"""
Draws the traffic of the last minutes as a small SVG picture inside the page. Pure.

Each slot has a bar of responses, errors and repeated attempts, and below it a ribbon in the color of the backend's role. The
colors come from classes, because the Content-Security-Policy forbids ``style`` attributes.
"""

from __future__ import annotations

from mpp.core.text.durations import duration
from mpp.core.text.humanize import rate
from mpp.selection.recent import SLOT_S, SLOTS, RecentTraffic, TrafficSlot

_BAR, _GAP = 4, 1
_STEP = _BAR + _GAP
_WIDTH = SLOTS * _STEP
_HEIGHT = 44
_RIBBON_Y, _RIBBON = 50, 5


def picture(recent: RecentTraffic) -> str:
    """Return the picture of a backend's recent traffic as HTML."""
    slots = recent.slots[-SLOTS:]
    most = max((_per_second(slot, slot.requests + slot.retries) for slot in slots), default=0.0)
    begin = _WIDTH - len(slots) * _STEP
    bars = "".join(_bar(begin + number * _STEP, slot, most) for number, slot in enumerate(slots))
    peak = f"peak {rate(most)}" if most else "no requests"
    label = f"Last {duration(SLOTS * SLOT_S)}: {peak}"
    return (
        f'<svg class="picture" viewBox="0 0 {_WIDTH} {_RIBBON_Y + _RIBBON}" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}"><line class="base" x1="0" x2="{_WIDTH}" y1="{_HEIGHT + 1}" y2="{_HEIGHT + 1}"/>{bars}</svg>'
        f'<div class="axis"><span>{duration(SLOTS * SLOT_S)} ago</span><span>{peak}</span><span>now</span></div>'
    )


def _per_second(slot: TrafficSlot, count: float) -> float:
    return count / slot.seconds if slot.seconds else 0.0


def _bar(x: int, slot: TrafficSlot, most: float) -> str:
    drawn, top = [], float(_HEIGHT)
    for kind, count in (("ok", slot.requests - slot.errors), ("err", slot.errors), ("again", slot.retries)):
        height = _per_second(slot, count) / most * _HEIGHT if most else 0.0
        # A count above 0 is drawn high enough to be seen.
        height = max(height, 1.5) if count > 0 else 0.0
        if height:
            top -= height
            drawn.append(f'<rect class="{kind}" x="{x}" y="{max(0.0, top):.1f}" width="{_BAR}" height="{height:.1f}"/>')
    if slot.state:
        drawn.append(f'<rect class="s-{slot.state}" x="{x}" y="{_RIBBON_Y}" width="{_STEP}" height="{_RIBBON}"/>')
    return "".join(drawn)
