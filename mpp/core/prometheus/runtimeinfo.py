"""
Parses the responses to probes in which Prometheus describes itself: start time, retention, clock, query slots, and the replay of
its WAL. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from mpp.core.errors import UpstreamError
from mpp.core.facts import Replay
from mpp.core.model import Backend, Headers
from mpp.core.prometheus.durations import seconds
from mpp.core.prometheus.responses import one_line
from mpp.core.text import bounds

# Far longer than "15d or 10GB".
_MAX_RETENTION = 200

# The maximum difference of the start times from two sources, in seconds (process start, and web server start a little later).
_SAME_START_S = 10.0

# No server runs a million queries at once: longer numbers are invalid.
_SLOTS = re.compile(r"[1-9][0-9]{0,5}")


@frozen
class ProbeResponse:
    """
    The response to one request of a probe, with the requested part of its body.

    :ivar at: the time when it was written, by the clock of mpp; 0 if not known.
    :ivar took: seconds from the sending of the request until the response was complete.
    """

    status: int
    body: bytes = b""
    headers: Headers = ()
    at: float = 0.0
    took: float = 0.0


ProbeOutcome = ProbeResponse | UpstreamError
"""The outcome of one request of a probe; a timeout is an UpstreamError too."""

Ask = Callable[[Backend, str], Deferred[ProbeOutcome]]
"""
A function that requests a path from a backend, such as `mpp.selection.probing.prober.Prober.ask`. Its Deferred fails only when
cancelled.
"""


def quote(answer: ProbeResponse) -> str:
    """Return the status and the beginning of the error or body of a response, in one line for a log."""
    error = parse_object(answer.body).get("error")
    text = one_line(error if isinstance(error, str) else answer.body[:4096].decode("utf-8", "replace"))
    return f"{answer.status}: {text}" if text else str(answer.status)


def parse_object(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object in a body; an empty mapping if the body is no JSON object."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def data_of(outcome: ProbeOutcome) -> Mapping[str, Any] | None:
    """Return the object ``data`` in a response of the API of Prometheus; None if the response is an error or not valid."""
    if isinstance(outcome, UpstreamError) or outcome.status != 200:
        return None
    data = parse_object(outcome.body).get("data")
    return data if isinstance(data, dict) else None


@frozen
class RuntimeInfo:
    """The content of ``/api/v1/status/runtimeinfo`` (from 2.14 on); see `mpp.core.facts.ServerState` for the fields."""

    started_at: float | None = None
    retention_s: float | None = None
    retention_by_size: bool = False
    skew: float | None = None


def is_same_start(one: float | None, other: float | None) -> bool:
    """Return whether two times may be the same start of a server; True if one of them is not known."""
    return one is None or other is None or abs(one - other) <= _SAME_START_S


def read_runtime(outcome: ProbeOutcome) -> RuntimeInfo | None:
    """Parse a response of ``/api/v1/status/runtimeinfo``; None when it is invalid."""
    if isinstance(outcome, UpstreamError) or (data := data_of(outcome)) is None:
        return None
    kept = data.get("storageRetention")
    retention, by_size = read_retention(kept if isinstance(kept, str) else "")
    return RuntimeInfo(_timestamp(data.get("startTime")), retention, by_size, _skew(outcome, data.get("serverTime")))


def _skew(answer: ProbeResponse, server_time: object) -> float | None:
    """Return the seconds that a server's clock is ahead, from ``serverTime`` (3.0 on) or the ``Date`` field (whole seconds)."""
    reported = _timestamp(server_time)
    for name, value in answer.headers:
        if reported is None and name.lower() == b"date":
            reported = _date(value)
    return None if reported is None or not answer.at else reported - answer.at


def _date(value: bytes) -> float | None:
    try:
        at = bounds.point_in_time(parsedate_to_datetime(value[: bounds.LONGEST_TEXT].decode("latin-1")).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return None if at is None else at + 0.5


def read_replay(outcome: ProbeOutcome, previous: Replay | None, at: float) -> Replay | None:
    """
    Parse a response of ``/api/v1/status/walreplay`` (from 2.28 on); None when it shows no progress, as before the replay begins.

    :param previous: the result for the previous response, or None.
    :param at: the time of the response.
    """
    data = data_of(outcome) or {}
    found = (data.get(key) for key in ("min", "max", "current"))
    first, last, current = (each if type(each) is int and 0 <= each < bounds.MOST else 0 for each in found)
    if last <= first:
        return None
    done, total = min(max(0, current - first), last - first), last - first
    if previous is None or previous.done > done:
        return Replay(done, total, at, done)
    return Replay(done, total, previous.since, previous.done_then)


def read_query_slots(outcome: ProbeOutcome) -> int | None:
    """
    Return the number of queries that a server runs concurrently, from its ``/api/v1/status/flags`` (from 2.2 on).

    :return: None when the number is missing or invalid.
    """
    text = str((data_of(outcome) or {}).get("query.max-concurrency", ""))
    return int(text) if _SLOTS.fullmatch(text) else None


def _timestamp(text: object) -> float | None:
    if not isinstance(text, str) or len(text) > bounds.LONGEST_TEXT:
        return None
    try:
        return bounds.point_in_time(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return None


def read_retention(text: str) -> tuple[float | None, bool]:
    """
    Parse the value of ``storageRetention``: ``15d``, ``10GB``, ``15d or 10GB``, in any order.

    :return: the retention by time in seconds (None if there is none, or it is longer than `mpp.core.text.bounds.LONGEST_SPAN`),
        and whether the retention has another limit too.
    """
    kept, by_size = None, False
    for part in filter(None, (part.strip() for part in text[:_MAX_RETENTION].split(" or "))):
        found = seconds(part)
        if found is None:
            by_size = True
        else:
            kept = bounds.span(found)
    return kept, by_size
