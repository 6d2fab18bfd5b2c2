"""
Everything that can be wrong with what an operator says of discovery, and what the ``mpp`` command makes of it: one table.

What can never work ends the program with status 2 and one line; a source that is merely away, or may be mended, does not. The
test prints the table with what was really said.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from attrs import field, frozen
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.server import Site

from tests.fake_https import FakeAuthority
from tests.fake_kube import FakeKube, listen, pod
from tests.fake_marathon import FakeMarathon, principal_secret
from tests.integration.processes import die_with_parent, fetch, free_port, wait_until
from tests.integration.quiet import quiet
from tests.integration.test_command import MPP, PATIENCE, ROOT, TWISTD, TWISTD_MPP, environment, run
from tests.unit.app.test_logs import read_logfmt
from tests.unit.core.test_plain_yaml import alias_bomb

AT_ONCE = 3
"""How many programs run side by side: a few, for a machine with few cores."""

SERVICE = ("--kube-service-name", "prometheus")
PODS = ("--kube-pod-label-selector", "app=prometheus")
MARATHON = ("--marathon-url", "{marathon}/service/marathon", "--marathon-apps", "/prometheus")


@frozen
class Case:
    """
    Something wrong.

    :ivar argv: options; ``{folder}`` and the like are filled in.
    :ivar says: a regular expression for the whole line (without ``mpp:``) on stderr, or for something in the log.
    :ivar ends: the program ends with status 2; otherwise it serves.
    """

    what: str
    argv: tuple[str, ...]
    says: str
    ends: bool = True
    environ: Mapping[str, str] = field(factory=dict)
    command: tuple[str, ...] = MPP


def kubeconfig(name: str) -> tuple[str, ...]:
    """Return the option that names one of the kubeconfigs."""
    return ("--kubeconfig", "{folder}/" + name)


_REFUSED = r"the API server rejects 'app in prometheus': unable to parse requirement: found 'app in prometheus', .+"
_SELECTOR = ("--kube-pod-label-selector", "app in prometheus")
_NO_FILE = "No such file or directory"
_USER = r"config: {folder}/{name}: users\[alice\]\.user"

KUBERNETES: tuple[Case, ...] = (
    Case("selector refused", (*kubeconfig("good"), *_SELECTOR), rf"--kube-pod-label-selector: {_REFUSED}"),
    Case(
        "selector refused, twistd",
        (*kubeconfig("good"), *_SELECTOR),
        rf"--kube-pod-label-selector: {_REFUSED}",
        command=TWISTD_MPP,
    ),
    Case(
        "selector refused, from the environment",
        (),
        rf"MPP_KUBE_POD_LABEL_SELECTOR: {_REFUSED}",
        environ={"MPP_KUBECONFIG": "{folder}/good", "MPP_KUBE_POD_LABEL_SELECTOR": "app in prometheus"},
    ),
    Case(
        "selector refused, other servers known",
        (*kubeconfig("good"), *_SELECTOR, "--endpoint", "127.0.0.1:1"),
        rf"--kube-pod-label-selector: {_REFUSED}",
    ),
    Case(
        "selector refused, server down",
        (*kubeconfig("down"), *_SELECTOR),
        "locator kubernetes failed.*: connection refused",
        ends=False,
    ),
    Case(
        "selector refused, server slow",
        (*kubeconfig("slow"), *_SELECTOR),
        "locator kubernetes has not responded within 3 s; the round goes on without it, its look-up continues for up to 60 s",
        ends=False,
    ),
    Case(
        "server fails",
        (*kubeconfig("failing"), *PODS),
        "locator kubernetes failed.*: status 503: the server is currently unable to handle the request",
        ends=False,
    ),
    Case(
        "RBAC forbids pods",
        (*kubeconfig("forbidden"), *PODS),
        r"locator kubernetes failed.*: pods in namespace 'monitoring': status 403: pods is forbidden: "
        r'User "alice" cannot list resource "pods" .*rbac\.yaml',
        ends=False,
    ),
    Case(
        "RBAC forbids a service",
        (*kubeconfig("forbidden"), *SERVICE),
        r"locator kubernetes failed.*: EndpointSlices in namespace 'monitoring': status 403: endpointslices is forbidden: "
        r'User "alice" cannot list resource "endpointslices" .*rbac\.yaml',
        ends=False,
    ),
    Case(
        "token refused",
        (*kubeconfig("stranger"), *PODS),
        r"locator kubernetes failed.*: status 401: Unauthorized \(the credentials of --kubeconfig",
        ends=False,
    ),
    Case("unknown certificate", (*kubeconfig("no-ca"), *PODS), "TLS failed: .*certificate", ends=False),
    Case("kubeconfig missing", (*kubeconfig("nowhere"), *PODS), f"--kubeconfig: {{folder}}/nowhere: {_NO_FILE}"),
    Case("kubeconfig missing, KUBECONFIG", PODS, f"KUBECONFIG: /nowhere: {_NO_FILE}", environ={"KUBECONFIG": "/nowhere"}),
    Case(
        "neither kubeconfig nor pod",
        PODS,
        "--kubeconfig: missing, and this is no pod of a cluster: KUBERNETES_SERVICE_HOST and _PORT are not set",
    ),
    Case("kubeconfig is no YAML", (*kubeconfig("torn"), *PODS), r"--kubeconfig: {folder}/torn: line 2: not YAML"),
    Case(
        "kubeconfig's aliases",
        (*kubeconfig("aliases"), *PODS),
        "--kubeconfig: {folder}/aliases: line 7: aliases expand to too many values",
    ),
    Case("kubeconfig nests", (*kubeconfig("nested"), *PODS), "--kubeconfig: {folder}/nested: line 1: nested too deeply"),
    Case(
        "kubeconfig merges",
        (*kubeconfig("merging"), *PODS),
        r"--kubeconfig: {folder}/merging: line 2: merge keys \(<<\) are not supported",
    ),
    Case(
        "unknown context",
        (*kubeconfig("context"), *PODS),
        "--kubeconfig: {folder}/context: current-context 'prod' is not defined; known contexts: test",
    ),
    Case(
        "missing user",
        (*kubeconfig("user"), *PODS),
        r"--kubeconfig: {folder}/user: contexts\[test\].context.user: no user 'alice' is defined; the file defines no user",
    ),
    Case(
        "missing token file",
        (*kubeconfig("token-file"), *PODS),
        rf"--kubeconfig: {{folder}}/token-file: users\[alice\].user.tokenFile: {{folder}}/gone: {_NO_FILE}",
    ),
    Case(
        "unusable server",
        (*kubeconfig("server"), *PODS),
        r"--kubeconfig: {folder}/server: clusters\[fake\].cluster.server: expected a URL such as https://host:6443",
    ),
    Case(
        "service's name",
        (*kubeconfig("good"), "--kube-service-name", "A/b"),
        "--kube-service-name: 'A/b' is not the name of a service, such as prometheus",
    ),
    Case(
        "namespace",
        (*kubeconfig("good"), *PODS, "--kube-namespace", "A"),
        "--kube-namespace: 'A' is not the name of a namespace, such as monitoring",
    ),
    Case(
        "Kubernetes port",
        (*kubeconfig("good"), *PODS, "--kube-port", "70000"),
        r"--kube-port: '70000' is neither a port number \(1 to 65535\) nor .*",
    ),
    Case("scheme", (*kubeconfig("good"), *PODS, "--kube-scheme", "ftp"), "--kube-scheme: 'ftp' .*"),
    Case("path prefix", (*kubeconfig("good"), *PODS, "--kube-path-prefix", "x y"), "--kube-path-prefix: 'x y' .*"),
)

_SECRET = "--marathon-principal-secret"

MARATHONS: tuple[Case, ...] = (
    Case(
        "app that does not exist",
        MARATHON,
        "locator marathon failed.*: --marathon-apps: /prometheus: App '/prometheus' does not exist",
        ends=False,
    ),
    Case(
        "no Marathon there",
        ("--marathon-url", "{marathon}", *MARATHON[2:]),
        "--marathon-url: {marathon}/v2/apps/prometheus: no Marathon responds there",
        ends=False,
    ),
    Case(
        "all masters down",
        ("--marathon-url", "{nobody}", *MARATHON[2:]),
        "{nobody}/v2/apps/prometheus: connection refused",
        ends=False,
    ),
    Case(
        "not logged in",
        ("--marathon-url", "{strict}/service/marathon", *MARATHON[2:]),
        r"mpp's credentials are missing or wrong \(--marathon-principal-secret or HTTP basic\)",
        ends=False,
    ),
    Case(
        "login refused",
        ("--marathon-url", "{strict}/service/marathon", *MARATHON[2:], _SECRET, "@{folder}/stranger.json"),
        rf"{_SECRET}: login as stranger at {{strict}}/acs/api/v1/auth/login: status 401: Invalid credentials",
        ends=False,
    ),
    Case(
        "secret is no JSON",
        (*MARATHON, _SECRET, "{{"),
        rf"{_SECRET}: not JSON; expected the principal's secret, or @ and the path of a file that holds it",
    ),
    Case("secret without uid", (*MARATHON, _SECRET, "@{folder}/nobody.json"), rf"{_SECRET}: it has no uid"),
    Case(
        "secret's key",
        (*MARATHON, _SECRET, "@{folder}/key.json"),
        rf"{_SECRET}: its private_key is no PEM of an RSA key, neither PKCS#1 nor PKCS#8",
    ),
    Case("secret's file missing", (*MARATHON, _SECRET, "@/nowhere/secret"), rf"{_SECRET}: /nowhere/secret: {_NO_FILE}"),
    Case(
        "secret, from the environment",
        MARATHON,
        "MPP_MARATHON_PRINCIPAL_SECRET: not JSON; .*",
        environ={"MPP_MARATHON_PRINCIPAL_SECRET": "s3cr3t"},
    ),
    Case(
        "login without secret",
        (*MARATHON, "--marathon-auth-endpoint", "{strict}"),
        "--marathon-auth-endpoint: of no use without --marathon-principal-secret",
    ),
    Case(
        "two ways to log in",
        (*MARATHON, "--marathon-credentials-file", "/x", _SECRET, "{{}}"),
        rf"{_SECRET}: given together with --marathon-credentials-file; only one of them can be used",
    ),
    Case(
        "credentials file missing",
        (*MARATHON, "--marathon-credentials-file", "/nowhere/c"),
        f"--marathon-credentials-file: /nowhere/c: {_NO_FILE}",
    ),
    Case(
        "credentials file torn",
        (*MARATHON, "--marathon-credentials-file", "{folder}/torn"),
        "--marathon-credentials-file: {folder}/torn: expected one line, user:password",
    ),
    Case("no apps", MARATHON[:2], "--marathon-apps: missing; the ids of the apps that run Prometheus, .*"),
    Case(
        "Marathon's port",
        (*MARATHON, "--marathon-port", "a b"),
        "--marathon-port: 'a b' is neither an index such as 0 nor a port's name",
    ),
    Case("Marathon's URL", ("--marathon-url", "leader.mesos", *MARATHON[2:]), "--marathon-url: 'leader.mesos' .*"),
)

OTHERS: tuple[Case, ...] = (
    Case(
        "endpoint",
        ("--endpoint", "prom-a"),
        "--endpoint: 'prom-a'.*: no port given: expected host:port, like prom-a:9090, or a URL",
    ),
    Case(
        "endpoints file missing",
        ("--endpoints-file", "/nowhere/e"),
        rf"--endpoints-file: '/nowhere/e' cannot be read \({_NO_FILE}\); expected a file",
    ),
    Case(
        "endpoints file is a pipe",
        ("--endpoints-file", "{folder}/pipe"),
        r"--endpoints-file: '{folder}/pipe' cannot be read \(not a regular file\); expected a file",
    ),
    Case(
        "file_sd's ending",
        ("--file-sd", "targets.txt"),
        "--file-sd: 'targets.txt': expected a path that ends in .json, .yml or .yaml, with wildcards in its last element only",
    ),
    Case("file_sd's pattern", ("--file-sd", "*/targets.json"), r"--file-sd: '\*/targets.json': expected a path that ends .*"),
    Case(
        "file_sd missing",
        ("--file-sd", "{folder}/gone.json"),
        f"locator file-sd failed.*: {{folder}}/gone.json: {_NO_FILE}",
        ends=False,
    ),
    Case(
        "file_sd's folder missing", ("--file-sd", "/nowhere/*.yml"), f"locator file-sd failed.*: /nowhere: {_NO_FILE}", ends=False
    ),
    Case("file_sd torn", ("--file-sd", "{folder}/torn.json"), "{folder}/torn.json: line 2: not JSON: ", ends=False),
    Case("file_sd nests", ("--file-sd", "{folder}/nested.yml"), "{folder}/nested.yml: line 1: nested too deeply", ends=False),
    Case(
        "file_sd without use",
        ("--file-sd", "{folder}/useless.json"),
        "{folder}/useless.json: no target is usable; group 1, target 1",
        ends=False,
    ),
    Case("HTTP SD's URL", ("--http-sd", "sd.example.org"), "--http-sd: 'sd.example.org' .*"),
    Case(
        "HTTP SD down",
        ("--http-sd", "{nobody}/targets"),
        "locator http-sd failed.*: {nobody}/targets: connection refused",
        ends=False,
    ),
    Case(
        "HTTP SD refuses",
        ("--http-sd", "{marathon}/targets"),
        "locator http-sd failed.*: {marathon}/targets: status 404",
        ends=False,
    ),
    Case("DNS without a port", ("--dns", "prom.example.org"), "--dns: 'prom.example.org': no port given: .*"),
    Case(
        "DNS, SRV with a port",
        ("--dns", "srv+_web._tcp.example.org:1"),
        r"--dns: 'srv\+_web._tcp.example.org:1': the ports are in the SRV record; .*",
    ),
    Case(
        "DNS, unknown name",
        ("--dns", "nobody.invalid:9090"),
        "locator dns failed.*: nobody.invalid: does not resolve to any address",
        ends=False,
    ),
)


class Sources:
    """
    What the programs ask: servers in every condition, and files.

    :ivar told: what stands for the names in curly braces.
    """

    def __init__(self, case: TestCase) -> None:
        self._case = case
        case.addCleanup(quiet)
        self.folder = Path(case.mktemp()).absolute()
        self.folder.mkdir()
        self.authority = FakeAuthority()
        nobody = free_port()
        self.told = {"folder": str(self.folder), "nobody": f"http://127.0.0.1:{nobody}"}
        self._serve_kubernetes(nobody)
        self._write_kubeconfigs()
        self._serve_marathon()
        self._write_files()

    def _serve_kubernetes(self, nobody: int) -> None:
        (self.folder / "ca.pem").write_bytes(self.authority.pem)
        forbidden = frozenset(("list", resource) for resource in ("pods", "endpoints", "endpointslices"))
        faults: dict[str, dict[str, Any]] = {
            "good": {},
            "slow": {"hanging": True},
            "failing": {"status": 503},
            "forbidden": {"forbidden": forbidden},
        }
        for name, changes in faults.items():
            fake = FakeKube(reactor)
            fake.tokens = {"good-token": "alice"}
            fake.put("pods", pod("prometheus-0", "127.0.0.1"))
            fake.fault(**changes)
            port = listen(reactor, fake, self.authority, "127.0.0.1")
            self._case.addCleanup(port.stopListening)
            self.told[name] = f"https://127.0.0.1:{port.getHost().port}"
            self.kubeconfig(name, {"server": self.told[name]})
        self.kubeconfig("down", {"server": f"https://127.0.0.1:{nobody}"})

    def kubeconfig(self, name: str, cluster: Mapping[str, str], user: Mapping[str, str] | None = None, **changes: object) -> None:
        """Write a kubeconfig."""
        user = {"token": "good-token"} if user is None else user
        content = {
            "clusters": [{"name": "fake", "cluster": {"certificate-authority": "ca.pem", **cluster}}],
            "contexts": [{"name": "test", "context": {"cluster": "fake", "user": "alice", "namespace": "monitoring"}}],
            "users": [{"name": "alice", "user": dict(user)}],
            "current-context": "test",
            **changes,
        }
        (self.folder / name).write_text(yaml.safe_dump(content))

    def _write_kubeconfigs(self) -> None:
        good = {"server": self.told["good"]}
        self.kubeconfig("stranger", good, {"token": "other-token"})
        self.kubeconfig("no-ca", {**good, "certificate-authority": ""})
        self.kubeconfig("context", good, **{"current-context": "prod"})
        self.kubeconfig("user", good, users=[])
        self.kubeconfig("token-file", good, {"tokenFile": "gone"})
        self.kubeconfig("server", {"server": "kube.example"})
        (self.folder / "torn").write_text("users:\n\ttoken: s3cr3t\n")
        (self.folder / "nested").write_text("[" * 200_000)
        (self.folder / "aliases").write_text(alias_bomb())
        (self.folder / "merging").write_text("a: &a {x: y}\nb: {<<: [*a, *a]}\n")

    def _serve_marathon(self) -> None:
        for name, authorization in (("marathon", ""), ("strict", "token=")):
            fake = FakeMarathon(time.time)
            fake.asks_for = authorization
            port = reactor.listenTCP(0, Site(fake), interface="127.0.0.1")
            self._case.addCleanup(port.stopListening)
            self.told[name] = f"http://127.0.0.1:{port.getHost().port}"
        login = f"{self.told['strict']}/acs/api/v1/auth/login"
        secrets: dict[str, dict[str, Any]] = {
            "nobody": {"uid": None},
            "key": {"private_key": "s3cr3t"},
            "stranger": {"uid": "stranger"},
        }
        for name, changes in secrets.items():
            (self.folder / f"{name}.json").write_text(principal_secret(login, **changes))

    def _write_files(self) -> None:
        os.mkfifo(self.folder / "pipe")
        (self.folder / "torn.json").write_text('[{"targets": [\n')
        (self.folder / "nested.yml").write_text("- " * 100_000)
        (self.folder / "useless.json").write_text(json.dumps([{"targets": ["prom a:9090"]}]))


class BadInputTests(TestCase):
    """All that can be wrong; the servers run in this process, so that whatever waits does so in a thread."""

    timeout = 600

    async def check(self, cases: tuple[Case, ...]) -> None:
        """Run all cases, and print what came of them."""
        self.sources = Sources(self)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            rows = await deferToThread(lambda: list(pool.map(self.outcome, cases)))
        print()
        for case, (status, message, _) in zip(cases, rows, strict=True):
            print(f"{case.what:<40} | {status:<13} | {message.replace(self.sources.told['folder'], '.')}")
        for case, (status, message, everything) in zip(cases, rows, strict=True):
            with self.subTest(case=case.what):
                self.assertEqual(status, "2" if case.ends else "keeps running", everything)
                self.assertRegex(message, self.pattern(case), everything)
                self.assertNotIn("Traceback", everything)
                self.assertNotIn("s3cr3t", everything)

    def pattern(self, case: Case) -> str:
        """Return the regular expression for what is said."""
        says = case.says
        for name, value in self.sources.told.items():
            says = says.replace("{" + name + "}", re.escape(value))
        return rf"\A{says}\Z" if case.ends else says

    def outcome(self, case: Case) -> tuple[str, str, str]:
        """Run a case; give its status, the line that says what is wrong, and all that was printed."""
        port = free_port()
        command = [*case.command, *(text.format(**self.sources.told) for text in case.argv), "--port", str(port)]
        more = {name: text.format(**self.sources.told) for name, text in case.environ.items()}
        environ = {name: text for name, text in environment(more).items() if name in more or not name.startswith("KUBE")}
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
        )
        return self.ended(process) if case.ends else self.kept_running(process, port, re.compile(self.pattern(case)))

    def ended(self, process: subprocess.Popen[str]) -> tuple[str, str, str]:
        """Wait for the end of a program."""
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        return str(process.returncode), err.removeprefix("mpp: ").removesuffix("\n"), out + err

    def kept_running(self, process: subprocess.Popen[str], port: int, wanted: re.Pattern[str]) -> tuple[str, str, str]:
        """Wait until a program has said something in its log, see that it serves, and end it."""
        told = []
        found = ""
        assert process.stdout is not None
        # Reading ends when the program does.
        deadline = threading.Timer(PATIENCE, process.kill)
        deadline.start()
        for line in process.stdout:
            told.append(line)
            said = read_logfmt(line.removesuffix("\n"))["msg"]
            if wanted.search(said):
                found = said
                break
        deadline.cancel()
        serves = bool(found) and fetch(port, "/mpp/health")[0] == 200 and process.poll() is None
        process.terminate()
        out, err = process.communicate(timeout=PATIENCE)
        everything = "".join(told) + out + err
        return ("keeps running" if serves else str(process.returncode)), found or everything[-500:], everything

    async def test_bad_kubernetes_input_ends_in_one_line(self) -> None:
        """Kubeconfigs, selectors, rights."""
        await self.check(KUBERNETES)

    async def test_bad_marathon_input_ends_in_one_line(self) -> None:
        """Secrets, apps, masters."""
        await self.check(MARATHONS)

    async def test_other_bad_input_ends_in_one_line(self) -> None:
        """Files, URLs, names."""
        await self.check(OTHERS)

    async def test_daemon_logs_a_late_error(self) -> None:
        """A daemon that learns of it when its parent has long gone says so in its log, and leaves no pid file."""
        self.sources = Sources(self)
        folder = self.sources.folder
        here = (f"--pidfile={folder}/pid", f"--logfile={folder}/log")
        argv = (*kubeconfig("good"), *_SELECTOR, "--port", str(free_port()))
        began = await deferToThread(run, (*TWISTD, *here, "mpp", *(text.format(**self.sources.told) for text in argv)))
        self.assertEqual((began.returncode, began.stderr), (0, ""))
        await deferToThread(wait_until, lambda: not (folder / "pid").exists(), "the daemon has ended")
        told = (folder / "log").read_text()
        self.assertRegex(told, f"mpp ends: mpp: --kube-pod-label-selector: {_REFUSED}")
        self.assertNotIn("Traceback", told)
