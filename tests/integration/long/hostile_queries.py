"""
Random queries, most of them no valid PromQL, for all that reads queries. ``python -m tests.integration.long.hostile_queries``;
takes a minute of CPU for each 50,000.

They are read in processes of their own, see `tests.promql_fuzz`. Prints the most CPU that each stage took for one query, of which
the best of some runs counts; ends with status 1 if a process crashed or hung, if one wrote to standard error, or if a stage took
more than 5 ms.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from attrs import define, field

from tests.promql_fuzz import MOST_S, in_process

AT_ONCE = 25_000
"""Queries for one process."""
PATIENCE_S = 1800.0
"""Time for one process."""


@define
class Totals:
    """The findings of all processes."""

    queries: int = 0
    crashes: int = 0
    hangs: int = 0
    talkative: int = 0
    worst: dict[str, dict[str, Any]] = field(factory=dict)

    def run(self, seed: int) -> None:
        """Run one process, and add its findings."""
        self.queries += AT_ONCE
        try:
            run = in_process(seed, AT_ONCE, PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.hangs += 1
            print(f"seed {seed}: hung", flush=True)
            return
        self.crashes += run.returncode != 0
        self.talkative += bool(run.stderr)
        if run.returncode or run.stderr:
            print(f"seed {seed}: status {run.returncode}, standard error: {run.stderr[-500:]}", flush=True)
            return
        for name, found in json.loads(run.stdout)["stages"].items():
            if name not in self.worst or found["ms"] > self.worst[name]["ms"]:
                self.worst[name] = {**found, "seed": seed}

    @property
    def slow(self) -> int:
        """The number of stages that took too long for any query."""
        return sum(each["ms"] > MOST_S * 1000 for each in self.worst.values())

    def __str__(self) -> str:
        ends = f"{self.crashes} crashes, {self.hangs} hangs, {self.talkative} wrote to stderr, {self.slow} stages above 5 ms"
        return f"{self.queries} queries: {ends}; " + ", ".join(f"{name} {each['ms']} ms" for name, each in self.worst.items())


def main() -> int:
    """Run the processes one after the other, and print the findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    totals = Totals()
    for number in range(-(-arguments.queries // AT_ONCE)):
        totals.run(arguments.seed + number)
        print(totals, flush=True)
    for name, each in totals.worst.items():
        print(f"{name}: {json.dumps(each)}")
    return 1 if totals.crashes or totals.hangs or totals.talkative or totals.slow else 0


if __name__ == "__main__":
    sys.exit(main())
