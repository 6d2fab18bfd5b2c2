"""mpp that is listed among its own servers, and mpp in front of mpp."""

from __future__ import annotations

import json
import os
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.patience import within
from tests.integration.processes import Mpp, Simulated, fetch, free_port, wait_until

QUERY = "/api/v1/query?query=1"
INTERVAL = ("--selection-interval", "1s")


class ItselfTests(SynchronousTestCase):
    """mpp with a server, and its own address."""

    def server(self) -> Simulated:
        """Start a server."""
        return Simulated("--version", "3.5.0").start_for(self)

    def mpp(self, backends: list[str], *options: str, port: int = 0) -> Mpp:
        """Start mpp."""
        mpp = Mpp(backends, *INTERVAL, *options)
        self.addCleanup(mpp.close)
        mpp.port = port or mpp.port
        return mpp.start()

    def test_own_address(self) -> None:
        """mpp knows its own address among the servers, says so, and never sends anything there, with the server down either."""
        for workers in ("1", "2"):
            server, port = self.server(), free_port()
            own = f"127.0.0.1:{port}"
            mpp = self.mpp([own, server.url], "--routing-strategy", "random", "--workers", workers, port=port)
            wait_until(lambda mpp=mpp, own=own: mpp.metric("mpp_backend_is_self", backend=own) == 1, "it knows itself")
            self.assertEqual({fetch(port, QUERY)[1]["mpp.servedby"] for _ in range(20)}, {server.address})
            page = json.loads(fetch(port, "/mpp/status?format=json")[2])
            self.assertEqual({each["name"]: each["is_self"] for each in page["backends"]}, {own: True, server.address: False})
            self.assertIn(f"the backend {own} is this mpp itself and not used", page["verdict"]["text"])
            self.assertIn("this mpp itself responds there, so it is never used", mpp.log())
            server.kill()
            wait_until(lambda port=port: fetch(port, QUERY)[0] == 503, "no server is left")
            began = time.monotonic()
            for _ in range(10):
                self.assertEqual(fetch(port, QUERY)[0], 503)
            self.assertLess(time.monotonic() - began, within(20))
            self.assertLess(len(os.listdir(f"/proc/{mpp.pid}/fd")), 100)
            server.start()
            wait_until(lambda port=port: fetch(port, QUERY)[0] == 200, "the server is back")

    def test_first_round(self) -> None:
        """With nothing listed but its own address no request goes round: the client gets an error of mpp's at once."""
        port = free_port()
        self.mpp([f"127.0.0.1:{port}"], port=port)
        began = time.monotonic()
        status, _, body = fetch(port, QUERY)
        # A worker may have sent it to itself once, before it learns that it is listed.
        self.assertEqual(
            (status, b"no Prometheus server is known" in body or b"this request has come back" in body), (503, True), body
        )
        self.assertLess(time.monotonic() - began, within(5))

    def test_mpp_in_front_of_mpp(self) -> None:
        """Requests pass two mpp, each of which adds its token behind those that are there."""
        server = self.server()
        inner = self.mpp([server.url])
        outer = self.mpp([f"http://127.0.0.1:{inner.port}"], "--workers", "2")
        _, _, data = fetch(outer.port, "/echo", headers={"MPP-Instance": "mine"})
        fields = {name.lower(): value for name, value in json.loads(data)["headers"]}
        self.assertRegex(fields["mpp-instance"], "^mine, [0-9a-f]{16}, [0-9a-f]{16}$")
        # The outer mpp has one token for both workers.
        seen = set()
        for _ in range(10):
            _, _, data = fetch(outer.port, "/echo")
            seen.update(value for name, value in json.loads(data)["headers"] if name.lower() == "mpp-instance")
        self.assertEqual(len(seen), 1, seen)
        for mpp in (inner, outer):
            page = json.loads(fetch(mpp.port, "/mpp/status?format=json")[2])
            self.assertEqual((page["verdict"]["level"], [each["is_self"] for each in page["backends"]]), ("good", [False]))

    def test_loop_through_another_mpp(self) -> None:
        """Two mpp that list each other, and a server: requests are answered; with the server down none goes round for long."""
        server, ports = self.server(), (free_port(), free_port())
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        first = self.mpp([urls[1], server.url], "--routing-strategy", "random", port=ports[0])
        second = self.mpp([urls[0], server.url], "--routing-strategy", "random", port=ports[1])
        for mpp in (first, second):
            for _ in range(30):
                self.assertEqual(fetch(mpp.port, QUERY)[0], 200)
        server.kill()
        began = time.monotonic()
        for mpp in (first, second):
            self.assertGreaterEqual(fetch(mpp.port, QUERY, timeout=60)[0], 502)
        self.assertLess(time.monotonic() - began, 60)
        for mpp in (first, second):
            wait_until(
                lambda mpp=mpp: len(os.listdir(f"/proc/{mpp.pid}/fd")) < 100, "the connections between them are closed", 20
            )
        server.start()
        for mpp in (first, second):
            wait_until(lambda mpp=mpp: fetch(mpp.port, QUERY)[0] == 200, "the server is back", 20)
