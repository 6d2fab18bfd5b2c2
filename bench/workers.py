"""What several workers cost and bring: CPU time per request, throughput and spread with 1 and with N workers. See README.rst."""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import table
from bench.forward import CASES, LARGE_BUFFER, Case, free_port, prepare, wait_answer
from bench.programs import CONNECTIONS, LOAD_CORE, PROXY_CORE, Answers, cpu_seconds, first_line, pinned, wrk
from tests.integration.processes import CHECKOUT, Mpp, wait_until
from tests.integration.test_workers import children, connections


class Measured(Mpp):
    """mpp on the proxy's core, or on any."""

    def __init__(self, upstream: int, workers: int, options: argparse.Namespace) -> None:
        super().__init__([f"http://127.0.0.1:{upstream}"], "--workers", str(workers), interval="10s")
        self._pinned = options.pinned

    def command(self) -> list[str]:
        """Return the command line."""
        return pinned(PROXY_CORE, *super().command()) if self._pinned else super().command()


def load(case: Case, port: int, crowd: int, options: argparse.Namespace, folder: Path) -> Answers:
    """Run wrk with so many connections."""
    script = ["-s", str(folder / "post.lua")] if case.post else []
    url = f"http://127.0.0.1:{port}{case.target}"
    return wrk(url, options.seconds, f"-c{crowd}", *script, core=LOAD_CORE if options.pinned else None)


def processes(mpp: Mpp) -> list[int]:
    """Return all processes of one mpp."""
    return [mpp.pid, *children(mpp.pid)]


def measure(case: Case, mpps: list[Mpp], options: argparse.Namespace, folder: Path) -> list[list[str]]:
    """Measure one case, interleaved; give rows of the table."""
    found: list[list[tuple[float, float]]] = []
    for number in range(options.rounds + 1):
        row = []
        for mpp, workers in zip(mpps, (1, options.workers), strict=True):
            crowd = options.connections * (workers if options.each else 1)
            before = sum(map(cpu_seconds, processes(mpp)))
            answers = load(case, mpp.port, crowd, options, folder)
            row.append((answers.rate, (sum(map(cpu_seconds, processes(mpp))) - before) / answers.count * 1e6))
            if not answers.clean:
                print(f"{case.name}: not all answers were good", file=sys.stderr)
        # The first one opens the connections.
        found += [row] if number else []
    rows = []
    for place, workers in enumerate((1, options.workers)):
        rate, cpu = (statistics.median(row[place][which] for row in found) for which in (0, 1))
        rates, cpus = (sorted(row[place][which] / row[0][which] for row in found) for which in (0, 1))
        shown = (f"{r[0]:.2f} / {statistics.median(r):.2f} / {r[-1]:.2f}" for r in (rates, cpus))
        rows.append([case.name, str(workers), f"{rate:.0f}", f"{cpu:.1f} us", *shown])
    return rows


def spread(mpp: Mpp, connected: int) -> str:
    """Tell how so many connections divide, when nobody else is connected."""
    wait_until(lambda: mpp.metric("mpp_client_connections") == 1, "the load has left")
    with ExitStack() as stack:
        for _ in range(connected):
            stack.enter_context(socket.create_connection(("127.0.0.1", mpp.port)))
        found: list[int] = []

        def all_in() -> bool:
            found[:] = [connections(worker, mpp.port) for worker in children(mpp.pid)]
            return sum(found) == connected

        wait_until(all_in, "all are accepted")
        return " + ".join(map(str, found))


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each load")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--each", action="store_true", help="so many connections for each worker instead of for all")
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="default: 266-get and 100k-get")
    parser.add_argument("--pinned", action="store_true", help="mpp on core 0, load and upstream on core 1: for the CPU time")
    options = parser.parse_args()
    wanted = [case for case in CASES if case.name in (options.case or ("266-get", "100k-get"))]
    print(f"{first_line(sys.executable, '-m', 'mpp', '--version')}, {os.cpu_count()} cores, {first_line('wrk', '-v')}\n")
    rows = []
    with tempfile.TemporaryDirectory(prefix="mpp-bench-") as name:
        folder = Path(name)
        for case in wanted:
            with ExitStack() as stack:
                upstream = free_port()
                prepare(folder, upstream, LARGE_BUFFER if case.bufsize == LARGE_BUFFER else case.bufsize)
                command = ["haproxy", "-f", str(folder / "upstream.cfg")]
                server = subprocess.Popen(pinned(LOAD_CORE, *command) if options.pinned else command, cwd=CHECKOUT)
                stack.callback(lambda server=server: (server.terminate(), server.wait()))
                wait_answer(f"http://127.0.0.1:{upstream}/-/ready", folder / "upstream.log")
                mpps = []
                for workers in (1, options.workers):
                    mpps.append(Measured(upstream, workers, options))
                    stack.callback(mpps[-1].close)
                    mpps[-1].start()
                wait_until(lambda m=mpps[-1]: m.log().count("mpp serves") > options.workers, "all workers serve")
                rows += measure(case, mpps, options, folder)
                print(f"{case.name} done", file=sys.stderr, flush=True)
                if case is wanted[-1]:
                    spreads = [[str(count), spread(mpps[-1], count)] for count in (16, 200)]
    ratios = "min / median / max"
    print(
        table(["case", "workers", "requests/s", "CPU/request", f"rate ratio: {ratios}", f"CPU ratio: {ratios}"], rows), end="\n\n"
    )
    print(table(["connections", "of each worker"], spreads))


if __name__ == "__main__":
    main()
