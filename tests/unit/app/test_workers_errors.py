"""Errors that clients get from workers, added up by the parent."""

from __future__ import annotations

from typing import cast

from prometheus_client import CollectorRegistry
from twisted.trial.unittest import SynchronousTestCase

from mpp.app.workers.aggregate import MetricsGatherer
from mpp.app.workers.metrics_sum import families
from mpp.app.workers.process import WorkerProcess
from mpp.core.metrics.registry import LOCAL, Metrics


class Told:
    """A worker that has told its metrics."""

    def __init__(self, *answered: tuple[str, int]) -> None:
        metrics = Metrics(CollectorRegistry())
        for backend, code in answered:
            metrics.request_began()
            metrics.request_ended(backend, code, 0.1)
        self.metrics = families(metrics.registry.collect())


class LocalErrorsTests(SynchronousTestCase):
    """Two workers, and one that has died."""

    def test_local_errors_are_added_up_by_code(self) -> None:
        """Errors of mpp itself are added up by code, those of workers that have ended too; those of servers are not counted."""
        hands = [Told((LOCAL, 503), (LOCAL, 503), ("a:9090", 503), (LOCAL, 404)), Told((LOCAL, 504))]
        gathering = MetricsGatherer(lambda: cast("list[WorkerProcess]", hands), list, lambda names: [])
        self.assertEqual(gathering.local_errors(), {500: 0, 502: 0, 503: 2, 504: 1})
        gathering.has_ended(cast("WorkerProcess", hands.pop()))
        self.assertEqual(gathering.local_errors(), {500: 0, 502: 0, 503: 2, 504: 1})

    def test_no_worker(self) -> None:
        """Before any worker has told anything there are none."""
        self.assertEqual(set(MetricsGatherer(list, list, lambda names: []).local_errors().values()), {0})
