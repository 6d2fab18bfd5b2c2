"""
Upkeep of the process: removes the metric series of backends, locators and affinities that no longer exist
(`mpp.core.metrics.series` decides which and when), and returns free memory to the system.

# Note [Free memory]

The allocator of the C library keeps the pages that become free between others in use. The steps of cached queries come and go
beside large responses: after a load a cache of 64 MiB made a process larger by 92 MiB, measured, and by 69 MiB if free pages are
returned, which takes about 2 ms of CPU time. It is done only while there is a cache.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Mapping

from mpp.core.metrics import series
from mpp.core.metrics.registry import Metrics
from mpp.core.model import MIB

MEMORY_INTERVAL_S = 2.0
"""The least number of seconds between two returns of free memory to the system."""


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


def system_trim() -> Callable[[], object]:
    """
    Return a function that returns free memory to the system; it does nothing where the C library is not glibc.

    Source: malloc_trim(3).
    """
    found = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if found is None:
        return lambda: None
    found.argtypes = [ctypes.c_size_t]
    # So much stays for the next allocations.
    return lambda: found(MIB)


class FreeMemory:
    """
    The free memory of the process, see Note [Free memory].

    :param seconds: returns the monotonic time in seconds.
    :param trim: returns the memory to the system, see `system_trim`.
    """

    def __init__(self, seconds: Callable[[], float], trim: Callable[[], object]) -> None:
        self._seconds = seconds
        self._trim = trim
        self._returned_at = seconds()

    def give_back(self) -> None:
        """Return the free memory to the system, unless that was done less than `MEMORY_INTERVAL_S` ago."""
        now = self._seconds()
        if now - self._returned_at >= MEMORY_INTERVAL_S:
            self._returned_at = now
            self._trim()
