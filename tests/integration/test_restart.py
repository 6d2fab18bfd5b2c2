"""What clients notice of mpp being stopped and started again: nothing."""

from __future__ import annotations

import http.client
import signal
import socket
import ssl
import time
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from tests.fake_https import FakeAuthority
from tests.integration.processes import Mpp, Simulated, fetch, free_port, wait_until
from tests.integration.restarts import Activated, Crowd, Shared, clean

QUERY = "/api/v1/query?query=up"
QUIET = 2.5
"""Seconds in which an mpp that has nothing to do ends: one for clients that might ask again, the rest for a busy machine."""


class RestartTestCase(SynchronousTestCase):
    """Starts a simulated server to be in front of."""

    def setUp(self) -> None:
        """Start it."""
        self.simulated = Simulated("--version", "3.5.0").start_for(self)

    def begin(self, *options: str) -> Mpp:
        """Start mpp in front of it."""
        return Mpp([self.simulated.url], *options).start_for(self)

    def end(self, mpp: Mpp, within: float) -> None:
        """Wait for mpp's end, which is clean and without a traceback."""
        assert mpp.process is not None
        self.assertTrue(clean(mpp.process.wait(within)))
        self.assertNotIn("Traceback", mpp.log())


class StopTests(RestartTestCase):
    """SIGTERM."""

    def test_idle_mpp_ends_within_a_second(self) -> None:
        """Without requests in flight mpp ends within about a second, though clients keep their connections."""
        mpp = self.begin()
        kept = [socket.create_connection(("127.0.0.1", mpp.port)) for _ in range(20)]
        for connection in kept:
            self.addCleanup(connection.close)
            connection.sendall(b"GET /mpp/health HTTP/1.1\r\nHost: x\r\n\r\n")
        for connection in kept:
            self.assertIn(b" 200 OK", connection.recv(1000))
        mpp.signal(signal.SIGTERM)
        self.end(mpp, QUIET)

    def test_in_flight(self) -> None:
        """A request in flight is answered, and told that it is the connection's last; nobody new is let in."""
        mpp = self.begin()
        self.simulated.set(query_takes=2.0)
        connection = http.client.HTTPConnection("127.0.0.1", mpp.port, timeout=10)
        self.addCleanup(connection.close)
        connection.request("GET", QUERY)
        wait_until(lambda: self.simulated.count("/api/v1/query") and mpp.metric("mpp_requests_in_flight") == 1, "it is asked")
        mpp.signal(signal.SIGTERM)
        wait_until(lambda: not self.accepts(mpp.port), "nobody is let in", 1.5)
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.getheader("Connection")), (200, "close"))
        self.end(mpp, QUIET)

    def answered_then_told(self, mpp: Mpp, connections: Sequence[http.client.HTTPConnection]) -> None:
        """Have one answer on each connection, and then mpp told to stop."""
        for connection in connections:
            self.addCleanup(connection.close)
            connection.request("GET", QUERY)
            self.assertEqual(len(connection.getresponse().read()) > 0, True)
        mpp.signal(signal.SIGTERM)
        wait_until(lambda: not self.accepts(mpp.port), "nobody is let in", 1.5, every=0.001)

    def test_just_answered(self) -> None:
        """A client that was just answered is answered once more, and told that it is the last time; ``/mpp/ready`` says 503."""
        mpp = self.begin()
        connections = [http.client.HTTPConnection("127.0.0.1", mpp.port, timeout=10) for _ in range(2)]
        self.answered_then_told(mpp, connections)
        for connection, target, status in ((connections[0], QUERY, 200), (connections[1], "/mpp/ready", 503)):
            connection.request("GET", target)
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.getheader("Connection")), (status, "close"))
        self.end(mpp, QUIET)

    def test_other_sockets(self) -> None:
        """The same is true on Unix sockets and over TLS."""
        folder = self.simulated.folder  # its path is short enough for a Unix socket
        (folder / "pem").write_bytes(FakeAuthority().issue("127.0.0.1"))
        port = free_port()
        tls = f"ssl:{port}:privateKey={folder}/pem:certKey={folder}/pem:interface=127.0.0.1"
        mpp = self.begin("--listen", tls, "--listen", f"unix:{folder}/mpp.sock")
        unverified = ssl.create_default_context()
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        local = http.client.HTTPConnection("localhost")
        local.sock = socket.socket(socket.AF_UNIX)
        local.sock.connect(f"{folder}/mpp.sock")
        connections = [http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=unverified), local]
        self.answered_then_told(mpp, connections)
        for connection in connections:
            connection.request("GET", QUERY)
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.getheader("Connection")), (200, "close"))
        self.end(mpp, QUIET)
        self.assertFalse((folder / "mpp.sock").exists())

    def test_event_stream(self) -> None:
        """An event stream does not keep mpp from ending."""
        mpp = self.begin()
        with socket.create_connection(("127.0.0.1", mpp.port)) as stream:
            stream.sendall(b"GET /api/v1/notifications/live HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(b" 200 OK", stream.recv(1000))
            mpp.signal(signal.SIGTERM)
            self.end(mpp, QUIET)

    def test_patience_ends(self) -> None:
        """What takes longer than ``--drain-timeout`` is cut off."""
        mpp = self.begin("--drain-timeout", "1s")
        self.simulated.set(query_takes=30.0)
        with socket.create_connection(("127.0.0.1", mpp.port)) as client:
            client.sendall(f"GET {QUERY} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_until(lambda: mpp.metric("mpp_requests_in_flight") == 1, "it is asked")
            began = time.monotonic()
            mpp.signal(signal.SIGTERM)
            self.assertRaises(ConnectionResetError, client.recv, 1000)
            self.assertGreater(time.monotonic() - began, 0.9)
            self.end(mpp, QUIET)

    def test_second_signal(self) -> None:
        """A second signal, SIGTERM or SIGINT, cuts off what is in flight."""
        self.simulated.set(query_takes=30.0)
        for number in (signal.SIGTERM, signal.SIGINT):
            mpp = self.begin()
            with socket.create_connection(("127.0.0.1", mpp.port)) as client:
                client.sendall(f"GET {QUERY} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                wait_until(lambda mpp=mpp: mpp.metric("mpp_requests_in_flight") == 1, "it is asked")  # type: ignore[misc]
                mpp.signal(signal.SIGTERM)
                wait_until(lambda mpp=mpp: not self.accepts(mpp.port), "it stops", 5)  # type: ignore[misc]
                mpp.signal(number)
                self.assertRaises(ConnectionResetError, client.recv, 1000)
                self.end(mpp, QUIET)

    def accepts(self, port: int) -> bool:
        """Tell whether somebody listens."""
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            return False
        return True


class RestartTests(RestartTestCase):
    """One mpp after the other. The long form of it is ``tests/integration/long/restart.py``."""

    def test_inherited_socket(self) -> None:
        """Restarted on a socket that a supervisor holds, mpp loses no request, on kept nor on new connections."""
        mpp = Activated([self.simulated.url]).start_for(self)
        with Crowd(mpp.port, clients=8, pause=0.01) as crowd:
            for _ in range(2):
                crowd.reach(40)
                self.assertTrue(clean(mpp.restart()))
            crowd.reach(40)
            kept, fresh = crowd.stop()
        self.assertEqual((kept.failures, fresh.failures), ([], []))
        self.assertGreater(min(kept.requests, fresh.requests), 100)

    def test_shared_port(self) -> None:
        """The next mpp opens the port while the last one serves, and goes on when that has ended."""
        first = Shared([self.simulated.url], free_port()).start_for(self)
        second, status = first.succeed()
        self.addCleanup(second.close)
        self.assertTrue(clean(status))
        self.assertEqual(fetch(second.port, QUERY)[0], 200)
