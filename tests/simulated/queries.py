"""
The evaluation of the small part of PromQL that a simulated Prometheus supports. Pure.

It supports numbers, ``1+1``, ``vector(1)``, ``time()``, ``up`` with or without a selector or a range, and ``count``, ``sum``,
``max`` and ``min`` of it. Any other name is a metric without samples.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

LOOKBACK = 300.0
"""Default of ``--query.lookback-delta``, in seconds."""
MAX_POINTS = 11_000
"""The largest number of points per series in a response of ``query_range``."""

_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_SUM = re.compile(rf"^({_NUMBER})(?:\s*\+\s*({_NUMBER}))?$")
_VECTOR = re.compile(rf"^vector\(\s*({_NUMBER})\s*\)$")
_SELECTOR = re.compile(r"^([a-zA-Z_:][\w:]*+)?\s*+(\{[^{}]*+\})?\s*+(?:\[(\w+)\])?$")
_AGGREGATE = re.compile(r"^(count|sum|max|min)\s*\((.*)\)$")
_MATCHER = re.compile(r'(?<!\w)(\w++)\s*+(=~|!=|=)\s*+"([^"]*+)"')
_DURATION = re.compile(r"(?:[0-9]+(?:ms|[smhdwy]))+")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}

Covers = Callable[[float], bool]
Parameters = Mapping[str, Sequence[str]]
Vector = list[tuple[dict[str, str], float]]


class BadQuery(Exception):
    """The error for an invalid query or parameter, with the message of Prometheus."""


def duration(text: str) -> float:
    """Return the seconds of a duration: ``30s``, ``1h30m``, ``250ms`` or a number of seconds."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not _DURATION.fullmatch(text):
        raise BadQuery(f'cannot parse "{text}" to a valid duration')
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"(?<![0-9])([0-9]++)(ms|[smhdwy])", text))


def moment(text: str) -> float:
    """Return the seconds since the epoch of a time, given as such a number or in RFC 3339."""
    try:
        return float(text) if re.fullmatch(r"-?\d+(\.\d*)?", text) else datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise BadQuery(f'invalid parameter "time": cannot parse "{text}" to a valid timestamp') from None


def identities(targets: Sequence[str]) -> list[dict[str, str]]:
    """Return the labels of each ``up`` series, without the name."""
    return [{"instance": target, "job": "prometheus"} for target in targets]


def instant(asked: Parameters, targets: Sequence[str], covers: Covers, now: float) -> dict[str, Any]:
    """Return the ``data`` of a response to ``/api/v1/query``."""
    at = moment(_one(asked, "time", repr(now)))
    query = _one(asked, "query", "").strip()
    found = _evaluate(query, targets, covers, at)
    if isinstance(found, float):
        return {"resultType": "scalar", "result": [_point_time(at), _number(found)]}
    selector = _SELECTOR.match(query)
    if selector is not None and selector[3]:
        span = duration(selector[3])
        times = [at - back for back in range(int(span) - 1, -1, -15) if covers(at - back)]
        values = [[_point_time(t), "1"] for t in times]
        return {"resultType": "matrix", "result": [{"metric": labels, "values": values} for labels, _ in found]}
    vector = [{"metric": labels, "value": [_point_time(at), _number(value)]} for labels, value in found]
    return {"resultType": "vector", "result": vector}


def ranged(asked: Parameters, targets: Sequence[str], covers: Covers, now: float) -> dict[str, Any]:
    """Return the ``data`` of a response to ``/api/v1/query_range``."""
    start, end = (moment(_one(asked, name, "")) for name in ("start", "end"))
    step = duration(_one(asked, "step", ""))
    if end < start:
        raise BadQuery('invalid parameter "end": end timestamp must not be before start time')
    if step <= 0:
        raise BadQuery(
            'invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer'
        )
    if (end - start) / step > MAX_POINTS:
        raise BadQuery(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
        )
    rows: dict[tuple[tuple[str, str], ...], list[list[Any]]] = {}
    for index in range(int((end - start) / step) + 1):
        at = start + index * step
        found = _evaluate(_one(asked, "query", "").strip(), targets, covers, at)
        for labels, value in [({}, found)] if isinstance(found, float) else found:
            rows.setdefault(tuple(labels.items()), []).append([_point_time(at), _number(value)])
    matrix = [{"metric": dict(labels), "values": values} for labels, values in rows.items()]
    return {"resultType": "matrix", "result": matrix}


def _evaluate(query: str, targets: Sequence[str], covers: Covers, at: float) -> float | Vector:
    if numbers := _SUM.match(query):
        return float(numbers[1]) + float(numbers[2] or 0)
    if query == "time()":
        return at
    if vector := _VECTOR.match(query):
        return [({}, float(vector[1]))]
    if aggregate := _AGGREGATE.match(query):
        inner = _evaluate(aggregate[2].strip(), targets, covers, at)
        if isinstance(inner, float):
            raise BadQuery(f'invalid parameter "query": 1:1: parse error: expected type instant vector in aggregation {query}')
        return [({}, float({"count": len(inner), "sum": len(inner)}.get(aggregate[1], 1)))] if inner else []
    selector = _SELECTOR.match(query)
    if not query or selector is None:
        raise BadQuery('invalid parameter "query": 1:1: parse error: no expression found in input')
    if (selector[1] or "up") != "up" or not covers(at):
        return []
    return [({"__name__": "up", **labels}, 1.0) for labels in identities(targets) if _matches(labels, selector[2] or "{}")]


def _matches(labels: Mapping[str, str], braces: str) -> bool:
    known = {"__name__": "up", **labels}
    for name, operator, wanted in _MATCHER.findall(braces[1:-1]):
        has = known.get(name, "")
        holds = re.fullmatch(wanted, has) is not None if operator == "=~" else has == wanted
        if holds == (operator == "!="):
            return False
    return True


def _one(asked: Parameters, name: str, default: str) -> str:
    return (list(asked.get(name, ())) or [default])[0]


def _point_time(at: float) -> float | int:
    rounded = round(at, 3)
    return int(rounded) if rounded == int(rounded) else rounded


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
