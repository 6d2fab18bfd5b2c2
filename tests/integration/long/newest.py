"""What `tests.integration.long.lacks` needs: pairs with mpp in front of them, and clients that ask for the newest data."""

from __future__ import annotations

import http.client
import http.server
import json
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from attrs import define, field, frozen

from tests.integration.processes import Mpp, Process, free_port, wait_until
from tests.integration.servers import promtool_of
from tests.integration.targets import Scraper, Targets

INTERVAL = 2.0
"""The scrape interval, in seconds."""
WHOLE = 0.9
"""The share of the targets that a whole answer has at least."""


@frozen
class Asked:
    """One query: when it was answered, how many targets the answer has (None if it failed), and which server gave it."""

    at: float
    count: int | None
    server: str


@define(eq=False)
class Client:
    """A client that asks mpp at "now" how many targets were scraped, again and again, in a thread of its own."""

    port: int
    query: str
    asked: list[Asked] = field(factory=list)
    began: float = 0.0
    _stopped: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> Self:
        """Begin."""
        self.began = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(15)

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self._stopped.wait(0.05):
            count, server = None, "?"
            try:
                connection.request("GET", "/api/v1/query?query=" + quote(self.query))
                answer = connection.getresponse()
                body, server = answer.read(), answer.getheader("MPP.ServedBy") or "?"
                if answer.status == 200:
                    result = json.loads(body)["data"]["result"]
                    count = int(result[0]["value"][1]) if result else 0
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                connection.close()
            self.asked.append(Asked(time.monotonic(), count, server))
        connection.close()


class Site:
    """
    Servers that scrape targets, and for each strategy an mpp in front of them with a client.

    :param servers: in the order of their names.
    :param query: what the clients ask.
    """

    def __init__(self, targets: Targets, servers: Sequence[Process], query: str = "") -> None:
        self.targets, self.servers = targets, list(servers)
        self.query = query or f"count(max_over_time(up[{3 * INTERVAL:g}s]) == 1)"
        self.mpps: dict[str, Mpp] = {}
        self.clients: dict[str, Client] = {}

    def front(self, strategies: Sequence[str], urls: Sequence[str], *options: str) -> None:
        """Start an mpp for each strategy, and its client as soon as mpp is ready."""
        for strategy in strategies:
            arguments = ("--routing-strategy", strategy, "--affinity-options", "none", *options)
            self.mpps[strategy] = mpp = Mpp(urls, *arguments, interval="2s")
            mpp.start()
            self.clients[strategy] = Client(mpp.port, self.query).start()

    def lacks(self, strategy: str) -> dict[str, Any]:
        """Return what each server lacks, by the status of the mpp with this strategy."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.mpps[strategy].port}/mpp/status?format=json", timeout=10) as answer:
            document = json.load(answer)
        return {each["name"]: each["lack"] for each in document["backends"] if each["lack"] is not None}

    def stop(self) -> None:
        """End the clients."""
        for client in self.clients.values():
            client.stop()

    def close(self) -> None:
        """End everything."""
        self.stop()
        for process in (*self.mpps.values(), *self.servers):
            process.close()
        self.targets.close()


def seed(server: Scraper, first: float, last: float) -> None:
    """
    Give a server that does not run yet a history of ``up`` of one target.

    :param first: how many seconds ago it begins.
    :param last: how many seconds ago it ends.
    """
    now = time.time()
    lines = [f'up{{job="node",instance="old"}} 1 {at}' for at in range(int(now - first), int(now - last), 30)]
    text = server.folder / "seed.om"
    text.write_text("# TYPE up gauge\n" + "\n".join(lines) + "\n# EOF\n")
    tool = promtool_of(server.binary)
    command = [tool, "tsdb", "create-blocks-from", "openmetrics", str(text), str(server.folder / "data")]
    subprocess.run(command, check=True, capture_output=True, timeout=60, cwd="/")


class Shifted:
    """
    A proxy that makes a server look as if its clock, and so all its samples, were some seconds ahead.

    It subtracts them from the ``time`` of requests, and adds them to ``serverTime``, the Date field, the times of the results of
    instant queries, and those in ``/metrics``. The clock of a real Prometheus cannot be changed alone: it is a Go program, which
    asks the kernel and no library.
    """

    def __init__(self, origin: int, seconds: float) -> None:
        shift, self.port = seconds, free_port()

        class Page(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._pass(None)

            def do_POST(self) -> None:
                self._pass(self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def _pass(self, body: bytes | None) -> None:
                path = re.sub(r"([?&]time=)([0-9.]+)", lambda m: f"{m[1]}{float(m[2]) - shift:.3f}", self.path)
                asked = urllib.request.Request(f"http://127.0.0.1:{origin}{path}", data=body)
                try:
                    with urllib.request.urlopen(asked, timeout=10) as answer:
                        status, headers, text = answer.status, answer.headers, answer.read()
                except urllib.error.HTTPError as error:
                    status, headers, text = error.code, error.headers, error.read()
                except OSError:
                    self.close_connection = True
                    return
                text = _ahead(text, shift)
                self.send_response_only(status)
                self.send_header("Date", formatdate(parsedate_to_datetime(headers["Date"]).timestamp() + shift, usegmt=True))
                self.send_header("Content-Type", headers.get("Content-Type", "text/plain"))
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Page)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


_TIMES = re.compile(rb"^((?:prometheus_tsdb_(?:head_max|head_min|lowest)_time\S*|process_start_time\S*) )(\S+)$", re.MULTILINE)
_SERVER_TIME = re.compile(rb'("serverTime":")([^"]+)"')
_VALUE = re.compile(rb'("value":\[)([0-9.]+)')


def _ahead(text: bytes, shift: float) -> bytes:
    from datetime import datetime, timedelta

    def moved(match: re.Match[bytes]) -> bytes:
        # Nanoseconds are more than a datetime holds.
        told = datetime.fromisoformat(match[2].decode()[:26].rstrip("Z") + "+00:00") + timedelta(seconds=shift)
        return match[1] + told.isoformat().encode() + b'"'

    text = _TIMES.sub(lambda m: m[1] + b"%.3f" % (float(m[2]) + shift), text)
    text = _VALUE.sub(lambda m: m[1] + b"%.3f" % (float(m[2]) + shift), text)
    return _SERVER_TIME.sub(moved, text)


def wait_for(condition: Callable[[], Any], seconds: float) -> float:
    """Return after how many seconds a condition was true; infinity if it was not within so many."""
    began = time.monotonic()
    try:
        wait_until(condition, "", seconds, every=0.1)
    except AssertionError:
        return float("inf")
    return time.monotonic() - began


def file_sd(server: Scraper, name: str, targets: Sequence[str]) -> Path:
    """Write the file of targets of a server, all at once."""
    path = server.folder / name
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps([{"targets": list(targets)}]))
    fresh.replace(path)
    return path
