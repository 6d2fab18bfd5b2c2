"""The configuration is read again while requests run, and no client notices."""

from __future__ import annotations

import http.client
import json
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.fake_https import FakeAuthority
from tests.integration.clients import Load, Tally
from tests.integration.processes import Mpp, Simulated, fetch, free_port, wait_until
from tests.integration.test_command import TWISTD_MPP

SUCCESSFUL = "mpp_config_last_reload_successful"
SUCCEEDED_AT = "mpp_config_last_reload_success_timestamp_seconds"


def refuses(port: int) -> bool:
    """Tell whether no program accepts connections at a port."""
    try:
        fetch(port, "/mpp/health")
    except ConnectionRefusedError:
        return True
    return False


class Configured(Mpp):
    """
    mpp with a configuration file.

    :ivar config: its path.
    """

    def __init__(self, *command: str, **keys: Any) -> None:
        super().__init__(())
        self.config = self.folder / "mpp.yaml"
        self._command = command or (sys.executable, "-m", "mpp")
        self.write(**keys)

    def write(self, text: str = "", **keys: Any) -> None:
        """Write the file anew: keys with hyphens for underscores, and a text behind them."""
        keys = {"port": self.port, "selection-interval": "500ms", **{name.replace("_", "-"): v for name, v in keys.items()}}
        fresh = self.config.with_suffix(".new")
        fresh.write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in keys.items()) + text)
        fresh.replace(self.config)

    def command(self) -> list[str]:
        """Return the command line."""
        return [*self._command, "--config", str(self.config)]

    def post(self) -> tuple[int, dict[str, Any]]:
        """Have it read its file; give status and answer."""
        status, _, body = fetch(self.port, "/mpp/reload", method="POST")
        return status, json.loads(body)

    def hang_up(self, says: str) -> None:
        """Send SIGHUP, and wait until it says what it made of it."""
        before = self.log().count(says)
        self.signal(signal.SIGHUP)
        wait_until(lambda: self.log().count(says) > before, says, 10)


class ReloadTests(SynchronousTestCase):
    """Two servers, and clients that never pause."""

    def setUp(self) -> None:
        """Start the servers."""
        self.servers = [Simulated(name=name) for name in ("a", "b")]
        for server in self.servers:
            server.start_for(self)
        self.urls = [server.url for server in self.servers]

    def mpp(self, *command: str, **keys: Any) -> Configured:
        """Start mpp."""
        return Configured(*command, **{"endpoint": self.urls, "enable_lifecycle": True, **keys}).start_for(self)

    def test_trusted_proxies(self) -> None:
        """Whom the log takes for the client follows the proxies named in the file; what makes no sense changes nothing."""
        mpp = self.mpp(access_log=True)

        def client() -> str:
            _, _, body = fetch(mpp.port, "/mpp/explain?format=json&url=/x", headers={"X-Forwarded-For": "192.0.2.7"})
            told: str = json.loads(body)["client"]
            before = mpp.log().count("path=/x")
            fetch(mpp.port, "/x", headers={"X-Forwarded-For": "192.0.2.7"})
            wait_until(lambda: mpp.log().count("path=/x") > before, "it is logged", 10)
            (line,) = [line for line in mpp.log().splitlines() if "path=/x" in line][-1:]
            self.assertIn(f" client={told} ", line)
            return told

        self.assertEqual(client(), "127.0.0.1")
        for networks, status, expected in (
            (["127.0.0.0/8", "::1"], 200, "192.0.2.7"),
            ("everyone", 500, "192.0.2.7"),
            ("10.0.0.0/8", 200, "127.0.0.1"),
            ("127.0.0.1", 200, "192.0.2.7"),
            ("none", 200, "127.0.0.1"),
        ):
            mpp.write(endpoint=self.urls, enable_lifecycle=True, access_log=True, trusted_proxies=networks)
            answered, told = mpp.post()
            self.assertEqual((answered, client()), (status, expected), told)

    def renew_certificate(self, workers: int) -> None:
        authority, port = FakeAuthority(), free_port()
        context = ssl.create_default_context(cadata=authority.pem.decode())
        pem = Path(self.mktemp()).absolute()
        pem.write_bytes(authority.issue("127.0.0.1", "one.example"))
        mpp = self.mpp(listen=f"ssl:{port}:privateKey={pem}:interface=127.0.0.1", workers=workers)

        def connect() -> tuple[http.client.HTTPSConnection, str]:
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
            self.addCleanup(connection.close)
            connection.connect()
            shown: Any = connection.sock
            return connection, shown.getpeercert()["subjectAltName"][1][1]

        def ask(connection: http.client.HTTPSConnection) -> int:
            connection.request("GET", "/api/v1/query?query=up")
            answer = connection.getresponse()
            answer.read()
            return answer.status

        first, name = connect()
        self.assertEqual((name, ask(first)), ("one.example", 200))
        pem.write_bytes(authority.issue("127.0.0.1", "two.example"))
        mpp.hang_up("configuration reloaded")
        # Workers are told by then, but need not have heard.
        wait_until(lambda: {connect()[1] for _ in range(5)} == {"two.example"}, "the new one is shown", 5)
        second, _ = connect()
        self.assertEqual((ask(second), ask(first)), (200, 200))
        self.assertEqual(mpp.log().count(f"127.0.0.1:{port} uses a changed certificate for new connections"), 1)
        pem.write_bytes(b"broken")
        status, told = mpp.post()
        self.assertEqual(status, 500)
        self.assertIn("expected privateKey and certKey to be files in PEM format that belong together", told["error"])
        third, name = connect()
        self.assertEqual((name, ask(third), ask(first)), ("two.example", 200, 200))

    def test_reloaded_certificate_is_for_new_connections(self) -> None:
        """A new certificate of an ``ssl:`` endpoint is shown to those who come after a reload; who is connected stays so."""
        for workers in (1, 2):
            self.renew_certificate(workers)

    def under_load(self, mpp: Configured, what: str, change: Callable[[], None]) -> Tally:
        """Change something under load, and require that no request fails, before, at and after it."""
        with Load(mpp.port, clients=8, pause=0.002) as load:
            load.reach(20)
            change()
            time.sleep(1.0)
            load.reach(30)
            tally = load.stop()
        print(
            f"\n{what:<40} | {tally.requests:>5} requests, {len(tally.failures)} failed, slowest {tally.slowest() * 1000:.0f} ms"
        )
        self.assertGreater(tally.requests, 50)
        self.assertEqual(tally.failures, [], f"{tally}\n{mpp.log()[-3000:]}")
        return tally

    def serving(self, mpp: Configured) -> set[str]:
        """Return the server that takes traffic."""
        return {server.address for server in self.servers if mpp.is_selected(server.address)}

    def viable(self, mpp: Configured) -> set[str]:
        """Return the servers that are known, and the healthy ones."""
        return {server.address for server in self.servers if mpp.standing_of(server.address) == "viable"}

    @property
    def both(self) -> set[str]:
        """Return both servers."""
        return {server.address for server in self.servers}

    def test_valid_change(self) -> None:
        """Limits, timeouts and affinity change at once, for the connections that are open as well."""
        mpp = self.mpp(routing_strategy="random")
        self.assertIn("set-cookie", fetch(mpp.port, "/api/v1/query?query=up")[1])

        def change() -> None:
            changed = {"retries": 1, "affinity_options": "none", "suspect_after": "1s"}
            mpp.write(endpoint=self.urls, enable_lifecycle=True, routing_strategy="random", **changed)
            names = ["affinity-options", "retries", "suspect-after"]
            self.assertEqual(mpp.post(), (200, {"status": "success", "data": {"changed": names}}))

        self.under_load(mpp, "limits, timeouts, affinity (POST)", change)
        self.assertNotIn("set-cookie", fetch(mpp.port, "/api/v1/query?query=up")[1])
        self.assertIn("changed: affinity-options, retries, suspect-after", mpp.log())

    def test_changed_strategy(self) -> None:
        """Another strategy chooses at once, by what is known already."""
        mpp = self.mpp(affinity_options="none")
        self.assertEqual(len(self.serving(mpp)), 1)

        def change() -> None:
            mpp.write(endpoint=self.urls, routing_strategy="random", affinity_options="none")
            mpp.hang_up("changed: routing-strategy, enable-lifecycle")
            wait_until(lambda: self.serving(mpp) == self.both, "both take traffic", 5)

        tally = self.under_load(mpp, "strategy (SIGHUP)", change)
        self.assertEqual(set(tally.served_by), self.both)
        self.assertEqual(fetch(mpp.port, "/mpp/reload", method="POST")[0], 403)

    def test_removed_backend(self) -> None:
        """A server that is taken out finishes what it has begun, and is forgotten."""
        mpp = self.mpp()
        (victim,) = self.serving(mpp)
        left = [server.url for server in self.servers if server.address != victim]

        def change() -> None:
            mpp.write(endpoint=left)
            mpp.hang_up("changed: endpoint")
            wait_until(lambda: f"{victim} is no longer listed" in mpp.log(), "it is forgotten", 5)

        self.under_load(mpp, "removed backend, the one that served", change)
        self.assertEqual(self.serving(mpp), self.both - {victim})
        mpp.write(endpoint=self.urls)
        self.under_load(mpp, "added backend", lambda: mpp.hang_up("changed: endpoint"))
        self.assertEqual(self.viable(mpp), self.both)

    def test_in_flight(self) -> None:
        """An answer that takes long is awaited from a server that is taken out, through a port that is closed meanwhile."""
        mpp = self.mpp(suspect_after="5s")
        (victim,) = (server for server in self.servers if mpp.is_selected(server.address))
        (other,) = (server for server in self.servers if server is not victim)
        victim.spoil("late", seconds=2.0, spare_probes=True)
        answers: list[tuple[int, dict[str, str], bytes]] = []
        waiting = threading.Thread(target=lambda: answers.append(fetch(mpp.port, "/api/v1/query?query=up")))
        waiting.start()
        wait_until(lambda: mpp.metric("mpp_backend_requests", backend=victim.address, state="active") == 1, "it has begun", 5)
        mpp.write(endpoint=other.url, port=free_port(), suspect_after="5s", routing_strategy="random", request_timeout="1s")
        mpp.hang_up("changed: endpoint, routing-strategy, port, request-timeout, enable-lifecycle")
        wait_until(lambda: f"{victim.address} is no longer listed" in mpp.log(), "it is forgotten", 5)
        self.assertEqual(answers, [])
        waiting.join(10)
        self.assertEqual([(status, headers["mpp.servedby"]) for status, headers, _ in answers], [(200, victim.address)])

    def test_invalid_file(self) -> None:
        """A file with mistakes changes nothing, tells them all, and is no longer held against it when it is mended."""
        mpp = self.mpp()
        began = mpp.metric(SUCCEEDED_AT)
        self.assertEqual(mpp.metric(SUCCESSFUL), 1)
        self.assertLess(abs(time.time() - began), 60)

        def change() -> None:
            mpp.write("retries: many\nprot: 1\n", endpoint=self.urls[:1], routing_strategy="best")
            status, answer = mpp.post()
            self.assertEqual((status, answer["status"], answer["errorType"]), (500, "error", "internal"))
            many = f"{mpp.config}:5: retries: expected a whole number, found the text 'many'"
            self.assertEqual(answer["error"], f"{many}; {mpp.config}:6: prot: no such key; did you mean port?")
            mpp.hang_up("6: prot: no such key; did you mean port?")
            mpp.config.unlink()
            mpp.hang_up("cannot be read (No such file or directory)")

        self.under_load(mpp, "invalid file, no file", change)
        self.assertEqual((mpp.metric(SUCCESSFUL), mpp.metric(SUCCEEDED_AT)), (0, began))
        self.assertEqual(self.viable(mpp), self.both)
        mpp.write("routing-strategy: best\n", endpoint=self.urls)
        self.assertIn("routing-strategy: unknown 'best'", mpp.post()[1]["error"])
        mpp.write(endpoint=self.urls, enable_lifecycle=True)
        self.assertEqual(mpp.post(), (200, {"status": "success", "data": {"changed": []}}))
        self.assertEqual(mpp.metric(SUCCESSFUL), 1)
        self.assertGreater(mpp.metric(SUCCEEDED_AT), began)

    def test_reload_replaces_ports_and_keeps_connections(self) -> None:
        """Another port is opened and the old one closed; connections that are open live on."""
        mpp = self.mpp()
        before, after = mpp.port, free_port()

        def change() -> None:
            mpp.write(endpoint=self.urls, port=after, enable_lifecycle=True)
            mpp.hang_up("changed: port")

        self.under_load(mpp, "another port", change)
        # A worker may close the port a moment after the reload was logged.
        wait_until(lambda: refuses(before), "the old port is closed")
        mpp.port = after
        self.assertEqual(fetch(after, "/mpp/health")[0], 200)

    def test_port_taken(self) -> None:
        """When a port cannot be opened nothing changes, whatever else is in the file."""
        mpp = self.mpp()

        def change() -> None:
            mpp.write(endpoint=self.urls[:1], retries=0, port=self.servers[0].port)
            status, answer = mpp.post()
            problem = f"{self.servers[0].port} is already in use; expected a free port"
            self.assertEqual((status, answer["error"]), (500, f"{mpp.config}:1: port: {problem}"))

        self.under_load(mpp, "a port that is taken", change)
        self.assertEqual(self.viable(mpp), self.both)

    def test_source_that_is_down(self) -> None:
        """A new source that does not answer takes no server away, until it has answered once."""
        mpp = self.mpp()
        targets = mpp.folder / "targets.json"

        def change() -> None:
            mpp.write(file_sd=str(targets))
            mpp.hang_up("changed: endpoint, file-sd")
            wait_until(lambda: "locator file-sd failed" in mpp.log(), "the source is read", 5)

        self.under_load(mpp, "another source, which is down", change)
        gone = f"{self.servers[0].address} is no longer listed"

        def mend() -> None:
            targets.write_text(json.dumps([{"targets": [self.servers[1].address]}]))
            wait_until(lambda: gone in mpp.log(), gone, 5)

        self.under_load(mpp, "which then answers", mend)
        self.assertEqual(self.serving(mpp), {self.servers[1].address})

    def test_quick_reloads_run_one_after_the_other(self) -> None:
        """Reloads in quick succession are made one after the other, and the last one counts."""
        mpp = self.mpp()

        def change() -> None:
            for number in range(20):
                strategy = ("random", "single-most-data")[number % 2]
                mpp.write(endpoint=self.urls[number % 2 :], routing_strategy=strategy, enable_lifecycle=True)
                self.assertEqual(mpp.post()[0], 200)

        self.under_load(mpp, "20 reloads in a row", change)
        wait_until(lambda: self.serving(mpp) == {self.servers[1].address}, "the last one counts", 5)

    def test_only_post_and_put_reload(self) -> None:
        """Only POST and PUT reload, and only where it is allowed."""
        mpp = self.mpp()
        self.assertEqual([fetch(mpp.port, "/mpp/reload", method=method)[0] for method in ("GET", "HEAD", "PUT")], [405, 405, 200])
        mpp.write(endpoint=self.urls)
        self.assertEqual([mpp.post()[0], mpp.post()[0], fetch(mpp.port, "/mpp/reload")[0]], [200, 403, 405])

    def test_twistd_leaves_sighup_to_mpp(self) -> None:
        """twistd leaves the signal to mpp."""
        mpp = self.mpp(*TWISTD_MPP)
        mpp.write(endpoint=self.urls[:1])
        mpp.hang_up("changed: endpoint, enable-lifecycle")


class WithoutFileTests(SynchronousTestCase):
    """mpp without a configuration file."""

    def test_hang_up(self) -> None:
        """The signal is harmless: there is nothing that could have changed, and the log says so."""
        server = Simulated().start_for(self)
        mpp = Mpp([server.url]).start_for(self)
        mpp.signal(signal.SIGHUP)
        wait_until(lambda: "reloaded from command line and environment, nothing has changed" in mpp.log(), "it says so", 10)
        self.assertEqual(fetch(mpp.port, "/api/v1/query?query=up")[0], 200)
