"""What the parent makes of what its workers do. Played processes, at the other end of real lines."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import struct
from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mpp.admin.base_page import PageResponse
from mpp.app.workers.codec import coverage_in, familiar_out, rules_in, unpacked
from mpp.app.workers.metrics_sum import Families
from mpp.app.workers.process import WorkerProcess, how_it_ended
from mpp.app.workers.supervisor import ANSWER_S, HUNG, PATIENCE_S, POLL_S, WorkerSupervisor
from mpp.cache.store import CacheState, Flushed
from mpp.core.coverage import WHOLE_POOL, Coverage, Job, Missing
from mpp.core.http_config import DiscoverySource
from mpp.core.intervals import Intervals
from mpp.core.model import Backend, Selection, Standing
from mpp.core.settings import Reloaded, Settings
from mpp.promql.rules import RuleDefinition
from mpp.security.web_config.passwords import VerifiedCredentials
from mpp.security.web_config.service import Handover
from mpp.security.web_config.values import WebConfig
from mpp.selection.query_of_death import REMEMBERED_S, SuspectQueries
from tests.logged import logged

USERS = WebConfig(users={b"alice": b"hash"})
A = Backend("http", "prom-a", 9090)
ALICE = VerifiedCredentials(b"digest\xff", "\u00e4lice".encode(), b"hash")


class Played:
    """A worker's process: its end of the line, and the signals it got."""

    pid = 1

    def __init__(self, hand: WorkerProcess) -> None:
        self.hand = hand
        self.signals: list[str] = []
        self.line = StringTransport()
        hand.makeConnection(self)  # type: ignore[arg-type]

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)

    def die(self) -> None:
        self.hand.processEnded(Failure(ProcessDone(None)))  # type: ignore[no-untyped-call]

    def heard(self) -> list[list[Any]]:
        """Return the messages to the worker since the last call."""
        data, found = self.line.value(), []
        self.line.clear()
        while data:
            (length,) = struct.unpack("!I", data[:4])
            found.append(json.loads(data[4 : 4 + length]))
            data = data[4 + length :]
        return found

    def say(self, *said: Any) -> None:
        """Say something to the parent."""
        text = json.dumps(said).encode()
        self.hand.channel.dataReceived(struct.pack("!I", len(text)) + text)

    def answer(self) -> None:
        """Send the metrics of the worker to the parent if it asks for them."""
        for word, *values in self.heard():
            if word == "?":
                said = json.dumps(["!", values[0], []]).encode()
                self.hand.channel.dataReceived(struct.pack("!I", len(said)) + said)


class Stage(Clock):
    """
    The part of a reactor that starts processes.

    :ivar shortage: the error that the system gives instead of a process; none if empty.
    :ivar cut_off: the error that it gives instead of the line to a process that it has started.
    """

    def __init__(self) -> None:
        super().__init__()
        self.played: list[Played] = []
        self.shortage = self.cut_off = 0

    def callWhenRunning(self, call: Callable[[], object]) -> None:
        call()

    def spawnProcess(self, hand: WorkerProcess, *arguments: Any, **how: Any) -> None:
        if self.shortage:
            raise OSError(self.shortage, os.strerror(self.shortage))
        self.played.append(Played(hand))

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        if self.cut_off:
            raise OSError(self.cut_off, os.strerror(self.cut_off))
        factory.buildProtocol(None).makeConnection(self.played[-1].line)


class NobodyKnown:
    """A parent's program without any server."""

    current = Selection()
    token = "0123456789abcdef"
    failing: dict[Backend, int] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.selections = self
        self.front: Handover | None = None
        self.learned: list[VerifiedCredentials] = []
        self.noted: list[tuple[str, str]] = []
        self.suspects = SuspectQueries(lambda: 0.0)
        self.coverage = WHOLE_POOL
        self.rules = self
        self.definitions: tuple[RuleDefinition, ...] = ()
        self.changed: Callable[[], None] = list

    def suspect(self, key: str, why: str) -> None:
        """Remember a read."""
        self.suspects.add(key)

    def watch(self, changed: Callable[[], None]) -> None:
        self.changed = changed

    def report(self, backend: Backend, standing: Standing, why: str) -> None:
        """Nobody fails."""

    def rescued(self, failed: Backend, by: Backend) -> None:
        """Nobody is rescued."""

    def answered(self, backend: Backend) -> None:
        """Nobody answers."""

    def reselect(self) -> Deferred[Selection]:
        return succeed(self.current)

    def addresses(self, backend: Backend) -> tuple[str, ...]:
        return ()

    def sources(self, backend: Backend) -> Collection[DiscoverySource] | None:
        return None

    def status(self, form: str, secure: bool) -> PageResponse:
        return 200, b"text/plain", b""

    def config(self, form: str) -> PageResponse:
        return 200, b"text/plain", b""

    def record(self, kind: str, text: str) -> None:
        self.noted.append((kind, text))

    def reload(self) -> Deferred[Reloaded]:
        return succeed(Reloaded())

    def encoded(self, settings: Settings) -> str:
        return f"retries {settings.retries}"

    def handover(self) -> Handover | None:
        return self.front

    def familiar(self, credentials: VerifiedCredentials) -> None:
        self.learned.append(credentials)

    def descriptors(self) -> list[int]:
        return []

    def collect(self) -> Families:
        return []

    def counted(self, names: Collection[str]) -> Families:
        return []


class CrewTests(SynchronousTestCase):
    """Two workers."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.world = NobodyKnown()
        self.crew = WorkerSupervisor(2, "boot", self.stage, self.world)
        self.crew.startService()
        self.first, self.second = self.stage.played
        for played in self.stage.played:
            played.heard()

    def test_suspected_query_is_known_to_all_workers(self) -> None:
        """What one worker suspects all of them know, and one that starts later knows it for the rest of the time."""
        said = json.dumps(["suspect", "key", "why"]).encode()
        self.first.hand.channel.dataReceived(struct.pack("!I", len(said)) + said)
        self.assertEqual([played.heard() for played in (self.first, self.second)], 2 * [[["suspect", "key"]]])
        self.second.die()
        self.stage.advance(60)
        self.assertIn(["suspect", "key", REMEMBERED_S], self.stage.played[-1].heard())

    def test_kubernetes_probe(self) -> None:
        """The log says once that a Kubernetes probe asks for what servers answer, whichever workers report it."""
        lines = logged(self, lambda event: formatEvent(event) if "Kubernetes" in formatEvent(event) else "")
        for worker in (self.first, self.second, self.second):
            worker.say("kube_probe", "/-/ready")
        self.assertEqual(["asks mpp for /-/ready" in line for line in lines], [True])

    def test_lacking_ranges_are_sent_to_each_worker(self) -> None:
        """What the servers lack is sent to each worker when it has changed, and to one that starts later."""
        self.world.coverage = Coverage({"node": Job(80, 30.0)}, {A: Missing(Intervals.of([(-math.inf, 900.0)]))})
        self.world.changed()
        self.stage.advance(0)
        (told,) = self.first.heard()
        self.assertEqual((told[0], coverage_in(told[1])), ("coverage", self.world.coverage))
        self.assertEqual(self.second.heard(), [told])
        self.world.changed()
        self.stage.advance(0)
        self.assertEqual(self.first.heard(), [])
        self.first.die()
        self.stage.advance(PATIENCE_S)
        self.assertIn(told, self.stage.played[-1].heard())

    def test_rules_are_sent_to_each_worker(self) -> None:
        """The rules of the servers are sent to each worker when they have changed, in parts, and to one that starts later."""
        self.world.definitions = tuple(RuleDefinition(f"r{number}", "x", 60.0) for number in range(401))
        self.world.changed()
        self.stage.advance(0)
        told = self.first.heard()
        sizes = [(word, len(part), is_last) for word, part, is_last in told]
        self.assertEqual(sizes, [("rules", 200, False), ("rules", 200, False), ("rules", 1, True)])
        self.assertEqual([rule for _, part, _ in told for rule in rules_in(part)], list(self.world.definitions))
        self.assertEqual(self.second.heard(), told)
        self.world.changed()
        self.stage.advance(0)
        self.assertEqual(self.first.heard(), [])
        self.first.die()
        self.stage.advance(PATIENCE_S)
        self.assertIn(told[-1], self.stage.played[-1].heard())
        self.second.heard()
        self.world.definitions = ()
        self.world.changed()
        self.stage.advance(0)
        self.assertEqual(self.second.heard(), [["rules", [], True]])

    def test_in_step(self) -> None:
        """Other settings are in force when each worker has answered what it was asked after it was told them."""
        self.crew.reconfigure(Settings(retries=7))
        following = self.crew.in_step()
        self.first.answer()
        self.assertNoResult(following)
        told = self.second.heard()
        self.assertEqual((told[0], told[1][0]), (["settings", "retries 7"], "?"))
        self.stage.advance(ANSWER_S)
        self.successResultOf(following)

    def flushed(self, played: Played, entries: int) -> None:
        """Let a worker answer that it has removed entries."""
        ((word, number, question),) = played.heard()
        self.assertEqual((word, question), ("?", "flush"))
        played.say("!", number, entries)

    def test_flush(self) -> None:
        """A flush, whichever worker is asked for it, is over when all have removed their entries."""
        for played in (self.first, self.second):
            played.say("started")
        self.first.say("?", 7, "flush")
        self.flushed(self.first, 3)
        self.assertEqual(self.first.heard(), [])
        self.flushed(self.second, 4)
        self.assertEqual(self.first.heard(), [["!", 7, [7, ""]]])

    def test_cache_of_all_workers(self) -> None:
        """The caches of the workers add up, from their last metrics."""
        self.assertEqual(self.crew.cache(), CacheState())
        for played, entries in ((self.first, 3), (self.second, 4)):
            gauges = {"mpp_cache_entries": entries, "mpp_cache_bytes": entries * 1000.0, "mpp_cache_limit_bytes": 2.0**20}
            played.hand.metrics = [[name, "gauge", "", [[name, {}, value]]] for name, value in gauges.items()]
        self.assertEqual(self.crew.cache(), CacheState(7, 7000, 2**21))

    def test_flush_with_a_busy_worker(self) -> None:
        """A flush says how many workers did not respond, and waits no longer than a second for them."""
        for played in (self.first, self.second):
            played.say("started")
        flushing = self.crew.flush_cache()
        self.flushed(self.second, 4)
        self.stage.advance(ANSWER_S)
        self.assertEqual(self.successResultOf(flushing), Flushed(4, "1 of 2 workers did not respond, and may have entries left"))

    def test_flush_with_a_worker_that_starts(self) -> None:
        """A worker that has not served anything yet has nothing to remove, so it is not waited for, but told all the same."""
        self.first.say("started")
        flushing = self.crew.flush_cache()
        self.flushed(self.first, 3)
        self.assertEqual(self.successResultOf(flushing), Flushed(3))
        self.assertEqual([question for _, _, question in self.second.heard()], ["flush"])
        self.stage.advance(ANSWER_S)

    def poll(self, *answering: Played) -> None:
        """Have one more poll, which only these answer."""
        self.stage.advance(POLL_S - PATIENCE_S)
        for each in answering:
            each.answer()
        self.stage.advance(PATIENCE_S)

    def test_worker_that_misses_several_polls_is_killed(self) -> None:
        """Who does not answer several polls in a row is killed."""
        self.stage.advance(PATIENCE_S)
        self.poll(self.first, self.second)
        for _ in range(HUNG - 1):
            self.poll(self.first)
        self.assertEqual((self.first.signals, self.second.signals), ([], []))
        self.poll(self.first)
        self.assertEqual((self.first.signals, self.second.signals), ([], ["KILL"]))
        self.second.die()
        ended = "worker 1 (process 1) has ended with exit status 0; another one starts in 0.1 s"
        self.assertEqual(self.world.noted, [("worker", "worker 1 hangs and is killed"), ("worker", ended)])

    def test_slow_start_is_no_hang(self) -> None:
        """A worker that has not responded yet has a minute or two for its start, which takes long on a busy machine."""
        self.stage.advance(PATIENCE_S)
        for _ in range(int(60 / POLL_S)):
            self.poll(self.first)
        self.assertEqual((self.first.signals, self.second.signals), ([], []))
        for _ in range(int(60 / POLL_S) + HUNG):
            self.poll(self.first)
        self.assertEqual((self.first.signals, self.second.signals[:1]), ([], ["KILL"]))

    def test_busy_worker_is_not_taken_for_hung(self) -> None:
        """Who is too busy for a page, again and again, is not taken for one that hangs."""
        for _ in range(HUNG):
            page = self.crew.in_step()
            self.stage.advance(ANSWER_S)
            self.successResultOf(page)
        self.stage.advance(POLL_S - HUNG * ANSWER_S)
        self.stage.advance(PATIENCE_S)
        self.assertEqual((self.first.signals, self.second.signals), ([], []))

    def test_web_config(self) -> None:
        """Every worker is told what comes into force, and one that starts later begins with it, whatever its file says."""
        self.crew.secure(USERS)
        for played in (self.first, self.second):
            ((word, text),) = played.heard()
            self.assertEqual((word, unpacked(text)), ("web_config", USERS))
        self.world.front = Handover(USERS, b"key", ((ALICE, 7.0),))
        self.first.die()
        self.stage.advance(0.1)
        word, settings, token, handover = self.stage.played[2].heard()[0]
        self.assertEqual((word, settings, unpacked(handover)), ("boot", "boot", self.world.front))
        self.assertEqual(token, self.world.token)

    def test_verified_credentials_are_shared(self) -> None:
        """Credentials that one worker has verified are known to the others and to the parent."""
        self.first.say("familiar", *familiar_out(ALICE))
        self.assertEqual((self.first.heard(), self.second.heard()), ([], [["familiar", *familiar_out(ALICE)]]))
        self.assertEqual(self.world.learned, [ALICE])

    def test_dead_worker_is_replaced(self) -> None:
        """Who dies is replaced; who dies of its start again later and later."""
        self.first.die()
        self.stage.advance(0.1)
        self.assertEqual(len(self.stage.played), 3)
        self.stage.played[2].die()
        self.stage.advance(0.1)
        self.assertEqual(len(self.stage.played), 3)
        self.stage.advance(0.1)
        self.assertEqual(len(self.stage.played), 4)

    def test_worker_that_cannot_be_started_is_tried_again(self) -> None:
        """A worker that the system has no means to start is missing, and is started later; the others work on meanwhile."""
        self.first.die()
        self.stage.shortage = errno.EAGAIN
        self.stage.advance(0.1)
        self.assertEqual((len(self.stage.played), self.crew.workers), (2, 1))
        why = "worker 0 could not be started (Resource temporarily unavailable); another one starts in 0.2 s"
        self.assertEqual(self.world.noted[1:], [("worker", why)])
        self.crew.reconfigure(Settings(retries=7))
        self.assertEqual(self.second.heard()[-1], ["settings", "retries 7"])
        following = self.crew.in_step()
        self.second.answer()
        self.successResultOf(following)
        self.stage.shortage = 0
        self.stage.advance(0.2)
        self.assertEqual((len(self.stage.played), self.crew.workers), (3, 2))
        self.assertEqual(self.stage.played[2].heard()[0][:2], ["boot", "retries 7"])

    def test_worker_without_a_line_is_ended(self) -> None:
        """A worker that was started, but to which there is no line, is ended and replaced; whatever is sent to it is dropped."""
        self.first.die()
        self.stage.cut_off = errno.EMFILE
        self.stage.advance(0.1)
        lonely = self.stage.played[2]
        self.assertEqual(lonely.signals, ["KILL"])
        self.crew.secure(USERS)
        self.second.say("familiar", *familiar_out(ALICE))
        lonely.hand.channel.send_descriptor(0)
        self.assertEqual(lonely.heard(), [])
        following = self.crew.in_step()
        self.second.answer()
        self.successResultOf(following)
        self.stage.cut_off = 0
        lonely.die()
        self.stage.advance(0.2)
        self.assertEqual(self.stage.played[3].heard()[0][0], "boot")
        self.assertEqual(lonely.heard(), [])

    def test_last_worker_cannot_be_started_while_mpp_stops(self) -> None:
        """mpp waits for no worker that could not be started."""
        for played in (self.first, self.second):
            played.die()
        self.stage.shortage = errno.EMFILE
        self.stage.advance(0.1)
        self.successResultOf(self.crew.drain())
        self.stage.shortage = 0
        self.stage.advance(60)
        self.assertEqual(len(self.stage.played), 2)

    def test_ended_worker_is_not_missing_while_mpp_stops(self) -> None:
        """A worker that dies is missing until another one has started; one that has ended because mpp stops is not missing."""
        self.first.die()
        self.assertEqual(self.crew.workers, 1)
        self.stage.advance(0.1)
        self.assertEqual(self.crew.workers, 2)
        drained = self.crew.drain()
        self.second.die()
        self.assertEqual(self.crew.workers, 2)
        self.assertNoResult(drained)

    def test_how_a_worker_ended_is_said(self) -> None:
        """The log names the signal or the exit status, and the process."""
        lines = logged(self, lambda event: formatEvent(event) if "ended" in event else "")  # type: ignore[arg-type]
        self.first.hand.processEnded(Failure(ProcessTerminated(None, signal.SIGKILL)))  # type: ignore[no-untyped-call]
        self.assertEqual(lines, ["worker 0 (process 1) was ended by SIGKILL; another one starts in 0.1 s"])
        for number, status, said in (
            (signal.SIGSEGV, None, "was ended by SIGSEGV"),
            (999, None, "was ended by signal 999"),
            (None, 3, "has ended with exit status 3"),
            (None, None, "has ended"),
        ):
            self.assertEqual(how_it_ended(number, status), said)
