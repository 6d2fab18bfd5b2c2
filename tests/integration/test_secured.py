"""Real servers that ask for TLS and a password, and mpp, which has them in its configuration file."""

from __future__ import annotations

import base64
import signal
import ssl
import time
import urllib.request
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.fake_https import FakeAuthority
from tests.integration.clients import Load
from tests.integration.processes import fetch, wait_until
from tests.integration.servers import Prometheus, require_binary
from tests.integration.test_reload import Configured
from tests.integration.workers import one_process

# bcrypt of "test", from Prometheus' own guide to basic auth.
_HASH = "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay"
_ADMIN = "Basic " + base64.b64encode(b"admin:test").decode()


class Secured(Prometheus):
    """A Prometheus that serves TLS only, to clients with a certificate and a password."""

    def __init__(self, binary: str, authority: FakeAuthority, clients: FakeAuthority, name: str) -> None:
        super().__init__(binary, name=name)
        self._own = clients.issue(name)
        (self.folder / "own.pem").write_bytes(self._own)
        (self.folder / "clients.pem").write_bytes(clients.pem)
        self.certify(authority)
        (self.folder / "web.yml").write_text(
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server.pem\n"
            "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: clients.pem\n"
            f"basic_auth_users:\n  admin: {_HASH}\n"
        )

    def certify(self, authority: FakeAuthority) -> None:
        """Have another certificate; it is read again for each connection."""
        fresh = self.folder / "server.pem.new"
        fresh.write_bytes(authority.issue("127.0.0.1"))
        fresh.replace(self.folder / "server.pem")

    @property
    def url(self) -> str:
        """Its URL."""
        return f"https://{self.address}"

    def command(self) -> list[str]:
        """Return the command line."""
        return [*super().command(), f"--web.config.file={self.folder}/web.yml"]

    def is_ready(self) -> bool:
        """Tell whether it says so, to somebody with all it asks for."""
        context = ssl._create_unverified_context()
        context.load_cert_chain(self.folder / "own.pem")
        request = urllib.request.Request(f"{self.url}/-/ready", headers={"Authorization": _ADMIN})
        with urllib.request.urlopen(request, context=context, timeout=5) as answer:
            return int(answer.status) == 200


class SecuredTests(SynchronousTestCase):
    """Two such servers."""

    # Processes of mpp that read credentials.
    readers = 1

    def setUp(self) -> None:
        """Start them."""
        self.first, self.second, self.clients = (FakeAuthority(name) for name in ("first", "second", "clients"))
        self.servers = [Secured(require_binary(), self.first, self.clients, name) for name in ("a", "b")]
        for server in self.servers:
            server.start_for(self, wait=False)
        for server in self.servers:
            server.wait_ready()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        for name, content in (("ca.pem", self.first.pem), ("own.pem", self.clients.issue("mpp")), ("password", b"test\n")):
            self.write(name, content)

    def write(self, name: str, content: bytes) -> None:
        """Write a file, all at once."""
        fresh = self.folder / f"{name}.new"
        fresh.write_bytes(content)
        fresh.replace(self.folder / name)

    def keys(self, **tls: str) -> dict[str, object]:
        """Return what the file needs for these servers."""
        own = str(self.folder / "own.pem")
        http_config = {
            "basic_auth": {"username": "admin", "password_file": str(self.folder / "password")},
            "tls_config": {"ca_file": str(self.folder / "ca.pem"), "cert_file": own, "key_file": own, **tls},
        }
        url = "https://127.0.0.1:*"
        return {"endpoint": [s.url for s in self.servers], "backends": [{"url": url, "http_config": http_config}]}

    @one_process("the environment would win over the number of workers in the file")
    def test_changed_certificates_fail_no_request(self) -> None:
        """Requests of clients without any credentials, and with wrong ones, are answered, while certificates change."""
        mpp = Configured(**self.keys()).start_for(self)
        self.assertEqual({mpp.standing_of(server.address) for server in self.servers}, {"viable"}, mpp.log())
        stranger = {"Authorization": "Basic c3RyYW5nZXI6eA=="}
        self.assertEqual(fetch(mpp.port, "/api/v1/query?query=1", headers=stranger)[0], 200)
        with Load(mpp.port, clients=4, pause=0.01) as load:
            load.reach(20)
            self.write("ca.pem", self.first.pem + self.second.pem)
            wait_until(lambda: mpp.log().count("credentials reloaded") == self.readers, "the authorities are read", 5)
            for server in self.servers:
                server.certify(self.second)
            self.write("ca.pem", self.second.pem)
            wait_until(lambda: mpp.log().count("credentials reloaded") == 2 * self.readers, "the authority is read", 5)
            mpp.write(**self.keys(min_version="TLS13"))
            mpp.hang_up("changed: backends")
            time.sleep(1.5)
            load.reach(31)
            tally = load.stop()
        print(f"\nchanged certificates: {tally}")
        self.assertGreater(tally.requests, 50)
        self.assertEqual(tally.failures, [], f"{tally}\n{mpp.log()[-3000:]}")
        self.assertEqual({mpp.standing_of(server.address) for server in self.servers}, {"viable"}, mpp.log())
        self.assertNotIn("test", mpp.log().replace("mpp-test", "").replace(str(self.folder), ""))

    def test_changed_again_and_again(self) -> None:
        """Requests that wait for a new connection get one although the connections are replaced again meanwhile."""
        mpp = Configured(**self.keys()).start_for(self)
        with Load(mpp.port, clients=16, timeout=5) as load:
            for number in range(400):
                mpp.write(**self.keys(min_version="TLS12" if number % 2 else "TLS13"))
                mpp.signal(signal.SIGHUP)
                time.sleep(0.01 * (number % 5))
                # Few requests get through in that time on a busy machine.
                if number >= 40 and load.tally().requests > 50:
                    break
            tally = load.stop()
        print(f"\nchanged again and again: {tally}")
        self.assertGreater(tally.requests, 50)
        self.assertEqual(tally.failures, [], f"{tally}\n{mpp.log()[-3000:]}")

    def test_not_trusted(self) -> None:
        """Servers whose certificate nobody vouches for, or who refuse ours, get no request; the page says why."""
        self.write("ca.pem", self.second.pem)
        mpp = Configured(**self.keys()).start_for(self)
        self.assertEqual({mpp.standing_of(server.address) for server in self.servers}, {"down"})
        self.assertRegex(mpp.log(), "is down: .*(certificate verify failed|tls)")
        self.write("ca.pem", self.first.pem)
        wait_until(lambda: {mpp.standing_of(s.address) for s in self.servers} == {"viable"}, "they are used when trusted", 10)

    def test_refused_as_a_whole(self) -> None:
        """A password file that is not there leaves everything as it was."""
        mpp = Configured(**self.keys()).start_for(self)
        (self.folder / "password").unlink()
        mpp.write("retries: 0\n", **self.keys(server_name="other"))
        mpp.signal(signal.SIGHUP)
        wait_until(lambda: f"password_file: {self.folder}/password: No such file" in mpp.log(), "it is refused", 10)
        self.assertEqual(fetch(mpp.port, "/api/v1/query?query=1")[0], 200)
        self.assertEqual(mpp.metric("mpp_config_last_reload_successful"), 0)
