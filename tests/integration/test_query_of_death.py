"""A query kills the server that runs it: it must not kill the other one as well, however often it is asked."""

from __future__ import annotations

import json
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.clients import Load
from tests.integration.patience import within
from tests.integration.processes import Mpp, Process, Simulated, fetch, wait_until
from tests.integration.servers import SilentStorage, pair, require_binary

Answer = tuple[int, dict[str, str], bytes]

HEAVY, LIGHT = 10_900, 2
"""Steps: takes several seconds, takes none."""
LONG = 8.0
"""Seconds that a heavy query takes, roughly: longer than a server takes to stop."""


def query(hours: int, steps: int, begin: int = 0) -> str:
    """Return the target of a query of so many steps, which sorts the values of some hours for each, one value per second."""
    expression = f"quantile_over_time(0.5, vector(time())[{hours}h:1s])"
    return "/api/v1/query_range?" + urlencode({"query": expression, "start": begin, "end": begin + steps, "step": 1})


def hours_of_heavy(port: int) -> int:
    """Return how many hours a heavy query sorts, so that this server takes about `LONG` seconds for it."""
    began = time.monotonic()
    fetch(port, query(1, HEAVY), timeout=60)
    return max(2, round(LONG / (time.monotonic() - began)))


class KilledCase(SynchronousTestCase):
    """Clients that wait for long."""

    def setUp(self) -> None:
        self.clients = ThreadPoolExecutor(4)
        self.addCleanup(self.clients.shutdown, wait=False)

    def ask(self, mpp: Mpp, target: str) -> Future[Answer]:
        """Begin a request."""
        return self.clients.submit(fetch, mpp.port, target, timeout=100)

    def assert_refused(self, answer: Answer) -> None:
        """Require a 502 in words."""
        status, _, body = answer
        self.assertEqual(status, 502, body)
        told = json.loads(body)
        self.assertEqual(told["errorType"], "unavailable")
        self.assertIn("a server broke off while it ran this query, and may have died of it", told["error"])

    def begin(self, servers: list[str], *options: str) -> Mpp:
        """Start mpp, without affinity."""
        return Mpp(servers, "--affinity-options", "none", *options).start_for(self)


class RealPairTests(KilledCase):
    """Real servers run a real query for seconds and are killed, or stopped, in the middle."""

    def setUp(self) -> None:
        super().setUp()
        storage = SilentStorage()
        self.addCleanup(storage.close)
        # With samples left to write, a server takes two seconds to stop: the time that mpp needs to see that it stops.
        self.servers = pair(require_binary(), remote=storage.url, options=["--storage.remote.flush-deadline=2s"])
        for server in self.servers:
            self.addCleanup(server.close)
        self.hours = hours_of_heavy(self.servers[0].port)
        self.mpp = self.begin([server.url for server in self.servers], "--crash-suspect", "1s")

    def query(self, steps: int, begin: int = 0) -> str:
        """Return the target of a query of so many steps, always with the same text."""
        return query(self.hours, steps, begin)

    def victim(self) -> tuple[Process, Process]:
        """Return the server that takes the traffic, and the other one."""
        first, second = self.servers
        return (first, second) if self.mpp.is_selected(first.address) else (second, first)

    def test_query_of_death_spares_the_last_server(self) -> None:
        """The other server does not get the query as long as it is the last one; short queries notice nothing."""
        victim, _ = self.victim()
        with Load(self.mpp.port, clients=4, pause=0.01) as load:
            heavy = self.ask(self.mpp, self.query(HEAVY))
            time.sleep(2.5)
            self.assertFalse(heavy.done())
            victim.kill()
            self.assert_refused(heavy.result(within(10)))
            wait_until(lambda: self.mpp.standing_of(victim.address) == "down", "it is down", 5)
            for begin in (0, 30):
                self.assert_refused(fetch(self.mpp.port, self.query(LIGHT, begin)))
            tally = load.stop()
        self.assertEqual(tally.failures, [], self.mpp.log()[-3000:])
        self.assertEqual(self.mpp.metric("mpp_query_of_death_suspects_total", backend=victim.address), 1)
        self.assertEqual(self.mpp.metric("mpp_query_of_death_refusals_total"), 3)
        self.assertIn(f"{victim.address} broke the connection after running a query for", self.mpp.log())
        victim.start()
        wait_until(lambda: self.mpp.standing_of(victim.address) == "viable", "it is back", 10)
        self.assertEqual(fetch(self.mpp.port, self.query(LIGHT, 60))[0], 200)
        status = json.loads(fetch(self.mpp.port, "/mpp/status?format=json")[2])
        self.assertIn("crash", [event["kind"] for event in status["events"]])

    def test_stopped_server_hands_on_long_queries(self) -> None:
        """A server that was told to stop says so before it ends: its long queries go on elsewhere."""
        victim, other = self.victim()
        pending = "prometheus_remote_storage_samples_pending > 0"
        wait_until(lambda: victim.query(pending), "it has samples left to write", 60)
        with Load(self.mpp.port, clients=4, pause=0.002) as load:
            heavy = self.ask(self.mpp, self.query(HEAVY))
            time.sleep(2.5)
            self.assertFalse(heavy.done())
            victim.signal(signal.SIGTERM)
            status, fields, body = heavy.result(within(60))
            tally = load.stop()
        self.assertEqual(tally.failures, [], self.mpp.log()[-3000:])
        self.assertEqual((status, fields.get("mpp.servedby")), (200, other.address), (body[:500], self.mpp.log()[-3000:]))


class SimulatedPairTests(KilledCase):
    """Simulated servers that take their time."""

    def setUp(self) -> None:
        super().setUp()
        self.first = Simulated("--version", "3.5.0", "--history", "30d", name="first")
        self.second = Simulated("--version", "3.5.0", "--history", "10d", name="second")
        for server in (self.first, self.second):
            server.start_for(self)

    def test_every_worker_knows(self) -> None:
        """What one worker has found out about a query all of them know."""
        mpp = self.begin([self.first.url, self.second.url], "--crash-suspect", "1s", "--workers", "3")
        mpp.wait_selected(self.first.address)
        # The probes ask for vector(1), which is spared.
        self.first.spoil("late", seconds=60, spare_probes=True)
        heavy = self.ask(mpp, "/api/v1/query?query=up&time=1")
        time.sleep(2.5)
        self.first.kill()
        self.assert_refused(heavy.result(within(10)))
        # For the others to hear of it.
        time.sleep(0.2)
        for number in range(20):
            self.assert_refused(fetch(mpp.port, f"/api/v1/query?time={number}&query=up"))
        self.assertEqual(mpp.metric("mpp_query_of_death_refusals_total"), 21)
        self.assertEqual(fetch(mpp.port, "/api/v1/query?query=count(up)")[0], 200)

    def test_crash_suspect_0_retries_long_queries(self) -> None:
        """With --crash-suspect 0 a long query is tried on the other server."""
        mpp = self.begin([self.first.url, self.second.url], "--crash-suspect", "0")
        mpp.wait_selected(self.first.address)
        self.first.spoil("late", seconds=60, spare_probes=True)
        heavy = self.ask(mpp, "/api/v1/query?query=up")
        time.sleep(2.5)
        self.first.kill()
        status, fields, _ = heavy.result(within(10))
        self.assertEqual((status, fields["mpp.servedby"]), (200, self.second.address))

    def test_hung_server_that_is_killed(self) -> None:
        """A server that hangs for long and is then killed makes suspects of none of the queries that waited for it."""
        mpp = self.begin([self.first.url, self.second.url], "--crash-suspect", "1s")
        mpp.wait_selected(self.first.address)
        self.first.spoil("silence")
        self.second.spoil("status", status=503)
        waiting = self.ask(mpp, "/api/v1/query?query=up")
        time.sleep(3)
        self.assertFalse(waiting.done())
        self.second.mend()
        wait_until(lambda: mpp.is_selected(self.second.address), "the other one is back", 5)
        self.first.kill()
        status, fields, _ = waiting.result(within(10))
        self.assertEqual((status, fields["mpp.servedby"]), (200, self.second.address))
        self.assertEqual(mpp.metric("mpp_query_of_death_suspects_total"), 0)
