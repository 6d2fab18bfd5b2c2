"""What clients see when a server's response is a limiter's, a gateway's, or one about broken storage or refused credentials."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.clients import Ask, Load, Tally
from tests.integration.nginx import Nginx
from tests.integration.processes import Mpp, Process, Simulated, fetch, wait_until
from tests.integration.servers import SEEDED_UNTIL, Prometheus, binaries, version_of
from tests.integration.test_found import Guarded
from tests.integration.test_reload import Configured
from tests.integration.workers import one_process

QUERY = "/api/v1/query?query=up"
# Of 20 a second, 10 at once.
LIMIT = "limit_req zone=all burst=10 nodelay;"
SPARE_READY = "location = /-/ready { proxy_pass http://SERVER; }"
CLIENTS, PAUSE = 4, 0.12
"""Some 30 requests a second."""


class PairCase(SynchronousTestCase):
    """Two servers with something in front of each, and mpp."""

    def pair(self) -> tuple[Simulated, Simulated]:
        """Start two simulated servers; the first has more data."""
        first = Simulated("--version", "3.5.0", "--history", "30d", name="first")
        second = Simulated("--version", "3.5.0", "--history", "10d", name="second")
        return first.start_for(self), second.start_for(self)

    def front(self, *servers: Process, options: tuple[str, ...] = (), interval: str = "10s") -> Mpp:
        """Start mpp in front of servers, the first of which is selected."""
        options = ("--affinity-options", "none", "--no-single-flight", *options)
        mpp = Mpp([s.address for s in servers], *options, interval=interval).start_for(self)
        mpp.wait_selected(servers[0].address)
        return mpp

    def load(self, mpp: Mpp, seconds: float) -> Tally:
        """Ask 30 times a second for some seconds, and until 20 requests were repeated."""
        with Load(mpp.port, clients=CLIENTS, asks=(Ask(QUERY), Ask("/api/v1/labels")), pause=PAUSE) as load:
            time.sleep(seconds)
            wait_until(lambda: mpp.metric("mpp_retries_total") > 20, "20 requests were repeated")
            return load.stop()


class LimiterTests(PairCase):
    """nginx with ``limit_req`` in front of each server: 20 requests a second, of 30."""

    def check(self, locations: str, *options: str) -> None:
        """Let both servers be limited; no client must notice, and no server be ejected."""
        servers = [Nginx(server.address, LIMIT, locations).start_for(self) for server in self.pair()]
        mpp = self.front(*servers, options=options, interval="2s")
        tally = self.load(mpp, 6.0)
        self.assertEqual(tally.failures, [], f"{tally}\n{mpp.log()[-3000:]}")
        self.assertEqual(mpp.metric("mpp_ejections_total"), 0, mpp.log()[-3000:])

    def test_that_spares_ready(self) -> None:
        """What one limiter turns away the other server answers."""
        self.check(SPARE_READY)

    def test_that_limits_everything(self) -> None:
        """The same, if probes are turned away like everything else."""
        self.check("")

    def test_in_front_of_workers(self) -> None:
        """The same, if the requests are sent by other processes than the probes."""
        self.check(SPARE_READY, "--workers", "2")

    def test_a_gateway_without_a_server_is_out_soon(self) -> None:
        """A gateway that says 503 to everything is taken out within a second or two; no client notices."""
        servers = [Nginx(server.address).start_for(self) for server in self.pair()]
        mpp = self.front(*servers)
        with Load(mpp.port, clients=CLIENTS, asks=(Ask(QUERY),), pause=PAUSE) as load:
            servers[0].kill()
            servers[0].configure("return 503;")
            servers[0].start()
            wait_until(lambda: mpp.metric("mpp_backend_ejected", backend=servers[0].address) == 1, "it is out", 5)
            tally = load.stop()
        self.assertEqual(tally.failures, [], f"{tally}\n{mpp.log()[-3000:]}")


class GatewayTests(PairCase):
    """nginx as a gateway of one server that says what no Prometheus says."""

    STATUSES = (404, 408, 421, 425, 501, 505, 507, 520, 525, 530, 599)

    def test_no_status_of_a_gateway_reaches_clients(self) -> None:
        """Half of the requests meet a gateway that fails them in some way; no client sees a status of it."""
        first, second = self.pair()
        said = "".join(f"location = /api/v1/label/s{status}/values {{ return {status}; }}" for status in self.STATUSES)
        gateway = Nginx(first.address, locations=said).start_for(self)
        mpp = Mpp([gateway.address, second.address], "--routing-strategy", "random", "--affinity-options", "none").start_for(self)
        wait_until(lambda: mpp.metric("mpp_selected_backends") == 2, "both are selected")
        for status in self.STATUSES:
            before = mpp.metric("mpp_retries_total")
            found = []
            while mpp.metric("mpp_retries_total") == before:
                found += [fetch(mpp.port, target)[0] for target in (f"/api/v1/label/s{status}/values", QUERY, QUERY)]
                self.assertLess(len(found), 300, f"{status}: the gateway was never asked")
            self.assertEqual(set(found), {200}, status)


def broken(server: Prometheus, name: str) -> None:
    """Overwrite all but the beginning and the end of a file in each block of a server."""
    for path in Path(server.folder, "data").glob(f"01*/{name}"):
        with path.open("r+b") as file:
            file.seek(10)
            file.write(b"\0" * (path.stat().st_size - 70))


@one_process("each worker remembers which queries met a storage error")
class BrokenBlockTests(PairCase):
    """Real servers of every version there is, one of them with broken blocks."""

    def asked(self, mpp: Mpp) -> dict[str, int]:
        """Ask for what the blocks hold, in every way; give the status of each."""
        now = int(time.time())
        start, end = now - 10 * 3600, now - SEEDED_UNTIL - 600
        times = {"start": start, "end": end}
        targets = {
            "query": ("/api/v1/query", {"query": "sum(seeded)", "time": end}),
            "query_range": ("/api/v1/query_range", {"query": "sum(seeded)", "step": 600, **times}),
            "series": ("/api/v1/series", {"match[]": 'seeded{job=~"s.*"}', **times}),
            "labels": ("/api/v1/labels", {"match[]": 'seeded{job="seed"}', **times}),
            "values": ("/api/v1/label/instance/values", {"match[]": 'seeded{job="seed"}', **times}),
        }
        return {name: fetch(mpp.port, f"{path}?{urlencode(query)}")[0] for name, (path, query) in targets.items()}

    def check(self, binary: str, name: str) -> None:
        """Break a file of the first server while both run; clients must get what the second one reads."""
        first, second = (Prometheus(binary, name=each, history=10 * 3600) for each in "ab")
        first.start_for(self)
        second.start_for(self)
        mpp = self.front(first, second)
        broken(first, name)
        spoiled = fetch(first.port, f"/api/v1/query?query=sum(seeded)&time={int(time.time()) - SEEDED_UNTIL - 600}")
        self.assertEqual(spoiled[0], 422, spoiled)
        self.assertEqual(set(self.asked(mpp).values()), {200}, mpp.log()[-3000:])
        retries = mpp.metric("mpp_retries_total", reason="storage")
        self.assertGreater(retries, 0)
        self.assertEqual(mpp.metric("mpp_storage_errors_total", backend=first.address), retries)
        self.assertEqual(set(self.asked(mpp).values()), {200})
        self.assertEqual(mpp.metric("mpp_retries_total", reason="storage"), retries, "it was asked first again")
        status = json.loads(fetch(mpp.port, "/mpp/status?format=json")[2])
        self.assertTrue(any("cannot read a part of its storage" in each["why"] for each in status["backends"]), status)
        self.assertIn("cannot read a part of its storage", mpp.log())
        wrong = fetch(mpp.port, "/api/v1/query?" + urlencode({"query": "up * on(job) up"}))
        self.assertIn(wrong[0], (200, 422))
        self.assertNotIn("mpp.attempts", wrong[1], "an error of the query was tried twice")
        for server in (first, second):
            server.close()
        mpp.close()

    def test_overwritten_chunks_are_read_elsewhere(self) -> None:
        """A chunk file is overwritten: queries that read it are answered by the other server."""
        for binary in binaries():
            with self.subTest(version=version_of(binary)):
                self.check(binary, "chunks/000001")

    def test_overwritten_index_is_read_elsewhere(self) -> None:
        """An index is overwritten: queries, series, labels and label values are answered by the other server."""
        for binary in binaries():
            with self.subTest(version=version_of(binary)):
                self.check(binary, "index")


class CredentialsTests(PairCase):
    """Real servers with passwords, and mpp that knows them."""

    def setUp(self) -> None:
        found = [binary for binary in binaries() if version_of(binary) >= (2, 24)]
        if not found:
            self.skipTest("no Prometheus that has users")
        self.servers = [Guarded(found[-1], name, "one", "mpp").start_for(self) for name in "ab"]
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for name, text in (("user", "one"), ("password", "test")):
            (folder / name).write_text(text)
        self.folder = folder
        known = {"username_file": str(folder / "user"), "password_file": str(folder / "password")}
        self.mpp = Configured(
            endpoint=[server.address for server in self.servers],
            selection_interval="30s",
            # A server hashes a password that is new to it, and answers no other request that has a password meanwhile: on a
            # busy machine it is stuck for longer than a quarter of a second.
            suspect_after="10s",
            routing_strategy="random",
            affinity_options="none",
            locators=[{"name": "endpoint", "http_config": {"basic_auth": known}}],
        ).start_for(self)
        wait_until(lambda: self.mpp.metric("mpp_selected_backends") == 2, "both are selected")

    def test_one_refuses_them(self) -> None:
        """A server that does not know mpp any more is out within moments, and no client gets its 401."""
        self.servers[0].admit("mpp")
        answers = [fetch(self.mpp.port, QUERY) for _ in range(40)]
        self.assertEqual({status for status, _, _ in answers}, {200}, self.mpp.log()[-3000:])
        wait_until(lambda: self.mpp.metric("mpp_backend_ejected", backend=self.servers[0].address) == 1, "it is out", 5)

    def test_the_clients_own_are_not_in_the_way(self) -> None:
        """What a client sends is replaced by mpp's, so it is not the client who is refused."""
        self.assertEqual(fetch(self.mpp.port, QUERY, headers={"Authorization": "Basic Y2xpZW50OnNlY3JldA=="})[0], 200)

    def test_all_refuse_them(self) -> None:
        """A client is not asked for credentials that are not its own."""
        for server in self.servers:
            server.admit("mpp")
        for _ in range(10):
            status, fields, body = fetch(self.mpp.port, QUERY, headers={"Authorization": "Basic Y2xpZW50OnNlY3JldA=="})
            self.assertEqual(status, 502, body)
            self.assertNotIn("www-authenticate", fields)
            self.assertIn(b"the servers refuse mpp's credentials", body)

    def test_they_have_changed(self) -> None:
        """A user that was changed on the servers and in mpp's file is used by the first request that is refused."""
        time.sleep(1.1)
        for server in self.servers:
            server.admit("mpp")
        fresh = self.folder / "fresh"
        fresh.write_text("mpp")
        fresh.replace(self.folder / "user")
        answers = [fetch(self.mpp.port, QUERY)[0] for _ in range(20)]
        self.assertEqual(answers, [200] * 20, self.mpp.log()[-3000:])
        self.assertEqual(self.mpp.metric("mpp_ejections_total"), 0, self.mpp.log()[-3000:])
