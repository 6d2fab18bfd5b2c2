"""How fast a request arrives: pure numbers."""

from __future__ import annotations

from collections import deque

from mpp.wire.downstream.timeouts import BODY_BYTES, BODY_S

# Seconds. What has just begun to arrive is as fast as its first segment in this time: faster than what trickles.
_INSTANT_S = 0.001


class ArrivalRate:
    """
    What has come of a request in the last `BODY_S` seconds, or since it began, whichever is shorter.

    :param began: the time of its first byte.
    """

    __slots__ = ("_marks",)

    def __init__(self, began: float) -> None:
        self._marks = deque(((began, 0),))

    def mark(self, now: float, received: int) -> None:
        """
        Take note of how much has come. To be called once a second or so: no window is longer by more than that.

        :param received: bytes since the beginning.
        """
        marks = self._marks
        marks.append((now, received))
        while marks[1][0] <= now - BODY_S:
            marks.popleft()

    def rate(self, now: float, received: int) -> float:
        """Return the bytes per second in the window."""
        since, before = self._marks[0]
        return (received - before) / max(now - since, _INSTANT_S)

    def stalled(self, now: float, received: int) -> bool:
        """Return whether fewer than `BODY_BYTES` bytes have come in `BODY_S` seconds."""
        since, before = self._marks[0]
        return now - since >= BODY_S and received - before < BODY_BYTES
