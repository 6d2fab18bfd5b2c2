"""Commands of README.rst and docs/, run as they are written; only addresses and ports are others."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mpp.config.options import OPTIONS
from tests.documents import blocks, configuration, mpp_commands
from tests.integration.processes import (
    CHECKOUT,
    Mpp,
    Process,
    Simulated,
    die_with_parent,
    fetch,
    free_port,
    wait_until,
)
from tests.integration.servers import promtool_of, require_binary
from tests.integration.terminal import Terminal, is_as_shown, steps

PATIENCE = 300
"""Seconds for one command: the demo may have to install mpp first."""

QUERY = "/api/v1/query?query=up"


class Command(Process):
    """mpp, run by a command line of the documentation, with a port of its own."""

    def __init__(self, line: str) -> None:
        super().__init__("documented")
        self._line = line

    def command(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-P", "-m", *shlex.split(self._line), "--port", str(self.port)]

    def is_ready(self) -> bool:
        """Return whether the first round has finished."""
        return fetch(self.port, "/mpp/ready", timeout=5)[0] == 200


class PairCase(SynchronousTestCase):
    """Two simulated servers, for ``prom-a:9090`` and ``prom-b:9090``, and a shell in an empty folder."""

    def setUp(self) -> None:
        """Start the servers."""
        self.servers = {}
        for name, history in (("prom-a:9090", "15d"), ("prom-b:9090", "10d")):
            server = Simulated("--history", history)
            self.addCleanup(server.close)
            self.servers[name] = server.start()
        self.folder = Path(self.mktemp()).absolute() / "work"
        self.folder.mkdir(parents=True)

    def here(self, text: str) -> str:
        """Return a text with the addresses of the servers here."""
        for name, server in self.servers.items():
            text = text.replace(name, server.address)
        return text

    def mpp(self, *options: str) -> Mpp:
        """Start mpp in front of the servers."""
        started = Mpp([server.address for server in self.servers.values()], *options)
        started.start_for(self).wait_selected(self.servers["prom-a:9090"].address)
        return started

    def terminal(self, **environ: str) -> Terminal:
        """Start a shell in which ``mpp`` is the program that the tests run."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        opened = Terminal(self.folder, {**os.environ, "PATH": path, **environ})
        self.addCleanup(opened.close)
        return opened

    def follow(self, texts: list[str], terminal: Terminal, port: int) -> None:
        """Type blocks, with mpp on another port, and compare the output."""
        if "curl" in "".join(texts) and shutil.which("curl") is None:
            raise SkipTest("no curl")
        for step in steps(texts):
            printed = terminal.type(step.typed.replace("localhost:9090", f"localhost:{port}"))
            if step.output is not None:
                self.assertTrue(is_as_shown(printed, self.here(step.output)), f"{printed}\ninstead of\n{step.output}")


class SessionTests(PairCase):
    """Commands that are shown with their output."""

    def test_explain_page_responds_as_documented(self) -> None:
        """The page says which server would answer a request, as it is shown."""
        self.follow(blocks("explain"), self.terminal(), self.mpp().port)

    def test_reload_reports_the_documented_changes(self) -> None:
        """A reload reports the options that have changed, as it is shown."""
        config = self.folder / "mpp.yaml"
        config.write_text("retries: 2\n")
        mpp = self.mpp("--config", str(config), "--enable-lifecycle")
        config.write_text("retries: 1\nrouting-strategy: random\n")
        self.follow(blocks("reload"), self.terminal(), mpp.port)

    def test_check_config(self) -> None:
        """All errors are printed, as it is shown."""
        (self.folder / "mpp.yaml").write_text("port: 1\nendpoint: a:9090\nprot: 1\n\n\n\nretries: many\n")
        (step,) = steps(blocks("check-config"))
        terminal = self.terminal(MPP_ROUTING_STRATEGY="best")
        printed = terminal.type(f"! {step.typed} 2>&1")
        self.assertEqual(printed.strip(), step.output)


class CommandLineTests(PairCase):
    """Command lines of mpp."""

    def assert_serves(self, texts: list[str]) -> None:
        """mpp, started like this, answers a query."""
        (line,) = mpp_commands("\n".join(texts))
        self.assertNotEqual(self.here(line), line)
        mpp = Command(self.here(line)).start_for(self)
        self.assertEqual(fetch(mpp.port, QUERY)[0], 200)

    def test_behind_a_proxy(self) -> None:
        """The example with trusted proxies works."""
        self.assert_serves(blocks("behind-a-proxy"))

    def test_documented_affinities_for_grafana_work(self) -> None:
        """The example with affinities for Grafana works."""
        self.assert_serves(blocks("grafana"))


class ToolsTests(PairCase):
    """Commands of other programs."""

    def run_text(self, folder: Path, text: str, first: str = "") -> str:
        """Run commands with a shell, with programs from a folder that is looked at first, and return their output."""
        path = ":".join((first or str(Path(sys.executable).parent), os.environ["PATH"]))
        command = ["bash", "-ec", text]
        environ = {**os.environ, "PATH": path}
        ended = subprocess.run(
            command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
        )
        self.assertEqual(ended.returncode, 0, f"{text}\n{ended.stdout}{ended.stderr}")
        return ended.stdout

    def test_promtool_asks(self) -> None:
        """promtool asks a query through mpp."""
        (command,) = blocks("promtool")
        there = command.replace("localhost:9090", f"localhost:{self.mpp().port}")
        self.assertIn("up", self.run_text(self.folder, there, str(Path(promtool_of(require_binary())).parent)))

    def test_promtool_tests_the_alerts(self) -> None:
        """promtool has nothing to say against the alerts."""
        (command,) = blocks("promtool-test")
        self.assertIn("SUCCESS", self.run_text(CHECKOUT, command, str(Path(promtool_of(require_binary())).parent)))

    def test_haproxy_fails_over_to_the_other_mpp(self) -> None:
        """HAProxy, configured as it is shown, goes on with the other mpp when one has ended."""
        haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
        if haproxy is None:
            raise SkipTest("no haproxy")
        first, second, port = self.mpp(), self.mpp(), free_port()
        text = configuration("haproxy.cfg")
        for shown, here in (
            ("bind :9090", f"bind 127.0.0.1:{port}"),
            ("mpp-a:9090", first.address),
            ("mpp-b:9090", second.address),
        ):
            self.assertIn(shown, text)
            text = text.replace(shown, here)
        (self.folder / "haproxy.cfg").write_text(text + "\n")
        process = subprocess.Popen([haproxy, "-db", "-f", self.folder / "haproxy.cfg"], preexec_fn=die_with_parent)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def answers() -> bool:
            with contextlib.suppress(OSError):
                return fetch(port, QUERY)[0] == 200
            return False

        wait_until(answers, "a query is answered through HAProxy")
        first.stop()
        wait_until(answers, "a query is answered by the other mpp", 5)
        self.assertEqual([answers() for _ in range(5)], [True] * 5)

    def test_runbook_address(self) -> None:
        """The address of the documentation is replaced in every rule."""
        (command,) = blocks("runbook-url")
        shutil.copytree(CHECKOUT / "contrib", self.folder / "contrib")
        self.run_text(self.folder, command)
        rules = "".join(path.read_text() for path in (self.folder / "contrib/prometheus").glob("*.rules.yml"))
        found = set(re.findall(r'runbook_url: "(https://[^/]+)/', rules))
        self.assertEqual((len(found), "https://mpp.example.org" in found), (1, False))

    def test_documentation_builds_without_warnings(self) -> None:
        """The documentation is built without a warning."""
        (command,) = blocks("build-docs")
        for name in ("mpp", "docs", "NEWS.rst"):
            copy = shutil.copy if (CHECKOUT / name).is_file() else shutil.copytree
            copy(CHECKOUT / name, self.folder / name)
        shutil.rmtree(self.folder / "docs/_build", ignore_errors=True)
        try:
            import sphinx  # noqa: F401
        except ImportError:
            raise SkipTest("Sphinx is not installed; script/test installs it") from None
        self.run_text(self.folder, command)
        page = (self.folder / "docs/_build/html/reference/options.html").read_text()
        for option in OPTIONS:
            self.assertIn(f'id="cmdoption-{option.flag.lstrip("-")}"', page)
            for name in option.env:
                self.assertIn(f">{name}<", page)

    def test_demo_runs_as_documented(self) -> None:
        """The demo starts a pair with mpp in front, prints what to try, and ends by itself after the time of ``--for``."""
        (command,) = blocks("demo")
        self.assertIn("mpp is ready. Open:", self.run_text(CHECKOUT, f"{command} --for 1"))
