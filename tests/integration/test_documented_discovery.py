"""The documentation's commands for Marathon and Kubernetes, run as they are written; only the addresses are others."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, TestCase
from twisted.web.server import Site

from tests.documents import blocks, mpp_commands
from tests.fake_https import FakeAuthority
from tests.fake_kube import FakeKube, endpoint, endpoint_slice, listen, pod
from tests.fake_marathon import LOGIN_PATH, FakeMarathon, host_app, principal_secret, task
from tests.integration.processes import Process, Simulated, fetch, free_port, wait_until
from tests.integration.quiet import quiet
from tests.integration.test_hosts import hindrance, unshare
from tests.kubeconfigs import make_kubeconfig

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

# A pod's view of the file system: what belongs to its service account is where Kubernetes puts it.
_ENTER_POD = 'mount -t tmpfs none /run && mkdir -p "$2" && cp "$1"/* "$2" && shift 2 && exec setpriv --pdeathsig KILL "$@"'


class Command(Process):
    """mpp, run by a command line from the documentation, with a port of its own."""

    def __init__(self, line: str, environ: Mapping[str, str], *within: str) -> None:
        super().__init__("documented")
        self._line, self._environ, self._within = line, environ, within

    def command(self) -> list[str]:
        """Return the command line."""
        variables = [f"{name}={value}" for name, value in self._environ.items()]
        mpp = [sys.executable, "-m", *shlex.split(self._line), "--port", str(self.port)]
        return [*self._within, "env", *variables, *mpp]

    def is_ready(self) -> bool:
        """Tell whether the first round has finished."""
        return fetch(self.port, "/mpp/ready", timeout=5)[0] == 200

    def answers(self) -> bool:
        """Tell whether a query is answered."""
        return fetch(self.port, "/api/v1/query?query=up", timeout=5)[0] == 200


class DiscoveryCase(TestCase):
    """A server that is to be found; the APIs run in this process, so that whatever waits does so in a thread."""

    timeout = 120
    document = ""

    def setUp(self) -> None:
        """Start what all need."""
        self.addCleanup(quiet)
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.authority = FakeAuthority()
        (self.folder / "ca.pem").write_bytes(self.authority.pem)
        self.server = Simulated().start_for(self, wait=False)

    async def assert_works(self, line: str, environ: Mapping[str, str] | None = None, *within: str) -> None:
        """The command finds the server, and passes requests on to it."""
        process = Command(line, environ or {}, *within)
        self.addCleanup(process.close)
        await deferToThread(self.server.wait_ready)
        await deferToThread(process.start)
        try:
            await deferToThread(wait_until, process.answers, f"{line}: {process.log()}", 20)
        finally:
            await deferToThread(process.close)

    def line(self, beginning: str, **replaced: str) -> str:
        """Return the documented command that begins so, with some words replaced."""
        found = [line for block in blocks(self.document) for line in mpp_commands(block) if line.startswith(beginning)]
        self.assertEqual(len(found), 1, found)
        for old, new in replaced.items():
            self.assertIn(old, found[0])
            found[0] = found[0].replace(old, new)
        return found[0]


class MarathonTests(DiscoveryCase):
    """Marathon, plain and of DC/OS."""

    document = "marathon"

    async def test_marathon_with_one_of_two_masters_down(self) -> None:
        """Two masters, one of which is down."""
        fake = FakeMarathon(time.time)
        fake.prefix = ""
        fake.apps["/monitoring/prometheus"] = host_app([task("127.0.0.1", [self.server.port])])
        port = reactor.listenTCP(0, Site(fake), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        addresses = {
            "http://m1.example.org:8080": f"http://127.0.0.1:{free_port()}",
            "http://m2.example.org:8080": f"http://127.0.0.1:{port.getHost().port}",
        }
        await self.assert_works(self.line("mpp --marathon-url http://m1", **addresses))

    async def test_dcos_service_account_over_tls(self) -> None:
        """A service account, over TLS."""
        fake = FakeMarathon(time.time)
        fake.asks_for = "token="
        fake.apps["/prometheus"] = host_app([task("127.0.0.1", [self.server.port])])
        port = reactor.listenSSL(0, Site(fake), self.authority.serve("127.0.0.1"), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        leader = f"https://127.0.0.1:{port.getHost().port}"
        secret = self.folder / "mpp.json"
        secret.write_text(principal_secret(leader + LOGIN_PATH))
        line = self.line(
            "mpp --marathon-url https://leader", **{"https://leader.mesos": leader, "/run/secrets/mpp.json": str(secret)}
        )
        await self.assert_works(line, {"SSL_CERT_FILE": str(self.folder / "ca.pem")})
        self.assertEqual(len(fake.logins), 1)


class KubernetesTests(DiscoveryCase):
    """Kubernetes, in a pod and outside."""

    document = "kubernetes"

    def setUp(self) -> None:
        """Start the API server."""
        super().setUp()
        fake = FakeKube(reactor)
        fake.tokens = {"good-token": "alice"}
        ports = [{"name": "web", "port": self.server.port, "protocol": "TCP"}]
        each = [endpoint("127.0.0.1", "prometheus-0")]
        fake.put("endpointslices", endpoint_slice("prometheus-operated-0", each, service="prometheus-operated", ports=ports))
        found = pod("prometheus-0", "127.0.0.1")
        found["spec"]["containers"][0]["ports"][0]["containerPort"] = self.server.port
        fake.put("pods", found)
        self.fake = fake
        self.api = listen(reactor, fake, self.authority, "127.0.0.1")
        self.addCleanup(self.api.stopListening)

    def kubeconfig(self) -> str:
        """Write a kubeconfig; give its path."""
        server = f"https://127.0.0.1:{self.api.getHost().port}"
        return str(make_kubeconfig(self.folder, {"token": "good-token"}, {"server": server, "certificate-authority": "ca.pem"}))

    async def test_in_a_pod(self) -> None:
        """With the pod's service account, where Kubernetes mounts it."""
        if hindrance():
            raise SkipTest(f"no mount namespace can be made here: {hindrance()}")
        account = self.folder / "account"
        account.mkdir()
        (account / "token").write_text("good-token")
        (account / "namespace").write_text("elsewhere")
        (account / "ca.crt").write_bytes(self.authority.pem)
        enter = (*unshare(), "sh", "-c", _ENTER_POD, "sh", str(account), str(SERVICE_ACCOUNT))
        environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.api.getHost().port)}
        await self.assert_works(self.line("mpp --kube-service-name"), environ, *enter)

    async def test_kubeconfig_by_option_and_variables(self) -> None:
        """With a kubeconfig, given by the option and by each of its variables."""
        line, path = self.line("mpp --kube-service-name"), self.kubeconfig()
        await self.assert_works(f"{line} --kubeconfig {path}")
        for name in ("KUBECONFIG", "MPP_KUBECONFIG"):
            await self.assert_works(line, {name: path})

    async def test_pods_are_found_by_label(self) -> None:
        """Pods by label."""
        await self.assert_works(self.line("mpp --kube-pod-label-selector"), {"KUBECONFIG": self.kubeconfig()})
