"""Decides when a server was away, and whether it came back as a new process. No I/O; the time is an argument."""

from __future__ import annotations

from attrs import frozen

from mpp.core.model import Observation, Standing
from mpp.core.prometheus.runtimeinfo import is_same_start

_SAME_START_S = 10.0


@frozen
class TimeAway:
    """
    A time in which a server was not usable.

    :ivar start: when it was noticed, seconds since the epoch by the clock of mpp. After a restart it is when the server was last
        usable: the old process may have ended at any time after that.
    :ivar end: when the server was usable again.
    :ivar restarted: whether the server came back as a new process.
    """

    start: float
    end: float
    restarted: bool


def is_usable(observation: Observation) -> bool:
    """Return whether a server is viable or busy, is not ejected, and responds to the probe's query."""
    return observation.standing <= Standing.BUSY and not observation.ejected_at and not observation.unproven


class Presence:
    """
    Whether a server is usable, and since when.

    :param observation: the first observation of the server, which is presumed to have run before.
    :param at: the time of this observation, seconds since the epoch.
    :ivar usable: see `is_usable`.
    :ivar back_at: when it came back into service; None if that is long ago, or it was there from the beginning.
    """

    def __init__(self, observation: Observation, at: float) -> None:
        self.usable = is_usable(observation)
        self.back_at: float | None = None
        self._started_at = observation.facts.started_at
        self._away_at = None if self.usable else at
        self._seen_at = self._used_until = at
        self._absence: TimeAway | None = None

    def observe(self, observation: Observation, at: float) -> TimeAway | None:
        """Record the next observation; return the absence that it ends."""
        usable, started_at = is_usable(observation), observation.facts.started_at
        restarted = started_at is not None and self._started_at is not None and not is_same_start(started_at, self._started_at)
        if self.usable and not usable:
            self._away_at = at
        absence = None
        if usable and (not self.usable or restarted):
            self.back_at = at
            absence = self._absence = self._ended(at, started_at if restarted else None)
            self._away_at = None
        if usable:
            self._seen_at = at
        if usable or self._started_at is None:
            # The start time of a server that is not usable yet is compared when it is.
            self._started_at = started_at or self._started_at
        self.usable = usable
        return absence

    def _ended(self, at: float, started_at: float | None) -> TimeAway:
        """
        Return the absence of a server that ends now.

        :param started_at: the start time of the new process; None if it is not known to be a new one.
        """
        last = self._absence
        if self._away_at is not None:
            self._used_until = self._seen_at
            restarted = started_at is not None
            return TimeAway(self._used_until if restarted else self._away_at, at, restarted)
        if last is not None and started_at is not None and started_at <= last.end + _SAME_START_S:
            # The start time was read after the server had been used again: it is the reason of the absence that was seen.
            return TimeAway(self._used_until, last.end, restarted=True)
        return TimeAway(self._seen_at, at, restarted=True)
