"""Targets to scrape, and real servers whose scraping can be stopped, cut off, and begun again."""

from __future__ import annotations

import http.server
import json
import signal
import threading
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from tests.integration.processes import START_DEADLINE, fetch, free_port, wait_until
from tests.integration.servers import Prometheus

MOST = 250
"""Targets that there may be: each has an address of its own on the loopback network."""


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"# TYPE metric gauge\nmetric 1\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # All targets may be scraped at the same moment, while this process does something else.
    request_queue_size = 512


class Targets:
    """Targets in this process, each at its own address ``127.0.1.N:port``; close it at the end."""

    def __init__(self) -> None:
        self.port = free_port()
        self._server = _Server(("0.0.0.0", self.port), _Page)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def addresses(self, count: int, first: int = 1) -> list[str]:
        """Return the addresses of so many targets."""
        return [f"127.0.1.{first + number}:{self.port}" for number in range(count)]

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


class Scraper(Prometheus):
    """
    A real Prometheus that scrapes jobs of targets.

    :param jobs: the addresses of the targets, by job.
    :param interval: the scrape interval, in seconds.
    :ivar slow: the scrape intervals of jobs that have another one, in seconds.
    """

    slow: Mapping[str, int] = MappingProxyType({})

    def __init__(self, binary: str, jobs: Mapping[str, Sequence[str]], *, name: str, interval: float = 2.0) -> None:
        self._interval = interval
        self.jobs: Mapping[str, Sequence[str]] = jobs
        super().__init__(binary, name=name)

    def scrape(self, addresses: Sequence[str]) -> None:
        """Write the configuration; what is scraped is ``jobs``."""
        self.write(self.jobs)

    def write(self, jobs: Mapping[str, Sequence[str]], *, cut_off: bool | Collection[str] = False) -> None:
        """
        Write a configuration.

        :param cut_off: the targets of all jobs, or of these, are asked at an address where nothing listens.
        """
        cut = (jobs if cut_off else ()) if isinstance(cut_off, bool) else cut_off
        dead = [
            {"source_labels": ["__address__"], "target_label": "instance"},
            {"target_label": "__address__", "replacement": "127.0.0.1:1"},
        ]
        scrape_configs = [
            {
                "job_name": job,
                "scrape_interval": f"{int(self.slow.get(job, self._interval) * 1000)}ms",
                "static_configs": [{"targets": list(targets)}],
                "relabel_configs": dead if job in cut else [],
            }
            for job, targets in jobs.items()
        ]
        written = {
            "global": {"scrape_interval": f"{int(self._interval * 1000)}ms", "external_labels": {"replica": self.name}},
            "scrape_configs": scrape_configs,
        }
        (self.folder / "prometheus.yml").write_text(json.dumps(written))

    def unscraped(self) -> dict[str, str]:
        """Return the targets that have not been scraped, or not with success when last tried, each with the reason."""
        found = {address: "not known" for addresses in self.jobs.values() for address in addresses}
        for each in json.loads(fetch(self.port, "/api/v1/targets?state=active")[2])["data"]["activeTargets"]:
            found[each["labels"]["instance"]] = "" if each["health"] == "up" else each["lastError"] or each["health"]
        return {address: why for address, why in found.items() if why}

    def wait_all_scraped(self) -> None:
        """Wait until it serves and has scraped all targets."""
        self.wait_ready()
        wait_until(lambda: not self.unscraped(), f"{self.name} has scraped all targets", 2 * self._interval + START_DEADLINE, 0.2)

    def change(self, jobs: Mapping[str, Sequence[str]], *, cut_off: bool | Collection[str] = False) -> None:
        """Scrape something else from now on."""
        self.write(jobs, cut_off=cut_off)
        self.signal(signal.SIGHUP)
