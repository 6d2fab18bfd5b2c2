"""The slots of a server: nobody is kept waiting for one by those who do not use theirs."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.patience import within
from tests.integration.processes import Mpp, Simulated, fetch, wait_until
from tests.integration.servers import pair, require_binary
from tests.integration.workers import one_process

HEAVY_QUERY = "/api/v1/query_range?query=quantile_over_time(0.5,vector(time())[24h:1s])&start=0&end=10000&step=1&timeout=8s"
"""Takes a query slot until its timeout: 10,000 times 86,400 values are sorted."""
QUERY = "/api/v1/query?query=vector(1)"
LARGE = "/api/v1/query?query=up"
LARGE_TARGETS = 200
"""Each with a name of 60 KB: a response of 12 MB, more than the buffers on the way to a client take."""


def timed(port: int, target: str = QUERY, timeout: float = 60.0) -> tuple[int, float]:
    """Send one request; return its status and how many seconds it took."""
    began = time.monotonic()
    status = fetch(port, target, timeout=timeout)[0]
    return status, time.monotonic() - began


def all_at_once(asks: Sequence[Callable[[], tuple[int, float]]]) -> list[tuple[int, float]]:
    """Send requests beside each other; return what came of each."""
    results: list[tuple[int, float]] = []
    threads = [threading.Thread(target=lambda ask=ask: results.append(ask()), daemon=True) for ask in asks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return results


@one_process("the slots of a server are divided among the workers")
class SlotCase(SynchronousTestCase):
    """mpp in front of a simulated pair; the first server is selected."""

    def start(self, *options: str, version: str = "3.5.0") -> None:
        self.pair = [
            Simulated("--version", version, "--history", f"{20 - number}d", name=name) for number, name in enumerate("ab")
        ]
        for each in self.pair:
            each.start_for(self)
        self.mpp = Mpp([each.url for each in self.pair], *options).start_for(self)
        self.mpp.wait_selected(self.pair[0].address)


class SlowReaderTests(SlotCase):
    """Clients that ask for large responses, and do not read them."""

    @contextlib.contextmanager
    def slow_readers(self, count: int) -> Iterator[list[socket.socket]]:
        """Have so many clients read the beginning of a large response, and no more."""
        for each in self.pair:
            each.set(targets=[f"{number:03}" + "x" * 60_000 for number in range(LARGE_TARGETS)])
        with contextlib.ExitStack() as stack:
            clients = []
            for _ in range(count):
                client = stack.enter_context(socket.socket())
                # Before it is connected, so that the window is small from the start.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                client.settimeout(30)
                client.connect(("127.0.0.1", self.mpp.port))
                client.sendall(f"GET {LARGE} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                clients.append(client)
            for client in clients:
                with contextlib.suppress(ConnectionError):
                    client.recv(1)
            yield clients

    def test_others_are_served(self) -> None:
        """More slow readers than both servers have slots keep nobody from being answered, by the selected server."""
        self.start("--max-concurrency", "4", "--request-timeout", "5s", "--suspect-after", "2s")
        with self.slow_readers(12):
            results = [timed(self.mpp.port, timeout=20) for _ in range(20)]
            self.assertEqual([status for status, _ in results], [200] * 20)
            self.assertLess(max(seconds for _, seconds in results), within(1.0))
            self.assertGreaterEqual(self.mpp.metric("mpp_slow_clients_reset_total"), 1)
            self.assertEqual(len(re.findall("clients? reads? too slowly", self.mpp.log())), 1)

    def test_nobody_waits_nobody_is_reset(self) -> None:
        """As long as there are slots for all, a slow client is served to the end."""
        self.start("--max-concurrency", "8")
        with self.slow_readers(6) as clients:
            time.sleep(2)
            self.assertEqual(timed(self.mpp.port)[0], 200)
            for client in clients:
                received = 0
                while received < LARGE_TARGETS * 60_000:
                    part = client.recv(1 << 20)
                    self.assertTrue(part)
                    received += len(part)
        self.assertEqual(self.mpp.metric("mpp_slow_clients_reset_total"), 0)


class QueueTests(SlotCase):
    """Requests that wait for a slot."""

    def test_they_go_where_there_is_room(self) -> None:
        """Requests for which the selected server has no slot are answered by the standby."""
        self.start("--max-concurrency", "2", "--no-single-flight")
        self.pair[0].spoil("late", seconds=8, spare_probes=True)
        target = "/api/v1/labels"
        held = threading.Thread(target=lambda: all_at_once([lambda: timed(self.mpp.port, target)] * 2), daemon=True)
        held.start()
        wait_until(lambda: self.mpp.metric("mpp_backend_requests", state="active") >= 2, "the slots are taken")
        results = all_at_once([lambda: timed(self.mpp.port, target)] * 2)
        self.assertEqual([status for status, _ in results], [200, 200])
        self.assertLess(max(seconds for _, seconds in results), within(1.5))
        self.assertEqual(self.mpp.metric("mpp_moved_requests_total", backend=self.pair[0].address), 2)
        held.join(30)
        self.assertEqual(json.loads(fetch(self.mpp.port, QUERY)[2])["status"], "success")


@one_process("the slots of a server are divided among the workers")
class QuerySlotTests(SynchronousTestCase):
    """Real servers that run one query at a time."""

    def setUp(self) -> None:
        """Start them, and mpp in front of them."""
        self.servers = pair(require_binary(), max_concurrency=1)
        for server in self.servers:
            self.addCleanup(server.close)
            server.wait_scraped(2)
        # The first round must have read the flags, and no second one shall find the server busy and select the other.
        self.mpp = Mpp([server.url for server in self.servers], interval="60s").start_for(self)
        self.selected = next(server for server in self.servers if self.mpp.is_selected(server.address))

    def heavy(self, port: int) -> threading.Thread:
        """Have a query run for some seconds."""
        thread = threading.Thread(target=lambda: fetch(port, HEAVY_QUERY, timeout=60), daemon=True)
        thread.start()
        time.sleep(0.5)
        return thread

    def test_they_do_not_wait_behind_a_heavy_one(self) -> None:
        """While the selected server runs a heavy query, others are answered by the idle standby, each without delay."""
        heavy = self.heavy(self.mpp.port)
        results = []
        while heavy.is_alive() and len(results) < 4:
            results.append(timed(self.mpp.port, "/api/v1/query?query=1"))
            time.sleep(0.3)
        self.assertTrue(heavy.is_alive(), "the heavy query was not heavy enough")
        self.assertEqual([status for status, _ in results], [200] * 4)
        self.assertLess(max(seconds for _, seconds in results), within(1.0))
        self.assertEqual(self.mpp.metric("mpp_ejections_total"), 0)
        self.assertGreaterEqual(self.mpp.metric("mpp_moved_requests_total", backend=self.selected.address), 4)
        heavy.join(60)


class StreamTests(SlotCase):
    """Event streams: each open page of Prometheus' own interface holds one."""

    STREAM = b"GET /api/v1/notifications/live HTTP/1.1\r\nHost: a\r\n\r\n"

    @contextlib.contextmanager
    def streams(self, count: int) -> Iterator[list[socket.socket]]:
        """Open so many streams."""
        with contextlib.ExitStack() as stack:
            clients = []
            for _ in range(count):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", self.mpp.port), timeout=20))
                client.sendall(self.STREAM)
                self.assertIn(b" 200 ", client.recv(65536))
                clients.append(client)
            yield clients

    def test_they_hold_no_slots(self) -> None:
        """With as many streams open as there are slots, queries are answered at once, by the same server."""
        self.start("--max-concurrency", "8")
        with self.streams(12) as clients:
            results = [timed(self.mpp.port, timeout=25) for _ in range(20)]
            self.assertEqual([status for status, _ in results], [200] * 20)
            self.assertLess(max(seconds for _, seconds in results), within(1.0))
            self.assertEqual(self.mpp.metric("mpp_moved_requests_total"), 0)
            self.pair[0].notify("news")
            for client in clients:
                self.assertIn(b"news", client.recv(65536))

    def test_they_end_with_their_server(self) -> None:
        """When their server is removed, streams end in order, and a new one is opened on the other server."""
        self.start()
        with self.streams(2) as clients:
            self.mpp.write_endpoints(self.pair[1].url)
            for client in clients:
                received = client.recv(65536)
                while not received.endswith(b"0\r\n\r\n"):
                    part = client.recv(65536)
                    self.assertTrue(part, received)
                    received += part
            clients[0].sendall(self.STREAM)
            self.assertIn(f"MPP.ServedBy: {self.pair[1].address}".encode(), clients[0].recv(65536))
