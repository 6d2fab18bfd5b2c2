"""
Decides from which age on samples count as final, so that the steps that read them can be cached. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from mpp.core.model import Observation

LONG_S = 600.0
"""Seconds: a greater age makes the cache of little use for dashboards of the last hour, so the status page warns."""


@frozen
class Freshness:
    """
    The age from which on samples count as final.

    :ivar seconds: the age.
    :ivar job: the scrape job because of which the age is greater than the configured one; empty if there is none.
    :ivar server: the name of the server because of which the age is greater; empty if there is none.
    :ivar behind: how many seconds the clock of that server is behind, which are a part of the age.
    """

    seconds: float
    job: str = ""
    server: str = ""
    behind: float = 0.0

    @property
    def is_long(self) -> bool:
        """True if the age is so great that the cache is of little use."""
        return self.seconds > LONG_S


def freshness(configured: float, observations: Iterable[Observation]) -> Freshness:
    """
    Return the largest of the configured age and the ages that follow from the configuration of the servers.

    A server that does not respond counts as well with its last known configuration: it may be used again at any time.

    :param configured: ``--cache-freshness``, in seconds.
    """
    found = Freshness(configured)
    for each in observations:
        state = each.facts
        # A server whose clock is behind writes the samples of a time later.
        behind = max(0.0, -(state.skew or 0.0))
        seconds = state.settles_s + behind
        if seconds > found.seconds and not each.is_self:
            found = Freshness(seconds, state.settles_job, each.backend.name, behind)
    return found
