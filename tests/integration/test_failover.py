"""A server dies, hangs, starts or misbehaves, and no client notices. Short versions; the long ones are in ``long/``."""

from __future__ import annotations

import json
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.clients import FORM, Ask, Load, Tally
from tests.integration.processes import Mpp, Simulated, fetch, wait_until
from tests.integration.servers import Prometheus, binaries, pair, require_binary

HISTORY = 10 * 3600
SLOW_QUERY = "/api/v1/query_range?query=quantile_over_time(0.5,vector(time())[2h:1s])&start=0&end=10000&step=1&timeout=2s"
"""Takes a query slot until its timeout: 10,000 times 7,200 values are sorted."""


class _Failover(SynchronousTestCase):
    """Base: processes that end with the test."""

    def mpp(self, servers: list[str], *options: str) -> Mpp:
        """Start mpp in front of some servers."""
        return Mpp(servers, *options).start_for(self)

    def real_pair(self) -> tuple[Prometheus, Prometheus]:
        """Start two real servers."""
        servers = pair(require_binary(), history=HISTORY)
        for server in servers:
            self.addCleanup(server.close)
        return servers

    def assert_no_failure(self, tally: Tally, mpp: Mpp) -> None:
        """Require that there were requests and that none failed."""
        self.assertGreater(tally.requests, 0)
        self.assertEqual(tally.failures, [], f"{tally}\n{mpp.log()[-3000:]}")


class KillTests(_Failover):
    """SIGKILL for a server that answers, and its return, under load."""

    def kill_and_restart(self, strategy: str) -> None:
        """Kill the server that answers, then the other one, each with the first one's return in between."""
        servers = self.real_pair()
        # Each request is sent, so that some of them meet the dead server.
        mpp = self.mpp([server.url for server in servers], "--routing-strategy", strategy, "--no-single-flight")
        with Load(mpp.port, clients=8) as load:
            for _ in range(2):
                load.reach(20)
                victim = next(server for server in servers if mpp.is_selected(server.address))
                victim.kill()
                # Requests meet the dead server, unless all clients of a busy machine were waiting for the processor just then.
                load.reach(20)
                wait_until(lambda: not mpp.is_selected(victim.address), "it is out", 5)  # noqa: B023
                victim.start()
                wait_until(lambda: mpp.standing_of(victim.address) == "viable", "the server is back", 5)  # noqa: B023
            tally = load.stop()
        self.assert_no_failure(tally, mpp)

    def test_single_most_data(self) -> None:
        """No request fails with ``single-most-data``."""
        self.kill_and_restart("single-most-data")

    def test_random_survives_kill_and_restart(self) -> None:
        """No request fails with ``random``."""
        self.kill_and_restart("random")

    def test_minimum_history(self) -> None:
        """No request fails with ``minimum-history``."""
        self.kill_and_restart("minimum-history:5h")

    def test_sigstop_fails_no_request(self) -> None:
        """A server that hangs and is continued fails no request."""
        servers = self.real_pair()
        mpp = self.mpp([server.url for server in servers])
        victim = next(server for server in servers if mpp.is_selected(server.address))
        with Load(mpp.port, clients=8) as load:
            load.reach(10)
            victim.signal(19)
            time.sleep(2.0)
            victim.signal(18)
            load.reach(20)
            tally = load.stop()
        self.assert_no_failure(tally, mpp)


class StandingTests(_Failover):
    """Servers that are there and not, or not quite, to be used."""

    def replaying(self, binary: str) -> None:
        """Let one of two servers hang in the replay of its WAL."""
        serving, replaying = Prometheus(binary, history=HISTORY), Prometheus(binary, history=2 * HISTORY)
        for server in (serving, replaying):
            self.addCleanup(server.close)
        replaying.hold_replay()
        replaying.start(wait=False)
        serving.start()
        wait_until(lambda: "503" in str(self.status(replaying)), "the replaying server says so")
        mpp = self.mpp([replaying.url, serving.url])
        self.assertEqual(mpp.standing_of(replaying.address), "not_ready")
        self.assertEqual([mpp.is_selected(server.address) for server in (replaying, serving)], [False, True])
        self.assertEqual(fetch(mpp.port, "/api/v1/query?query=1")[1]["mpp.servedby"], serving.address)
        replaying.end_replay()
        wait_until(lambda: mpp.standing_of(replaying.address) == "viable", "it is used when it is ready", 5)

    def status(self, server: Prometheus) -> int:
        """Return the status of ``/-/ready``, 0 when it does not answer."""
        try:
            return fetch(server.port, "/-/ready")[0]
        except OSError:
            return 0

    def test_replaying_old(self) -> None:
        """A server (oldest version) that replays its WAL is listed and not selected."""
        require_binary()
        self.replaying(binaries()[0])

    def test_replaying_new(self) -> None:
        """A server (newest version) that replays its WAL is listed and not selected."""
        self.replaying(require_binary())

    def test_empty_server_serves_only_when_the_full_one_dies(self) -> None:
        """A new, empty server is not chosen by ``single-most-data``, though it is listed first, until the other one dies."""
        empty, full = Prometheus(require_binary()), Prometheus(require_binary(), history=HISTORY)
        for server in (empty, full):
            server.start_for(self)
        mpp = self.mpp([empty.url, full.url])
        # On a busy machine the first round may end before the amount of data is known.
        selected = [False, True]
        wait_until(lambda: [mpp.is_selected(server.address) for server in (empty, full)] == selected, "the full one is selected")
        full.kill()
        self.assertEqual(fetch(mpp.port, "/api/v1/query?query=1")[1]["mpp.servedby"], empty.address)

    def slots_taken(self, binary: str) -> None:
        """Occupy the only query slot of the only server."""
        server = Prometheus(binary, max_concurrency=1).start_for(self)
        with Load(server.port, clients=2, asks=[Ask(SLOW_QUERY)], at_most=60) as slow:
            time.sleep(0.3)
            mpp = self.mpp([server.url])
            wait_until(lambda: mpp.standing_of(server.address) == "busy", "its slot is taken", 10)
            self.assertTrue(mpp.is_selected(server.address))
            self.assertEqual(fetch(mpp.port, "/api/v1/labels")[0], 200)
            slow._stopped.set()
            self.assertEqual(fetch(mpp.port, "/api/v1/query?query=1", timeout=60)[0], 200)
            slow.stop()
        wait_until(lambda: mpp.standing_of(server.address) == "viable", "it is viable again", 5)

    def test_slots_taken_old(self) -> None:
        """A server (oldest version) with all query slots taken stays usable."""
        require_binary()
        self.slots_taken(binaries()[0])

    def test_slots_taken_new(self) -> None:
        """A server (newest version) with all query slots taken stays usable."""
        self.slots_taken(require_binary())


class FaultTests(_Failover):
    """One of two simulated servers, the one with most data, misbehaves for everyone but health checks."""

    FAULTS: tuple[tuple[str, dict[str, object]], ...] = (
        ("refuse", {}),
        ("status", {"status": 503}),
        ("status", {"status": 500}),
        ("status", {"status": 502}),
        ("half-close", {}),
        ("half-reset", {}),
        ("garbage", {}),
        ("close", {}),
        ("die", {"share": 0.3}),
        ("wrong-length", {}),
        ("interim", {}),
    )

    def simulated_pair(self) -> tuple[Simulated, Simulated]:
        """Start two; the first one has more data."""
        servers = (
            Simulated("--version", "3.5.0", "--history", "30d", name="faulty"),
            Simulated("--version", "3.5.0", "--history", "10d", name="well"),
        )
        for server in servers:
            server.start_for(self)
        return servers

    def test_no_fault_is_seen(self) -> None:
        """No client sees any of it, whether the server's health checks fail too or not."""
        faulty, well = self.simulated_pair()
        for fault, arguments in self.FAULTS:
            # Another one each time: the same one would keep such a server out for longer and longer.
            mpp = self.mpp([faulty.url, well.url], "--affinity-options", "none")
            for spare_probes in (True, False):
                mpp.wait_selected(faulty.address)
                with Load(mpp.port, clients=4) as load:
                    load.reach(1)
                    faulty.spoil(fault, spare_probes=spare_probes, **arguments)  # type: ignore[arg-type]
                    time.sleep(0.25)
                    load.reach(10)
                    tally = load.stop()
                faulty.mend()
                self.assertEqual(tally.failures, [], f"{fault} {arguments} {spare_probes}: {tally}\n{mpp.log()[-3000:]}")
            mpp.close()

    def test_starved_queries_go_elsewhere(self) -> None:
        """A query that starved in one server's queue is asked of another one."""
        faulty, well = self.simulated_pair()
        mpp = self.mpp([faulty.url, well.url])
        for version in ("2.42.0", "3.5.0"):
            faulty.set(version=version, busy=False)
            mpp.wait_selected(faulty.address)
            faulty.set(busy=True)
            status, headers, data = fetch(mpp.port, "/api/v1/query?query=up&timeout=100ms")
            self.assertEqual((status, headers["mpp.servedby"]), (200, well.address), data)

    def test_query_errors_are_no_reason_to_retry(self) -> None:
        """A bad query is answered once, by one server, and harms nobody."""
        faulty, well = self.simulated_pair()
        mpp = self.mpp([faulty.url, well.url])
        form = Ask("/api/v1/query", "POST", FORM, b"query=sum(")
        status, _, data = fetch(mpp.port, form.target, method=form.method, headers=form.headers, body=form.body)
        self.assertEqual((status, json.loads(data)["errorType"]), (400, "bad_data"))
        self.assertEqual(mpp.metric("mpp_retries_total"), 0)
        self.assertTrue(mpp.is_selected(faulty.address))

    def test_nobody_left(self) -> None:
        """When no server is left, a client gets Prometheus' own shape of error, and is told to come again."""
        faulty, well = self.simulated_pair()
        mpp = self.mpp([faulty.url, well.url])
        faulty.kill()
        well.kill()
        status, headers, data = fetch(mpp.port, "/api/v1/query?query=up")
        self.assertIn(status, (502, 503))
        self.assertEqual(json.loads(data)["status"], "error")
        self.assertEqual(fetch(mpp.port, "/mpp/health")[0], 200)
        status, headers, data = fetch(mpp.port, "/api/v1/query?query=up")
        self.assertEqual((status, "retry-after" in headers), (503, True), data)
        well.start()
        self.assertEqual(wait_until(lambda: fetch(mpp.port, "/api/v1/query?query=up")[0] == 200, "it serves again", 5), True)
