"""What is shipped beside the program, tried with the programs it is for; those that are not here are named by the skip."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mpp.config.help import EXAMPLES
from mpp.config.options import OPTIONS
from mpp.config.shell_completion import completion
from tests.integration.processes import CHECKOUT, Mpp, Simulated, die_with_parent, fetch, free_port, wait_until
from tests.integration.servers import binaries, promtool_of
from tests.integration.test_kubectl import kubectls
from tests.test_shipped import NAME, documents, strings

PATIENCE = 60


def program(name: str) -> str:
    """Return the path of a program, or skip the test."""
    found = shutil.which(name)
    if found is None:
        raise SkipTest(f"no {name} on the PATH")
    return found


def run(*command: str | Path, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    environ = {**os.environ, **environment}
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=PATIENCE, cwd=CHECKOUT, env=environ)


class PromtoolTests(SynchronousTestCase):
    """The alert rules."""

    def promtools(self) -> list[str]:
        """Return the promtool of each Prometheus there is."""
        if not binaries():
            raise SkipTest("no prometheus binary: run script/fetch-prometheus or set MPP_TEST_PROMETHEUS")
        return [promtool_of(binary) for binary in binaries()]

    def test_promtool_accepts_the_rules(self) -> None:
        """Every Prometheus takes the rules."""
        for promtool in self.promtools():
            for name in ("mpp.rules.yml", "mpp.outside.rules.yml"):
                ended = run(promtool, "check", "rules", f"contrib/prometheus/{name}")
                self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)

    def test_each_alert_fires_when_it_should(self) -> None:
        """Each alert fires when it should, and none for a pair that is well."""
        for promtool in self.promtools():
            for name in ("mpp.rules.test.yml", "mpp.outside.rules.test.yml"):
                ended = run(promtool, "test", "rules", f"contrib/prometheus/{name}")
                self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)


class DashboardTests(SynchronousTestCase):
    """The Grafana dashboard and the alerts, beside an mpp that runs."""

    def test_metrics_exist(self) -> None:
        """All that they ask for is on a running mpp's page."""
        dashboard = json.loads((CHECKOUT / "contrib/grafana/mpp.json").read_text(encoding="utf-8"))
        (rules,) = documents(CHECKOUT / "contrib/prometheus/mpp.rules.yml")
        used = {name for text in [*strings(dashboard, "expr"), *strings(rules, "expr")] for name in NAME.findall(text)}
        backend = Simulated().start()
        self.addCleanup(backend.close)
        web_config = Path(self.mktemp())
        web_config.write_text("basic_auth_users: {}")
        mpp = Mpp([backend.url], "--web-config", str(web_config.absolute()), "--workers", "2").start()
        self.addCleanup(mpp.close)
        fetch(mpp.port, "/api/v1/query?query=up")
        # A family that has counted nothing yet has no series, but its type.
        page = fetch(mpp.port, "/mpp/metrics")[2].decode()
        families = set(re.findall(r"(?m)^# TYPE (\S+)", page))
        there = families | {name + suffix for name in families for suffix in ("_bucket", "_sum", "_count")}
        self.assertEqual(used - there, set())

    def test_queries_are_sound(self) -> None:
        """Prometheus understands every query of the dashboard."""
        if not binaries():
            raise SkipTest("no prometheus binary: run script/fetch-prometheus or set MPP_TEST_PROMETHEUS")
        dashboard = json.loads((CHECKOUT / "contrib/grafana/mpp.json").read_text(encoding="utf-8"))
        rules = []
        for number, expression in enumerate(strings(dashboard, "expr")):
            plain = expression.replace("$__rate_interval", "1m").replace("$job", ".+").replace("$instance", ".+")
            rules.append({"record": f"panel:{number}", "expr": plain})
        self.assertGreater(len(rules), 20)
        folder = Path(tempfile.mkdtemp(prefix="mpp-test-dashboard-"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
        for binary in binaries():
            ended = run(promtool_of(binary), "check", "rules", folder / "rules.yml")
            self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)


class KubernetesTests(SynchronousTestCase):
    """The manifests, as kubectl understands them: what it does not know is gone from what it gives back."""

    COMMANDS = (
        ("Deployment", ("set", "image", "mpp=example.org/mpp:1")),
        ("Service", ("set", "selector", "app.kubernetes.io/name=other")),
        ("RoleBinding", ("set", "subject", "--serviceaccount=elsewhere:mpp")),
    )

    def test_nothing_is_unknown(self) -> None:
        """Kubernetes knows every field."""
        if not kubectls():
            raise SkipTest("no kubectl: set MPP_TEST_KUBECTL, or put one into .cache/kubectl")
        found = {
            each["kind"]: each for name in ("rbac", "mpp") for each in documents(CHECKOUT / f"contrib/kubernetes/{name}.yaml")
        }
        for kubectl, _ in kubectls():
            for kind, command in self.COMMANDS:
                ended = run(kubectl, *command, "--local", "-f", "-", "-o", "json", given=yaml.safe_dump(found[kind]))
                self.assertEqual(ended.returncode, 0, ended.stderr)
                self.assertEqual(set(self.paths(found[kind])) - set(self.paths(json.loads(ended.stdout))), set(), kind)

    def paths(self, value: Any, at: str = "") -> list[str]:
        """Return the path of each field."""
        if isinstance(value, dict):
            return [path for key, inner in value.items() for path in (f"{at}.{key}", *self.paths(inner, f"{at}.{key}"))]
        if isinstance(value, list):
            return [path for number, inner in enumerate(value) for path in self.paths(inner, f"{at}[{number}]")]
        return []


class ManPageTests(SynchronousTestCase):
    """The man page."""

    def setUp(self) -> None:
        """Make it."""
        ended = run(sys.executable, "script/build-man")
        if "it needs Sphinx" in ended.stderr:
            raise SkipTest("Sphinx is not installed; script/test installs it")
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        self.page = ended.stdout

    def test_formatted_without_a_warning(self) -> None:
        """groff has nothing to complain about, and shows every option."""
        ended = run(program("groff"), "-ww", "-man", "-Tascii", "-P-c", "-rLL=100n", given=self.page)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        shown = re.sub(r".\x08", "", ended.stdout)
        self.assertIn("mpp - one address for a pair of Prometheus servers", shown)
        self.assertEqual([option.flag for option in OPTIONS if option.flag not in shown], [])

    def test_man_page_has_its_sections(self) -> None:
        """It has the sections that operators look for, with what belongs there."""
        text = re.sub(r"\\f[A-Z]|\\", "", self.page)
        parts = re.split(r"(?m)^\.SH (.*)$", text)[1:]
        found = dict(zip(parts[::2], parts[1::2], strict=True))
        for title, words in (
            ("EXIT STATUS", ("0", "2", "143")),
            ("SIGNALS", ("SIGTERM", "SIGHUP", "SIGUSR1")),
            ("FILES", ("/etc/mpp/mpp.yaml", "/etc/default/mpp", "mpp.socket")),
            ("EXAMPLES", EXAMPLES),
        ):
            for word in words:
                self.assertIn(word, found[title])

    def test_man_page_is_written_whole_or_not_at_all(self) -> None:
        """It is written to a file when it is whole; without Sphinx one line says so, and the last page stays."""
        folder = Path(tempfile.mkdtemp(prefix="mpp-test-man-"))
        self.addCleanup(shutil.rmtree, folder)
        page = folder / "mpp.1"
        ended = run(sys.executable, "script/build-man", page)
        self.assertEqual((ended.returncode, ended.stdout, page.read_text()), (0, "", self.page))
        ended = run(sys.executable, "-I", "-S", "script/build-man", page)
        self.assertEqual(ended.returncode, 1)
        self.assertRegex(ended.stderr, r"\Ascript/build-man: .*; it needs Sphinx: pip install '.\[docs\]'\n\Z")
        self.assertEqual(page.read_text(), self.page)
        self.assertEqual([path.name for path in folder.iterdir()], ["mpp.1"])

    def test_mandoc_accepts_the_man_page(self) -> None:
        """mandoc, which other systems have, has nothing to complain about but long lines in the source."""
        ended = run(program("mandoc"), "-T", "lint", given=self.page)
        complaints = [line for line in ended.stdout.splitlines() if "longer than 80 bytes" not in line]
        self.assertEqual(complaints, [])


class CompletionTests(SynchronousTestCase):
    """The completion scripts, in the shells they are for."""

    def script(self, shell: str) -> Path:
        """Return the script in a file."""
        folder = Path(tempfile.mkdtemp(prefix="mpp-test-completion-"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "script").write_text(completion(shell))
        return folder / "script"

    def test_bash_completes_options_values_and_files(self) -> None:
        """bash offers options, values and files."""
        ask = """. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mpp; printf '%s\n' "${COMPREPLY[@]}" """
        for words, offered in (
            (("--rou",), ["--routing-strategy"]),
            (("--routing-strategy", "r"), ["random"]),
            (("--routing-strategy", "=", "s"), ["single-most-data"]),
            (("--kube-scheme", "="), ["http", "https"]),
            (("--endpoints-file", "READM"), ["README.rst"]),
            (("--port", ""), [""]),
        ):
            ended = run(program("bash"), "--norc", "-c", ask, self.script("bash"), "mpp", *words)
            self.assertEqual((ended.stderr, ended.stdout.splitlines()), ("", offered), words)

    def test_zsh_accepts_the_script(self) -> None:
        """zsh takes the script."""
        ended = run(program("zsh"), "-f", "-n", self.script("zsh"))
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))

    def test_fish_completes_options_values_and_files(self) -> None:
        """fish offers options, values and files."""
        script = self.script("fish")
        for line, offered in (
            ("mpp --rou", ["--routing-strategy"]),
            ("mpp --kube-scheme ", ["http", "https"]),
            ("mpp --endpoints-file READM", ["README.rst"]),
            ("mpp --port ", []),
        ):
            ended = run(program("fish"), "--no-config", "-c", f"source {script}; complete -C '{line}'")
            # fish 4 also offers options that have the same letters somewhere.
            begun = line.rpartition(" ")[2]
            found = [each.partition("\t")[0] for each in ended.stdout.splitlines() if each.startswith(begun)]
            self.assertEqual((ended.stderr, found), ("", offered), line)


class UnitFileTests(SynchronousTestCase):
    """The units, as systemd reads them."""

    def setUp(self) -> None:
        """Copy them, with the program where it is here."""
        self.analyze = program("systemd-analyze")
        self.folder = Path(tempfile.mkdtemp(prefix="mpp-test-units-"))
        self.addCleanup(shutil.rmtree, self.folder)
        for name in ("mpp.service", "mpp.socket"):
            text = (CHECKOUT / "systemd" / name).read_text(encoding="utf-8")
            (self.folder / name).write_text(text.replace("/opt/mpp/bin/mpp ", f"{sys.executable} -m mpp "))

    def test_systemd_verifies_the_unit(self) -> None:
        """systemd has nothing to complain about."""
        ended = run(self.analyze, "verify", "--man=no", self.folder / "mpp.service", self.folder / "mpp.socket")
        self.assertEqual((ended.returncode, ended.stdout + ended.stderr), (0, ""))

    def test_systemd_rates_the_exposure_low(self) -> None:
        """A broken mpp can do little: systemd's measure of exposure is that of its own best kept services."""
        ended = run(self.analyze, "security", "--offline=yes", "--threshold=15", self.folder / "mpp.service")
        if "unrecognized option" in ended.stderr:
            raise SkipTest("this systemd measures running services only")
        self.assertEqual(ended.returncode, 0, ended.stdout[-400:] + ended.stderr)


class SocketActivationTests(SynchronousTestCase):
    """mpp, started the way ``mpp.service`` starts it."""

    def setUp(self) -> None:
        """Be the service manager."""
        activate = program("systemd-socket-activate")
        self.folder = Path(tempfile.mkdtemp(prefix="mpp-test-activation-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.notices.close)
        self.notices.bind(str(self.folder / "notify"))
        self.notices.settimeout(PATIENCE)
        self.backends = [Simulated(name=name).start() for name in ("first", "second")]
        for backend in self.backends:
            self.addCleanup(backend.close)
        self.port = free_port()
        listen = ["--listen", f"[::1]:{self.port}", "--fdname", "mpp"]
        set_here = [f"--setenv={name}={value}" for name, value in self.environment().items()]
        self.config = self.folder / "mpp.yaml"
        self.config.write_text("selection-interval: 500ms\n")
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [activate, *listen, *set_here, *self.commands("ExecStart")[0]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=CHECKOUT,
                preexec_fn=die_with_parent,
            )
        self.addCleanup(self.end)

    def commands(self, name: str) -> list[list[str]]:
        """Return commands of the unit, with the program and the configuration file where they are here."""
        text = (CHECKOUT / "systemd" / "mpp.service").read_text(encoding="utf-8")
        here = text.replace("/opt/mpp/bin/mpp ", f"{sys.executable} -m mpp ").replace("/etc/mpp/mpp.yaml", str(self.config))
        return [line.split() for line in re.findall(rf"(?m)^{name}=(.*)$", here)]

    def reload(self) -> subprocess.CompletedProcess[str]:
        """Do what ``systemctl reload`` does: one command after the other, until one fails."""
        for command in self.commands("ExecReload"):
            words = [word.replace("$MAINPID", str(self.process.pid)) for word in command]
            ended = subprocess.run(
                words, env={**os.environ, **self.environment()}, capture_output=True, text=True, cwd=CHECKOUT, timeout=PATIENCE
            )
            if ended.returncode:
                break
        return ended

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def environment(self) -> dict[str, str]:
        """Return what the service manager and ``/etc/default/mpp`` set."""
        endpoints = " ".join(backend.url for backend in self.backends)
        return {"NOTIFY_SOCKET": str(self.folder / "notify"), "WATCHDOG_USEC": "2000000", "MPP_ENDPOINT": endpoints}

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def lines(self) -> list[str]:
        """Wait for the next notice."""
        return self.notices.recv(65536).decode().splitlines()

    def wait_for(self, wanted: str) -> str:
        """Wait for a line that begins like this."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for line in self.lines():
                if line.startswith(wanted):
                    return line
        raise AssertionError(f"never told: {wanted}; log: {(self.folder / 'log').read_text()[-2000:]}")

    def connect(self) -> socket.socket:
        """Connect as soon as the port is open."""

        def connected() -> socket.socket | None:
            try:
                return socket.create_connection(("::1", self.port), timeout=PATIENCE)
            except ConnectionRefusedError:
                return None

        made: socket.socket = wait_until(connected, "the port is open")
        return made

    def test_systemd_reload_applies_sound_files_only(self) -> None:
        """A reload of a wrong file fails, says why, and leaves mpp alone; one of a sound file is applied."""
        with self.connect():
            self.wait_for("READY=1")
        self.config.write_text("selection-interval: 500ms\nretires: 1\n")
        ended = self.reload()
        self.assertEqual(
            (ended.returncode, ended.stderr), (2, f"mpp: {self.config}:2: retires: no such key; did you mean retries?\n")
        )
        self.config.write_text("selection-interval: 500ms\nretries: 1\n")
        ended = self.reload()
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        wait_until(lambda: "configuration reloaded" in self.log(), "it is read again")
        self.assertIn("changed: retries", self.log())
        self.assertNotIn("configuration not applied", self.log())

    def test_whole_life(self) -> None:
        """The first client starts it and is served; the manager hears of readiness, of who serves, of life and of the end."""
        with self.connect() as client:
            client.sendall(b"GET /api/v1/query?query=up HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertTrue(client.recv(65536).startswith(b"HTTP/1.1 200 "))
            self.wait_for("READY=1")
            first, second = (backend.address for backend in self.backends)
            self.wait_for("WATCHDOG=1")
            self.backends[0].kill()
            self.wait_for(f"STATUS=serving from {second} (1 of 2); {first} down")
        self.process.send_signal(signal.SIGTERM)
        self.wait_for("STOPPING=1")
        # twistd ends by the signal that stopped it, which systemd takes for a clean end.
        self.assertEqual(self.process.wait(PATIENCE), -signal.SIGTERM)
