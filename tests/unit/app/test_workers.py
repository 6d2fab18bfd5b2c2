"""What parent and workers tell each other, and what they make of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

from attrs import evolve
from prometheus_client import CollectorRegistry
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mpp.admin.gauges import GaugeCollector, Snapshot, gauges_of_process
from mpp.app.program import Program
from mpp.app.workers import metrics_sum as sums
from mpp.app.workers import parent
from mpp.app.workers.accept_rotation import NONE, PATIENCE_S, AcceptRotation, ConnectionCounts
from mpp.app.workers.codec import backend_in, backend_out, coverage_out, rules_out, selection_in, selection_out
from mpp.app.workers.ipc import IPCChannel
from mpp.app.workers.known import AT_ONCE, ReceivedBackends, SentBackends
from mpp.app.workers.remote_selections import RemoteSelections, without
from mpp.app.workers.worker import Worker
from mpp.config.loader import settings_of
from mpp.config.options import OPTIONS
from mpp.core.coverage import WHOLE_POOL, Coverage, Hole, Job, Missing
from mpp.core.facts import ServerState
from mpp.core.http_config import DiscoverySource
from mpp.core.interfaces import ISelections
from mpp.core.intervals import Intervals
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, Choice, Observation, Selection, Standing
from mpp.core.settings import NO_DISCOVERY, Settings
from mpp.promql.rules import RuleDefinition
from mpp.selection.query_of_death import REMEMBERED_S
from tests.configured import configured

A, B, C = (Backend("http", f"prom-{name}", 9090, "/p") for name in "abc")
FACTS = ServerState("3.5.0", 1.0, 2.0, 3.0, None, 4.0, True, 5.0)


def seen(backend: Backend, standing: Standing = Standing.VIABLE) -> Observation:
    """Return an observation."""
    return Observation(backend, standing, "" if standing is Standing.VIABLE else "so", FACTS, 7.5)


def selection(*selected: Backend, generation: int = 1) -> Selection:
    """Return a Selection over all three."""
    standbys = tuple(backend for backend in (A, B, C) if backend not in selected)
    return Selection(generation, Choice(selected, standbys, "degraded"), tuple(map(seen, (A, B, C))), 9.0)


def sent(value: Any) -> Any:
    """Return what comes of a value on its way through JSON."""
    return json.loads(json.dumps(value))


ADDRESSES = ("10.0.0.1", "10.0.0.2")


def written(
    selection: Selection,
    found: Mapping[Backend, list[DiscoverySource]] = MappingProxyType({}),
    addresses: tuple[str, ...] = ADDRESSES,
) -> Any:
    """Return what the parent says of a Selection; only the first server has addresses."""
    known = {"prom-a": addresses}
    return sent(selection_out(selection, SentBackends().write(selection, lambda b: known.get(b.host, ()), found.get)))


def arrived(selection: Selection) -> Selection:
    """Return a Selection as it arrives at a worker."""
    return selection_in(written(selection), ReceivedBackends().read)


class WordsTests(SynchronousTestCase):
    """What is said arrives as it was."""

    def test_selection_arrives_with_every_observation(self) -> None:
        """A Selection arrives with all that is known of every backend."""
        for each in (selection(A, C), selection(), Selection()):
            self.assertEqual(arrived(each), each)
        returned = arrived(Selection(1, Choice((A,)), (evolve(seen(A), returns=3),)))
        self.assertEqual(returned.observed[A].returns, 3)

    def test_times_of_ready(self) -> None:
        """A worker knows how long a backend took to answer /-/ready, to the millisecond: it asks for that, too."""
        told = evolve(selection(A), observations=(evolve(seen(A), ready_took=(0.2504, 0.0011)),))
        self.assertEqual(arrived(told).observed[A].ready_took, (0.25, 0.001))

    def test_unknown_backends_are_not_busy(self) -> None:
        """A worker knows of which backends nothing is known: it does not hold them to be busy."""
        told = evolve(selection(A), observations=(evolve(seen(A), standing=Standing.BUSY, unproven=True),))
        there = arrived(told)
        self.assertEqual((there.observed[A].unproven, there.is_busy(A), there.is_in_service(A)), (True, False, True))

    def test_flags_stay_with_the_parent(self) -> None:
        """Flags and external labels, which are only compared, are not sent to workers; all other facts are."""
        facts = ServerState("3.5.3", 1.0, 2.0, 3.0, 4.0, 5.0, True, 6.0, 7, "hash", 8.0, False, 9.0, 10, 76.0, "node", "answers")
        told = evolve(
            selection(A), observations=(evolve(seen(A), facts=evolve(facts, flags=(("a", "b"),), external_labels=(("c", "d"),))),)
        )
        self.assertEqual(arrived(told).observed[A].facts, facts)

    def test_sticky_servers(self) -> None:
        """A worker knows the sticky servers, also after it has found out itself that a server is down."""
        told = evolve(selection(A, C), sticky=(B, C))
        there = arrived(told)
        self.assertEqual(there.sticky, (B, C))
        self.assertEqual(without(there, A, Standing.DOWN, "refused").sticky, (B, C))

    def test_only_what_is_news(self) -> None:
        """What is known of a server is neither written nor read again while it is the same, whatever order the servers have."""
        writer, reader = SentBackends(), ReceivedBackends()
        down = evolve(seen(C, Standing.DOWN), at=7.0, took=0.5)
        first = evolve(selection(A), observations=(seen(A), seen(B), down))
        later = evolve(first, observations=(evolve(down, at=9.0, took=0.1), evolve(seen(A), at=9.0), first.observed[B]))

        def sent_by(selection: Selection) -> Selection:
            return selection_in(
                sent(selection_out(selection, writer.write(selection, lambda _: (), lambda _: None))), reader.read
            )

        before, after = sent_by(first), sent_by(later)
        self.assertEqual([o.backend for o in after.observations], [C, A, B])
        self.assertIs(after.observed[B], before.observed[B])
        self.assertIs(after.observed[C], before.observed[C], "when a server that cannot be used was probed is no news")
        self.assertEqual(after.observed[A], later.observed[A])

    def test_much_is_news(self) -> None:
        """When much is news it is read ahead, in parts, and the Selection stands for what was read."""
        backends = [Backend("http", f"prom-{number}", 9090) for number in range(2 * AT_ONCE + 1)]
        many = Selection(1, Choice((), tuple(backends)), tuple(seen(backend, Standing.DOWN) for backend in backends))
        writer, reader = SentBackends(), ReceivedBackends()
        texts = writer.write(many, lambda _: (), lambda _: None)
        parts = writer.ahead()
        self.assertEqual(
            ([len(part) for part in parts], [text for part in parts for text in part]), ([AT_ONCE, AT_ONCE, 1], texts)
        )
        for part in parts:
            reader.learn(sent(part))
        self.assertEqual([each.observation.backend for each in reader.read(texts)], backends)
        writer.write(many, lambda _: (), lambda _: None)
        self.assertEqual((writer.news, writer.ahead()), ([], []))

    def test_limited_backends_arrive_as_limited(self) -> None:
        """A worker knows which backends are limited."""
        told = evolve(selection(A), observations=(evolve(seen(A), limited=True),))
        self.assertTrue(arrived(told).is_limited(A))

    def test_chosen_but_not_observed(self) -> None:
        """Whoever a strategy made up arrives nowhere."""
        told = evolve(selection(A), choice=Choice((A, Backend("http", "nowhere", 1)), (B,)))
        self.assertEqual(arrived(told).choice, Choice((A,), (B,)))

    def test_backend_arrives_with_its_prefix(self) -> None:
        """A backend arrives with its prefix."""
        self.assertEqual(backend_in(sent(backend_out(A))), A)


class Ends:
    """Two ends of a line, and who hears what."""

    def __init__(self, clock: Clock, questions: dict[str, Callable[..., Deferred[Any]]]) -> None:
        self.heard: list[Any] = []
        self.ended: list[str] = []
        self.near = IPCChannel({}, {}, clock, lambda: self.ended.append("near"))
        self.far = IPCChannel({"say": self.hear}, questions, clock, lambda: self.ended.append("far"))
        self.transports = StringTransport(), StringTransport()
        for line, transport in zip((self.near, self.far), self.transports, strict=True):
            line.makeConnection(transport)

    def hear(self, *values: Any) -> None:
        """Take note."""
        self.heard.append(values)

    def flush(self) -> None:
        """Carry everything to the other end."""
        for line, transport in ((self.far, self.transports[0]), (self.near, self.transports[1])):
            data = transport.value()
            transport.clear()
            line.dataReceived(data)


class LineTests(SynchronousTestCase):
    """The line between parent and worker."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[Deferred[Any]] = []
        self.ends = Ends(self.clock, {"what": self.answer})

    def answer(self) -> Deferred[Any]:
        """Take note of a question."""
        self.asked.append(Deferred())
        return self.asked[-1]

    def test_messages_arrive_in_order(self) -> None:
        """Words arrive in order, with what was said."""
        self.ends.near.notify("say", 1, ["two"])
        self.ends.near.notify("say")
        self.ends.flush()
        self.assertEqual(self.ends.heard, [(1, ["two"]), ()])

    def test_each_question_gets_its_own_answer(self) -> None:
        """Each question gets its own answer, in whatever order they are given."""
        first, second = self.ends.near.request("what"), self.ends.near.request("what")
        self.ends.flush()
        self.asked[1].callback({"b": 2})
        self.asked[0].callback("a")
        self.ends.flush()
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), ("a", {"b": 2}))

    def test_no_answer(self) -> None:
        """Who gets no answer in time is told; what comes later is ignored."""
        waiting = self.ends.near.request("what", timeout=1.0)
        self.ends.flush()
        self.clock.advance(1)
        self.failureResultOf(waiting, TimeoutError)
        self.asked[0].callback("late")
        self.ends.flush()
        self.assertFalse(self.ends.transports[0].disconnecting)

    def test_question_can_be_cancelled(self) -> None:
        """Who asks may give up."""
        waiting = self.ends.near.request("what")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)

    def test_hung_up(self) -> None:
        """When the other end is gone, who waits is told, and so is who asks then."""
        waiting = self.ends.near.request("what")
        self.ends.near.connectionLost()
        self.failureResultOf(waiting, ConnectionDone)
        self.failureResultOf(self.ends.near.request("what"), ConnectionDone)
        self.assertEqual(self.ends.ended, ["near"])

    def test_nonsense_closes_the_channel(self) -> None:
        """Who says what makes no sense is cut off."""
        for nonsense in ('["unknown"]', "[]", "7", "{", '["say"', '["?", 1, "unknown"]'):
            with self.subTest(nonsense=nonsense):
                ends = Ends(self.clock, {})
                ends.near.notify_encoded(nonsense)
                ends.flush()
                self.assertEqual(len(self.flushLoggedErrors()), 1)
                self.assertTrue(ends.transports[1].disconnecting)


class RemoteSelectionsTests(SynchronousTestCase):
    """The Selection in a worker."""

    def setUp(self) -> None:
        self.remote = RemoteSelections(lambda: 7.0)
        self.told: list[list[Any]] = []
        self.questions: list[Deferred[Any]] = []
        self.remote.channel = self  # type: ignore[assignment]

    def notify(self, *said: Any) -> None:
        """Be the line."""
        self.told.append(sent(list(said)))

    def request(self, question: str) -> Deferred[Any]:
        """Be the line."""
        self.questions.append(Deferred())
        return self.questions[-1]

    def publish(
        self,
        published: Selection,
        heard: int = 0,
        failing: tuple[Backend, ...] = (),
        found: Mapping[Backend, list[DiscoverySource]] = MappingProxyType({}),
        addresses: tuple[str, ...] = ADDRESSES,
    ) -> None:
        """Be the parent."""
        doubts = [[backend_out(backend), 1] for backend in failing]
        self.remote.published(heard, doubts, written(published, found, addresses))

    def test_provides_the_interface(self) -> None:
        """It is what requests know as selections."""
        self.assertTrue(verifyObject(ISelections, self.remote))

    def test_published_selection_is_active(self) -> None:
        """What the parent publishes is in force, with the addresses; who waited for the first one goes on."""
        waiting = self.remote.ready()
        self.publish(Selection())
        self.assertNoResult(waiting)
        self.publish(selection(A))
        self.assertEqual((self.remote.current, self.successResultOf(waiting)), (selection(A), selection(A)))
        self.assertEqual(self.successResultOf(self.remote.ready()), selection(A))
        self.assertEqual((self.remote.addresses(A), self.remote.addresses(B)), (("10.0.0.1", "10.0.0.2"), ()))

    def test_lacking_ranges_arrive_unchanged(self) -> None:
        """What the servers lack arrives as it was, also what has no beginning or no end."""
        self.assertIs(self.remote.coverage, WHOLE_POOL)
        holes = {"node": [Hole(100.0, 200.0, 3, 10), Hole(300.0, math.inf, 10, 10)]}
        missing = Missing.of(Intervals.of([(-math.inf, 50.0)]), holes, {"web": 2})
        coverage = Coverage({"node": Job(10, 30.0)}, {B: missing}, Intervals.of([(50.0, 80.0)]))
        self.remote.covered(sent(coverage_out(coverage)))
        self.assertEqual(self.remote.coverage, coverage)

    def test_rules_arrive_unchanged(self) -> None:
        """The rules of the servers arrive as they were, together when the last part of them has come."""
        arrived: list[Sequence[RuleDefinition]] = []
        self.remote.bound_to(lambda _: None, lambda _: None, lambda *_: None, arrived.append)
        rules = [RuleDefinition(f"r{n}", "rate(x[5m])", 30.0, alerting=n % 2 > 0, pending_s=n / 10) for n in range(500)]
        for value in (rules, [], rules[:1]):
            for values in sent(rules_out(value)):
                self.assertEqual(arrived, [])
                self.remote.ruled(*values)
            self.assertEqual(arrived.pop(), value)

    def test_moved_host(self) -> None:
        """A worker hears which addresses a host name has left, once; what the name has gained, or unknown ones, are no move."""
        moves: list[Any] = []
        self.remote.bound_to(lambda _: None, lambda _: None, lambda *move: moves.append(move), lambda _: None)
        for number, addresses in enumerate(
            (("10.0.0.1",), ("10.0.0.1", "10.0.0.2"), (), ("10.0.0.1",), ("10.0.0.3",), ("10.0.0.3",))
        ):
            self.publish(Selection(number + 1, Choice((A,)), (seen(A),)), addresses=addresses)
        self.assertEqual(moves, [("prom-a", ("10.0.0.3",))])
        self.assertEqual(self.remote.addresses(A), ("10.0.0.3",))

    def test_wait_for_the_first_backend(self) -> None:
        """What waits goes on with the first backend that is published, not with a Selection without one."""
        waiting = self.remote.ready()
        self.publish(Selection(1))
        self.assertNoResult(waiting)
        self.publish(selection(A))
        self.assertEqual(self.successResultOf(waiting), selection(A))

    def test_locator_of_a_backend_is_known_before_requests(self) -> None:
        """Who finds a backend is known before a request can be sent to it; nothing is said of whom it is not known of."""
        told: list[Any] = []
        self.remote.bound_to(
            lambda _: None, lambda origins: told.append((self.remote.current, origins)), lambda *_: None, lambda _: None
        )
        found = {A: [DiscoverySource("dns", "a:1"), DiscoverySource("kubernetes")], C: []}
        self.publish(selection(A), found=found)
        self.assertEqual(told, [(Selection(), {backend: tuple(origins) for backend, origins in found.items()})])

    def test_unpublished_backend_is_forgotten(self) -> None:
        """Who is not published any more is forgotten."""
        forgotten: list[Backend] = []
        self.assertIs(self.remote.bound_to(forgotten.append, lambda _: None, lambda *_: None, lambda _: None), self.remote)
        self.publish(selection(A))
        self.publish(Selection(2, Choice((A,)), (seen(A),)))
        self.assertEqual(forgotten, [B, C])

    def test_hard_evidence(self) -> None:
        """Whom a request found dead is out at once, until the parent has heard of it: then its word counts."""
        self.publish(selection(A))
        self.remote.report(A, Standing.DOWN, "refused")
        self.assertEqual(self.told, [["report", 1, backend_out(A), 4, "refused"]])
        self.assertEqual((self.remote.current.selected, self.remote.current.choice.standbys), ((B,), (C, A)))
        self.assertFalse(self.remote.current.is_usable(A))
        self.publish(selection(A, generation=2))
        self.assertEqual(self.remote.current.selected, (B,))
        self.remote.heard(1, [])
        self.assertEqual(self.remote.current, selection(A, generation=2))

    def test_soft_evidence(self) -> None:
        """A soft failure is told, and changes nothing here."""
        self.publish(selection(A))
        self.remote.report(A, Standing.SUSPECT, "reset")
        self.assertEqual(self.told, [["report", 1, backend_out(A), 2, "reset"]])
        self.assertEqual(self.remote.current, selection(A))

    def test_rescued_requests_are_reported_to_the_parent(self) -> None:
        """The parent hears of each request that a server out of service has answered."""
        self.publish(selection(A))
        self.remote.rescued(A, B)
        self.assertEqual(self.told, [["rescued", backend_out(A), backend_out(B)]])

    def test_storage_failed(self) -> None:
        """What a backend cannot read is the parent's to tell."""
        self.publish(selection(A))
        self.remote.storage_failed(A, "checksum mismatch")
        self.assertEqual(self.told, [["storage", backend_out(A), "checksum mismatch"]])
        self.assertEqual(self.remote.current, selection(A))

    def test_suspected_query_is_recorded_and_reported(self) -> None:
        """A read that a server may have died of is remembered here at once, and the parent tells the others."""
        self.remote.suspect("key", "why")
        self.assertEqual(self.told, [["suspect", "key", "why"]])
        self.assertEqual(self.remote.suspects.left(), [("key", REMEMBERED_S)])

    def test_successes_are_reported_once_while_a_backend_fails(self) -> None:
        """Answers are told while somebody is failing, once of each backend until something new is known."""
        self.publish(selection(A))
        self.remote.answered(A)
        self.assertEqual(self.told, [])
        self.publish(selection(A), failing=(B,))
        for backend in (A, A, B, B):
            self.remote.answered(backend)
        self.assertEqual(self.told, [["answered", backend_out(A)], ["answered", backend_out(B)]])
        self.remote.report(B, Standing.SUSPECT, "reset")
        self.remote.answered(B)
        self.assertEqual([said[0] for said in self.told[2:]], ["report", "answered"])
        self.publish(selection(A))
        self.remote.answered(A)
        self.assertEqual(len(self.told), 4)

    def test_new_selection_is_the_published_or_awaited_one(self) -> None:
        """Who wants a new Selection gets the one that the parent has published by then, or has to do with the last one."""
        self.publish(selection(A))
        first, second, third = self.remote.reselect(), self.remote.reselect(), self.remote.reselect()
        self.publish(selection(B, generation=2))
        self.questions[0].callback(None)
        self.questions[1].errback(ConnectionDone())
        third.cancel()
        self.assertEqual((self.successResultOf(first).selected, self.successResultOf(second).selected), ((B,), (B,)))
        self.failureResultOf(third, CancelledError)

    def test_excluded_backend_is_used_last(self) -> None:
        """Who is taken out is used last; nobody takes its place who is no better, and known worse things stand."""
        both = without(selection(A, B), A, Standing.DOWN, "dead")
        self.assertEqual((both.selected, both.choice.standbys), ((B,), (C, A)))
        spoiled = without(without(selection(A), B, Standing.DOWN, "x"), C, Standing.DOWN, "x")
        self.assertEqual(without(spoiled, A, Standing.DOWN, "x").choice, Choice((), (B, C, A), "degraded"))
        self.assertIs(without(both, A, Standing.NOT_READY, "x"), both)
        self.assertIs(without(both, Backend("http", "else", 1), Standing.DOWN, "x"), both)


class FakePort:
    """A listening port."""

    connected = True

    def __init__(self) -> None:
        self.reading = True
        self.accepted = 0

    def doRead(self) -> None:
        """Accept one."""
        self.accepted += 1

    def stopReading(self) -> None:
        """Pause."""
        self.reading = False

    def startReading(self) -> None:
        """Go on."""
        self.reading = True


class TurnsTests(SynchronousTestCase):
    """Who takes the next client; see Note [One queue]."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.counts = ConnectionCounts.make(3)
        self.port = FakePort()
        self.turns = AcceptRotation(self.counts, 0, lambda: self.port.accepted, self.clock)
        self.turns.guard(self.port)

    def test_single_worker_accepts_all_clients(self) -> None:
        """Who is alone takes everyone, and says how many there are."""
        for _ in range(3):
            self.port.doRead()
        self.assertEqual((self.port.accepted, list(self.counts.numbers)), (3, [3, NONE, NONE]))

    def test_others_have_fewer(self) -> None:
        """Who has more than another one leaves the client to it for a moment, then takes it."""
        self.counts.numbers[1] = 0
        self.port.doRead()
        self.port.doRead()
        self.assertEqual((self.port.accepted, self.port.reading), (1, False))
        self.clock.advance(PATIENCE_S)
        self.assertEqual((self.port.accepted, self.port.reading), (2, True))

    def test_as_many(self) -> None:
        """Who has as many as the others takes the client."""
        self.counts.numbers[1], self.counts.numbers[2] = 1, 2
        self.port.doRead()
        self.port.doRead()
        self.assertEqual((self.port.accepted, self.counts.numbers[0]), (2, 2))

    def test_closed_meanwhile(self) -> None:
        """A port that was closed meanwhile is left alone."""
        self.counts.numbers[1] = 0
        self.port.doRead()
        self.port.doRead()
        self.port.connected = False
        self.clock.advance(PATIENCE_S)
        self.assertEqual((self.port.accepted, self.port.reading), (1, False))

    def test_worker_that_has_left(self) -> None:
        """Who ends is waited for by no other, however few connections it still has and whenever they end."""
        self.port.doRead()
        self.turns.leave()
        self.turns.update()
        self.assertFalse(self.counts.has_fewer(100))
        self.counts.numbers[1] = 4
        self.assertEqual(self.counts.total(), 5)

    def test_worker_that_ends_leaves(self) -> None:
        """A worker that ends alone, because it could not apply new settings, leaves at once: its last request may take long."""
        self.port.doRead()
        worker = EndingWorker(self.turns)
        self.assertTrue(self.counts.has_fewer(100))
        worker.channel.stringReceived(b'["drain"]')
        self.assertFalse(self.counts.has_fewer(100))


class EndingWorker(Worker):
    """A worker whose program has a request under way that does not end."""

    def __init__(self, turns: AcceptRotation) -> None:
        super().__init__(Clock(), 0, 0)
        self._program = cast("Program", self)
        self._rotation = turns

    def stopService(self) -> Deferred[None]:
        return Deferred()


class SumsTests(SynchronousTestCase):
    """The metrics of all."""

    def metrics(self, requests: int, in_flight: int) -> sums.Families:
        """Return the metrics of a worker."""
        metrics = Metrics(CollectorRegistry())
        for _ in range(requests):
            metrics.request_began()
            metrics.request_ended("a", 200, 0.004)
            metrics.retries.inc("a", "reset")
        found = sent(sums.families(metrics.registry.collect()))
        found.append(["mpp_requests_in_flight", "gauge", "", [["mpp_requests_in_flight", {}, in_flight]]])
        found.append(["mpp_selected_backends", "gauge", "", [["mpp_selected_backends", {}, 77]]])
        return list(found)

    def test_present_of_a_worker(self) -> None:
        """A worker says what there is in it, and neither what is known of backends nor what that means: the parent does."""
        load = Snapshot(Selection(), (), 17, 1, {"a:9090": (2, 3)}, 5, 480, 1000)
        registry = CollectorRegistry()
        registry.register(GaugeCollector(lambda: load, gauges_of_process))
        found = sums.added_up(sums.families(registry.collect()))
        self.assertEqual({name for name, *_ in found}, {name for name in sums.ADDED if name.startswith("mpp_")})
        self.assertEqual(len(sums.samples(found, "mpp_backend_requests")), 2)

    def page(self, *workers: sums.Families) -> list[str]:
        """Return the lines of the page."""
        return sums.exposition(sums.add(self.metrics(0, 0), workers)).decode().splitlines()

    def test_counters_of_workers_are_added_up(self) -> None:
        """Counters and histograms are added up, and so is what is in flight; what the parent knows is the parent's."""
        lines = self.page(self.metrics(2, 1), self.metrics(3, 4))
        for line in (
            'mpp_requests_total{backend="a",code="200"} 5.0',
            'mpp_retries_total{backend="a",reason="reset"} 5.0',
            'mpp_request_duration_seconds_bucket{le="0.0025"} 0.0',
            'mpp_request_duration_seconds_bucket{le="0.005"} 5.0',
            "mpp_request_duration_seconds_count 5.0",
            "mpp_requests_in_flight 5.0",
            "mpp_selected_backends 77.0",
            "# TYPE mpp_requests_total counter",
        ):
            self.assertEqual(lines.count(line), 1, line)

    def test_counters_outlive_their_worker(self) -> None:
        """What a worker has counted stays counted after its end; what it had in flight does not."""
        lines = self.page(sums.counted(self.metrics(2, 1)), self.metrics(3, 4))
        self.assertIn('mpp_requests_total{backend="a",code="200"} 5.0', lines)
        self.assertIn("mpp_requests_in_flight 4.0", lines)

    def test_departed_and_removed(self) -> None:
        """What an ended worker had counted of a backend goes when the parent removes its own counters of that backend."""
        departed = sums.counted(self.metrics(2, 1))
        self.assertNotIn('"a"', sums.exposition(sums.known(departed, self.metrics(0, 0))).decode())
        kept = sums.exposition(sums.known(departed, self.metrics(1, 0))).decode()
        self.assertIn('mpp_requests_total{backend="a",code="200"} 2.0', kept)
        self.assertIn("mpp_request_duration_seconds_count 2.0", kept)


class ParentTests(SynchronousTestCase):
    """What of the configuration is whose."""

    def test_worker_has_its_share_of_limits(self) -> None:
        """A worker has its share of what is limited, and looks for no servers."""
        settings = configured(
            workers=4,
            endpoints=("a:1",),
            max_connections=10,
            max_concurrency=256,
            max_queue=2,
            reuse_port=True,
            cache_memory=2**22,
        )
        theirs = parent.workers_settings(settings)
        self.assertEqual((theirs.max_connections, theirs.max_concurrency, theirs.max_queue), (2, 64, 1))
        self.assertEqual(theirs.cache_memory, 2**20)
        self.assertEqual((theirs.discovery, theirs.reuse_port, theirs.workers), (NO_DISCOVERY, False, 4))

    def test_workers_discover_nothing(self) -> None:
        """A worker has no option of any locator, so that only the parent asks the discovery sources."""
        locating = [option for option in OPTIONS if option.locates]
        settings = settings_of({"workers": 2, **{option.field: "configured" for option in locating}})
        theirs = parent.workers_settings(settings)
        self.assertEqual([option.flag for option in locating if option.of(theirs)], [])

    def test_small_shares(self) -> None:
        """No share is nothing, but for a queue that nobody may wait in."""
        theirs = parent.workers_settings(Settings(workers=4, max_connections=1, max_concurrency=1, max_queue=0))
        self.assertEqual((theirs.max_connections, theirs.max_concurrency, theirs.max_queue), (1, 1, 0))
        self.assertIsNone(parent.workers_settings(Settings(workers=4)).max_connections)
