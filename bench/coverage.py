"""What it costs to plan a request by what the servers lack, and to join a response. See README.rst."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mpp.core.coverage import WHOLE_POOL, Coverage, Job, Missing
from mpp.core.intervals import Intervals
from mpp.core.model import Backend, Choice, Observation, RequestInfo, Selection, Standing
from mpp.coverage.planning.planner import Planner
from mpp.promql.matrix import Matrix, joined
from mpp.promql.memory import QueryMemory
from mpp.proxy.decisions.rerouting import data_request, request_plan

A, B = (Backend("http", name, 9090) for name in "ab")
SELECTION = Selection(1, Choice((A,), (B,)), (Observation(A, Standing.VIABLE), Observation(B, Standing.VIABLE)))
END = 1_700_000_000
JOBS = {f"job{number}": Job(100, 30.0) for number in range(10)}
ROUNDS = 15


def coverage(holes: int, days: int = 1) -> Coverage:
    """Return what two servers lack: so many holes of ten minutes each (a minute if there are many), in turn, in the last days."""
    length = 600 if holes <= 10 else 60
    times = [(END - days * 86_000 + number * days * 80_000 // (2 * holes)) for number in range(2 * holes)]
    lost = {each: Intervals.of((start, start + length) for start in times[number::2]) for number, each in enumerate((A, B))}
    return Coverage(JOBS, {backend: Missing.of(whole, {}) for backend, whole in lost.items()})


def request(seconds: int, end: int = END, query: str = "sum+by+(job)+(rate(http_requests_total%5B5m%5D))") -> RequestInfo:
    """Return a range query over the last seconds, in 1,440 steps at most."""
    step = max(15, seconds // 1440)
    return RequestInfo(b"GET", f"/api/v1/query_range?query={query}&start={end - seconds}&end={end}&step={step}".encode(), ())


def microseconds(call: Callable[[], object], calls: int) -> float:
    """Return the median CPU time of one call over several rounds."""
    found = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(calls):
            call()
        found.append((time.thread_time() - began) / calls * 1e6)
    return statistics.median(found)


def response(series: int, points: int) -> bytes:
    """Return the response to a range query."""
    result = [
        {
            "metric": {"__name__": "up", "instance": f"h{number:04d}:9100", "job": "node"},
            "values": [[END + 15 * step, f"{number * step}.5"] for step in range(points)],
        }
        for number in range(series)
    ]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}, separators=(",", ":")).encode()


def longest_step(known: Coverage, info: RequestInfo) -> tuple[float, float]:
    """Return the longest step, and the sum of all steps, of what is worked out before a first plan; in milliseconds."""
    best = (float("inf"), 0.0)
    for _ in range(5):
        request = data_request(info, END)
        assert request is not None
        steps = Planner(QueryMemory()).preparation(request, known, [(A, B)])
        assert steps is not None
        took = []
        while True:
            began = time.thread_time()
            more = next(steps, False) is None
            took.append((time.thread_time() - began) * 1000)
            if not more:
                break
        best = min(best, (max(took), sum(took)))
    return best


def main() -> None:
    """Print the table."""
    planner = Planner(QueryMemory())

    def plan(known: Coverage, info: RequestInfo, with_planner: Planner = planner) -> object:
        return None if known.is_whole else request_plan(with_planner, known, SELECTION, info, A, END)

    day, hour = request(86_400), request(3600)
    print(f"no hole in the pool            {microseconds(lambda: plan(WHOLE_POOL, hour), 2000):8.2f} us")
    print(f"holes, none in reach           {microseconds(lambda: plan(coverage_of[1], hour), 500):8.2f} us")
    for holes in (1, 3, 10):
        known = coverage_of[holes]
        seen = microseconds(lambda known=known: plan(known, day), 20)
        first = microseconds(lambda known=known: plan(known, day, Planner(QueryMemory())), 3)
        print(f"{holes:2} holes of each in reach     {seen:8.0f} us, first time {first:.0f} us")
    for holes in (200, 2000):
        longest, all_steps = longest_step(coverage(holes, days=15), request(15 * 86_400))
        print(f"{holes:4} holes of each, first time  longest step {longest:.1f} ms, all steps {all_steps:.0f} ms")
    for series, points in ((20, 200), (120, 360), (1000, 40)):
        halves = response(series, points), response(series, points)
        size = sum(map(len, halves))
        took = microseconds(lambda halves=halves: list(joined([Matrix(body) for body in halves])), 3)
        print(f"join of {size / 1e6:5.2f} MB, {series:4} series  {took / 1000:8.2f} ms")


coverage_of = {holes: coverage(holes) for holes in (1, 3, 10)}

if __name__ == "__main__":
    main()
