"""
Random queries for everything that reads queries. ``python -m tests.promql_fuzz --seed 1 --queries 1000``.

A failure may end the process or hang it. So a test runs this in a process of its own, by `in_process`, and looks at its end. It
prints one line of JSON: the most CPU that each stage took for one query. New stages behind the reader belong in `reads_stages`.
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
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote_plus

from attrs import define, field

from mpp.core.coverage import Coverage, Hole, Job, Missing
from mpp.core.intervals import Intervals
from mpp.core.model import Backend
from mpp.coverage.planning.plan import plan
from mpp.coverage.planning.steps import Steps
from mpp.promql.memory import QueryMemory
from mpp.promql.reader import read
from mpp.promql.reads import QueryReads
from mpp.promql.recorded import Rules
from mpp.promql.rules import RuleBook, RuleDefinition, RuleReading
from tests.lacks import lacks_of
from tests.promql_queries import Queries

ROOT = Path(__file__).parent.parent
MOST_S = 0.005
"""The most CPU that a stage may take for one query, in seconds of this thread."""
KEPT = 20
"""So many of the slowest queries of a stage are measured again."""
MOST_PRINTED = 2000
"""Characters of a query."""
LONGEST_S = 60.0
"""The time in which 1,000 queries must pass; then the process ends with a traceback."""
NOW = 1_700_000_000
RANGE_S = 86_400
STEP_S = 60
JOBS = frozenset(f"j{number}" for number in range(2000))
"""As many jobs as one pool may have; the queries name some of them."""

T = TypeVar("T")
ReadsStage = Callable[[QueryReads], object]


def reads_stages() -> Mapping[str, ReadsStage]:
    """Return by name what follows from the reads of a query; equal reads are given to it once."""
    pool = coverage()
    return {"job matchers": _matched, "times": _placed, "plan": lambda reads: _planned(reads, pool)}


def rules() -> RuleBook:
    """Return the reads of 2,000 rules, some of which read from each other."""
    recording = [
        RuleDefinition(f"r{number}", f'sum by (job) (rate(m{number}{{job="j{number}"}}[5m])) / r{number // 2}', 30.0)
        for number in range(1500)
    ]
    alerting = [RuleDefinition(f"a{number}", f"r{number} > 1", 30.0, True, 300.0) for number in range(500)]
    reading = RuleReading([*recording, *alerting])
    for _ in reading.steps():
        pass
    return reading.book()


def coverage() -> Coverage:
    """Return three servers of 2,000 jobs: each was down once and has lost some targets of one job for a while."""
    missing = {}
    for number, name in enumerate("abc"):
        first = NOW - RANGE_S + 7200 * number
        holes = {f"j{number + 1}": [Hole(first + 3600, first + 5400, 5, 20)]}
        missing[Backend("http", name, 9090)] = Missing.of(Intervals.of([(first, first + 600)]), holes)
    return Coverage({job: Job(20, 30.0) for job in JOBS}, missing)


def _matched(reads: QueryReads) -> None:
    for jobs in {part.jobs for part in (*reads.selectors, *reads.from_start, *reads.from_end)}:
        assert jobs.select(JOBS)
        jobs.names("j7")


def _placed(reads: QueryReads) -> None:
    placed = reads.within(NOW, NOW + 3600)
    reach = placed.reach(NOW, NOW + 3600, 300.0)
    for part in placed.selectors:
        start, end = part.looked_back_on(NOW, 300.0)
        assert reach is not None
        assert reach[0] <= start <= end <= reach[1]


def _planned(reads: QueryReads, pool: Coverage) -> None:
    """Plan a query that was not seen before, for one day; each step must be in one part."""
    steps = Steps.until((NOW - RANGE_S) * 1000, NOW * 1000, STEP_S * 1000)
    lacks = lacks_of(reads.within(NOW - RANGE_S, NOW).selectors, pool)
    parts = plan(lacks, steps, tuple(pool.missing), splice=not reads.whole).parts
    assert [part.first for part in parts] == [0, *(part.last + 1 for part in parts[:-1])]
    assert parts[-1].last == steps.count - 1
    assert len(parts) == 1 or not reads.whole


@define
class Stage:
    """
    What one stage took for the queries that it got so far.

    :ivar slowest: the slowest queries, each with the least CPU of three runs, how it is run again, and the query.
    """

    slowest: list[tuple[float, Callable[[], object], str]] = field(factory=list)

    def measure(self, query: str, call: Callable[[], T], again: Callable[[], object] | None = None) -> T:
        """
        Return the result of the stage for a query.

        :param again: does the same work another time, if ``call`` does not.
        """
        result, took = _timed(call)
        if len(self.slowest) < KEPT or took > self.slowest[-1][0]:
            run = again or call
            self.slowest.append((min(took, _least(run, 2)), run, query))
            self.slowest.sort(key=_time, reverse=True)
            del self.slowest[KEPT:]
        return result

    def worst(self) -> dict[str, Any]:
        """Return the slowest query: those that were kept run three more times, as something else may have slowed them down."""
        for place, (took, run, query) in enumerate(self.slowest):
            self.slowest[place] = (min(took, _least(run, 3)), run, query)
        took, _, query = max(self.slowest, key=_time)
        return {"ms": round(took * 1000, 3), "query": query[:MOST_PRINTED], "characters": len(query)}


def run(seed: int, queries: int) -> dict[str, Any]:
    """
    Pass a number of queries through all stages.

    :return: ``stages``: by name the most CPU in milliseconds, and the query that took it, see `Stage`. ``refused`` and
        ``different``: the share of queries that were not understood, and of queries that read what no other one reads.
    """
    by_reads = reads_stages()
    recorded = rules().recorded
    stages = {name: Stage() for name in ("read", "memory, 2,000 rules", *by_reads)}
    memory = QueryMemory(recorded, 2**20)
    seen: set[QueryReads] = set()
    refused = 0
    for number, query in enumerate(itertools.islice(Queries(seed), queries)):
        if number % 1000 == 0:
            faulthandler.dump_traceback_later(LONGEST_S, exit=True)
        reads = stages["read"].measure(query, partial(read, query))
        encoded = quote_plus(query, errors="replace").encode()
        again = partial(_without_memory, encoded, recorded)
        both = {reads, stages["memory, 2,000 rules"].measure(query, partial(memory.read, encoded), again)}
        refused += bool(reads.refused)
        for each in both - seen:
            for name, stage in by_reads.items():
                stages[name].measure(query, partial(stage, each))
        seen |= both
    faulthandler.cancel_dump_traceback_later()
    worst = {name: stage.worst() for name, stage in stages.items()}
    return {"stages": worst, "refused": refused / queries, "different": len(seen) / queries}


def _without_memory(encoded: bytes, recorded: Rules) -> QueryReads:
    return QueryMemory(recorded).read(encoded)


def _time(entry: tuple[float, Callable[[], object], str]) -> float:
    return entry[0]


def _least(call: Callable[[], object], runs: int) -> float:
    return min(_timed(call)[1] for _ in range(runs))


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    begun = time.thread_time()
    result = call()
    return result, time.thread_time() - begun


def in_process(seed: int, queries: int, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run this module in a process of its own, and return its end; standard error must be empty."""
    command = [sys.executable, "-m", "tests.promql_fuzz", "--seed", str(seed), "--queries", str(queries)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--queries", type=int, default=1000)
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.seed, arguments.queries)))
