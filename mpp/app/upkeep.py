"""
Removal of the metric series of backends, locators and affinities that no longer exist. `mpp.core.metrics.series` decides
which series are removed and when.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from mpp.core.metrics import series
from mpp.core.metrics.registry import Metrics


class SeriesExpiry:
    """
    The periodic removal of expired metric series.

    Each check looks at all counters, because a request that ends after the series of its backend were removed creates them again.

    :param known: returns the label values in use, by label: ``backend``, ``locator`` and ``type``.
    :param interval: returns ``--selection-interval``, in seconds; also the time between two checks.
    :param seconds: returns the monotonic time in seconds.
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
        """Remove the expired series, if the last check was at least one selection interval ago."""
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
