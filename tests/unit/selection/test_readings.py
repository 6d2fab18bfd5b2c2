"""What the answers of Prometheus servers of all versions mean."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.facts import Replay, ServerState
from mpp.core.model import Standing
from mpp.core.prometheus.runtimeinfo import (
    ProbeResponse,
    RuntimeInfo,
    quote,
    read_query_slots,
    read_replay,
    read_retention,
    read_runtime,
)
from mpp.selection.probing.interpret import METRICS, has_samples, is_refusal, is_turned_away, is_unproven, judge, read_facts
from mpp.selection.probing.metrics_scanner import MetricsScanner, Samples

RECORDED = Path(__file__).parents[2] / "recorded"
NOW = 1_700_003_620.0
VIABLE, BUSY, SUSPECT, NOT_READY, DOWN = Standing

READY = ProbeResponse(200, b"Prometheus Server is Ready.\n")
ABSENT = ProbeResponse(404, b"404 page not found\n")
ONE = ProbeResponse(200, b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1.7e9,"1"]}]}}')
LIMITER = ProbeResponse(503, b"<html>503 Service Temporarily Unavailable</html>")
SLOW = UpstreamError(Phase.HEAD, Cause.TIMEOUT, "after 1 s")
REFUSED = UpstreamError(Phase.CONNECT, Cause.REFUSED)


def error(status: int, kind: str, text: str) -> ProbeResponse:
    """Return an error as the API of Prometheus writes it."""
    return ProbeResponse(status, b'{"status":"error","errorType":"%b","error":"%b"}' % (kind.encode(), text.encode()))


def samples(name: str) -> Samples:
    """Return the samples of a recorded page."""
    scanner = MetricsScanner(METRICS)
    scanner.feed((RECORDED / name).read_bytes())
    return scanner.finish()


class JudgeTests(SynchronousTestCase):
    """What a backend is worth."""

    def test_readiness_decides_before_the_query(self) -> None:
        """Readiness decides first, then whether a real query is answered."""
        unavailable = ProbeResponse(503, b"Service Unavailable")
        stopping = ProbeResponse(503, b"Service Unavailable", ((b"X-Prometheus-Stopping", b"true"),))
        for ready, query, standing, why in [
            (READY, ONE, VIABLE, ""),
            (ABSENT, ONE, VIABLE, ""),
            (REFUSED, ONE, DOWN, "connect: refused"),
            (SLOW, ONE, DOWN, "no response to /-/ready: head: timeout (after 1 s)"),
            (unavailable, ONE, NOT_READY, "not ready (503: Service Unavailable)"),
            (stopping, SLOW, NOT_READY, "shutting down"),
            (ProbeResponse(401, b"Unauthorized\n"), ONE, NOT_READY, "/-/ready responded 401: Unauthorized"),
            (ProbeResponse(400, b"Client sent an HTTP request to an HTTPS server.\n"), ONE, NOT_READY, "HTTPS server"),
            (READY, SLOW, BUSY, "no response to a query"),
            (READY, REFUSED, DOWN, "query failed: connect: refused"),
            (READY, error(503, "timeout", "query timed out in query queue"), BUSY, "slots are taken"),
            (READY, error(503, "canceled", "query was canceled"), NOT_READY, "no valid response to a query"),
            (READY, unavailable, NOT_READY, "no valid response to a query (503: Service Unavailable)"),
            (READY, error(400, "bad_data", 'invalid parameter \\"query\\": context deadline exceeded'), BUSY, "slots are taken"),
            (READY, error(400, "bad_data", 'invalid parameter \\"query\\": parse error'), BUSY, "parse error"),
            (READY, error(422, "execution", "context deadline exceeded"), BUSY, "slots are taken"),
            (READY, error(422, "execution", "unavailable with Prometheus Agent"), NOT_READY, "with Prometheus Agent"),
            (READY, error(422, "execution", "expanding series: context deadline exceeded"), NOT_READY, "expanding"),
            (READY, ProbeResponse(429, b"slow down"), BUSY, "slow down"),
            (READY, ProbeResponse(403, b""), BUSY, "ready, but nothing more is known: it rejects the probe's query (403)"),
            (READY, ProbeResponse(400, b"The namespace parameter must be provided."), BUSY, "see --probe-params"),
            (ProbeResponse(404, b""), ProbeResponse(400, b""), NOT_READY, "no valid response to a query (400)"),
            (READY, ProbeResponse(401, b""), NOT_READY, "no valid response to a query (401)"),
            (READY, LIMITER, BUSY, "turns queries away (503: <html>"),
            (LIMITER, ONE, BUSY, "turns /-/ready away (503: <html>"),
            (LIMITER, LIMITER, NOT_READY, "not ready (503: <html>"),
            (ProbeResponse(429, b"slow down"), LIMITER, BUSY, "turns /-/ready away (429: slow down)"),
            (ABSENT, ABSENT, NOT_READY, "path prefix"),
            (
                READY,
                ProbeResponse(200, b"<html>hello</html>"),
                NOT_READY,
                "no valid response to a query (200: <html>hello</html>)",
            ),
            (READY, error(200, "internal", "x"), NOT_READY, "no valid response to a query (200: x)"),
        ]:
            with self.subTest(ready=ready, query=query):
                judged, said = judge(ready, query)
                self.assertEqual(judged, standing)
                self.assertIn(why, said)

    def test_rejected_query_leaves_a_ready_server_unproven(self) -> None:
        """Only a ready server that refuses the query itself is one of which nothing is known; a starved one is busy."""
        forbidden, starved = (
            ProbeResponse(403, b""),
            error(400, "bad_data", 'invalid parameter \\"query\\": context deadline exceeded'),
        )
        for ready, query, unproven in [
            (READY, forbidden, True),
            (READY, error(400, "prom-label-proxy", "The namespace query parameter must be provided."), True),
            (READY, starved, False),
            (READY, ONE, False),
            (READY, ProbeResponse(401, b""), False),
            (READY, ProbeResponse(429, b""), False),
            (READY, SLOW, False),
            (ABSENT, forbidden, False),
            (forbidden, forbidden, False),
            (SLOW, forbidden, False),
        ]:
            self.assertEqual(is_unproven(ready, query), unproven, (ready, query))

    def test_server_that_rejects_a_probe_is_reachable(self) -> None:
        """A server that refuses a probe is there; one that cannot be reached, or answers with a server error, is not."""
        forbidden, gateway = ProbeResponse(403, b"Forbidden"), ProbeResponse(502, b"Bad Gateway")
        unavailable, login = ProbeResponse(503, b"Service Unavailable"), ProbeResponse(302, b"", ((b"Location", b"/login"),))
        for ready, query, refusal in [
            (forbidden, forbidden, True),
            (forbidden, REFUSED, True),
            (ProbeResponse(401, b"Unauthorized"), ONE, True),
            (login, login, True),
            (ABSENT, ABSENT, True),
            (READY, forbidden, True),
            (READY, ProbeResponse(200, b"<html>log in</html>"), True),
            (READY, gateway, False),
            (READY, error(500, "internal", "oops"), False),
            (unavailable, ONE, False),
            (unavailable, forbidden, False),
            (gateway, forbidden, False),
            (REFUSED, forbidden, False),
            (SLOW, ONE, False),
        ]:
            self.assertEqual(is_refusal(ready, query), refusal, (ready, query))

    def test_a_limiter_that_lets_anything_pass_is_no_outage(self) -> None:
        """One request of a probe that was let through shows that the server is there."""
        self.assertEqual(judge(LIMITER, LIMITER, ProbeResponse(200, b"{}"))[0], BUSY)
        self.assertEqual(judge(LIMITER, LIMITER, LIMITER)[0], NOT_READY)

    def test_only_what_a_server_did_not_say_itself_is_in_doubt(self) -> None:
        """A probe that got nothing but foreign 503s may have been turned away; Prometheus' own word counts."""
        own = ProbeResponse(503, b"Service Unavailable")
        stopping = ProbeResponse(503, b"", ((b"X-Prometheus-Stopping", b"true"),))
        self.assertTrue(is_turned_away(LIMITER, LIMITER) and is_turned_away(LIMITER, REFUSED) and is_turned_away(ABSENT, LIMITER))
        for ready, query in (
            (own, LIMITER),
            (stopping, LIMITER),
            (REFUSED, LIMITER),
            (READY, own),
            (ProbeResponse(401), LIMITER),
        ):
            self.assertFalse(is_turned_away(ready, query), (ready, query))

    def test_quote_is_one_short_line(self) -> None:
        """What a server says is quoted in one line, shortened, without control characters."""
        found = quote(ProbeResponse(500, b"a\r\n\x1b[31mb\xff" + b"c" * 1000))
        self.assertEqual(found, "500: a ?[31mb\ufffd" + "c" * 188 + "...")


class FactsTests(SynchronousTestCase):
    """What recorded answers say."""

    def test_state_of_1x_has_ingestion_only(self) -> None:
        """1.x tells how much it ingested, and not how old its data is."""
        facts = read_facts(samples("prometheus-1.8.2-metrics.txt"), None, ServerState(), NOW)
        self.assertEqual(facts, ServerState(version="1.8.2", started_at=1510752200.0, samples=12345678.0, read_at=NOW))

    def test_state_of_2_5_has_oldest_and_newest_sample(self) -> None:
        """2.5 tells its oldest and newest sample in milliseconds."""
        facts = read_facts(samples("prometheus-2.5.0-metrics.txt"), None, ServerState(), NOW)
        self.assertEqual((facts.version, facts.oldest, facts.newest, facts.samples), ("2.5.0", 1541000000.0, 1542283275.0, None))

    def test_state_of_2_42_is_complete(self) -> None:
        """2.42 tells everything, with the start and the retention from runtimeinfo."""
        runtime = read_runtime(ProbeResponse(200, (RECORDED / "prometheus-2.42.0-runtimeinfo.json").read_bytes()))
        facts = read_facts(samples("prometheus-2.42.0-metrics.txt"), runtime, ServerState(), NOW)
        self.assertEqual(
            facts,
            ServerState(
                version="2.42.0+ds",
                started_at=1_700_000_000.530174,
                oldest=1698900000.0,
                newest=1700003605.0,
                retention_s=15 * 86400.0,
                read_at=NOW,
            ),
        )

    def test_state_of_a_replaying_server_is_unknown(self) -> None:
        """A server that replays its WAL holds nothing that is known of."""
        facts = read_facts(samples("prometheus-2.42.0-replaying-metrics.txt"), None, ServerState(), NOW)
        self.assertEqual((facts.oldest, facts.newest), (None, None))

    def test_far_future_oldest_sample_means_no_data(self) -> None:
        """A new server says that its oldest sample is of the far future, which means that it has none."""
        facts = read_facts(samples("prometheus-3.5.3-empty-metrics.txt"), None, ServerState(), NOW)
        self.assertEqual((facts.version, facts.oldest, facts.newest), ("3.5.3", None, None))

    def test_retention_is_kept(self) -> None:
        """When runtimeinfo cannot be read, what was known of retention stays."""
        old = ServerState(retention_s=86400.0, retention_by_size=True)
        facts = read_facts({}, None, old, NOW)
        self.assertEqual(facts, ServerState(retention_s=86400.0, retention_by_size=True, read_at=NOW))

    def test_start_and_retention_are_read_from_runtimeinfo(self) -> None:
        """Start and retention are read out of runtimeinfo, as far as they are there."""
        recorded = (RECORDED / "prometheus-3.5.3-runtimeinfo.json").read_bytes()
        for outcome, runtime in [
            (ProbeResponse(200, recorded), RuntimeInfo(1763840000.530174, 15 * 86400.0, True)),
            (ProbeResponse(200, b'{"status":"success","data":{"startTime":"yesterday"}}'), RuntimeInfo()),
            (ProbeResponse(200, b'{"status":"success","data":[]}'), None),
            (ProbeResponse(200, b"[" * 100_000), None),
            (ABSENT, None),
            (REFUSED, None),
        ]:
            self.assertEqual(read_runtime(outcome), runtime)

    def test_configuration_and_targets(self) -> None:
        """A server tells how many targets it has, when it loaded its configuration, and whether the last attempt worked."""
        facts = read_facts(samples("prometheus-3.5.3-metrics.txt"), None, ServerState(), NOW)
        self.assertEqual((facts.targets, facts.config_at, facts.reload_ok), (3, 1795383232.090165, True))

    def test_targets_of_old_servers(self) -> None:
        """Older servers tell what they discovered, for scraping and for notifying; only the first are targets."""
        found: Samples = {"prometheus_sd_discovered_targets": [('name="scrape"', 7.0), ('name="notify"', 1.0)]}
        self.assertEqual(read_facts(found, None, ServerState(), NOW).targets, 7)
        self.assertIsNone(
            read_facts({"prometheus_target_scrape_pool_targets": [("", float("nan"))]}, None, ServerState(), NOW).targets
        )

    def test_clock_is_read_from_the_response_or_its_date(self) -> None:
        """A server's clock is read from its answer or, before 3.0, from the answer's Date; with neither it is not known."""
        told = b'{"data":{"serverTime":"2023-11-14T22:13:50.5Z"}}'
        date = ((b"Date", b"Tue, 14 Nov 2023 22:13:50 GMT"),)
        for answer, skew in [
            (ProbeResponse(200, told, at=1_700_000_000.0), 30.5),
            (ProbeResponse(200, told, date, 1_700_000_030.0), 0.5),
            (ProbeResponse(200, b'{"data":{}}', date, 1_700_000_030.0), 0.5),
            (ProbeResponse(200, b'{"data":{}}', ((b"Date", b"today"),), 1_700_000_030.0), None),
            (ProbeResponse(200, b'{"data":{}}', at=1_700_000_030.0), None),
            (ProbeResponse(200, told), None),
        ]:
            runtime = read_runtime(answer)
            assert runtime is not None
            self.assertEqual(runtime.skew, skew)
            self.assertEqual(read_facts({}, runtime, ServerState(), NOW).skew, skew)

    def test_replay_progress_gives_the_remaining_time(self) -> None:
        """The share of the WAL that is replayed is told, and from its growth how long it still takes."""
        recorded = ProbeResponse(200, (RECORDED / "prometheus-3.5.3-walreplay.json").read_bytes())
        first = read_replay(recorded, None, 100.0)
        self.assertEqual(first, Replay(1, 4, 100.0, 1))
        later = read_replay(ProbeResponse(200, b'{"data":{"min":0,"max":4,"current":3}}'), first, 120.0)
        assert first is not None and later is not None
        self.assertEqual((later.share, later.left(120.0)), (0.75, 10.0))
        self.assertIsNone(first.left(110.0))
        self.assertEqual(read_replay(recorded, later, 130.0), Replay(1, 4, 130.0, 1))

    def test_no_replay(self) -> None:
        """Before the replay begins, and of servers that do not tell, nothing is said."""
        for outcome in (
            ProbeResponse(200, b'{"status":"success","data":{"min":0,"max":0,"current":0,"state":"waiting"}}'),
            ProbeResponse(200, b'{"data":{"min":"0","max":true,"current":null}}'),
            ProbeResponse(200, b'{"data":[]}'),
            ProbeResponse(200, b"no"),
            ABSENT,
            REFUSED,
        ):
            self.assertIsNone(read_replay(outcome, None, NOW))

    def test_query_slots(self) -> None:
        """How many queries a server runs at once is what its flags say, if that is a number that can be."""
        recorded = (RECORDED / "prometheus-2.42.0-flags.json").read_bytes()
        self.assertEqual(read_query_slots(ProbeResponse(200, recorded)), 20)
        for outcome in (
            ProbeResponse(200, recorded.replace(b'"20"', b'"0"')),
            ProbeResponse(200, recorded.replace(b'"20"', b'"-1"')),
            ProbeResponse(200, recorded.replace(b'"20"', b'"' + b"9" * 400 + b'"')),
            ProbeResponse(200, recorded.replace(b'"20"', b"[1]")),
            ProbeResponse(200, b'{"status":"success","data":{}}'),
            ProbeResponse(200, b'{"status":"success","data":[]}'),
            ProbeResponse(200, b"no JSON"),
            ProbeResponse(404, recorded),
            REFUSED,
        ):
            self.assertIsNone(read_query_slots(outcome))

    def test_retention_is_by_time_by_size_or_both(self) -> None:
        """Retention is by time, by size, or both, in any order."""
        for text, expected in [
            ("15d", (15 * 86400.0, False)),
            ("1y2w12h", (379.5 * 86400.0, False)),
            ("15d or 10GB", (15 * 86400.0, True)),
            ("10GiB or 15d", (15 * 86400.0, True)),
            ("512MB", (None, True)),
            ("0s", (None, False)),
            ("", (None, False)),
        ]:
            self.assertEqual(read_retention(text), expected)

    def test_has_samples(self) -> None:
        """An instant query found something if its result is not empty."""
        nothing = ProbeResponse(200, b'{"status":"success","data":{"resultType":"vector","result":[]}}')
        found = [has_samples(outcome) for outcome in (ONE, nothing, ABSENT, REFUSED, ProbeResponse(200, b"{}"))]
        self.assertEqual(found, [True, False, False, False, False])
