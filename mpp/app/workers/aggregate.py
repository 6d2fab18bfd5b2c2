"""
What all workers count, gathered: asked of each, added up, and what those that have ended had counted. Knows no process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client.core import Metric
from twisted.internet.defer import Deferred, DeferredList

from mpp.app.workers import metrics_sum as sums
from mpp.app.workers.metrics_sum import Families
from mpp.app.workers.process import WorkerProcess
from mpp.core.local_errors import CODES
from mpp.core.metrics import LOCAL
from mpp.core.model import Backend

_LOAD = "mpp_backend_requests"


class MetricsGatherer:
    """
    The metrics of parent and workers.

    :param processes: gives the workers there are.
    :param own: gives the parent's own metrics.
    :param own_counted: returns those families of them that have samples of these names, without series that are 0.
    :ivar restarts: how many workers were replaced.
    :ivar unanswered: how often one did not tell its metrics in time.
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
        Have all workers tell their metrics; who does not in time is represented by what it had counted when it told last.

        :param timeout: seconds.
        :return Deferred(list): fires with those who did not. Never fails.
        """
        unresponsive: list[WorkerProcess] = []
        asked = DeferredList([self._ask(process, timeout, unresponsive) for process in self._processes()])
        return asked.addCallback(lambda _: unresponsive)

    def _ask(self, process: WorkerProcess, timeout: float, unresponsive: list[WorkerProcess]) -> Deferred[None]:
        def told(metrics: Families) -> None:
            process.metrics = metrics

        def did_not(_: object) -> None:
            unresponsive.append(process)
            self.unanswered += 1
            process.metrics = sums.counted(process.metrics)

        return process.channel.request("samples", timeout=timeout).addCallbacks(told, did_not)

    def has_ended(self, process: WorkerProcess) -> None:
        """Remember what it had counted."""
        self._departed = sums.counted(sums.add(self._departed, [process.metrics]))

    def exposition(self) -> bytes:
        """Give the page that speaks for all."""
        own = self._own()
        self._departed = sums.known(self._departed, own)
        total = sums.add(own, [self._departed, *(process.metrics for process in self._processes())])
        return sums.exposition(total + self.own_families())

    def own_families(self) -> Families:
        """Give what is counted of the workers themselves."""
        found: Families = []
        for name, kind, documentation, value in (
            ("mpp_workers", "gauge", "Worker processes.", sum(1 for _ in self._processes())),
            ("mpp_worker_restarts", "counter", "Worker processes that died and were replaced.", self.restarts),
            ("mpp_worker_unanswered", "counter", "Times that a worker did not tell its metrics in time.", self.unanswered),
        ):
            sample = f"{name}_total" if kind == "counter" else name
            found.append([name, kind, documentation, [[sample, {}, value]]])
        return found

    def collect(self, names: Sequence[str]) -> Iterable[Metric]:
        """Give the families that have samples of these names, see `mpp.admin.recorder.Collect`."""
        workers = [self._departed, *(process.metrics for process in self._processes())]
        found = [self._own_counted(names), *(sums.restricted(each, names) for each in workers)]
        return sums.metrics(sums.add([], found))

    def local_errors(self) -> Mapping[int, int]:
        """
        Return how many requests mpp itself answered with errors, as the workers told last, see `mpp.app.client_side.ClientSide`.
        """
        total = dict.fromkeys(CODES, 0)
        for found in [self._departed, *(process.metrics for process in self._processes())]:
            for sample, labels, value in sums.samples(found, "mpp_requests"):
                code = labels.get("code", "")
                if sample == "mpp_requests_total" and labels.get("backend") == LOCAL and code.isdecimal() and int(code) in total:
                    total[int(code)] += int(value)
        return total

    def load(self, backends: Iterable[Backend]) -> Mapping[str, tuple[int, int]]:
        """
        Give what is under way on each backend and what waits, as the workers told last, see `mpp.app.client_side.ClientSide`.
        """
        told = {
            (sample.labels["backend"], sample.labels["state"]): int(sample.value)
            for family in sums.metrics(sums.add([], [sums.restricted(process.metrics, [_LOAD]) for process in self._processes()]))
            for sample in family.samples
        }
        return {each.name: (told.get((each.name, "active"), 0), told.get((each.name, "queued"), 0)) for each in backends}
