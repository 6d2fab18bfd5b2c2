"""
The traffic of the last minutes per backend: rates, shares and latencies. Pure.

Counters that exist anyway are sampled every `SLOT_S`; everything here is the difference of two samples. So requests have no
additional cost, and memory is bounded by the number of slots.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from attrs import frozen

from mpp.core.metrics.cache_use import NO_USE, CacheUse

SLOT_S = 10.0
SLOTS = 60
"""Number of slots. Ten minutes cover the time in which an engineer on call opens the page."""
NOW_S = SLOT_S
"""Minimum length in seconds of the period whose traffic counts as current: in a shorter one, often no request would end."""


@frozen
class Event:
    """
    An event of the event log.

    :ivar at: when it happened, in seconds since the epoch.
    :ivar kind: ``selection`` (others take traffic), ``ejection``, ``return`` (a server is back, or a problem has ended),
        ``crash`` (a query may have crashed a server), ``storage`` (a server cannot read a part of its storage), ``lack`` (a
        server starts or ceases to lack newest data), ``history`` (the look back has finished), ``reload`` (a new configuration
        is active), ``refused`` (a configuration was rejected), ``discovery`` (a source cannot be read) or ``worker`` (a process
        died).
    :ivar text: one line for the operator.
    """

    at: float
    kind: str
    text: str


@frozen
class Totals:
    """
    The counters of one backend since the start.

    :ivar requests: number of responses from the backend.
    :ivar errors: number of responses with a status of 500 or more.
    :ivar retries: number of attempts on the backend that were abandoned for an attempt elsewhere, hedged requests included.
    :ivar ejections: number of its ejections.
    :ivar latency: pairs of upper bound in seconds and the number of attempts that took no longer, as in Prometheus' histograms.
    """

    requests: float = 0.0
    errors: float = 0.0
    retries: float = 0.0
    ejections: float = 0.0
    latency: tuple[tuple[float, float], ...] = ()


@frozen
class CounterSample:
    """
    A sample of all counters at one time.

    :ivar at: the time, by any clock that does not jump.
    :ivar totals: the counters by the backend's name.
    :ivar states: the state by the backend's name: ``selected``, ``standby``, ``replaying``, ``ejected`` or ``unusable``.
    :ivar cache: the use of the range cache since the start.
    """

    at: float
    totals: Mapping[str, Totals]
    states: Mapping[str, str]
    cache: CacheUse = NO_USE


@frozen
class TrafficSlot:
    """
    The traffic of one backend between two samples.

    :ivar seconds: time between the samples; the three counts are the differences between them.
    :ivar state: the backend's state in the second sample, or ``ejected`` if it was ejected in between.
    """

    seconds: float
    requests: float
    errors: float
    retries: float
    state: str


@frozen
class TrafficSpan:
    """
    The traffic of one backend in a period.

    :ivar seconds: length of the period; 0 when there was only one sample.
    :ivar p50: median of the attempts' durations in seconds; None when there was no attempt.
    :ivar p99: 99th percentile of the attempts' durations in seconds; None when there was no attempt.
    """

    seconds: float = 0.0
    requests: float = 0.0
    errors: float = 0.0
    retries: float = 0.0
    p50: float | None = None
    p99: float | None = None

    @property
    def rate(self) -> float:
        """The number of requests per second."""
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def error_share(self) -> float:
        """The share of responses that were server errors, 0 to 1."""
        return self.errors / self.requests if self.requests else 0.0


@frozen
class RecentTraffic(TrafficSpan):
    """
    The traffic of one backend in the last minutes.

    :ivar slots: the traffic between each two successive samples, oldest first.
    :ivar latest: the current traffic: of the last `NOW_S` seconds or little more; of less time if the samples cover less.
    """

    slots: tuple[TrafficSlot, ...] = ()
    latest: TrafficSpan = TrafficSpan()


_NOTHING = Totals()


def recall(looks: Sequence[CounterSample], name: str) -> RecentTraffic:
    """Return the recent traffic of a backend, given samples in the order of time."""
    if len(looks) < 2:
        return RecentTraffic()
    slots = tuple(_slot(*pair, name) for pair in itertools.pairwise(looks))
    until = looks[-1].at - NOW_S
    before_now = next((look for look in reversed(looks) if look.at <= until), looks[0])
    latest = TrafficSpan(*_between(before_now, looks[-1], name))
    return RecentTraffic(*_between(looks[0], looks[-1], name), slots, latest)


def _between(
    before: CounterSample, after: CounterSample, name: str
) -> tuple[float, float, float, float, float | None, float | None]:
    """Return the fields of the `TrafficSpan` between two samples."""
    first, last = _counted(before, after, name)
    taken = difference(first.latency, last.latency)
    return (
        after.at - before.at,
        last.requests - first.requests,
        last.errors - first.errors,
        last.retries - first.retries,
        quantile(0.5, taken),
        quantile(0.99, taken),
    )


def _counted(before: CounterSample, after: CounterSample, name: str) -> tuple[Totals, Totals]:
    """
    Return the counters of a backend in two samples; they restarted at 0 in between if it was removed for long, see
    `mpp.core.metrics.series`.
    """
    first, last = (look.totals.get(name, _NOTHING) for look in (before, after))
    restarted = last.requests < first.requests or last.retries < first.retries or last.ejections < first.ejections
    return (_NOTHING if restarted else first), last


def _slot(before: CounterSample, after: CounterSample, name: str) -> TrafficSlot:
    first, last = _counted(before, after, name)
    state = "ejected" if last.ejections > first.ejections else after.states.get(name, "")
    return TrafficSlot(
        after.at - before.at, last.requests - first.requests, last.errors - first.errors, last.retries - first.retries, state
    )


def difference(before: Sequence[tuple[float, float]], after: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the histogram of the values that were observed between two samples of a cumulative histogram."""
    had = dict(before)
    return [(bound, count - had.get(bound, 0.0)) for bound, count in after]


def quantile(share: float, histogram: Sequence[tuple[float, float]]) -> float | None:
    """
    Return an estimate of a quantile, like PromQL's histogram_quantile; None for an empty histogram.

    :param histogram: upper bounds and cumulative counts; within an infinite last bucket, its lower bound is returned.
    """
    if not histogram or histogram[-1][1] <= 0:
        return None
    wanted = share * histogram[-1][1]
    place = next(place for place, (_, count) in enumerate(histogram) if count >= wanted)
    bound, count = histogram[place]
    lower, below = histogram[place - 1] if place else (0.0, 0.0)
    return lower if bound == float("inf") else lower + (bound - lower) * (wanted - below) / (count - below)
