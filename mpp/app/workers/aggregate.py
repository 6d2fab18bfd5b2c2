"""
The metrics of all workers: requested from each one, and added up with the counters of the workers that have ended. In the same
way, their range caches are flushed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.core import Metric
from twisted.internet.defer import Deferred, DeferredList

from mpp.app.workers import metrics_sum as sums
from mpp.app.workers.metrics_sum import Families
from mpp.app.workers.process import WorkerProcess
from mpp.cache.store import CacheState, Flushed
from mpp.core.metrics.local_errors import CODES
from mpp.core.metrics.registry import LOCAL
from mpp.core.model import Backend

_LOAD = "mpp_backend_requests"


def flush_caches(processes: Iterable[WorkerProcess], timeout: float) -> Deferred[Flushed]:
    """
    Let all workers remove the entries of their range caches; one that has not started yet has none, and is not waited for.

    :param timeout: seconds.
    :return Deferred(Flushed): fires with the sum. Never fails.
    """
    asked = []
    for process in processes:
        response = process.channel.request("flush", timeout=timeout)
        if process.is_starting:
            response.addErrback(lambda _: None)
        else:
            asked.append(response)

    def added(results: list[tuple[bool, Any]]) -> Flushed:
        entries = [count for responded, count in results if responded]
        silent = len(results) - len(entries)
        problem = f"{silent} of {len(results)} workers did not respond, and may have entries left" if silent else ""
        return Flushed(sum(entries), problem)

    return DeferredList(asked, consumeErrors=True).addCallback(added)


class MetricsGatherer:
    """
    The collector of the metrics of the parent and its workers.

    :param processes: returns the running workers.
    :param own: returns the metrics of the parent process.
    :param own_counted: returns the parent's metric families that have samples of these names, without series that are 0.
    :ivar restarts: the number of workers that were replaced.
    :ivar unanswered: the number of times that a worker did not send its metrics in time.
    """

    def __init__(
        self,
        processes: Callable[[], Iterable[WorkerProcess]],
        own: Callable[[], Families],
        own_counted: Callable[[Sequence[str]], Families],
    ) -> None:
        self._processes = processes
        self._own = own
        self._own_counted = own_counted
        self._departed: Families = []
        self.restarts = self.unanswered = 0

    def ask_all(self, timeout: float) -> Deferred[list[WorkerProcess]]:
        """
        Request the metrics of all workers; for a worker that does not respond in time, its last counters are kept.

        :param timeout: seconds.
        :return Deferred(list): fires with the workers that did not respond. Never fails.
        """
        unresponsive: list[WorkerProcess] = []
        asked = DeferredList([self._ask(process, timeout, unresponsive) for process in self._processes()])
        return asked.addCallback(lambda _: unresponsive)

    def _ask(self, process: WorkerProcess, timeout: float, unresponsive: list[WorkerProcess]) -> Deferred[None]:
        def received(metrics: Families) -> None:
            process.metrics = metrics

        def failed(_: object) -> None:
            unresponsive.append(process)
            self.unanswered += 1
            process.metrics = sums.counted(process.metrics)

        return process.channel.request("samples", timeout=timeout).addCallbacks(received, failed)

    def has_ended(self, process: WorkerProcess) -> None:
        """Keep the last counters of a worker that has ended, as a part of the sum of all workers."""
        self._departed = sums.counted(sums.add(self._departed, [process.metrics]))

    def exposition(self) -> bytes:
        """Return the metrics page for all processes together."""
        own = self._own()
        self._departed = sums.known(self._departed, own)
        total = sums.add(own, [self._departed, *(process.metrics for process in self._processes())])
        return sums.exposition(total + self.own_families())

    def own_families(self) -> Families:
        """Return the metric families about the workers themselves."""
        found: Families = []
        for name, kind, documentation, value in (
            ("mpp_workers", "gauge", "Worker processes.", sum(1 for _ in self._processes())),
            ("mpp_worker_restarts", "counter", "Worker processes that died and were replaced.", self.restarts),
            ("mpp_worker_unanswered", "counter", "Times that a worker did not send its metrics in time.", self.unanswered),
        ):
            sample = f"{name}_total" if kind == "counter" else name
            found.append([name, kind, documentation, [[sample, {}, value]]])
        return found

    def collect(self, names: Sequence[str]) -> Iterable[Metric]:
        """Return the metric families that have samples of these names, see `mpp.admin.recorder.Collect`."""
        workers = [self._departed, *(process.metrics for process in self._processes())]
        found = [self._own_counted(names), *(sums.restricted(each, names) for each in workers)]
        return sums.metrics(sums.add([], found))

    def local_errors(self) -> Mapping[int, int]:
        """
        Return the number of error responses that workers have made themselves, by status code, from their last metrics.
        """
        total = dict.fromkeys(CODES, 0)
        for found in [self._departed, *(process.metrics for process in self._processes())]:
            for sample, labels, value in sums.samples(found, "mpp_requests"):
                code = labels.get("code", "")
                if sample == "mpp_requests_total" and labels.get("backend") == LOCAL and code.isdecimal() and int(code) in total:
                    total[int(code)] += int(value)
        return total

    def cache(self) -> CacheState:
        """Return how full the range caches of the workers are together, from their last metrics."""
        names = ("mpp_cache_entries", "mpp_cache_bytes", "mpp_cache_limit_bytes")
        found = [process.metrics for process in self._processes()]
        return CacheState(*(int(sum(value for each in found for _, _, value in sums.samples(each, name))) for name in names))

    def load(self, backends: Iterable[Backend]) -> Mapping[str, tuple[int, int]]:
        """
        Return the number of requests in flight and in the queue, by backend name, from the last metrics of the workers.
        """
        load = {
            (sample.labels["backend"], sample.labels["state"]): int(sample.value)
            for family in sums.metrics(sums.add([], [sums.restricted(process.metrics, [_LOAD]) for process in self._processes()]))
            for sample in family.samples
        }
        return {each.name: (load.get((each.name, "active"), 0), load.get((each.name, "queued"), 0)) for each in backends}
