"""The living Selection: rounds, reports, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from attrs import evolve
from prometheus_client import CollectorRegistry
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mpp.core.facts import ServerState
from mpp.core.interfaces import ISelections, IStrategy
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, Choice, DiscoveredBackend, Observation, Selection, Standing
from mpp.core.prometheus.runtimeinfo import ProbeOutcome
from mpp.selection.outliers.ejection import FOLLOW_UP_S
from mpp.selection.publication import STRATEGY_FAILED, describe_change
from mpp.selection.service import MIN_SPACING_S, SelectionService
from mpp.selection.strategies import DAY, RandomStrategy, SingleMostData
from tests.logged import logged

NOW = 1_700_000_000.0
A, B, C = (Backend("http", name, 9090) for name in ("prom-a", "prom-b", "prom-c"))
VIABLE, BUSY, SUSPECT, NOT_READY, DOWN = Standing


def seen(backend: Backend, standing: Standing = VIABLE, why: str = "", *, days: float = 10) -> Observation:
    """Return an observation."""
    return Observation(backend, standing, why, ServerState(oldest=NOW - days * DAY, retention_s=15 * DAY))


def out(observation: Observation, at: float = 1) -> Observation:
    """Return an observation as it is published when its backend was ejected, so many seconds after the beginning."""
    return evolve(observation, ejected_at=NOW + at)


class World:
    """Locators, DNS and probes in one. Look-ups fire at once; the probes' Deferreds are held by the test."""

    def __init__(self, clock: Clock, *backends: Backend) -> None:
        self.clock = clock
        self.backends = backends
        self.refreshed: list[tuple[Backend, ...]] = []
        self.probes: dict[Backend, Deferred[Observation]] = {}
        self.began: dict[Backend, float] = {}
        self.previous: dict[Backend, Observation | None] = {}
        self.rounds = 0
        self.failure: Exception | None = None
        self.not_ready: dict[Backend, str] = {}
        self.leaving: set[Backend] = set()
        self.stopped = False
        self.renewed = 0
        self.kept: tuple[Backend, ...] = ()

    def locate(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
        """List the backends."""
        self.rounds += 1
        if self.failure is not None:
            raise self.failure
        return succeed(tuple(DiscoveredBackend(b, self.not_ready.get(b, ""), b in self.leaving) for b in self.backends))

    def start(self, changed: Callable[[], None]) -> None:
        """Keep how to tell of a change."""
        self.changed = changed

    def stop(self) -> None:
        """Take note, as the locator and as the prober."""
        self.stopped = True

    def keep(self, backends: Collection[Backend], /) -> None:
        """Take note of the backends that are listed."""
        self.kept = tuple(backends)

    def refresh(self, backends: tuple[Backend, ...], /) -> Deferred[None]:
        """Take note of the backends."""
        self.refreshed.append(backends)
        return succeed(None)

    def refresh_credentials(self) -> None:
        """Take note."""
        self.renewed += 1

    def probe(self, backend: Backend, previous: Observation | None, /) -> Deferred[Observation]:
        """Begin a probe."""
        self.probes[backend] = Deferred()
        self.began[backend] = self.clock.seconds()
        self.previous[backend] = previous
        return self.probes[backend]

    def ask(self, backend: Backend, path: str) -> Deferred[ProbeOutcome]:
        """Fail the test, because no data is compared in these rounds."""
        raise AssertionError(f"{backend.name} was asked for {path}")

    ask_history = ask_rules = ask

    def observe(self, *observations: Observation) -> None:
        """End the running probes."""
        for observation in observations:
            del self.began[observation.backend]
            self.probes.pop(observation.backend).callback(observation)


@implementer(IStrategy)
class BrokenStrategy:
    """A strategy that works, until it does not."""

    broken = False

    def select(self, observations: Sequence[Observation], previous: Choice | None, now: float) -> Choice:
        """Select all, or raise."""
        if self.broken:
            raise ZeroDivisionError("a bug")
        return Choice(tuple(o.backend for o in observations))


class SelectionServiceTests(SynchronousTestCase):
    """Rounds over backends that the test answers for."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.world = World(self.clock, A, B)
        self.metrics = Metrics(CollectorRegistry())
        self.forgotten: list[Backend] = []
        self.service = self.build(SingleMostData())
        self.logged: list[str] = []
        globalLogPublisher.addObserver(self.observe_log)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe_log)

    def build(self, strategy: IStrategy) -> SelectionService:
        """Return a service over the world."""
        service = SelectionService(
            self.world,
            self.world,
            self.world,
            strategy,
            clock=self.clock,
            wall=lambda: NOW + self.clock.seconds(),
            interval=10.0,
            metrics=self.metrics,
            forget=self.forgotten.append,
        )
        self.addCleanup(lambda: service.running and service.stopService())
        return service

    def observe_log(self, event: dict[str, object]) -> None:
        """Take note of what is logged."""
        if str(event.get("log_namespace", "")).startswith("mpp."):
            self.logged.append(formatEvent(event))

    def counted(self, name: str, **labels: str) -> float | None:
        """Return a metric's value."""
        return self.metrics.registry.get_sample_value(name, labels)

    def start(self, *observations: Observation) -> Selection:
        """Start, and let the first round see this."""
        self.service.startService()
        self.world.observe(*observations)
        self.clock.advance(1)
        self.logged.clear()
        return self.service.current

    def test_moved_host(self) -> None:
        """When a host name moves, nothing is read on from the old server, and the Selection is published for the workers."""
        self.start(seen(A), seen(B))
        published: list[Selection] = []
        self.service.watch(lambda: published.append(self.service.current))
        before = self.service.current
        self.service.moved(A.host)
        self.assertEqual((self.world.kept, published), ((B,), [before]))
        self.assertIsNot(published[0], before)

    def test_itself_is_never_used(self) -> None:
        """mpp itself takes no traffic and is no standby, also when nothing else is left, and the log warns of it."""
        itself = evolve(seen(A), standing=Standing.NOT_READY, why="it is mpp", is_self=True)
        self.service.startService()
        self.world.observe(itself, seen(B))
        self.clock.advance(1)
        self.assertEqual(self.service.current.ranked, (B,))
        self.assertTrue(any("a:9090 is not_ready: it is mpp" in line for line in self.logged), self.logged)
        self.service.report(B, Standing.DOWN, "refused")
        self.assertEqual(self.service.current.ranked, (B,))

    def test_sticky_servers(self) -> None:
        """The selected server stays sticky when another one is selected, until it goes out of service itself."""
        self.assertEqual(self.start(seen(A), seen(B, days=5)).sticky, (A,))
        self.service.reconfigure(self.world, RandomStrategy(), 3.0)
        self.world.observe(seen(A), seen(B, days=5))
        self.assertEqual((self.service.current.selected, self.service.current.sticky), ((A, B), (A,)))
        self.service.report(A, Standing.DOWN, "refused")
        self.assertEqual((self.service.current.selected, self.service.current.sticky), ((B,), (B,)))

    def test_counters_of_a_known_backend(self) -> None:
        """The counters of a backend stand at 0 as soon as a round has found it."""
        labels = {"backend": "prom-b:9090", "reason": "reset"}
        self.assertIsNone(self.counted("mpp_truncated_responses_total", **labels))
        self.start(seen(A), seen(B))
        self.assertEqual(self.counted("mpp_truncated_responses_total", **labels), 0)

    def test_changed_strategy_selects_at_once(self) -> None:
        """Another strategy chooses at once among what is known, another interval counts from then on; nothing is forgotten."""
        self.start(seen(A), seen(B, days=5))
        self.assertEqual(self.service.current.selected, (A,))
        self.service.reconfigure(self.world, RandomStrategy(), 3.0)
        self.assertEqual(self.world.previous[A], seen(A))
        self.world.observe(seen(A), seen(B, days=5))
        self.assertEqual(self.service.current.selected, (A, B))
        rounds = self.world.rounds
        self.clock.advance(3.1)
        self.assertEqual(self.world.rounds, rounds + 1)

    def test_reconfigured_before_it_runs(self) -> None:
        """Nothing is begun by it."""
        self.service.reconfigure(self.world, RandomStrategy(), 3.0)
        self.assertEqual((self.world.rounds, self.clock.getDelayedCalls()), (0, []))

    def next_round(self) -> None:
        """Let the interval pass."""
        self.clock.advance(10)

    def test_provides_the_interface(self) -> None:
        """The service is what requests know as selections."""
        self.assertTrue(verifyObject(ISelections, self.service))

    def test_first_round(self) -> None:
        """Requests that come before the first round wait for it; all backends are probed at once."""
        early = self.service.ready()
        self.service.startService()
        self.assertEqual((set(self.world.probes), self.world.refreshed), ({A, B}, [(A, B)]))
        self.world.observe(seen(B, days=12))
        self.assertNoResult(early)
        self.clock.advance(0.5)
        self.world.observe(seen(A))
        selection = self.successResultOf(early)
        self.assertEqual((selection.generation, selection.choice), (1, Choice((B,), (A,))))
        self.assertEqual([o.backend for o in selection.observations], [A, B])
        self.assertEqual((selection.changed_at, self.service.took), (NOW + 0.5, 0.5))
        self.assertIs(self.successResultOf(self.service.ready()), selection)

    def test_waiter_gives_up(self) -> None:
        """A request that does not wait any longer changes nothing for the others."""
        first, second = self.service.ready(), self.service.ready()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.start(seen(A), seen(B))
        self.successResultOf(second)

    def test_single_flight(self) -> None:
        """All who ask while a round runs join it."""
        self.service.startService()
        waiters = [self.service.reselect() for _ in range(5)]
        self.assertEqual(self.world.rounds, 1)
        self.world.observe(seen(A), seen(B))
        for waiter in waiters:
            self.assertIs(self.successResultOf(waiter), self.service.current)

    def test_rounds_go_on(self) -> None:
        """A round is made at every interval, with what was seen last; nothing is published or logged when nothing has changed."""
        before = self.start(seen(A), seen(B))
        for _ in range(3):
            self.next_round()
            self.assertEqual(self.world.previous[A], seen(A))
            self.world.observe(seen(A), seen(B))
        self.assertEqual(self.world.rounds, 4)
        self.assertEqual(self.service.current, before)
        self.assertEqual(self.logged, [])
        self.assertEqual(self.counted("mpp_selection_events_total"), 1.0)
        self.assertEqual(self.counted("mpp_selection_rounds_total", result="ok"), 4.0)
        self.assertEqual(self.counted("mpp_selection_round_duration_seconds_count"), 4.0)

    def test_backend_fails(self) -> None:
        """A selected backend that is seen down is replaced; it is logged and counted who left, for whom, and why."""
        self.start(seen(A), seen(B))
        self.next_round()
        self.world.observe(seen(A, DOWN, "connect: refused"), seen(B))
        self.assertEqual((self.service.current.generation, self.service.current.choice), (2, Choice((B,), (A,))))
        self.assertEqual(
            self.logged,
            [
                "prom-a:9090 is ejected, down: connect: refused",
                "selection: prom-b:9090 (new: prom-b:9090 with 10d of history; out: prom-a:9090 down: connect: refused)",
            ],
        )
        self.assertEqual(self.counted("mpp_probe_errors_total", backend="prom-a:9090", standing="down"), 1.0)
        self.assertEqual(self.counted("mpp_selection_events_total"), 2.0)

    def test_what_happened_is_remembered(self) -> None:
        """Who looks later sees who left and who came back, when, and why, newest first."""
        self.start(seen(A), seen(B))
        self.next_round()
        self.world.observe(seen(A), seen(B, DOWN, "connect: refused"))
        for standing in (VIABLE, VIABLE):
            self.clock.advance(FOLLOW_UP_S)
            self.world.observe(seen(B, standing))
        back, out, first = self.service.event_log.events
        self.assertEqual((out.at, out.kind, out.text), (NOW + 11, "ejection", "prom-b:9090 is ejected, down: connect: refused"))
        self.assertEqual((back.at, back.kind, back.text), (NOW + 11.5, "return", "prom-b:9090 is back after 0.5 s"))
        self.assertEqual((first.kind, first.text), ("selection", "prom-a:9090 (new: prom-a:9090 with 10d of history)"))

    def test_change_of_many_is_remembered_in_brief(self) -> None:
        """Where many servers change at once, people are told of the first ones, and how many more there are."""
        many = tuple(Backend("http", f"prom-{number}", 9090) for number in range(6))
        old, new = Selection(1, Choice(many)), Selection(2, Choice(many[:1], many[1:]), tuple(seen(backend) for backend in many))
        text = describe_change(old, new, NOW, most=2)
        self.assertEqual(text, "prom-0:9090 (out: prom-1:9090 with 10d of history; out: prom-2:9090 with 10d of history; 3 more)")
        self.assertEqual(describe_change(old, new, NOW).count("out: "), 5)
        self.assertIn("prom-0:9090, prom-1:9090, 4 more", describe_change(Selection(), Selection(1, Choice(many)), NOW, most=2))

    def test_server_that_was_never_up_is_a_warning(self) -> None:
        """A server that cannot be reached when mpp starts is not passed over as mere information; one that starts is that."""
        levels: list[str] = []
        noted = {"prom-a:9090": "down", "prom-b:9090": "not_ready"}

        def note(event: Mapping[str, Any]) -> str:
            if noted.get(event.get("backend", "")) == event.get("standing", "-"):
                levels.append(f"{event['backend']} {event['log_level'].name}")
            return ""

        logged(self, note)
        self.start(seen(A, DOWN, "refused"), seen(B, NOT_READY, "replaying"))
        self.assertEqual(levels, ["prom-a:9090 warn", "prom-b:9090 info"])

    def test_standings_are_logged_once(self) -> None:
        """A standby that fails and comes back is logged twice, however many probes see it down."""
        self.start(seen(A), seen(B))
        self.next_round()
        self.world.observe(seen(A), seen(B, DOWN))
        for standing in (DOWN, DOWN, DOWN, VIABLE, VIABLE):
            self.clock.advance(FOLLOW_UP_S)
            self.world.observe(seen(B, standing))
        self.assertEqual(self.logged, ["prom-b:9090 is ejected, down", "prom-b:9090 is back after 1.2 s"])

    def test_standings_in_service_and_before(self) -> None:
        """Of a server that is merely busy, or that was never in service, the log tells the standing."""
        self.service.startService()
        self.world.observe(seen(A, BUSY, "slots taken"), seen(B, NOT_READY, "replaying"))
        self.clock.advance(FOLLOW_UP_S)
        self.world.observe(seen(B, DOWN, "refused"))
        self.clock.advance(FOLLOW_UP_S)
        self.world.observe(seen(B))
        self.clock.advance(FOLLOW_UP_S)
        self.world.observe(seen(B))
        self.assertEqual(
            [line for line in self.logged if "election" not in line],
            [
                "prom-a:9090 is busy: slots taken",
                "prom-b:9090 is not_ready: replaying",
                "prom-b:9090 is down: refused",
                "prom-b:9090 is viable",
            ],
        )
        self.assertEqual(self.counted("mpp_readmissions_total", backend="prom-b:9090"), 0)

    def test_report_counts_at_once(self) -> None:
        """What a request reports is in force before the report returns, and a round is begun beside the traffic."""
        self.start(seen(A), seen(B))
        self.service.report(A, DOWN, "connect: refused")
        self.assertEqual(self.service.current.choice, Choice((B,), (A,)))
        self.assertEqual(self.service.current.observations[0], out(seen(A, DOWN, "connect: refused")))
        self.assertEqual(self.world.rounds, 2)
        self.world.observe(seen(A), seen(B))
        self.assertEqual(self.service.current.selected, (B,))
        self.clock.advance(FOLLOW_UP_S)
        self.assertEqual((self.world.rounds, set(self.world.probes)), (2, {A}))
        self.world.observe(seen(A))
        self.assertEqual(self.service.current.observations, (seen(A), seen(B)))

    def test_stale_probe_does_not_overwrite_a_report(self) -> None:
        """A probe that began before a report does not count; those that follow decide."""
        self.start(seen(A), seen(B))
        self.next_round()
        self.service.report(A, DOWN, "connect: refused")
        after = self.service.reselect()
        self.world.observe(seen(A), seen(B))
        self.assertEqual(self.service.current.observations[0], out(seen(A, DOWN, "connect: refused"), 11))
        self.assertNoResult(after)
        self.clock.advance(MIN_SPACING_S)
        self.world.observe(seen(A), seen(B))
        on_its_way = out(seen(A, SUSPECT, "1 of 2 good probes since: connect: refused"), 11)
        self.assertEqual(self.successResultOf(after).observations[0], on_its_way)

    def test_report_never_improves(self) -> None:
        """A report makes a standing worse or leaves it; a milder report does not hide a worse one."""
        self.start(seen(A), seen(B, DOWN, "gone"))
        self.service.report(B, SUSPECT, "reset")
        self.assertEqual(self.service.current.observations[1], seen(B, DOWN, "gone"))
        self.service.report(A, NOT_READY, "503")
        self.service.report(A, SUSPECT, "reset")
        self.assertEqual(self.service.current.observations[0], out(seen(A, NOT_READY, "503")))

    def spoil(self, times: int, backend: Backend = A) -> None:
        """Let requests fail on one backend, and be answered by the other one."""
        for _ in range(times):
            self.service.report(backend, SUSPECT, "head: reset")
            self.service.answered(B if backend == A else A)

    def test_soft_failures(self) -> None:
        """Two requests that fail change nothing but that the server is probed alone; the third one ejects it."""
        before = self.start(seen(A), seen(B))
        self.spoil(2)
        self.assertIs(self.service.current, before)
        self.clock.advance(FOLLOW_UP_S)
        self.assertEqual((self.world.rounds, set(self.world.probes)), (1, {A}))
        self.world.observe(seen(A))
        self.spoil(1)
        self.assertEqual(self.service.current.choice, Choice((B,), (A,)))
        self.assertEqual(self.logged[0], "prom-a:9090 is ejected, suspect: 3 requests in a row failed, the last: head: reset")
        self.assertEqual(self.counted("mpp_ejections_total", backend="prom-a:9090", reason="failures"), 1.0)

    def test_answers_in_between(self) -> None:
        """A server that answers some of the requests well is not ejected for those that it does not."""
        before = self.start(seen(A), seen(B))
        for _ in range(10):
            self.spoil(2)
            self.service.answered(A)
        self.assertIs(self.service.current, before)

    def test_last_one_is_not_ejected(self) -> None:
        """Requests that fail on the last usable server leave it where it is."""
        self.start(seen(A), seen(B, DOWN, "gone"))
        before = self.service.current
        self.spoil(10)
        self.assertIs(self.service.current, before)
        self.assertFalse(before.last_resort)

    def rescue(self, times: int) -> None:
        """Let requests fail on A and be answered by B, which is out of service."""
        for _ in range(times):
            self.service.report(A, SUSPECT, "answered 500")
            self.service.rescued(A, B)
            self.service.answered(B)

    def test_other_one_serves_whose_probe_is_refused(self) -> None:
        """The last server in service loses the traffic to one that answers what it fails, and takes it back when it is well."""
        forbidden = seen(B, NOT_READY, "/-/ready responded 403")
        forbidden = evolve(forbidden, facts=ServerState(), refused=True)
        self.start(seen(A), forbidden)
        self.rescue(2)
        self.assertEqual(self.service.current.selected, (A,))
        self.rescue(1)
        self.assertEqual(self.service.current.choice, Choice((B,), (A,)))
        taken = [line for line in self.logged if "is in service although" in line]
        self.assertEqual(
            taken,
            [
                "prom-b:9090 is in service although it refuses mpp's probe (/-/ready responded 403): 3 requests in a row failed"
                " on prom-a:9090 and succeeded on prom-b:9090"
            ],
        )
        self.assertIn("prom-a:9090 is ejected, suspect: 3 requests in a row failed, and succeeded on prom-b:9090", self.logged)
        self.assertEqual([o.standing for o in self.service.current.observations], [SUSPECT, VIABLE])
        for _ in range(2):
            self.clock.advance(FOLLOW_UP_S)
            self.world.observe(seen(A))
        self.assertEqual(self.service.current.selected, (A,))

    def test_last_one_says_that_it_is_not_ready(self) -> None:
        """A server that answers its probes and says 503 to everything else loses the traffic as well."""
        self.start(seen(A), evolve(seen(B, NOT_READY, "/-/ready responded 403", days=3), refused=True))
        for number in range(3):
            self.assertEqual(self.service.current.selected, () if number else (A,))
            self.service.report(A, NOT_READY, "answered 503")
            self.service.rescued(A, B)
        self.assertEqual(self.service.current.choice, Choice((B,), (A,)))

    def test_not_for_a_server_that_is_not_there(self) -> None:
        """A server that cannot be reached by probes, or says that it is not ready, is not selected on the word of requests."""
        for other in (seen(B, DOWN, "gone"), seen(B, NOT_READY, "shutting down")):
            service = self.service = self.build(SingleMostData())
            self.start(seen(A), other)
            self.rescue(10)
            self.assertEqual(service.current.selected, (A,))
            self.clock.advance(0)
            service.stopService()
            self.world.probes.clear()
            self.world.began.clear()

    def test_other_one_serves_that_a_locator_holds_not_ready(self) -> None:
        """A server that its source holds not to be ready serves when it answers what the last one in service fails."""
        self.world.not_ready[B] = "pod not ready"
        self.start(seen(A), seen(B, days=3))
        self.rescue(3)
        self.assertEqual(self.service.current.selected, (B,))
        self.clock.advance(FOLLOW_UP_S)
        self.assertEqual(self.service.current.selected, (B,))

    def test_rescue_of_an_unknown_backend(self) -> None:
        """What is reported of a server that is not listed is ignored."""
        before = self.start(seen(A), seen(B))
        self.service.rescued(A, C)
        self.service.rescued(C, A)
        self.assertIs(self.service.current, before)

    def test_least_bad_serves(self) -> None:
        """When the other server goes too, the one that was ejected for failures serves, and that is told."""
        self.start(seen(A), seen(B))
        self.spoil(3)
        self.service.report(B, DOWN, "connect: refused")
        self.assertEqual((self.service.current.selected, self.service.current.last_resort), ((A,), True))
        self.assertEqual(self.service.current.choice.degraded, "no backend is usable; the least bad one serves, which is suspect")

    def until_back(self) -> None:
        """Let all probes end well until the first server, which has more data, takes traffic."""
        for _ in range(2000):
            if self.service.current.selected == (A,):
                return
            self.world.observe(*(seen(b, days=30 if b == A else 10) for b in list(self.world.probes)))
            self.clock.advance(0.05)
        self.fail("it is not back")

    def test_hung_server_is_continued(self) -> None:
        """A server that hung for five seconds takes traffic again within a second after it went on."""
        self.start(seen(A, days=30), seen(B))
        self.service.report(A, DOWN, "does not answer")
        self.world.observe(seen(B))
        for _ in range(100):
            self.clock.advance(0.05)
            for backend, began in list(self.world.began.items()):
                if self.clock.seconds() - began >= 1:
                    self.world.observe(seen(backend, DOWN, "does not answer"))
        continued = self.clock.seconds()
        self.until_back()
        self.assertLess(self.clock.seconds() - continued, 1.0)
        self.assertIn("prom-a:9090 is back after", self.logged[-2])
        self.assertEqual(self.counted("mpp_readmissions_total", backend="prom-a:9090"), 1.0)

    def test_flapping_server(self) -> None:
        """A server that spoils all requests and answers all probes is tried less and less often."""
        self.start(seen(A, days=30), seen(B))
        tried = 0
        for _ in range(1200):
            if self.service.current.selected == (A,):
                tried += 1
                self.spoil(1)
            self.world.observe(*(seen(b, days=30 if b == A else 10) for b in list(self.world.probes)))
            self.clock.advance(0.1)
        self.assertLessEqual(tried, 8 * 3)
        ejections = self.counted("mpp_ejections_total", backend="prom-a:9090", reason="failures")
        self.assertEqual(ejections, 8)

    def flap(self) -> None:
        """Let one server come and go until it is kept out for a long time, although it is well."""
        self.start(seen(A, days=30), seen(B))
        for _ in range(5):
            self.spoil(3)
            self.until_back()
        self.spoil(3)
        for _ in range(2):
            self.clock.advance(FOLLOW_UP_S)
            self.world.observe(seen(A, days=30))
        self.assertIn("so its return is delayed", self.service.current.observations[0].why)

    def test_kept_out_until_the_other_one_fails(self) -> None:
        """A server that is kept out although it is well takes over at once when the last other one fails a request."""
        self.flap()
        self.service.report(B, DOWN, "gone")
        self.world.observe(seen(A, days=30), seen(B, DOWN, "gone"))
        self.assertEqual((self.service.current.selected, self.service.current.last_resort), ((A,), False))

    def test_kept_out_until_the_other_one_spoils_requests(self) -> None:
        """It takes over as well when the other one is no better: that one is not the last that could serve."""
        self.flap()
        for _ in range(3):
            self.service.report(B, SUSPECT, "head: garbled")
            self.service.answered(A)
        self.assertIsNotNone(self.service.current.observations[1].ejected_at)
        self.clock.advance(0.05)
        self.world.observe(*(seen(b, days=30 if b == A else 10) for b in list(self.world.probes)))
        self.assertEqual((self.service.current.selected, self.service.current.last_resort), ((A,), False))

    def test_kept_out_until_a_probe_finds_the_other_one_down(self) -> None:
        """It is probed at once when a probe finds the last other one down."""
        self.flap()
        self.service.report(B, SUSPECT, "reset")
        self.clock.advance(FOLLOW_UP_S)
        self.world.observe(seen(B, DOWN, "gone"))
        self.clock.advance(0.05)
        self.world.observe(seen(A, days=30))
        self.assertEqual(self.service.current.selected, (A,))

    def test_kept_out_until_a_round_finds_the_other_one_down_or_gone(self) -> None:
        """It is back in the very round that finds the last other one down, or not listed any more."""
        for gone in (False, True):
            self.service.stopService()
            self.world.backends = (A, B)
            self.service = self.build(SingleMostData())
            self.flap()
            rounds = self.world.rounds
            self.world.backends = (A,) if gone else (A, B)
            self.clock.pump([FOLLOW_UP_S] * 40)
            self.assertEqual(self.world.rounds, rounds + 1)
            self.world.observe(*(seen(b, DOWN if b == B else VIABLE) for b in list(self.world.probes)))
            self.assertEqual(self.service.current.observations[0], seen(A), gone)

    def test_round_takes_over(self) -> None:
        """A round that begins while one server is probed alone cancels that probe, and nobody is probed twice at a time."""
        self.start(seen(A), seen(B))
        self.spoil(1)
        self.clock.advance(FOLLOW_UP_S)
        alone = self.world.probes[A]
        self.world.changed()
        self.assertTrue(alone.called)
        self.assertIsNot(self.world.probes[A], alone)
        self.clock.advance(5)
        self.world.observe(seen(A), seen(B))
        self.assertEqual(self.world.probes, {})

    def test_follow_up_heeds_the_locator(self) -> None:
        """A server that its source holds not to be ready stays so, whatever a probe between the rounds says."""
        self.world.not_ready[B] = "pod not ready"
        self.start(seen(A), seen(B))
        self.spoil(1, B)
        self.clock.advance(FOLLOW_UP_S)
        self.world.observe(seen(B))
        self.assertEqual(self.service.current.observations[1], seen(B, NOT_READY, "pod not ready"))

    def test_unlisted_backend_is_forgotten(self) -> None:
        """A server that is listed again after it was not begins anew, whatever it did before."""
        self.start(seen(A), seen(B))
        self.spoil(3)
        for backends in ((B,), (A, B)):
            self.world.backends = backends
            self.next_round()
            self.world.probes.pop(C, None)
            self.world.observe(*(seen(backend) for backend in backends))
        self.assertEqual(self.service.current.observations, (seen(A), seen(B)))
        self.spoil(2)
        self.assertEqual(self.service.current.observations, (seen(A), seen(B)))

    def test_report_of_an_unknown_backend(self) -> None:
        """A report about a backend that is not known any more changes nothing."""
        before = self.start(seen(A), seen(B))
        self.service.report(C, DOWN, "gone")
        self.assertEqual(self.service.current, before)

    def test_many_reports_are_no_hot_loop(self) -> None:
        """However many requests fail, rounds keep their distance."""
        self.start(seen(A), seen(B))
        began = self.world.rounds
        for _ in range(100):
            self.service.report(A, SUSPECT, "reset")
            self.world.observe(*(seen(b) for b in list(self.world.probes)))
            self.clock.advance(0.01)
        self.assertLessEqual(self.world.rounds - began, 6)

    def test_backend_is_no_longer_listed(self) -> None:
        """A backend that is no longer listed leaves the selection, and is forgotten elsewhere."""
        self.start(seen(A), seen(B))
        self.world.backends = (B, C)
        self.next_round()
        self.world.observe(seen(B), seen(C))
        self.assertEqual(self.service.current.choice, Choice((B,), (C,)))
        self.assertEqual(self.forgotten, [A])
        self.assertEqual(self.world.kept, (B, C))
        self.assertIn("out: prom-a:9090 no longer listed", self.logged[0])

    def test_no_backends(self) -> None:
        """Without backends the first round is over nevertheless, and says what is wrong."""
        self.world.backends = ()
        self.service.startService()
        selection = self.service.current
        self.assertEqual((selection.generation, selection.ranked), (1, ()))
        self.assertEqual(selection.choice.degraded, "no backend is known")
        self.assertEqual(self.logged, ["selection is degraded: no backend is known"])

    def test_requests_wait_for_a_late_source(self) -> None:
        """Soon after the start, requests wait until a backend is found, which is tried every second."""
        self.world.backends = ()
        self.service.startService()
        waiting = self.service.ready()
        self.clock.advance(1)
        self.assertEqual(self.world.rounds, 2)
        self.assertNoResult(waiting)
        self.world.backends = (A,)
        self.clock.advance(1)
        self.world.observe(seen(A))
        self.assertEqual(self.successResultOf(waiting).selected, (A,))
        self.clock.pump([1] * 9)
        self.assertEqual(self.world.rounds, 3)
        self.clock.advance(1)
        self.assertEqual(self.world.rounds, 4)

    def test_requests_do_not_wait_for_a_source_that_stays_away(self) -> None:
        """When the start is over and no backend was found, requests are answered at once."""
        self.world.backends = ()
        self.service.startService()
        waiting = self.service.ready()
        self.clock.pump([1] * 29)
        self.assertNoResult(waiting)
        self.clock.advance(1)
        self.successResultOf(waiting)
        self.successResultOf(self.service.ready())

    def test_nobody_usable(self) -> None:
        """When everyone is down nobody is selected, and all are still known in order."""
        self.start(seen(A), seen(B))
        self.next_round()
        self.world.observe(seen(A, DOWN, "gone"), seen(B, NOT_READY, "replaying"))
        self.assertEqual((self.service.current.selected, self.service.current.ranked), ((), (B, A)))
        self.assertIn("selection: no backend (out: prom-a:9090 down: gone)", self.logged)

    def test_degraded_and_back(self) -> None:
        """A choice that is not what was wished is logged when it begins and when it ends."""
        self.start(seen(A), seen(B, DOWN))
        for standing in (BUSY, BUSY, VIABLE):
            self.next_round()
            self.world.observe(seen(A, standing), seen(B, DOWN))
        self.assertEqual(
            [line for line in self.logged if "degraded" in line],
            ["selection is degraded: no backend is viable, the best is busy", "selection is no longer degraded"],
        )

    def test_failed_round(self) -> None:
        """A bug in a round is logged and counted; who waits gets what is in force, and the next round is made."""
        self.world.failure = ZeroDivisionError("a bug")
        self.service.startService()
        joined = self.service.reselect()
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(joined), Selection())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(self.counted("mpp_selection_rounds_total", result="failed"), 2.0)
        waiting = self.service.ready()
        self.world.failure = None
        self.next_round()
        self.world.observe(seen(A), seen(B))
        self.assertEqual(self.successResultOf(waiting).selected, (A,))

    def test_bug_in_a_probe(self) -> None:
        """A probe that raises makes its backend suspect, and the others are selected as ever."""
        self.start(seen(A), seen(B))
        self.next_round()
        self.world.probes.pop(A).errback(ZeroDivisionError("a bug"))
        self.world.observe(seen(B))
        self.assertEqual(self.service.current.choice, Choice((B,), (A,)))
        self.assertEqual(self.service.current.observations[0], seen(A, SUSPECT, "could not be probed: a bug"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_bug_in_the_first_probe(self) -> None:
        """A backend that could never be probed is suspect."""
        self.service.startService()
        self.world.probes.pop(A).errback(ZeroDivisionError("a bug"))
        self.world.observe(seen(B))
        self.assertEqual(self.service.current.observations[0].standing, SUSPECT)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_bug_in_the_strategy(self) -> None:
        """When the strategy raises, the choice in force is kept for who is usable, reports are safe, and rounds go on."""
        strategy = BrokenStrategy()
        self.service = self.build(strategy)
        self.start(seen(A), seen(B))
        strategy.broken = True
        self.service.report(A, DOWN, "gone")
        self.assertEqual(self.service.current.choice, Choice((B,), (A,), STRATEGY_FAILED))
        self.world.observe(seen(A, DOWN), seen(B))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        strategy.broken = False
        self.next_round()
        self.world.observe(seen(A), seen(B))
        self.assertEqual(self.service.current.choice, Choice((A, B)))

    def test_bug_in_the_strategy_from_the_start(self) -> None:
        """A strategy that never works leaves all backends to be tried, best standing first."""
        strategy = BrokenStrategy()
        strategy.broken = True
        self.service = self.build(strategy)
        self.start(seen(A, BUSY), seen(B))
        self.assertEqual(self.service.current.choice, Choice((), (B, A), STRATEGY_FAILED))
        self.flushLoggedErrors(ZeroDivisionError)

    def test_change_in_a_source(self) -> None:
        """A source that tells of a change is looked at again at once, not an interval later."""
        self.service.startService()
        self.world.observe(seen(A), seen(B))
        self.clock.advance(MIN_SPACING_S)
        self.world.changed()
        self.assertEqual(self.world.rounds, 2)

    def test_locator_holds_a_backend_not_ready(self) -> None:
        """A backend that its source holds not to be ready is shown with the reason, and not selected, whatever it says."""
        self.world.not_ready[A] = "pod not ready"
        self.service.startService()
        self.world.observe(seen(A, days=12), seen(B))
        selection = self.service.current
        self.assertEqual((selection.selected, selection.choice.standbys), ((B,), (A,)))
        self.assertEqual(
            [(o.standing, o.why) for o in selection.observations], [(Standing.NOT_READY, "pod not ready"), (VIABLE, "")]
        )

    def test_stopping_server_is_no_alarm(self) -> None:
        """A server that is being stopped is no alarm for as long as its probes succeed, and an ordinary failure after that."""
        self.start(seen(A), seen(B))
        self.world.not_ready[A] = "p-0 is terminating"
        self.world.leaving = {A}
        self.next_round()
        self.world.observe(seen(A), seen(B))
        observation = self.service.current.observations[0]
        self.assertEqual((observation.standing, observation.leaving, observation.ejected_at), (Standing.NOT_READY, True, 0))
        self.assertEqual(self.service.current.selected, (B,))
        self.next_round()
        self.world.observe(seen(A, DOWN, "connect: refused"), seen(B))
        observation = self.service.current.observations[0]
        self.assertEqual((observation.standing, observation.leaving), (DOWN, False))

    def test_leaving_and_failing(self) -> None:
        """A server that is being stopped and on which requests fail is an ordinary failure, before a probe says so."""
        self.start(seen(A), seen(B))
        self.world.not_ready[A] = "p-0 is terminating"
        self.world.leaving = {A}
        self.next_round()
        self.world.observe(seen(A), seen(B))
        self.service.report(A, DOWN, "gone")
        observation = self.service.current.observations[0]
        self.assertEqual((observation.standing, observation.leaving), (DOWN, False))

    def test_stop_releases_all_waiting_requests(self) -> None:
        """Stopping cancels the round and lets go all who wait; afterwards there are no more rounds."""
        self.service.startService()
        waiters = [self.service.ready(), self.service.reselect()]
        probes = list(self.world.probes.values())
        self.service.stopService()
        for waiter in waiters:
            self.assertEqual(self.successResultOf(waiter), Selection())
        self.assertEqual([probe.called for probe in probes], [True, True])
        self.successResultOf(self.service.reselect())
        self.service.report(A, DOWN, "gone")
        self.clock.advance(100)
        self.assertEqual((self.world.rounds, self.clock.getDelayedCalls(), self.logged), (1, [], []))

    def test_start_time_is_kept(self) -> None:
        """Between changes of the choice the Selection says since when it is in force."""
        self.start(seen(A), seen(B))
        self.next_round()
        self.world.observe(seen(A), evolve(seen(B), standing=BUSY))
        self.assertEqual((self.service.current.changed_at, self.service.current.viable), (NOW, 1))
