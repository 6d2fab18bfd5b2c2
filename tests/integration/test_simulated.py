"""The simulated Prometheus on real sockets, and beside a real one: it must not say what that would not say."""

from __future__ import annotations

import http.client
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fixtures import shared_pair
from tests.integration.processes import Simulated, fetch, wait_until
from tests.integration.servers import binaries, require_binary, version_of

SAME = (
    ("GET", "/-/ready"),
    ("HEAD", "/-/ready"),
    ("GET", "/-/healthy"),
    ("GET", "/api/v1/query?query=1%2B1&time=4"),
    ("GET", "/api/v1/query?query=vector(1)&time=4.125"),
    ("HEAD", "/api/v1/query?query=1"),
    ("GET", "/api/v1/query_range?query=vector(1)&start=0&end=30&step=15"),
    ("GET", "/api/v1/query_range?query=up&start=9&end=8&step=1"),
    ("GET", "/api/v1/query_range?query=up&start=0&end=11001&step=1"),
    ("GET", "/api/v1/series"),
    ("POST", "/api/v1/label/job/values"),
    ("GET", "/api/v1/read"),
    ("POST", "/api/v1/read"),
    ("POST", "/-/reload"),
    ("GET", "/api/v1/nope"),
    ("GET", "/nope"),
)
"""Calls whose answers have to be the same, byte for byte."""


class LikenessTests(SynchronousTestCase):
    """Simulated and real answers side by side, for each binary there is."""

    def test_same_answers(self) -> None:
        """Status, type and body are those of the real server of that version."""
        require_binary()
        for binary in binaries():
            real = shared_pair(binary)[0]
            simulated = Simulated("--version", ".".join(str(part) for part in version_of(binary))).start_for(self)
            for method, target in SAME:
                answers = []
                for port in (real.port, simulated.port):
                    status, headers, body = fetch(port, target, method=method, body=b"x" if method == "POST" else None)
                    answers.append((status, headers.get("content-type"), headers.get("allow"), body))
                self.assertEqual(answers[1], answers[0], (binary, method, target))

    def test_same_gauges(self) -> None:
        """The metrics that tell about stored data have the names, labels and units of the real server."""
        require_binary()
        for binary in binaries():
            real = shared_pair(binary)[0]
            real.wait_scraped(1)
            simulated = Simulated("--version", ".".join(str(part) for part in version_of(binary))).start_for(self)
            named = {line.split(" ")[0].split("{")[0] for line in self.lines(simulated.port)}
            there = {line.split(" ")[0].split("{")[0] for line in self.lines(real.port)}
            self.assertEqual(named - there, set())

    def lines(self, port: int) -> list[str]:
        """Return the samples of ``/metrics``."""
        return [line for line in fetch(port, "/metrics")[2].decode().splitlines() if line and not line.startswith("#")]


class SocketTests(SynchronousTestCase):
    """Faults that concern the socket itself, and the process."""

    def setUp(self) -> None:
        """Start one."""
        self.simulated = Simulated("--version", "3.5.0").start_for(self)

    def ready(self, timeout: float = 0.3) -> Any:
        """Ask whether it is ready."""
        return fetch(self.simulated.port, "/-/ready", timeout=timeout)[0]

    def test_refused_port_serves_again_when_mended(self) -> None:
        """While it refuses, nobody listens; afterwards it serves on the same port."""
        self.simulated.spoil("refuse")
        self.assertRaises(ConnectionRefusedError, self.ready)
        self.simulated.mend()
        self.assertEqual(self.ready(), 200)

    def test_vanished_server_serves_again_when_mended(self) -> None:
        """While it has vanished, connections are made by the kernel and nothing answers; afterwards it serves."""
        self.simulated.spoil("vanish")
        self.assertRaises(TimeoutError, self.ready)
        self.simulated.mend()
        self.assertEqual(self.ready(), 200)

    def test_half_an_answer_ends_in_a_reset(self) -> None:
        """Half an answer and a reset arrive as that."""
        self.simulated.spoil("half-reset")
        self.assertRaises(ConnectionResetError, self.ready)

    def test_sigterm_ends_it_whatever_hangs(self) -> None:
        """SIGTERM ends it with status 0, whatever hangs."""
        self.simulated.spoil("silence")
        self.assertRaises(TimeoutError, self.ready)
        self.assertEqual(self.simulated.stop(), 0)

    def test_unanswered_requests_are_counted(self) -> None:
        """Requests are counted, those that nobody answered too."""
        self.simulated.spoil("close")
        self.assertRaises(http.client.RemoteDisconnected, self.ready)
        wait_until(lambda: self.simulated.count("/-/ready") == 1, "it is counted", 2)
        self.assertEqual(json.loads(json.dumps(self.simulated.state()))["fault"], "Close(strikes='request')")
