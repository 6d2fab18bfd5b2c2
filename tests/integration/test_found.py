"""Servers that want different credentials and headers, by who found them; all of it changes while clients ask."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.clients import Load
from tests.integration.processes import Process, Simulated, fetch, wait_until
from tests.integration.servers import Prometheus, require_binary
from tests.integration.test_reload import Configured
from tests.integration.workers import one_process

# bcrypt of "test" at the least cost: with the usual one a server that gets to know a user stands still for a second.
_HASH = "$2b$04$hNf2lSsxfm0.i4a.1kVpSORlJqwqYFZ3x1Am1frBDy6/wVn4lx8/i"


class Guarded(Prometheus):
    """A Prometheus with users, all of whom have the same password."""

    def __init__(self, binary: str, name: str, *users: str) -> None:
        super().__init__(binary, name=name)
        self.admit(*users)

    def admit(self, *users: str) -> None:
        """Have these users, from the next request on."""
        self._users = users
        fresh = self.folder / "web.yml.new"
        fresh.write_text("basic_auth_users:\n" + "".join(f"  {user}: {_HASH}\n" for user in users))
        fresh.replace(self.folder / "web.yml")

    def command(self) -> list[str]:
        """Return the command line."""
        return [*super().command(), f"--web.config.file={self.folder}/web.yml"]

    def is_ready(self) -> bool:
        """Tell whether it says so, to one of its users."""
        authorization = "Basic " + base64.b64encode(f"{self._users[0]}:test".encode()).decode()
        return fetch(self.port, "/-/ready", headers={"Authorization": authorization}, timeout=5)[0] == 200


@one_process("its file says how many workers there are, and the variable counts more")
class FoundCase(SynchronousTestCase):
    """Two servers, and mpp with a locator for each."""

    # Processes of mpp that serve clients.
    workers = 1

    def setUp(self) -> None:
        """Make a folder."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def write(self, name: str, content: str) -> str:
        """Write a file, all at once; give its path."""
        fresh = self.folder / f"{name}.new"
        fresh.write_text(content)
        fresh.replace(self.folder / name)
        return str(self.folder / name)

    def list_targets(self, *addresses: str) -> str:
        """Write the file_sd file; give its path."""
        return self.write("targets.json", json.dumps([{"targets": addresses}]))

    def start(self, **keys: Any) -> Configured:
        """Start mpp."""
        return Configured(**self.keys(**keys)).start_for(self)

    def keys(self, **keys: Any) -> dict[str, Any]:
        """Return what the file has in any case: every request goes to a random server."""
        return {
            "routing_strategy": "random",
            "affinity_options": "none",
            "enable_lifecycle": True,
            "workers": self.workers,
            **keys,
        }

    def reload(self, mpp: Configured, changed: list[str], **keys: Any) -> None:
        """Have another file."""
        mpp.write(**self.keys(**keys))
        self.assertEqual(mpp.post(), (200, {"status": "success", "data": {"changed": changed}}), mpp.log()[-2000:])

    def under_load(self, mpp: Configured, servers: list[Any], change: Callable[[], None]) -> None:
        """Change something under load: no request may fail, and every server has to answer some."""
        for server in servers:
            self.assertEqual(mpp.standing_of(server.address), "viable", mpp.log())
        with Load(mpp.port, clients=4, pause=0.005) as load:
            load.reach(10)
            change()
            addresses = {server.address for server in servers}
            wait_until(lambda: set(load.tally().served_by) == addresses, "every server has answered", 10)
            tally = load.stop()
        print(f"\n{self.id().rpartition('.')[2]}: {tally}, {dict(tally.served_by)}")
        self.assertEqual(tally.failures, [], f"{tally}\n{mpp.log()[-3000:]}")
        self.assertEqual(set(tally.served_by), addresses)
        for server in servers:
            self.assertEqual(mpp.standing_of(server.address), "viable", mpp.log())

    def wait_read_again(self, mpp: Configured) -> None:
        """Wait until every process has read a file again."""
        readers = 1 if self.workers == 1 else 1 + self.workers
        wait_until(lambda: mpp.log().count("credentials reloaded") >= readers, "the file is read", 10)

    def settle(self, mpp: Configured) -> None:
        """Let two rounds pass."""
        before = mpp.metric("mpp_selection_rounds_total")
        wait_until(lambda: mpp.metric("mpp_selection_rounds_total") >= before + 2, "two rounds have passed", 10)

    def begin(self, *servers: Process) -> None:
        """Start servers."""
        for server in servers:
            server.start_for(self, wait=False)
        for server in servers:
            server.wait_ready()


class RealTests(FoundCase):
    """Prometheus servers with users of their own."""

    def test_users_change_without_a_failed_request(self) -> None:
        """Users change in files and in the configuration, and a server moves from one locator to another: nobody notices."""
        a, b = (Guarded(require_binary(), name, user) for name, user in (("a", "alice"), ("b", "bob")))
        self.begin(a, b)
        password, user = self.write("password", "test\n"), self.write("user", "alice\n")
        found = {"basic_auth": {"username_file": user, "password_file": password}}

        def given(name: str) -> dict[str, Any]:
            return {"basic_auth": {"username": name, "password_file": password}}

        def locators(listed: str) -> list[dict[str, Any]]:
            return [{"name": "file-sd", "http_config": found}, {"name": "endpoint", "http_config": given(listed)}]

        sources = {"file_sd": self.list_targets(a.address), "endpoint": b.address}
        mpp = self.start(**sources, locators=locators("bob"))

        def change() -> None:
            a.admit("alice", "carol")
            self.write("user", "carol\n")
            self.wait_read_again(mpp)
            a.admit("carol")
            b.admit("bob", "dave")
            self.reload(mpp, ["locators"], **sources, locators=locators("dave"))
            b.admit("dave", "carol")
            self.list_targets(a.address, b.address)
            self.settle(mpp)
            b.admit("carol")
            self.reload(mpp, ["endpoint", "locators"], file_sd=sources["file_sd"], locators=locators("")[:1])
            self.settle(mpp)

        self.under_load(mpp, [a, b], change)

    def test_new_locator(self) -> None:
        """Another locator with other credentials takes over from the one before, and the servers take both for a round."""
        a, b = (Guarded(require_binary(), name, "alice") for name in ("a", "b"))
        self.begin(a, b)
        password = self.write("password", "test\n")
        old, new = ({"basic_auth": {"username": name, "password_file": password}} for name in ("alice", "bob"))
        mpp = self.start(endpoint=[a.address, b.address], locators=[{"name": "endpoint", "http_config": old}])

        def change() -> None:
            for server in (a, b):
                server.admit("alice", "bob")
            targets = str(self.folder / "targets.json")
            rules = [{"name": "file-sd", "source": targets, "http_config": new}]
            # The new one cannot tell yet whom it finds: they go on as before.
            self.reload(mpp, ["endpoint", "file-sd", "locators"], file_sd=targets, locators=rules)
            self.settle(mpp)
            self.list_targets(a.address, b.address)
            self.settle(mpp)
            for server in (a, b):
                server.admit("bob")
            self.settle(mpp)

        self.under_load(mpp, [a, b], change)

    def test_not_configured(self) -> None:
        """Credentials for a locator that there is none of are refused, and everything stays as it was."""
        a = Guarded(require_binary(), "a", "alice")
        self.begin(a)
        config = {"basic_auth": {"username": "alice", "password_file": self.write("password", "test")}}
        mpp = self.start(endpoint=a.address, locators=[{"name": "endpoint", "http_config": config}])
        mpp.write(**self.keys(endpoint=a.address, locators=[{"name": "marathon", "http_config": config}]))
        status, answer = mpp.post()
        said = "locators 1: name: the locator marathon is not configured; expected marathon-url, too"
        self.assertEqual((status, said in str(answer)), (500, True), answer)
        self.assertEqual(fetch(mpp.port, "/api/v1/query?query=up")[0], 200)


class HeaderTests(FoundCase):
    """Gateways that ask for a header."""

    def test_each_server_gets_its_own_headers(self) -> None:
        """Each gets its own, whatever the client sends; values and files change, and nobody notices."""
        a, b = (Simulated(name=name) for name in ("a", "b"))
        self.begin(a, b)
        a.set(asks_for=["X-Scope-OrgID: one, two"])
        b.set(asks_for=["X-Gateway-Key: s3cr3t"])
        key = self.write("key", "s3cr3t\n")

        def keys(value: str) -> dict[str, Any]:
            tenant = {"http_headers": {"X-Scope-OrgID": {"values": ["one"], "secrets": [value]}}}
            rules = [{"name": "endpoint", "http_config": tenant}]
            rule = {"url": b.url, "http_config": {"http_headers": {"x-gateway-key": {"files": [key]}}}}
            return {"endpoint": [a.url, b.url], "locators": rules, "backends": [rule]}

        mpp = self.start(**keys("two"))
        for _ in range(8):
            stranger = {"X-Scope-OrgID": "three", "X-Gateway-Key": "none"}
            self.assertEqual(fetch(mpp.port, "/api/v1/query?query=up", headers=stranger)[0], 200)

        def change() -> None:
            b.set(asks_for=["X-Gateway-Key: s3cr3t", "X-Gateway-Key: n3w"])
            self.write("key", "n3w\n")
            self.wait_read_again(mpp)
            b.set(asks_for=["X-Gateway-Key: n3w"])
            a.set(asks_for=["X-Scope-OrgID: one, two", "X-Scope-OrgID: one, s3cond"])
            self.reload(mpp, ["locators"], **keys("s3cond"))
            a.set(asks_for=["X-Scope-OrgID: one, s3cond"])
            self.settle(mpp)

        self.under_load(mpp, [a, b], change)
        for secret in ("s3cr3t", "n3w", "s3cond"):
            self.assertNotIn(secret, mpp.log())


class RealWorkersTests(RealTests):
    """The same, with several processes that serve clients."""

    workers = 2


class HeaderWorkersTests(HeaderTests):
    """The same, with several processes that serve clients."""

    workers = 2
