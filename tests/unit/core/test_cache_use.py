"""The use of the cache, read from the counters."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.metrics.cache_use import COUNTED_IN, NO_USE, CacheUse, read_use
from mpp.core.metrics.registry import Metrics


class UseTests(SynchronousTestCase):
    """Counters of a process."""

    def test_read(self) -> None:
        """Each counter is found, and other metrics do not disturb."""
        metrics = Metrics(CollectorRegistry())
        self.assertEqual(read_use(metrics.counted(COUNTED_IN)), NO_USE)
        for count, result in enumerate(("hit", "partial", "miss", "bypass"), start=1):
            for _ in range(count):
                metrics.cache_requests.inc(result)
        metrics.cache_steps(1435, 5)
        metrics.cache_saved(0.75)
        metrics.shared_requests.inc()
        metrics.cache_evictions.inc()
        expected = CacheUse(1, 2, 3, 4, 1435, 5, 0.75, 1)
        self.assertEqual(read_use(metrics.counted(COUNTED_IN)), expected)
        self.assertEqual(read_use(metrics.registry.collect()), expected)

    def test_ratios(self) -> None:
        """The hit ratio counts queries that are not cached as well; without a query there is none."""
        use = CacheUse(hits=6, partial=1, misses=1, bypassed=2, cached_steps=30, asked_steps=10)
        self.assertEqual((use.requests, use.hit_ratio, use.step_ratio), (10, 0.6, 0.75))
        self.assertEqual((NO_USE.hit_ratio, NO_USE.step_ratio), (None, None))

    def test_since(self) -> None:
        """The recent use is the difference; a count that fell is not negative."""
        before, now = CacheUse(hits=6, misses=5, saved_s=1.5), CacheUse(hits=9, misses=4, saved_s=2.0, shared=1)
        self.assertEqual(now.since(before), CacheUse(hits=3, saved_s=0.5, shared=1))
