"""Slow, large and rude clients cost little and leave nothing behind."""

from __future__ import annotations

import contextlib
import socket
import time

from twisted.trial.unittest import SynchronousTestCase

from mpp.wire.upstream.pool import MAX_IDLE
from tests.integration.clients import Load, SlowReader, hang_up, raw
from tests.integration.patience import within
from tests.integration.processes import Mpp, Simulated, fetch, wait_until
from tests.integration.workers import one_process

MB = 1_000_000
KEPT = MAX_IDLE + 8
"""Connections to the backend that mpp may keep open for the next requests."""


class LimitTests(SynchronousTestCase):
    """mpp in front of one simulated server."""

    def setUp(self) -> None:
        """Start both and let mpp warm up."""
        self.simulated = Simulated("--version", "3.5.0").start_for(self)
        self.mpp = Mpp([self.simulated.url]).start_for(self)
        for _ in range(20):
            fetch(self.mpp.port, "/big?bytes=3000000")

    def in_flight(self) -> float:
        """Return the number of requests being answered."""
        return self.mpp.metric("mpp_requests_in_flight")

    def test_slow_readers(self) -> None:
        """Eight clients that read a large answer at 1 MB/s cost less than 50 MB, and nothing after they are gone."""
        idle, before = self.in_flight(), self.mpp.resident()
        readers = [SlowReader(self.mpp.port, f"/big?bytes={50 * MB}", bytes_per_second=1 * MB) for _ in range(8)]
        most = 0
        for _ in range(16):
            time.sleep(0.25)
            most = max(most, self.mpp.resident())
        for reader in readers:
            self.assertEqual(reader.error, "")
            self.assertFalse(reader.finished)
            wait_until(lambda reader=reader: reader.received > 2 * MB, "it reads", 10)
            reader.stop()
        self.assertLess(most - before, 50 * MB)
        wait_until(lambda: self.in_flight() == idle, "no request is left", 5)
        wait_until(lambda: self.mpp.metric("mpp_held_bytes") == 0, "no byte is held", 5)

    def test_large_answers_arrive_whole(self) -> None:
        """A fast client gets every byte of a large answer, however its length was announced."""
        for target in ("/big?bytes=30000000", "/big?bytes=30000000&chunked=1"):
            self.assertEqual(len(fetch(self.mpp.port, target)[2]), 30 * MB)

    def test_clients_that_hang_up(self) -> None:
        """A thousand clients that hang up in the middle of something leave no request and no connection."""
        idle, descriptors = self.in_flight(), self.mpp.descriptors()
        self.simulated.set(query_takes=2.0)
        query = b"GET /api/v1/query?query=up HTTP/1.1\r\nHost: x\r\n\r\n"
        post = b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nquery="
        large = b"GET /big?bytes=3000000 HTTP/1.1\r\nHost: x\r\n\r\n"
        stream = b"GET /api/v1/notifications/live HTTP/1.1\r\nHost: x\r\n\r\n"
        hang_up(self.mpp.port, 1000, [query, query[:30], post, large, b"", stream, query * 2], after=0.05)
        wait_until(lambda: self.in_flight() == idle, "no request is left", 10)
        wait_until(lambda: self.mpp.descriptors() <= descriptors + KEPT, "no connection is left", 10)
        wait_until(lambda: self.mpp.metric("mpp_held_bytes") == 0, "no byte is held", 5)
        self.simulated.set(query_takes=0.0)
        self.assertEqual(fetch(self.mpp.port, "/api/v1/query?query=up")[0], 200)
        self.assertTrue(self.mpp.is_selected(self.simulated.address))
        self.assertEqual([sample for sample in self.mpp.samples() if sample[0] == "mpp_retries_total" and sample[2]], [])

    def test_broken_large_answers(self) -> None:
        """When the server breaks off beyond what is held back, the client is cut off: the answer never looks complete."""
        self.simulated.spoil("half-close", spare_probes=True)
        for target in (b"/big?bytes=8000000", b"/big?bytes=8000000&chunked=1"):
            for version in (b"1.1", b"1.0"):
                request = b"GET %b HTTP/%b\r\nHost: x\r\nConnection: close\r\n\r\n" % (target, version)
                self.assertRaises(ConnectionResetError, raw, self.mpp.port, request)
        self.assertEqual(self.mpp.metric("mpp_truncated_responses_total"), 4)


class FewFiles(Mpp):
    """mpp that may have few files open."""

    files = 100

    def command(self) -> list[str]:
        """Return the command line."""
        return ["sh", "-c", 'ulimit -n "$0" && exec "$@"', str(self.files), *super().command()]


@one_process("the limits of files and connections are those of each process")
class CrowdTests(SynchronousTestCase):
    """More clients than there is room for."""

    def setUp(self) -> None:
        """Start a simulated server."""
        self.simulated = Simulated("--version", "3.5.0").start_for(self)
        self.crowd = contextlib.ExitStack()
        self.addCleanup(self.crowd.close)

    def begin(self, *options: str) -> Mpp:
        """Start mpp in front of it."""
        return FewFiles([self.simulated.url], *options).start_for(self)

    def connect(self, port: int, count: int) -> list[socket.socket]:
        """Let many connect, and say nothing."""
        return [self.crowd.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(count)]

    def lines(self, mpp: Mpp, text: str) -> int:
        """Count lines of the log."""
        return sum(text in line for line in mpp.log().splitlines())

    def test_idle_connections_make_room(self) -> None:
        """Idle connections make room for those that ask; nobody is refused, and mpp stays within its files."""
        mpp = self.begin()
        self.connect(mpp.port, 60)
        for _ in range(3):
            self.assertEqual(fetch(mpp.port, "/api/v1/query?query=up", timeout=30)[0], 200)
        self.assertLess(mpp.descriptors(), FewFiles.files)
        self.assertLessEqual(mpp.metric("mpp_client_connections"), mpp.metric("mpp_client_connections_limit"))
        self.assertEqual(
            (self.lines(mpp, "client connections wait: the limit is reached"), self.lines(mpp, "descriptors")), (1, 0)
        )

    def test_more_clients_than_places(self) -> None:
        """Twice as many clients as there are places are all served, without a failure."""
        mpp = self.begin("--max-connections", "10")
        load = Load(mpp.port, clients=20).start()
        time.sleep(4)
        load.reach(100)
        tally = load.stop()
        self.assertEqual(tally.failures, [])
        self.assertGreater(tally.requests, 100)
        self.assertLess(tally.slowest(), within(5))

    def test_out_of_descriptors(self) -> None:
        """Out of descriptors new connections are shed, in one line of the log; afterwards all is as before."""
        mpp = self.begin("--max-connections", "1000")
        before, lines = mpp.descriptors(), len(mpp.log().splitlines())
        for _ in range(10):
            self.connect(mpp.port, 100)
            time.sleep(0.2)
        self.crowd.close()
        wait_until(lambda: self.answers(mpp.port), "it answers again", 10)
        wait_until(lambda: mpp.descriptors() <= before + KEPT, "descriptors are back", 10)
        self.assertEqual(self.lines(mpp, "out of file descriptors"), 1)
        self.assertLess(len(mpp.log().splitlines()) - lines, 20, mpp.log())
        self.assertNotIn("Traceback", mpp.log())

    def answers(self, port: int) -> bool:
        """Tell whether a query is answered."""
        try:
            return fetch(port, "/api/v1/query?query=up", timeout=2)[0] == 200
        except OSError:
            return False
