"""Garbage collections do not visit the objects again that have survived one; all are visited when no client waits for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.wire.tuned import old_objects
from mpp.wire.tuned.old_objects import OldObjects

ROOT = Path(__file__).parents[3]


class FakeCollector:
    """A collector with a number of objects."""

    def __init__(self, objects: int) -> None:
        self.callbacks: list[Callable[[str, dict[str, int]], object]] = []
        self.thresholds = (700, 10, 10)
        self.objects = objects
        self.frozen = 0
        self.visits: list[int] = []

    def get_threshold(self) -> tuple[int, int, int]:
        """Return CPython's default."""
        return self.thresholds

    def set_threshold(self, *thresholds: int) -> None:
        """Set how often garbage is collected."""
        assert len(thresholds) == 3
        self.thresholds = thresholds

    def freeze(self) -> None:
        """Freeze all objects."""
        self.frozen = self.objects

    def unfreeze(self) -> None:
        """Freeze none."""
        self.frozen = 0

    def collect(self, generation: int = 2) -> int:
        """Collect garbage; return how many objects were visited."""
        visited = self.objects - self.frozen
        self.visits.append(visited)
        for phase in ("start", "stop"):
            for call in self.callbacks:
                call(phase, {"generation": generation})
        return visited


class OldObjectsTests(SynchronousTestCase):
    """A process that has 1,000 objects when it begins to serve clients."""

    def setUp(self) -> None:
        self.patch(old_objects, "LEAST_GROWTH", 10)
        self.collector = FakeCollector(1000)
        self.clock, self.used, self.late = Clock(), 0.0, 0.0
        self.old = OldObjects(self.clock, self.collector, lambda: 3 * self.collector.objects, lambda: self.used, self.now)
        self.old.watch()

    def now(self) -> float:
        """Return the time."""
        return self.clock.seconds() + self.late

    def grow(self, by: int) -> int:
        """Let there be more objects; return how many are visited for that."""
        self.collector.objects += by
        return self.collector.collect()

    def wait(self, seconds: float, share: float) -> list[int]:
        """Let time pass while the process uses a share of a core; return how many objects each collection visited."""
        self.collector.visits.clear()
        for _ in range(round(seconds)):
            self.used += share
            self.clock.advance(1)
        return self.collector.visits

    def test_survivors_are_not_visited_again(self) -> None:
        """Each collection visits the new objects only."""
        self.assertEqual([self.grow(10) for _ in range(80)], [10] * 80)

    def test_collections_of_young_objects_freeze_none(self) -> None:
        """They are frequent, and what they leave is mostly freed soon."""
        self.collector.objects += 10
        self.collector.collect(generation=1)
        self.assertEqual(self.collector.frozen, 1000)

    def test_all_are_visited_each_hour(self) -> None:
        """So the cycles among them are freed."""
        self.assertEqual(self.wait(3600, share=0.01), [])
        self.assertEqual(self.wait(3600, share=0.01), [1000])
        self.assertEqual(self.collector.frozen, 1000)

    def test_all_are_visited_when_they_have_doubled(self) -> None:
        """Then the next time when these have doubled."""
        self.grow(1001)
        self.assertEqual(self.wait(2, share=0.01), [2001])
        self.grow(1990)
        self.assertEqual(self.wait(2, share=0.01), [])
        self.grow(20)
        self.assertEqual(self.wait(2, share=0.01), [4011])

    def test_clients_come_first(self) -> None:
        """Nothing is visited while they use the process."""
        self.grow(1001)
        self.assertEqual(self.wait(7200, share=0.03), [])
        self.assertEqual(self.wait(2, share=0.01), [2001])

    def test_late_check(self) -> None:
        """A process that gets little processor time is not idle."""
        self.grow(1001)
        self.late = 2
        self.assertEqual(self.wait(1, share=0.01), [])
        self.assertEqual(self.wait(1, share=0.01), [2001])

    def test_without_an_idle_second(self) -> None:
        """All are visited in the end, so that the memory stays bounded: after a day, or when there are four times as many."""
        self.assertEqual(self.wait(86_400, share=0.5), [])
        self.assertEqual(self.wait(2, share=0.5), [1000])
        self.grow(3001)
        self.assertEqual(self.wait(2, share=0.5), [4001])

    def test_smaller_thresholds_stay(self) -> None:
        """CPython 3.14 has none for the last generation."""
        self.assertEqual(self.collector.thresholds, (700, 5, 3))
        self.collector.thresholds = (2000, 10, 0)
        OldObjects(Clock(), self.collector, lambda: 1).watch()
        self.assertEqual(self.collector.thresholds, (2000, 5, 0))

    def test_real_collector(self) -> None:
        """Garbage in cycles is freed in the end."""
        code = (
            "import gc, sys; from mpp.wire.tuned import old_objects; old_objects.LEAST_GROWTH = 0\n"
            "from twisted.internet.task import Clock\n"
            "clock = Clock(); old_objects.OldObjects(clock, now=clock.seconds).watch()\n"
            "class Cycle:\n"
            "    def __init__(self): self.own = self\n"
            "freed, kept, first = [], [], sys.getallocatedblocks()\n"
            "gc.callbacks.append(lambda phase, about: freed.append(about['collected']) if phase == 'stop' else None)\n"
            "for _ in range(200):\n"
            "    kept += [Cycle() for _ in range(first // 20)]\n"
            "    gc.collect(); clock.advance(1)\n"
            "    if len(kept) > first // 2: kept.clear()\n"
            "print(first, sum(freed), sys.getallocatedblocks())"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
        first, freed, in_use = map(int, done.stdout.split())
        self.assertGreater(freed, first)
        self.assertLess(in_use, 5 * first)
