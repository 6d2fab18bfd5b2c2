"""
Measures what the look back costs real servers: their CPU time while mpp compares their histories, beside the time that they need
for scraping alone.

``python -m tests.integration.long.look_back [--targets 10 100 1000] [--days 15 3 1]``

Each pair has a hole of ten minutes on one server. For each number of targets it prints the length of the history, how long the
look back took, and the CPU time per server, also extrapolated to 15 days, as if there were as many holes on each day. It fails if
that is above one second, or if another hole is found.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from tests.integration.histories import INTERVAL_S, Lost, WithHistory
from tests.integration.processes import Mpp, fetch, wait_until
from tests.integration.servers import require_binary
from tests.integration.targets import Targets

DAY = 86400
BASE_S = 30.0
"""Seconds for which the servers are watched without mpp."""
MOST_S = 600.0


def cpu_seconds(server: WithHistory) -> float:
    """Return the CPU time that a server has used."""
    page = fetch(server.port, "/metrics")[2].decode()
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith("process_cpu_seconds_total "))


def backends(mpp: Mpp) -> list[Any]:
    """Return what the status page says of the servers."""
    found: list[Any] = json.loads(fetch(mpp.port, "/mpp/status?format=json", timeout=60)[2])["backends"]
    return found


def measure(targets: Targets, count: int, days: float) -> bool:
    """Measure one pair, print the figures, and return whether they are as they should be."""
    instances = [f"127.0.{1 + number // 200}.{1 + number % 200}:{targets.port}" for number in range(count)]
    jobs = {f"job{place}": instances[place::5] for place in range(5)}
    now = int(time.time()) // INTERVAL_S * INTERVAL_S
    start, lost = now - int(days * DAY), Lost(now - int(days * DAY / 2), now - int(days * DAY / 2) + 600)
    servers = [
        WithHistory(require_binary(), jobs, name=name, start=start, end=now, lost=[lost] if name == "a" else [], phase=phase)
        for name, phase in (("a", 0), ("b", 6))
    ]
    mpp = Mpp([server.url for server in servers], interval="2s")
    try:
        for server in servers:
            server.start(wait=False)
        for server in servers:
            server.wait_ready()
        time.sleep(4 * INTERVAL_S)
        before = [cpu_seconds(server) for server in servers]
        time.sleep(BASE_S)
        scraping = [(cpu_seconds(server) - then) / BASE_S for server, then in zip(servers, before, strict=True)]
        before, began = [cpu_seconds(server) for server in servers], time.monotonic()
        mpp.start()
        wait_until(lambda: all(each["looked_back"]["finished"] for each in backends(mpp)), "all is compared", MOST_S, 0.5)
        took = time.monotonic() - began
        cost = [
            cpu_seconds(server) - then - rate * (time.monotonic() - began)
            for server, then, rate in zip(servers, before, scraping, strict=True)
        ]
        holes = [(each["missing"][0]["start"] - lost.start, len(each["missing"])) for each in backends(mpp) if each["missing"]]
    finally:
        mpp.close()
        for server in servers:
            server.close()
    whole = max(cost) / days * 15
    print(
        f"{count:>5} targets, {days:g} days: {took:.1f} s, {cost[0]:.3f} and {cost[1]:.3f} s of CPU beside scraping "
        f"({scraping[0]:.3f} per second); for 15 days {whole:.2f} s; holes on {len(holes)} server(s), {holes}",
        flush=True,
    )
    return whole < 1.0 and len(holes) == 1 and abs(holes[0][0]) <= 2 * INTERVAL_S


def main() -> int:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--targets", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--days", type=float, nargs="+", default=[15, 3, 1])
    chosen = parser.parse_args()
    targets = Targets()
    try:
        good = [measure(targets, count, days) for count, days in zip(chosen.targets, chosen.days, strict=True)]
    finally:
        targets.close()
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
