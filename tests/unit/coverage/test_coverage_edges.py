"""The edges of holes, whatever the phase of the windows in which the histories are compared."""

from __future__ import annotations

import json
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.coverage import NOTHING, Job
from mpp.core.intervals import Intervals
from mpp.core.model import Backend
from mpp.core.prometheus.runtimeinfo import ProbeResponse
from mpp.coverage.history.agenda import Span
from mpp.coverage.history.comparison import Comparison
from mpp.coverage.history.paced_queries import PacedQueries
from mpp.coverage.holes import Sums, Windows
from mpp.coverage.knowledge import Knowledge

A, B = (Backend("http", name, 9090) for name in "ab")
TARGETS = {"node": 10, "web": 3}
INTERVAL = 15
END = 1_795_938_060
LENGTH = 43_200
LOST = {A: [(-21_600, -20_160), (-7200, -7155)], B: [(-14_400, -12_600)]}
"""The times in which no sample was scraped, relative to `END`."""


class Recorded(PacedQueries):
    """Queries that are answered at once, by what the servers have scraped."""

    def __init__(self) -> None:
        self._clock = Clock()
        """Need no connection."""

    def can_afford(self, backends: object, windows: Windows, samples_per_s: float) -> bool:
        return True

    async def ask(self, backend: Backend, path: str, cost: float) -> ProbeResponse:
        found = [{"metric": {"job": job, "instance": str(number)}, "value": [0, "1"]} for job in TARGETS for number in range(2)]
        return ProbeResponse(200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": found}}).encode())

    async def sums(
        self, backend: Backend, path: Callable[[Windows], str], windows: Windows, *, series: int, samples_per_s: float
    ) -> Sums:
        witnesses = "instance" in path(windows)
        scraped = {end: self.scraped(backend, end - windows.length, end) for end in windows.ends}
        return {
            job: {end: float(count * (2 if witnesses else targets)) for end, count in scraped.items() if count}
            for job, targets in TARGETS.items()
        }

    def scraped(self, backend: Backend, start: int, end: int) -> int:
        """Return how often a server has scraped each target after a start until an end."""
        scrapes = range(start // INTERVAL * INTERVAL + INTERVAL, end + 1, INTERVAL)
        lost = [(END + first, END + last) for first, last in LOST[backend]]
        return sum(END - LENGTH <= at < END and not any(first <= at < last for first, last in lost) for at in scrapes)


class EdgesTests(SynchronousTestCase):
    """Holes of known times."""

    def test_no_lost_sample_is_outside_of_the_holes_that_are_found(self) -> None:
        """A step that needs it would be answered by a server that lacks it; and a hole is not much longer than what was lost."""
        for phase in range(0, 300, 7):
            knowledge = Knowledge()
            knowledge.surveyed({job: Job(targets, 30.0) for job, targets in TARGETS.items()})
            knowledge.aged({A: float(END - LENGTH), B: float(END - LENGTH)})
            until = END + 300 + phase
            span = Span(until - LENGTH, until)
            compared = Deferred.fromCoroutine(Comparison(Recorded(), knowledge, "up", [A, B], span, until).run())
            self.successResultOf(compared)
            knowledge.publish()
            for backend, lost in LOST.items():
                found = knowledge.coverage.missing.get(backend, NOTHING).times
                scrapes = Intervals.of((END + first, END + last - INTERVAL) for first, last in lost)
                self.assertFalse(scrapes - found, (phase, backend.name, found))
                self.assertFalse(found - scrapes.widen(60, 60), (phase, backend.name, found))
