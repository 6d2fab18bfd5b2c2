"""What a pair with gaps at different times answers: mpp beside Thanos and promxy. See README.rst."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from bench.programs import first_line
from tests.integration.histories import METRICS, Lost, Metric, WithHistory
from tests.integration.long.answers import compared
from tests.integration.long.demo_metrics import DEMO
from tests.integration.long.query_sets import HOUR, Request, of_compliance, of_dashboards
from tests.integration.processes import Mpp, Process, fetch, free_port, wait_until
from tests.integration.servers import require_binary, version_of
from tests.integration.targets import Targets

FOUND_S = 180.0
"""Seconds until mpp has compared all of the histories."""
RANGES = ((60, 7.0, 1.0), (300, 11.0, 0.0), (15, 5.0, 3.0), (15, 6.2, 5.4), (120, 12.0, 4.0), (30, 2.5, 1.5))
INSTANTS = (5.9, 5.7, 3.9, 3.6, 1.98, 1.0)


class Sidecar(Process):
    """A Thanos sidecar of one server."""

    def __init__(self, binary: str, server: WithHistory) -> None:
        super().__init__("sidecar")
        self._binary, self._server, self.grpc = binary, server, free_port()

    def command(self) -> list[str]:
        """Return the command line."""
        where = [f"--http-address={self.address}", f"--grpc-address=127.0.0.1:{self.grpc}"]
        return [
            self._binary,
            "sidecar",
            *where,
            f"--prometheus.url={self._server.url}",
            f"--tsdb.path={self._server.folder}/data",
        ]

    def is_ready(self) -> bool:
        """Tell whether it is ready."""
        return fetch(self.port, "/-/ready")[0] == 200


class ThanosQuery(Process):
    """Thanos Query, with deduplication, in front of sidecars."""

    def __init__(self, binary: str, sidecars: Sequence[Sidecar]) -> None:
        super().__init__("thanos")
        self._binary, self._sidecars, self._grpc = binary, sidecars, free_port()

    def command(self) -> list[str]:
        """Return the command line."""
        where = [f"--http-address={self.address}", f"--grpc-address=127.0.0.1:{self._grpc}"]
        endpoints = [f"--endpoint=127.0.0.1:{each.grpc}" for each in self._sidecars]
        return [self._binary, "query", *where, *endpoints, "--query.replica-label=replica"]

    def is_ready(self) -> bool:
        """Tell whether it has found all sidecars."""
        stores = json.loads(fetch(self.port, "/api/v1/stores")[2])["data"]
        return len(stores.get("sidecar") or ()) == len(self._sidecars)


class Promxy(Process):
    """promxy, with one group of servers."""

    def __init__(self, binary: str, servers: Sequence[WithHistory], interval: int) -> None:
        super().__init__("promxy")
        self._binary = binary
        group = {
            "static_configs": [{"targets": [server.address for server in servers]}],
            "anti_affinity": f"{interval}s",
            "http_client": {"dial_timeout": "1s"},
        }
        (self.folder / "config.yaml").write_text(json.dumps({"promxy": {"server_groups": [group]}}))

    def command(self) -> list[str]:
        """Return the command line."""
        return [self._binary, f"--config={self.folder}/config.yaml", f"--bind-addr={self.address}"]

    def is_ready(self) -> bool:
        """Tell whether it answers."""
        return fetch(self.port, "/api/v1/query?query=1")[0] == 200


@contextlib.contextmanager
def scene(metrics: Sequence[Metric], interval: int, hours: int, phase: int) -> Iterator[tuple[dict[str, WithHistory], int]]:
    """Start a pair with holes of 24 and 30 minutes, and a server without any; return them, and when their histories end."""
    with contextlib.ExitStack() as stack:
        targets = Targets()
        stack.callback(targets.close)
        jobs = {"node": targets.addresses(10), "web": targets.addresses(3, first=20)}
        if metrics is DEMO:
            jobs = {"demo": targets.addresses(3)}
        end = int(time.time()) // interval * interval - 600
        at = end - hours * HOUR // 2
        lost = {"a": [Lost(at, at + 1440)], "b": [Lost(at + hours * HOUR // 4, at + hours * HOUR // 4 + 1800)], "whole": []}
        servers = {}
        for name, holes in lost.items():
            history = {"start": end - hours * HOUR, "end": end, "lost": holes, "interval": interval, "metrics": metrics}
            servers[name] = server = WithHistory(require_binary(), jobs, name=name, phase=phase if name == "b" else 0, **history)
            stack.callback(server.close)
            server.start()
        yield servers, end


@contextlib.contextmanager
def proxies(servers: dict[str, WithHistory], interval: int, options: argparse.Namespace) -> Iterator[dict[str, Process]]:
    """Start what is in front of the pair, by its title."""
    pair = [servers["a"], servers["b"]]
    with contextlib.ExitStack() as stack:

        def started(process: Process) -> Process:
            stack.callback(process.close)
            return process.start()

        mpp = Mpp([server.url for server in pair], interval="2s")
        found: dict[str, Process] = {"one of the two servers": pair[0], "mpp": started(mpp)}
        if options.thanos:
            sidecars = [Sidecar(options.thanos, server) for server in pair]
            for sidecar in sidecars:
                started(sidecar)
            found["Thanos Query"] = started(ThanosQuery(options.thanos, sidecars))
        if options.promxy:
            found["promxy"] = started(Promxy(options.promxy, pair, interval))

        def compared_all() -> bool:
            backends = json.loads(fetch(mpp.port, "/mpp/status?format=json")[2])["backends"]
            return all(each["looked_back"]["finished"] and each["missing"] for each in backends)

        wait_until(compared_all, "mpp has compared the histories", FOUND_S)
        yield found


def show(
    title: str, requests: Sequence[Request], servers: dict[str, WithHistory], found: dict[str, Process], *, explain: bool
) -> bool:
    """Print a row for each proxy; return whether the answers of mpp are right, or have a warning."""
    print(f"\n{title}\n", flush=True)
    well = True
    for name, process in found.items():
        began = time.monotonic()
        result = compared(requests, servers["whole"].port, process.port)
        print(f"{name:24} {result}; {time.monotonic() - began:.0f} s", flush=True)
        for example in result.examples if explain else ():
            print(f"    {example}")
        well = well and (name != "mpp" or not result.silent)
    return well


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--thanos", default="", help="the thanos command")
    parser.add_argument("--promxy", default="", help="the promxy command")
    parser.add_argument("--compliance", type=Path, help="promql/promql-test-queries.yml of prometheus/compliance")
    parser.add_argument("--phase", type=int, default=0, help="the second server has scraped so many seconds later (default: 0)")
    parser.add_argument("--explain", action="store_true", help="print some of the queries whose answers differ")
    parser.add_argument("--only-compliance", action="store_true", help="leave out the queries of dashboards")
    options = parser.parse_args()
    version = ".".join(map(str, version_of(require_binary())))
    print(f"{time.strftime('%Y-%m-%d')}, Prometheus {version}; {first_line(sys.executable, '-m', 'mpp', '--version')}")
    well = True
    if not options.only_compliance:
        with scene(METRICS, 15, 12, options.phase) as (servers, end), proxies(servers, 15, options) as found:
            requests = list(of_dashboards(end, RANGES, INSTANTS))
            well = show("queries of dashboards", requests, servers, found, explain=options.explain)
    if options.compliance:
        with scene(DEMO, 5, 6, options.phase) as (servers, end), proxies(servers, 5, options) as found:
            requests = list(of_compliance(options.compliance, end - 5 * HOUR, end - 0.6 * HOUR, 60))
            well = show("compliance queries", requests, servers, found, explain=options.explain) and well
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
