"""How the last minutes are remembered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.admin.gauges import GaugeCollector
from mpp.admin.recorder import LOOKED_AT, Recorder, read_totals
from mpp.core.metrics.cache_use import CacheTraffic, CacheUse
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, Choice, Observation, Selection, Standing
from mpp.selection.event_log import REMEMBERED, EventLog
from mpp.selection.recent import SLOT_S, SLOTS, RecentTraffic

A, B = Backend("http", "a", 9090), Backend("http", "b", 9090)


class RecorderTests(SynchronousTestCase):
    """Looks at real counters, by a clock that the test moves."""

    def collect(self, names: Sequence[str]) -> Iterable[Metric]:
        """Return what is counted."""
        return self.metrics.counted(names)

    def setUp(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics(CollectorRegistry())
        self.selection = Selection(1, Choice((A,), (B,)), (Observation(A, Standing.VIABLE), Observation(B, Standing.VIABLE)))
        self.recorder = Recorder(self.collect, self.clock, lambda: self.selection)
        self.recorder.startService()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        self.recorder.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def request(self, backend: Backend = A, code: int = 200, seconds: float = 0.02) -> None:
        self.metrics.request_began()
        self.metrics.upstream_answered(backend.name, seconds)
        self.metrics.request_ended(backend.name, code, seconds)

    def test_requests_are_told_by_backend(self) -> None:
        """Rates, errors, retries and latencies are those of the one backend."""
        for _ in range(99):
            self.request()
        self.request(code=503)
        self.request(B)
        self.metrics.retries.inc(A.name, "reset")
        self.metrics.hedges.inc(A.name, "stuck")
        self.clock.advance(SLOT_S)
        recent = self.recorder.recall()
        of_a, of_b = recent[A.name], recent[B.name]
        self.assertEqual((of_a.rate, of_a.error_share, of_a.retries, of_b.requests, of_b.errors), (10.0, 0.01, 2, 1, 0))
        assert of_a.p50 is not None
        self.assertTrue(0.01 < of_a.p50 < 0.025)

    def test_what_is_asked_between_two_looks_is_fresh(self) -> None:
        """Who looks sees the last seconds, too."""
        self.assertEqual(self.recorder.recall()[A.name], RecentTraffic())
        self.request()
        self.clock.advance(SLOT_S / 2)
        self.assertEqual(self.recorder.recall()[A.name].requests, 1)

    def test_use_of_the_cache(self) -> None:
        """The use of the cache is known since the start and of the last ten minutes."""
        self.assertEqual(self.recorder.recall_cache(), CacheTraffic())
        self.metrics.cache_requests.inc("miss")
        for _ in range(SLOTS + 1):
            self.clock.advance(SLOT_S)
        self.metrics.cache_requests.inc("hit")
        self.metrics.cache_saved(0.5)
        self.clock.advance(SLOT_S / 2)
        found = self.recorder.recall_cache()
        self.assertEqual(found.total, CacheUse(hits=1, misses=1, saved_s=0.5))
        self.assertEqual((found.recent, found.seconds), (CacheUse(hits=1, saved_s=0.5), SLOTS * SLOT_S + SLOT_S / 2))

    def test_memory_is_bounded(self) -> None:
        """However long mpp runs, ten minutes are remembered."""
        for _ in range(SLOTS + 20):
            self.request()
            self.clock.advance(SLOT_S)
        recent = self.recorder.recall()[A.name]
        self.assertEqual((len(recent.slots), recent.seconds, recent.requests), (SLOTS, SLOTS * SLOT_S, SLOTS))

    def test_ejection_between_two_looks_is_seen(self) -> None:
        """A backend that was out for a moment has a slot that tells it."""
        self.request()
        self.clock.advance(SLOT_S)
        self.metrics.ejections.inc(A.name, "down")
        self.clock.advance(SLOT_S)
        self.clock.advance(SLOT_S)
        states = [slot.state for slot in self.recorder.recall()[A.name].slots]
        self.assertEqual(states, ["selected", "ejected", "selected"])

    def test_idle_backend_has_its_role(self) -> None:
        """A backend that was never asked has its last minutes, too: what it was."""
        self.clock.advance(SLOT_S)
        recent = self.recorder.recall()[B.name]
        self.assertEqual(([slot.state for slot in recent.slots], recent.rate, recent.p99), (["standby"], 0.0, None))

    def test_who_is_gone_is_forgotten(self) -> None:
        """Of a backend that is not listed any more nothing is told; of mpp's own answers it is."""
        self.request()
        self.metrics.refused(503)
        self.selection = Selection(2)
        self.clock.advance(SLOT_S)
        self.assertEqual(set(self.recorder.recall()), {"mpp"})

    def test_only_its_metrics_are_read(self) -> None:
        """What is computed at scrape time is not computed for this."""
        called = []
        self.metrics.watch(GaugeCollector(lambda: called.append(1)))  # type: ignore[arg-type,return-value]
        self.request()
        self.assertEqual(read_totals(self.collect(LOOKED_AT))[A.name].requests, 1)
        self.assertEqual(called, [])


class JournalTests(SynchronousTestCase):
    """What happened."""

    def test_newest_first_and_bounded(self) -> None:
        """The last events are remembered with their time, and not more than so many."""
        now = [100.0]
        journal = EventLog(lambda: now[0])
        for number in range(REMEMBERED + 5):
            now[0] += 1
            journal.record("selection", str(number))
        self.assertEqual(len(journal.events), REMEMBERED)
        self.assertEqual((journal.events[0].at, journal.events[0].text), (now[0], str(REMEMBERED + 4)))
