"""
Remembers what became of the selection lately, for people who look. Bounded; knows nothing of what it is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mpp.selection.recent import Event

# More than anybody reads; all of an incident, unless servers flap for long.
REMEMBERED = 50


class EventLog:
    """
    The last events.

    :param wall: the time of day, seconds since the epoch.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._events: deque[Event] = deque(maxlen=REMEMBERED)

    def record(self, kind: str, text: str) -> None:
        """Remember that something has happened just now, see `mpp.selection.recent.Event`."""
        self._events.append(Event(self._wall(), kind, text))

    @property
    def events(self) -> tuple[Event, ...]:
        """What is remembered, newest first."""
        return tuple(reversed(self._events))
