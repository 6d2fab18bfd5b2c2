"""The whole program in front of servers that Kubernetes lists: a change there is followed at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.fake_https import FakeAuthority
from tests.fake_kube import FakeKube, endpoint, endpoint_slice, listen
from tests.integration.clients import Load
from tests.integration.patience import within
from tests.integration.processes import Mpp, Simulated, fetch, wait_until
from tests.integration.quiet import quiet
from tests.kubeconfigs import make_kubeconfig

# Nothing in these tests may be due to the next regular round.
INTERVAL = "60s"


class KubeTests(TestCase):
    """A service of two servers; the API server runs in this process, so that whatever waits does so in a thread."""

    timeout = 120

    def setUp(self) -> None:
        """Start the API server and the servers; one of them is not ready yet."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        authority = FakeAuthority()
        (self.folder / "ca.pem").write_bytes(authority.pem)
        self.fake = FakeKube(reactor)
        self.fake.tokens = {"good-token": "alice"}
        api = listen(reactor, self.fake, authority, "127.0.0.1", "127.0.0.1")
        self.addCleanup(api.stopListening)
        cluster = {
            "server": f"https://127.0.0.1:{api.getHost().port}",
            "certificate-authority": "ca.pem",
            "tls-server-name": "127.0.0.1",
        }
        self.kubeconfig = make_kubeconfig(self.folder, {"token": "good-token"}, cluster)
        self.servers = [Simulated("--history", "10d"), Simulated("--history", "10d")]
        for number, server in enumerate(self.servers):
            self.addCleanup(server.close)
            self.list_server(number, ready=number == 0)

    def list_server(self, number: int, *, ready: bool, terminating: bool = False) -> None:
        """Have Kubernetes list a server; each has a port, and so a slice, of its own. A terminating one still serves."""
        conditions = {"ready": ready, "serving": ready or terminating, "terminating": terminating}
        each = endpoint("127.0.0.1", f"prometheus-{number}", conditions=conditions)
        port = {"name": "web", "port": self.servers[number].port, "protocol": "TCP"}
        self.fake.put("endpointslices", endpoint_slice(f"prometheus-{number}", [each], ports=[port]))

    def start(self) -> Mpp:
        """Start everything."""
        for server in self.servers:
            server.start()
        options = ["--kubeconfig", str(self.kubeconfig), "--kube-service-name", "prometheus", "--routing-strategy", "random"]
        return Mpp(["# all in Kubernetes"], *options, interval=INTERVAL).start_for(self)

    async def seconds_until(self, condition: Callable[[], bool], what: str) -> float:
        """Return how long it takes until something is true."""
        began = time.monotonic()
        await deferToThread(wait_until, condition, what, 10)
        return time.monotonic() - began

    async def test_changes_are_followed_at_once(self) -> None:
        """A server that becomes ready is selected within a second, one that is deleted is forgotten; no request fails."""
        mpp = await deferToThread(self.start)
        second = self.servers[1].address
        self.assertEqual(await deferToThread(mpp.standing_of, second), "not_ready")
        self.assertFalse(await deferToThread(mpp.is_selected, second))
        # The first round is over; the watch begins beside it.
        await self.seconds_until(lambda: any(seen.verb == "watch" for seen in self.fake.seen), "a watch")
        load = Load(mpp.port, clients=4)
        await deferToThread(load.start)
        self.list_server(1, ready=True)
        became_ready = await self.seconds_until(lambda: mpp.is_selected(second), "the second server is selected")
        self.fake.delete("endpointslices", "prometheus-1")
        deleted = await self.seconds_until(lambda: not mpp.standing_of(second), "the second server is forgotten")
        tally = await deferToThread(load.stop)
        self.assertEqual(tally.failures, [], mpp.log()[-3000:])
        self.assertLess(max(became_ready, deleted), within(1.0))
        await self.quiet(mpp)

    async def test_terminating_servers_are_used_last(self) -> None:
        """
        A server that terminates is left, without an alarm, while another one is ready; when all terminate they serve on.

        The former is what a rolling restart does, the latter the loss of a node.
        """
        self.list_server(1, ready=True)
        mpp = await deferToThread(self.start)
        first, second = (server.address for server in self.servers)
        await self.seconds_until(lambda: mpp.is_selected(second) and mpp.is_selected(first), "both are selected")
        await self.seconds_until(lambda: any(seen.verb == "watch" for seen in self.fake.seen), "a watch")
        load = Load(mpp.port, clients=4)
        await deferToThread(load.start)
        self.list_server(1, ready=False, terminating=True)
        await self.seconds_until(lambda: mpp.standing_of(second) == "not_ready", "the second server is not ready")
        self.assertEqual(await deferToThread(mpp.metric, "mpp_backend_leaving", backend=second), 1)
        self.assertEqual(await deferToThread(mpp.metric, "mpp_backend_ejected", backend=second), 0)
        status = await deferToThread(fetch, mpp.port, "/mpp/status?format=json")
        text = json.loads(status[2])["verdict"]["text"]
        self.assertIn(f"The only server is healthy; {first} serves. There is no second one. But {second} is being stopped", text)
        self.assertEqual(await deferToThread(mpp.metric, "mpp_verdict", state="server_unwell"), 0)
        self.list_server(0, ready=False, terminating=True)
        await self.seconds_until(lambda: mpp.standing_of(first) == "not_ready", "the first server is not ready")
        answered = [(await deferToThread(fetch, mpp.port, "/api/v1/query?query=up"))[0] for _ in range(20)]
        tally = await deferToThread(load.stop)
        self.assertEqual(answered, [200] * 20)
        self.assertEqual(tally.failures, [], mpp.log()[-3000:])
        await self.quiet(mpp)

    async def quiet(self, mpp: Mpp) -> None:
        """Stop mpp, and wait until the API server has noticed."""
        await deferToThread(mpp.close)
        await quiet()
