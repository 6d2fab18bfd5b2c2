"""
Random queries, most of them no valid PromQL, for all that reads queries. ``python -m tests.integration.long.hostile_queries``;
takes a minute of CPU for each 70,000.

They are given to it in processes of their own, see `tests.promql_fuzz`. Prints the most CPU that each stage took for one query;
ends with status 1 if a process crashed or hung, if one wrote to standard error, or if a stage took more than 5 ms.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from tests.promql_fuzz import MOST_S, in_process

AT_ONCE = 25_000
"""Queries for one process."""
PATIENCE_S = 600.0
"""Time for one process."""


def main() -> int:
    """Run the processes one after the other, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    worst: dict[str, dict[str, Any]] = {}
    crashes = hangs = talkative = 0
    for number in range(-(-arguments.queries // AT_ONCE)):
        seed = arguments.seed + number
        try:
            run = in_process(seed, AT_ONCE, PATIENCE_S)
        except subprocess.TimeoutExpired:
            hangs += 1
            print(f"seed {seed}: hung", flush=True)
            continue
        crashes += run.returncode != 0
        talkative += bool(run.stderr)
        if run.returncode or run.stderr:
            print(f"seed {seed}: status {run.returncode}, standard error: {run.stderr[-500:]}", flush=True)
            continue
        for name, found in json.loads(run.stdout).items():
            if found.get("ms", 0.0) > worst.get(name, {"ms": 0.0}).get("ms", -1.0):
                worst[name] = {**found, "seed": seed}
        print(
            f"{(number + 1) * AT_ONCE} queries: " + ", ".join(f"{name} {each['ms']} ms" for name, each in worst.items()),
            flush=True,
        )
    for name, each in worst.items():
        print(f"{name}: {json.dumps(each)}")
    slow = sum(each["ms"] > MOST_S * 1000 for each in worst.values())
    print(f"{arguments.queries} queries: {crashes} crashes, {hangs} hangs, {talkative} wrote to stderr, {slow} stages above 5 ms")
    return 1 if crashes or hangs or talkative or slow else 0


if __name__ == "__main__":
    sys.exit(main())
