"""Several workers follow whatever changes while they serve: configuration, sockets, credentials, certificates."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import tempfile
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.clients import Load
from tests.integration.patience import within
from tests.integration.processes import Mpp, Simulated, fetch, free_port, wait_until
from tests.integration.restarts import Activated
from tests.integration.test_reload import Configured
from tests.integration.test_secured import SecuredTests
from tests.integration.test_web_config import TLS, TLSMpp, WebConfigCase, basic, hashed
from tests.integration.test_workers import children
from tests.integration.workers import one_process

QUERY = "/api/v1/query?query=up"


class WorkersCase(SynchronousTestCase):
    """Two simulated servers."""

    def setUp(self) -> None:
        """Start them."""
        self.servers = [Simulated("--version", "3.5.0", name=name) for name in ("a", "b")]
        for server in self.servers:
            server.start_for(self)
        self.urls = [server.url for server in self.servers]

    def started(self, mpp: Mpp) -> Mpp:
        """Start mpp, and wait until both workers let clients in."""
        mpp.start_for(self)
        wait_until(lambda: mpp.log().count("mpp serves") >= 3, "both serve")
        return mpp


class ReloadTests(WorkersCase):
    """The configuration is read again."""

    def mpp(self, **keys: object) -> Configured:
        """Start mpp with a file."""
        mpp = Configured(**{"endpoint": self.urls, "workers": 2, "enable_lifecycle": True, **keys})
        self.started(mpp)
        return mpp

    def test_everything_changes(self) -> None:
        """Options, servers and sockets change for all workers, which live on, and no request fails."""
        mpp = self.mpp()
        before, further = children(mpp.pid), free_port()
        with Load(mpp.port, clients=8, pause=0.002) as load:
            load.reach(20)
            listen = [f"tcp:{further}:interface=127.0.0.1"]
            mpp.write(endpoint=self.urls[:1], workers=2, enable_lifecycle=True, affinity_options="none", listen=listen)
            names = ["endpoint", "affinity-options", "listen"]
            self.assertEqual(mpp.post(), (200, {"status": "success", "data": {"changed": names}}))
            load.reach(20)
            for _ in range(8):
                status, headers, _ = fetch(further, QUERY)
                self.assertEqual((status, headers["mpp.servedby"]), (200, self.servers[0].address))
                self.assertNotIn("set-cookie", headers)
            mpp.write(endpoint=self.urls, workers=2, enable_lifecycle=True, routing_strategy="random")
            mpp.hang_up("changed: endpoint, routing-strategy, affinity-options, listen")
            load.reach(20)
            tally = load.stop()
        self.assertGreater(tally.requests, 50)
        self.assertEqual(tally.failures, [], f"{tally}\n{mpp.log()[-3000:]}")
        self.assertRaises(OSError, fetch, further, QUERY)
        wait_until(lambda: "set-cookie" in fetch(mpp.port, QUERY)[1], "both are selected, and there are cookies again")
        self.assertEqual(children(mpp.pid), before)

    @one_process("its file says how many workers there are, and the variable counts more")
    def test_wrong_reload_is_reported_by_any_worker(self) -> None:
        """What is wrong is told to who asked, whichever worker that was, and changes nothing."""
        mpp = self.mpp()
        for text, said in (("prot: 1\n", "prot: no such key"), ("", "workers: another number of workers needs a restart")):
            mpp.write(text, endpoint=self.urls, workers=3 if not text else 2, enable_lifecycle=True)
            for _ in range(3):
                status, told = mpp.post()
                self.assertEqual(status, 500)
                self.assertIn(said, told["error"])
        self.assertEqual(fetch(mpp.port, QUERY)[0], 200)
        self.assertEqual(mpp.metric("mpp_config_last_reload_successful"), 0)

    def test_who_comes_later(self) -> None:
        """A worker that replaces one serves by what is configured by then, on all sockets."""
        mpp = self.mpp()
        further = free_port()
        listen = [f"tcp:{further}:interface=127.0.0.1"]
        mpp.write(endpoint=self.urls, workers=2, enable_lifecycle=True, affinity_options="none", listen=listen)
        self.assertEqual(mpp.post()[0], 200)
        for worker in children(mpp.pid):
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: mpp.log().count("mpp serves") >= 5, "others serve", 15)
        for port in (mpp.port, further):
            self.assertNotIn("set-cookie", fetch(port, QUERY)[1])


class ShownTests(WorkersCase):
    """What is told of the work of all."""

    def test_status_page_counts_all_workers(self) -> None:
        """The status page tells what the workers did and do, not only the one that is asked."""
        mpp = self.started(Mpp(self.urls, "--workers", "2", "--affinity-options", "none", "--no-single-flight"))
        self.assertEqual(json.loads(fetch(mpp.port, "/mpp/status?format=json")[2])["backends"][0]["recent"]["requests"], 0)
        crowd = [http.client.HTTPConnection("127.0.0.1", mpp.port, timeout=10) for _ in range(10)]
        for client in crowd:
            self.addCleanup(client.close)
            for _ in range(3):
                client.request("GET", QUERY)
                client.getresponse().read()
        wait_until(lambda: self.recent(mpp) == 30, "all requests are told", 10)
        self.assertEqual({self.recent(mpp) for _ in range(4)}, {30})
        self.servers[0].set(query_takes=2.0)
        self.servers[1].set(query_takes=2.0)
        for client in crowd:
            client.request("GET", QUERY)
        wait_until(lambda: self.active(mpp) == 10, "all are under way", 5)
        self.assertEqual(sum(self.active_on(mpp, server) for server in self.servers), 10)
        self.assertEqual({client.getresponse().status for client in crowd}, {200})

    def recent(self, mpp: Mpp) -> int:
        """Return the number of requests of the last minutes that the page shows."""
        told = json.loads(fetch(mpp.port, "/mpp/status?format=json")[2])
        return sum(int(each["recent"]["requests"]) for each in told["backends"])

    def active(self, mpp: Mpp) -> int:
        """Tell how many requests the page says are under way."""
        told = json.loads(fetch(mpp.port, "/mpp/status?format=json")[2])
        return sum(int(each["active"]) for each in told["backends"])

    def active_on(self, mpp: Mpp, server: Simulated) -> float:
        """Tell how many requests the metrics say are under way on a server."""
        return mpp.metric("mpp_backend_requests", backend=server.address, state="active")

    def test_each_request_is_logged_once_with_its_worker(self) -> None:
        """The access log has each request once, in the format asked for, with the worker; so has whatever else is logged."""
        mpp = self.started(Mpp(self.urls, "--workers", "2", "--access-log", "--log-format", "json"))
        for number in range(20):
            fetch(mpp.port, f"/api/v1/query?query=up+%2B+{number}")

        def told() -> list[dict[str, object]]:
            lines = [json.loads(line) for line in mpp.log().splitlines()]
            return [line for line in lines if line["component"] == "mpp.access" and str(line["path"]).startswith("/api")]

        wait_until(lambda: len(told()) == 20, "all are told", 5)
        self.assertEqual(sorted(str(each["query"]) for each in told()), sorted(f"up + {number}" for number in range(20)))
        self.assertEqual({each["worker"] for each in told()}, {0, 1})

    def test_hung_worker_is_replaced(self) -> None:
        """A worker that hangs is replaced, and its clients learn of it."""
        mpp = self.started(Mpp(self.urls, "--workers", "2"))
        stuck = children(mpp.pid)[0]
        os.kill(stuck, signal.SIGSTOP)
        wait_until(lambda: stuck not in children(mpp.pid), "it is killed", 40)
        wait_until(lambda: mpp.log().count("mpp serves") >= 4, "another one serves", 15)
        self.assertIn("hangs and is killed", mpp.log())
        self.assertEqual(mpp.metric("mpp_worker_restarts_total"), 1)


class SocketTests(WorkersCase):
    """Sockets of all kinds."""

    def test_of_systemd(self) -> None:
        """A socket that systemd holds is shared, and a restart on it fails no request."""
        mpp = Activated(self.urls, "--workers", "2")
        self.started(mpp)
        with Load(mpp.port, clients=4, pause=0.005) as load:
            load.reach(20)
            mpp.restart()
            load.reach(20)
            tally = load.stop()
        self.assertGreater(tally.requests, 20)
        self.assertEqual(set(tally.statuses), {200}, f"{tally}\n{mpp.log()[-3000:]}")

    def test_unix_socket_has_its_mode_and_is_removed(self) -> None:
        """A UNIX socket is served by the workers; its file has the mode asked for or 0660, and is gone at the end."""
        folder = tempfile.mkdtemp(prefix="mpp-test-")  # its path is short enough for a Unix socket, wherever the checkout is
        self.addCleanup(shutil.rmtree, folder)
        path = f"{folder}/mpp"
        admin = f"{path}.admin"
        options = ("--listen", f"unix:{path}:mode=600", "--admin-listen", f"unix:{admin}")
        mpp = self.started(Mpp(self.urls, "--workers", "2", *options))
        self.assertEqual([os.stat(each).st_mode & 0o777 for each in (path, admin)], [0o600, 0o660])
        for _ in range(4):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                client.sendall(b"GET /api/v1/query?query=up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                self.assertTrue(client.makefile("rb").read().startswith(b"HTTP/1.1 200 OK"))
        self.assertEqual(mpp.stop(), -signal.SIGTERM)
        self.assertFalse(os.path.exists(path) or os.path.exists(admin))
        self.assertNotIn("error", mpp.log())


class WebConfigTests(WebConfigCase):
    """TLS and passwords."""

    def test_follows_its_files(self) -> None:
        """All workers ask for the password, and for another one when that has changed."""
        (self.folder / "web.yml").write_text(f"{TLS}}}\nbasic_auth_users: {{alice: {hashed('one')}}}\n")
        mpp = TLSMpp(self.simulated.url, self.folder, self.context, "--workers", "2").start_for(self)
        wait_until(lambda: mpp.log().count("mpp serves") >= 3, "both serve")
        asked = [mpp.ask(QUERY, **basic("alice", password))[0] for password in ("one", "two") for _ in range(4)]
        self.assertEqual(asked, [200] * 4 + [401] * 4)
        (self.folder / "web.yml").write_text(f"{TLS}}}\nbasic_auth_users: {{alice: {hashed('two')}}}\n")
        time.sleep(within(3))
        asked = [mpp.ask(QUERY, **basic("alice", password))[0] for password in ("one", "two") for _ in range(4)]
        self.assertEqual(asked, [401] * 4 + [200] * 4)

    def test_tls_endpoint(self) -> None:
        """A TLS endpoint of Twisted's is served by the workers, which begin TLS."""
        port = free_port()
        key, certificate = self.folder / "key.pem", self.folder / "cert.pem"
        listen = f"ssl:{port}:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
        Mpp([self.simulated.url], "--workers", "2", "--listen", listen).start_for(self)
        for _ in range(4):
            self.ask_over_tls(port)

    def test_tls_endpoint_at_a_reload(self) -> None:
        """Its certificate is read again at a reload, by all workers, and not before: it may be half written until then."""
        port = free_port()
        key, certificate = self.folder / "key.pem", self.folder / "cert.pem"
        listen = f"ssl:{port}:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
        mpp = Configured(endpoint=[self.simulated.url], workers=2, listen=[listen]).start_for(self)
        whole = certificate.read_bytes()
        certificate.write_bytes(whole[:100])
        time.sleep(2)
        self.assertNotIn("certificate", mpp.log())
        self.ask_over_tls(port)
        self.issue("localhost")
        mpp.hang_up("uses a changed certificate for new connections")
        fresh = ssl.PEM_cert_to_DER_cert(certificate.read_text())
        self.assertEqual({self.ask_over_tls(port) for _ in range(6)}, {fresh})

    def ask_over_tls(self, port: int) -> bytes:
        """Ask on a new connection; give the certificate that was shown."""
        client = http.client.HTTPSConnection("localhost", port, timeout=10, context=self.context)
        self.addCleanup(client.close)
        client.request("GET", QUERY)
        self.assertEqual(client.getresponse().status, 200)
        shown = client.sock.getpeercert(binary_form=True)
        self.assertTrue(shown)
        return bytes(shown)


class SecuredWorkersTests(SecuredTests):
    """Servers that ask for certificates and passwords, which change: the same tests, with workers."""

    readers = 3

    def keys(self, **tls: str) -> dict[str, object]:
        """Return what the file needs, for two workers."""
        return {**super().keys(**tls), "workers": 2}
