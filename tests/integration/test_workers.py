"""Several workers look like one program from outside, and nothing that happens to one of them concerns the others' clients."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import time
from collections import Counter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.clients import Load
from tests.integration.patience import within
from tests.integration.processes import Mpp, Simulated, fetch, wait_until
from tests.integration.restarts import clean
from tests.integration.workers import one_process

QUERY = "/api/v1/query?query=up"


def children(pid: int) -> list[int]:
    """Return the processes that one has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def connections(pid: int, port: int) -> int:
    """Tell how many clients are connected to a process."""
    inodes = set()
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(f"/proc/{pid}/fd/{descriptor}").removeprefix("socket:[").removesuffix("]"))
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    at = f":{port:04X}"
    # The kernel may list a socket twice if the table changes while it is read.
    return len({line[9] for line in lines if line[1].endswith(at) and line[3] == "01"} & inodes)


class WorkersTestCase(SynchronousTestCase):
    """mpp with two workers in front of two simulated servers."""

    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        """Start all."""
        self.servers = [self.server(name) for name in ("a", "b")]
        self.mpp = Mpp(
            [server.url for server in self.servers], "--workers", "2", "--routing-strategy", "random", *self.options
        ).start_for(self)
        self.wait_workers()

    def server(self, name: str) -> Simulated:
        """Start one server."""
        return Simulated("--version", "3.5.0", name=name).start_for(self)

    @property
    def workers(self) -> list[int]:
        """Their process ids."""
        return children(self.mpp.pid)

    def wait_workers(self) -> None:
        """Wait until both let clients in."""
        wait_until(lambda: len(self.workers) == 2, "two workers run")
        wait_until(lambda: self.mpp.log().count("mpp serves") >= 3, "both serve")

    def crowd(self, count: int) -> list[http.client.HTTPConnection]:
        """Let so many clients connect, ask once, and stay."""
        crowd = []
        for _ in range(count):
            client = http.client.HTTPConnection("127.0.0.1", self.mpp.port, timeout=10)
            self.addCleanup(client.close)
            client.connect()
            crowd.append(client)
        for client in crowd:
            client.request("GET", QUERY)
        for client in crowd:
            answer = client.getresponse()
            self.assertEqual((answer.status, answer.read()[:19]), (200, b'{"status":"success"'))
        return crowd


class SharingTests(WorkersTestCase):
    """Clients and counts."""

    def test_connections_are_spread_evenly(self) -> None:
        """Connections are spread evenly over the workers, few and many."""
        for count, most in ((16, 4), (200, 20)):
            with self.subTest(count=count):
                crowd = self.crowd(count)
                found = [connections(worker, self.mpp.port) for worker in self.workers]
                self.assertEqual(sum(found), count)
                self.assertLessEqual(max(found) - min(found), most, found)
                for client in crowd:
                    client.close()
                wait_until(lambda: not any(connections(worker, self.mpp.port) for worker in self.workers), "all have left")

    def test_metrics_add_up(self) -> None:
        """The metrics speak for all workers, whichever is asked: they count each request once, and all connections."""
        crowd = self.crowd(20)
        for client in crowd:
            for _ in range(4):
                client.request("GET", QUERY)
                client.getresponse().read()
        for _ in range(4):
            self.assertEqual(self.mpp.metric("mpp_requests_total", code="200"), 100)
            self.assertEqual(self.mpp.metric("mpp_request_duration_seconds_count"), 100)
            # The connection of the scrape before this one may still be open at another worker for a moment.
            wait_until(lambda: self.mpp.metric("mpp_client_connections") == 21, "the crowd and the scrape are all connections")
        self.assertEqual(self.mpp.metric("mpp_workers"), 2)
        self.assertEqual(self.mpp.metric("mpp_backend_standing", standing="viable"), 2)

    def test_status_page_is_the_same_from_every_worker(self) -> None:
        """The status page is the same from every worker, and knows all of a server."""
        for _ in range(6):
            status, headers, body = fetch(self.mpp.port, "/mpp/status")
            self.assertEqual((status, headers["content-type"]), (200, "text/html; charset=utf-8"))
            self.assertIn(b"2 of 2 backends viable, 2 selected", body)
            self.assertIn(b"<dd>3.5.0</dd>", body)

    def test_workers_do_not_multiply_probes(self) -> None:
        """Servers are probed as often as by a single process."""
        rounds, before = self.mpp.metric("mpp_selection_rounds_total"), self.servers[0].count("/-/ready")
        wait_until(lambda: self.mpp.metric("mpp_selection_rounds_total") >= rounds + 3, "three rounds", 10)
        rounds, probes = self.mpp.metric("mpp_selection_rounds_total") - rounds, self.servers[0].count("/-/ready") - before
        self.assertApproximates(probes, rounds, 2)


class DeathTests(WorkersTestCase):
    """A worker is killed."""

    def test_killed_under_load(self) -> None:
        """Only its own requests fail, and it is back soon; what it has counted is not forgotten."""
        load = Load(self.mpp.port, clients=8, at_most=20).start()
        time.sleep(1)
        counted = self.mpp.metric("mpp_requests_total", code="200")
        dead = self.workers[0]
        os.kill(dead, signal.SIGKILL)
        began = time.monotonic()
        wait_until(lambda: len(self.workers) == 2 and dead not in self.workers, "it is replaced", 10)
        self.wait_clients(self.workers[-1])
        back = time.monotonic() - began
        time.sleep(1)
        tally = load.stop()
        self.assertLess(back, within(10))
        self.assertLessEqual(len(tally.failures), 5, tally.failures)
        self.assertTrue(tally.failures)
        self.assertEqual(set(tally.statuses), {200})
        self.assertGreaterEqual(self.mpp.metric("mpp_requests_total", code="200"), counted)
        self.assertEqual(self.mpp.metric("mpp_worker_restarts_total"), 1)

    def wait_clients(self, worker: int) -> None:
        """Wait until a worker takes its share of new clients."""

        def takes() -> bool:
            with contextlib.ExitStack() as stack:
                for _ in range(10):
                    stack.enter_context(socket.create_connection(("127.0.0.1", self.mpp.port), timeout=5))
                time.sleep(0.1)
                return connections(worker, self.mpp.port) > 0

        wait_until(takes, "it takes clients", 10)

    def test_hung_worker_delays_no_new_client(self) -> None:
        """While a worker hangs, the other one takes all new clients, and pages come within two seconds."""
        self.crowd(4)
        stuck = self.workers[0]
        os.kill(stuck, signal.SIGSTOP)
        for _ in range(10):
            began = time.monotonic()
            self.assertEqual(fetch(self.mpp.port, QUERY)[0], 200)
            self.assertLess(time.monotonic() - began, within(1))
        began = time.monotonic()
        self.assertGreaterEqual(self.mpp.metric("mpp_worker_unanswered_total"), 1)
        self.assertLess(time.monotonic() - began, within(3))

    def test_parent_killed(self) -> None:
        """When the parent is killed its workers are gone, too, and the port is free."""
        workers = self.workers
        self.mpp.kill()
        wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), "all are gone", 5)
        self.assertRaises(OSError, fetch, self.mpp.port, QUERY)


class EjectionTests(WorkersTestCase):
    """What one worker finds out."""

    options = ("--affinity-options", "none", "--selection-interval", "60s")

    def test_ejection_is_everyones(self) -> None:
        """A server that one worker's request finds dead is not tried by another worker, nor by the same one, again."""
        crowd = self.crowd(20)
        self.servers[0].kill()
        served: Counter[str] = Counter()
        for _ in range(5):
            for client in crowd:
                client.request("GET", QUERY)
                answer = client.getresponse()
                answer.read()
                self.assertEqual(answer.status, 200)
                served[answer.headers["MPP.ServedBy"]] += 1
        self.assertEqual(set(served), {self.servers[1].address})
        self.assertLessEqual(self.mpp.metric("mpp_retries_total"), 3)
        self.assertEqual(self.mpp.metric("mpp_ejections_total", backend=self.servers[0].address), 1)
        self.assertFalse(self.mpp.is_selected(self.servers[0].address))

    def test_return_is_everyones(self) -> None:
        """A server that is back takes traffic from all workers again."""
        port, control = self.servers[0].port, self.servers[0].control_port
        self.servers[0].kill()
        crowd = self.crowd(4)
        back = Simulated("--version", "3.5.0", name="a")
        back.port, back.control_port = port, control
        back.start_for(self)
        self.mpp.wait_selected(back.address)
        served = set()
        for client in crowd * 8:
            # It reads no samples: for newest data the other server is asked until this one has scraped it again.
            client.request("GET", "/api/v1/query?query=vector(1)")
            answer = client.getresponse()
            answer.read()
            served.add(answer.headers["MPP.ServedBy"])
        self.assertEqual(len(served), 2)


class StopTests(WorkersTestCase):
    """SIGTERM."""

    def ended(self, within: float) -> None:
        """Wait for the end of all, which is clean."""
        workers = self.workers
        assert self.mpp.process is not None
        self.assertTrue(clean(self.mpp.process.wait(within)))
        self.assertFalse([worker for worker in workers if Path(f"/proc/{worker}").exists()])
        self.assertNotIn("Traceback", self.mpp.log())

    def slow(self) -> list[http.client.HTTPConnection]:
        """Ask what takes two seconds, often enough that each worker is asked."""
        for server in self.servers:
            server.set(query_takes=2.0)
        crowd = [http.client.HTTPConnection("127.0.0.1", self.mpp.port, timeout=10) for _ in range(6)]
        for client in crowd:
            self.addCleanup(client.close)
            client.request("GET", QUERY)
        time.sleep(0.5)
        self.assertTrue(all(connections(worker, self.mpp.port) for worker in self.workers))
        return crowd

    def test_all_workers_drain(self) -> None:
        """What all workers have in flight is answered, then all end; nobody new is let in."""
        crowd = self.slow()
        self.mpp.signal(signal.SIGTERM)
        for client in crowd:
            answer = client.getresponse()
            self.assertEqual((answer.status, answer.headers["Connection"]), (200, "close"))
            answer.read()
        self.ended(5)
        self.assertRaises(OSError, fetch, self.mpp.port, QUERY)

    def test_all_are_told(self) -> None:
        """A terminal and a supervisor signal all processes at once: that is one signal, and nothing is cut short."""
        crowd = self.slow()
        for pid in (*self.workers, self.mpp.pid):
            os.kill(pid, signal.SIGTERM)
        for client in crowd:
            self.assertEqual(client.getresponse().status, 200)
            client.close()
        self.ended(5)

    def test_second_signal(self) -> None:
        """A second signal cuts short what is in flight."""
        crowd = self.slow()
        self.mpp.signal(signal.SIGTERM)
        time.sleep(0.3)
        self.mpp.signal(signal.SIGTERM)
        began = time.monotonic()
        self.ended(5)
        self.assertLess(time.monotonic() - began, within(1.5))
        for client in crowd:
            self.assertRaises((OSError, http.client.HTTPException), client.getresponse)


class SingleTests(SynchronousTestCase):
    """One worker, the default."""

    @one_process("it is about the default")
    def test_no_extra_process(self) -> None:
        """There is one process."""
        server = Simulated("--version", "3.5.0").start_for(self)
        mpp = Mpp([server.url]).start_for(self)
        self.assertEqual(children(mpp.pid), [])
