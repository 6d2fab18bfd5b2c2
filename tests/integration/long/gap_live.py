"""
What happens to a pair while mpp is in front of it, and afterwards: is the past whole?

``python -m tests.integration.long.gap_live [--case NAME ...] [--strategy random]``

A third server, which mpp does not know, is never touched. Clients ask for graphs all the time, as dashboards do, and at the end
each query is compared with what the third has: no step and no series that it has may be missing, each value must be one that
one of the two servers gives, and no answer may have a warning. The cases "deployment" and "common" look at the gaps on the status
page instead.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.integration.clients import Ask, Load
from tests.integration.long.answers import EitherComparison, ask
from tests.integration.long.lack_cases import World
from tests.integration.long.newest import INTERVAL, Shifted, file_sd
from tests.integration.long.query_sets import Request
from tests.integration.processes import Mpp, fetch, wait_until
from tests.integration.targets import Scraper

QUERIES = (
    "up",
    "count(up == 1)",
    "sum by (job) (up)",
    "metric",
    "sum by (job) (max_over_time(up[{w}s]))",
    "sum(count_over_time(metric[{w}s])) > bool 0",
    "max_over_time(sum(up)[20s:2s])",
)
TARGETS = 40
AWAY_S, BETWEEN_S = 20.0, 30.0

Case = Callable[["LiveSite"], str]


class LiveSite:
    """A pair, a third server, and mpp in front of the pair."""

    def __init__(self, strategy: str) -> None:
        self.world = World([strategy], TARGETS)
        self.strategy = strategy
        self.servers: list[Scraper] = []
        self.began = 0.0
        self.urls: list[str] = []

    @property
    def mpp(self) -> Mpp:
        """The mpp under test."""
        return self.world.site.mpps[self.strategy]

    def begin(self, *, clock: float = 0.0) -> tuple[Scraper, Scraper]:
        """
        Start the servers, and mpp some intervals later.

        :param clock: how many seconds the second server's clock is ahead.
        """
        self.servers = self.world.servers("a", "b", "third")
        for server in self.servers:
            server.start(wait=False)
        for server in self.servers:
            server.wait_ready()
            server.wait_scraped(TARGETS)
        self.began = time.time() + 2 * INTERVAL
        self.urls = [server.url for server in self.servers]
        if clock:
            shim = Shifted(self.servers[1].port, clock)
            self.world.shims.append(shim)
            self.urls[1] = f"http://127.0.0.1:{shim.port}"
        time.sleep(4 * INTERVAL)
        self.world.front(self.servers[:2]) if not clock else self.world.site.front(self.world.strategies, self.urls[:2])
        time.sleep(INTERVAL)
        return self.servers[0], self.servers[1]

    def load(self) -> Load:
        """Begin to ask for graphs up to now, and at now, by four clients."""
        paths = [
            "/api/v1/query_range?" + urlencode({"query": query, "start": self.began, "end": self.began + 600, "step": 2})
            for query in ("count(up == 1)", "sum by (job) (up)")
        ]
        return Load(
            self.mpp.port,
            clients=4,
            asks=[Ask(path) for path in (*paths, "/api/v1/query?query=count(up)")],
            at_most=300,
            pause=0.05,
        )

    def requests(self, end: float) -> Iterator[Request]:
        """Yield graphs of all the time, with steps below and above the interval, and instants in it."""
        for query in QUERIES:
            text = query.format(w=int(3 * INTERVAL))
            for step in (1, 2, 7, 30):
                times = {"start": f"{self.began:.3f}", "end": f"{end:.3f}", "step": step}
                yield Request("/api/v1/query_range", urlencode({"query": text, **times}))
            at = self.began
            while at < end:
                yield Request("/api/v1/query", urlencode({"query": text, "time": f"{at:.3f}"}))
                at += 9.7

    def judge(self, end: float) -> str:
        """Compare the answers of mpp with those of the third server; say what is wrong."""
        ports = [int(url.rpartition(":")[2]) for url in self.urls]
        found = {"mpp": EitherComparison(), "a": EitherComparison(), "b": EitherComparison()}
        for request in self.requests(end):
            bodies = [ask(port, request)[2] for port in ports]
            asked = {"mpp": self.mpp.port, "a": ports[0], "b": ports[1]}
            for name, comparison in found.items():
                comparison.add(request, bodies[2], bodies[:2], ask(asked[name], request)[2])
        for name, comparison in found.items():
            print(f"    {name:4} {comparison}", flush=True)
            for example in comparison.examples[:2] if name == "mpp" else ():
                print(f"        {example[:400]}")
        own = found["mpp"]
        if own.missing:
            return "steps are missing"
        if own.foreign:
            return "values of no server"
        return "warnings" if own.warned else ""

    def holes(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what the servers are said to lack."""
        return [(each["name"], hole) for each in self.status()["backends"] for hole in each["missing"]]

    def status(self) -> dict[str, Any]:
        """Return the document of the status page."""
        return dict(json.loads(fetch(self.mpp.port, "/mpp/status?format=json")[2]))

    def close(self) -> None:
        """End everything."""
        self.world.close()


def rolling(site: LiveSite) -> str:
    """Each server is killed, away for 20 s, and started again, 30 s between."""
    pair = site.begin()
    load = site.load().start()
    time.sleep(10)
    for server in pair:
        server.kill()
        time.sleep(AWAY_S)
        server.start()
        time.sleep(BETWEEN_S)
    tally = load.stop()
    print(f"    load: {tally}")
    return site.judge(time.time() - 3 * INTERVAL) or (f"{len(tally.failures)} failed" if tally.failures else "")


def damaged(site: LiveSite) -> str:
    """A server is killed, and its write-ahead log is damaged in the middle: it loses what came after, which it had before."""
    server, _ = site.begin()
    time.sleep(60)
    server.kill()
    segment = min(Path(server.folder, "data", "wal").glob("0*"))
    with open(segment, "r+b") as file:
        size = file.seek(0, 2)
        file.seek(size // 2)
        file.write(b"\xff" * 64)
    server.start()
    time.sleep(45)
    return site.judge(time.time() - 3 * INTERVAL)


def clocks(site: LiveSite) -> str:
    """Clocks 3 s apart; the first server is killed for 20 s."""
    server, _ = site.begin(clock=3.0)
    time.sleep(20)
    server.kill()
    time.sleep(AWAY_S)
    server.start()
    time.sleep(40)
    return site.judge(time.time() - 3 * INTERVAL - 3)


def stopped(site: LiveSite) -> str:
    """One server stops scraping for 40 s, and later the other one."""
    pair = site.begin()
    time.sleep(10)
    for server in pair:
        server.change({})
        time.sleep(40)
        server.change(site.world.jobs)
        time.sleep(30)
    return site.judge(time.time() - 3 * INTERVAL)


def start_with_file_sd(servers: Sequence[Scraper], targets: Sequence[str]) -> None:
    """Start servers that read their targets from a file, and wait until they have scraped them."""
    for server in servers:
        path = file_sd(server, "targets.json", targets)
        job = {"job_name": "node", "file_sd_configs": [{"files": [str(path)], "refresh_interval": "1s"}]}
        (server.folder / "prometheus.yml").write_text(
            json.dumps({"global": {"scrape_interval": f"{INTERVAL:g}s"}, "scrape_configs": [job]})
        )
    # One that is started later lacks what the other one has scraped until then.
    for server in servers:
        server.start(wait=False)
    for server in servers:
        server.wait_ready()
        server.wait_scraped(TARGETS)


def deployment(site: LiveSite) -> str:
    """5 % of the targets are replaced each second, seen a second later by the other server: no hole may be found."""
    site.servers = servers = site.world.servers("a", "b")
    current = list(site.world.jobs["node"])
    start_with_file_sd(servers, current)
    started = time.time() + 3 * INTERVAL
    time.sleep(30)
    number = TARGETS

    def churn(seconds: float) -> None:
        nonlocal current, number
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            before, step = current, max(1, TARGETS // 20)
            current = [*current[step:], *(f"127.0.1.{(number + n) % 240 + 1}:{site.world.targets.port}" for n in range(step))]
            number += step
            file_sd(servers[0], "targets.json", current)
            file_sd(servers[1], "targets.json", before)
            time.sleep(1)

    churn(40)
    # What is there already is looked back at, the rest is seen by the survey.
    site.world.front(servers)
    churn(40)
    time.sleep(45)
    holes = [each for each in site.holes() if each[1]["end"] is None or each[1]["end"] > started]
    print(f"    {len(holes)} holes: {holes[:3]}")
    return "holes were found" if holes else ""


def common(site: LiveSite) -> str:
    """All targets are removed from both servers for 30 s, and later both are killed for 30 s: only the latter is a gap of all."""
    site.servers = servers = site.world.servers("a", "b")
    targets = list(site.world.jobs["node"])
    start_with_file_sd(servers, targets)
    time.sleep(20)
    for there in ([], targets):
        for server in servers:
            file_sd(server, "targets.json", there)
        time.sleep(30)
    killed = time.time()
    for server in servers:
        server.kill()
    time.sleep(30)
    for server in servers:
        server.start()
    for server in servers:
        server.wait_scraped(TARGETS)
    started = time.time()
    time.sleep(30)
    site.world.front(servers)
    wait_until(lambda: all(each["looked_back"]["finished"] for each in site.status()["backends"]), "it has compared", 120)
    found = site.status()["missing_on_all"]
    print(f"    killed at {killed:.0f}, scraped again at {started:.0f}: {found}")
    near = len(found) == 1 and abs(found[0]["start"] - killed) < 4 * INTERVAL and abs(found[0]["end"] - started) < 4 * INTERVAL
    return "" if near else "the gap of all servers was not found alone"


CASES: tuple[Case, ...] = (rolling, damaged, clocks, stopped, deployment, common)


def run(case: Case, strategy: str) -> bool:
    """Run one case; return whether all was as it must be."""
    print(f"{case.__name__}, {strategy}: {case.__doc__}", flush=True)
    site = LiveSite(strategy)
    try:
        wrong = case(site)
        if wrong:
            print(*(f"        {line[:200]}" for line in site.mpp.log().splitlines()[-20:]), sep="\n")
            print(f"        {site.holes()}")
    finally:
        site.close()
    print(f"    {wrong or 'well'}", flush=True)
    return not wrong


def main() -> int:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = {case.__name__: case for case in CASES}
    parser.add_argument("--case", action="append", choices=names, help="default: all")
    parser.add_argument("--strategy", default="random")
    options = parser.parse_args()
    well = [run(names[name], options.strategy) for name in options.case or names]
    print(f"{sum(well)} of {len(well)} cases are well")
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
