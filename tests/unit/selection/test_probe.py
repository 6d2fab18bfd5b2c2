"""How one backend is observed. The upstreams are recorded, and answered by the test."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from attrs import define, evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mpp._version import __version__
from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.facts import Replay, ServerState
from mpp.core.http.instance import Instance
from mpp.core.interfaces import IBodyConsumer, IProgress, IResponse, IUpstreams
from mpp.core.model import MIB, Backend, Headers, Observation, Standing
from mpp.core.prometheus.own_requests import own_request_head
from mpp.core.prometheus.runtimeinfo import ProbeResponse
from mpp.selection.probing.background import PAUSE_MOST_S, WAIT_S
from mpp.selection.probing.prober import FACTS_MAX_AGE_S, FACTS_MIN_AGE_S, FACTS_YOUNG_AGE_S, Prober
from mpp.selection.probing.requests import PROBE_TIMEOUT_S
from mpp.selection.probing.state import METRICS_TIMEOUT_S

RECORDED = Path(__file__).parents[2] / "recorded"
METRICS_242 = (RECORDED / "prometheus-2.42.0-metrics.txt").read_bytes()
FLAGS_242 = (RECORDED / "prometheus-2.42.0-flags.json").read_bytes()
RUNTIME_242 = (RECORDED / "prometheus-2.42.0-runtimeinfo.json").read_bytes()
METRICS_353 = (RECORDED / "prometheus-3.5.3-metrics.txt").read_bytes()
CONFIG_353 = (RECORDED / "prometheus-3.5.3-config.json").read_bytes()
REPLAYING = (RECORDED / "prometheus-3.5.3-walreplay.json").read_bytes()
METRICS_18 = (RECORDED / "prometheus-1.8.2-metrics.txt").read_bytes()
FOUND = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1.7e9,"1"]}]}}'

NOW = 1_700_003_620.0
INSTANCE = Instance("0123456789abcdef")
A = Backend("http", "prom-a", 9090, "/prometheus")
STARTED = 1_700_000_000.530174


@implementer(IResponse)
class RecordedResponse:
    """An answer with its body, or with its beginning only."""

    def __init__(self, status: int, body: bytes = b"", *, complete: bool = True) -> None:
        self.status = status
        self.reason = b""
        self.headers: Headers = ()
        self.buffered = [body] if body else []
        self.complete = complete
        self.length: int | None = None
        self.consumer: IBodyConsumer | None = None
        self.ended = ""

    def relay(self, consumer: IBodyConsumer) -> None:
        self.consumer = consumer
        for piece in self.buffered:
            consumer.body_received(piece)
        if self.complete:
            consumer.body_ended()

    def pause(self) -> None:
        """Do nothing."""

    def resume(self) -> None:
        """Do nothing."""

    def cancel(self) -> None:
        self.ended = "cancelled"

    def release(self) -> None:
        self.ended = "released"


@define(eq=False)
class Sent:
    """One request that was sent."""

    backend: Backend
    path: str
    fresh: bool
    hold: int
    answer: Deferred[IResponse]
    progress: IProgress | None
    cancelled: bool = False


@implementer(IUpstreams)
class RecordingUpstreams:
    """Takes requests, and leaves the answers to the test."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.flags = RecordedResponse(404)
        """What ``/api/v1/status/flags`` is answered with at once."""

    def has_room(self, backend: Backend, *, query_slots: int = 0) -> bool:
        return True

    def send(
        self,
        backend: Backend,
        head: bytes,
        body: bytes,
        *,
        fresh: bool,
        buffer: int,
        may_buffer: Callable[[int, Headers], bool] | None = None,
        progress: IProgress | None = None,
        urgent: bool = False,
        query_slots: int = 0,
    ) -> Deferred[IResponse]:
        def cancel(_: Deferred[IResponse]) -> None:
            sent.cancelled = True

        sent = Sent(backend, head.decode().split(" ")[1].removeprefix(backend.prefix), fresh, buffer, Deferred(cancel), progress)
        if sent.path == "/api/v1/status/flags":
            sent.answer.callback(self.flags)
        else:
            self.sent.append(sent)
        return sent.answer

    def pending(self, path: str) -> Sent:
        """Return the unanswered request whose path begins like this."""
        (found,) = (sent for sent in self.sent if sent.path.startswith(path) and not sent.answer.called)
        return found

    def paths(self) -> list[str]:
        """Return the paths of all unanswered requests, without their queries."""
        return [sent.path.partition("?")[0] for sent in self.sent if not sent.answer.called]


class ProberTests(SynchronousTestCase):
    """Observations."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.upstreams = RecordingUpstreams()
        self.prober = Prober(self.upstreams, self.clock, INSTANCE, wall=self.wall)
        self.fresh_facts = ServerState("2.42.0+ds", STARTED, 1.6989e9, read_at=NOW)

    def wall(self) -> float:
        """Return the time of day."""
        return NOW + self.clock.seconds()

    def tearDown(self) -> None:
        self.prober.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [], "a timer is left")

    def answer(self, path: str, status: int, body: bytes = b"", *, complete: bool = True) -> RecordedResponse:
        """Answer a request."""
        response = RecordedResponse(status, body, complete=complete)
        self.upstreams.pending(path).answer.callback(response)
        return response

    def fail_request(self, path: str, cause: Cause, *, stale: bool = False) -> None:
        """Have a request fail."""
        self.upstreams.pending(path).answer.errback(UpstreamError(Phase.CONNECT, cause, stale=stale))

    def answer_well(self, runtime: bytes | None = RUNTIME_242) -> None:
        """Answer all that is asked in every round, like 2.42, or like 1.x without runtimeinfo."""
        self.answer("/-/ready", 200 if runtime else 404)
        self.answer("/api/v1/query", 200, FOUND)
        self.answer("/api/v1/status/runtimeinfo", 200 if runtime else 404, runtime or b"")
        if "/api/v1/status/walreplay" in self.upstreams.paths():
            self.answer("/api/v1/status/walreplay", 200, REPLAYING)

    def previous(self, *, standing: Standing = Standing.VIABLE, age: float = 0.0, started: float = STARTED) -> Observation:
        """Return what was seen last, with facts of some age."""
        return Observation(A, standing, facts=evolve(self.fresh_facts, read_at=NOW - age, started_at=started))

    def asks_for_metrics(self, previous: Observation | None) -> bool:
        """Tell whether a well answered probe goes on to read the facts."""
        probed = self.prober.probe(A, previous)
        self.answer_well()
        asked = self.upstreams.paths() == ["/metrics"]
        self.prober.keep(())
        self.successResultOf(probed)
        return asked

    def test_probe_is_a_plain_get_below_the_prefix(self) -> None:
        """A probe's request is one plain HTTP/1.1 GET below the backend's prefix."""
        head = own_request_head(A, "/-/ready", INSTANCE).decode()
        self.assertTrue(head.startswith("GET /prometheus/-/ready HTTP/1.1\r\nHost: prom-a:9090\r\n"))
        self.assertTrue(head.endswith("\r\n\r\n"))
        self.assertIn(f"User-Agent: mpp/{__version__}\r\n", head)
        self.assertIn("Accept-Encoding: identity\r\n", head)
        self.assertIn("MPP-Instance: 0123456789abcdef\r\n", head)

    def test_newest_data_of_many_jobs(self) -> None:
        """The response with the newest data of 2,000 jobs, of which each has a line, is read as a whole."""
        body = b"x" * 2000 * 150
        asked = self.prober.ask(A, "/api/v1/query?query=up")
        self.assertGreaterEqual(self.upstreams.pending("/api/v1/query").hold, len(body))
        self.answer("/api/v1/query", 200, body)
        outcome = self.successResultOf(asked)
        assert isinstance(outcome, ProbeResponse)
        self.assertEqual(len(outcome.body), len(body))

    def test_asked_side_by_side(self) -> None:
        """Readiness, a query with the server's own time limit, and runtimeinfo are asked at the same time."""
        probed = self.prober.probe(A, None)
        self.assertEqual(
            [sent.path for sent in self.upstreams.sent],
            ["/-/ready", "/api/v1/query?query=vector%281%29&timeout=900ms", "/api/v1/status/runtimeinfo"],
        )
        probed.addErrback(lambda failure: failure.trap(CancelledError))
        probed.cancel()
        self.assertEqual([sent.cancelled for sent in self.upstreams.sent], [True] * 3)

    def test_probes_carry_the_configured_parameters(self) -> None:
        """All requests of a probe carry the parameters that are configured for that server."""
        self.prober = Prober(self.upstreams, self.clock, INSTANCE, wall=self.wall, params={A: "namespace=m"}.__getitem__)
        self.prober.probe(A, self.previous(standing=Standing.NOT_READY))
        self.assertEqual(
            [sent.path for sent in self.upstreams.sent],
            [
                "/-/ready?namespace=m",
                "/api/v1/query?query=vector%281%29&timeout=900ms&namespace=m",
                "/api/v1/status/runtimeinfo?namespace=m",
                "/api/v1/status/walreplay?namespace=m",
            ],
        )
        self.answer_well()
        self.prober.probe(A, None)
        self.answer_well()
        self.assertEqual(self.upstreams.pending("/metrics").path, "/metrics?namespace=m")

    def test_own_token_in_a_probe_marks_mpp_itself(self) -> None:
        """A backend that sends the probe back with the own token is mpp itself, until it answers otherwise."""
        said = b'{"error":"this request has come back to the mpp that sent it (%b)"}'

        def probe(previous: Observation | None, token: bytes) -> Observation:
            self.prober.keep(())
            probed = self.prober.probe(A, previous)
            for path in self.upstreams.paths():
                self.answer(path, 508, said % token)
            return self.successResultOf(probed)

        itself = probe(None, b"0123456789abcdef")
        self.assertEqual((itself.standing, itself.is_self, itself.refused), (Standing.NOT_READY, True, False))
        self.assertEqual(itself.why, "this mpp itself responds there, so it is never used")
        other = probe(itself, b"fedcba9876543210")
        self.assertEqual((other.standing, other.is_self), (Standing.NOT_READY, False))
        silent = self.prober.probe(A, itself)
        self.clock.advance(PROBE_TIMEOUT_S)
        self.assertTrue(self.successResultOf(silent).is_self)
        well = self.prober.probe(A, itself)
        self.answer_well()
        self.answer("/metrics", 200)
        self.assertFalse(self.successResultOf(well).is_self)

    def test_refused_query(self) -> None:
        """A ready server that rejects the probe's query is usable, and nothing more is known of it; nor is it asked to vouch."""
        for status in (400, 403):
            self.prober.keep(())
            probed = self.prober.probe(A, self.previous())
            self.answer("/-/ready", 200)
            self.answer("/api/v1/query", status, b"no")
            self.answer("/api/v1/status/runtimeinfo", status)
            observation = self.successResultOf(probed)
            self.assertEqual((observation.standing, observation.unproven, observation.refused), (Standing.BUSY, True, False))
            self.assertIn(f"rejects the probe's query ({status}: no)", observation.why)

    def test_first_probe(self) -> None:
        """The first probe of a viable server waits for its facts, which are read from the page as it streams."""
        probed = self.prober.probe(A, None)
        self.clock.advance(0.25)
        self.answer_well()
        self.assertEqual(self.upstreams.pending("/metrics").hold, 0)
        page = self.answer("/metrics", 200, METRICS_242[:100], complete=False)
        assert page.consumer is not None
        page.consumer.body_received(METRICS_242[100:])
        self.assertNoResult(probed)
        page.consumer.body_ended()
        observation = self.successResultOf(probed)
        self.assertEqual((observation.backend, observation.standing, observation.why), (A, Standing.VIABLE, ""))
        self.assertEqual((observation.at, observation.took), (NOW, 0.25))
        facts = observation.facts
        self.assertEqual((facts.version, facts.oldest, facts.retention_s), ("2.42.0+ds", 1.6989e9, 15 * 86400.0))

    def test_not_asked(self) -> None:
        """A server that could not be asked, because mpp uses all its connections, is busy, or as bad as it was before."""
        for before, expected in (
            (Standing.VIABLE, Standing.BUSY),
            (Standing.SUSPECT, Standing.SUSPECT),
            (Standing.DOWN, Standing.DOWN),
            (None, Standing.BUSY),
        ):
            previous = None if before is None else evolve(self.previous(standing=before), why="so it was")
            probed = self.prober.probe(A, previous)
            for sent in self.upstreams.sent:
                assert sent.progress is not None
                sent.progress.queued = True
            self.clock.advance(1)
            if "/metrics" in self.upstreams.paths():
                self.answer("/metrics", 503)
            observation = self.successResultOf(probed)
            why = "so it was" if expected > Standing.BUSY else "all connections that it accepts are in use by mpp"
            self.assertEqual((observation.standing, observation.why), (expected, why))
            self.upstreams.sent.clear()

    def test_own_shortage(self) -> None:
        """A server that mpp itself has no means to ask, or to ask for more than /-/ready, is no worse than before."""
        lack = UpstreamError(Phase.CONNECT, Cause.LOCAL, "Too many open files")
        not_probed = "not probed, because mpp itself lacks a resource: connect: local (Too many open files)"
        not_queried = "ready, but no response to a query: connect: local (Too many open files)"
        for before, is_ready, expected, why in (
            (Standing.VIABLE, False, Standing.VIABLE, "so it was"),
            (Standing.VIABLE, True, Standing.VIABLE, "so it was"),
            (Standing.BUSY, False, Standing.BUSY, not_probed),
            (Standing.BUSY, True, Standing.BUSY, not_queried),
            (Standing.DOWN, False, Standing.DOWN, "so it was"),
            (None, False, Standing.BUSY, not_probed),
            (None, True, Standing.BUSY, not_queried),
        ):
            previous = None if before is None else evolve(self.previous(standing=before), why="so it was")
            probed = self.prober.probe(A, previous)
            if is_ready:
                self.answer("/-/ready", 200)
            for sent in [each for each in self.upstreams.sent if not each.answer.called]:
                sent.answer.errback(lack)
            if "/metrics" in self.upstreams.paths():
                self.answer("/metrics", 503)
            observation = self.successResultOf(probed)
            self.assertEqual((observation.standing, observation.why), (expected, why), (before, is_ready))
            self.upstreams.sent.clear()

    def test_shortage_does_not_hide_a_limiter(self) -> None:
        """A server whose /-/ready is turned away is busy, whether or not mpp could ask for more."""
        probed = self.prober.probe(A, self.previous())
        self.answer("/-/ready", 429)
        for sent in [each for each in self.upstreams.sent if not each.answer.called]:
            sent.answer.errback(UpstreamError(Phase.CONNECT, Cause.LOCAL))
        self.assertEqual(self.successResultOf(probed).standing, Standing.BUSY)

    def test_times_of_ready_are_remembered(self) -> None:
        """How long the last 20 answers to /-/ready took is kept, whatever they said; what was not answered does not count."""
        observation: Observation | None = None
        for number in range(25):
            probed = self.prober.probe(A, observation)
            self.clock.advance(0.01 * number)
            self.answer("/-/ready", 503)
            self.answer("/api/v1/query", 503)
            self.answer("/api/v1/status/runtimeinfo", 503)
            if "/api/v1/status/walreplay" in self.upstreams.paths():
                self.answer("/api/v1/status/walreplay", 503)
            observation = self.successResultOf(probed)
        assert observation is not None
        self.assertEqual([round(took, 3) for took in observation.ready_took], [round(0.01 * each, 3) for each in range(5, 25)])
        for cause in (Cause.REFUSED, Cause.FULL):
            probed = self.prober.probe(A, observation)
            for sent in [each for each in self.upstreams.sent if not each.answer.called]:
                sent.answer.errback(UpstreamError(Phase.CONNECT, cause))
            self.assertEqual(self.successResultOf(probed).ready_took, observation.ready_took)

    def test_time_in_the_queue_is_not_the_servers(self) -> None:
        """How long a question waited in mpp for its turn is not counted as the server's time."""
        probed = self.prober.probe(A, self.previous())
        progress = self.upstreams.pending("/-/ready").progress
        assert progress is not None
        self.clock.advance(0.5)
        progress.dequeued_at = self.clock.seconds()
        self.clock.advance(0.125)
        self.answer_well()
        self.assertEqual(self.successResultOf(probed).ready_took, (0.125,))

    def test_query_slots(self) -> None:
        """How many queries the server runs at once is read with the other facts; a server that does not say is not doubted."""
        for flags, expected in ((RecordedResponse(200, FLAGS_242), 20), (RecordedResponse(404), None)):
            self.upstreams.flags = flags
            self.prober.keep(())
            probed = self.prober.probe(A, None)
            self.answer_well()
            self.answer("/metrics", 200, METRICS_242)
            observation = self.successResultOf(probed)
            self.assertEqual((observation.standing, observation.facts.query_slots), (Standing.VIABLE, expected))
            self.assertEqual(dict(observation.facts.flags).get("query.timeout"), expected and "2m")
            self.assertEqual(flags.ended, "released")

    def test_facts_are_kept_for_a_minute(self) -> None:
        """The metrics page is read once a minute, not at every probe."""
        probed = self.prober.probe(A, self.previous(age=FACTS_MAX_AGE_S - 1))
        self.answer_well()
        self.assertEqual(self.successResultOf(probed).facts, evolve(self.fresh_facts, read_at=NOW - FACTS_MAX_AGE_S + 1))
        self.assertTrue(self.asks_for_metrics(self.previous(age=FACTS_MAX_AGE_S)))

    def test_facts_are_read_after_a_restart(self) -> None:
        """Facts are read at once when the server says that it has started since, or when it was away."""
        self.assertTrue(self.asks_for_metrics(self.previous(started=STARTED - 3600)))
        for standing, expected in (
            (Standing.DOWN, True),
            (Standing.NOT_READY, True),
            (Standing.SUSPECT, False),
            (Standing.BUSY, False),
        ):
            self.assertEqual(self.asks_for_metrics(self.previous(standing=standing, age=FACTS_MIN_AGE_S)), expected)

    def test_flapping_server_is_not_scraped_at_each_flap(self) -> None:
        """A server that was away for a moment keeps facts that are only seconds old."""
        self.assertFalse(self.asks_for_metrics(self.previous(standing=Standing.DOWN, age=FACTS_MIN_AGE_S - 1)))

    def test_young_server_is_read_again_soon(self) -> None:
        """A server that had no data is asked again after seconds, not after a minute."""
        for age, expected in ((FACTS_MIN_AGE_S - 1, False), (FACTS_MIN_AGE_S, True)):
            empty = Observation(A, Standing.VIABLE, facts=ServerState("3.5.3", STARTED, read_at=NOW - age))
            self.assertEqual(self.asks_for_metrics(empty), expected)

    def test_server_that_has_just_started_is_read_again_soon(self) -> None:
        """A server that had run for seconds only had no targets yet: its facts are not kept for a minute."""
        for up, age, expected in (
            (5, FACTS_YOUNG_AGE_S - 1, False),
            (5, FACTS_YOUNG_AGE_S, True),
            (90, FACTS_YOUNG_AGE_S, False),
        ):
            started = NOW - age - up
            probed = self.prober.probe(A, self.previous(age=age, started=started))
            said = datetime.fromtimestamp(started, UTC).isoformat().encode()
            self.answer_well(RUNTIME_242.replace(b"2023-11-14T22:13:20.530174321Z", said))
            self.assertEqual(self.upstreams.paths() == ["/metrics"], expected, (up, age))
            self.prober.keep(())
            self.successResultOf(probed)

    def test_clock_set_back(self) -> None:
        """Facts from the future are read anew."""
        self.assertTrue(self.asks_for_metrics(self.previous(age=-3600)))

    def test_unreadable_metrics_keep_facts(self) -> None:
        """When the page cannot be read the old facts stay, and it is read again a little later."""
        old = self.previous(age=FACTS_MAX_AGE_S)
        for status, complete in ((500, True), (200, False)):
            observation = self.probed(old)
            page = self.answer("/metrics", status, METRICS_242[:100], complete=complete)
            if page.consumer is not None:
                page.consumer.body_failed(UpstreamError(Phase.BODY, Cause.RESET))
            self.assertEqual((observation.facts, self.probed(old).facts), (old.facts, old.facts))
            self.assertEqual(self.upstreams.paths(), [])
            self.clock.advance(PAUSE_MOST_S)
        self.probed(old)
        self.assertEqual(self.upstreams.paths(), ["/metrics"])

    def probed(self, previous: Observation | None) -> Observation:
        """Probe a server that answers its small requests at once, and does not wait for anything else."""
        probed = self.prober.probe(A, previous)
        self.answer_well()
        return self.successResultOf(probed)

    def test_old_facts_are_renewed_beside_the_rounds(self) -> None:
        """A round does not wait for facts that are only old; what was read counts in the next one, and is read once."""
        old = self.previous(age=FACTS_MAX_AGE_S)
        self.assertEqual(self.probed(old).facts, old.facts)
        self.assertEqual(self.probed(old).facts, old.facts)
        self.assertEqual(self.upstreams.paths(), ["/metrics"])
        self.answer("/metrics", 200, METRICS_242)
        observation = self.probed(old)
        self.assertEqual((observation.facts.read_at, observation.facts.retention_s), (NOW, 15 * 86400.0))
        self.assertEqual(self.probed(observation).facts, observation.facts)
        self.assertEqual(self.upstreams.paths(), [])

    def test_slow_metrics_make_one_round_longer(self) -> None:
        """A server whose page takes nine seconds is waited for once; its facts come in a later round, again and again."""
        probed = self.prober.probe(A, None)
        self.answer_well()
        self.clock.advance(WAIT_S)
        observation = self.successResultOf(probed)
        self.assertEqual((observation.standing, observation.facts), (Standing.VIABLE, ServerState()))
        self.clock.advance(9 - WAIT_S)
        self.assertEqual(self.probed(observation).facts, ServerState())
        self.answer("/metrics", 200, METRICS_242)
        observation = self.probed(observation)
        self.assertEqual((observation.facts.version, observation.facts.read_at), ("2.42.0+ds", NOW + 9))
        # It has restarted since, or so it says: even now nothing waits for what is known to be slow.
        restarted = evolve(observation, facts=evolve(observation.facts, started_at=STARTED - 3600))
        self.probed(restarted)
        self.assertEqual(self.upstreams.paths(), ["/metrics"])

    def read_config(
        self, previous: Observation | None, status: int = 200, *, metrics: bytes = METRICS_353, config: bytes = CONFIG_353
    ) -> ServerState:
        """Probe a server that tells when it loaded its configuration; it is asked for it. Return the facts that come of it."""
        self.prober.keep(())
        self.prober.probe(A, previous)
        self.answer_well()
        self.answer("/metrics", 200, metrics)
        self.answer("/api/v1/status/config", status, config)
        return self.probed(previous).facts

    def test_server_without_jobs_has_no_targets(self) -> None:
        """A server whose new configuration has no job scrapes nothing, although it goes on naming the targets that it had."""
        kept = [line for line in METRICS_353.splitlines(keepends=True) if b"_targets{" not in line]
        metrics = b"".join(kept) + b'prometheus_sd_discovered_targets{config="node",name="scrape"} 20\n'
        empty = json.dumps({"status": "success", "data": {"yaml": "global:\n  scrape_interval: 15s\n"}}).encode()
        self.assertEqual(self.read_config(None, metrics=metrics, config=empty).targets, 0)
        self.assertEqual(self.read_config(None, metrics=metrics).targets, 20)

    def test_configuration_is_read_when_another_one_was_loaded(self) -> None:
        """The configuration is asked for when the server has loaded one since, and not each minute."""
        facts = self.read_config(None)
        self.assertRegex(facts.config_hash, "^[0-9a-f]{12}$")
        old = Observation(A, Standing.VIABLE, facts=evolve(facts, read_at=NOW - FACTS_MAX_AGE_S))
        self.prober.keep(())
        self.probed(old)
        self.answer("/metrics", 200, METRICS_353)
        self.assertEqual((self.probed(old).facts.config_hash, self.upstreams.paths()), (facts.config_hash, []))
        stale = evolve(facts, read_at=NOW - FACTS_MAX_AGE_S, config_at=1.0, config_hash="old")
        self.assertEqual(self.read_config(Observation(A, Standing.VIABLE, facts=stale)).config_hash, facts.config_hash)

    def test_what_the_past_depends_on(self) -> None:
        """How long samples may be late, and the hash of the meaning of queries, are kept as long as no other values are known."""
        facts = self.read_config(None)
        self.assertEqual((facts.settles_s, facts.settles_job), (2.1, "p"))
        self.assertRegex(facts.answers_id, "^[0-9a-f]{16}$")
        aged = evolve(facts, read_at=NOW - FACTS_MAX_AGE_S)
        reloaded = evolve(aged, config_at=1.0)
        restarted = evolve(reloaded, started_at=STARTED - 3600)
        for before, status in ((reloaded, 200), (reloaded, 403), (restarted, 200), (restarted, 403)):
            after = self.read_config(Observation(A, Standing.VIABLE, facts=before), status)
            self.assertEqual((after.settles_s, after.answers_id), (facts.settles_s, facts.answers_id), (before.config_at, status))
        self.prober.keep(())
        self.probed(Observation(A, Standing.VIABLE, facts=aged))
        self.answer("/metrics", 200, METRICS_353)
        self.assertEqual(self.probed(Observation(A, Standing.VIABLE, facts=aged)).facts.answers_id, facts.answers_id)
        upgraded = evolve(reloaded, version="3.4.0", answers_id="former")
        after = self.read_config(Observation(A, Standing.VIABLE, facts=upgraded), 403)
        self.assertNotIn(after.answers_id, ("", "former", facts.answers_id))

    def test_flags_that_are_not_reported_for_once(self) -> None:
        """Flags cannot change before the server restarts: those that were read stay when a request for them fails."""
        known = evolve(self.fresh_facts, flags=(("query.timeout", "2m"),), read_at=NOW - FACTS_MAX_AGE_S)
        for started, expected in ((STARTED, known.flags), (STARTED - 3600, ())):
            before = Observation(A, Standing.VIABLE, facts=evolve(known, started_at=started))
            self.prober.keep(())
            self.prober.probe(A, before)
            self.answer_well()
            self.answer("/metrics", 200, METRICS_242)
            self.assertEqual(self.probed(before).facts.flags, expected)

    def test_configuration_that_is_not_shown(self) -> None:
        """A server that does not show its configuration is observed like any other."""
        facts = self.read_config(None, status=403)
        self.assertEqual((facts.version, facts.config_hash), ("3.5.3+ds1", ""))

    def test_configuration_that_does_not_come(self) -> None:
        """A configuration that cannot be read in time leaves the other facts as they are."""
        self.prober.probe(A, None)
        self.answer_well()
        self.clock.advance(METRICS_TIMEOUT_S - 0.5)
        self.answer("/metrics", 200, METRICS_353)
        self.clock.advance(1)
        facts = self.probed(self.previous()).facts
        self.assertEqual((facts.version, facts.config_hash), ("3.5.3+ds1", ""))

    def test_very_slow_metrics_are_given_up(self) -> None:
        """A page that does not end in 10 seconds is cancelled, wherever it hangs."""
        probed = self.prober.probe(A, None)
        self.answer_well()
        page = self.answer("/metrics", 200, METRICS_242[:100], complete=False)
        self.clock.advance(METRICS_TIMEOUT_S - 0.1)
        self.assertEqual((self.successResultOf(probed).facts, page.ended), (ServerState(), ""))
        self.clock.advance(0.1)
        self.assertEqual(page.ended, "cancelled")

    def test_endless_metrics_are_given_up(self) -> None:
        """A page that is far too large is cancelled, and what still comes does no harm."""
        probed = self.prober.probe(A, None)
        self.answer_well()
        page = self.answer("/metrics", 200, complete=False)
        assert page.consumer is not None
        for _ in range(65):
            page.consumer.body_received(b"x" * MIB)
        self.assertEqual((self.successResultOf(probed).facts, page.ended), (ServerState(), "cancelled"))
        page.consumer.body_received(b"x")
        page.consumer.body_failed(UpstreamError(Phase.BODY, Cause.RESET))
        page.consumer.body_ended()

    def test_not_ready(self) -> None:
        """A server that replays its WAL is not ready, is not asked for facts, and keeps those it had."""
        probed = self.prober.probe(A, self.previous(age=FACTS_MAX_AGE_S))
        self.answer("/-/ready", 503, b"Service Unavailable")
        self.answer("/api/v1/query", 503, b"Service Unavailable")
        self.answer("/api/v1/status/runtimeinfo", 503, b"Service Unavailable")
        observation = self.successResultOf(probed)
        self.assertEqual(observation.standing, Standing.NOT_READY)
        self.assertEqual(observation.facts.oldest, 1.6989e9)
        self.assertEqual(self.upstreams.paths(), [])

    def test_replay_is_asked_for_and_told(self) -> None:
        """A server that was not well is asked how far its WAL replay is, and that is told while it is not ready."""
        probed = self.prober.probe(A, self.previous(standing=Standing.DOWN))
        for path in ("/-/ready", "/api/v1/query", "/api/v1/status/runtimeinfo"):
            self.answer(path, 503, b"Service Unavailable")
        self.answer("/api/v1/status/walreplay", 200, REPLAYING)
        observation = self.successResultOf(probed)
        self.assertEqual(observation.replay, Replay(1, 4, NOW, 1))
        self.clock.advance(1.0)
        probed = self.prober.probe(A, observation)
        self.answer_well()
        self.assertIsNone(self.successResultOf(probed).replay)

    def test_unreachable_server_is_down(self) -> None:
        """A server that cannot be reached is down."""
        probed = self.prober.probe(A, None)
        for path in ("/-/ready", "/api/v1/query", "/api/v1/status"):
            self.fail_request(path, Cause.REFUSED)
        self.assertEqual(self.successResultOf(probed).why, "no response to /-/ready: connect: refused")

    def test_still_down(self) -> None:
        """A server that was down is asked for one thing only, until it answers; then for all else, for which it has as long."""
        previous = self.previous(standing=Standing.DOWN)
        probed = self.prober.probe(A, previous)
        self.assertEqual(self.upstreams.paths(), ["/-/ready"])
        self.fail_request("/-/ready", Cause.REFUSED)
        observation = self.successResultOf(probed)
        self.assertEqual((observation.standing, observation.why), (Standing.DOWN, "no response to /-/ready: connect: refused"))
        probed = self.prober.probe(A, previous)
        self.clock.advance(PROBE_TIMEOUT_S * 0.9)
        self.answer("/-/ready", 200)
        paths = ["/api/v1/query", "/api/v1/status/runtimeinfo", "/api/v1/status/walreplay"]
        self.assertEqual(self.upstreams.paths(), paths)
        self.clock.advance(PROBE_TIMEOUT_S * 0.9)
        for path in paths:
            self.answer(path, 503)
        self.assertEqual(self.successResultOf(probed).standing, Standing.BUSY)

    def test_still_down_and_cancelled(self) -> None:
        """Cancelling such a probe leaves nothing behind, whichever request is under way."""
        for ready in (False, True):
            probed = self.prober.probe(A, self.previous(standing=Standing.DOWN))
            if ready:
                self.answer("/-/ready", 200)
            probed.cancel()
            self.failureResultOf(probed, CancelledError)
            self.assertTrue(all(sent.cancelled for sent in self.upstreams.sent if sent.path != "/-/ready"))

    def test_silent_server_is_down_after_a_second(self) -> None:
        """A server that answers nothing is down after a second, and no request is left."""
        probed = self.prober.probe(A, None)
        self.clock.advance(PROBE_TIMEOUT_S)
        observation = self.successResultOf(probed)
        self.assertEqual((observation.standing, observation.took), (Standing.DOWN, PROBE_TIMEOUT_S))
        self.assertEqual([sent.cancelled for sent in self.upstreams.sent], [True] * 3)

    def test_ready_server_with_a_slow_query_is_busy(self) -> None:
        """A ready server whose query does not return in time is busy; its facts are read all the same."""
        probed = self.prober.probe(A, None)
        self.answer("/-/ready", 200)
        self.answer("/api/v1/status/runtimeinfo", 200, RUNTIME_242)
        self.clock.advance(PROBE_TIMEOUT_S)
        self.answer("/metrics", 200, METRICS_242)
        observation = self.successResultOf(probed)
        self.assertEqual((observation.standing, observation.facts.version), (Standing.BUSY, "2.42.0+ds"))

    def test_stale_connection(self) -> None:
        """A kept connection that turns out dead is replaced by a fresh one, and says nothing about the server."""
        probed = self.prober.probe(A, self.previous())
        self.fail_request("/-/ready", Cause.CLOSED, stale=True)
        self.assertTrue(self.upstreams.pending("/-/ready").fresh)
        self.answer_well()
        self.assertEqual(self.successResultOf(probed).standing, Standing.VIABLE)

    def test_bodies_are_given_back(self) -> None:
        """Small answers are released, endless ones are cut off."""
        probed = self.prober.probe(A, self.previous())
        ready = self.answer("/-/ready", 200, b"ready")
        query = self.answer("/api/v1/query", 200, b"x" * 100_000, complete=False)
        self.answer("/api/v1/status/runtimeinfo", 404)
        self.assertEqual(self.successResultOf(probed).standing, Standing.NOT_READY)
        self.assertEqual((ready.ended, query.ended), ("released", "cancelled"))

    def test_server_1x_is_viable_when_it_answers_a_query(self) -> None:
        """A 1.x server, which has neither /-/ready nor runtimeinfo, is viable when it answers a query."""
        probed = self.prober.probe(A, None)
        self.answer_well(runtime=None)
        self.answer("/metrics", 200, METRICS_18)
        observation = self.successResultOf(probed)
        self.assertEqual((observation.standing, observation.facts.samples), (Standing.VIABLE, 12345678.0))

    def test_minimum_history_of_1x(self) -> None:
        """A server that cannot tell its oldest sample is asked whether it has any of the minimum age."""
        self.prober = Prober(self.upstreams, self.clock, INSTANCE, wall=self.wall, minimum_history=86400.0)
        nothing = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
        for body, oldest in ((FOUND, NOW - 86400), (nothing, None)):
            self.prober.keep(())
            probed = self.prober.probe(A, None)
            self.answer_well(runtime=None)
            self.answer("/metrics", 200, METRICS_18)
            self.assertIn("query=count%28up%29&time=1699917220.000&", self.upstreams.pending("/api/v1/query").path)
            self.answer("/api/v1/query", 200, body)
            self.assertEqual(self.successResultOf(probed).facts.oldest, oldest)

    def test_minimum_history_of_2x(self) -> None:
        """A server that tells its oldest sample is not asked."""
        self.prober = Prober(self.upstreams, self.clock, INSTANCE, wall=self.wall, minimum_history=86400.0)
        probed = self.prober.probe(A, None)
        self.answer_well()
        self.answer("/metrics", 200, METRICS_242)
        self.assertEqual(self.successResultOf(probed).facts.oldest, 1.6989e9)

    def test_cancelled_while_metrics_come(self) -> None:
        """A probe that is cancelled leaves the page alone, which is cut off only when the server is not listed any more."""
        probed = self.prober.probe(A, None)
        self.answer_well()
        page = self.answer("/metrics", 200, METRICS_242[:100], complete=False)
        probed.cancel()
        self.failureResultOf(probed, CancelledError)
        self.prober.keep((A,))
        self.assertEqual(page.ended, "")
        self.prober.keep(())
        self.assertEqual(page.ended, "cancelled")

    def test_stopped_while_metrics_come(self) -> None:
        """At the end the page is cut off, and the probe that waits for it goes on without."""
        probed = self.prober.probe(A, None)
        self.answer_well()
        page = self.answer("/metrics", 200, METRICS_242[:100], complete=False)
        self.prober.stop()
        self.assertEqual((self.successResultOf(probed).facts, page.ended), (ServerState(), "cancelled"))
        self.assertEqual(self.probed(None).facts, ServerState())
        self.assertEqual(self.upstreams.paths(), [])
