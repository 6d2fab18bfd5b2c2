"""Functions of time for tests."""

from __future__ import annotations

from collections.abc import Iterable

from mpp.core.generators import result_of
from mpp.coverage.planning.polyline import Polyline, add_changes


def polyline(bends: Iterable[tuple[int, int]], base: int = 0) -> Polyline:
    """Return the function with these bends in any order, each with its time and the change of the slope there."""
    pairs, changes = list(bends), dict[int, int]()
    add_changes(changes, [time for time, _ in pairs], [change for _, change in pairs])
    return result_of(Polyline.building(changes, base))
