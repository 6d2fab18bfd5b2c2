"""What goes through mpp arrives as it was sent, in both directions. Real Prometheus servers where there are any."""

from __future__ import annotations

import json
import socket
import subprocess
from typing import Any

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.clients import FORM, raw
from tests.integration.fixtures import HISTORY, THEN, shared_mpp, shared_mpp_over_simulated, shared_pair, shared_simulated
from tests.integration.processes import Mpp, fetch
from tests.integration.servers import Prometheus, binaries, promtool_of, require_binary, version_of

SPAN = f"start={THEN - 1800}&end={THEN}"
COMPARED = ("content-type", "content-encoding", "vary", "location", "allow", "cache-control", "x-content-type-options")
"""Header fields that have to be the backend's own. Date and framing may differ."""


@frozen
class Call:
    """A request whose answer does not depend on when it is asked."""

    target: str
    method: str = "GET"
    form: str = ""


CALLS = (
    Call(f"/api/v1/query?query=seeded&time={THEN}"),
    Call(f"/api/v1/query?query=count(seeded)&time={THEN}.25"),
    Call(f"/api/v1/query?query=count+(seeded)&time={THEN}"),
    Call(f"/api/v1/query?query=1%2B1&time={THEN}"),
    Call(f"/api/v1/query?query=seeded[5m]&time={THEN}"),
    Call(f"/api/v1/query?query=seeded%5B5m%5D&time={THEN}"),
    Call(f"/api/v1/query?query=sum(rate(seeded[10m]))%20by%20(job)&time={THEN}"),
    Call(f'/api/v1/query?query=seeded{{instance=~"seed-.*",job!=""}}&time={THEN}'),
    Call(f"/api/v1/query?query=vector(1)&time={THEN}&timeout=10s"),
    Call(f"/api/v1/query?query=%22caf%C3%A9%22&time={THEN}"),
    Call(f"/api/v1/query?time={THEN}&query=seeded&query=ignored&&x=;y"),
    Call("/api/v1/query?query=sum("),
    Call("/api/v1/query"),
    Call("/api/v1/query?query=seeded&time=yesterday"),
    Call(f"/api/v1/query?query=seeded+%2B+on(job)+seeded&time={THEN}"),
    Call(f"/api/v1/query_range?query=seeded&{SPAN}&step=15"),
    Call(f"/api/v1/query_range?query=seeded&start={THEN - 7200}&end={THEN}&step=1s"),
    Call(f"/api/v1/query_range?query=avg_over_time(seeded[30m])&{SPAN}&step=1m"),
    Call(f"/api/v1/query_range?query=seeded&start={THEN}&end={THEN - 1}&step=15"),
    Call(f"/api/v1/query_range?query=seeded&{SPAN}&step=0"),
    Call(f"/api/v1/query_range?query=seeded&start=0&end={THEN}&step=1"),
    Call(f"/api/v1/labels?{SPAN}"),
    Call(f"/api/v1/labels?{SPAN}&match[]=seeded&match[]=up"),
    Call(f"/api/v1/label/instance/values?{SPAN}"),
    Call(f"/api/v1/label/job/values?{SPAN}&match%5B%5D=seeded"),
    Call(f"/api/v1/label/no-label/values?{SPAN}"),
    Call(f"/api/v1/series?match[]=seeded&{SPAN}"),
    Call("/api/v1/series"),
    Call(f'/api/v1/series?match[]=seeded{{instance="seed-a:9090"}}&match[]=up&{SPAN}'),
    Call("/api/v1/metadata?metric=no_such_metric"),
    Call(f"/api/v1/query_exemplars?query=seeded&{SPAN}"),
    Call("/api/v1/rules"),
    Call("/api/v1/alerts"),
    Call("/api/v1/alertmanagers"),
    Call("/api/v1/format_query?query=sum(up)by(job)"),
    Call("/api/v1/status/buildinfo"),
    Call("/api/v1/status/flags"),
    Call("/api/v1/status/config"),
    Call("/api/v1/read"),
    Call("/api/v1/no/such/path"),
    Call("/no-such-page"),
    Call("/"),
    Call("/graph?g0.expr=up&g0.tab=1"),
    Call("/-/healthy"),
    Call("/-/ready"),
    Call("/federate?match[]=no_such_metric"),
    Call("/-/ready", "HEAD"),
    Call("/api/v1/query?query=1", "HEAD"),
    Call("/api/v1/query?query=1", "OPTIONS"),
    Call("/api/v1/query?query=1", "PUT"),
    Call("/api/v1/query?query=1", "DELETE"),
    Call("/api/v1/label/job/values", "POST", "x=y"),
    Call("/api/v1/query", "POST", f"query=seeded&time={THEN}"),
    Call(f"/api/v1/query?time={THEN}", "POST", "query=seeded%5B5m%5D"),
    Call("/api/v1/query_range", "POST", f"query=seeded&{SPAN}&step=15"),
    Call("/api/v1/labels", "POST", f"{SPAN}&match[]=seeded"),
    Call("/api/v1/series", "POST", f"match[]=seeded&{SPAN}"),
    Call("/api/v1/format_query", "POST", "query=sum(up)by(job)"),
    Call("/api/v1/query_exemplars", "POST", f"query=seeded&{SPAN}"),
    Call("/api/v1/query", "POST", "query=sum("),
    Call("/api/v1/read", "POST", "this is no snappy"),
)


def snappy(data: bytes) -> bytes:
    """Return data in snappy's block format, as one literal."""
    assert len(data) < 61
    return bytes([len(data), (len(data) - 1) << 2]) + data


def remote_read_request(metric: str, start: int, end: int) -> bytes:
    """Return a ``prometheus.ReadRequest`` for one metric."""

    def varint(number: int) -> bytes:
        low, rest = number & 0x7F, number >> 7
        return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])

    def field(number: int, data: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(data)) + data

    matcher = field(2, b"__name__") + field(3, metric.encode())
    query = varint(1 << 3) + varint(start * 1000) + varint(2 << 3) + varint(end * 1000) + field(3, matcher)
    return snappy(field(1, query))


class _Through(SynchronousTestCase):
    """Base: the shared pair of the oldest or the newest version, and mpp in front of it."""

    binary: str = ""

    def setUp(self) -> None:
        """Start what does not run yet."""
        if not self.binary:
            require_binary()
        self.pair = shared_pair(self.binary)
        self.mpp = shared_mpp(self.binary)

    def own(self, headers: dict[str, str]) -> Prometheus:
        """Return the server that gave an answer."""
        return next(server for server in self.pair if server.address == headers["mpp.servedby"])

    def compare(self, call: Call, headers: dict[str, str]) -> None:
        """Ask through mpp and directly; the two answers have to be the same."""
        body = call.form.encode() if call.method == "POST" else None
        sent = {**headers, **(FORM if call.method == "POST" else {})}
        status, got, data = fetch(self.mpp.port, call.target, method=call.method, headers=sent, body=body)
        own_status, own, own_data = fetch(self.own(got).port, call.target, method=call.method, headers=sent, body=body)
        self.assertEqual(status, own_status, call)
        self.assertEqual(data, own_data, call)
        self.assertEqual([got.get(name) for name in COMPARED], [own.get(name) for name in COMPARED], call)


class OldTests(_Through):
    """Fidelity with the oldest real server there is."""

    binary = (binaries() or ("",))[0]

    def test_responses_are_those_of_the_backend(self) -> None:
        """Status, body and headers are the backend's own for every call."""
        for call in CALLS:
            self.compare(call, {})

    def test_compressed_bodies_are_unchanged(self) -> None:
        """Compressed bodies go through unchanged."""
        for call in CALLS:
            self.compare(call, {"Accept-Encoding": "gzip"})

    def test_promtool_gets_the_same_through_mpp(self) -> None:
        """promtool gives through mpp what it gives directly."""
        span = ["--start", str(THEN - 1800), "--end", str(THEN)]
        for arguments in (
            ["instant", "--time", str(THEN), "{}", "sum by (job) (rate(seeded[10m]))"],
            ["range", *span, "--step", "15s", "{}", "seeded"],
            ["series", *span, "--match", "seeded", "{}"],
            ["labels", *span, "{}", "instance"],
            ["instant", "{}", "no such query"],
        ):
            through, direct = (self.promtool(arguments, port) for port in (self.mpp.port, self.pair[0].port))
            self.assertEqual(through, direct)
            self.assertTrue(through[1] or through[2], arguments)

    def promtool(self, arguments: list[str], port: int) -> tuple[int, str, str]:
        """Run promtool query; give exit status, output and errors."""
        filled = [argument.format(f"http://127.0.0.1:{port}") if argument == "{}" else argument for argument in arguments]
        command = [promtool_of(self.binary), "query", *filled]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd="/", check=False)
        return done.returncode, done.stdout, done.stderr.replace(str(port), "PORT")

    def test_remote_read(self) -> None:
        """A remote read gets the server's own samples, byte for byte."""
        body = remote_read_request("seeded", THEN - 300, THEN)
        sent = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Read-Version": "0.1.0",
        }
        status, got, data = fetch(self.mpp.port, "/api/v1/read", method="POST", headers=sent, body=body)
        own = fetch(self.own(got).port, "/api/v1/read", method="POST", headers=sent, body=body)
        self.assertEqual((status, data), (200, own[2]))
        self.assertIn(b"seed-a:9090", data)

    def test_federation_has_the_external_label(self) -> None:
        """Federation gives samples with the external label of the server that answered."""

        def federated() -> tuple[bytes, str]:
            _, got, data = fetch(self.mpp.port, '/federate?match[]={__name__="prometheus_build_info"}')
            return data, self.own(got).name

        for server in self.pair:
            server.wait_scraped(1)
        data, name = federated()
        self.assertIn(f'prometheus_replica="{name}"'.encode(), data)

    def test_http_10(self) -> None:
        """A client of HTTP/1.0 gets a large answer whole, and the connection is closed after it."""
        target = f"/api/v1/query_range?query=seeded&start={THEN - 7200}&end={THEN}&step=1s"
        answer = raw(self.mpp.port, f"GET {target} HTTP/1.0\r\n\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertNotIn(b"transfer-encoding", head.lower())
        self.assertEqual(body, fetch(self.pair[0].port, target)[2])

    def test_pipelined_requests_are_answered_in_order(self) -> None:
        """Requests sent in one go are answered in order."""
        one = b"GET /api/v1/query?query=%d&time=1 HTTP/1.1\r\nHost: x\r\n%b\r\n"
        answer = raw(self.mpp.port, one % (11, b"") + one % (22, b"") + one % (33, b"Connection: close\r\n"))
        places = [answer.find(b'"result":[1,"%d"]' % number) for number in (11, 22, 33)]
        self.assertEqual(places, sorted(places))
        self.assertNotIn(-1, places)


class NewTests(OldTests):
    """Fidelity with the newest real server there is."""

    binary = (binaries() or ("",))[-1]

    def test_event_stream(self) -> None:
        """The event stream of 3.x begins at once and stays open."""
        if version_of(self.binary) < (3,):
            self.skipTest("no prometheus 3.x binary: run script/fetch-prometheus or set MPP_TEST_PROMETHEUS")
        request = b"GET /api/v1/notifications/live HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = raw(self.mpp.port, request, timeout=1.0, until=b"\r\n\r\n")
        self.assertIn(b"text/event-stream", answer)


if len(binaries()) == 1:
    NewTests.skip = "only one prometheus binary: its tests are OldTests"  # type: ignore[attr-defined]


class RoutePrefixTests(SynchronousTestCase):
    """A backend below a path."""

    def test_prefix_is_put_in_front_once(self) -> None:
        """Paths get the prefix unless they have it; redirects of the server lead back to it through mpp."""
        server = Prometheus(require_binary(), route_prefix="/prometheus", history=HISTORY).start_for(self)
        mpp = Mpp([server.url]).start_for(self)
        for target in (f"/api/v1/query?query=seeded&time={THEN}", f"/prometheus/api/v1/query?query=seeded&time={THEN}"):
            status, _, data = fetch(mpp.port, target)
            self.assertEqual((status, len(json.loads(data)["data"]["result"])), (200, 2), target)
        for target in ("/", "/graph", "/prometheus/graph"):
            status, headers, _ = fetch(mpp.port, target)
            self.assertEqual(status // 100, 3, target)
            location = headers["location"]
            self.assertTrue(location.startswith("/prometheus/"), location)
            self.assertEqual(fetch(mpp.port, location)[0], fetch(server.port, location)[0], location)
        self.assertEqual(fetch(mpp.port, "/mpp/health")[2].strip(), b"OK")

    def test_servers_with_different_prefixes(self) -> None:
        """Redirects and pages of each server lead to the same pages of the other one; none of them is unsafe behind a prefix."""
        servers = [Prometheus(require_binary(), route_prefix=prefix) for prefix in ("/one", "/gate/two", "")]
        for server in servers:
            server.start_for(self, wait=False)
        for server in servers:
            server.wait_ready()
        mpp = Mpp([server.url for server in servers], "--routing-strategy", "random", "--affinity-options", "none").start_for(
            self
        )
        for server in servers:
            mpp.wait_selected(server.address + server.prefix)
        served = set()
        for prefix in ("", "/one", "/gate/two"):
            for _ in range(40):
                status, headers, data = fetch(mpp.port, f"{prefix}/api/v1/labels?limit=1")
                served.add((prefix, headers["mpp.servedby"]))
                self.assertEqual((status, json.loads(data)["status"]), (200, "success"), (prefix, headers))
                status, headers, _ = fetch(mpp.port, prefix + "/")
                self.assertEqual(status // 100, 3, (prefix, headers))
                # Not the page itself: some are built without the user interface.
                beside = headers["location"].rpartition("/")[0] + "/version"
                self.assertEqual(fetch(mpp.port, beside)[0], 200, beside)
            self.assertEqual(fetch(mpp.port, f"{prefix}/-/quit", method="POST", body=b"")[0], 403)
        self.assertEqual(len(served), 9)


class HeaderTests(SynchronousTestCase):
    """What a backend sees, by a simulated server that tells."""

    def setUp(self) -> None:
        """Use the shared ones."""
        self.simulated, self.mpp = shared_simulated(), shared_mpp_over_simulated()

    def echo(self, request: bytes) -> dict[str, Any]:
        """Send raw bytes to ``/echo``; give what arrived."""
        answer = raw(self.mpp.port, request, until=b'"}')
        return dict(json.loads(answer[answer.index(b"{") :].split(b"\r\n")[0]))

    def test_raw_query(self) -> None:
        """The query string arrives as it was sent, byte for byte."""
        target = '/echo?a=%2B+[5m]&b=%5b5M%5d&b=&;=%20&match[]={__name__=~"x.*"}&&c=%c3%a9\'()*!~'
        self.assertEqual(self.echo(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())["target"], target)

    def test_hop_by_hop_fields(self) -> None:
        """Hop-by-hop fields, and those that Connection names, stay here; the others arrive, repeated ones too."""
        sent = b"Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
        sent += b"X-Twice: 1\r\nX-Twice: 2\r\nX-Yours: 3\r\n"
        arrived = self.echo(b"GET /echo HTTP/1.1\r\nHost: x\r\n" + sent + b"\r\n")["headers"]
        names = [name.lower() for name, _ in arrived]
        for name in ("x-mine", "keep-alive", "te"):
            self.assertNotIn(name, names)
        self.assertEqual([value for name, value in arrived if name.lower() == "x-twice"], ["1", "2"])
        self.assertIn(["X-Yours", "3"], arrived)

    def test_forwarded_fields(self) -> None:
        """The backend's own Host, and who asked, are told."""
        request = b"GET /echo HTTP/1.1\r\nHost: prometheus.example\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
        arrived = {name.lower(): value for name, value in self.echo(request)["headers"]}
        self.assertEqual(arrived["host"], self.simulated.address)
        self.assertEqual(arrived["x-forwarded-for"], "192.0.2.1, 127.0.0.1")
        self.assertEqual(arrived["x-forwarded-proto"], "http")
        self.assertEqual(arrived["x-forwarded-host"], "prometheus.example")

    def test_chunked_upload(self) -> None:
        """A body in chunks arrives whole."""
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        arrived = self.echo(head + b"6\r\nquery=\r\n2;x=y\r\nup\r\n0\r\n\r\n")
        self.assertEqual((arrived["method"], arrived["body"]), ("POST", "query=up"))

    def test_expect_continue(self) -> None:
        """A client that waits for 100 gets it from mpp; the backend is not bothered."""
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        self.assertTrue(raw(self.mpp.port, head, until=b"\r\n\r\n", timeout=2).startswith(b"HTTP/1.1 100 "))
        arrived = self.echo(head + b"up")
        self.assertNotIn("expect", [name.lower() for name, _ in arrived["headers"]])

    def test_long_target(self) -> None:
        """A head of nearly 1 MiB is accepted."""
        target = "/echo?query=" + "x" * 900_000
        self.assertEqual(fetch(self.mpp.port, target)[0], 200)

    def test_served_by(self) -> None:
        """Every forwarded answer says who gave it."""
        self.assertEqual(fetch(self.mpp.port, "/api/v1/labels")[1]["mpp.servedby"], self.simulated.address)

    def test_events_arrive_at_once(self) -> None:
        """An event goes through when it happens, not when the next one pushes it."""
        with socket.create_connection(("127.0.0.1", self.mpp.port), timeout=3) as stream:
            stream.sendall(b"GET /api/v1/notifications/live HTTP/1.1\r\nHost: x\r\n\r\n")
            received = b""
            while b"is here" not in received:
                received += stream.recv(65536)
            self.simulated.notify("one small event")
            while b"one small event" not in received:
                received += stream.recv(65536)


class RefusedTests(SynchronousTestCase):
    """What mpp does not let through."""

    UNSAFE = (
        ("POST", "/-/reload"),
        ("PUT", "/-/quit"),
        ("POST", "/-/%71uit"),
        ("POST", "/%2d/quit"),
        ("POST", "/api/v1/admin/tsdb/delete_series?match[]=up"),
        ("PUT", "/api/v1/admin/tsdb/snapshot"),
        ("POST", "/api/v1/admin/tsdb/clean_tombstones"),
        ("POST", "/api/v1/write"),
        ("POST", "/api/v1/otlp/v1/metrics"),
        ("GET", "/debug/pprof/heap"),
        ("GET", "/debug/pprof"),
        ("POST", "/api/v1/../v1/admin/tsdb/snapshot"),
        ("POST", "//-/reload"),
    )

    def setUp(self) -> None:
        """Use the shared ones."""
        self.simulated, self.mpp = shared_simulated(), shared_mpp_over_simulated()

    def test_unsafe_paths(self) -> None:
        """What would make one server of a pair diverge is a 403 that says how to allow it, and does not reach it."""
        before = {path: count for path, count in self.simulated.state()["counts"].items() if "/-/ready" not in path}
        for method, target in self.UNSAFE:
            status, _, data = fetch(self.mpp.port, target, method=method, body=b"x" if method != "GET" else None)
            self.assertEqual(status, 403, target)
            self.assertEqual(json.loads(data)["status"], "error", target)
            self.assertIn(b"--allow-unsafe-paths", data)
        after = self.simulated.state()["counts"]
        for path in after:
            if "admin" in path or "pprof" in path or "reload" in path or "quit" in path or "write" in path or "otlp" in path:
                self.assertEqual(after[path], before.get(path, 0), path)

    def test_allowed_when_asked_for(self) -> None:
        """With ``--allow-unsafe-paths`` they go through."""
        mpp = Mpp([self.simulated.url], "--allow-unsafe-paths").start_for(self)
        status, _, data = fetch(mpp.port, "/-/reload", method="POST")
        self.assertEqual((status, data), (403, b"Lifecycle API is not enabled."))

    def test_large_bodies(self) -> None:
        """A body above the limit is a 413, announced or in chunks, and does not reach the backend."""
        before = self.simulated.count("/api/v1/query")
        head = b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n"
        self.assertTrue(raw(self.mpp.port, head + b"x" * 1000, until=b"\r\n\r\n").startswith(b"HTTP/1.1 413 "))
        head = b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        try:
            answer = raw(self.mpp.port, head + chunks * 17, until=b"\r\n\r\n")
        except ConnectionError:
            answer = b""
        self.assertIn(answer[:13], (b"HTTP/1.1 413 ", b""))
        self.assertLessEqual(self.simulated.count("/api/v1/query") - before, 20)

    def test_odd_targets(self) -> None:
        """A target that is neither a path nor an http URL is a 400."""
        for target in ("ftp://127.0.0.1/api/v1/query?query=1", "*", "x"):
            answer = raw(self.mpp.port, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), until=b"\r\n\r\n")
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), (target, answer[:100]))
