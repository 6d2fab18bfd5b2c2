"""Programs that give credentials: when they run, what they may print, and what of it anybody gets to see."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mpp.core.errors import DiscoveryError
from mpp.discovery.kubernetes.cluster_access import ClusterAccess
from mpp.discovery.kubernetes.exec_plugin import TIMEOUT_S, IssuedCredential, read_credential, run_plugin
from mpp.discovery.kubernetes.settings import KubeSettings
from mpp.discovery.kubernetes.user import ExecPlugin
from tests.fake_https import FakeAuthority
from tests.fake_kube import InMemory, pair

VERSION = "client.authentication.k8s.io/v1"
PLUGIN = ExecPlugin("config: users[alice].user.exec.command", VERSION, "get-token", ("login", "--password=hidden"))
WHO = f"{PLUGIN.where}: get-token: "


def credential(version: str = VERSION, **status: str) -> bytes:
    """Return what a plugin prints."""
    return json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status}).encode()


class FakeProcess:
    """A child process; records what is done to it."""

    # Higher than Linux allows: there is no process, and no group, of this number.
    pid = 2**22 + 1

    def __init__(self) -> None:
        self.done: list[str] = []

    def closeStdin(self) -> None:
        self.done.append("closeStdin")

    def signalProcess(self, name: str) -> None:
        self.done.append(name)

    def loseConnection(self) -> None:
        self.done.append("loseConnection")


class FakeReactor(Clock):
    """Runs nothing."""

    def spawnProcess(self, protocol: Any, executable: str, args: Any, env: Any) -> None:
        self.protocol, self.executable, self.arguments, self.environ = protocol, executable, args, env
        self.process = FakeProcess()
        protocol.makeConnection(self.process)


class RunTests(SynchronousTestCase):
    """One run."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        (self.folder / "get-token").touch(0o755)
        self.environ = {"PATH": str(self.folder), "HOME": "/home/mpp"}
        self.run_it()

    def run_it(self, plugin: ExecPlugin = PLUGIN) -> None:
        """Run a plugin."""
        self.issued = run_plugin(plugin, self.reactor, self.environ)

    def end(self, status: int | None = 0, signal: int | None = None) -> None:
        """Have the program end."""
        kind = ProcessDone(0) if status == 0 else ProcessTerminated(status, signal)
        self.reactor.protocol.processEnded(Failure(kind))

    def refused(self) -> str:
        return str(self.failureResultOf(self.issued, DiscoveryError).value)

    def test_how_it_is_run(self) -> None:
        """It is looked up in PATH, gets its arguments, mpp's environment with its own, and no input; no secret of mpp's."""
        self.environ |= {"MPP_MARATHON_PRINCIPAL_SECRET": "s3cr3t", "MPP_HTTP_SD": "http://u:s3cr3t@sd/"}
        self.run_it(evolve(PLUGIN, environ=(("PROFILE", "prod"), ("HOME", "/other"), ("MPP_OF_THE_KUBECONFIG", "1"))))
        self.assertEqual(self.reactor.executable, sys.executable)
        self.assertEqual(self.reactor.arguments[-4:], [str(self.folder / "get-token"), "get-token", "login", "--password=hidden"])
        environ = {"PATH": str(self.folder), "PYTHONSAFEPATH": "1"}
        self.assertEqual(self.reactor.environ, {**environ, "HOME": "/other", "PROFILE": "prod", "MPP_OF_THE_KUBECONFIG": "1"})
        self.assertEqual(self.reactor.process.done, ["closeStdin"])

    def test_printed_token_is_returned(self) -> None:
        """What it prints, in pieces, is a token; nothing is left behind."""
        for piece in (credential(token="s3cr3t")[:20], credential(token="s3cr3t")[20:]):
            self.reactor.protocol.outReceived(piece)
        self.assertNoResult(self.issued)
        self.end()
        self.assertEqual(self.successResultOf(self.issued), IssuedCredential("Bearer s3cr3t"))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_failing_program_is_reported_with_its_last_output(self) -> None:
        """A program that fails is told with its status and its last words, without anything that could be a secret."""
        self.reactor.protocol.outReceived(b"secret output")
        words = b"Traceback\nlogin with hidden eyJhbGciOiJSUzI1NiIsImtpZCI6Ij failed: session of --password=hidden has expired\n"
        self.reactor.protocol.errReceived(words)
        self.end(1)
        self.assertEqual(self.refused(), f"{WHO}exit status 1: ... with ... ... failed: session of --password=... has expired")

    def test_environment_is_not_told(self) -> None:
        """Values of its environment are not repeated."""
        self.run_it(evolve(PLUGIN, environ=(("PASSWORD", "tiger"),)))
        self.reactor.protocol.errReceived(b"bad password: tiger")
        self.end(1)
        self.assertEqual(self.refused(), f"{WHO}exit status 1: bad password: ...")

    def test_killed_program_is_reported_with_the_signal(self) -> None:
        """A program that was killed is told with the signal."""
        self.end(None, 15)
        self.assertEqual(self.refused(), f"{WHO}ended by signal 15")

    def test_takes_too_long(self) -> None:
        """A program that does not finish is killed, and what its children hold open is closed."""
        self.reactor.advance(TIMEOUT_S)
        self.assertEqual(self.refused(), f"{WHO}not finished after 30 s")
        self.assertEqual(self.reactor.process.done, ["closeStdin", "KILL", "loseConnection"])
        self.end(None, 9)

    def test_cancelling_kills_the_program(self) -> None:
        """Giving up kills the program."""
        self.issued.cancel()
        self.failureResultOf(self.issued)
        self.assertIn("KILL", self.reactor.process.done)
        self.end(None, 9)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_prints_too_much(self) -> None:
        """A program that prints without end is killed."""
        for _ in range(3):
            self.reactor.protocol.outReceived(b"x" * 1024 * 1024)
        self.assertEqual(self.refused(), f"{WHO}prints too much")
        self.end(None, 9)

    def test_cannot_be_run(self) -> None:
        """A program that the system refuses to run is told."""

        def refuse(*_: Any, **__: Any) -> None:
            raise OSError(12, "Cannot allocate memory")

        self.reactor.spawnProcess = refuse  # type: ignore[method-assign]
        self.run_it()
        self.assertEqual(self.refused(), f"{WHO}Cannot allocate memory")

    def test_no_such_program(self) -> None:
        """A program that is not there is told, with the hint of who configured it."""
        self.run_it(evolve(PLUGIN, command="gke-auth", install_hint="Install gke-auth\nfrom example.com"))
        expected = f"{PLUGIN.where}: gke-auth: no such program; Install gke-auth from example.com"
        self.assertEqual(self.refused(), expected)


class CredentialTests(SynchronousTestCase):
    """What is printed."""

    def refused(self, output: bytes) -> str:
        """Return why an output is of no use."""
        told = str(self.assertRaises(DiscoveryError, read_credential, output, PLUGIN))
        self.assertNotIn("s3cr3t", told)
        return told

    def test_expiry_has_optional_fractions_and_offset(self) -> None:
        """A point in time, with or without fractions and offset."""
        for text, expected in (("2024-05-01T00:00:00Z", 0), ("2024-05-01T02:00:00.5+02:00", 0.5), ("2024-05-01T00:00:01", 1)):
            issued = read_credential(credential(token="t", expirationTimestamp=text), PLUGIN)
            self.assertEqual(issued.expires, 1714521600 + expected)

    def test_certificate_comes_with_its_key(self) -> None:
        """A certificate with its key."""
        certificate, key = pair(FakeAuthority().issue("alice"))
        output = credential(clientCertificateData=certificate.decode(), clientKeyData=key.decode())
        issued = read_credential(output, PLUGIN)
        self.assertEqual((issued.authorization, issued.client), ("", certificate.rstrip() + b"\n" + key))
        self.assertNotIn("BEGIN", repr(issued))

    def test_of_no_use(self) -> None:
        """What is no ExecCredential, or is of another version, or holds nothing, is refused without being repeated."""
        for output in (b"s3cr3t", b"[]", b"{}", b'{"kind":"ExecCredential","apiVersion":"%s"}' % VERSION.encode(), b"\xff"):
            self.assertEqual(self.refused(output), f"{WHO}printed no ExecCredential")
        self.assertIn(f"printed no ExecCredential of {VERSION}", self.refused(credential("other", token="s3cr3t")))
        self.assertIn("printed neither a token nor a certificate", self.refused(credential()))
        self.assertIn("printed neither a token nor a certificate", self.refused(credential(clientCertificateData="s3cr3t")))
        self.assertIn("not a token", self.refused(credential(token="s3cr3t\nx")))
        self.assertIn(
            "not a certificate in PEM", self.refused(credential(clientCertificateData="s3cr3t", clientKeyData="s3cr3t"))
        )
        self.assertIn("printed no Exec", self.refused(credential(token="s3cr3t", expirationTimestamp="s3cr3t")))


class CacheTests(SynchronousTestCase):
    """When a program is run."""

    def setUp(self) -> None:
        access = ClusterAccess("https://kube.example:6443", "monitoring", plugin=PLUGIN)
        self.world = InMemory(KubeSettings(service_name="prometheus"), access)
        self.world.fake.tokens = {"one": "alice"}

    def located(self) -> Deferred[Any]:
        return self.world.locator.locate()

    def finish(self, token: str, expires: float | None = None) -> None:
        """Have the program that was run last end."""
        self.world.plugins[-1][1].callback(IssuedCredential(f"Bearer {token}", None, expires))

    def test_once_for_all(self) -> None:
        """Who asks while it runs waits for the same run; who asks later takes what it gave."""
        looking = [self.located() for _ in range(3)]
        self.finish("one")
        for each in [*looking, self.located()]:
            self.successResultOf(each)
        self.assertEqual(len(self.world.plugins), 1)

    def test_credential_is_used_until_it_expires(self) -> None:
        """What it gave is used until it expires."""
        looked = self.located()
        self.finish("one", expires=100.0)
        self.successResultOf(looked)
        self.world.clock.advance(99)
        self.successResultOf(self.located())
        self.world.clock.advance(1)
        self.assertNoResult(self.located())
        self.assertEqual(len(self.world.plugins), 2)

    def test_not_accepted(self) -> None:
        """What is not accepted leads to one new run, and to one repetition."""
        looked = self.located()
        self.finish("old")
        self.assertNoResult(looked)
        self.finish("one")
        self.successResultOf(looked)
        self.assertEqual((len(self.world.plugins), self.world.fake.refused), (2, 1))

    def test_never_accepted(self) -> None:
        """A program whose credentials are never accepted is run once more for each request, not for ever."""
        looked = self.located()
        for token in ("old", "older"):
            self.finish(token)
        self.assertIn("status 401", str(self.failureResultOf(looked, DiscoveryError).value))
        self.assertEqual(len(self.world.plugins), 2)

    def test_given_up_and_stopped(self) -> None:
        """A look-up that is given up leaves the program running, for the next one; stopping kills it."""
        self.failureResultOf(self.cancelled(self.located()))
        looked = self.located()
        self.assertEqual(len(self.world.plugins), 1)
        self.world.locator.stop()
        self.failureResultOf(looked)
        self.assertTrue(self.world.plugins[0][1].called)

    def cancelled(self, deferred: Deferred[Any]) -> Deferred[Any]:
        """Cancel, and give it back."""
        deferred.cancel()
        return deferred

    def test_failure_is_not_cached(self) -> None:
        """A program that fails is the look-up's failure; the next one runs it again."""
        looked = self.located()
        self.world.plugins[-1][1].errback(DiscoveryError("exit status 1"))
        self.assertEqual(str(self.failureResultOf(looked, DiscoveryError).value), "exit status 1")
        self.assertNoResult(self.located())
        self.assertEqual(len(self.world.plugins), 2)

    def test_another_plugin(self) -> None:
        """When the kubeconfig names another program, that one is run."""
        looked = self.located()
        self.finish("one")
        self.successResultOf(looked)
        self.world.access = evolve(self.world.access, plugin=evolve(PLUGIN, command="other"))
        self.world.clock.advance(60)
        self.assertNoResult(self.located())
        self.assertEqual(self.world.plugins[-1][0].command, "other")


class RealProcessTests(TestCase):
    """Real child processes."""

    def plugin(self, script: str) -> ExecPlugin:
        """Make a plugin of a script."""
        return evolve(PLUGIN, command=sys.executable, arguments=("-c", script), environ=(("KUBERNETES_EXEC_INFO", "{}"),))

    async def test_real_program_prints_a_token(self) -> None:
        """A program that prints a token, and reads its input to the end before."""
        output = credential(token="t").decode()
        script = f"import os, sys; sys.stdin.read(); assert os.environ['KUBERNETES_EXEC_INFO'] == '{{}}'; print('''{output}''')"
        self.assertEqual(await run_plugin(self.plugin(script), reactor, os.environ), IssuedCredential("Bearer t"))

    async def test_real_program_ends_with_an_error(self) -> None:
        """A program that ends with an error."""
        with self.assertRaisesRegex(DiscoveryError, "exit status 3: please log in$"):
            await run_plugin(self.plugin("import sys; print('please log in', file=sys.stderr); sys.exit(3)"), reactor, os.environ)

    def script(self, text: str) -> ExecPlugin:
        """Return a plugin that is a shell script; ``$1`` is a file for its notes, which is not there yet."""
        program = Path(self.mktemp()).absolute()
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
        self.notes = Path(self.mktemp()).absolute()
        return evolve(PLUGIN, command=str(program), arguments=(str(self.notes),))

    async def noted(self) -> list[int]:
        """Return the numbers in the notes, once there are two."""
        for _ in range(500):
            if self.notes.exists() and len(numbers := self.notes.read_text().split()) == 2:
                return [int(number) for number in numbers]
            await deferLater(reactor, 0.02)
        raise AssertionError("the program has not started")

    async def gone(self, pid: int) -> None:
        """Wait until a process has ended; one that no other process has waited for is a zombie."""
        for _ in range(500):
            try:
                if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    return
            except (FileNotFoundError, ProcessLookupError):
                return
            await deferLater(reactor, 0.02)
        raise AssertionError(f"process {pid} is still there")

    async def test_children_are_killed(self) -> None:
        """What a hanging program has started ends with it, whether the program itself is still there or not."""
        for rest in ("wait", "exit 0"):
            watched = WatchedReactor()
            running = run_plugin(self.script(f'sleep 3600 & echo $$ $! > "$1"; {rest}'), watched, os.environ)
            pids = await self.noted()
            running.cancel()
            self.failureResultOf(running)
            for pid in pids:
                await self.gone(pid)
            await watched.ended

    async def test_group_of_its_own(self) -> None:
        """A program has a session of its own, without mpp's terminal; SIGPIPE ends it as usual."""
        output = credential(token="t").decode()
        script = f"import os; assert os.getpgrp() == os.getpid() == os.getsid(0) != {os.getpgrp()}; print('''{output}''')"
        self.assertEqual(await run_plugin(self.plugin(script), reactor, os.environ), IssuedCredential("Bearer t"))
        with self.assertRaisesRegex(DiscoveryError, "ended by signal 13$"):
            await run_plugin(self.script("kill -PIPE $$; exit 1"), reactor, os.environ)

    async def test_program_has_the_locale_of_mpp(self) -> None:
        """A program has the locale that mpp was started with, also where that is "C", which Python changes for itself."""
        for locale in ({}, {"LC_CTYPE": "C"}, {"LC_CTYPE": "C.UTF-8"}, {"LANG": "C"}, {"LC_ALL": "C"}):
            plugin = self.script('echo "${LC_CTYPE-unset} ${LANG-unset} ${LC_ALL-unset}" > "$1"; exit 1')
            running = run_plugin(plugin, reactor, {"PATH": os.environ["PATH"], **locale})
            with self.assertRaises(DiscoveryError):
                await running
            expected = [locale.get(name, "unset") for name in ("LC_CTYPE", "LANG", "LC_ALL")]
            self.assertEqual(self.notes.read_text().split(), expected)

    async def test_is_no_program(self) -> None:
        """A file that the system cannot execute is reported with the system's reason."""
        plugin = self.script("")
        Path(plugin.command).write_text("neither a program nor a script")
        with self.assertRaisesRegex(DiscoveryError, "Exec format error$"):
            await run_plugin(plugin, reactor, os.environ)

    async def test_abandoned_program_is_killed(self) -> None:
        """A program that is given up is gone."""
        watched = WatchedReactor()
        running = run_plugin(self.plugin("import time; time.sleep(60)"), watched, os.environ)
        running.cancel()
        self.failureResultOf(running)
        ended = await watched.ended
        self.assertEqual(ended.value.signal, signal.SIGKILL)


class WatchedReactor:
    """The reactor; tells when the program that it runs has ended."""

    def __init__(self) -> None:
        self.ended: Deferred[Ended] = Deferred()
        self.callLater = reactor.callLater

    def spawnProcess(self, protocol: Any, *arguments: Any, **options: Any) -> None:
        """Run a program."""
        told = protocol.processEnded

        def ended(reason: Failure) -> None:
            told(reason)
            # Not as its result: that of a Deferred must not be a Failure.
            self.ended.callback(Ended(reason.value))

        protocol.processEnded = ended
        reactor.spawnProcess(protocol, *arguments, **options)


@frozen
class Ended:
    """How a program ended."""

    value: Any
