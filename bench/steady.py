"""What a proxy costs beside its rate: latency at one fixed rate for all, idle clients, memory over time. See README.rst."""

from __future__ import annotations

import argparse
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.forward import CASES, CREDENTIALS, Proxy, load, prepare, proxies, running, wait_answer
from bench.programs import CONNECTIONS, LOAD_CORE, PROXY_CORE, pinned
from tests.integration.processes import free_port

CASE = CASES[0]


def latency(proxy: Proxy, rate: int, seconds: int) -> tuple[float, float]:
    """Ask at a fixed rate; give median and 99th percentile in milliseconds."""
    command = pinned(LOAD_CORE, "hey", "-z", f"{seconds}s", "-c", str(CONNECTIONS), "-q", str(rate // CONNECTIONS))
    command += ["-H", CREDENTIALS, f"http://127.0.0.1:{proxy.port}{CASE.target}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    shares = dict(re.findall(r"(\d+)%+ in ([\d.]+) secs", printed))
    if set(re.findall(r"\[(\d+)\]\s+\d+ responses", printed)) != {"200"}:
        sys.exit(f"{proxy.name} did not answer 200 to everything:\n{printed}")
    return float(shares["50"]) * 1000, float(shares["99"]) * 1000


def show_latency(found: list[Proxy], options: argparse.Namespace, folder: Path) -> None:
    """Print the latencies at half of the slowest one's rate."""
    slowest = min(load(CASE, proxy.port, options.seconds, folder)[0] for proxy in found)
    rate = int(slowest / 2)
    figures: dict[str, list[tuple[float, float]]] = {proxy.name: [] for proxy in found}
    for _ in range(options.rounds):
        for proxy in found:
            figures[proxy.name].append(latency(proxy, rate, options.seconds))
    print(f"\nlatency at {rate} requests/s, {CASE.name}: median of {options.rounds} rounds")
    for name, measured in figures.items():
        half, most = (statistics.median(values) for values in zip(*measured, strict=True))
        print(f"  {name:8} 50 %: {half:6.2f} ms   99 %: {most:6.2f} ms")


def resident(pid: int) -> float:
    """Return resident memory in MB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024  # type: ignore[index]


def show_idle(found: list[Proxy], clients: int) -> None:
    """Print what clients cost that have asked once and keep their connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"\n{clients} idle clients")
    request = f"GET {CASE.target} HTTP/1.1\r\nHost: bench\r\n{CREDENTIALS}\r\n\r\n".encode()
    for proxy in found:
        before = resident(proxy.pid)
        sockets = []
        for _ in range(clients):
            connection = socket.create_connection(("127.0.0.1", proxy.port))
            connection.sendall(request)
            connection.recv(65536)
            sockets.append(connection)
        time.sleep(1)
        print(f"  {proxy.name:8} {resident(proxy.pid) - before:6.1f} MB more than {before:.1f} MB")
        for connection in sockets:
            connection.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def show_memory(proxy: Proxy, minutes: int, folder: Path) -> None:
    """Print the resident memory of a proxy under load, minute by minute."""
    print(f"\nmemory of {proxy.name} under load of {CASE.name}, MB at the end of each minute")
    for _ in range(minutes):
        load(CASE, proxy.port, 60, folder)
        print(f"  {resident(proxy.pid):.1f}", end="", flush=True)
    print()


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement of latency")
    parser.add_argument("--idle", type=int, default=2000, help="idle clients")
    parser.add_argument("--minutes", type=int, default=0, help="of load for mpp's memory (default: %(default)s)")
    parser.add_argument("--mpp", help="the mpp command to measure (default: the one of this checkout)")
    options = parser.parse_args()
    for tool in ("haproxy", "wrk", "hey", "taskset"):
        if shutil.which(tool) is None:
            sys.exit(f"bench/steady.py: {tool} is not on the PATH")
    with tempfile.TemporaryDirectory(prefix="mpp-bench-") as name, ExitStack() as stack:
        folder, upstream = Path(name), free_port()
        prepare(folder, upstream, CASE.bufsize)
        stack.enter_context(running(["haproxy", "-f", str(folder / "upstream.cfg")], LOAD_CORE, folder / "upstream.log"))
        wait_answer(f"http://127.0.0.1:{upstream}/-/ready", folder / "upstream.log")
        found = proxies(folder, upstream, options.mpp)
        for proxy in found:
            log = folder / f"{proxy.name}.log"
            began = time.monotonic()
            proxy.pid = stack.enter_context(running(proxy.command, PROXY_CORE, log))
            wait_answer(f"http://127.0.0.1:{proxy.port}{CASE.target}", log)
            print(f"{proxy.name}: {proxy.version}; first answer after {time.monotonic() - began:.2f} s")
        show_latency(found, options, folder)
        show_idle(found, options.idle)
        if options.minutes:
            show_memory(next(proxy for proxy in found if proxy.name == "mpp"), options.minutes, folder)


if __name__ == "__main__":
    main()
