"""Tests of the delayed start of jobs while many others are under way."""

from __future__ import annotations

import random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.scheduling.limited_starts import LimitedStarts


class LimitedStartsTests(SynchronousTestCase):
    """Two jobs of a group at once, and 10 ms of waiting at most."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.starts = LimitedStarts(self.clock, 2, 0.01)
        self.started: list[str] = []

    def add(self, *jobs: str, group: str = "a") -> None:
        """Add jobs."""
        for job in jobs:
            self.starts.add(job, group, lambda job=job: self.started.append(job))  # type: ignore[misc]

    def test_further_jobs_wait_for_the_end_of_another(self) -> None:
        """In the order in which they came."""
        self.add("1", "2", "3", "4")
        self.assertEqual(self.started, ["1", "2"])
        self.starts.ended("2")
        self.assertEqual(self.started, ["1", "2", "3"])
        self.starts.ended("1")
        self.assertEqual(self.started, ["1", "2", "3", "4"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_job_waits_long(self) -> None:
        """After the longest wait it starts, however many are under way."""
        self.add("1", "2", "3")
        self.clock.advance(0.009)
        self.assertEqual(self.started, ["1", "2"])
        self.clock.advance(0.002)
        self.assertEqual(self.started, ["1", "2", "3"])
        self.add("4")
        self.starts.ended("1")
        # Two are still under way.
        self.assertEqual(self.started, ["1", "2", "3"])

    def test_groups_do_not_wait_for_each_other(self) -> None:
        """Jobs of another group start at once."""
        self.add("1", "2", "3")
        self.add("4", group="b")
        self.assertEqual(self.started, ["1", "2", "4"])

    def test_a_job_that_ends_while_it_waits_is_never_started(self) -> None:
        """It takes the place of no other one."""
        self.add("1", "2", "3", "4")
        self.starts.ended("3")
        self.starts.ended("1")
        self.assertEqual(self.started, ["1", "2", "4"])

    def test_unknown_job(self) -> None:
        """The end of a job that was never added has no effect."""
        self.add("1", "2", "3")
        self.starts.ended("of another")
        self.assertEqual(self.started, ["1", "2"])

    def test_a_job_may_end_while_it_starts(self) -> None:
        """The next one follows at once, and nothing is left."""
        self.add("1", "2")
        for job in ("3", "4"):

            def start(job: str = job) -> None:
                self.started.append(job)
                self.starts.ended(job)

            self.starts.add(job, "a", start)
        for job in ("1", "2"):
            self.starts.ended(job)
        self.assertEqual(self.started, ["1", "2", "3", "4"])
        self.assertEqual((repr(self.starts), self.clock.getDelayedCalls()), ("<LimitedStarts: 0 jobs>", []))

    def test_any_order(self) -> None:
        """Each job that has not ended before is started once, within the longest wait, and nothing is left in the end."""
        dice = random.Random(1)
        added: dict[str, float] = {}
        cancelled: set[str] = set()
        for number in range(3000):
            present = [job for job in added if job not in cancelled]
            if dice.random() < 0.5:
                added[str(number)] = self.clock.seconds()
                self.add(str(number), group=dice.choice("abc"))
            elif present:
                job = dice.choice(present)
                if job not in self.started:
                    cancelled.add(job)
                else:
                    del added[job]
                self.starts.ended(job)
            self.clock.advance(dice.choice((0, 0.001, 0.004)))
            late = [job for job, at in added.items() if job not in cancelled and self.clock.seconds() > at + 0.0101]
            self.assertEqual([job for job in late if job not in self.started], [])
        self.assertEqual(len(self.started), len(set(self.started)))
        self.assertEqual(cancelled.intersection(self.started), set())
        for job in added:
            self.starts.ended(job)
        self.assertEqual((repr(self.starts), self.clock.getDelayedCalls()), ("<LimitedStarts: 0 jobs>", []))
