"""
Looks after the workers: starts them, tells them of every Selection and of other settings, hears their reports, ends them.

To the parent's own program the crew is who serves the clients (`mpp.app.client_side.Serving`). It does not know how the
Selection is made, nor how a client is served.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.core import Metric
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, LogLevel
from txaio.tx import make_logger

from mpp.app.workers.accept_rotation import NOBODY, Counts
from mpp.app.workers.aggregate import Gathering
from mpp.app.workers.broadcast import Publishing
from mpp.app.workers.codec import backend_in, familiar_in, packed
from mpp.app.workers.interfaces import World
from mpp.app.workers.ipc import Questions, Words
from mpp.app.workers.process import Hand
from mpp.core.metrics import CONTENT_TYPE
from mpp.core.model import Backend, Standing
from mpp.core.settings import Settings
from mpp.proxy.site.kube_probes import KubeProbes
from mpp.security.web_config.values import WebConfig
from mpp.selection.rounds import Waiters

_log = make_logger()

# A worker that dies is replaced at once; one that dies soon again later and later: whatever kills it is not cured by haste.
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 10.0
# Who lives so long did not die of starting.
_GREW_UP_S = 10.0
# A worker answers within a turn of its reactor. Who scrapes waits some 10 s.
ANSWER_S = 1.0
# All are asked so often how they are, and have so long to answer. Who is silent so often in a row hangs: its clients are better
# off when it is dead. (Not for so long: who was stopped together with the parent is well.)
POLL_S = 5.0
PATIENCE_S = 4.0
HUNG = 3
# After being cut short: a worker has nothing to wait for any more.
_END_S = 2.0


class Crew(Service):
    """
    All workers.

    :param workers: how many there are to be.
    :param boot: what each has to know at its start.
    """

    def __init__(self, workers: int, boot: str, reactor: Any, world: World) -> None:
        self._boot = boot
        self._reactor = reactor
        self._world = world
        self._counts = Counts.make(workers)
        self._hands: dict[int, Hand] = {}
        self._delays = dict.fromkeys(range(workers), 0.0)
        self._scheduled: dict[int, IDelayedCall] = {}
        self._known: list[int] = []
        self._drained = Waiters()
        self._kube_probes = KubeProbes()
        self._draining = False
        self._publishing = Publishing(self._hands.values, world, reactor)
        self._gathering = Gathering(self._hands.values, world.collect, world.counted)
        self._poll = LoopingCall(self._ask_how_they_are)
        self._poll.clock = reactor

    # Life

    def startService(self) -> None:
        """Start all, as soon as the reactor can look after them."""
        Service.startService(self)
        self._known = self._world.descriptors()
        self._world.selections.watch(self._publishing.soon)
        self._reactor.callWhenRunning(self._start_all)
        polling = self._poll.start(POLL_S, now=False)
        polling.addErrback(lambda failure: _log.failure("Nobody asks the workers how they are any more", failure))

    def stopService(self) -> Deferred[None]:
        """End those that are left."""
        Service.stopService(self)
        self._draining = True
        if self._poll.running:
            self._poll.stop()
        ended = self._all_gone()
        self.abort()
        return ended.addTimeout(_END_S, self._reactor).addErrback(lambda _: self._kill(self._hands.values()))

    def __len__(self) -> int:
        """How many connections all of them have."""
        return sum(max(0, number) for number in self._counts.numbers)

    @property
    def workers(self) -> int:
        """How many there are at the moment."""
        return len(self._hands)

    def drain(self) -> Deferred[None]:
        """
        Have every worker finish what it is answering, and end.

        :return Deferred(None): fires when the last one is gone. Cancel it to bound the wait.
        """
        self._draining = True
        for scheduled in self._scheduled.values():
            scheduled.cancel()
        self._scheduled.clear()
        for hand in self._hands.values():
            hand.line.tell("drain")
        return self._all_gone()

    def abort(self) -> None:
        """Have the workers cut off what is left."""
        for hand in self._hands.values():
            hand.line.tell("cut")

    def _all_gone(self) -> Deferred[None]:
        waiter = self._drained.wait()
        if not self._hands:
            self._drained.fire()
        return waiter

    def _kill(self, hands: Iterable[Hand]) -> None:
        for hand in hands:
            hand.signal("KILL")

    def _start_all(self) -> None:
        for number in self._delays:
            if self.running and not self._draining:
                self._start(number)

    def _start(self, number: int) -> None:
        self._scheduled.pop(number, None)
        words: Words = {
            "report": functools.partial(self._reported, number),
            "rescued": self._rescued,
            "suspect": self._suspect,
            "answered": self._answered,
            "familiar": functools.partial(self._familiar, number),
            "storage": self._storage_failed,
            "kube_probe": self._kube_probes.report_once,
            "log": _log_theirs,
        }
        questions: Questions = {
            "reselect": self._reselect,
            "metrics": self._metrics_page,
            "status": self._status_page,
            "config": lambda form: succeed(_told(*self._world.config(form))),
            "reload": self._reload,
        }
        hand = Hand(number, words, questions, self._reactor, self._gone)
        self._hands[number] = hand
        boot = self._boot, self._world.token, packed(self._world.handover())
        hand.start(self._reactor, boot, self._counts.descriptor, self._known)
        for key, seconds in self._world.selections.suspects.left():
            hand.line.tell("suspect", key, seconds)
        self._publishing.now()

    def _gone(self, hand: Hand) -> None:
        del self._hands[hand.number]
        self._counts.numbers[hand.number] = NOBODY
        self._gathering.has_ended(hand)
        if not self._draining:
            self._replace(hand)
        elif not self._hands:
            self._drained.fire()

    def _replace(self, hand: Hand) -> None:
        number, lived = hand.number, self._reactor.seconds() - hand.began
        delay = self._delays[number]
        delay = _FIRST_DELAY_S if lived >= _GREW_UP_S or not delay else min(2 * delay, _LONGEST_DELAY_S)
        self._delays[number] = delay
        self._gathering.restarts += 1
        text = "Worker {number} (process {pid}) {ended}; another one starts in {delay:g} s"
        _log.error(text, number=number, pid=hand.pid, ended=hand.ended, delay=delay)
        self._world.note("worker", f"worker {number} (process {hand.pid}) {hand.ended}; another one starts in {delay:g} s")
        self._scheduled[number] = self._reactor.callLater(delay, self._start, number)

    def _ask_how_they_are(self) -> Deferred[None]:
        return self._gathering.ask_all(PATIENCE_S).addCallback(self._kill_who_hangs)

    def _kill_who_hangs(self, silent: Collection[Hand]) -> None:
        for hand in self._hands.values():
            hand.silences = hand.silences + 1 if hand in silent else 0
            if hand.silences >= HUNG and not self._draining:
                _log.error("Worker {number} hangs and is killed", number=hand.number)
                self._world.note("worker", f"worker {hand.number} hangs and is killed")
                self._kill([hand])

    # What they are told

    def follow(self, settings: Settings) -> None:
        """Have the workers serve by other settings, and accept from the sockets that were opened for them."""
        self._boot = self._world.encoded(settings)
        before, self._known = self._known, self._world.descriptors()
        for hand in self._hands.values():
            for descriptor in self._known:
                if descriptor not in before:
                    hand.line.give(descriptor)
            hand.line.tell("settings", self._boot)

    def in_step(self) -> Deferred[None]:
        """See `mpp.app.client_side.Serving`. What a worker was told before it was asked it has done when it answers."""
        return self._gathering.ask_all(ANSWER_S).addCallback(lambda _: None)

    def renew(self) -> None:
        """Have the workers read those credentials again that have changed; it costs no more than to look at the files."""
        for hand in self._hands.values():
            hand.line.tell("renew")

    def renew_certificates(self) -> None:
        """Have the workers read the certificates of ``ssl:`` endpoints again."""
        for hand in self._hands.values():
            hand.line.tell("certificates")

    def secure(self, config: WebConfig) -> None:
        """Have the workers judge clients by this web configuration."""
        text = packed(config)
        for hand in self._hands.values():
            hand.line.tell("web_config", text)

    # What they say

    def _reported(self, worker: int, number: int, backend: Any, standing: int, why: str) -> None:
        self._hands[worker].heard = number
        self._world.selections.report(backend_in(backend), Standing(standing), why)
        self._publishing.soon()

    def _rescued(self, failed: Any, by: Any) -> None:
        self._world.selections.rescued(backend_in(failed), backend_in(by))
        self._publishing.soon()

    def _storage_failed(self, backend: Any, error: str) -> None:
        self._world.selections.storage_failed(backend_in(backend), error)
        self._publishing.soon()

    def _suspect(self, key: str, why: str) -> None:
        self._world.selections.suspect(key, why)
        for hand in self._hands.values():
            hand.line.tell("suspect", key)

    def _answered(self, backend: Any) -> None:
        self._world.selections.answered(backend_in(backend))
        self._publishing.soon()

    def _familiar(self, worker: int, *credentials: str) -> None:
        """Have all know credentials that one worker has found to be right: their next connection may be anybody's."""
        self._world.familiar(familiar_in(credentials))
        for hand in self._hands.values():
            if hand.number != worker:
                hand.line.tell("familiar", *credentials)

    # What they ask

    def _reselect(self) -> Deferred[None]:
        return self._world.selections.reselect().addCallback(lambda _: self._publishing.now())

    def _reload(self) -> Deferred[Any]:
        return self._world.reload().addCallback(lambda reloaded: [reloaded.changed, reloaded.errors])

    def _status_page(self, form: str, secure: bool) -> Deferred[Any]:
        return self._gathering.ask_all(ANSWER_S).addCallback(lambda _: _told(*self._world.status(form, secure)))

    def _metrics_page(self) -> Deferred[Any]:
        return self._gathering.ask_all(ANSWER_S).addCallback(lambda _: _told(200, CONTENT_TYPE, self._gathering.exposition()))

    # What they count

    def load(self, backends: Iterable[Backend]) -> Mapping[str, tuple[int, int]]:
        """See `mpp.app.client_side.Serving`."""
        return self._gathering.load(backends)

    def collect(self, names: Sequence[str]) -> Iterable[Metric]:
        """See `mpp.app.client_side.Serving`; what the workers told last."""
        return self._gathering.collect(names)

    def local_errors(self) -> Mapping[int, int]:
        """See `mpp.app.client_side.Serving`; what the workers told last."""
        return self._gathering.local_errors()


def _told(code: int, content_type: bytes, body: bytes) -> list[Any]:
    return [code, content_type.decode(), body.decode()]


def _log_theirs(level: str, component: str, told: dict[str, Any]) -> None:
    """Log what a worker logs."""
    Logger(namespace=component).emit(LogLevel.lookupByName(level), "{text}", text=told["msg"], log_told=told)
