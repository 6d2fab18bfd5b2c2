"""Servers that answer the queries of the look back, by what they are said to have scraped."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from attrs import define, field
from twisted.internet.defer import Deferred, succeed

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.model import Backend
from mpp.core.prometheus.runtimeinfo import ProbeOutcome, ProbeResponse

INTERVAL_S = 15.0
CHECKSUM = b'{"status": "error", "error": "expanding series: checksum mismatch expected:1, actual:2"}'
_RANGE = re.compile(r"\[(\d+)ms\]")
_JOBS = re.compile(r'job=~"([^"]*)"')
_INSTANCES = re.compile(r'instance=~"([^"]*)"')


@define
class Prometheus:
    """
    A server.

    :ivar jobs: the number of its targets by job.
    :ivar holes: what it did not scrape: start, end, the job or None for all, and how many targets of it.
    :ivar oldest: it has no data before this time.
    :ivar intervals: the scrape intervals of its jobs, in seconds, where they are not `INTERVAL_S`.
    :ivar cut_off: the start and the end of times in which it had ``up`` as 0.
    :ivar removed: the same of times for which its targets were removed from its configuration, which it has marked.
    :ivar damaged: the start and the end of what it cannot read.
    :ivar answer: the answer to all queries, if it is not data.
    """

    jobs: Mapping[str, int]
    holes: list[tuple[float, float, str | None, int]] = field(factory=list)
    oldest: float = 0.0
    phase: float = 0.0
    intervals: Mapping[str, float] = field(factory=dict)
    cut_off: list[tuple[float, float]] = field(factory=list)
    removed: list[tuple[float, float]] = field(factory=list)
    damaged: tuple[float, float] | None = None
    answer: ProbeOutcome | None = None

    def samples(self, job: str, number: int, start: float, end: float) -> int:
        """Return how many samples of a target it has after ``start`` and until ``end``."""
        interval = self.intervals.get(job, INTERVAL_S)
        phase = (self.phase + number * 3.7) % interval
        lacking = [(-math.inf, self.oldest)]
        lacking += [(since, until) for since, until, of, count in self.holes if of in (None, job) and number < count]
        lacking += self.removed
        count = 0
        at = math.floor((start - phase) / interval) * interval + phase + interval
        if not any(since < end and until > start for since, until in lacking):
            return math.floor((end - phase) / interval) - math.floor((start - phase) / interval)
        while at <= end:
            count += not any(since <= at < until for since, until in lacking)
            at += interval
        return count


@define
class Histories:
    """
    The sender of the queries.

    :ivar asked: each query with its server.
    """

    servers: dict[Backend, Prometheus]
    asked: list[tuple[Backend, dict[str, str]]] = field(factory=list)
    late: list[Deferred[ProbeOutcome]] | None = None

    def ask_history(self, backend: Backend, path: str) -> Deferred[ProbeOutcome]:
        """Answer a query."""
        asked = {name: values[0] for name, values in parse_qs(path.partition("?")[2]).items()}
        self.asked.append((backend, asked))
        if self.late is not None:
            waiting: Deferred[ProbeOutcome] = Deferred()
            self.late.append(waiting)
            return waiting
        server = self.servers[backend]
        if server.answer is not None:
            return succeed(server.answer)
        if server.damaged is not None and "start" in asked:
            reads = float(asked["start"]) - float(asked["step"]), float(asked["end"])
            if reads[0] < server.damaged[1] and server.damaged[0] < reads[1]:
                return succeed(ProbeResponse(422, CHECKSUM))
        kind = _present if asked["query"].startswith("count") else _instances if "time" in asked else _sums
        result = kind(server, asked)
        return succeed(ProbeResponse(200, json.dumps({"status": "success", "data": {"result": result}}).encode()))

    def refuse(self, backend: Backend) -> None:
        """Have a server give no answer any more."""
        self.servers[backend].answer = UpstreamError(Phase.HEAD, Cause.TIMEOUT, "after 10 s")


def _jobs(server: Prometheus, query: str) -> list[str]:
    names = _JOBS.search(query)
    return [job for job in server.jobs if names is None or job in names[1].split("|")]


def _instances(server: Prometheus, asked: Mapping[str, str]) -> list[Any]:
    at, length = float(asked["time"]), _RANGE.search(asked["query"])
    within = 300.0 if length is None else int(length[1]) / 1000
    return [
        {"metric": {"job": job, "instance": f"{job}-{number}"}, "value": [at, "1"]}
        for job in _jobs(server, asked["query"])
        for number in [n for n in range(server.jobs[job]) if server.samples(job, n, at - within, at)][-2:]
    ]


def _present(server: Prometheus, asked: Mapping[str, str]) -> list[Any]:
    at = float(asked["time"])
    if any(start + INTERVAL_S < at <= end for start, end in server.removed):
        return []
    found = {job: sum(bool(server.samples(job, n, at - 300, at)) for n in range(count)) for job, count in server.jobs.items()}
    return [{"metric": {"job": job}, "value": [at, str(count)]} for job, count in found.items() if count]


def _sums(server: Prometheus, asked: Mapping[str, str]) -> list[Any]:
    length = _RANGE.search(asked["query"])
    names = _INSTANCES.search(asked["query"])
    assert length is not None
    window = int(length[1]) / 1000
    result = []
    for job in _jobs(server, asked["query"]):
        targets = [n for n in range(server.jobs[job]) if names is None or f"{job}-{n}" in names[1].split("|")]
        values = []
        for end in range(int(asked["start"]), int(asked["end"]) + 1, int(asked["step"])):
            total = sum(server.samples(job, number, end - window, end) for number in targets)
            if total and any(start < end <= until for start, until in server.cut_off):
                values.append([end, "0"])
            elif total:
                values.append([end, str(total)])
        if values:
            result.append({"metric": {"job": job}, "values": values})
    return result
