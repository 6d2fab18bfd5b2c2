"""
Parses the requests for data in Prometheus' API: the query or selectors, and the times. Pure; PromQL is not parsed.

Source: Prometheus documentation, "HTTP API", and ``web/api/v1/api.go``: points in time are Unix times, rounded to milliseconds,
or RFC 3339, cut to milliseconds; a step is a number of seconds or a duration, cut to milliseconds. Parameters are searched for as
bytes and decoded only where needed, because every request is parsed. A request that cannot be parsed is forwarded without regard
to which server has its data. So is one with a parameter that Go's ``url.ParseQuery`` drops, because of a raw semicolon or an
invalid escape: the server uses the next parameter of the same name. A query with a percent-encoded parameter name is not divided
among servers.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from enum import Enum
from urllib.parse import unquote_to_bytes

from attrs import frozen

from mpp.core.model import RequestInfo
from mpp.core.prometheus import query_timeout as timeouts

MOST_STEPS = 11_000
"""Maximum steps of a range query that mpp parses; Prometheus accepts one more."""
_MOST_SELECTORS = 64
_MOST_PARAMETERS = 2 * _MOST_SELECTORS
_LONGEST_TIME = 100
# Digits of a number of seconds that is within the time below.
_DIGITS = 11
_WHOLE = frozenset((b"stats", b"limit"))
_NO_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_UNIX = re.compile(rb"-?[0-9]{1,12}(?:\.[0-9]{0,9})?(?:e\+?[0-9]{1,2})?")
# No sample has a later time (the year 2286), or an earlier one than the same time before the epoch.
_END_MS = 10**13


class DataKind(Enum):
    """The kind of data that a path of the API returns."""

    INSTANT = "instant query"
    RANGE = "range query"
    EXEMPLARS = "exemplars"
    SERIES = "series"
    """Series, label names or values of labels."""


_KINDS = {
    b"query": DataKind.INSTANT,
    b"query_range": DataKind.RANGE,
    b"query_exemplars": DataKind.EXEMPLARS,
    b"series": DataKind.SERIES,
    b"labels": DataKind.SERIES,
}
_PATH = re.compile(rb"/api/v1/(?:(query(?:_range|_exemplars)?|series|labels)|label/[^/]+/values)$")


@frozen
class DataRequest:
    """
    The data that a request asks for.

    :ivar queries: the query, or the selectors, percent-encoded as they were sent; empty for all series.
    :ivar start: the first step of a query, or the start of the requested time, in milliseconds since the epoch.
    :ivar end: the end of the requested time (inclusive), likewise; the same as ``start`` for an instant query.
    :ivar step: milliseconds between two steps; 1 if there is one step.
    :ivar lookback: ``lookback_delta`` in seconds; None for the server's default.
    :ivar whole: why its steps must not be evaluated by different servers, in a few words; empty if they may be.
    """

    kind: DataKind
    queries: tuple[bytes, ...]
    start: int
    end: int
    step: int = 1
    lookback: float | None = None
    whole: str = ""


def kind_of(path: bytes) -> DataKind | None:
    """Return the kind of data that a path, behind any prefix, returns; None if it returns no data."""
    found = _PATH.search(path)
    return None if found is None else _KINDS.get(found[1], DataKind.SERIES)


def find(kind: DataKind, info: RequestInfo, now: float) -> DataRequest | None:
    """
    Return the data that a request asks for.

    None if that is not certain: the request is invalid, has no start, too many selectors or steps, or a parameter that the server
    may drop.

    :param kind: the kind of its path.
    :param now: seconds since the epoch, for a request without a time.
    """
    form = info.body if info.body and timeouts.is_form(info) else b""
    texts = (form, info.target.partition(b"?")[2])
    for text in texts:
        if text.find(b";") >= 0 or _NO_ESCAPE.search(text):
            return None
    if kind in (DataKind.INSTANT, DataKind.RANGE):
        return _query(kind, texts, round(now * 1000))
    values = _values(texts)
    # A request for names of all time is understood as one for what there is: some gap is always in it, and matters to no name.
    start, end = _time(values.get(b"start"), None), _time(values.get(b"end"), round(now * 1000))
    queries = _all(texts, b"query" if kind is DataKind.EXEMPLARS else b"match[]")
    if start is None or end is None or len(queries) > _MOST_SELECTORS:
        return None
    return DataRequest(kind, queries, start, end)


def _query(kind: DataKind, texts: tuple[bytes, bytes], now: int) -> DataRequest | None:
    values = _values(texts)
    query, delta = values.get(b"query"), values.get(b"lookback_delta")
    lookback = timeouts.seconds_of(delta) if delta else None
    if not query or (delta and lookback is None):
        return None
    whole = "" if _WHOLE.isdisjoint(values) else "it has a parameter that holds for the whole range"
    names = b"&".join(values)
    if names.find(b"%") >= 0 or names.find(b"+") >= 0:
        # A server decodes it, to another start or limit perhaps.
        whole = "the name of a parameter is encoded"
    if kind is DataKind.INSTANT:
        at = _time(values.get(b"time"), now)
        return None if at is None else DataRequest(kind, (query,), at, at, 1, lookback, whole)
    start, end, step = _time(values.get(b"start"), None), _time(values.get(b"end"), None), _step(values.get(b"step", b""))
    if start is None or end is None or end < start or step < 1 or (end - start) // step >= MOST_STEPS:
        return None
    return DataRequest(kind, (query,), start, end, step, lookback, whole)


def _step(value: bytes) -> int:
    """Return a step in milliseconds, 0 if it is invalid."""
    if value.isdigit() and len(value) < _DIGITS:
        return int(value) * 1000
    return timeouts.milliseconds_of(value[:_LONGEST_TIME]) or 0


def _values(texts: tuple[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the first value of each parameter, of the form or else of the query string (Go's Request.FormValue)."""
    found: dict[bytes, bytes] = {}
    for text in texts:
        for pair in text.split(b"&", _MOST_PARAMETERS) if text else ():
            name, _, value = pair.partition(b"=")
            found.setdefault(name, value)
    return found


def _position(text: bytes, name: bytes) -> tuple[int, int] | None:
    """Return the start and end of the first value of a parameter in a query string or form; None if it is missing."""
    name += b"="
    before = 0 if text.startswith(name) else text.find(b"&" + name) + 1
    if not before and not text.startswith(name):
        return None
    end = text.find(b"&", before)
    return before + len(name), len(text) if end < 0 else end


def _all(texts: tuple[bytes, bytes], name: bytes) -> tuple[bytes, ...]:
    """Return all values of a parameter that may be repeated, also if brackets in its name are percent-encoded."""
    names = (name + b"=", name.replace(b"[", b"%5B").replace(b"]", b"%5D") + b"=")
    # A request with very many selectors is not parsed anyway.
    pairs = (pair for text in texts for pair in text.split(b"&", _MOST_PARAMETERS))
    return tuple(pair.partition(b"=")[2] for pair in pairs if pair.startswith(names))


def _time(value: bytes | None, default: int | None) -> int | None:
    """Return a point in time in milliseconds; the default if it is missing, None if it is invalid."""
    if not value:
        return default
    if value.isdigit() and len(value) < _DIGITS:
        return int(value) * 1000
    if len(value) > _LONGEST_TIME:
        return None
    if b"%" in value or b"+" in value:
        value = unquote_to_bytes(value.replace(b"+", b" "))
    if _UNIX.fullmatch(value):
        fraction, whole = math.modf(float(value))
        return min(max(int(whole) * 1000 + math.floor(fraction * 1000 + 0.5), -_END_MS), _END_MS)
    try:
        moment = datetime.fromisoformat(value.decode("ascii", "replace"))
    except ValueError:
        return None
    return None if moment.tzinfo is None else math.floor(moment.timestamp() * 1000 + 1e-4)


def with_range(info: RequestInfo, start: int, end: int) -> RequestInfo:
    """
    Return a range query for another range of time.

    :param info: the range query, which `find` was able to parse.
    :param start: the new first step, in milliseconds since the epoch.
    :param end: the new end, likewise.
    """
    in_form = info.body if info.body and timeouts.is_form(info) else b""
    path, _, query = info.target.partition(b"?")
    for name, time in ((b"start", start), (b"end", end)):
        if _position(in_form, name) is not None:
            in_form = _with_value(in_form, name, _seconds(time))
        else:
            query = _with_value(query, name, _seconds(time))
    target, body = path + b"?" + query if query else path, in_form or info.body
    # Not with `_replace`, which takes several times as long.
    return RequestInfo(info.method, target, info.headers, body, *info[4:])


def _seconds(milliseconds: int) -> bytes:
    return b"%.3f" % (milliseconds / 1000)


def _with_value(text: bytes, name: bytes, value: bytes) -> bytes:
    position = _position(text, name)
    assert position is not None, "the parameter was found before"
    return text[: position[0]] + value + text[position[1] :]
