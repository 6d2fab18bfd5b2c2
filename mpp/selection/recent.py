"""
What happened in the last minutes, per backend: rates, shares, latencies, and what went on. Pure.

Counters that are kept anyway are looked at every `SLOT_S`; everything here is the difference of two such looks. So a request
costs nothing more, and what is remembered is bounded by the number of slots.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from attrs import frozen

SLOT_S = 10.0
SLOTS = 60
"""Ten minutes: the time in which somebody who is called looks at the page."""
NOW_S = SLOT_S
"""What counts as now goes back at least so far: less would often hold one request or none."""


@frozen
class Event:
    """
    Something that happened.

    :ivar kind: ``selection``, ``ejection``, ``return``, ``crash``, ``storage``, ``reload`` (another configuration is in force),
        ``refused`` (one was not taken), ``discovery`` (a source cannot be read) or ``worker`` (a process died).
    """

    at: float
    kind: str
    text: str


@frozen
class Totals:
    """
    What was counted of one backend since the start.

    :ivar requests: answered by it.
    :ivar errors: of these, with a status of 500 and more.
    :ivar retries: attempts on it given up for another one, hedges included.
    :ivar ejections: how often it was taken out of service.
    :ivar latency: for each upper bound, in order, how many attempts took no longer (as in a Prometheus histogram).
    """

    requests: float = 0.0
    errors: float = 0.0
    retries: float = 0.0
    ejections: float = 0.0
    latency: tuple[tuple[float, float], ...] = ()


@frozen
class CounterSample:
    """
    One look at all counters.

    :ivar at: when, by any clock that does not jump.
    :ivar totals: by the backend's name.
    :ivar states: by the backend's name, how it was then: ``selected``, ``standby``, ``replaying``, ``ejected`` or ``unusable``.
    """

    at: float
    totals: Mapping[str, Totals]
    states: Mapping[str, str]


@frozen
class TrafficSlot:
    """What happened between two looks: counts, and ``state`` at its end (``ejected`` if it was that in between)."""

    seconds: float
    requests: float
    errors: float
    retries: float
    state: str


@frozen
class TrafficSpan:
    """
    What happened on one backend in some time.

    :ivar seconds: how long that is; 0 when there was one look only.
    :ivar p50: median of the attempts' durations in seconds, None when there were none; ``p99`` likewise.
    """

    seconds: float = 0.0
    requests: float = 0.0
    errors: float = 0.0
    retries: float = 0.0
    p50: float | None = None
    p99: float | None = None

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def error_share(self) -> float:
        """The part of the answers that were errors of the server, 0 to 1."""
        return self.errors / self.requests if self.requests else 0.0


@frozen
class RecentTraffic(TrafficSpan):
    """
    The last minutes of one backend.

    :ivar slots: oldest first.
    :ivar latest: the end of it, at least `NOW_S` long unless all of it is shorter: what happens now.
    """

    slots: tuple[TrafficSlot, ...] = ()
    latest: TrafficSpan = TrafficSpan()


_NOTHING = Totals()


def recall(looks: Sequence[CounterSample], name: str) -> RecentTraffic:
    """Give the last minutes of a backend, of looks in the order of time."""
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
    """Return the fields of the `TrafficSpan` between two looks."""
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
    Return what two looks saw of a backend; its counters began anew in between if it was gone for long, see
    `mpp.core.series`.
    """
    first, last = (look.totals.get(name, _NOTHING) for look in (before, after))
    anew = last.requests < first.requests or last.retries < first.retries or last.ejections < first.ejections
    return (_NOTHING if anew else first), last


def _slot(before: CounterSample, after: CounterSample, name: str) -> TrafficSlot:
    first, last = _counted(before, after, name)
    state = "ejected" if last.ejections > first.ejections else after.states.get(name, "")
    return TrafficSlot(
        after.at - before.at, last.requests - first.requests, last.errors - first.errors, last.retries - first.retries, state
    )


def difference(before: Sequence[tuple[float, float]], after: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Give the histogram of what came between two looks at one."""
    had = dict(before)
    return [(bound, count - had.get(bound, 0.0)) for bound, count in after]


def quantile(share: float, histogram: Sequence[tuple[float, float]]) -> float | None:
    """
    Estimate a quantile, like PromQL's histogram_quantile; None of an empty histogram.

    :param histogram: upper bounds and cumulative counts; where the last one is infinite, the one before is all that is known.
    """
    if not histogram or histogram[-1][1] <= 0:
        return None
    wanted = share * histogram[-1][1]
    place = next(place for place, (_, count) in enumerate(histogram) if count >= wanted)
    bound, count = histogram[place]
    lower, below = histogram[place - 1] if place else (0.0, 0.0)
    return lower if bound == float("inf") else lower + (bound - lower) * (wanted - below) / (count - below)
