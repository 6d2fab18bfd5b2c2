"""
Random queries for all that reads queries, in a process of its own. ``python -m tests.promql_fuzz --seed 1 --queries 1000``.

What may go wrong ends the process or hangs it, so others start this and look at its end: it prints a line of JSON with what each
stage took at most. A stage is a function that takes the query and what it reads; add one to `stages`.
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mpp.promql.memory import QueryMemory
from mpp.promql.reader import read
from mpp.promql.reads import QueryReads
from mpp.promql.rules import RuleBook, RuleDefinition, RuleReading
from tests.promql_queries import Queries

ROOT = Path(__file__).parent.parent
MOST_S = 0.005
"""CPU that a stage may take for one query."""
LONGEST_S = 60.0
"""Time after which a query has hung."""
JOBS = frozenset(f"j{number}" for number in range(2000))

Stage = Callable[[str, QueryReads], object]


def stages() -> Mapping[str, Stage]:
    """Return what is done with each query, by name."""
    book = rules()
    memory = QueryMemory(book.recorded, 2**20)
    return {
        "read": lambda query, reads: read(query),
        "read with 2,000 rules": lambda query, reads: read(query, book.recorded),
        "memory": lambda query, reads: memory.read(query.encode("utf-8", "replace")),
        "job matchers": lambda query, reads: _matched(reads),
        "times": lambda query, reads: _placed(reads),
    }


def rules() -> RuleBook:
    """Return what 2,000 rules read, some of which read from each other."""
    recording = [
        RuleDefinition(f"r{number}", f'sum by (job) (rate(m{number}{{job="j{number}"}}[5m])) / r{number // 2}', 30.0)
        for number in range(1500)
    ]
    alerting = [RuleDefinition(f"a{number}", f"r{number} > 1", 30.0, True, 300.0) for number in range(500)]
    reading = RuleReading([*recording, *alerting])
    for _ in reading.steps():
        pass
    return reading.book()


def _matched(reads: QueryReads) -> None:
    for jobs in {part.jobs for part in (*reads.selectors, *reads.from_start, *reads.from_end)}:
        assert jobs.select(JOBS)
        jobs.names("j7")


def _placed(reads: QueryReads) -> None:
    placed = reads.within(1.7e9, 1.7e9 + 3600)
    reach = placed.reach(1.7e9, 1.7e9 + 3600, 300.0)
    for part in placed.selectors:
        start, end = part.looked_back_on(1.7e9, 300.0)
        assert reach is not None
        assert reach[0] <= start <= end <= reach[1]


def run(seed: int, queries: int) -> dict[str, dict[str, Any]]:
    """
    Give all stages so many queries.

    :return: by stage, the most CPU in milliseconds and the query that took it; a time above `MOST_S` is the least of three.
    """
    worst: dict[str, dict[str, Any]] = {}
    every = stages()
    refused = 0
    for number, query in enumerate(itertools.islice(Queries(seed), queries)):
        if number % 1000 == 0:
            faulthandler.dump_traceback_later(LONGEST_S, exit=True)
        reads = read(query)
        refused += bool(reads.refused)
        for name, stage in every.items():
            took = _took(stage, query, reads)
            if took > MOST_S:
                took = min(took, _took(stage, query, reads), _took(stage, query, reads))
            if took * 1000 > worst.get(name, {"ms": -1.0})["ms"]:
                worst[name] = {"ms": round(took * 1000, 3), "query": query[:200], "characters": len(query)}
    faulthandler.cancel_dump_traceback_later()
    return {**worst, "refused": {"share": round(refused / queries, 3)}}


def _took(stage: Stage, query: str, reads: QueryReads) -> float:
    begun = time.thread_time()
    stage(query, reads)
    return time.thread_time() - begun


def in_process(seed: int, queries: int, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run this in a process of its own; its standard error must remain empty."""
    command = [sys.executable, "-m", "tests.promql_fuzz", "--seed", str(seed), "--queries", str(queries)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--queries", type=int, default=1000)
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.seed, arguments.queries)))
