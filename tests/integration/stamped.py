"""
Targets that give their samples a time, and servers that scrape them: all servers then have the same samples, also those of a
history that was written for them before they started.
"""

from __future__ import annotations

import contextlib
import http.server
import math
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen

from tests.integration.processes import free_port, wait_until
from tests.integration.servers import promtool_of
from tests.integration.targets import Scraper

ORIGIN = 1_700_000_000
JOBS = ("node", "web")
TARGETS = 3
"""In each job."""
LIFE_S = 240
"""For so long a series of ``pod_requests_total`` exists; then another one takes its place."""
BUCKETS = ("0.1", "0.5", "+Inf")
AHEAD_S = 60
"""How far a history goes into the future, while the servers start: they refuse what they scrape until then as too old."""


def samples(number: int, at: int) -> Iterator[tuple[str, int | float]]:
    """Yield the series of a target with their values at a time; all values are integers, or have few digits."""
    age = at - ORIGIN
    grown = age * (number + 1) + int(40 * math.sin(age / 50 + number))
    yield 'requests_total{path="/a<b>&c"', grown
    yield 'requests_total{path="/"', 2 * grown
    yield f'pod_requests_total{{pod="pod-{number}-{age // LIFE_S}"', age % LIFE_S * (number + 1)
    yield 'temperature{unit="C"', round(20 + 5 * math.sin(age / 200 + number), 1) - (at % 60 == 0) * 25
    if (age // 600 + number) % 3:
        yield 'sometimes{kind="ten minutes of thirty are missing"', age % 7
    for place, bucket in enumerate(BUCKETS):
        yield f'seconds_bucket{{le="{bucket}"', (place + 1) * age
    yield 'seconds_count{unit="s"', 3 * age


def lines(number: int, at: int, more: str = "") -> Iterator[str]:
    """Yield the samples of a target as text without the time."""
    for name, value in samples(number, at):
        yield f"{name}{more}}} {value}"


class StampedTargets:
    """
    Targets in this process, each at its own loopback address.

    Each exposes the samples of this interval and the next one. So a server that scrapes a little late misses none, and each
    sample that a server lacks is of a time between two scrapes that ``up`` tells of.
    """

    def __init__(self, interval_s: int) -> None:
        self._port, self._interval_s = free_port(), interval_s
        addresses = [f"127.0.2.{1 + number}:{self._port}" for number in range(TARGETS * len(JOBS))]
        self.jobs = {job: addresses[place * TARGETS : (place + 1) * TARGETS] for place, job in enumerate(JOBS)}
        self._servers = [
            http.server.ThreadingHTTPServer((address.partition(":")[0], self._port), self._page(number))
            for number, address in enumerate(addresses)
        ]
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _page(self, number: int) -> type[http.server.BaseHTTPRequestHandler]:
        interval_s = self._interval_s

        class Page(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                at = int(time.time()) // interval_s * interval_s
                text = "".join(f"{line} {when * 1000}\n" for when in (at, at + interval_s) for line in lines(number, when))
                body = text.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        return Page


@frozen
class Past:
    """
    A history in the storage of servers.

    :ivar newest: the time of its newest sample, which is in the future when it is written.
    """

    folder: Path
    newest: int

    def close(self) -> None:
        """Remove the files; servers have copies."""
        shutil.rmtree(self.folder, ignore_errors=True)


def write_past(binary: str, targets: StampedTargets, seconds: int, interval_s: int, longest_block: str = "24h") -> Past:
    """Write so many seconds of history, up to the first scrape of a server that is started at once."""
    folder = Path(tempfile.mkdtemp(prefix="mpp-test-past-"))
    now = int(time.time()) // interval_s * interval_s
    write_blocks(binary, targets, range(now - seconds, now, interval_s), folder, longest_block)
    last = range(now, int(time.time()) + AHEAD_S, interval_s)
    write_blocks(binary, targets, last, folder)
    return Past(folder, last[-1])


def write_blocks(binary: str, targets: StampedTargets, times: Sequence[int], folder: Path, longest: str = "24h") -> None:
    """Write the samples of these times, and ``up``, into a storage."""
    with tempfile.TemporaryDirectory(prefix="mpp-test-past-") as name:
        text = Path(name, "past.om")
        with open(text, "w") as file:
            place = 0
            for job, instances in targets.jobs.items():
                for instance in instances:
                    more = f',instance="{instance}",job="{job}"'
                    for at in times:
                        file.write(f'up{{instance="{instance}",job="{job}"}} 1 {at}\n')
                        file.writelines(f"{line} {at}\n" for line in lines(place, at, more))
                    place += 1
            file.write("# EOF\n")
        make_blocks(binary, text, folder, longest)


def make_blocks(binary: str, text: Path, folder: Path, longest: str = "24h") -> None:
    """Make blocks of samples that are written as OpenMetrics; the whole text is read once for each of them."""
    create = [promtool_of(binary), "tsdb", "create-blocks-from", f"--max-block-duration={longest}", "openmetrics"]
    subprocess.run([*create, str(text), str(folder)], check=True, capture_output=True, timeout=600, cwd="/")


class StampedServer(Scraper):
    """A real Prometheus that has a history and scrapes the targets."""

    def __init__(self, binary: str, name: str, targets: StampedTargets, past: Past, interval_s: int, *options: str) -> None:
        super().__init__(binary, targets.jobs, name=name, interval=interval_s)
        self.options, self._past, self._interval_s = options, past, interval_s
        shutil.copytree(past.folder, self.folder / "data", dirs_exist_ok=True)

    def goes_on(self) -> bool:
        """Return whether all targets were scraped later than the history goes."""
        query = f"count(timestamp(temperature) > {self._past.newest + self._interval_s})"
        return next((int(each["value"][1]) for each in self.query(query)), 0) == TARGETS * len(JOBS)


def start_all(servers: Sequence[StampedServer], past: Past) -> None:
    """
    Start servers that have a history, and wait until it goes on.

    :raise AssertionError: this took so long that samples after the history may be missing.
    """
    for server in servers:
        server.start(wait=False)
    for server in servers:
        server.wait_ready()
    assert time.time() < past.newest - 5, "the servers started too late"
    for server in servers:
        wait_until(server.goes_on, f"{server.name} has scraped all targets", past.newest - time.time() + 60, every=0.2)
