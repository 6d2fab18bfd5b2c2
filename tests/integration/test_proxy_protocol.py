"""A listener for a load balancer that speaks the PROXY protocol, beside an ordinary one; byte for byte, with a whole mpp."""

from __future__ import annotations

import json
import socket
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.patience import within
from tests.integration.processes import Mpp, Simulated, free_port, wait_until

CLIENT = "198.51.100.7"
HEADER = f"PROXY TCP4 {CLIENT} 192.0.2.1 40000 9090\r\n".encode()
REQUEST = b"GET /api/v1/labels HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def talk(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send the pieces, and return all that is received until the connection ends; nothing if it is reset."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.settimeout(10)
        try:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(pause)
            received = b""
            while data := client.recv(65536):
                received += data
        except ConnectionError:
            return b""
        return received


class ProxyProtocolTests(SynchronousTestCase):
    """``--listen haproxy:tcp:PORT``."""

    def setUp(self) -> None:
        """Start one server, and mpp with both listeners."""
        self.server = Simulated().start_for(self)
        self.proxied = free_port()
        plain = ("--listen", f"haproxy:tcp:{self.proxied}:interface=127.0.0.1", "--access-log", "--log-format", "json")
        self.mpp = Mpp([self.server.url], *plain, *self.options).start_for(self)
        self.mpp.wait_selected(self.server.address)

    options: tuple[str, ...] = ()

    def clients(self) -> list[str]:
        """Return the clients of the requests in the access log, in order."""
        lines = [json.loads(line) for line in self.mpp.log().splitlines() if line.startswith("{")]
        return [line["client"] for line in lines if line.get("path") == "/api/v1/labels"]

    def test_address_of_the_proxy_header_is_logged(self) -> None:
        """The log has the address of the header on that listener, and that of the socket on the other one."""
        self.assertIn(b" 200 OK", talk(self.proxied, HEADER + REQUEST))
        self.assertIn(b" 200 OK", talk(self.proxied, HEADER[:9], HEADER[9:], REQUEST, pause=0.05))
        self.assertIn(b" 400 Bad Request", talk(self.mpp.port, HEADER + REQUEST))
        self.assertIn(b" 200 OK", talk(self.mpp.port, REQUEST))
        wait_until(lambda: len(self.clients()) >= 3, "three requests are logged")
        self.assertEqual(self.clients()[-3:], [CLIENT, CLIENT, "127.0.0.1"])

    def test_no_header(self) -> None:
        """A connection without a header, or with half of one for five seconds, is closed and reaches no server."""
        before = self.server.count("/api/v1/labels")
        self.assertEqual(talk(self.proxied, REQUEST), b"")
        began = time.monotonic()
        self.assertEqual(talk(self.proxied, HEADER[:20]), b"")
        self.assertLess(time.monotonic() - began, within(9))
        self.assertEqual(self.server.count("/api/v1/labels"), before)


class WorkersTests(ProxyProtocolTests):
    """The same with two workers."""

    options = ("--workers", "2")
