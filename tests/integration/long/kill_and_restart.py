"""
Kills and restarts both of two real servers under load, with each strategy; no request may fail.

``python -m tests.integration.long.kill_and_restart [--seconds 60] [--clients 16] [--kills 3] [--strategy NAME ...]``
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time

from tests.integration.clients import Load, Tally
from tests.integration.processes import Mpp
from tests.integration.servers import pair, require_binary, version_of

HISTORY = 10 * 3600
STRATEGIES = ("single-most-data", "random", "minimum-history:5h")
AWAY = 0.4
"""Share of each kill's time that the server is away."""


def run(strategy: str, seconds: float, clients: int, kills: int, affinity: str) -> tuple[Tally, Mpp, str]:
    """Put load on mpp for some seconds, and kill each server so many times meanwhile; give what happened."""
    servers = pair(require_binary(), history=HISTORY)
    mpp = Mpp([server.url for server in servers], "--routing-strategy", strategy, "--affinity-options", affinity, interval="2s")
    try:
        mpp.start()
        each = seconds / (2 * kills)
        with Load(mpp.port, clients=clients, at_most=seconds + 30) as load:
            for _, victim in itertools.product(range(kills), servers):
                time.sleep(each * (1 - AWAY) / 2)
                victim.kill()
                time.sleep(each * AWAY)
                victim.start(wait=False)
                time.sleep(each * (1 - AWAY) / 2)
            tally = load.stop()
        retries: dict[str, int] = {}
        for name, labels, value in mpp.samples():
            if name == "mpp_retries_total":
                retries[labels["reason"]] = retries.get(labels["reason"], 0) + int(value)
        shown = ", ".join(f"{reason} {count}" for reason, count in sorted(retries.items()))
        return tally, mpp, shown
    finally:
        mpp.close()
        for server in servers:
            server.close()


def main() -> int:
    """Run all strategies, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--kills", type=int, default=3, help="how often each of the two is killed")
    parser.add_argument("--strategy", action="append", help="default: all three")
    parser.add_argument("--affinity", default="cookies")
    options = parser.parse_args()
    version = ".".join(str(part) for part in version_of(require_binary()))
    print(f"Two Prometheus {version}, {options.clients} clients in a closed loop for {options.seconds:g} s,")
    print(f"each server killed with SIGKILL and restarted {options.kills} times\n")
    print(f"{'strategy':22} {'requests':>9} {'failed':>7} {'median':>8} {'99 %':>8} {'slowest':>8}  retries by reason")
    failed = 0
    for strategy in options.strategy or STRATEGIES:
        tally, _, retries = run(strategy, options.seconds, options.clients, options.kills, options.affinity)
        failed += len(tally.failures)
        times = [f"{value * 1000:.1f}" for value in (tally.quantile(0.5), tally.quantile(0.99), tally.slowest())]
        counts = f"{tally.requests:9} {len(tally.failures):7}"
        print(f"{strategy:22} {counts} {times[0]:>8} {times[1]:>8} {times[2]:>8}  {retries or '-'}", flush=True)
        for failure in tally.failures[:5]:
            print(f"    {failure}")
    print("\ntimes in milliseconds")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
