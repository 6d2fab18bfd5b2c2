"""Real Prometheus servers: finds the binaries, seeds them with history, starts them alone or in pairs."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import SkipTest
from urllib.parse import urlencode

from tests.integration.processes import CHECKOUT, Process, fetch, free_port, wait_until

SEEDED_UNTIL = 4 * 3600
"""Seeded samples end so many seconds ago, so that they never meet what is scraped now."""
SEED_STEP = 60


@functools.cache
def version_of(binary: str) -> tuple[int, ...]:
    """Return the version of a prometheus binary, empty when it does not run."""
    try:
        printed = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20, cwd="/", check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", printed.stdout + printed.stderr)
    return tuple(int(part) for part in found.groups()) if found else ()


@functools.cache
def binaries() -> tuple[str, ...]:
    """Return all binaries, oldest version first: ``MPP_TEST_PROMETHEUS``, what ``script/fetch-prometheus`` got, PATH."""
    listed = [path for path in os.environ.get("MPP_TEST_PROMETHEUS", "").split(":") if path]
    cache = CHECKOUT / ".cache" / "prometheus" / "binaries"
    if cache.exists():
        listed += [line.strip() for line in cache.read_text().splitlines() if line.strip()]
    on_path = shutil.which("prometheus")
    if on_path:
        listed.append(on_path)
    return tuple(sorted((path for path in dict.fromkeys(listed) if version_of(path)), key=version_of))


def require_binary(major: int | None = None) -> str:
    """Return the newest binary (of a major version), or skip the test."""
    found = [path for path in binaries() if major is None or version_of(path)[0] == major]
    if not found:
        kind = "prometheus" if major is None else f"prometheus {major}.x"
        raise SkipTest(f"no {kind} binary: run script/fetch-prometheus or set MPP_TEST_PROMETHEUS")
    return found[-1]


def promtool_of(binary: str) -> str:
    """Return the promtool that belongs to a server, or skip the test."""
    beside = Path(binary).with_name("promtool")
    found = str(beside) if beside.exists() else shutil.which("promtool")
    if found is None:
        raise SkipTest(f"no promtool beside {binary} or on the PATH")
    return found


@functools.cache
def seeded_blocks(binary: str, history: int) -> Path:
    """Make a TSDB with ``history`` seconds of the same samples each time; give the folder, to be copied."""
    folder = Path(tempfile.mkdtemp(prefix="mpp-test-seed-"))
    _SEEDS.append(folder)
    end = int(time.time()) // SEED_STEP * SEED_STEP - SEEDED_UNTIL
    times = range(end - history + SEEDED_UNTIL, end, SEED_STEP)
    lines = []
    for number, instance in enumerate(("seed-a:9090", "seed-b:9090")):
        lines += [f'seeded{{instance="{instance}",job="seed"}} {(at // SEED_STEP + number) % 97} {at}' for at in times]
    (folder / "seed.om").write_text("# TYPE seeded gauge\n" + "\n".join(lines) + "\n# EOF\n")
    command = [promtool_of(binary), "tsdb", "create-blocks-from", "openmetrics", str(folder / "seed.om"), str(folder / "data")]
    subprocess.run(command, check=True, capture_output=True, timeout=60, cwd="/")
    return folder / "data"


_SEEDS: list[Path] = []


@atexit.register
def remove_seeds() -> None:
    """Remove what `seeded_blocks` made."""
    while _SEEDS:
        shutil.rmtree(_SEEDS.pop(), ignore_errors=True)
    seeded_blocks.cache_clear()


class SilentStorage:
    """A remote storage that accepts connections and never responds; close it at the end."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/api/v1/write"
        self.close = self._listening.close


class Prometheus(Process):
    """
    A real Prometheus. Scrapes itself and its twins every second.

    :param history: seconds of seeded history (metric ``seeded``, two series); 0 for none. At least 5 hours otherwise.
    :param scrapes: further addresses to scrape.
    :param options: further command line options.
    :param remote: the URL of a remote storage that it writes its samples to; empty for none.
    """

    def __init__(
        self,
        binary: str,
        *,
        name: str = "prometheus",
        port: int | None = None,
        scrapes: Sequence[str] = (),
        history: int = 0,
        route_prefix: str = "",
        max_concurrency: int = 20,
        options: Sequence[str] = (),
        remote: str = "",
    ) -> None:
        super().__init__(name, port)
        self.options, self.remote = tuple(options), remote
        self.binary, self.prefix, self._max_concurrency = binary, route_prefix, max_concurrency
        if history:
            shutil.copytree(seeded_blocks(binary, history), self.folder / "data")
        self.scrape([self.address, *scrapes])

    @property
    def url(self) -> str:
        """Its URL, with the route prefix."""
        return f"http://{self.address}{self.prefix}"

    def scrape(self, addresses: Sequence[str]) -> None:
        """Write the configuration; counts from the next start on."""
        targets = json.dumps(list(addresses))
        (self.folder / "prometheus.yml").write_text(
            f"global: {{scrape_interval: 1s, external_labels: {{prometheus_replica: '{self.name}'}}}}\n"
            f"scrape_configs: [{{job_name: prometheus, metrics_path: '{self.prefix}/metrics', "
            f"static_configs: [{{targets: {targets}}}]}}]\n"
            + (f"remote_write: [{{url: '{self.remote}'}}]\n" if self.remote else "")
        )

    def command(self) -> list[str]:
        """Return the command line."""
        return [
            self.binary,
            f"--config.file={self.folder}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address={self.address}",
            # The route prefix follows from it.
            f"--web.external-url={self.url}",
            f"--query.max-concurrency={self._max_concurrency}",
            # Hidden option; with the default of 5 s nothing would be scraped for the first 5 s.
            "--scrape.discovery-reload-interval=100ms",
            *self.options,
        ]

    def is_ready(self) -> bool:
        """Tell whether ``/-/ready`` says so."""
        return fetch(self.port, f"{self.prefix}/-/ready", timeout=2)[0] == 200

    def query(self, expression: str, **parameters: str) -> list[Any]:
        """Ask an instant query; give the result."""
        target = f"{self.prefix}/api/v1/query?" + urlencode({"query": expression, **parameters})
        return list(json.loads(fetch(self.port, target)[2])["data"]["result"])

    def wait_scraped(self, series: int) -> None:
        """Wait until ``up`` has so many series."""
        wait_until(lambda: len(self.query("up")) >= series, f"{self.name} has {series} up series")

    def hold_replay(self) -> None:
        """
        Let its next start hang in the replay of its WAL until `end_replay`: one segment is a pipe that nobody writes to.

        Nothing is simulated in this: the server itself waits for the bytes of its own log.
        """
        segment = self.folder / "data" / "wal" / "00000000"
        shutil.rmtree(segment.parent, ignore_errors=True)
        segment.parent.mkdir(parents=True)
        os.mkfifo(segment)

    def end_replay(self) -> None:
        """Let the replay end: give the pipe's readers an end of file, as often as they ask."""
        segment = self.folder / "data" / "wal" / "00000000"

        def ended() -> bool:
            with contextlib.suppress(OSError):
                os.close(os.open(segment, os.O_WRONLY | os.O_NONBLOCK))
            return self._answers()

        wait_until(ended, f"{self.name} ended its replay")


def pair(binary: str, **how: Any) -> tuple[Prometheus, Prometheus]:
    """Start two Prometheus servers that scrape each other."""
    ports = free_port(), free_port()
    addresses = [f"127.0.0.1:{port}" for port in ports]
    first = Prometheus(binary, name="a", port=ports[0], scrapes=addresses[1:], **how)
    second = Prometheus(binary, name="b", port=ports[1], scrapes=addresses[:1], **how)
    try:
        for server in (first, second):
            server.start(wait=False)
        for server in (first, second):
            server.wait_ready()
    except BaseException:
        first.close()
        second.close()
        raise
    return first, second
