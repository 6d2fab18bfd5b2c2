"""
A dashboard in the cache, and a hostile client that asks for a million different ranges: each panel of the dashboard stays there.

``python -m tests.integration.long.hostile_ranges [--requests 1000000] [--minutes 25] [--kinds queries,phases]``

Several processes ask on connections that they keep, each as fast as it is answered. A share of the requests is sent twice. The
dashboard is looked at in the middle, and at the end, when all its panels have to be hits. Ends with status 1 if one is not, if a
request failed, or if the cache or the process takes more memory than it may.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import get_context
from typing import Any
from urllib.parse import urlencode

from tests.integration.forks import die_with_parent
from tests.integration.long.many_asks import ask_all
from tests.integration.long.quick_server import Quick
from tests.integration.processes import Mpp, fetch, wait_until

MIB = 2**20
LIMIT = 64 * MIB
PANELS = 24
STEP_S = 15
STEPS = 1440
NICE = 10
AT_ONCE = 2_000
"""Requests of a process between two looks at the clock."""
WITHOUT = 20_000
"""Requests that show what mpp needs without a cache."""
MORE = 1.1
"""How many times the memory that it should take the process may take."""


class Hostile:
    """
    The requests of a hostile client, by their numbers.

    :param end: the time before which all ranges end.
    :param kinds: how requests differ from each other, see `KINDS`.
    :param twice: the share of the requests that is sent a second time.
    """

    def __init__(self, end: int, kinds: tuple[str, ...], twice: float) -> None:
        self._end = end
        self._kinds = tuple(KINDS[kind] for kind in kinds)
        self._every = round(1 / twice) if twice else 0

    def targets(self, first: int, last: int) -> Iterator[str]:
        """Yield the targets of some requests."""
        for number in range(first, last):
            kind = self._kinds[number % len(self._kinds)]
            target = range_query(**kind(self._end, number // len(self._kinds)))
            yield target
            if self._every and number % self._every == 0:
                yield target


def range_query(query: str, start: int, end: int, step: int) -> str:
    """Return the target of a range query."""
    return f"/api/v1/query_range?{urlencode({'query': query, 'start': start, 'end': end, 'step': step})}"


def _other_query(end: int, number: int) -> dict[str, Any]:
    return {"query": f'panel{{n="{number}"}}', "start": end - 12 * 60, "end": end, "step": 60}


def _other_phase(end: int, number: int) -> dict[str, Any]:
    start = end - 7200 - number % 3600
    return {"query": f'panel{{m="{number // 3600}"}}', "start": start, "end": start + 3600, "step": 3600}


def _other_step(end: int, number: int) -> dict[str, Any]:
    step = 1 + number % 900
    start = (end - 20 * step) // step * step
    return {"query": f'panel{{s="{number // 900}"}}', "start": start, "end": start + 12 * step, "step": step}


def _other_range(end: int, number: int) -> dict[str, Any]:
    start = end - (2 + number // 20) * 600
    return {"query": f'panel{{series="10",r="{number % 20}"}}', "start": start, "end": start + 585, "step": STEP_S}


def _range_of_a_panel(end: int, number: int) -> dict[str, Any]:
    start = end - STEP_S * STEPS - (2 + number // PANELS) * 600
    return {"query": panel_query(number % PANELS), "start": start, "end": start + 585, "step": STEP_S}


KINDS: Mapping[str, Callable[[int, int], dict[str, Any]]] = {
    "queries": _other_query,
    "phases": _other_phase,
    "steps": _other_step,
    "ranges": _other_range,
    "panels": _range_of_a_panel,
}


def panel_query(number: int) -> str:
    """Return the query of a panel of the dashboard."""
    return f'panel{{series="10",panel="{number}"}}'


class Dashboard:
    """The panels of an honest client."""

    def __init__(self, mpp: Mpp, end: int) -> None:
        self._mpp = mpp
        start = end - STEP_S * STEPS
        self._targets = [range_query(panel_query(number), start, end, STEP_S) for number in range(PANELS)]

    def uses(self) -> Counter[str]:
        """Look at all panels; return how the cache was used for them."""
        return Counter(self._use(target) for target in self._targets)

    def _use(self, target: str) -> str:
        status, fields, _ = fetch(self._mpp.port, target, headers={"Accept-Encoding": "gzip"}, timeout=60)
        return fields.get("mpp.cache", "").partition(";")[0] if status == 200 else f"status {status}"

    @property
    def is_cached(self) -> bool:
        """Whether all panels are hits."""
        return self.uses() == {"hit": PANELS}


def flood(port: int, asked: Hostile, numbers: range, options: argparse.Namespace, until: float) -> tuple[int, int]:
    """Let processes ask for all numbers, or until a time; return how many requests were answered, and how many were not."""
    context = get_context("spawn")
    share = -(-len(numbers) // options.processes)
    total = context.Array("q", 2)
    processes = [
        context.Process(
            target=_flood, args=(port, asked, numbers[at : at + share], options.connections, until, total), daemon=True
        )
        for at in range(0, len(numbers), share)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    answered, failed = total
    return answered, failed


def _flood(port: int, asked: Hostile, numbers: range, connections: int, until: float, total: Any) -> None:
    die_with_parent()
    os.nice(NICE)
    for at in range(numbers.start, numbers.stop, AT_ONCE):
        if time.monotonic() > until:
            return
        answered, failed = ask_all(port, asked.targets(at, min(at + AT_ONCE, numbers.stop)), connections)
        with total.get_lock():
            total[0] += answered
            total[1] += failed


def memory_without(server: Quick, asked: Hostile, options: argparse.Namespace) -> int:
    """Return the resident memory of mpp without a cache after many requests."""
    mpp = Mpp([server.url], interval="15s")
    try:
        mpp.start()
        flood(mpp.port, asked, range(WITHOUT), options, time.monotonic() + 120)
        return mpp.resident()
    finally:
        mpp.close()


def line(mpp: Mpp, title: str, uses: Counter[str]) -> tuple[float, int]:
    """Print a line of the table; return the bytes of the cache, and of the process."""
    used, resident = mpp.metric("mpp_cache_bytes"), mpp.resident()
    evicted, entries = mpp.metric("mpp_cache_evictions_total"), mpp.metric("mpp_cache_entries")
    shown = ", ".join(f"{count} {use}" for use, count in uses.items())
    print(f"{title:<28} {used / MIB:9.1f} {resident / MIB:12.1f} {entries:9.0f} {evicted:11.0f}   {shown}", flush=True)
    return used, resident


def arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=25.0, help="stop after so long (default: %(default)s)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="how ranges differ (default: %(default)s)")
    parser.add_argument("--twice", type=float, default=0.01, help="share of requests that are sent twice (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--connections", type=int, default=8, help="of each process")
    return parser.parse_args()


def main() -> int:
    """Run it, and print a table."""
    options = arguments()
    end = (int(time.time()) - 1800) // 3600 * 3600
    asked = Hostile(end, tuple(options.kinds.split(",")), options.twice)
    server = Quick()
    mpp = Mpp([server.url], "--cache-memory", f"{LIMIT}", interval="15s")
    try:
        server.start()
        without = memory_without(server, asked, options)
        mpp.start()
        dashboard = Dashboard(mpp, end)
        wait_until(lambda: dashboard.is_cached, "the dashboard is cached", every=1)
        print(f"without a cache mpp takes {without / MIB:.1f} MiB\n")
        print(f"{'':<28} {'cache MiB':>9} {'resident MiB':>12} {'entries':>9} {'evictions':>11}   panels of the dashboard")
        line(mpp, "before", dashboard.uses())
        began = time.monotonic()
        half = options.requests // 2
        first = flood(mpp.port, asked, range(half), options, began + 30 * options.minutes)
        used, resident = line(mpp, f"after {sum(first):,} requests", middle := dashboard.uses())
        second = flood(mpp.port, asked, range(half, options.requests), options, began + 60 * options.minutes)
        took = time.monotonic() - began
        used, resident = line(mpp, f"after {sum(first + second):,} requests", last := dashboard.uses())
    finally:
        mpp.close()
        server.close()
    failed = first[1] + second[1]
    print(f"\n{took / 60:.1f} minutes, {sum(first + second) / took:.0f} requests/s; {failed} failed")
    most = MORE * (LIMIT + without)
    print(f"the process takes {resident / MIB:.1f} MiB, {most / MIB:.1f} MiB at most are allowed")
    well = middle == last == {"hit": PANELS} and used <= LIMIT and resident <= most and not failed
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
