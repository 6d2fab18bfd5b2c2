"""Kubernetes on real sockets, over TLS: every form of credentials, and a watch that is interrupted."""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from mpp.core.errors import DiscoveryError
from mpp.core.model import Backend
from mpp.discovery.kubernetes.locator import KubeLocator, build, check
from mpp.discovery.kubernetes.settings import KubeSettings
from tests.fake_https import FakeAuthority
from tests.fake_kube import FakeKube, listen, pair, pod
from tests.kubeconfigs import make_kubeconfig

NAME = "kube.example"
"""What the server's certificate is for, besides 127.0.0.1."""


def make_plugin(folder: Path, version: str, status: dict[str, str]) -> dict[str, Any]:
    """Write a plugin that prints an ExecCredential and counts its runs; give the user's entry."""
    script = folder / "get-credential"
    printed = json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})
    script.write_text(f"#!{sys.executable}\nopen({str(folder / 'runs')!r}, 'a').write('x')\nprint({printed!r})\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {
        "exec": {"apiVersion": version, "command": "./get-credential", "interactiveMode": "Never", "provideClusterInfo": False}
    }


def credential_forms(folder: Path, authority: FakeAuthority) -> dict[str, dict[str, Any]]:
    """Return the entry of a user for each form of credentials, and write the files that belong to them."""
    certificate, key = pair(authority.issue("alice"))
    (folder / "client.pem").write_bytes(certificate)
    (folder / "client.key").write_bytes(key)
    (folder / "token").write_text("good-token\n")
    data = {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }
    status = {"clientCertificateData": certificate.decode(), "clientKeyData": key.decode()}
    forms = {
        "token": {"token": "good-token"},
        "token file": {"tokenFile": "token"},
        "password": {"username": "alice", "password": "good-password"},
        "certificate in files": {"client-certificate": "client.pem", "client-key": "client.key"},
        "certificate as data": data,
        "impersonation": {"token": "good-token", "as": "bob", "as-groups": ["dev", "ops"]},
    }
    for version in ("v1", "v1beta1"):
        for what, given in (("token", {"token": "good-token"}), ("certificate", status)):
            inside = folder / f"{version}-{what}"
            inside.mkdir()
            entry = make_plugin(inside, f"client.authentication.k8s.io/{version}", given)
            entry["exec"]["command"] = f"./{inside.name}/get-credential"
            forms[f"plugin {version} with {what}"] = entry
    return forms


class _Served(TestCase):
    """Base: an API server on a free port of 127.0.0.1."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.authority = FakeAuthority()
        self.fake = FakeKube(reactor)
        self.fake.tokens = {"good-token": "alice"}
        self.fake.users = {"alice": "good-password"}
        self.fake.names = {"alice"}
        self.fake.put("pods", pod("prometheus-0", "10.0.0.1", ready=False))
        self.port = listen(reactor, self.fake, self.authority, NAME, "127.0.0.1")
        self.addCleanup(self.port.stopListening)
        self.built_locators: list[KubeLocator] = []
        self.addCleanup(self.stopped)
        (self.folder / "ca.pem").write_bytes(self.authority.pem)

    def cluster(self, **changes: Any) -> dict[str, Any]:
        """Return the cluster's entry."""
        return {"server": f"https://127.0.0.1:{self.port.getHost().port}", "certificate-authority": "ca.pem", **changes}

    def locator(self, user: dict[str, Any], *, insecure: bool = False, **cluster: Any) -> KubeLocator:
        """Make the locator that a kubeconfig gives; it is stopped, and all of it gone, at the end."""
        path = make_kubeconfig(self.folder, user, {key: value for key, value in self.cluster(**cluster).items() if value})
        kube = KubeSettings(kubeconfig=str(path), pod_label_selector="app=prometheus")
        return self.built(kube, os.environ, insecure=insecure)

    def built(self, kube: KubeSettings, environ: Any, **options: Any) -> KubeLocator:
        """Return a locator; it is stopped, and all of it gone, at the end."""
        check(kube, environ, **options)
        self.built_locators.append(build(kube, reactor, environ, **options))
        return self.built_locators[-1]

    def stopped(self) -> Deferred[None]:
        """Stop all locators; fires when the server has noticed."""
        for locator in self.built_locators:
            locator.stop()
        gone: Deferred[None] = Deferred()
        self.wait_for_quiet(gone)
        return gone

    def wait_for_quiet(self, gone: Deferred[None]) -> None:
        """Fire when nobody is connected any more."""
        if any(type(reader).__name__ == "Server" for reader in reactor.getReaders()):
            reactor.callLater(0.01, self.wait_for_quiet, gone)
        else:
            gone.callback(None)


class CredentialFormTests(_Served):
    """Each form of credentials in a kubeconfig, and how the server is verified."""

    async def test_each_form(self) -> None:
        """With each form, the server knows who asks, and the pods are found."""
        for form, user in credential_forms(self.folder, self.authority).items():
            (found,) = await self.locator(user).locate()
            self.assertEqual(found.backend, Backend("http", "10.0.0.1", 9090), form)
            self.assertEqual(self.fake.seen[-1].user, "alice", form)
            if "as" in user:
                self.assertEqual(self.fake.seen[-1].fields["impersonate-group"], ("dev", "ops"))
        self.assertEqual(self.fake.refused, 0)

    async def test_plugin_is_run_once(self) -> None:
        """A plugin is run once, and once more when what it gave is not accepted any more."""
        user = make_plugin(self.folder, "client.authentication.k8s.io/v1", {"token": "good-token"})
        locator = self.locator(user)
        for _ in range(3):
            await locator.locate()
        self.assertEqual((self.folder / "runs").read_text(), "x")
        self.fake.tokens = {"new-token": "alice"}
        make_plugin(self.folder, "client.authentication.k8s.io/v1", {"token": "new-token"})
        await locator.locate()
        self.assertEqual(((self.folder / "runs").read_text(), self.fake.refused), ("xx", 1))

    async def test_token_file_is_replaced(self) -> None:
        """A token file that was replaced is read when the old token is not accepted any more."""
        (self.folder / "token").write_text("good-token")
        locator = self.locator({"tokenFile": "token"})
        await locator.locate()
        self.fake.tokens = {"new-token": "alice"}
        (self.folder / "token").write_text("new-token")
        self.assertEqual((len(await locator.locate()), self.fake.refused), (1, 1))

    async def test_service_account(self) -> None:
        """In a pod, the service account's files count."""
        for name, content in (("token", b"good-token"), ("ca.crt", self.authority.pem), ("namespace", b"monitoring")):
            (self.folder / name).write_bytes(content)
        environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port.getHost().port)}
        kube = KubeSettings(pod_label_selector="app=prometheus")
        self.assertEqual(len(await self.built(kube, environ, account=str(self.folder)).locate()), 1)

    async def test_server_certificate_is_verified(self) -> None:
        """The server's certificate is verified by the given authority and name, or by none at all; as data or file."""
        data = base64.b64encode(self.authority.pem).decode()
        other = base64.b64encode(FakeAuthority().pem).decode()
        good: list[dict[str, Any]] = [
            {},
            {"certificate-authority": None, "certificate-authority-data": data},
            {"tls-server-name": NAME},
            {"certificate-authority-data": other, "insecure-skip-tls-verify": True},
            {"certificate-authority-data": other, "insecure": True},
        ]
        bad = [{"certificate-authority-data": other}, {"certificate-authority": None}, {"tls-server-name": "other.example"}]
        for changes in good:
            self.assertEqual(len(await self.locator({"token": "good-token"}, **changes).locate()), 1, changes)
        for changes in bad:
            with self.assertRaisesRegex(DiscoveryError, r"\Ahttps://127\.0\.0\.1:\d+/.*: TLS failed: "):
                await self.locator({"token": "good-token"}, **changes).locate()

    async def test_server_is_down(self) -> None:
        """A server that is down is no wrong configuration, and the look-up says so."""
        locator = self.locator({"token": "good-token"}, server="https://127.0.0.1:1")
        await locator.verify()
        with self.assertRaisesRegex(DiscoveryError, "connection refused"):
            await locator.locate()

    async def test_certificate_is_replaced(self) -> None:
        """A client certificate that was replaced is shown when the old one is not accepted any more."""
        forms = credential_forms(self.folder, self.authority)
        locator = self.locator(forms["certificate in files"])
        await locator.locate()
        self.fake.names = {"bob"}
        certificate, key = pair(self.authority.issue("bob"))
        (self.folder / "client.pem").write_bytes(certificate)
        (self.folder / "client.key").write_bytes(key)
        await locator.locate()
        self.assertEqual(self.fake.seen[-1].user, "bob")


class RealWatchTests(_Served):
    """A watch on a real connection."""

    def setUp(self) -> None:
        super().setUp()
        self.changed: Deferred[None] = Deferred()
        self.watching = self.locator({"token": "good-token"})

    def change(self) -> None:
        """Take note of a change."""
        changed, self.changed = self.changed, Deferred()
        changed.callback(None)

    async def told(self, change: Any) -> None:
        """Make a change, and wait until it is told, a second at most."""
        told = self.changed
        change()
        await told.addTimeout(1.0, reactor)

    async def watched(self) -> None:
        """Wait until there is a watch."""
        while not self.fake.watches:
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.01, turn.callback, None)
            await turn

    def set_ready(self, ready: bool) -> None:
        self.fake.put("pods", pod("prometheus-0", "10.0.0.1", ready=ready))

    async def test_pod_becomes_ready(self) -> None:
        """A pod that becomes ready is told within a second; also after the stream was cut, and after a 410."""
        await self.told(lambda: self.watching.start(self.change))
        await self.watched()
        for interrupt in (lambda: None, self.fake.cut, self.fake.expire):
            interrupt()
            await self.watched()
            for ready in (True, False):
                await self.watched()
                await self.told(lambda: self.set_ready(ready))  # noqa: B023
                (found,) = await self.watching.locate()
                self.assertEqual(bool(found.not_ready), not ready)

    async def test_stopping_closes_the_connection(self) -> None:
        """Stopping closes the connection, so that the server need not wait; starting again works."""
        for _ in range(2):
            await self.told(lambda: self.watching.start(self.change))
            await self.watched()
            await self.stopped()
            self.assertEqual(self.fake.watches, [])
