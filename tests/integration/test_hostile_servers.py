"""
What a server may send to mpp, or a source may say of one: none of it stops mpp, gets credentials that are not meant for it, or
fills the log.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from http.client import IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.patience import within
from tests.integration.processes import Mpp, fetch, wait_until
from tests.integration.workers import one_process

SUCCESS = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1.7e9,"1"]}]}}'


class Hostile:
    """
    A server that claims to be a Prometheus.

    :ivar pages: what it answers, by path; an API answer for every other path.
    :ivar broken: the path of which it announces more than it sends.
    :ivar authorizations: of the requests that it got.
    """

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.broken = "/api/v1/broken"
        self.authorizations: list[str | None] = []
        hostile = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                hostile.authorizations.append(self.headers["Authorization"])
                name = next((each for each in hostile.pages if path.endswith(each)), "")
                body = hostile.pages.get(name, SUCCESS)
                broken = path.endswith(hostile.broken)
                self.send_response(200)
                self.send_header("Content-Length", str(len(body) + 100 * broken))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = broken

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # What mpp breaks off is no error here.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


class HostileServersTests(SynchronousTestCase):
    """mpp in front of one hostile server."""

    def setUp(self) -> None:
        """Start the server; mpp is started by each test."""
        self.server = Hostile()
        self.addCleanup(self.server.close)
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def start(self, *options: str) -> Mpp:
        """Start mpp."""
        return Mpp([self.server.address], *options).start_for(self)

    def test_lines_of_metrics(self) -> None:
        """Whatever a line of metrics repeats, mpp answers its clients all the while."""
        lines = [b"{%b} 1" % (piece * (65_000 // len(piece))) for piece in (b"a", b'a="', b'"', b"\\", b"a=", b" ", b'a="b",')]
        lines += [b" " * 65_000 + b"\x0b1", b" " + b"9" * 65_000, b"{" + b"a" * 65_000]
        self.server.pages["/metrics"] = b"".join(b"prometheus_build_info%b\n" % line for line in lines)
        mpp = self.start()
        slowest, end = 0.0, time.monotonic() + 4.0
        while time.monotonic() < end:
            began = time.monotonic()
            self.assertEqual(fetch(mpp.port, "/mpp/health", timeout=40)[0], 200)
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.05)
        self.assertLess(slowest, within(2.0))

    def test_strange_numbers_break_no_page_and_no_round(self) -> None:
        """Whatever numbers a server reports, the status page and its JSON are there, and no round fails."""
        digits = ("9" * 306, "9" * 400, "9" * 4400)
        for number in (*digits, "1e999", "-5", "NaN"):
            metrics = "".join(
                f"{name} {number}\n"
                for name in (
                    *("process_start_time_seconds", "prometheus_tsdb_lowest_timestamp", "prometheus_tsdb_head_max_time_seconds"),
                    *("prometheus_local_storage_ingested_samples_total", "prometheus_target_scrape_pool_targets"),
                    "prometheus_config_last_reload_success_timestamp_seconds",
                )
            )
            data = {"storageRetention": f"{number}d", "startTime": "9999-12-31T23:59:59Z", "serverTime": "0001-01-01T00:00:00Z"}
            self.server.pages["/metrics"] = metrics.encode()
            self.server.pages["/api/v1/status/runtimeinfo"] = json.dumps({"status": "success", "data": data}).encode()
            mpp = self.start()
            mpp.wait_selected(self.server.address)
            for _ in range(3):
                for target in ("/mpp/status", "/mpp/status?format=json", "/mpp/metrics"):
                    self.assertEqual(fetch(mpp.port, target)[0], 200, (number[:20], target, mpp.log()[-2000:]))
                time.sleep(0.3)
            for word in ("Traceback", "bug:", "failed"):
                self.assertNotIn(word, mpp.log(), number[:20])
            mpp.close()

    def test_path_that_looks_like_a_host_gets_no_credentials(self) -> None:
        """A server whose path looks like the host of a rule gets nothing that is meant for that host."""
        token, targets, config = (self.folder / name for name in ("token", "targets.json", "mpp.yaml"))
        token.write_text("s3cr3t")
        prefixes = ("/.trusted.test:9090", "/x-b.example.org:443")
        groups = [{"targets": [self.server.address], "labels": {"__path_prefix__": prefix}} for prefix in prefixes]
        targets.write_text(json.dumps([*groups, {"targets": [f"{self.server.address}/.trusted.test:9090"]}]))
        rules = ("http://*.trusted.test:9090", "http://*-b.example.org:443", "*://*.trusted.test:*")
        config.write_text(
            "backends:\n"
            + "".join(f"- url: '{rule}'\n  http_config: {{authorization: {{credentials_file: token}}}}\n" for rule in rules)
        )
        mpp = self.start("--config", str(config), "--file-sd", str(targets))
        wait_until(lambda: len(self.server.authorizations) > 20, "the server is probed")
        for _ in range(5):
            fetch(mpp.port, "/api/v1/labels")
        self.assertEqual(set(self.server.authorizations), {None})

    @one_process("each worker counts the repeats of its own lines")
    def test_flood_of_one_warning(self) -> None:
        """A warning that each request causes is written once, and at the end with how often it came."""
        # More than is held back for another attempt.
        self.server.pages[self.server.broken] = b"x" * 4 * 1024 * 1024
        mpp = self.start()
        mpp.wait_selected(self.server.address)
        for _ in range(20):
            with contextlib.suppress(IncompleteRead, ConnectionError):
                fetch(mpp.port, self.server.broken)
                self.fail("the answer is complete")
        self.assertEqual(mpp.log().count("broke off after its first bytes"), 1)
        process = mpp.process
        assert process is not None
        process.terminate()
        process.wait(10)
        told = [line for line in mpp.log().splitlines() if "broke off after its first bytes" in line]
        self.assertEqual(len(told), 2)
        self.assertRegex(told[1], r"\(19 more since 20[0-9T:.-]+Z, the last at 20[0-9T:.-]+Z\).*repeated=19")
