"""
The record of the gaps in one server's history, as mpp has observed them. No I/O; the time is an argument.

A gap comes from a lack that `mpp.coverage.lacks` found since mpp was started, or from the downtime of a server that came back as
a new process. A server that mpp could not reach but that did not restart may have gone on scraping, so no gap is recorded for it.
"""

from __future__ import annotations

import math

from mpp.core.facts import Gap, Lack

MOST_GAPS = 50
"""Maximum number of gaps recorded per server; beyond it the two oldest are merged into one that lacks as much as both."""
SAME_SHARE = 0.05
"""Smallest change of the missing share of targets that starts a new gap; smaller changes come with every survey."""


class Gaps:
    """
    The recorded gaps of one server.

    :ivar known: all gaps, oldest first; the end of a gap that goes on is infinity.
    """

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: tuple[Gap, ...] = ()

    def note(self, lack: Lack | None, at: float) -> None:
        """Record what the server lacks from ``at`` on, in seconds since the epoch; None if it lacks nothing."""
        last = self.known[-1] if self.known and self.known[-1].end == math.inf else None
        share = 0.0 if lack is None else lack.missing / lack.of if lack.of else 1.0
        if last is not None and share and abs(last.share - share) < SAME_SHARE:
            return
        closed = self.known if last is None else (*self.known[:-1], Gap(last.start, max(at, last.start), last.share))
        begun = lack.since if lack is not None and last is None else at
        self._keep((*closed, Gap(begun, math.inf, share)) if share else closed)

    def missed(self, start: float, end: float) -> None:
        """Record that the server scraped nothing between two points in time, in seconds since the epoch."""
        self.note(None, start)
        self._keep((*self.known, Gap(start, end, 1.0)))

    def _keep(self, gaps: tuple[Gap, ...]) -> None:
        if len(gaps) > MOST_GAPS:
            first, second = gaps[:2]
            lost = sum(gap.lost(-math.inf, math.inf) for gap in (first, second))
            gaps = (Gap(first.start, second.end, lost / max(1e-9, second.end - first.start)), *gaps[2:])
        self.known = gaps
