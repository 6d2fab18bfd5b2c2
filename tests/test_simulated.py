"""The simulated Prometheus: what it answers, version by version, and how it goes wrong."""

from __future__ import annotations

import gzip
import json
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.simulated import faults
from tests.simulated.control import Control
from tests.simulated.messages import Request
from tests.simulated.pages import PIECE
from tests.simulated.plan import IFault, Plan
from tests.simulated.prometheus import SimulatedPrometheus
from tests.simulated.queries import BadQuery, duration
from tests.simulated.server import SimulatedServer

NOW = 1_800_000_000.0
DAY = 24 * 3600.0


class Line:
    """A client's end, in memory."""

    def __init__(self, server: SimulatedServer) -> None:
        self.transport = StringTransport()
        protocol = server.buildProtocol(None)
        assert protocol is not None
        self.protocol = protocol
        self.protocol.makeConnection(self.transport)

    def ask(self, target: str, *, method: str = "GET", headers: str = "", body: str = "") -> bytes:
        """Send a request; give all that has come since the last one."""
        self.transport.clear()
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}{length}\r\n"
        self.protocol.dataReceived((head + body).encode())
        return self.transport.value()


class Simulated(SynchronousTestCase):
    """Base: one simulated Prometheus and a client."""

    def setUp(self) -> None:
        """Start one that looks like 2.42.0."""
        self.clock = Clock()
        self.make()

    def make(self, **state: Any) -> SimulatedPrometheus:
        """Start another one."""
        self.sim = SimulatedPrometheus(now=lambda: NOW + self.clock.seconds(), **state)
        self.server = SimulatedServer(self.sim, self.clock)
        self.line = Line(self.server)
        return self.sim

    def data(self, target: str) -> Any:
        """Ask the API; give ``data`` of its answer."""
        head, _, body = self.line.ask(target).partition(b"\r\n\r\n")
        self.assertIn(b" 200 OK", head)
        return json.loads(body)["data"]

    def status(self, target: str, **how: str) -> int:
        """Ask; give the status."""
        return int(self.line.ask(target, **how).split()[1])


class AnswerTests(Simulated):
    """What a healthy one says."""

    def test_up_and_its_count(self) -> None:
        """``up`` has one series for each target, ``count(up)`` counts them."""
        self.assertEqual(len(self.data("/api/v1/query?query=up")["result"]), 3)
        self.assertEqual(self.data("/api/v1/query?query=count(up)")["result"][0]["value"][1], "3")
        self.assertEqual(len(self.data('/api/v1/query?query=up{instance="prom-a:9090"}')["result"]), 1)

    def test_one_plus_one_is_two(self) -> None:
        """Grafana's health check ``1+1`` gives 2, at the time that was asked for."""
        self.assertEqual(self.data("/api/v1/query?query=1%2B1&time=4"), {"resultType": "scalar", "result": [4, "2"]})
        self.assertEqual(self.data("/api/v1/query?query=vector(1)&time=4")["result"], [{"metric": {}, "value": [4, "1"]}])

    def test_before_history_there_is_nothing(self) -> None:
        """A query for a time before the oldest sample gives an empty vector."""
        self.make(history=DAY)
        self.assertEqual(self.data(f"/api/v1/query?query=max(up)&time={NOW - 2 * DAY}")["result"], [])
        self.assertNotEqual(self.data(f"/api/v1/query?query=max(up)&time={NOW - DAY / 2}")["result"], [])

    def test_range_query_gives_a_point_per_step(self) -> None:
        """A range query gives a point for each step that is covered."""
        self.make(history=60.0)
        matrix = self.data(f"/api/v1/query_range?query=up&start={NOW - 120}&end={NOW}&step=10s")["result"]
        self.assertEqual([len(series["values"]) for series in matrix], [7, 7, 7])

    def test_bad_queries(self) -> None:
        """What Prometheus refuses is refused with the same status."""
        for target in (
            "query?query=sum(",
            "query",
            "query_range?query=up&start=9&end=8&step=1",
            "query_range?query=up&start=0&end=9&step=0",
        ):
            self.assertEqual(self.status("/api/v1/" + target), 400, target)
        self.assertEqual(self.status("/api/v1/query_range?query=up&start=0&end=11001&step=1"), 400)
        self.assertRaises(BadQuery, duration, "5 parsecs")

    def test_query_may_be_a_form(self) -> None:
        """A query may come as a form."""
        form = "Content-Type: application/x-www-form-urlencoded\r\n"
        answer = self.line.ask("/api/v1/query", method="POST", headers=form, body="query=1%2B1&time=4")
        self.assertTrue(answer.endswith(b'{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}'))

    def test_head_is_answered_for_readiness_only(self) -> None:
        """HEAD is answered on the readiness path and nowhere else; label values are GET only."""
        self.assertEqual(self.line.ask("/-/ready", method="HEAD").partition(b"\r\n\r\n")[2], b"")
        self.assertEqual(self.status("/api/v1/query?query=1", method="HEAD"), 405)
        self.assertEqual(self.status("/api/v1/label/job/values", method="POST"), 405)
        self.assertEqual(self.status("/nope"), 404)

    def test_gzip_is_sent_when_accepted(self) -> None:
        """A client that accepts gzip gets it, and the same bytes each time."""
        first = self.line.ask("/api/v1/labels", headers="Accept-Encoding: gzip\r\n")
        self.assertIn(b"Content-Encoding: gzip", first)
        self.assertIn(b"__name__", gzip.decompress(first.partition(b"\r\n\r\n")[2]))
        self.assertEqual(first, self.line.ask("/api/v1/labels", headers="Accept-Encoding: gzip\r\n"))

    def test_large_answers_are_chunked(self) -> None:
        """Like Go's server, it sends bodies above 2 KiB in chunks."""
        answer = self.line.ask(f"/api/v1/query_range?query=up&start={NOW - 1000}&end={NOW}&step=5")
        self.assertIn(b"Transfer-Encoding: chunked", answer)
        self.assertTrue(answer.endswith(b"\r\n0\r\n\r\n"))

    def test_not_ready(self) -> None:
        """While it replays its WAL, the API and ``/-/ready`` answer 503, metrics and health 200."""
        self.sim.ready = False
        self.assertEqual([self.status(path) for path in ("/-/ready", "/api/v1/query?query=1", "/federate")], [503] * 3)
        self.assertEqual([self.status(path) for path in ("/metrics", "/-/healthy", "/api/v1/status/walreplay")], [200] * 3)
        self.assertNotIn(b"lowest_timestamp_seconds", self.line.ask("/metrics"))

    def test_route_prefix_is_before_every_path(self) -> None:
        """With a route prefix, everything is below it."""
        self.make(prefix="/prometheus")
        self.assertEqual(self.status("/prometheus/-/ready"), 200)
        self.assertEqual(self.status("/-/ready"), 404)
        self.assertIn(b"Location: /prometheus\r\n", self.line.ask("/"))

    def test_what_came_in(self) -> None:
        """Requests are counted by path and kept as they arrived."""
        self.line.ask("/api/v1/query?query=up%5B5m%5D&x=a+b")
        self.assertEqual(self.sim.counts, {"/api/v1/query": 1})
        self.assertEqual(self.sim.requests[0].target, b"/api/v1/query?query=up%5B5m%5D&x=a+b")

    def test_pipelined_requests_are_answered_in_order(self) -> None:
        """Requests sent in one go are answered in order."""
        self.line.protocol.dataReceived(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\nGET /nope HTTP/1.1\r\nHost: x\r\n\r\n")
        self.clock.advance(0)
        answers = self.line.transport.value()
        self.assertLess(answers.index(b"200 OK"), answers.index(b"404 Not Found"))

    def test_connection_close(self) -> None:
        """``Connection: close`` and HTTP/1.0 are honored."""
        self.line.ask("/-/ready", headers="Connection: close\r\n")
        self.assertTrue(self.line.transport.disconnecting)
        old = Line(self.server)
        old.protocol.dataReceived(b"GET /-/ready HTTP/1.0\r\n\r\n")
        self.assertTrue(old.transport.disconnecting)

    def test_not_a_request(self) -> None:
        """What is not HTTP gets a 400 and a closed connection."""
        self.line.protocol.dataReceived(b"\x16\x03\x01nonsense\r\n\r\n")
        self.assertIn(b"400 Bad Request", self.line.transport.value())
        self.assertTrue(self.line.transport.disconnecting)

    def test_event_stream(self) -> None:
        """The event stream begins at once, goes on with each event and never ends."""
        self.make(version="3.5.0")
        self.assertIn(b"data: {", self.line.ask("/api/v1/notifications/live"))
        self.line.transport.clear()
        self.server.notify(b"hello")
        self.assertEqual(self.line.transport.value(), b"d\r\ndata: hello\n\n\r\n")
        self.assertFalse(self.line.transport.disconnecting)

    def test_big_answers_wait_for_the_reader(self) -> None:
        """``/big`` stops producing when the transport is full."""

        class Narrow(StringTransport):
            def write(self, data: bytes) -> None:
                super().write(data)
                if self.producer is not None:
                    self.producer.pauseProducing()

        self.line.protocol.transport = transport = Narrow()
        self.line.protocol.dataReceived(b"GET /big?bytes=100000 HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertLess(len(transport.value()), 40_000)
        while transport.producer is not None:
            transport.producer.resumeProducing()
        self.assertEqual(len(transport.value().partition(b"\r\n\r\n")[2]), 100_000)

    def test_big_answers_in_chunks(self) -> None:
        """``/big`` sends chunks when it is asked to."""
        answer = self.line.ask("/big?bytes=5000&chunked=1")
        self.assertIn(b"Transfer-Encoding: chunked", answer)
        self.assertTrue(answer.endswith(b"\r\n388\r\n" + PIECE[4096:5000] + b"\r\n0\r\n\r\n"))


class VersionTests(Simulated):
    """What differs between versions."""

    def test_metric_names(self) -> None:
        """Each version has its own names for what is stored."""
        table = [
            ("1.8.2", b"\nprometheus_local_storage_ingested_samples_total 1000000.0\n", b"tsdb"),
            ("2.4.0", b"\nprometheus_tsdb_head_samples_appended_total 1000000.0\n", b"lowest_timestamp"),
            ("2.42.0", b'\nprometheus_tsdb_head_samples_appended_total{type="float"} 1000000.0\n', b"retention_limit_seconds"),
            ("2.42.0", b"\nprometheus_tsdb_lowest_timestamp_seconds 1798704000.0\n", b"local_storage"),
            ("3.5.0", b"\nprometheus_tsdb_retention_limit_seconds 1296000.0\n", b"local_storage"),
        ]
        for version, present, absent in table:
            self.make(version=version)
            metrics = self.line.ask("/metrics")
            self.assertIn(present, metrics)
            self.assertNotIn(absent, metrics)

    def test_an_empty_server(self) -> None:
        """Without data the gauges show the largest number, and queries are empty."""
        self.make(history=None)
        self.assertIn(
            b"prometheus_tsdb_lowest_timestamp_seconds 9223372036854776.0\n", self.line.ask("/metrics").replace(b"e+15", b"e15")
        )
        self.assertEqual(self.data("/api/v1/query?query=up")["result"], [])
        self.assertEqual(self.data("/api/v1/labels"), [])

    def test_unknown_path_of_a_version_is_404(self) -> None:
        """A path that a version does not know yet is 404."""
        self.make(version="1.8.2")
        self.assertEqual([self.status(path) for path in ("/-/ready", "/api/v1/labels", "/api/v1/status/buildinfo")], [404] * 3)
        self.make(version="2.42.0")
        self.assertEqual(self.status("/api/v1/notifications/live"), 404)

    def test_stopping_server_of_3_0_says_so(self) -> None:
        """From 3.0 on, a server that is not ready says whether it stops."""
        self.make(version="3.5.0", ready=False, stopping=True)
        self.assertIn(b"X-Prometheus-Stopping: true", self.line.ask("/-/ready"))

    def test_starved_queries(self) -> None:
        """When all slots are taken, a query fails after its timeout in the version's own way; ``/-/ready`` is untouched."""
        for version, status, word in (("2.42.0", b"503", b"query queue"), ("3.5.0", b"400", b"context deadline exceeded")):
            self.make(version=version, busy=True)
            self.assertEqual(self.line.ask("/api/v1/query?query=up&timeout=500ms"), b"")
            self.clock.advance(0.5)
            self.assertIn(status, self.line.transport.value()[:20])
            self.assertIn(word, self.line.transport.value())
            self.assertEqual(self.status("/-/ready"), 200)

    def test_all_pages_answer(self) -> None:
        """Every page gives something."""
        self.make(version="3.5.0")
        for path in ("/", "/graph", "/-/healthy", "/api/v1/status/runtimeinfo", "/api/v1/status/flags", "/echo"):
            self.assertIn(self.status(path), (200, 302), path)
        self.assertEqual(self.status("/api/v1/series?match[]=up"), 200)
        self.assertEqual(self.status("/api/v1/series"), 400)
        self.assertEqual(self.status("/api/v1/read", method="POST", body="x"), 400)
        self.assertEqual(self.status("/-/reload", method="POST"), 403)


class FaultTests(Simulated):
    """How it goes wrong, seen by a client that asks ``1+1``."""

    ASK = "/api/v1/query?query=1%2B1&time=4"

    def spoiled(self, fault: IFault, advance: float = 0.0) -> bytes:
        """Give what arrives under a fault after some seconds."""
        self.sim.spoil(fault)
        self.line = Line(self.server)
        self.line.ask(self.ASK)
        for _ in range(round(advance / 0.05)):
            self.clock.advance(0.05)
        return self.line.transport.value()

    def healthy(self) -> bytes:
        """Give the right answer."""
        self.sim.mend()
        return Line(self.server).ask(self.ASK)

    def test_silence_keeps_the_connection(self) -> None:
        """``Silence`` and ``Vanish`` say nothing and stay connected."""
        for fault in (faults.Silence(), faults.Vanish()):
            self.assertEqual(self.spoiled(fault, 60), b"")
            self.assertFalse(self.line.transport.disconnecting)

    def test_late_delays_the_right_answer(self) -> None:
        """``Late`` gives the right answer, after its seconds."""
        self.assertEqual(self.spoiled(faults.Late(2.0), 1.9), b"")
        self.clock.advance(0.1)
        self.assertTrue(self.line.transport.value().endswith(b'"result":[4,"2"]}}'))

    def test_status_answers_everything_with_one_error(self) -> None:
        """``Status`` answers everything with one error."""
        self.assertTrue(
            self.spoiled(faults.Status(500, b"{}")).startswith(b"HTTP/1.1 500 Spoiled\r\nContent-Type: application/json")
        )

    def test_half_sends_half_of_the_body(self) -> None:
        """The three halves send head and half of the body, then FIN, RST or nothing."""
        body = self.healthy().partition(b"\r\n\r\n")[2]
        for fault, ended in ((faults.HalfThenClose(), True), (faults.HalfThenReset(), True), (faults.HalfThenSilence(), False)):
            arrived = self.spoiled(fault, 0.1)
            self.assertEqual(arrived.partition(b"\r\n\r\n")[2], body[: len(body) // 2])
            self.assertEqual(self.line.transport.disconnecting, ended)

    def test_without_an_answer(self) -> None:
        """``Close``, ``Die`` and ``Refuse`` end the connection without a word."""
        for fault in (faults.Close(), faults.Die(), faults.Refuse()):
            self.assertEqual(self.spoiled(fault, 0.1), b"")
            self.assertTrue(self.line.transport.disconnecting)

    def test_garbage_is_not_http(self) -> None:
        """``Garbage`` is not HTTP."""
        self.assertFalse(self.spoiled(faults.Garbage()).startswith(b"HTTP"))

    def test_drip_sends_a_byte_each_50_ms(self) -> None:
        """``Drip`` sends one byte every 50 ms."""
        self.assertEqual(len(self.spoiled(faults.Drip(), 1.0)), 21)

    def test_drip_ends(self) -> None:
        """``Drip`` gives the whole right answer in the end."""
        whole = self.spoiled(faults.Drip(), 20.0)
        self.assertTrue(whole.endswith(b'"result":[4,"2"]}}'))

    def test_wrong_length(self) -> None:
        """``WrongLength`` announces another length than it sends."""
        arrived = self.spoiled(faults.WrongLength(10))
        self.assertIn(b"Content-Length: %d\r\n" % (len(arrived.partition(b"\r\n\r\n")[2]) + 10), arrived)

    def test_interim_responses_precede_the_right_one(self) -> None:
        """``Interim`` puts informational answers before the right one."""
        arrived = self.spoiled(faults.Interim())
        self.assertTrue(arrived.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"))
        self.assertTrue(arrived.endswith(b'"result":[4,"2"]}}'))

    def test_share_of_requests(self) -> None:
        """A share strikes evenly: three tenths of ten requests are three."""
        self.sim.spoil(faults.Status(500), share=0.3)
        self.assertEqual([self.status(self.ASK) for _ in range(10)].count(500), 3)

    def test_share_of_connections(self) -> None:
        """A fault that strikes connections strikes all requests of one or none."""
        self.sim.spoil(faults.Die(), share=0.5)
        lines = [Line(self.server) for _ in range(4)]
        answers = [[bool(line.ask(self.ASK)) for _ in range(2)] for line in lines]
        self.assertEqual(answers, [[True, True], [False, False]] * 2)

    def test_probes_may_be_spared(self) -> None:
        """With ``spare_probes``, health checks see a healthy server."""
        self.sim.spoil(faults.Status(500), spare_probes=True)
        self.assertEqual([self.status(path) for path in ("/-/ready", "/metrics", "/api/v1/query?query=vector(1)")], [200] * 3)
        self.assertEqual(self.status(self.ASK), 500)

    def test_mend_ends_a_fault(self) -> None:
        """``mend`` ends it, and whoever holds the socket is told of both."""
        told = []
        self.sim.plan_changed.append(lambda: told.append(self.sim.plan is not None))
        self.sim.spoil(faults.Refuse())
        self.sim.mend()
        self.assertEqual(told, [True, False])
        self.assertIn(b"200 OK", self.healthy())

    def test_big_answers_break_too(self) -> None:
        """A fault strikes streamed answers: half of what was announced comes."""
        self.sim.spoil(faults.HalfThenClose())
        head, _, body = self.line.ask("/big?bytes=100000").partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: 100000", head)
        self.assertEqual(len(body), 50_000)

    def test_gone_client(self) -> None:
        """When the client is gone, nothing is left to be called."""
        self.spoiled(faults.Late(2.0))
        self.line.protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertNotIn(self.line.protocol, self.server.connections)


class ControlTests(Simulated):
    """Changing a simulation from another process."""

    def setUp(self) -> None:
        """Put a control in front of a simulated Prometheus."""
        super().setUp()
        self.control = Control(self.sim, self.server)

    def ask(self, method: str, target: str, body: bytes = b"") -> tuple[int, Any]:
        """Ask the control; give status and state."""
        answer = self.control.answer(Request(method, target.encode(), (), body))
        return answer.status, json.loads(answer.body) if answer.status == 200 else answer.body

    def test_state_can_be_set_and_read(self) -> None:
        """State can be set and is told."""
        status, state = self.ask("POST", "/state", b'{"ready": false}')
        self.assertEqual((status, state["ready"], self.sim.ready), (200, False, False))

    def test_fault_can_be_set_and_removed(self) -> None:
        """A fault can be set and taken away."""
        self.ask("POST", "/fault", b'{"name": "late", "share": 0.5, "arguments": {"seconds": 3}}')
        assert isinstance(self.sim.plan, Plan)
        self.assertEqual(self.sim.plan.fault, faults.Late(3))
        self.assertEqual(self.ask("DELETE", "/fault")[1]["fault"], None)

    def test_counts_can_be_read_and_reset(self) -> None:
        """Counts are told, and forgotten on demand."""
        self.line.ask("/-/ready")
        self.assertEqual(self.ask("GET", "/")[1]["counts"], {"/-/ready": 1})
        self.assertEqual(self.ask("POST", "/forget")[1]["counts"], {})

    def test_nonsense_is_400_with_the_reason(self) -> None:
        """What makes no sense is a 400 that says what is wrong."""
        for method, target, body in (
            ("GET", "/x", b""),
            ("POST", "/state", b'{"nope": 1}'),
            ("POST", "/fault", b'{"name": "flood"}'),
        ):
            self.assertEqual(self.ask(method, target, body)[0], 400)
