"""
The use of the range cache and of shared responses, read from the counters. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from attrs import fields, frozen
from prometheus_client.core import Metric

_FIELDS: Mapping[tuple[str, str], str] = {
    ("mpp_cache_requests_total", "hit"): "hits",
    ("mpp_cache_requests_total", "partial"): "partial",
    ("mpp_cache_requests_total", "miss"): "misses",
    ("mpp_cache_requests_total", "bypass"): "bypassed",
    ("mpp_cache_steps_total", "cache"): "cached_steps",
    ("mpp_cache_steps_total", "server"): "asked_steps",
    ("mpp_cache_saved_seconds_total", ""): "saved_s",
    ("mpp_shared_requests_total", ""): "shared",
}
"""The field of each series, by the name of the sample and the value of its label."""

COUNTED_IN = tuple(dict.fromkeys(name for name, _ in _FIELDS))
"""The names of the samples that `read_use` reads."""


@frozen
class CacheUse:
    """
    The counts of the use of the range cache and of shared responses, of a process or of all workers together.

    :ivar hits: range queries that were answered from the cache alone.
    :ivar partial: range queries of which a server was asked for a part.
    :ivar misses: range queries of which a server was asked for all steps.
    :ivar bypassed: range queries that are not cached.
    :ivar cached_steps: steps of responses that came from the cache.
    :ivar asked_steps: steps of responses that a server was asked for.
    :ivar saved_s: seconds that the servers would have taken for the cached steps, as estimated.
    :ivar shared: requests that got the response to an identical one.
    """

    hits: float = 0.0
    partial: float = 0.0
    misses: float = 0.0
    bypassed: float = 0.0
    cached_steps: float = 0.0
    asked_steps: float = 0.0
    saved_s: float = 0.0
    shared: float = 0.0

    @property
    def requests(self) -> float:
        """The number of range queries."""
        return self.hits + self.partial + self.misses + self.bypassed

    @property
    def hit_ratio(self) -> float | None:
        """The share of range queries that were answered from the cache alone; None if there were none."""
        return self.hits / self.requests if self.requests else None

    @property
    def step_ratio(self) -> float | None:
        """The share of steps that came from the cache; None if there were none."""
        steps = self.cached_steps + self.asked_steps
        return self.cached_steps / steps if steps else None

    def since(self, before: CacheUse) -> CacheUse:
        """Return what was counted since an earlier time; a count that fell, because a worker ended, counts as 0."""
        names = [each.name for each in fields(CacheUse)]
        return CacheUse(**{name: max(0.0, getattr(self, name) - getattr(before, name)) for name in names})


NO_USE = CacheUse()
"""The use before the first request."""


@frozen
class CacheTraffic:
    """
    The use of the cache since the start, and in the last minutes.

    :ivar seconds: the time that ``recent`` covers.
    """

    total: CacheUse = NO_USE
    recent: CacheUse = NO_USE
    seconds: float = 0.0


def read_use(families: Iterable[Metric]) -> CacheUse:
    """Return the use that the samples of some metric families show; missing ones count as 0."""
    found: defaultdict[str, float] = defaultdict(float)
    for family in families:
        for sample in family.samples:
            name = _FIELDS.get((sample.name, next(iter(sample.labels.values()), "")))
            if name is not None:
                found[name] += sample.value
    return CacheUse(**found)
