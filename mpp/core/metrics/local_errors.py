"""
Describes a run of errors: a period in which mpp itself answers requests of clients with an error status. Pure.

Only responses that mpp itself makes, with 500, 502, 503 or 504, count; 501 and 505 are the client's fault.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, frozen

from mpp.core.text.humanize import clock, listing

CODES = (500, 502, 503, 504)
"""The status codes of responses of mpp itself that are not the client's fault."""

OVER_S = 10.0
"""Seconds without an error response of mpp itself after which a run of errors is over, if a server is usable."""

QUIET_S = 3.0
"""Seconds without an error response after which a run of errors is described in the past tense, if a server is usable."""


@frozen
class LocalErrors:
    """
    A run of errors: error responses of mpp itself without a long pause, see `follow`. Times are seconds since the epoch.

    :ivar since: the time of the first error.
    :ivar last: the time of the last error.
    :ivar counts: the number of errors for each status code.
    :ivar quiet: a server is usable, and there was no error for `QUIET_S`.
    """

    since: float
    last: float
    counts: Mapping[int, int]
    quiet: bool = False

    @property
    def total(self) -> int:
        """The number of errors in the run."""
        return sum(self.counts.values())

    @property
    def codes(self) -> str:
        """The status codes in the run, for a sentence, such as ``502 and 504``."""
        return listing([str(code) for code in sorted(self.counts)])

    @property
    def text(self) -> str:
        """The description, such as ``clients get 502 since 10:00:00 UTC, 7 so far``; `summary` if it is quiet."""
        if self.quiet:
            return self.summary
        return f"clients get {self.codes} since {clock(self.since)} UTC, {self.total:,} so far"

    @property
    def summary(self) -> str:
        """The description of a run that is over, such as ``clients got 502 from 10:00:00 to 10:01:00 UTC, 7 in all``."""
        return f"clients got {self.codes} from {clock(self.since)} to {clock(self.last)} UTC, {self.total:,} in all"


def follow(run: LocalErrors | None, fresh: Mapping[int, int], now: float, *, usable: bool) -> LocalErrors | None:
    """
    Return the current run of errors; None if there is none, or ``run`` is over now.

    :param run: the result of the last call.
    :param fresh: the number of errors since the last call, for each status code.
    :param usable: at least one server is usable. While no server is, a run lasts even if no client sends requests.
    """
    counts = {code: count for code, count in fresh.items() if count > 0}
    if counts:
        before = {} if run is None else run.counts
        total = {code: before.get(code, 0) + counts.get(code, 0) for code in {**before, **counts}}
        return LocalErrors(now, now, total) if run is None else evolve(run, last=now, counts=total, quiet=False)
    if run is None or (usable and now - run.last >= OVER_S):
        return None
    quiet = usable and now - run.last >= QUIET_S
    return run if quiet == run.quiet else evolve(run, quiet=quiet)
