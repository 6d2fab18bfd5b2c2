"""
The whole program among servers that hold a certificate of its trusted authority, but not one for their name.

All that mpp connects to over TLS is such a server: backends, HTTP service discovery, Kubernetes, Marathon. They run in this
process, so that whatever waits does so in a thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.certificates import Authority
from tests.impostor import Impostor
from tests.integration.processes import Mpp, wait_until
from tests.integration.quiet import quiet
from tests.kubeconfigs import make_kubeconfig

TOKEN = "hush-hush-token"
BAD: tuple[tuple[str, ...], ...] = ((), ("email:bob@localhost",), ("DNS:other.example", "DNS:*.*.example"), ("DNS:*",))
"""Names in certificates that are not for localhost, although the common name is."""
GOOD = ("DNS:*.lan", "DNS:localhost", "IP:hex:7f")


class Trusting(Mpp):
    """mpp, with another authority in place of those that the system trusts."""

    def __init__(self, ca: Path, *options: str) -> None:
        super().__init__(["# none"], *options, interval="200ms")
        self._ca = ca

    def command(self) -> list[str]:
        """Return the command line."""
        return ["env", f"SSL_CERT_FILE={self._ca}", *super().command()]

    def lines(self, *parts: str) -> list[str]:
        """Return the lines of the log that have all of these."""
        return [line for line in self.log().splitlines() if all(part in line for part in parts)]


class ImpostorTests(TestCase):
    """None of them gets a byte of a request; each is named in one line of the log."""

    timeout = 120

    def setUp(self) -> None:
        """Make a folder with the authority's certificate and a token."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.authority = Authority()
        (self.folder / "ca.pem").write_bytes(self.authority.pem)
        (self.folder / "token").write_text(TOKEN)
        self.addCleanup(quiet)

    def impostor(self, *names: str) -> Impostor:
        """Start one."""
        impostor = Impostor(reactor, self.authority.sign(*names, common_name="localhost"))
        self.addCleanup(impostor.close)
        return impostor

    async def run_among(self, impostors: list[Impostor], *options: str) -> Trusting:
        """Start mpp, and wait until it has asked each of them a few times."""
        mpp = Trusting(self.folder / "ca.pem", *options)
        self.addCleanup(mpp.close)
        await deferToThread(mpp.start, wait=False)
        await self.until(lambda: all(len(each.asked_for) >= 3 for each in impostors), "each server was connected to", mpp)
        return mpp

    async def until(self, condition: Callable[[], Any], what: str, mpp: Mpp) -> None:
        """Wait until something is true."""
        try:
            await deferToThread(wait_until, condition, what)
        except AssertionError as error:
            self.fail(f"{error}\n{mpp.log()[-3000:]}")

    async def assert_refused(self, mpp: Trusting, impostor: Impostor, where: str) -> None:
        """However often mpp connects, nothing is sent, and one line says why."""
        said = (where, "the certificate is not for localhost, but for ")
        await self.until(lambda: mpp.lines(*said), "the refusal is logged", mpp)
        before = len(impostor.asked_for)
        await self.until(lambda: len(impostor.asked_for) > before + 2, "mpp connected again", mpp)
        self.assertEqual(len(mpp.lines(*said)), 1, mpp.log())
        self.assertEqual(impostor.decrypted, b"")

    def assert_quiet(self, mpp: Mpp) -> None:
        """There is no stack in the log, and no secret."""
        for text in ("Traceback", "Unhandled", "  File ", "service_identity", TOKEN):
            self.assertNotIn(text, mpp.log())

    async def test_impostor_backends_get_no_token(self) -> None:
        """Backends get no bearer token; the one whose certificate has a good name beside odd ones gets it."""
        bad, good = [self.impostor(*names) for names in BAD], self.impostor(*GOOD)
        http_config = {
            "authorization": {"credentials_file": str(self.folder / "token")},
            "tls_config": {"ca_file": str(self.folder / "ca.pem")},
        }
        servers = [f"https://localhost:{each.port}" for each in (*bad, good)]
        config = self.folder / "mpp.json"
        config.write_text(json.dumps({"endpoint": servers, "http_config": http_config}))
        mpp = await self.run_among([*bad, good], "--config", str(config))
        for each in bad:
            await self.assert_refused(mpp, each, f"localhost:{each.port}")
        await self.until(lambda: good.decrypted, "a request has arrived", mpp)
        self.assertIn(f"Authorization: Bearer {TOKEN}".encode(), good.decrypted)
        self.assert_quiet(mpp)

    async def test_http_sd(self) -> None:
        """The password in the URL of HTTP service discovery is not sent."""
        bad, good = [self.impostor(*names) for names in BAD], self.impostor(*GOOD)
        urls = [f"https://user:{TOKEN}@localhost:{each.port}/sd" for each in (*bad, good)]
        mpp = await self.run_among([*bad, good], *(option for url in urls for option in ("--http-sd", url)))
        for each in bad:
            await self.assert_refused(mpp, each, f"https://localhost:{each.port}/sd")
        await self.until(lambda: good.decrypted, "a request has arrived", mpp)
        self.assertIn(b"Authorization: Basic ", good.decrypted)
        self.assert_quiet(mpp)

    async def test_impostor_api_server_gets_no_token(self) -> None:
        """The token of a kubeconfig is not sent to an API server that is none."""
        for names in BAD[::2]:
            await self.check_kubernetes(self.impostor(*names), good=False)
        await self.check_kubernetes(self.impostor(*GOOD), good=True)

    async def check_kubernetes(self, impostor: Impostor, *, good: bool) -> None:
        """Try one API server."""
        cluster = {"server": f"https://localhost:{impostor.port}", "certificate-authority": "ca.pem"}
        kubeconfig = make_kubeconfig(self.folder, {"token": TOKEN}, cluster)
        mpp = await self.run_among([impostor], "--kubeconfig", str(kubeconfig), "--kube-pod-label-selector", "app=prometheus")
        if good:
            await self.until(lambda: impostor.decrypted, "a request has arrived", mpp)
            self.assertIn(f"Authorization: Bearer {TOKEN}".encode(), impostor.decrypted)
        else:
            await self.assert_refused(mpp, impostor, f"https://localhost:{impostor.port}")
        self.assert_quiet(mpp)
        await deferToThread(mpp.kill)

    async def test_impostor_marathon_gets_no_password(self) -> None:
        """The password in Marathon's URL is not sent."""
        for names in BAD[::2]:
            await self.check_marathon(self.impostor(*names), good=False)
        await self.check_marathon(self.impostor(*GOOD), good=True)

    async def check_marathon(self, impostor: Impostor, *, good: bool) -> None:
        """Try one Marathon."""
        url = f"https://user:{TOKEN}@localhost:{impostor.port}"
        mpp = await self.run_among([impostor], "--marathon-url", url, "--marathon-apps", "/a")
        if good:
            await self.until(lambda: impostor.decrypted, "a request has arrived", mpp)
            self.assertIn(b"Authorization: Basic ", impostor.decrypted)
        else:
            await self.assert_refused(mpp, impostor, f"https://localhost:{impostor.port}")
        self.assert_quiet(mpp)
        await deferToThread(mpp.kill)

    async def test_names_with_dot_and_underscore(self) -> None:
        """A backend is asked for without the trailing dot of its name, which may have an underscore, verified or not."""
        for insecure in (False, True):
            impostor = self.impostor("DNS:under_score.lab.test")
            tls_config = {"server_name": "under_score.lab.test.", "insecure_skip_verify": insecure}
            config = self.folder / "mpp.json"
            endpoint = f"https://localhost:{impostor.port}"
            config.write_text(json.dumps({"endpoint": [endpoint], "http_config": {"tls_config": tls_config}}))
            mpp = await self.run_among([impostor], "--config", str(config))
            # The name comes with the first message of a handshake, and a request only after its last.
            await self.until(lambda received=impostor: received.decrypted, "a request has arrived", mpp)
            self.assertEqual(set(impostor.asked_for), {b"under_score.lab.test"})
            self.assertTrue(impostor.decrypted.startswith(b"GET /"), mpp.log())
            self.assert_quiet(mpp)
            await deferToThread(mpp.kill)
