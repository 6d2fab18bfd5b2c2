"""
Measures what mpp costs real servers: their CPU time while it compares their histories, and for each survey of their newest data.

``python -m tests.integration.long.look_back [--pools 10x5 100x5 1000x5 1000x50 2000x2000] [--blocks 20] [--each]``

Each pool has two servers with so many targets in so many jobs, and one of them lacks ten minutes in the middle. For each pool it
prints how long the comparison took, the CPU time of each server beside the time for scraping alone, and the queries that the
servers have logged, each asked again alone to learn what it takes. It fails if a comparison takes a server more than a second, or
if another gap is found.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from attrs import define, frozen

from mpp.core.coverage import DEFAULT_WINDOW_S
from mpp.selection.probing.config_jobs import MAX_JOBS
from tests.integration.long.many_targets import ManyTargets
from tests.integration.long.moved_blocks import moved
from tests.integration.processes import Mpp, fetch, wait_until
from tests.integration.servers import promtool_of, require_binary
from tests.integration.targets import Scraper

DAY = 86400
INTERVAL_S = 15
BASE_S = 30.0
"""Seconds for which the servers are watched without mpp, and with it when all is compared."""
LOST_S = 600
BLOCK_S = 18 * 3600
"""The longest blocks that promtool makes; one is made, and copied to the other times."""
MOST_S = 900.0
MOST_CPU_S = 1.0
REPEATS = 5
PROBE = "vector(1)"
"""The query of mpp's health checks."""

Jobs = Mapping[str, Sequence[str]]


class WithBlocks(Scraper):
    """A real Prometheus that has the given blocks, and logs its queries."""

    def __init__(self, binary: str, jobs: Jobs, *, name: str, blocks: Sequence[Path]) -> None:
        super().__init__(binary, jobs, name=name, interval=INTERVAL_S)
        for block in blocks:
            shutil.copytree(block, self.folder / "data" / block.name)

    def write(self, jobs: Jobs, **how: Any) -> None:
        """See `Scraper`."""
        super().write(jobs, **how)
        path = self.folder / "prometheus.yml"
        written = json.loads(path.read_text())
        written["global"]["query_log_file"] = str(self.folder / "queries.log")
        path.write_text(json.dumps(written))

    @property
    def cpu(self) -> float:
        """The CPU time that it has used, in seconds."""
        return time.clock_gettime(~self.pid << 3 | 2)

    def queries(self) -> list[Query]:
        """Return the queries that it has logged."""
        logged = [json.loads(line) for line in (self.folder / "queries.log").read_text().splitlines()]
        return [
            Query(each["params"]["query"], each["params"]["start"], each["params"]["end"], each["params"]["step"])
            for each in logged
            if each["params"]["query"] != PROBE
        ]


@frozen
class Query:
    """A query in the log of a server; ``step`` is 0 for one at a point in time."""

    text: str
    start: str
    end: str
    step: int

    @property
    def kind(self) -> str:
        """What it is for."""
        if self.text.startswith("count_values"):
            return "survey"
        if not self.step:
            return "witnesses"
        return "sums of witnesses" if "instance=~" in self.text else "sums of all targets"

    @property
    def target(self) -> str:
        """The target of a request for it."""
        if not self.step:
            return "/api/v1/query?" + urlencode({"query": self.text, "time": self.start})
        times = {"start": self.start, "end": self.end, "step": self.step}
        return "/api/v1/query_range?" + urlencode({"query": self.text, **times})


def block_of(binary: str, jobs: Jobs, start: int, end: int, folder: Path) -> Path:
    """Make a block of the metric ``up`` by promtool, in which all targets are up."""
    lines = [f'up{{instance="{instance}",job="{job}"}} 1 ' for job, targets in jobs.items() for instance in targets]
    seed, made = folder / "seed.om", folder / str(start)
    with open(seed, "w") as written:
        written.write("# TYPE up gauge\n")
        for at in range(start, end, INTERVAL_S):
            written.write(f"{at}\n".join([*lines, ""]))
        written.write("# EOF\n")
    command = [promtool_of(binary), "tsdb", "create-blocks-from", "--max-block-duration=18h", "openmetrics", seed, made]
    subprocess.run([*map(str, command)], check=True, capture_output=True, timeout=1200, cwd="/")
    (block,) = made.iterdir()
    return block


@define
class Pair:
    """
    Two servers with the same history, but for ten minutes that the first one lacks; close it at the end.

    :ivar lost: the beginning of these.
    """

    servers: tuple[WithBlocks, WithBlocks]
    lost: int

    @classmethod
    def of(cls, jobs: Jobs, blocks: int) -> Pair:
        """Make the servers, with a history of so many blocks and what has passed since, and start them."""
        now = int(time.time()) // INTERVAL_S * INTERVAL_S
        last = now // BLOCK_S * BLOCK_S
        first = last - blocks * BLOCK_S
        cut = first + blocks // 2 * BLOCK_S
        lost = cut + BLOCK_S // 3
        binary = require_binary()
        with tempfile.TemporaryDirectory(prefix="mpp-test-history-") as name:
            folder = Path(name)
            whole = block_of(binary, jobs, first, first + BLOCK_S, folder)
            starts = range(first + BLOCK_S, last, BLOCK_S)
            copies = {start: moved(whole, start - first, number) for number, start in enumerate(starts)}
            newest = [block_of(binary, jobs, last, now, folder)] if now > last else []
            parts = [block_of(binary, jobs, start, end, folder) for start, end in ((cut, lost), (lost + LOST_S, cut + BLOCK_S))]
            rest = [block for start, block in copies.items() if start != cut]
            b = WithBlocks(binary, jobs, name="b", blocks=[whole, *copies.values(), *newest])
            a = WithBlocks(binary, jobs, name="a", blocks=[whole, *rest, *parts, *newest])
        for server in (a, b):
            server.start()
        return cls((a, b), lost)

    def cpu_while(self, act: Callable[[], object]) -> tuple[float, list[float]]:
        """Return how long an act took, and the CPU time of each server meanwhile."""
        before, began = [server.cpu for server in self.servers], time.monotonic()
        act()
        return time.monotonic() - began, [server.cpu - then for server, then in zip(self.servers, before, strict=True)]

    def close(self) -> None:
        """End the servers."""
        for server in self.servers:
            server.close()


def of_each_query(server: WithBlocks, queries: Sequence[Query], scraping: float, repeats: int = REPEATS) -> list[float]:
    """Return the CPU time that each query takes a server, in seconds; they are asked again one by one."""
    found = []
    for query in queries:
        before, began = server.cpu, time.monotonic()
        for _ in range(repeats):
            status, _, body = fetch(server.port, query.target, timeout=60)
            assert status == 200, body
        found.append(max(0.0, server.cpu - before - scraping * (time.monotonic() - began)) / repeats)
    return found


def print_queries(server: WithBlocks, queries: Sequence[Query], scraping: float, *, each: bool) -> float:
    """Print what the queries took by their kinds, and return what those of the look back took together."""
    costs = of_each_query(server, queries, scraping)
    kinds: dict[str, list[float]] = {}
    for query, cost in zip(queries, costs, strict=True):
        kinds.setdefault(query.kind, []).append(cost)
        if each:
            print(f"        {cost * 1000:8.2f} ms  {query.start} {query.end} {query.step}  {query.text[:120]}")
    for kind, those in kinds.items():
        print(f"    {kind}: {len(those)} queries, {1000 * sum(those) / len(those):.2f} ms each, {sum(those):.3f} s", flush=True)
    return sum(cost for query, cost in zip(queries, costs, strict=True) if query.kind != "survey")


def backends(mpp: Mpp) -> list[Any]:
    """Return what the status page says of the servers."""
    found: list[Any] = json.loads(fetch(mpp.port, "/mpp/status?format=json", timeout=60)[2])["backends"]
    return found


def measure(jobs: Jobs, blocks: int, *, each: bool) -> bool:
    """Measure one pool, print the figures, and return whether they are as they should be."""
    pair = Pair.of(jobs, blocks)
    mpp = Mpp([server.url for server in pair.servers], interval="10s")
    try:
        time.sleep(4 * INTERVAL_S)
        seconds, idle = pair.cpu_while(lambda: time.sleep(BASE_S))
        scraping = [cpu / seconds for cpu in idle]

        def compare() -> None:
            mpp.start()
            wait_until(lambda: all(one["looked_back"]["finished"] for one in backends(mpp)), "all is compared", MOST_S, 0.5)

        took, busy = pair.cpu_while(compare)
        compared = [cpu - rate * took for cpu, rate in zip(busy, scraping, strict=True)]
        holes = [[(gap["start"] - pair.lost, gap["end"] - pair.lost) for gap in one["missing"]] for one in backends(mpp)]
        seconds, idle = pair.cpu_while(lambda: time.sleep(BASE_S))
        beside = [cpu / seconds - rate for cpu, rate in zip(idle, scraping, strict=True)]
        mpp.kill()
        targets, days = sum(map(len, jobs.values())), blocks * BLOCK_S / DAY
        print(
            f"{targets} targets in {len(jobs)} jobs, {days:g} days: compared in {took:.1f} s, {compared[0]:.3f} and "
            f"{compared[1]:.3f} s of CPU beside scraping ({scraping[0]:.4f} per second), later {beside[0]:.4f} per second; "
            f"gaps {holes}",
            flush=True,
        )
        costs = [print_queries(one, one.queries(), rate, each=each) for one, rate in zip(pair.servers, scraping, strict=True)]
    finally:
        mpp.close()
        pair.close()
    print(f"    look back in all: {costs[0]:.3f} and {costs[1]:.3f} s", flush=True)
    exact = 2 * INTERVAL_S if len(jobs) <= MAX_JOBS else DEFAULT_WINDOW_S
    right = [len(each) for each in holes] == [1, 0] and abs(holes[0][0][0]) <= exact
    return right and max(costs) < MOST_CPU_S


def main() -> int:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--pools", nargs="+", default=["10x5", "100x5", "1000x5", "1000x50", "2000x2000"])
    parser.add_argument("--blocks", type=int, default=20, help="length of the history in blocks of 18 hours; default: 15 days")
    parser.add_argument("--each", action="store_true", help="print each query")
    chosen = parser.parse_args()
    targets = ManyTargets()
    good = []
    try:
        for pool in chosen.pools:
            count, _, jobs = pool.partition("x")
            addresses = targets.addresses(int(count))
            by_job = {f"job{place}": addresses[place :: int(jobs)] for place in range(int(jobs))}
            good.append(measure(by_job, chosen.blocks, each=chosen.each))
    finally:
        targets.close()
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
