"""Queries whose answers are compared: some that dashboards have, and the public PromQL compliance queries."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml
from attrs import frozen

HOUR = 3600
QUERIES = (
    "up",
    "requests_total",
    "rate(requests_total[5m])",
    "increase(requests_total[10m])",
    "irate(requests_total[1m])",
    "sum by (job) (rate(requests_total[2m]))",
    "avg_over_time(requests_total[30m])",
    "topk(2, requests_total)",
    "sort_desc(requests_total)",
    "max_over_time(sum(up)[10m:30s])",
    "min_over_time(rate(requests_total[5m])[20m:1m])",
    "requests_total offset 1h",
    "rate(requests_total[5m] offset 30m)",
    "sum(up) / count(up)",
    "count(up == 0) or vector(0)",
    "count_values('value', up)",
    "absent(up{job='node'})",
    "timestamp(up{job='web'})",
    "up == bool 1 unless on(instance) requests_total % 2 == 0",
    "quantile_over_time(0.5, requests_total[7m])",
)

# The values of the templates in ``promql/testcases/expand.go`` of prometheus/compliance.
_COMPARISONS = ("==", "!=", "<", ">", "<=", ">=")
_ARITHMETIC = ("+", "-", "*", "/", "%", "^")
_VARIANTS = {
    "range": ("1s", "15s", "1m", "5m", "15m", "1h"),
    "offset": ("1m", "5m", "10m"),
    "simpleAggrOp": ("sum", "avg", "max", "min", "count", "stddev", "stdvar"),
    "simpleTimeAggrOp": ("sum", "avg", "max", "min", "count", "stddev", "stdvar", "absent", "last"),
    "topBottomOp": ("topk", "bottomk"),
    "quantile": ("-0.5", "0.1", "0.5", "0.75", "0.95", "0.90", "0.99", "1", "1.5"),
    "arithBinOp": _ARITHMETIC,
    "compBinOp": _COMPARISONS,
    "binOp": (*_ARITHMETIC, *_COMPARISONS),
    "simpleMathFunc": ("abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "round"),
    "extrapolatedRateFunc": ("delta", "rate", "increase"),
    "clampFunc": ("clamp_min", "clamp_max"),
    "instantRateFunc": ("idelta", "irate"),
    "dateFunc": ("day_of_month", "day_of_week", "days_in_month", "hour", "minute", "month", "year"),
}


@frozen
class Request:
    """
    A request of the query API.

    :ivar post: whether the parameters are sent in the body.
    """

    path: str
    parameters: str
    post: bool = False


def of_dashboards(
    end: int, ranges: Sequence[tuple[int, float, float]], instants: Sequence[float], queries: Sequence[str] = QUERIES
) -> Iterator[Request]:
    """
    Yield each query over each range and at each instant, by GET and by POST.

    :param end: all times are hours before this one, seconds since the epoch.
    :param ranges: the step in seconds, and the hours of the start and the end.
    """
    for query in queries:
        asked = [
            Request(
                "/api/v1/query_range", urlencode({"query": query, "start": end - a * HOUR, "end": end - b * HOUR, "step": step})
            )
            for step, a, b in ranges
        ]
        asked += [Request("/api/v1/query", urlencode({"query": query, "time": end - hours * HOUR})) for hours in instants]
        for each in asked:
            yield each
            yield Request(each.path, each.parameters, post=True)


def of_compliance(file: Path, start: float, end: float, step: float) -> Iterator[Request]:
    """
    Yield each compliance query, with each value of its templates, over a range and at its middle.

    :param file: ``promql/promql-test-queries.yml`` of prometheus/compliance.
    """
    cases: list[dict[str, Any]] = yaml.safe_load(file.read_text())["test_cases"]
    for case in cases:
        names = case.get("variant_args", [])
        for values in itertools.product(*(_VARIANTS[name] for name in names)):
            query = case["query"]
            for name, value in zip(names, values, strict=True):
                query = query.replace("{{." + name + "}}", value)
            yield Request("/api/v1/query_range", urlencode({"query": query, "start": start, "end": end, "step": step}))
            yield Request("/api/v1/query", urlencode({"query": query, "time": (start + end) / 2}))
