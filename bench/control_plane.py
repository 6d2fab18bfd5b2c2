"""What discovery, probes and selection of many backends cost: CPU share, round time, memory, CPU per request. See README.rst."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from attrs import evolve

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import table
from bench.programs import LOAD_CORE, PROXY_CORE, cpu_seconds, first_line, pinned, wrk
from tests.integration.processes import CHECKOUT, Mpp, fetch, wait_until
from tests.simulated.faults import FAULTS
from tests.simulated.messages import Request, SimulatedResponse
from tests.simulated.prometheus import SimulatedPrometheus
from tests.simulated.server import listen

INTERVAL_S = 10.0
ROUND = "mpp_selection_round_duration_seconds"
FILLER = b'prometheus_http_request_duration_seconds_bucket{handler="/api/v1/query_range",le="0.4"} 12345\n'


class Padded(SimulatedPrometheus):
    """A simulated Prometheus whose ``/metrics`` is as long as a real one's."""

    padding = b""

    def answer(self, request: Request) -> SimulatedResponse:
        """Answer; with filler in front of what is of interest."""
        answer = super().answer(request)
        return evolve(answer, body=self.padding + answer.body) if request.path == "/metrics" else answer


def serve(count: int, page: int) -> None:
    """Be so many backends until stdin ends; each line of it is a fault and for how many of them (``well 0`` ends it)."""
    from twisted.internet import reactor, stdio
    from twisted.protocols.basic import LineReceiver

    Padded.padding = FILLER * (page // len(FILLER))
    sims = [Padded(time.time, name=f"b{number}", remembered=1) for number in range(count)]
    ports = [listen(reactor, sim).port for sim in sims]

    class Orders(LineReceiver):
        """What the bench says."""

        delimiter = b"\n"

        def connectionMade(self) -> None:
            self.sendLine(" ".join(map(str, ports)).encode())

        def lineReceived(self, line: bytes) -> None:
            fault, number = line.decode().split()
            for place, sim in enumerate(sims):
                sim.spoil(FAULTS[fault]()) if place >= count - int(number) else sim.mend()
            self.sendLine(b"done")

        def connectionLost(self, reason: object = None) -> None:
            reactor.stop()  # type: ignore[attr-defined]

    stdio.StandardIO(Orders())  # type: ignore[no-untyped-call]
    reactor.run()  # type: ignore[attr-defined]


class Backends:
    """So many simulated backends in one process, on the load's core."""

    def __init__(self, count: int, page: int) -> None:
        command = pinned(LOAD_CORE, sys.executable, __file__, "--serve", str(count), "--page", str(page))
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=CHECKOUT, stdin=pipe, stdout=pipe, text=True)
        self.ports = [int(port) for port in self._said().split()]

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def spoil(self, fault: str, count: int) -> None:
        """Let the last ``count`` of them misbehave, and all others be well."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{fault} {count}\n")
        self._process.stdin.flush()
        self._said()

    def close(self) -> None:
        """End them."""
        self._process.kill()
        self._process.wait()


class PinnedMpp(Mpp):
    """mpp on the proxy's core."""

    def command(self) -> list[str]:
        """Return the command line."""
        return pinned(PROXY_CORE, *super().command())

    def rounds(self) -> tuple[float, float]:
        """Return how many rounds there were, and how long they took together."""
        return self.metric(f"{ROUND}_count"), self.metric(f"{ROUND}_sum")


@contextmanager
def running(count: int, strategy: str, page: int) -> Iterator[tuple[Backends, PinnedMpp]]:
    """Run so many backends with mpp in front."""
    with ExitStack() as stack:
        backends = Backends(count, page)
        stack.callback(backends.close)
        urls = [f"http://127.0.0.1:{port}" for port in backends.ports]
        mpp = PinnedMpp(urls, "--routing-strategy", strategy, interval=f"{INTERVAL_S:g}s")
        stack.callback(mpp.close)
        mpp.start()
        yield backends, mpp


def watch(mpp: PinnedMpp, seconds: float) -> tuple[float, float]:
    """Return the share of a core that mpp uses, and how long a round takes."""
    (count, took), cpu, began = mpp.rounds(), cpu_seconds(mpp.pid), time.monotonic()
    time.sleep(seconds)
    cpu = (cpu_seconds(mpp.pid) - cpu) / (time.monotonic() - began)
    now, took_now = mpp.rounds()
    return cpu, (took_now - took) / max(1.0, now - count)


def load(mpp: PinnedMpp, seconds: int, idle: float) -> float:
    """Return the CPU time of a request in microseconds, without what mpp uses anyway."""
    cpu = cpu_seconds(mpp.pid)
    answers = wrk(f"http://127.0.0.1:{mpp.port}/api/v1/query?query=up", seconds)
    if not answers.clean:
        print(f"not all answers were good:\n{answers.printed}", file=sys.stderr)
    return (cpu_seconds(mpp.pid) - cpu - idle * seconds) / answers.count * 1e6


def rounds(options: argparse.Namespace) -> list[list[str]]:
    """Measure the rounds: all well, and with a quarter of the backends dead."""
    rows: list[list[str]] = []
    count = options.backends
    with running(count, "random", options.page) as (backends, mpp):
        wait_until(lambda: mpp.metric("mpp_selected_backends") == count, "all are selected")
        first = mpp.rounds()[1]
        for title, fault, dead in (("well", "refuse", 0), ("refusing", "refuse", count // 4), ("vanished", "vanish", count // 4)):
            backends.spoil(fault, dead)
            # One round learns of it.
            time.sleep(INTERVAL_S + 5 if dead else 5)
            share, took = watch(mpp, options.seconds)
            memory = f"{mpp.resident() / 2**20:.0f} MB"
            rows.append([f"{count}, {dead} {title}" if dead else f"{count}, all well", f"{share:.2%}", f"{took:.2f} s", memory])
            print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
    rows.insert(0, [f"{count}, first round, all facts read", "", f"{first:.2f} s", ""])
    return rows


def requests(options: argparse.Namespace) -> list[list[str]]:
    """Measure requests with 2 backends and with many, interleaved."""
    rows = []
    for strategy in ("single-most-data", "random"):
        with running(2, strategy, options.page) as (_, few), running(options.backends, strategy, options.page) as (_, many):
            idle = [watch(mpp, INTERVAL_S)[0] for mpp in (few, many)]
            found: list[tuple[float, float]] = []
            for number in range(options.rounds + 1):
                pair = load(few, options.load_seconds, idle[0]), load(many, options.load_seconds, idle[1])
                # The first one opens the connections.
                found += [pair] if number else []
            ratios = sorted(b / a for a, b in found)
            shown = f"{ratios[0]:.2f} / {statistics.median(ratios):.2f} / {ratios[-1]:.2f}"
            one, other = (statistics.median(each) for each in zip(*found, strict=True))
            rows.append([strategy, f"{one:.0f} us", f"{other:.0f} us", shown])
            print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
    return rows


@contextmanager
def mostly_down(down: int, page: int) -> Iterator[PinnedMpp]:
    """Run two healthy servers, and mpp in front of them and of others that refuse connections, all listed by a file."""
    with ExitStack() as stack:
        backends = Backends(2, page)
        stack.callback(backends.close)
        targets = [f"127.0.0.1:{port}" for port in backends.ports]
        # Nothing listens on port 9 (RFC 863) of these addresses of the loopback interface.
        targets += [f"127.9.{number // 250}.{number % 250 + 1}:9" for number in range(down)]
        listed = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "targets.json"
        listed.write_text(json.dumps([{"targets": targets}]))
        mpp = PinnedMpp([], "--file-sd", str(listed), interval=f"{INTERVAL_S:g}s")
        stack.callback(mpp.close)
        mpp.start()
        yield mpp


def down(options: argparse.Namespace) -> list[list[str]]:
    """Measure queries while most servers are down, from the first round on."""
    rows = []
    for count in options.down:
        with mostly_down(count, options.page) as mpp:
            wait_until(lambda mpp=mpp: mpp.metric("mpp_selected_backends") >= 1, "a server is selected")
            took, cpu, began = [], cpu_seconds(mpp.pid), time.monotonic()
            while time.monotonic() - began < options.seconds:
                asked = time.monotonic()
                status, _, _ = fetch(mpp.port, "/api/v1/query?query=up", timeout=60)
                assert status == 200, status
                took.append((time.monotonic() - asked) * 1000)
                time.sleep(0.01)
            share = (cpu_seconds(mpp.pid) - cpu) / (time.monotonic() - began)
            took.sort()
            rows.append([str(count), *(f"{took[int(part * (len(took) - 1))]:.0f} ms" for part in (0.5, 0.99, 1)), f"{share:.0%}"])
            print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0, help="that each state of the backends is watched")
    parser.add_argument("--page", type=int, default=150_000, help="bytes of each backend's /metrics")
    parser.add_argument("--rounds", type=int, default=5, help="of requests")
    parser.add_argument("--load-seconds", type=int, default=3, help="of each load")
    parser.add_argument(
        "--down", type=int, nargs="+", default=[200, 500, 1000], help="servers that refuse connections, beside two"
    )
    parser.add_argument("--only", choices=("rounds", "requests", "down"))
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.page)
        return
    print(
        f"{first_line(sys.executable, '-m', 'mpp', '--version')}, interval {INTERVAL_S:g} s, /metrics of {options.page} bytes\n"
    )
    parts: dict[str, Any] = {
        "rounds": (["backends", "share of a core", "round", "resident"], rounds),
        "requests": (["strategy", "CPU with 2", f"with {options.backends}", "ratio: min / median / max"], requests),
        "down": (["servers down", "query: median", "99 %", "slowest", "share of a core"], down),
    }
    for part, (heads, measure) in parts.items():
        if options.only in (None, part):
            print(table(heads, measure(options)), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
