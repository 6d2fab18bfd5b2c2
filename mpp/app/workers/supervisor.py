"""
The supervisor of the workers: starts and ends them, sends them each Selection and new settings, and receives their reports.

For the parent's program, the supervisor is the client side (`mpp.app.client_side.ClientSide`). It does not know how the Selection
is made, nor how a client is served.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.core import Metric
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from txaio.tx import make_logger

from mpp.app.workers.accept_rotation import NONE, ConnectionCounts
from mpp.app.workers.aggregate import MetricsGatherer, flush_caches
from mpp.app.workers.broadcast import Broadcast
from mpp.app.workers.codec import backend_in, familiar_in, packed
from mpp.app.workers.interfaces import ParentProgram
from mpp.app.workers.ipc import NotificationHandlers, RequestHandlers
from mpp.app.workers.process import WorkerProcess, log_of_worker
from mpp.cache.store import CacheState, Flushed
from mpp.core.metrics.registry import CONTENT_TYPE
from mpp.core.model import Backend, Standing
from mpp.core.scheduling.periodic import PeriodicCheck
from mpp.core.scheduling.waiters import Waiters
from mpp.core.settings import Settings
from mpp.proxy.site.kube_probes import KubeProbes
from mpp.security.web_config.values import WebConfig

_log = make_logger()

# A worker that ends is replaced after the first delay; the delay doubles, up to the longest one, if the new worker soon ends too.
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 10.0
# Seconds after which a worker counts as started: its end is not an effect of its start, and the delay is reset.
_GREW_UP_S = 10.0
# Seconds to wait for a worker's metrics. A worker responds within an iteration of its reactor; a scrape times out after 10 s.
ANSWER_S = 1.0
# Liveness checks: their interval, the time to respond, and the number of failures in a row after which a worker is killed.
# Several failures are needed because a worker that was suspended together with the parent is healthy.
POLL_S = 5.0
PATIENCE_S = 4.0
HUNG = 3
# Seconds to wait after an abort, when a worker has nothing left to finish.
_END_S = 2.0


class WorkerSupervisor(Service):
    """
    The service that runs all workers.

    :param workers: the configured number of workers.
    :param boot: the encoded settings for a worker.
    """

    def __init__(self, workers: int, boot: str, reactor: Any, program: ParentProgram) -> None:
        self._boot = boot
        self._reactor = reactor
        self._program = program
        self._counts = ConnectionCounts.make(workers)
        self._processes: dict[int, WorkerProcess] = {}
        self._delays = dict.fromkeys(range(workers), 0.0)
        self._scheduled: dict[int, IDelayedCall] = {}
        self._known: list[int] = []
        self._drained = Waiters()
        self._kube_probes = KubeProbes()
        self._draining = False
        self._publishing = Broadcast(self._processes.values, program, reactor)
        self._gathering = MetricsGatherer(self._processes.values, program.collect, program.counted)
        self._poll = PeriodicCheck(self._check_responses, reactor, POLL_S, "liveness checks of workers", _log)

    # Start and stop

    def startService(self) -> None:
        """Start all workers as soon as the reactor runs, and the liveness checks."""
        Service.startService(self)
        self._known = self._program.descriptors()
        self._program.selections.watch(self._publishing.soon)
        self._reactor.callWhenRunning(self._start_all)
        self._poll.startService()

    def stopService(self) -> Deferred[None]:
        """End the remaining workers; the Deferred fires when all have ended, or after `_END_S`, when they are killed."""
        Service.stopService(self)
        self._draining = True
        self._poll.stopService()
        ended = self._all_ended()
        self.abort()
        return ended.addTimeout(_END_S, self._reactor).addErrback(lambda _: self._kill(self._processes.values()))

    def __len__(self) -> int:
        """Return the number of client connections of all workers."""
        return self._counts.total()

    @property
    def workers(self) -> int:
        """The number of running workers; while mpp stops, the configured number, because workers end on purpose then."""
        return len(self._delays) if self._draining else len(self._processes)

    def drain(self) -> Deferred[None]:
        """
        Ask every worker to finish its requests in flight, and to end.

        :return Deferred(None): fires when the last worker has ended. Cancel it to bound the wait.
        """
        self._draining = True
        for scheduled in self._scheduled.values():
            scheduled.cancel()
        self._scheduled.clear()
        self._notify_all("drain")
        return self._all_ended()

    def abort(self) -> None:
        """Ask the workers to abort their remaining client connections."""
        self._notify_all("cut")

    def _all_ended(self) -> Deferred[None]:
        waiter = self._drained.wait()
        if not self._processes:
            self._drained.fire()
        return waiter

    def _kill(self, processes: Iterable[WorkerProcess]) -> None:
        for process in processes:
            process.signal("KILL")

    def _start_all(self) -> None:
        for number in self._delays:
            if self.running and not self._draining:
                self._start(number)

    def _start(self, number: int) -> None:
        self._scheduled.pop(number, None)
        words: NotificationHandlers = {
            "report": functools.partial(self._reported, number),
            "rescued": self._rescued,
            "suspect": self._suspect,
            "answered": self._answered,
            "familiar": functools.partial(self._familiar, number),
            "storage": self._storage_failed,
            "kube_probe": self._kube_probes.report_once,
            "log": log_of_worker,
            "started": lambda: process.has_started(),
        }
        questions: RequestHandlers = {
            "reselect": self._reselect,
            "metrics": self._metrics_page,
            "status": self._status_page,
            "config": lambda form: succeed(_page(*self._program.config(form))),
            "reload": self._reload,
            "flush": lambda: self.flush_cache().addCallback(lambda flushed: [flushed.entries, flushed.problem]),
        }
        process = WorkerProcess(number, words, questions, self._reactor, self._ended)
        self._processes[number] = process
        boot = self._boot, self._program.token, packed(self._program.handover())
        process.start(self._reactor, boot, self._counts.descriptor, self._known)
        for key, seconds in self._program.selections.suspects.left():
            process.channel.notify("suspect", key, seconds)
        self._publishing.now()

    def _ended(self, process: WorkerProcess) -> None:
        del self._processes[process.number]
        self._counts.numbers[process.number] = NONE
        self._gathering.has_ended(process)
        if not self._draining:
            self._replace(process)
        elif not self._processes:
            self._drained.fire()

    def _replace(self, process: WorkerProcess) -> None:
        number, lived = process.number, self._reactor.seconds() - process.began
        delay = self._delays[number]
        self._delays[number] = delay = _FIRST_DELAY_S if lived >= _GREW_UP_S or not delay else min(2 * delay, _LONGEST_DELAY_S)
        self._gathering.restarts += bool(process.pid)
        text = f"worker {{number}}{' (process {pid})' if process.pid else ''} {{ended}}; another one starts in {{delay:g}} s"
        _log.error(text, number=number, pid=process.pid, ended=process.ended, delay=delay)
        self._program.record("worker", text.format(number=number, pid=process.pid, ended=process.ended, delay=delay))
        self._scheduled[number] = self._reactor.callLater(delay, self._start, number)

    def _check_responses(self) -> Deferred[None]:
        return self._gathering.ask_all(PATIENCE_S).addCallback(self._kill_hung)

    def _kill_hung(self, unresponsive: Collection[WorkerProcess]) -> None:
        for process in self._processes.values():
            process.silences = process.silences + 1 if process in unresponsive else 0
            if process.silences >= HUNG and not self._draining:
                _log.error("worker {number} hangs and is killed", number=process.number)
                self._program.record("worker", f"worker {process.number} hangs and is killed")
                self._kill([process])

    # Notifications to the workers

    def _notify_all(self, word: str, *values: object) -> None:
        for process in self._processes.values():
            process.channel.notify(word, *values)

    def reconfigure(self, settings: Settings) -> None:
        """Send new settings to the workers, after the sockets that were opened for them."""
        self._boot = self._program.encoded(settings)
        before, self._known = self._known, self._program.descriptors()
        for process in self._processes.values():
            for descriptor in self._known:
                if descriptor not in before:
                    process.channel.send_descriptor(descriptor)
            process.channel.notify("settings", self._boot)

    def in_step(self) -> Deferred[None]:
        """Wait until each worker responds: it handles messages in order, so that it has applied all earlier changes then."""
        return self._gathering.ask_all(ANSWER_S).addCallback(lambda _: None)

    def refresh_credentials(self) -> None:
        """Ask the workers to read changed credential files again; without a change this costs a ``stat`` per file."""
        self._notify_all("renew")

    def cache(self) -> CacheState:
        """Return how full the range caches of all workers are together, from their last metrics."""
        return self._gathering.cache()

    def flush_cache(self) -> Deferred[Flushed]:
        """Remove all entries of the range caches of all workers, see `mpp.app.client_side.ClientSide`."""
        return flush_caches(self._processes.values(), ANSWER_S)

    def reload_certificates(self) -> None:
        """Ask the workers to read the certificates of ``ssl:`` endpoints again."""
        self._notify_all("certificates")

    def secure(self, config: WebConfig) -> None:
        """Send a new web configuration to the workers."""
        self._notify_all("web_config", packed(config))

    # Notifications from the workers

    def _reported(self, worker: int, number: int, backend: Any, standing: int, why: str) -> None:
        self._processes[worker].heard = number
        self._program.selections.report(backend_in(backend), Standing(standing), why)
        self._publishing.soon()

    def _rescued(self, failed: Any, by: Any) -> None:
        self._program.selections.rescued(backend_in(failed), backend_in(by))
        self._publishing.soon()

    def _storage_failed(self, backend: Any, error: str) -> None:
        self._program.selections.storage_failed(backend_in(backend), error)
        self._publishing.soon()

    def _suspect(self, key: str, why: str) -> None:
        self._program.selections.suspect(key, why)
        self._notify_all("suspect", key)

    def _answered(self, backend: Any) -> None:
        self._program.selections.answered(backend_in(backend))
        self._publishing.soon()

    def _familiar(self, worker: int, *credentials: str) -> None:
        """Send credentials that one worker has verified to the others, where the next connection of this client may arrive."""
        self._program.familiar(familiar_in(credentials))
        for process in self._processes.values():
            if process.number != worker:
                process.channel.notify("familiar", *credentials)

    # Requests from the workers

    def _reselect(self) -> Deferred[None]:
        return self._program.selections.reselect().addCallback(lambda _: self._publishing.now())

    def _reload(self) -> Deferred[Any]:
        return self._program.reload().addCallback(lambda reloaded: [reloaded.changed, reloaded.errors])

    def _status_page(self, form: str, secure: bool) -> Deferred[Any]:
        return self._gathering.ask_all(ANSWER_S).addCallback(lambda _: _page(*self._program.status(form, secure)))

    def _metrics_page(self) -> Deferred[Any]:
        return self._gathering.ask_all(ANSWER_S).addCallback(lambda _: _page(200, CONTENT_TYPE, self._gathering.exposition()))

    # Metrics of the workers

    def load(self, backends: Iterable[Backend]) -> Mapping[str, tuple[int, int]]:
        """Return the requests in flight and in the queue of each backend, see `mpp.app.client_side.ClientSide`."""
        return self._gathering.load(backends)

    def collect(self, names: Sequence[str]) -> Iterable[Metric]:
        """Return the metric families of the parent and of all workers that have samples of these names."""
        return self._gathering.collect(names)

    def local_errors(self) -> Mapping[int, int]:
        """Return the number of error responses that workers have made themselves, by status code, from their last metrics."""
        return self._gathering.local_errors()


def _page(code: int, content_type: bytes, body: bytes) -> list[Any]:
    return [code, content_type.decode(), body.decode()]
