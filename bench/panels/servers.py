"""Real Prometheus servers whose history ends now and goes on: the samples of ``samples.py``, written first and scraped then."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from bench.heavy import LoggedPrometheus
from bench.panels.samples import INSTANCES, JOB, history, page
from bench.programs import cpu_seconds
from tests.integration.processes import free_port, wait_until
from tests.integration.servers import promtool_of

INTERVAL_S = 15
OLD_INTERVAL_S = 120
"""Between samples that are older than `RECENT_S`: a week of them all would take many minutes to write."""
RECENT_S = 25 * 3600
AHEAD_S = 30
"""How far the history goes into the future, while the servers start: they refuse what they scrape until then as too old."""


class Exporters:
    """All targets, in this process, each at its own loopback address."""

    def __init__(self) -> None:
        port = free_port()
        self.addresses = [f"127.0.1.{1 + place}:{port}" for place in range(INSTANCES)]
        self._servers = [
            http.server.ThreadingHTTPServer((address.partition(":")[0], port), _answers(place))
            for place, address in enumerate(self.addresses)
        ]
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        for server in self._servers:
            server.shutdown()
            server.server_close()


def _answers(place: int) -> type[http.server.BaseHTTPRequestHandler]:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page(place, int(time.time()) // INTERVAL_S * INTERVAL_S).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    return Page


def write_history(binary: str, instances: Sequence[str], seconds: int, folder: Path) -> float:
    """
    Write the blocks of a TSDB: first all samples until now, then those of the time that this took, so that no sample is missing.

    :param seconds: how far back the history goes.
    :return float: the time of the newest sample, in the future.
    """
    now = int(time.time()) // INTERVAL_S * INTERVAL_S
    recent = range(now - min(seconds, RECENT_S), now, INTERVAL_S)
    _write_blocks(binary, instances, [*range(now - seconds, recent[0], OLD_INTERVAL_S), *recent], folder)
    last = range(now, int(time.time()) + AHEAD_S, INTERVAL_S)
    _write_blocks(binary, instances, list(last), folder)
    assert last[-1] > time.time(), "the last samples were not written in time"
    return float(last[-1])


def _write_blocks(binary: str, instances: Sequence[str], times: list[int], folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="mpp-bench-samples-") as name:
        text = Path(name, "samples.om")
        with open(text, "w") as file:
            file.writelines(history(list(instances), times))
        create = [promtool_of(binary), "tsdb", "create-blocks-from", "--max-block-duration=240h", "openmetrics"]
        subprocess.run([*create, str(text), str(folder)], check=True, capture_output=True, timeout=1200, cwd="/")


class DashboardServer(LoggedPrometheus):
    """A real Prometheus that has the history and scrapes the targets."""

    def __init__(self, binary: str, name: str, targets: Sequence[str], history: Path, cores: str) -> None:
        self._targets, self._cores = list(targets), cores
        super().__init__(binary, name=name, max_concurrency=20, options=["--storage.tsdb.retention.time=60d"])
        shutil.copytree(history, self.folder / "data", dirs_exist_ok=True)

    def scrape(self, addresses: Sequence[str]) -> None:
        """Write the configuration; what is scraped are the targets."""
        listed = ", ".join(f"'{target}'" for target in self._targets)
        (self.folder / "prometheus.yml").write_text(
            f"global: {{scrape_interval: {INTERVAL_S}s, external_labels: {{prometheus_replica: '{self.name}'}}}}\n"
            f"scrape_configs: [{{job_name: {JOB}, static_configs: [{{targets: [{listed}]}}]}}]\n"
        )

    def command(self) -> list[str]:
        """Return the command line."""
        return ["taskset", "-c", self._cores, *super().command()]

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used."""
        return cpu_seconds(self.pid)

    def wait_going_on(self, newest: float) -> None:
        """Wait until the newest sample of all targets was scraped, and not written before."""
        count = f"count(timestamp(up) > {newest + INTERVAL_S})"
        deadline = max(0.0, newest - time.time()) + 120
        wait_until(lambda: self._count(count) == INSTANCES, f"{self.name} has scraped all targets", deadline, every=0.5)

    def _count(self, query: str) -> int:
        return next((int(each["value"][1]) for each in self.query(query)), 0)
