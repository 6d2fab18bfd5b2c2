"""Sessions of the documentation: the tutorial and the quick start, by their commands alone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.documents import blocks
from tests.integration.processes import CHECKOUT, Simulated, fetch, free_port, wait_until
from tests.integration.servers import require_binary
from tests.integration.terminal import Step, Terminal, is_as_shown, steps
from tests.integration.test_packaging import LEFT_BEHIND
from tests.integration.workers import KEPT

PORTS = ("9090", "9091", "9092")
TOOLS = ("bash", "openssl", "curl")


class SessionTests(SynchronousTestCase):
    """An empty folder, a home with this repository in it and nothing else, and the programs that the section asks for."""

    def setUp(self) -> None:
        """Begin a session."""
        missing = [name for name in TOOLS if shutil.which(name) is None]
        if missing:
            raise SkipTest(f"no {', '.join(missing)}")
        folder = Path(self.mktemp()).absolute()
        self.work, home, programs = (folder / name for name in ("work", "home", "programs"))
        for each in (self.work, home, programs):
            each.mkdir(parents=True)
        shutil.copytree(CHECKOUT, home / "mpp", ignore=shutil.ignore_patterns(*LEFT_BEHIND))
        for name in TOOLS:
            (programs / name).symlink_to(shutil.which(name) or name)
        (programs / "prometheus").symlink_to(require_binary())
        (programs / "python3").symlink_to(getattr(sys, "_base_executable", sys.executable))
        # How this machine reaches the package index is its own affair; the session is the same for a plain mpp and with workers.
        kept = re.compile(rf"PIP_|({'|'.join(KEPT)})$|.*_proxy$", re.IGNORECASE)
        reach = {name: value for name, value in os.environ.items() if kept.match(name)}
        path = f"{programs}:/usr/local/bin:/usr/bin:/bin"
        self.terminal = Terminal(self.work, {**reach, "HOME": str(home), "PATH": path, "LANG": "C"})
        self.addCleanup(self.terminal.close)
        self.ports = {port: str(free_port()) for port in PORTS}

    def here(self, text: str) -> str:
        """Return a text of the documentation with ports that are free here."""
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda port: self.ports[port[0]], text)

    def follow(self, step: Step) -> None:
        """Do a step, and see that it gives what it should."""
        typed = self.here(step.typed)
        try:
            printed = self.terminal.type(typed)
        except AssertionError as failed:
            if "pip install" in typed and re.search("No matching distribution|connection", str(failed), re.IGNORECASE):
                raise SkipTest(f"the requirements cannot be installed here: {str(failed)[-200:]}") from None
            raise
        if step.output is not None:
            self.assertTrue(is_as_shown(printed, self.here(step.output)), f"{typed}\n{printed}\ninstead of\n{step.output}")

    def test_secured_pair(self) -> None:
        """Every command works as it is written, and prints what is written; only the ports are others."""
        followed = steps(blocks("tutorial"))
        self.assertGreater(len([step for step in followed if step.output]), 10)
        for step in followed:
            self.follow(step)
        wait_until(lambda: self.scraped() == {"mpp": "1", "prometheus": "2"}, f"all three are scraped: {self.scraped()}")
        for path in (*self.work.glob("*.password"), *self.work.rglob("*.key")):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)
        log = (self.work / "mpp" / "log").read_text()
        for path in self.work.glob("*.password"):
            self.assertNotIn(path.read_text().strip(), log)
        self.assertNotIn("Traceback", log)

    def test_quick_start(self) -> None:
        """mpp is installed from a checkout and serves, by the commands of the README; only the addresses are others."""
        server = Simulated().start_for(self)
        (commands,) = blocks("quick-start")
        *install, start = commands.splitlines()
        self.follow(Step("cd ~/mpp"))
        for line in install:
            self.follow(Step(line.replace("pip install", "pip install --quiet")))
        port = free_port()
        addresses = start.replace("prom-a:9090", server.address).replace("prom-b:9090", f"127.0.0.1:{free_port()}")
        self.assertNotEqual(addresses, start)
        self.terminal.type(f"{addresses} --port {port} > ~/log &")
        wait_until(lambda: self.serves(port), "a query is answered")

    def serves(self, port: int) -> bool:
        """Return whether a query is answered."""
        with contextlib.suppress(OSError):
            return fetch(port, "/api/v1/query?query=up")[0] == 200
        return False

    def scraped(self) -> dict[str, str]:
        """Return the number of targets that are up, by job, as mpp tells it."""
        url = f"https://localhost:{self.ports['9090']}/api/v1/query"
        query = "--data-urlencode 'query=sum by (job) (up)'"
        answer = self.terminal.type(f"curl -s --cacert ca.pem -u grafana:$(cat grafana.password) {query} {url}")
        return {each["metric"]["job"]: each["value"][1] for each in json.loads(answer)["data"]["result"]}
