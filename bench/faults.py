"""
What clients see of it when one of two Prometheus servers misbehaves: mpp beside HAProxy and vmauth. See README.rst.

Row by row, all proxies in turn: a load begins, all is well for a while, one server misbehaves, is mended, the load ends.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from bench import heavy
from bench.figures import cell, explain, table
from bench.proxies import Front, MppProxy, Proxy, all_proxies, settle
from tests.integration.histories import INTERVAL_S, Lost, WithHistory
from tests.integration.processes import die_with_parent, fetch, wait_until
from tests.integration.servers import Prometheus, require_binary, version_of
from tests.integration.targets import Targets

WELL = 2.0
"""Seconds of load before the fault, and after it."""
HOUR = 3600
HOLED_TARGETS = 5
MARK = "BENCH_FAULTS_ALONE"


@dataclass(frozen=True)
class Row:
    """A way to misbehave; ``fault`` as in `tests.simulated.faults`, none for SIGSTOP."""

    name: str
    title: str
    fault: str = ""
    share: float = 1.0
    arguments: dict[str, Any] = field(default_factory=dict)


ROWS = (
    Row("refuse", "refuses connections", "refuse"),
    Row("silence", "accepts, never answers", "silence"),
    Row("sigstop", "SIGSTOP"),
    Row("late", "answers after 2 s", "late", arguments={"seconds": 2.0}),
    Row("503", "503 to everything", "status", arguments={"status": 503}),
    Row("500", "500 to everything", "status", arguments={"status": 500}),
    Row("half-fin", "half the body, then FIN", "half-close"),
    Row("half-rst", "half the body, then RST", "half-reset"),
    Row("garbage", "not HTTP at all", "garbage"),
    Row("close", "closes without a word", "close"),
    Row("half-silence", "headers and half a body, then silence", "half-silence"),
    Row("drip", "one byte every 50 ms", "drip", arguments={"every": 0.05}),
    Row("die", "30 % of connections die", "die", share=0.3),
    Row("vanish", "vanishes: packets dropped, no RST", "vanish"),
)


@dataclass
class Scene:
    """
    Two real servers, the faulty one (with more data) behind a front.

    :ivar asked: further options of the load.
    """

    faulty: Prometheus
    well: Prometheus
    front: Front
    asked: tuple[str, ...] = ()

    def spoil(self, row: Row) -> None:
        """Let the fault begin."""
        if row.fault:
            self.front.tell("spoil", fault=row.fault, share=row.share, arguments=row.arguments)
        else:
            self.faulty.signal(signal.SIGSTOP)

    def mend(self, row: Row) -> None:
        """Let the fault end."""
        if row.fault:
            self.front.tell("mend")
        else:
            self.faulty.signal(signal.SIGCONT)


@contextlib.contextmanager
def scene(*, namespace: bool) -> Iterator[Scene]:
    """Start the servers and the front."""
    binary = require_binary()
    with contextlib.ExitStack() as stack:
        faulty, well = Prometheus(binary, name="faulty", history=20 * HOUR), Prometheus(binary, name="well", history=10 * HOUR)
        front = Front(faulty.port, namespace=namespace)
        for process in (faulty, well, front):
            stack.callback(process.close)
        faulty.scrape([faulty.address, well.address])
        well.scrape([faulty.address, well.address])
        for process in (faulty, well, front):
            process.start()
        for server in (faulty, well):
            server.wait_scraped(2)
        yield Scene(faulty, well, front)


@contextlib.contextmanager
def holed_scene(which: str, *, namespace: bool) -> Iterator[Scene]:
    """Start servers with six hours of history, one with a hole of 24 minutes, and the front; all asks are for a time in it."""
    with contextlib.ExitStack() as stack:
        targets = Targets()
        stack.callback(targets.close)
        end = int(time.time()) // INTERVAL_S * INTERVAL_S - 120
        servers = {}
        for name in ("faulty", "well"):
            lost = [Lost(end - 3 * HOUR, end - 3 * HOUR + 1440)] if name == which else []
            jobs = {"node": targets.addresses(HOLED_TARGETS)}
            servers[name] = WithHistory(require_binary(), jobs, name=name, start=end - 6 * HOUR, end=end, lost=lost)
        front = Front(servers["faulty"].port, namespace=namespace)
        for process in (*servers.values(), front):
            stack.callback(process.close)
            process.start()
        yield Scene(**servers, front=front, asked=(f"--time={end - 3 * HOUR + 900}", f"--up={HOLED_TARGETS}"))


def looked_back(proxy: Proxy) -> None:
    """Wait until mpp has compared the histories."""
    if isinstance(proxy, MppProxy):

        def finished() -> bool:
            backends = json.loads(fetch(proxy.port, "/mpp/status?format=json")[2])["backends"]
            return all(each["looked_back"]["finished"] for each in backends) and any(each["missing"] for each in backends)

        wait_until(finished, "mpp has compared the histories", 120)


def load(proxy: Proxy, clients: int, options: argparse.Namespace, asked: tuple[str, ...]) -> subprocess.Popen[str]:
    """Start a load; return when it has begun."""
    times = [*asked, f"--seconds={WELL + options.seconds + WELL}", f"--fault-begins={WELL}", f"--pause={options.pause}"]
    command = [sys.executable, "-m", "bench.load", f"--port={proxy.port}", f"--clients={clients}", *times]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    assert process.stdout is not None
    assert process.stdout.readline() == "began\n"
    return process


def measure(at: Scene, row: Row, proxy: Proxy, clients: int, options: argparse.Namespace) -> dict[str, Any]:
    """Put load on one proxy while the row's fault comes and goes; give what the load tells."""
    if at.asked:
        looked_back(proxy)
    else:
        settle(proxy, at.front.requests)
    process = load(proxy, clients, options, at.asked)
    try:
        time.sleep(WELL)
        at.spoil(row)
        try:
            time.sleep(options.seconds)
        finally:
            at.mend(row)
        output, _ = process.communicate(timeout=WELL + 30)
    finally:
        process.kill()
        # What still hangs belongs to this row.
        at.front.tell("reset")
    return dict(json.loads(output))


def run_row(at: Scene, row: Row, proxies: list[Proxy], clients: int, options: argparse.Namespace) -> list[str]:
    """Measure all proxies in one row; give its cells."""
    cells = []
    for proxy in proxies:
        # Each fault meets a proxy that has met no other one: who fails again and again may well be kept out for longer.
        proxy.stop()
        proxy.start()
        before = proxy.counters() if isinstance(proxy, MppProxy) else {}
        try:
            result = measure(at, row, proxy, clients, options)
        except AssertionError as error:
            cells.append(f"**{error}**")
            continue
        cells.append(cell(result))
        after = proxy.counters() if isinstance(proxy, MppProxy) else {}
        changed = {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
        told = f"    {row.name}, {clients} clients, {proxy.title}: {cells[-1]}"
        if options.explain:
            told += "\n        " + explain(result, changed)
        print(told, file=sys.stderr, flush=True)
    return cells


def show_faults(options: argparse.Namespace) -> bool:
    """Print the table; tell whether mpp kept its promise in all rows."""
    rows = [row for row in ROWS if options.row is None or row.name in options.row]
    kept = True
    servers = holed_scene(options.holed, namespace=options.namespace) if options.holed else scene(namespace=options.namespace)
    with servers as at, contextlib.ExitStack() as stack:
        strategies = options.strategy.split(",")
        proxies = all_proxies(
            [at.front.where, at.well.address], strategies, options.mpp, options.mpp_options.split(), options.only
        )
        for proxy in proxies:
            stack.callback(proxy.close)
            proxy.start()
        describe(at, proxies, options)
        for clients in [int(text) for text in options.clients.split(",")]:
            lines = [[row.title, *run_row(at, row, proxies, clients, options)] for row in rows]
            print(f"\n{clients} clients; failed of all requests, worst latency\n", flush=True)
            print(table(["backend does", *(proxy.title for proxy in proxies)], lines), flush=True)
            columns = [n for n, proxy in enumerate(proxies, 1) if isinstance(proxy, MppProxy)]
            kept = kept and not any("**" in line[n] for line in lines for n in columns)
    return kept


def describe(at: Scene, proxies: list[Proxy], options: argparse.Namespace) -> None:
    """Print what is measured."""
    cores = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    print(f"{time.strftime('%Y-%m-%d')}, {cores} cores, {system}")
    print(f"Prometheus {'.'.join(str(part) for part in version_of(at.well.binary))}, twice; the faulty one has more data")
    how = "packets are dropped in a network namespace" if options.namespace else "a full accept queue (no right to namespaces)"
    print(f"load {WELL:g} s + {options.seconds:g} s of the fault + {WELL:g} s, timeout 15 s, pause {options.pause:g} s")
    print(f"vanishing: {how}; the machine's load before it: {os.getloadavg()[0]:.1f}")
    for proxy in proxies:
        print(f"{proxy.title}: {proxy.version}\n    {' '.join(proxy.command())}")


def alone() -> bool:
    """
    Go on in a network namespace of our own, which has no way out, if this machine lets us.

    :return bool: we are in one.
    """
    if os.environ.get(MARK):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return True
    for how in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        if all(map(shutil.which, ("unshare", "ip"))) and not subprocess.run([*how, "true"], capture_output=True).returncode:
            os.environ[MARK] = "1"
            os.execvp(how[0], [*how, sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]])
    return False


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each fault lasts")
    parser.add_argument("--clients", default="8,200", help="one table for each number (default: %(default)s)")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds that a client waits after an answer (default: 0)")
    parser.add_argument("--row", action="append", choices=[row.name for row in ROWS], help="default: all")
    parser.add_argument("--holed", choices=("faulty", "well"), help="this server lacks the data that is asked for")
    parser.add_argument("--strategy", default="random,single-most-data", help="of mpp, each one column (default: %(default)s)")
    parser.add_argument("--mpp", default="", help="the mpp command (default: the one of this checkout)")
    parser.add_argument("--mpp-options", default="", help="further options for mpp (default: none, its own defaults)")
    parser.add_argument("--only", default="", help="only the proxies whose names begin with one of these: mpp,haproxy,vmauth")
    parser.add_argument("--explain", action="store_true", help="tell what failed and what mpp counted")
    parser.add_argument("--heavy", action="store_true", help="instead: heavy queries on healthy servers, each to run once")
    parser.add_argument("--saturated", action="store_true", help="instead: both servers have all query slots taken")
    options = parser.parse_args()
    options.namespace = alone()
    kept = True
    if options.heavy:
        kept = heavy.show_heavy(options)
    if options.saturated:
        kept = heavy.show_saturated(options) and kept
    if not options.heavy and not options.saturated:
        kept = show_faults(options)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
