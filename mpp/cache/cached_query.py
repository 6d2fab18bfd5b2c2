"""The cached steps of one query, and the newest steps, which are too new to be cached for longer than ``--cache-tail``."""

from __future__ import annotations

import math
from collections.abc import Hashable
from sys import getsizeof

from attrs import frozen
from msgspec import UNSET, Raw, UnsetType

from mpp.cache.assembly import ParsedSteps
from mpp.cache.grid import Grid
from mpp.cache.query_pages import QueryPages
from mpp.cache.texts.cutting import HISTOGRAMS, VALUES, cut
from mpp.core.model import Headers
from mpp.promql.matrix import Matrix, MatrixSeries

_SERIES = 400
"""Bytes of a series in a parsed response besides its texts: measured, rounded up."""


@frozen
class Tail:
    """
    The newest steps of a response.

    :ivar steps: these steps, with their part of the response.
    :ivar sent_at: the time when the request for them was sent, by the monotonic clock.
    :ivar sources: the servers that have answered, in the form of ``source`` of `mpp.cache.extents.Extent`.
    :ivar size: bytes of memory.
    """

    steps: ParsedSteps
    sent_at: float
    sources: tuple[Hashable, ...]
    size: int

    @classmethod
    def of(cls, steps: ParsedSteps, first: int, grid: Grid, sent_at: float, sources: tuple[Hashable, ...]) -> Tail:
        """
        Return the steps of a response from one step on, with texts of their own, so that the rest of the response can be freed.

        :raise NotJoinable: a time is not written as Prometheus writes it.
        """
        times = grid.time(first), grid.time(steps.last)
        series = []
        size = 0
        for metric, values, histograms in steps.matrix.rows():
            texts = cut(values, VALUES, *times), cut(histograms, HISTOGRAMS, *times)
            if any(texts):
                series.append(MatrixSeries(Raw(metric), *map(_listed, texts)))
                size += _SERIES + len(metric) + sum(map(len, texts))
        return cls(
            ParsedSteps(first, steps.last, Matrix.of(series, steps.matrix.warnings, steps.matrix.infos)), sent_at, sources, size
        )


class CachedQuery:
    """
    The cached steps of one query.

    :ivar pages: all steps but the newest ones.
    :ivar fields: the header fields that responses from the cache get: the ones of the newest response of a server.
    :ivar tail: the newest steps; None if there are none.
    :ivar checked_with: the known state of the servers by which invalid pages were dropped last; None if the next request has to
        drop them.
    :ivar oldest: the time of the oldest sample of any server when that was done, in seconds since the epoch; None if not known.
    :ivar answered_at: when new steps were last joined to cached ones, by the monotonic clock; None if that was never done.
    :ivar step_seconds: the seconds that a server takes for one step, on average; 0 if that is not known.
    """

    __slots__ = (
        "_fields_sent_at",
        "_fields_size",
        "answered_at",
        "checked_with",
        "fields",
        "oldest",
        "pages",
        "step_seconds",
        "tail",
    )

    def __init__(self, pages: QueryPages) -> None:
        self.pages = pages
        self.fields: Headers = ()
        self._fields_sent_at = -math.inf
        self._fields_size = 0
        self.tail: Tail | None = None
        self.checked_with: object = None
        self.oldest: float | None = None
        self.answered_at: float | None = None
        self.step_seconds = 0.0

    def set_fields(self, fields: Headers, sent_at: float) -> None:
        """
        Set the header fields of responses from the cache, unless the ones of a newer response are set.

        :param sent_at: the time when the request for that response was sent, by the monotonic clock.
        """
        if sent_at >= self._fields_sent_at:
            self.fields, self._fields_sent_at = fields, sent_at
            self._fields_size = sum(getsizeof(each) for field in fields for each in (field, *field))

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return self.pages.size + self._fields_size + (0 if self.tail is None else self.tail.size)

    @property
    def spare(self) -> int:
        """Bytes of the steps that no later request has used."""
        return self.pages.unused_size

    def drop_spare(self) -> None:
        """Drop the steps that no later request has used."""
        self.pages.drop_unused()

    def shrink(self, most_bytes: int) -> None:
        """Drop cached steps until the whole takes at most ``most_bytes`` of memory, if that is possible."""
        self.pages.shrink(most_bytes - (self.size - self.pages.size))

    def tail_for(self, last: int, sent_since: float) -> Tail | None:
        """
        Return the newest steps, if they end with the last step of a request and are recent enough; otherwise None.

        :param last: the last step of the request.
        :param sent_since: the earliest time at which the newest steps may have been requested, by the monotonic clock.
        """
        tail = self.tail
        return tail if tail is not None and tail.steps.last == last and tail.sent_at >= sent_since else None


def _listed(text: bytes) -> Raw | UnsetType:
    return Raw(b"[%b]" % text) if text else UNSET
