"""Requests that arrive slowly do not keep others out: what moves least gives way when the memory for requests is used up."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from mpp.app.program import BUFFER_MEMORY
from mpp.core.model import MIB
from tests.integration.processes import Mpp, Simulated, fetch, wait_until
from tests.integration.test_web_config import basic, hashed
from tests.integration.workers import one_process

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
LARGEST = 10 * MIB


def head(target: str, length: int, *fields: str) -> bytes:
    """Return the head of a POST."""
    lines = (f"POST {target} HTTP/1.1", "Host: a", f"Content-Length: {length}", f"Content-Type: {FORM['Content-Type']}", *fields)
    return "\r\n".join((*lines, "", "")).encode()


def status(connection: socket.socket, patience: float = 10.0) -> int:
    """Return the status that comes; 0 if nothing does."""
    connection.settimeout(patience)
    with contextlib.suppress(OSError):
        found = re.match(rb"HTTP/1\.1 (\d+) ", connection.recv(65536))
        return int(found[1]) if found else 0
    return 0


class StarvingCase(SynchronousTestCase):
    """mpp in front of one simulated server."""

    kind = Mpp
    options: Sequence[str] = ()

    def setUp(self) -> None:
        """Start both."""
        self.simulated = Simulated("--version", "3.5.0").start_for(self)
        self.mpp = self.kind([self.simulated.url], *self.options)
        self.mpp.start_for(self)
        self.open = contextlib.ExitStack()
        self.addCleanup(self.open.close)

    def send(self, data: bytes, source: str = "127.0.0.1") -> socket.socket:
        """Send on a connection of its own, from one of the loopback addresses, which stays open."""
        connection = self.open.enter_context(socket.socket())
        connection.settimeout(10)
        # Its port may be a server's when it is closed.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.bind((source, 0))
        connection.connect(("127.0.0.1", self.mpp.port))
        # It may be refused before all is sent.
        with contextlib.suppress(OSError):
            connection.sendall(data)
        return connection

    def query(self, size: int = 30, **fields: str) -> int:
        """Return the status of a POST query with a body of so many bytes."""
        body = b"query=up&x=" + b"x" * (size - 11)
        return fetch(self.mpp.port, "/api/v1/query", method="POST", headers={**FORM, **fields}, body=body)[0]

    def fill(self, target: str, source: str = "127.0.0.1", *fields: str, missing: int = 1) -> list[socket.socket]:
        """Send bodies, all but the last bytes of each, that together fill the memory, if they are taken."""
        unfinished = head(target, LARGEST, *fields) + b"x" * (LARGEST - missing)
        return [self.send(unfinished, source) for _ in range(BUFFER_MEMORY // LARGEST + 1)]


@one_process("each worker has memory for requests of its own")
class BodiesTests(StarvingCase):
    """Bodies that do not become complete."""

    def test_own_pages(self) -> None:
        """An own page takes no body: nothing of it is held, and queries are answered as before."""
        for connection in self.fill("/mpp/health"):
            self.assertEqual(status(connection), 413)
        self.assertEqual((self.query(), self.query(100_000)), (200, 200))
        wait_until(lambda: self.mpp.metric("mpp_held_bytes") == 0, "no byte is held", 10)

    def test_one_client(self) -> None:
        """One client holds half of the memory at most, and others have the rest."""
        self.fill("/api/v1/query", "127.0.0.9")
        limit = self.mpp.metric("mpp_held_bytes_limit")
        self.assertEqual(limit, BUFFER_MEMORY)
        self.assertLessEqual(self.mpp.metric("mpp_held_bytes"), limit / 2)
        self.assertEqual([self.query(size) for size in (30, 100_000, 9_000_000)], [200] * 3)

    def test_many_clients(self) -> None:
        """When clients together have filled the memory, what moves least of it gives way to what arrives."""
        stalled = [each for source in ("127.0.0.8", "127.0.0.9") for each in self.fill("/api/v1/query", source)]
        self.assertGreater(self.mpp.metric("mpp_held_bytes"), 0.8 * BUFFER_MEMORY)
        self.assertEqual([self.query(size) for size in (30, 100_000, 5_000_000, 9_000_000, 9_000_000, 9_000_000)], [200] * 6)
        self.assertIn(503, [status(each, 0.1) for each in stalled])
        self.assertNotIn("Traceback", self.mpp.log())

    def test_trickling_clients_displace_no_others(self) -> None:
        """Clients that keep their bodies alive with a few bytes a second displace none that really sends."""
        sources = ("127.0.0.8", "127.0.0.9", "127.0.0.10")
        stalled = [each for source in sources for each in self.fill("/api/v1/query", source, missing=100_000)]
        answered: Counter[int] = Counter()
        for _ in range(20):
            for each in stalled:
                with contextlib.suppress(OSError):
                    each.send(b"x" * 50)
            answered[self.query(5_000_000)] += 1
            time.sleep(0.1)
        self.assertEqual(answered, {200: 20})

    def test_crowd_behind_one_address(self) -> None:
        """Three hundred clients of one address, a Grafana or an ingress, with 100 KiB each are all served."""
        bodies = [self.send(head("/api/v1/query", 102_400) + b"query=up&x=" + b"x" * 50_000) for _ in range(300)]
        held = self.mpp.metric("mpp_held_bytes")
        self.assertGreater(held, 300 * 50_000)
        rest = b"x" * (102_400 - 50_011)
        threads = [threading.Thread(target=each.sendall, args=(rest,)) for each in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(Counter(status(each, 30) for each in bodies), {200: 300})
        wait_until(lambda: self.mpp.metric("mpp_held_bytes") == 0, "no byte is held", 10)


@one_process("each worker has memory for requests of its own")
class ProxiedTests(StarvingCase):
    """Clients behind a proxy that is trusted."""

    options = ("--trusted-proxies", "127.0.0.1/32")

    def test_each_has_a_share(self) -> None:
        """They are told apart by what the proxy says: one of them does not use up the share of the others."""
        self.fill("/api/v1/query", "127.0.0.1", "X-Forwarded-For: 192.0.2.1")
        self.assertLessEqual(self.mpp.metric("mpp_held_bytes"), BUFFER_MEMORY / 2)
        for other in ("192.0.2.2", "192.0.2.3"):
            self.assertEqual(self.query(9_000_000, **{"X-Forwarded-For": other}), 200)


class Guarded(Mpp):
    """mpp that asks for a password."""

    def __init__(self, backends: Sequence[str], *options: str) -> None:
        super().__init__(backends)
        self._options = (*options, "--web-config", str(self.folder / "web.yml"))
        (self.folder / "web.yml").write_text(f"basic_auth_users: {{admin: {hashed('right')}}}\n")

    def metrics_page(self) -> str:
        """See `Mpp`; with the password."""
        return fetch(self.port, "/mpp/metrics", headers=basic("admin", "right"))[2].decode()


class UnknownTests(StarvingCase):
    """Clients without a password, where one is asked for."""

    kind = Guarded

    def test_hold_nothing(self) -> None:
        """They are refused by their heads, and none of their bodies is held, whatever they ask for."""
        self.query(30, **basic("admin", "right"))
        refused = [
            (target, self.send(head(target, LARGEST, *fields) + b"x" * 1_000_000))
            for target in ("/api/v1/query", "/mpp/status", "/mpp/health", "/mpp/reload")
            for fields in ((), ("Authorization: Basic YWRtaW46d3Jvbmc=",), ("Expect: 100-continue",))
            for _ in range(20)
        ]
        self.assertEqual(self.mpp.metric("mpp_held_bytes"), 0)
        statuses = Counter((target, status(each)) for target, each in refused)
        self.assertEqual({code for (target, code) in statuses if target == "/api/v1/query"} - {401, 429}, set(), statuses)
        self.assertEqual({code for (target, code) in statuses if target != "/api/v1/query"}, {413}, statuses)
        self.assertEqual(self.mpp.metric("mpp_held_bytes"), 0)
        self.assertEqual(self.query(9_000_000, **basic("admin", "right")), 200)


@one_process("each worker has memory for requests of its own")
class HeadsTests(StarvingCase):
    """Heads that do not become complete."""

    def test_unfinished_heads_are_counted_and_bounded(self) -> None:
        """Unfinished heads are held, and bounded with all else; new requests are answered all the time."""
        before = self.mpp.resident()
        unfinished = b"GET /api/v1/query?query=up HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"x" * 63_000
        most = 0.0
        for number in range(3500):
            self.send(unfinished, f"127.0.0.{2 + number % 4}")
            if number % 500 == 499:
                held = self.mpp.metric("mpp_held_bytes")
                self.assertGreater(held, 0)
                most = max(most, held)
                self.assertEqual(self.query(10_000), 200)
        self.assertLessEqual(most, BUFFER_MEMORY)
        self.assertGreater(most, 0.8 * BUFFER_MEMORY)
        self.assertLess(self.mpp.resident() - before, BUFFER_MEMORY + 150 * MIB)
