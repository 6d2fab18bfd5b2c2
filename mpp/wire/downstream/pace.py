"""The rate at which a client's request arrives. Pure."""

from __future__ import annotations

from collections import deque

from mpp.wire.downstream.timeouts import BODY_BYTES, BODY_S

# Seconds. The rate of a request that has just started is its first segment in this time: faster than one that trickles in.
_INSTANT_S = 0.001


class ArrivalRate:
    """
    The amount of a request that has arrived in the last `BODY_S` seconds (20), or since it started if that is less long ago.

    :param began: the time of its first byte.
    """

    __slots__ = ("_marks",)

    def __init__(self, began: float) -> None:
        self._marks = deque(((began, 0),))

    def mark(self, now: float, received: int) -> None:
        """
        Record how much has arrived. Call it about once a second: the measured time may be longer than `BODY_S` by that much.

        :param received: bytes since the request started.
        """
        marks = self._marks
        marks.append((now, received))
        while marks[1][0] <= now - BODY_S:
            marks.popleft()

    def rate(self, now: float, received: int) -> float:
        """Return how many bytes per second have arrived in that time; ``received`` is the number since the request started."""
        since, before = self._marks[0]
        return (received - before) / max(now - since, _INSTANT_S)

    def stalled(self, now: float, received: int) -> bool:
        """Return whether fewer than `BODY_BYTES` bytes have arrived in the last `BODY_S` seconds."""
        since, before = self._marks[0]
        return now - since >= BODY_S and received - before < BODY_BYTES
