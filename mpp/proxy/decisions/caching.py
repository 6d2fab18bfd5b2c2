"""
Decides which requests the range cache answers, which steps may be cached, and which steps the servers are asked for. Pure.

# Note [Settled]

A step may be cached when nothing that it reads can still change: the samples are older than ``--cache-freshness``, or, if this is
longer, than the longest time for which a server's scrapes and rules may still write samples of the past. The time that is read
counts, and not the time of the step: with ``offset -5m`` a step reads the future, with ``offset 1h`` the newest is settled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from heapq import nlargest
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from attrs import evolve, frozen

from mpp.cache.grid import Grid
from mpp.cache.query_key import QueryKey, Question
from mpp.cache.view import Range
from mpp.core.http import headers
from mpp.core.http.headers import HOP_BY_HOP
from mpp.core.model import Backend, Headers, RequestInfo
from mpp.core.prometheus import data_requests
from mpp.core.prometheus.data_requests import DataKind, DataRequest
from mpp.promql.reads import QueryReads
from mpp.proxy.decisions.identical import RequestKey

MOST_RANGES = 4
"""For how many ranges of steps one request asks servers at most: each range costs a query."""

# The notes of requests that are no range queries.
_NOTES_OF_OTHERS = frozenset(("bypass; no query", *(f"bypass; {kind.value}" for kind in DataKind if kind is not DataKind.RANGE)))
_NOT_OF_THE_QUESTION = (b"query=", b"start=", b"end=", b"step=", b"timeout=")
_OF_THE_ENCODING = frozenset((b"content-length", b"content-encoding", b"etag"))
# The fields that belong to one response only, or that mpp writes itself.
_OF_ONE_RESPONSE = (HOP_BY_HOP | _OF_THE_ENCODING) | {*(b"date", b"age", b"last-modified", b"set-cookie", b"server-timing")}
_MOST_NAMES, _LONGEST_NAME = 5, 40
# Prometheus writes ten warnings about the query, and the number of the others.
_OMITTED = re.compile("[0-9]+ more warning annotations omitted")


class ExtentSource(NamedTuple):
    """
    The server that has answered some consecutive cached steps (an extent), and the state in which it was then.

    :ivar answers_id: see `mpp.core.facts.ServerState.answers_id`.
    """

    backend: Backend
    answers_id: str


@frozen
class CacheableRequest:
    """
    A range query that the cache may answer.

    :ivar first: the number of the first step.
    :ivar last: the number of the last step (inclusive).
    :ivar data: the request, parsed.
    """

    key: QueryKey
    first: int
    last: int
    data: DataRequest

    @property
    def grid(self) -> Grid:
        """The times of the steps, by their numbers."""
        return self.key.question.grid

    def last_settled(self, reads: QueryReads, settled_until: float) -> int:
        """
        Return the last step that may be cached; the one before the first step if none may.

        :param reads: the samples that the query reads, see `mpp.coverage.planning.planner.Planner.reads`.
        :param settled_until: the time until which samples are settled, in seconds since the epoch, see Note [Settled].
        """
        until = reads.final_until(settled_until)
        if until >= self.data.end / 1000:
            return self.last
        return self.first - 1 if until < self.data.start / 1000 else self.grid.last_until(int(until * 1000))

    def within(self, first: int, last: int) -> DataRequest:
        """Return the parsed request for other steps."""
        return evolve(self.data, start=self.grid.time(first), end=self.grid.time(last))


def cacheable(
    info: RequestInfo, key: RequestKey, now: float, reads_of: Callable[[DataRequest], QueryReads]
) -> CacheableRequest | str:
    """
    Return the parsed range query, or the reason why the cache does not answer the request, in the words of ``MPP.Cache``.

    :param key: see `mpp.proxy.decisions.identical.key_of`.
    :param now: seconds since the epoch.
    :param reads_of: returns the samples that a query reads.
    """
    kind = data_requests.kind_of(key.path)
    if kind is not DataKind.RANGE:
        return "no query" if kind is None else kind.value
    data = data_requests.find(kind, info, now)
    if data is None:
        return "its parameters are not understood"
    reads = reads_of(data)
    why = reads.refused or reads.whole or data.whole
    if why:
        return why
    query = unquote_to_bytes(data.queries[0].replace(b"+", b" "))
    others = tuple(each for each in key.parameters if not each.startswith(_NOT_OF_THE_QUESTION))
    grid = Grid.through(data.start, data.step)
    question = Question(key.path, query, grid, others)
    first, last = grid.last_until(data.start), grid.last_until(data.end)
    return CacheableRequest(QueryKey(question, key.fields, key.user), first, last, data)


def unless_forbidden(found: CacheableRequest | str, fields: Headers) -> CacheableRequest | str:
    """Return the result of `cacheable` unchanged, or ``no-store`` as a reason if the client forbids to store the response."""
    return found if isinstance(found, str) or not _forbids_to_store(fields) else "no-store"


def _forbids_to_store(fields: Headers) -> bool:
    """Return whether a client forbids to store the response (RFC 9111 section 5.2.1.5)."""
    values = headers.values(fields, b"cache-control")
    return any(each.strip().lower() == b"no-store" for value in values for each in value[:1000].split(b","))


def ranges_to_ask(missing: Sequence[Range]) -> tuple[Range, ...]:
    """Return the ranges of steps to ask the servers for: the missing ones; the nearest are joined if they are too many."""
    if len(missing) <= MOST_RANGES:
        return tuple(missing)
    between = [(after[0] - before[1], place) for place, (before, after) in enumerate(pairwise(missing))]
    ends = sorted(place for _, place in nlargest(MOST_RANGES - 1, between))
    starts = (0, *(place + 1 for place in ends))
    return tuple((missing[start][0], missing[end][1]) for start, end in zip(starts, (*ends, -1), strict=True))


def use_of(note: str) -> str:
    """
    Return how the cache was used for a range query: ``hit``, ``partial``, ``miss`` or ``bypass``; empty for other requests.

    :param note: the value of ``MPP.Cache``.
    """
    return "" if note in _NOTES_OF_OTHERS else note.partition(";")[0]


def why_new(key: QueryKey, alike: QueryKey | None) -> str:
    """
    Return why a query is not cached, in the words of ``MPP.Cache``.

    A field that differs is named, by `_LONGEST_NAME` bytes, only if the request has it itself: other names were chosen by another
    client.

    :param alike: the key of a cached query that differs only in header fields or the user; None if there is none.
    """
    if alike is None:
        return "new query"
    if key.fields == alike.fields:
        return "cached for another user"
    differing = set(key.fields) ^ set(alike.fields)
    names = sorted({name for name, _ in differing}.intersection(name for name, _ in key.fields))
    differ = ", ".join(name[:_LONGEST_NAME].decode("latin-1") for name in names[:_MOST_NAMES])
    return f"cached with other values of {differ}" if differ else "cached with other fields"


def is_cacheable_with(warnings: Sequence[str]) -> bool:
    """
    Return whether the steps of a response with these warnings may be cached.

    Prometheus' warnings about the query itself are cached with the steps. mpp's own warning is about gaps, and steps in gaps are
    left out anyway. Any other warning may say that the response is incomplete.
    """
    return all(text.startswith(("PromQL warning: ", "mpp: ")) or _OMITTED.fullmatch(text) for text in warnings)


def lasting_fields(fields: Headers) -> Headers:
    """Return the header fields of a response that later responses to the same query have, too."""
    lower = [(name.lower(), name, value) for name, value in fields]
    return tuple((name, value) for low, name, value in lower if low not in _OF_ONE_RESPONSE and not low.startswith(b"mpp."))


def fields_without_encoding(fields: Headers) -> Headers:
    """Return the header fields of a response, without the ones that describe the encoding of its body."""
    return tuple(each for each in fields if each[0].lower() not in _OF_THE_ENCODING)
