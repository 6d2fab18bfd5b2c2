"""Servers that take few connections: mpp's own do not keep its requests waiting for one another."""

from __future__ import annotations

import socket
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.fake_https import FakeAuthority
from tests.integration.limiter import Limiter
from tests.integration.patience import within
from tests.integration.processes import Mpp, Simulated, fetch, wait_until
from tests.integration.servers import Prometheus, require_binary
from tests.integration.test_slots import all_at_once, timed
from tests.integration.workers import one_process

LIMIT = 4
AT_ONCE = 32


@one_process("each worker has its own connections to a server, and learns of its limit by itself")
class LimitCase(SynchronousTestCase):
    """One server behind mpp, and many requests at once."""

    def start(self, url: str, *options: str) -> None:
        self.mpp = Mpp([url], "--no-single-flight", *options).start_for(self)

    def burst(self, target: str, status: int, takes: float) -> None:
        """Send them; each must be answered within 1.5 times what they take on so many connections, and a second."""
        asks: list[Callable[[], tuple[int, float]]] = [lambda: timed(self.mpp.port, target, timeout=90)] * AT_ONCE
        results = all_at_once(asks)
        self.assertEqual([status for status, _ in results], [status] * AT_ONCE, self.mpp.log()[-3000:])
        self.assertLess(max(seconds for _, seconds in results), AT_ONCE / LIMIT * takes * 1.5 + within(1))
        self.assert_unharmed()

    def assert_unharmed(self) -> None:
        """The server was neither ejected nor held to fail, and the limit was named once."""
        self.assertEqual(self.mpp.metric("mpp_ejections_total"), 0, self.mpp.log()[-3000:])
        self.assertEqual(self.mpp.metric("mpp_retries_total"), 0)
        self.assertEqual(self.mpp.metric("mpp_suspicion_probes_total", result="stuck"), 0)
        self.assertEqual(self.mpp.log().count("accepts no more than 4 connections at once"), 1, self.mpp.log()[-3000:])


class SimulatedTests(LimitCase):
    """A simulated server behind a relay that takes four connections."""

    def setUp(self) -> None:
        """Start both, and mpp."""
        self.server = Simulated("--version", "3.5.0").start_for(self)
        self.limiter = Limiter(self.server.port, LIMIT)
        self.addCleanup(self.limiter.close)
        self.start(f"http://127.0.0.1:{self.limiter.port}")

    def test_short_responses_wait_for_connections(self) -> None:
        """Responses of half a second; then the same again, when the limit is known."""
        self.server.spoil("late", seconds=0.5, spare_probes=True)
        for _ in range(2):
            self.burst("/api/v1/labels", 200, 0.5)
        self.assertEqual(self.server.count("/api/v1/labels"), 2 * AT_ONCE)

    def test_long_responses_are_not_held_against_the_server(self) -> None:
        """Responses that take longer than a probe may: the server cannot be asked meanwhile, and that is not held against it."""
        self.server.spoil("late", seconds=2, spare_probes=True)
        self.burst("/api/v1/labels", 200, 2)
        self.assertEqual(self.server.count("/api/v1/labels"), AT_ONCE)
        self.assertNotIn("is down", self.mpp.log())

    def test_writes_run_once(self) -> None:
        """Requests that want a connection of their own get one, and run once."""

        def write() -> tuple[int, float]:
            return fetch(self.mpp.port, "/somewhere", method="POST", body=b"x", timeout=60)[0], 0.0

        results = all_at_once([write] * 12)
        self.assertEqual([status for status, _ in results], [404] * 12)
        self.assertEqual(self.server.count("/somewhere"), 12)


class RealTests(LimitCase):
    """A real Prometheus with ``--web.max-connections=4``, each of whose queries waits half a second for a remote storage."""

    def prometheus(self) -> Prometheus:
        storage = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.addCleanup(storage.close)
        server = Prometheus(require_binary(), options=(f"--web.max-connections={LIMIT}",))
        self.addCleanup(server.close)
        # It would take a connection of its own to scrape itself.
        server.scrape([])
        url = f"http://127.0.0.1:{storage.getsockname()[1]}/read"
        with (server.folder / "prometheus.yml").open("a") as configuration:
            configuration.write(f"remote_read: [{{url: '{url}', remote_timeout: 500ms, read_recent: true}}]\n")
        return server

    def test_limit_of_a_real_server_over_tcp(self) -> None:
        """Over TCP."""
        server = self.prometheus()
        server.start()
        self.start(server.url)
        self.burst("/api/v1/query?query=up", 200, 0.5)

    def test_limit_of_a_real_server_over_tls(self) -> None:
        """Over TLS, where the handshake hangs on a connection that is not accepted."""
        server = self.prometheus()
        certificate, web = server.folder / "served.pem", server.folder / "web.yml"
        certificate.write_bytes(FakeAuthority().issue("127.0.0.1"))
        web.write_text(f"tls_server_config: {{cert_file: {certificate}, key_file: {certificate}}}\n")
        server.options += (f"--web.config.file={web}",)
        server.start(wait=False)
        wait_until(lambda: "Server is ready" in server.log(), "the server is ready")
        self.start(server.url.replace("http:", "https:"), "--insecure")
        self.burst("/api/v1/query?query=up", 200, 0.5)
