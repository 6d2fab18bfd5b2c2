"""
Errors that clients get although no server sent them: since when, and how many. Pure.

Counted are requests that mpp answers with 500, 502, 503 or 504 itself; 501 and 505 are the client's fault.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, frozen

from mpp.core.text.humanize import clock, listing

CODES = (500, 502, 503, 504)
"""The status codes of local replies that are not the client's fault."""

OVER_S = 10.0
"""Seconds without such an error after which a run of them is over, if a server is usable."""


@frozen
class LocalErrors:
    """
    A run of such errors. Times in seconds since the epoch.

    :ivar since: when the first one was seen.
    :ivar last: when the last one was seen.
    :ivar counts: how many there were, by code.
    """

    since: float
    last: float
    counts: Mapping[int, int]

    @property
    def total(self) -> int:
        """How many there were."""
        return sum(self.counts.values())

    @property
    def codes(self) -> str:
        """Their codes, as in a sentence."""
        return listing([str(code) for code in sorted(self.counts)])

    @property
    def text(self) -> str:
        """The run while it lasts: a clause."""
        return f"clients get {self.codes} since {clock(self.since)} UTC, {self.total:,} so far"

    @property
    def summary(self) -> str:
        """The run when it is over: a clause."""
        return f"clients got {self.codes} from {clock(self.since)} to {clock(self.last)} UTC, {self.total:,} in all"


def follow(run: LocalErrors | None, fresh: Mapping[int, int], now: float, *, usable: bool) -> LocalErrors | None:
    """
    Return the run of errors that goes on; None if there is none, or it is over.

    :param fresh: how many there were since the last call, by code.
    :param usable: at least one server is usable. While none is, a run goes on although no client asks.
    """
    counts = {code: count for code, count in fresh.items() if count > 0}
    if counts:
        before = {} if run is None else run.counts
        total = {code: before.get(code, 0) + counts.get(code, 0) for code in {**before, **counts}}
        return LocalErrors(now, now, total) if run is None else evolve(run, last=now, counts=total)
    return None if run is None or (usable and now - run.last >= OVER_S) else run
