"""
The fake API server talks to real kubectls, with the kubeconfigs that mpp reads: what mpp is tested against is Kubernetes.

A kubectl is looked for in ``MPP_TEST_KUBECTL``, among those that ``script/fetch-kubectl`` got, and in the PATH.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SkipTest, TestCase

from mpp.discovery.kubernetes.locator import KubeLocator, build
from mpp.discovery.kubernetes.settings import KubeSettings
from tests.fake_https import FakeAuthority
from tests.fake_kube import FakeKube, endpoint, endpoint_slice, listen, pod
from tests.integration.processes import CHECKOUT
from tests.integration.quiet import quiet
from tests.kubeconfigs import make_kubeconfig
from tests.unit.discovery.test_locators_kube_tls import NAME, credential_forms

SELECTOR = "app in (prometheus),tier!=test"


@functools.cache
def kubectls() -> tuple[tuple[str, tuple[int, int]], ...]:
    """Return the kubectls there are, each with its version."""
    cache = CHECKOUT / ".cache" / "kubectl" / "binaries"
    fetched = cache.read_text().split("\n") if cache.exists() else []
    found = {}
    for path in filter(None, [os.environ.get("MPP_TEST_KUBECTL"), *fetched, shutil.which("kubectl")]):
        version = version_of(path)
        if version is not None:
            found[path] = version
    return tuple(found.items())


def version_of(path: str) -> tuple[int, int] | None:
    """Return the version of a kubectl, or None when it does not run."""
    try:
        command = [path, "version", "--client", "--output=json"]
        printed = subprocess.run(command, capture_output=True, timeout=60, check=True, cwd="/").stdout
        version = json.loads(printed)["clientVersion"]
        return int(version["major"]), int(version["minor"].rstrip("+"))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return None


class KubectlTests(TestCase):
    """kubectl and mpp with the same kubeconfig, at the same server."""

    timeout = 300

    def setUp(self) -> None:
        """Start the server, with a service of two pods."""
        if not kubectls():
            raise SkipTest("no kubectl: run script/fetch-kubectl or set MPP_TEST_KUBECTL")
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.authority = FakeAuthority()
        (self.folder / "ca.pem").write_bytes(self.authority.pem)
        self.fake = FakeKube(reactor)
        self.fake.tokens, self.fake.users, self.fake.names = {"good-token": "alice"}, {"alice": "good-password"}, {"alice"}
        for number in range(2):
            self.fake.put("pods", pod(f"prometheus-{number}", f"10.0.0.{number}"))
        self.fake.put("pods", pod("prometheus-2", "10.0.0.2", labels={"app": "prometheus", "tier": "test"}))
        each = [endpoint(f"10.0.0.{number}", f"prometheus-{number}") for number in range(2)]
        self.fake.put("endpointslices", endpoint_slice("prometheus-abcde", each))
        self.port = listen(reactor, self.fake, self.authority, NAME, "127.0.0.1")
        self.addCleanup(self.port.stopListening)
        self.locators: list[KubeLocator] = []
        self.addCleanup(self.stop)

    def stop(self) -> Deferred[None]:
        """Stop all locators; fires when the server has noticed."""
        for locator in self.locators:
            locator.stop()
        return quiet()

    def kubeconfig(self, user: dict[str, Any]) -> Path:
        """Write a kubeconfig for a user."""
        server = f"https://127.0.0.1:{self.port.getHost().port}"
        return make_kubeconfig(self.folder, user, {"server": server, "certificate-authority": "ca.pem"})

    async def run_kubectl(self, path: str, *arguments: str) -> tuple[str, str, int]:
        """Run a kubectl; give what it prints, its complaints, and its status."""
        environ = {"HOME": str(self.folder), "PATH": os.environ["PATH"]}
        command = ["--kubeconfig", str(self.folder / "config"), *arguments]
        out, err, status = await getProcessOutputAndValue(path, command, environ)
        return out.decode(), err.decode(), status

    async def kubectl(self, path: str, *arguments: str) -> str:
        """Run a kubectl, which must work; give what it prints."""
        out, err, status = await self.run_kubectl(path, *arguments)
        self.assertEqual((status, err), (0, ""), arguments)
        return out

    async def located(self, **kube: str) -> list[str]:
        """Return the hosts that mpp locates with the kubeconfig."""
        settings = KubeSettings(kubeconfig=str(self.folder / "config"), **kube)
        self.locators.append(build(settings, reactor, os.environ))
        return [found.backend.host for found in await self.locators[-1].locate()]

    def cases(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Return each kubectl with each form of credentials that it knows."""
        forms = credential_forms(self.folder, self.authority)
        for path, version in kubectls():
            for form, user in forms.items():
                # Plugins of version 1 came with 1.22.
                if version >= (1, 22) or "plugin v1 " not in form:
                    yield path, form, user

    async def test_each_form_of_credentials(self) -> None:
        """With each form of credentials, kubectl and mpp see the same."""
        for path, form, user in self.cases():
            self.kubeconfig(user)
            slices = await self.kubectl(path, "get", "endpointslices", "-o", "name")
            pods = await self.kubectl(path, "get", "pods", "-l", SELECTOR, "-o", "name")
            self.assertEqual(slices.split(), ["endpointslice.discovery.k8s.io/prometheus-abcde"], form)
            self.assertEqual(pods.split(), ["pod/prometheus-0", "pod/prometheus-1"], form)
            self.assertEqual(await self.located(pod_label_selector=SELECTOR), ["10.0.0.0", "10.0.0.1"], form)
            self.assertEqual(await self.located(service_name="prometheus"), ["10.0.0.0", "10.0.0.1"], form)
        self.assertEqual({seen.user for seen in self.fake.seen}, {"alice"})
        self.assertEqual(self.fake.refused, 0)

    async def test_same_fields(self) -> None:
        """What kubectl sends, mpp sends as well: the selector, and in whose name it asks."""
        for path, _ in kubectls():
            self.kubeconfig({"token": "good-token", "as": "bob", "as-groups": ["dev", "ops"]})
            await self.kubectl(path, "get", "pods", "-l", SELECTOR)
            theirs = next(seen for seen in reversed(self.fake.seen) if seen.path.endswith("/pods"))
            await self.located(pod_label_selector=SELECTOR)
            ours = self.fake.seen[-1]
            self.assertEqual((ours.path, ours.query["labelSelector"]), (theirs.path, theirs.query["labelSelector"]))
            for name in ("authorization", "impersonate-user", "impersonate-group"):
                self.assertEqual(ours.fields[name], theirs.fields[name])

    async def test_tables_and_objects(self) -> None:
        """The usual forms of output; one object by name; pages."""
        self.kubeconfig({"token": "good-token"})
        for path, _ in kubectls():
            self.assertIn("prometheus-abcde", await self.kubectl(path, "get", "endpointslices"))
            item = json.loads(await self.kubectl(path, "get", "pod", "prometheus-0", "-o", "json"))
            self.assertEqual((item["kind"], item["status"]["podIP"]), ("Pod", "10.0.0.0"))
            everything = await self.kubectl(path, "get", "pods", "--chunk-size=1", "-o", "name")
            self.assertEqual(len(everything.split()), 3)

    async def test_kubectl_understands_rejections(self) -> None:
        """kubectl understands what the server says when it refuses."""
        for path, _ in kubectls():
            self.fake.fault(forbidden=frozenset({("list", "pods")}))
            self.kubeconfig({"token": "good-token"})
            _, told, status = await self.run_kubectl(path, "get", "pods")
            self.assertIn('Error from server (Forbidden): pods is forbidden: User "alice" cannot list resource "pods"', told)
            self.assertEqual(status, 1)
            self.fake.fault(forbidden=frozenset())
            _, told, _ = await self.run_kubectl(path, "get", "pod", "nobody")
            self.assertIn('Error from server (NotFound): pods "nobody" not found', told)
            self.kubeconfig({"token": "other-token"})
            _, told, _ = await self.run_kubectl(path, "get", "pods")
            self.assertIn("Unauthorized", told)

    async def test_kubectl_follows_a_watch_to_its_end(self) -> None:
        """kubectl follows a watch, and ends with it."""
        self.kubeconfig({"token": "good-token"})
        for path, _ in kubectls():
            watching = Deferred.fromCoroutine(self.kubectl(path, "get", "pods", "--watch-only", "--output-watch-events"))
            while not self.fake.watches and not watching.called:
                turn: Deferred[None] = Deferred()
                reactor.callLater(0.02, turn.callback, None)
                await turn
            self.fake.put("pods", pod("prometheus-3", "10.0.0.3"))
            self.fake.bookmark()
            self.fake.delete("pods", "prometheus-3")
            self.fake.end()
            told = [line.split()[:2] for line in (await watching).splitlines()]
            self.assertEqual(told, [["EVENT", "NAME"], ["ADDED", "prometheus-3"], ["DELETED", "prometheus-3"]])
