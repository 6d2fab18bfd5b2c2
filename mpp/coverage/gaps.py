"""
What of its history a server is known to lack, as mpp has seen it. Holds what was seen; no I/O, and the time is an argument.

Known is what `mpp.coverage.lacks` has found since mpp was started, and how long a server was away that came back as a new
process. One that was away and is still the same process may have gone on scraping all the time, so that counts as having all.
"""

from __future__ import annotations

import math

from mpp.core.facts import Gap, Lack

MOST_GAPS = 50
"""Gaps of one server that are told apart; then the two oldest become one, which lacks as much as both."""
SAME_SHARE = 0.05
"""The share of the targets that are missing changes with each survey; smaller changes do not make another gap."""


class Gaps:
    """
    The gaps of one server.

    :ivar known: all of them, oldest first; one that goes on has no end.
    """

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: tuple[Gap, ...] = ()

    def note(self, lack: Lack | None, at: float) -> None:
        """Note what the server lacks from ``at`` on, in seconds since the epoch."""
        last = self.known[-1] if self.known and self.known[-1].end == math.inf else None
        share = 0.0 if lack is None else lack.missing / lack.of if lack.of else 1.0
        if last is not None and share and abs(last.share - share) < SAME_SHARE:
            return
        closed = self.known if last is None else (*self.known[:-1], Gap(last.start, max(at, last.start), last.share))
        begun = lack.since if lack is not None and last is None else at
        self._keep((*closed, Gap(begun, math.inf, share)) if share else closed)

    def missed(self, start: float, end: float) -> None:
        """Note that the server has scraped nothing between two points in time."""
        self.note(None, start)
        self._keep((*self.known, Gap(start, end, 1.0)))

    def _keep(self, gaps: tuple[Gap, ...]) -> None:
        if len(gaps) > MOST_GAPS:
            first, second = gaps[:2]
            lost = sum(gap.lost(-math.inf, math.inf) for gap in (first, second))
            gaps = (Gap(first.start, second.end, lost / max(1e-9, second.end - first.start)), *gaps[2:])
        self.known = gaps
