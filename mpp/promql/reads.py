"""
Values that say which samples one evaluation of a query reads. Frozen; knows no other module of mpp but `mpp.promql.jobs`.

Times are seconds. A query is evaluated at one time t (an instant query), or at each step t of a range.

# Note [Needed and looked back on]

An instant selector takes the newest sample of each series within the lookback (``--query.lookback-delta``, 5 minutes by default).
If all goes well, that sample comes from the last scrape. So the selector *needs* the last scrapes only, and *looks back on* the
rest of the lookback: data that is missing there can only show series that have ended. A range selector needs all of its range.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import accumulate
from operator import attrgetter

from attrs import evolve, field, frozen

from mpp.promql.jobs import ALL_JOBS, JobMatchers

Span = tuple[float, float]
"""A span of time from the first number (exclusive) to the second (inclusive), which is how Prometheus 3.x reads ranges."""


@frozen
class SelectorReads:
    """
    A part of what a query reads: the samples that a selector, or several alike, read at each evaluation.

    :ivar start: when the read starts (exclusive), relative to the time of evaluation, so mostly zero or less; seconds since the
        epoch if ``fixed``; may be -infinity if fixed.
    :ivar end: when it ends (inclusive), in the same way; above zero if the query reads the future (a negative offset). Not
        before ``start``.
    :ivar newest: whether these are instant selectors, which need the newest scrape before each time from ``start`` to ``end``:
        the lookback, and the time in which a scrape must have happened, come before ``start``. The range of a range selector
        lies within ``start`` and ``end``.
    :ivar fixed: whether the times are the same at each step, as they are for a selector with ``@``.
    :ivar jobs: the scrape jobs that the samples may come from.
    :ivar metric: the metric's name; empty if it is not known.
    """

    start: float
    end: float
    newest: bool
    fixed: bool = False
    jobs: JobMatchers = ALL_JOBS
    metric: str = ""

    def needed(self, at: float, newest_s: float) -> Span:
        """
        Return the span of which an evaluation needs all samples.

        :param at: the time of evaluation, seconds since the epoch.
        :param newest_s: the time in which each target of a job is scraped at least once: two scrape intervals.
        """
        shift = 0.0 if self.fixed else at
        return self.start + shift - (newest_s if self.newest else 0.0), self.end + shift

    def looked_back_on(self, at: float, lookback_s: float) -> Span:
        """
        Return the span that an evaluation looks back on, which includes the span that it needs.

        :param lookback_s: how far instant selectors look back, in seconds.
        """
        return self.needed(at, lookback_s)


@frozen
class QueryReads:
    """
    The samples that one evaluation of a query reads.

    :ivar selectors: the parts; none if the query reads no samples at all, such as ``vector(1)``.
    :ivar whole: why a range must be evaluated by one server as a whole, in a few words; empty if its steps may be evaluated by
        different servers and joined.
    :ivar refused: why the query was not understood, in a few words, empty if it was. Then ``selectors`` is an estimate from the
        durations in the text, and ``whole`` is not empty.
    :ivar from_start: the parts that are relative to the first step of the range, because of ``@ start()``.
    :ivar from_end: the parts that are relative to the end of the range, because of ``@ end()``.
    """

    selectors: tuple[SelectorReads, ...] = ()
    whole: str = ""
    refused: str = ""
    from_start: tuple[SelectorReads, ...] = ()
    from_end: tuple[SelectorReads, ...] = ()
    _moving: Span | None = field(init=False, repr=False, eq=False)
    _fixed: Span | None = field(init=False, repr=False, eq=False)

    @_moving.default
    def _moving_reach(self) -> Span | None:
        return _hull(each for each in self.selectors if not each.fixed)

    @_fixed.default
    def _fixed_reach(self) -> Span | None:
        return _hull(each for each in self.selectors if each.fixed)

    def within(self, start: float, end: float) -> QueryReads:
        """
        Return the reads for a known range: parts that are relative to its start or end get fixed times.

        :param start: the first step, in seconds since the epoch; for an instant query the time of evaluation.
        :param end: the end of the range, not rounded to a step.
        """
        if not self.from_start and not self.from_end:
            return self
        placed = [
            evolve(each, start=each.start + shift, end=each.end + shift, fixed=True)
            for shift, those in ((start, self.from_start), (end, self.from_end))
            for each in those
        ]
        return evolve(self, selectors=(*self.selectors, *placed), from_start=(), from_end=())

    def reach(self, first: float, last: float, lookback_s: float) -> Span | None:
        """
        Return the span that contains all that the steps from ``first`` to ``last`` look at; None if they read nothing.

        Data that is missing outside of this span does not matter for the query. Takes a microsecond. Call it on the result of
        `within`.

        :param lookback_s: how far instant selectors look back, or the longest two scrape intervals of a job if that is more.
        """
        moving, fixed = self._moving, self._fixed
        start, end = math.inf, -math.inf
        if moving is not None:
            start, end = first + moving[0], last + moving[1]
        if fixed is not None:
            start, end = min(start, fixed[0]), max(end, fixed[1])
        return (start - lookback_s, end) if start <= end else None

    def final_until(self, limit: float) -> float:
        """
        Return the last time of evaluation at which the query reads no samples after a limit; infinity if it never reads any, and
        -infinity if it always does.

        :param limit: seconds since the epoch. Call it on the result of `within`.
        """
        if self._fixed is not None and self._fixed[1] > limit:
            return -math.inf
        return math.inf if self._moving is None else limit - self._moving[1]


def _hull(parts: Iterable[SelectorReads]) -> Span | None:
    spans = [(each.start, each.end) for each in parts]
    return (min(start for start, _ in spans), max(end for _, end in spans)) if spans else None


MOST_SELECTORS = 12
"""Maximum number of parts of a query; each is compared with each gap of a server, so a plan takes longer the more there are."""

MOST_WORK = 48
"""Maximum work to select the jobs that a query reads, see `JobMatchers.work`: two milliseconds for 2,000 jobs."""

_JOINED_BY = (
    attrgetter("newest", "fixed", "jobs", "start", "end"),
    attrgetter("newest", "fixed", "jobs"),
    attrgetter("newest", "fixed"),
)


def merged(parts: Iterable[SelectorReads], most: int = MOST_SELECTORS) -> tuple[SelectorReads, ...]:
    """
    Return distinct parts that read at least what the given parts read.

    :param most: the most parts to return, at least 4. If there are more, parts that differ only in the metric are joined. If that
        is not enough, parts that differ in their times, too, become one that reads from the first start to the last end; and at
        last parts that differ in the jobs.
    """
    found = dict.fromkeys(parts)
    if len(found) <= most:
        return tuple(found)
    for key in _JOINED_BY:
        groups: dict[object, list[SelectorReads]] = {}
        for part in found:
            groups.setdefault(key(part), []).append(part)
        if len(groups) <= most:
            break
    return tuple(_covering(group) for group in groups.values())


def _covering(parts: list[SelectorReads]) -> SelectorReads:
    first = parts[0]
    start, end = min(each.start for each in parts), max(each.end for each in parts)
    same_jobs = all(each.jobs == first.jobs for each in parts)
    same_metric = all(each.metric == first.metric for each in parts)
    return evolve(
        first, start=start, end=end, jobs=first.jobs if same_jobs else ALL_JOBS, metric=first.metric if same_metric else ""
    )


def with_affordable_jobs(*lists: tuple[SelectorReads, ...]) -> list[tuple[SelectorReads, ...]]:
    """Return the selectors of each part of a query; one whose jobs take more than `MOST_WORK` to find reads all jobs."""
    matchers = dict.fromkeys(part.jobs for parts in lists for part in parts)
    works = accumulate(each.work for each in matchers)
    kept = {each for each, work in zip(matchers, works, strict=True) if work <= MOST_WORK or not each.work}
    if len(kept) == len(matchers):
        return list(lists)
    return [tuple(dict.fromkeys(part if part.jobs in kept else evolve(part, jobs=ALL_JOBS) for part in parts)) for parts in lists]
