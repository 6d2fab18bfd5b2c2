"""
What a Prometheus server tells of itself, as values. Frozen.

Times are seconds; points in time are seconds since the epoch (UTC). This module knows no other module of mpp.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from attrs import frozen


@frozen
class ServerState:
    """
    What changes slowly about a Prometheus: read about once a minute and after a restart.

    :ivar version: ``2.42.0``, or empty when it does not say.
    :ivar started_at: when the process started, or None.
    :ivar oldest: time of the oldest sample held, or None for "no data" and for "cannot tell".
    :ivar newest: time of the newest sample in the head, or None.
    :ivar samples: samples ingested since the beginning of storage; 1.x only, None from 2.0 on (its successor resets at restart).
    :ivar retention_s: retention by time in seconds, or None when not known.
    :ivar retention_by_size: retention is limited by size (too), so the length of history moves with the load.
    :ivar read_at: when these facts were read.
    :ivar targets: how many targets it scrapes, or None.
    :ivar config_hash: short hash of its configuration without the external labels, in which replicas are meant to differ; empty
        when not known. Comparable within one version only: each writes out other defaults.
    :ivar config_at: when it loaded that configuration, or None.
    :ivar reload_ok: its last attempt to load a configuration worked, or None.
    :ivar skew: how far its clock is ahead of mpp's, in seconds, or None.
    :ivar query_slots: how many queries it runs at the same time (its ``--query.max-concurrency``), or None when not known.
    :ivar pools: how many targets it has discovered, by scrape job; empty when not known.
    :ivar jobs: the scrape intervals of the jobs in its configuration, in seconds, by job; empty when not known.
    :ivar external_labels: the labels that it adds to the series of federation and remote read, by name; None when not known.
    :ivar flags: those of its flags that are compared, with their values, by name; empty when not known.

    The last four are only compared, so workers do not know them. They remain the last fields, see `mpp.app.workers.codec`.
    """

    version: str = ""
    started_at: float | None = None
    oldest: float | None = None
    newest: float | None = None
    samples: float | None = None
    retention_s: float | None = None
    retention_by_size: bool = False
    read_at: float = 0.0
    targets: int | None = None
    config_hash: str = ""
    config_at: float | None = None
    reload_ok: bool | None = None
    skew: float | None = None
    query_slots: int | None = None
    pools: tuple[tuple[str, int], ...] = ()
    jobs: tuple[tuple[str, float], ...] = ()
    external_labels: tuple[tuple[str, str], ...] | None = None
    flags: tuple[tuple[str, str], ...] = ()


NO_FACTS = ServerState()
"""What is known of a server that was never asked; one for all such servers, of which there may be many."""


@frozen
class Lack:
    """
    What a server lacks of the newest data that another one has.

    :ivar missing: how many targets, at least one.
    :ivar of: how many targets the best of the servers scrapes.
    :ivar since: when the lack began, as far as known.
    :ivar stopped: it scrapes none of them.
    :ivar back: it is just back, and has not scraped all targets yet.
    """

    missing: int
    of: int
    since: float
    stopped: bool = False
    back: bool = False

    def __str__(self) -> str:
        at = datetime.fromtimestamp(self.since, UTC).strftime("%H:%M:%S")
        scraped = f"{max(0, self.of - self.missing)} of {self.of} targets" if self.of else "no targets"
        if self.back:
            return f"is just back and has scraped {scraped} so far"
        return f"has not scraped since {at}: {scraped}" if self.stopped else f"scrapes {scraped} since {at}"


@frozen
class Gap:
    """
    A time of which a server lacks data that another one has.

    :ivar start: seconds since the epoch.
    :ivar end: the same, or infinity while it goes on.
    :ivar share: the part of the targets that it lacks, above 0 and at most 1.
    """

    start: float
    end: float
    share: float

    def lost(self, start: float, end: float) -> float:
        """Return for how many seconds between two points in time all targets would have to be missing to lack as much."""
        return self.share * max(0.0, min(self.end, end) - max(self.start, start))


def closed(gaps: tuple[Gap, ...]) -> tuple[Gap, ...]:
    """Return the gaps that are over."""
    return tuple(gap for gap in gaps if gap.end != math.inf)


@frozen
class Replay:
    """
    How far a server has come with the replay of its WAL.

    :ivar done: segments that are read.
    :ivar total: segments there are, at least one.
    :ivar since: when this replay was seen first.
    :ivar done_then: segments that were read then.
    """

    done: int
    total: int
    since: float
    done_then: int

    @property
    def share(self) -> float:
        """The part that is done, 0 to 1."""
        return self.done / self.total

    def left(self, at: float) -> float | None:
        """Give the seconds that it still takes, judging by what was done since it was seen first; None when too little was."""
        progress = self.done - self.done_then
        return (self.total - self.done) * (at - self.since) / progress if progress > 0 and at > self.since else None
