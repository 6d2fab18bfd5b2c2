"""
Decides which time of which servers the look back compares next: the newest one that it has not compared. No I/O.

The time since a server was seen first needs no look back, because the survey sees it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from attrs import define, field, frozen

from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend
from mpp.coverage.history.look_back import DAY_S

SETTLED_S = 20.0
"""Seconds after which all samples of a time are stored: a scrape may take some seconds, and is stored after it."""


EARLY_S = 600.0
"""Seconds: if a time to compare is not over yet, its past part is compared once it is this long, and the rest later."""


@frozen
class Span:
    """A time that the look back compares at once, at most one day; in seconds since the epoch."""

    start: float
    end: float


@define
class Agenda:
    """The times that the look back has compared, by server."""

    _looked: dict[Backend, Intervals] = field(factory=dict, init=False)

    def see(self, backend: Backend, at: float) -> None:
        """Add a server, whose past must be compared; ignore a server that was added before."""
        if backend not in self._looked:
            self._looked[backend] = Intervals.of([(at - SETTLED_S, math.inf)])

    def again(self, backend: Backend, times: Intervals) -> None:
        """Add times of a server that the look back must compare again."""
        if times and backend in self._looked:
            self._looked[backend] -= times

    def done(self, backends: Collection[Backend], span: Span) -> None:
        """Record that a span of some servers has been compared."""
        for backend in backends:
            if backend in self._looked:
                self._looked[backend] |= Intervals.of([(span.start, span.end)])

    def next(self, backends: Collection[Backend], first: float, until: float, longest: float = DAY_S) -> Span | None:
        """
        Return the next span to compare; None if there is nothing left.

        :param backends: the servers that can be queried.
        :param first: nothing before this time is compared.
        :param until: nothing after this time is compared.
        :param longest: the longest span, in seconds, at most a day.
        """
        all_time = Intervals.of([(first, math.inf)])
        left = [all_time - self._looked[backend] for backend in backends if backend in self._looked]
        ready = [(min(end, until), start) for times in left for start, end in times if end <= until or until - start >= EARLY_S]
        if not ready:
            return None
        end, start = max(ready)
        start = max(start, end - longest, (math.ceil(end / DAY_S) - 1) * DAY_S)
        return Span(start, end)

    def compared_since(self, backend: Backend) -> float | None:
        """Return the time back to which a server has been compared, apart from its `pending` times; None if it is not known."""
        looked = self._looked.get(backend)
        return looked.edges[0] if looked else None

    def pending(self, backend: Backend, now: float) -> Intervals:
        """Return the times of a server since `compared_since` that must be compared again."""
        looked = self._looked.get(backend, NEVER)
        return Intervals.of([(looked.edges[0], now)]) - looked if looked else NEVER

    def is_finished(self, backend: Backend, first: float) -> bool:
        """Return whether a server has been compared for all of the time since ``first``."""
        return self._looked.get(backend, NEVER).covers(first, math.inf)

    def keep(self, backends: Collection[Backend]) -> None:
        """Forget all servers except the given ones."""
        self._looked = {backend: looked for backend, looked in self._looked.items() if backend in backends}


def comparable_since(oldest: Mapping[Backend, float | None], unknown: float) -> float:
    """
    Return the time from which on at least two servers have data, by the times of their oldest samples.

    :param unknown: the time that counts for a server that does not report its oldest sample, or an older one.
    """
    times = sorted(unknown if time is None else max(time, unknown) for time in oldest.values())
    return times[1] if len(times) > 1 else math.inf
