"""
Removes the series of backends, locators and affinities that are gone. What is to go and when is decided by
`mpp.core.series`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from mpp.core import series
from mpp.core.metrics import Metrics


class SeriesExpiry:
    """
    Removes series when their time has come.

    Each check looks at all counters, and not only at what has left since the last check: a request that ends after the series of
    its backend were removed brings them back, and they have to go again.

    :param known: returns the names in use now, by the label that they are values of: ``backend``, ``locator`` and ``type``.
    :param interval: returns ``--selection-interval``, in seconds; also the time between two checks.
    :param seconds: the monotonic clock.
    """

    def __init__(
        self,
        metrics: Metrics,
        known: Callable[[], Mapping[str, Collection[str]]],
        interval: Callable[[], float],
        seconds: Callable[[], float],
    ) -> None:
        self._metrics = metrics
        self._known = known
        self._interval = interval
        self._seconds = seconds
        self._checked = seconds()
        self._removed_since: dict[str, dict[str, float]] = {}

    def remove_expired(self) -> None:
        """Check the series if the last check is one selection interval ago."""
        now, interval = self._seconds(), self._interval()
        if now - self._checked < interval:
            return
        self._checked = now
        for label, known in self._known().items():
            gone = series.gone_since(self._removed_since.get(label, {}), self._metrics.label_values(label), known, now)
            over = set(series.expired(gone, now, interval))
            if over:
                self._metrics.remove(label, over)
            self._removed_since[label] = {name: since for name, since in gone.items() if name not in over}
