"""
A bounded log of the latest events for the status page, such as ejections and reloads. Does not interpret the events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mpp.selection.recent import Event

# Enough for a whole incident, unless servers flap for long.
REMEMBERED = 50


class EventLog:
    """
    The log of the latest `REMEMBERED` events; older ones are dropped.

    :param wall: returns the time of day, in seconds since the epoch.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._events: deque[Event] = deque(maxlen=REMEMBERED)

    def record(self, kind: str, text: str) -> None:
        """Record an event with the current time; its parts are described at `mpp.selection.recent.Event`."""
        self._events.append(Event(self._wall(), kind, text))

    @property
    def events(self) -> tuple[Event, ...]:
        """The recorded events, newest first."""
        return tuple(reversed(self._events))
