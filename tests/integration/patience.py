"""How much longer things may take on a machine that is busy with something else, too."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

MOST = 4.0


def slowdown() -> float:
    """
    Return how many threads there are at the moment for each core: 1.0 at least, and `MOST` at most.

    That is the greater of the load average of the last minute and, on Linux, the number of threads that want to run just now: the
    average follows a load only slowly.
    """
    busy = os.getloadavg()[0]
    with contextlib.suppress(OSError, IndexError, ValueError):
        busy = max(busy, float(Path("/proc/loadavg").read_text().split()[3].partition("/")[0]))
    return min(MOST, max(1.0, busy / (os.cpu_count() or 1)))


def within(seconds: float) -> float:
    """
    Return the time that something may take that takes less than some seconds on an idle machine.

    :param seconds: so small that a fault takes more than `MOST` times as long, or never ends.
    """
    return seconds * slowdown()
