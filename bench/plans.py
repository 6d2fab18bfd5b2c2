"""The longest turns of the reactor while panels that read hundreds of gaps are planned, and what ran in them. See README.rst."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import turns
from bench.figures import table
from bench.turns import INSIDE, TimedMpp, read_all, run_all
from mpp.core.coverage import Coverage, Job, Missing
from mpp.core.intervals import Intervals
from mpp.core.model import Backend
from tests.integration.long.quick_server import Quick

GAPS = "BENCH_GAPS"
DAY_S = 86_400
DAYS = 15
GAP_S = 60
CLIENTS = 30
SMALLEST = 20_000
"""Bytes; an error has fewer, and a panel of 1,440 steps more."""
JOBS = {f"job{number}": Job(100, 30.0) for number in range(10)}
ONE = 'panel{{n="{}"}}'
FOUR = 'panel{{n="{0}"}} + rate(panel{{n="{0}"}}[5m]) + rate(panel{{n="{0}"}}[10m]) + panel{{n="{0}"}} offset 1h'
END = int(time.time()) // 3600 * 3600 - 3600


def coverage(backends: list[Backend], gaps: int, end: float) -> Coverage:
    """Return the coverage of servers of which each lacks a minute so many times in the last days, at different times."""
    apart = DAYS * DAY_S / gaps
    begin = end - DAYS * DAY_S
    return Coverage(
        JOBS,
        {
            backend: Missing.of(
                Intervals.of(
                    (begin + apart * (n + place / len(backends)), begin + apart * (n + place / len(backends)) + GAP_S)
                    for n in range(gaps)
                ),
                {},
            )
            for place, backend in enumerate(backends)
        },
    )


def inside() -> None:
    """Run mpp with a timed reactor, and with gaps that no look back has found."""
    from mpp.selection.service import SelectionService

    gaps, end = (int(each) for each in os.environ[GAPS].split())
    known: list[Any] = []

    def lacks(service: SelectionService) -> Any:
        backends = sorted(service.current.ranked, key=lambda each: each.id)
        if len(backends) < 2:
            return Coverage()
        if not known:
            known.append(coverage(backends, gaps, end))
        return known[0]

    with patch.object(SelectionService, "coverage", property(lacks, lambda *_: None), create=True):
        turns.inside()


class PlannedMpp(TimedMpp):
    """mpp with a timed reactor and with gaps."""

    def command(self) -> list[str]:
        """Return the command line."""
        ours = super().command()
        return [ours[0], str(Path(__file__).resolve()), *ours[2:]]


class Panels:
    """The requests of many clients at once."""

    def __init__(self, mpp: TimedMpp, gaps: int) -> None:
        self._mpp = mpp
        self._gaps = gaps
        self._number = 0
        self.rows: list[list[str]] = []
        self.long: list[tuple[str, dict[str, Any]]] = []

    def look(self, title: str, query: str, *, different: bool, hours: int, again: bool = False) -> None:
        """Ask at once, and note the turns until all responses have come."""
        step = max(15, hours * 3600 // 1440)
        end = END + (step if again else 0)
        if not again:
            self._number += CLIENTS
        targets = []
        for client in range(CLIENTS):
            text = query.format(self._number + (client if different else 0))
            # No two requests are equal, so that none waits for the response of another one.
            at = end - 0.001 * client
            values = {"query": text, "start": at - hours * 3600, "end": at, "step": step}
            targets.append(f"/api/v1/query_range?{urlencode(values)}")
        began = time.time()
        sizes: list[int] = []
        run_all(
            [
                threading.Thread(target=lambda each=each: sizes.append(read_all(self._mpp.port, each, gzip=False)[1]))
                for each in targets
            ]
        )
        assert len(sizes) == CLIENTS
        assert min(sizes) > SMALLEST, "an error instead of a panel"
        took = time.time() - began
        self._mpp.wait_quiet()
        found = sorted(self._mpp.turns(began, time.time()), key=lambda turn: -turn["cpu"])
        self.long += [(f"{self._gaps} gaps, {title}, {hours} h", turn) for turn in found if turn["cpu"] >= 0.010]
        longest = ", ".join(f"{turn['cpu'] * 1000:.1f}" for turn in found[:5])
        self.rows.append([str(self._gaps), title, str(hours), f"{took:.2f}", longest])
        print(" | ".join(self.rows[-1]), file=sys.stderr, flush=True)


def measure(gaps: int, *options: str) -> Panels:
    """Run the clients against servers with so many gaps each."""
    os.environ[GAPS] = f"{gaps} {END}"
    servers = [Quick(), Quick()]
    mpp = PlannedMpp([each.url for each in servers], *options, interval="30s")
    panels = Panels(mpp, gaps)
    try:
        for server in servers:
            server.start()
        mpp.start()
        mpp.wait_quiet()
        for hours in (24, DAYS * 24):
            panels.look(f"{CLIENTS} panels", ONE, different=True, hours=hours)
            panels.look("the same, a step later", ONE, different=True, hours=hours, again=True)
            panels.look(f"{CLIENTS} viewers of one panel", ONE, different=False, hours=hours)
            panels.look(f"{CLIENTS} panels of 4 selectors", FOUR, different=True, hours=hours)
            panels.look("the same, a step later", FOUR, different=True, hours=hours, again=True)
    finally:
        mpp.close()
        for server in servers:
            server.close()
    return panels


def main() -> int:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gaps", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--cache", action="store_true", help="with --cache-memory 64MiB")
    given = parser.parse_args()
    rows, long = [], []
    for gaps in given.gaps:
        panels = measure(gaps, *(("--cache-memory", "64MiB") if given.cache else ()))
        rows += panels.rows
        long += panels.long
    print(f"\n{CLIENTS} clients at once, {DAYS} days with gaps of a minute; CPU time of the reactor's thread\n")
    print(table(["gaps per server", "requests", "hours", "seconds", "longest turns, ms"], rows))
    print(f"\n{len(long)} turns above 10 ms")
    for title, turn in long[:40]:
        print(f"{turn['cpu'] * 1000:6.1f} ms, {title}")
        for stack, count in Counter(turn["stacks"]).most_common(4):
            print(f"          {count} x {stack}")
    return 1 if long else 0


if __name__ == "__main__":
    if sys.argv[1:2] == [INSIDE]:
        inside()
    else:
        sys.exit(main())
