"""
The state that a Prometheus server reports about itself, as frozen values.

Times are seconds; points in time are seconds since the epoch (UTC). This module imports no other module of mpp.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from attrs import frozen


@frozen
class ServerState:
    """
    The slowly changing state of a Prometheus server: read about once a minute and after a restart.

    :ivar version: such as ``2.42.0``; empty when not known.
    :ivar started_at: when the process started, or None.
    :ivar oldest: time of the oldest stored sample; None if there is no data, or it is not known.
    :ivar newest: time of the newest sample in the head, or None.
    :ivar samples: samples ingested since the beginning of storage; 1.x only, None from 2.0 on, where restarts reset the count.
    :ivar retention_s: retention by time in seconds, or None when not known.
    :ivar retention_by_size: retention is limited by size (too), so the length of history depends on the load.
    :ivar read_at: when this state was read; 0 when never.
    :ivar targets: how many targets it scrapes, or None.
    :ivar config_hash: hash of its configuration without the external labels, which differ between replicas on purpose;
        empty when not known. Comparable within one version only: the reported configuration contains the version's defaults.
    :ivar config_at: when it loaded that configuration, or None.
    :ivar reload_ok: its last attempt to load a configuration worked, or None.
    :ivar skew: how far its clock is ahead of mpp's, in seconds, or None.
    :ivar query_slots: how many queries it runs at the same time (its ``--query.max-concurrency``), or None when not known.
    :ivar settles_s: the age in seconds from which on its data counts as final, computed from its configuration,
        see Note [When the past is settled] in `mpp.selection.probing.config_times`; 0 when not known.
    :ivar settles_job: the job whose interval and timeout decide ``settles_s``; empty when not known, or if no job counts.
    :ivar answers_id: hash of what changes its responses for the past or the meaning of a query, see
        `mpp.selection.probing.answers_id`; empty when not known.
    :ivar pools: how many targets it has discovered, by scrape job; empty when not known.
    :ivar jobs: the scrape intervals of the jobs in its configuration, in seconds, by job; empty when not known.
    :ivar external_labels: the labels that it adds to the series of federation and remote read, by name; None when not known.
    :ivar flags: the command-line flags that are compared, with their values, by name; empty when not known.

    The last four are only compared between servers, which workers do not do, so they are not sent to workers. They must stay the
    last fields, see `mpp.app.workers.codec`.
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
    settles_s: float = 0.0
    settles_job: str = ""
    answers_id: str = ""
    pools: tuple[tuple[str, int], ...] = ()
    jobs: tuple[tuple[str, float], ...] = ()
    external_labels: tuple[tuple[str, str], ...] | None = None
    flags: tuple[tuple[str, str], ...] = ()


NO_FACTS = ServerState()
"""The state of a server that was never read; one object for all such servers, since there may be many."""


@frozen
class Lack:
    """
    The newest data that a server lacks and another server has.

    :ivar missing: the number of targets that the server does not scrape, at least one.
    :ivar of: the number of targets that the server with the most targets scrapes.
    :ivar since: when the lack began, as far as known.
    :ivar stopped: the server scrapes none of the targets.
    :ivar back: the server has just come back into service, so it has not scraped all targets yet.
    """

    missing: int
    of: int
    since: float
    stopped: bool = False
    back: bool = False

    def __str__(self) -> str:
        at = datetime.fromtimestamp(self.since, UTC).strftime("%H:%M:%S UTC")
        targets = f"{self.of} target{'' if self.of == 1 else 's'}"
        if self.stopped and not self.back:
            return f"has scraped {f'none of {targets}' if self.of else 'nothing'} since {at}"
        scraped = f"{max(0, self.of - self.missing)} of {targets}" if self.of else "no targets"
        return f"is just back, and has scraped {scraped} so far" if self.back else f"has scraped only {scraped} since {at}"


@frozen
class Gap:
    """
    A span of time for which a server lacks data that another server has.

    :ivar start: seconds since the epoch.
    :ivar end: seconds since the epoch, or infinity while the gap is still open.
    :ivar share: the part of the targets without data, above 0 and at most 1.
    """

    start: float
    end: float
    share: float

    def lost(self, start: float, end: float) -> float:
        """Return the seconds of this gap between two points in time, multiplied by the share of the targets without data."""
        return self.share * max(0.0, min(self.end, end) - max(self.start, start))


def closed(gaps: tuple[Gap, ...]) -> tuple[Gap, ...]:
    """Return the gaps that have ended."""
    return tuple(gap for gap in gaps if gap.end != math.inf)


@frozen
class Replay:
    """
    The progress of a server's replay of its WAL.

    :ivar done: the number of segments that are read.
    :ivar total: the number of all segments, at least one.
    :ivar since: when mpp first saw this replay.
    :ivar done_then: the number of segments that were read at that time.
    """

    done: int
    total: int
    since: float
    done_then: int

    @property
    def share(self) -> float:
        """The part of the replay that is done, 0 to 1."""
        return self.done / self.total

    def left(self, at: float) -> float | None:
        """Return the estimated seconds until the replay ends, from its speed so far; None when it has made no progress yet."""
        progress = self.done - self.done_then
        return (self.total - self.done) * (at - self.since) / progress if progress > 0 and at > self.since else None
