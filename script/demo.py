"""
The program behind ``script/demo``: two Prometheus servers with mpp in front of them.

It starts the processes, waits for them, prints what to try, and ends all of them. It uses mpp only as a command.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import shutil
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from demo_servers import NotServing, Server

CHECKOUT = Path(__file__).resolve().parent.parent
"""The folder that has the simulated servers, ``tests/simulated``; mpp must not be imported from there, but from the wheel."""
WANTED_PORTS = (9090, 9091, 9092)
"""The preferred ports of mpp (Prometheus' usual port) and of the two servers."""
PORTS_TO_TRY = range(9090, 9190)
STOP_DEADLINE = 5.0
"""Seconds after SIGTERM until a process is killed; the demo has no data to lose."""
SCRAPE_DEADLINE = 20.0
"""Seconds to wait for the first samples; real servers load their targets after 5 s and scrape every 2 s."""
RESTART_AFTER = 10.0
"""Seconds until a killed server is started again: long enough to look at the status page."""

PROMETHEUS_YML = """\
global:
  scrape_interval: 2s
  external_labels:
    prometheus_replica: {name}
scrape_configs:
  - job_name: prometheus
    static_configs:
      - targets: [{pair}]
  - job_name: mpp
    metrics_path: /mpp/metrics
    static_configs:
      - targets: [127.0.0.1:{port}]
"""


class DemoError(Exception):
    """The error that the demo cannot run; its message is printed for the user."""


class _Ended(BaseException):
    """The demo was ended by SIGINT, SIGTERM or SIGHUP."""


def _is_free(port: int) -> bool:
    for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError as error:
            if family == socket.AF_INET or error.errno == errno.EADDRINUSE:
                return False
    return True


def choose_ports() -> tuple[int, ...]:
    """Return the preferred ports; a port in use is replaced by another one, with a message."""
    chosen: list[int] = []
    for wanted in WANTED_PORTS:
        if wanted not in chosen and _is_free(wanted):
            chosen.append(wanted)
            continue
        free = (port for port in PORTS_TO_TRY if port not in (*WANTED_PORTS, *chosen) and _is_free(port))
        port = next(free, None)
        if port is None:
            raise DemoError(f"no free port from {PORTS_TO_TRY.start} to {PORTS_TO_TRY.stop - 1}")
        print(f"Port {wanted} is in use; port {port} is used instead.")
        chosen.append(port)
    return tuple(chosen)


def _pair(folder: Path, port: int, ports: Sequence[int]) -> list[Server]:
    """Return the two Prometheus servers, not yet started: real ones if there is a binary."""
    binary = shutil.which("prometheus")
    if binary:
        print(f"The pair: two real Prometheus servers ({binary}) that scrape each other and mpp.")
    else:
        print("The pair: two SIMULATED Prometheus servers, because there is no prometheus on the PATH.")
    addresses = ", ".join(f"127.0.0.1:{each}" for each in ports)
    servers = []
    environ = {} if binary else {"PYTHONPATH": str(CHECKOUT)}
    for name, own in zip("ab", ports, strict=True):
        if binary:
            config = folder / f"{name}.yml"
            config.write_text(PROMETHEUS_YML.format(name=name, pair=addresses, port=port))
            command = [binary, f"--config.file={config}", f"--storage.tsdb.path={folder / name}"]
            command.append(f"--web.listen-address=127.0.0.1:{own}")
        else:
            command = [sys.executable, "-P", "-m", "tests.simulated", "--port", str(own), "--name", name, "--version", "3.5.0"]
        log = folder / f"{name}.log"
        servers.append(Server(f"Prometheus {name}", own, command, f"http://127.0.0.1:{own}/-/ready", log, environ))
    return servers


def _mpp(folder: Path, port: int, ports: Sequence[int]) -> Server:
    endpoints = folder / "endpoints"
    endpoints.write_text("".join(f"http://127.0.0.1:{each}\n" for each in ports))
    command = [sys.executable, "-P", "-m", "mpp", "--endpoints-file", str(endpoints), "--port", str(port)]
    command += ["--selection-interval", "5s"]
    return Server("mpp", port, command, f"http://127.0.0.1:{port}/mpp/ready", folder / "mpp.log")


@contextlib.contextmanager
def _running(servers: Sequence[Server]) -> Iterator[None]:
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait_ready()
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for server in servers:
            server.stop()
        end = time.monotonic() + STOP_DEADLINE
        for server in servers:
            server.reap(end)


def _await_samples(mpp: Server) -> None:
    """Wait until ``up`` has samples: real servers start to scrape after some seconds."""
    url = f"http://127.0.0.1:{mpp.port}/api/v1/query?query=up"
    end = time.monotonic() + SCRAPE_DEADLINE
    while time.monotonic() < end:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            if b'"value"' in answer.read():
                return
        time.sleep(0.2)
    print("There are no samples yet; mpp works nevertheless.")


def _instructions(pair: Sequence[Server], mpp: Server, folder: Path) -> str:
    base = f"http://localhost:{mpp.port}"
    victims = "\n".join(f"    kill -9 {s.process.pid}    # {s.name}, port {s.port}" for s in pair if s.process is not None)
    return f"""
mpp is ready. Open:
    {base}/             the Prometheus web UI, through mpp
    {base}/mpp/status   the status page of mpp, about the pair
    {base}/mpp/metrics  the metrics of mpp

Try:
    curl '{base}/api/v1/query?query=up'
    curl -si '{base}/api/v1/query?query=up' | grep -i '^mpp'    # the server that responded
    curl -s {base}/mpp/metrics | grep ^mpp_backend_selected

Kill the server that responds, and query again at once; it is started again after {RESTART_AFTER:g} s:
{victims}

Logs are in {folder}. Ctrl-C ends and removes everything.
"""


def _watch(pair: Sequence[Server], mpp: Server, seconds: float | None) -> None:
    """Restart killed servers until the end of the demo; raise `DemoError` when mpp ends."""
    end = None if seconds is None else time.monotonic() + seconds
    due: dict[str, float] = {}
    while end is None or time.monotonic() < end:
        if not mpp.runs():
            raise DemoError(f"mpp has ended. Its last output:\n{mpp.last_words()}")
        for server in pair:
            if server.runs():
                continue
            if server.name not in due:
                due[server.name] = time.monotonic() + RESTART_AFTER
                print(f"{server.name} has ended; mpp serves without it. It is started again in {RESTART_AFTER:g} s.", flush=True)
            elif time.monotonic() >= due[server.name]:
                del due[server.name]
                server.start()
                print(f"{server.name} is started again, process {server.process.pid if server.process else '?'}.", flush=True)
        time.sleep(0.2)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise _Ended(number)


def main() -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(prog="script/demo", description="Two Prometheus servers with mpp in front of them.")
    parser.add_argument("--for", dest="seconds", type=float, metavar="SECONDS", help="end the demo after so many seconds")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        with tempfile.TemporaryDirectory(prefix="mpp-demo-") as name:
            folder = Path(name)
            port, *ports = choose_ports()
            pair, mpp = _pair(folder, port, ports), _mpp(folder, port, ports)
            with _running([*pair, mpp]):
                print("Waiting for the first samples.", flush=True)
                _await_samples(mpp)
                print(_instructions(pair, mpp, folder), flush=True)
                _watch(pair, mpp, options.seconds)
    except (DemoError, NotServing) as error:
        print(f"script/demo: {error}", file=sys.stderr)
        return 1
    except _Ended:
        print("\nEnded; everything is cleaned up.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
