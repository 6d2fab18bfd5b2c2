"""Tests of `mpp.wire.downstream.pace`: how fast a request arrives."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.wire.downstream.pace import ArrivalRate
from mpp.wire.downstream.timeouts import BODY_BYTES, BODY_S


def after(*received: int) -> ArrivalRate:
    """Return the pace of what had come after each second."""
    pace = ArrivalRate(100.0)
    for second, size in enumerate(received, 1):
        pace.mark(100.0 + second, size)
    return pace


class PaceTests(SynchronousTestCase):
    """Bytes over the last twenty seconds."""

    def test_pace_covers_the_last_twenty_seconds(self) -> None:
        """What has come counts by the time that it took, and only what came in the last twenty seconds."""
        self.assertEqual(after().rate(102.0, 1000), 500.0)
        self.assertEqual(after(10**6, *[10**6] * 30).rate(131.0, 10**6), 0.0)
        self.assertEqual(after(10**6, *[10**6 + 100 * n for n in range(1, 31)]).rate(131.0, 10**6 + 3000), 100.0)

    def test_just_begun(self) -> None:
        """The first segment of a request is faster than any trickle."""
        self.assertGreater(after().rate(100.0, 10), BODY_BYTES / BODY_S)

    def test_steady_body_may_take_hours(self) -> None:
        """At 500 bytes per second it may go on for hours."""
        pace = ArrivalRate(0.0)
        for second in range(1, 10_000):
            pace.mark(float(second), 500 * second)
            self.assertFalse(pace.stalled(float(second), 500 * second), second)

    def test_early_bytes_do_not_excuse_a_stall(self) -> None:
        """Much at the beginning is no credit for later."""
        pace = after(10**7, *[10**7] * 19)
        self.assertFalse(pace.stalled(120.0, 10**7))
        pace.mark(121.0, 10**7)
        self.assertTrue(pace.stalled(121.0, 10**7))

    def test_one_byte_short(self) -> None:
        """A window in which one byte too little came is one, wherever it begins."""
        start = 5_000_000
        pace = after(start, *[start] * 18, start + BODY_BYTES - 1, start + BODY_BYTES - 1)
        self.assertTrue(pace.stalled(121.0, start + BODY_BYTES - 1))
        self.assertFalse(pace.stalled(121.0, start + BODY_BYTES))

    def test_too_early(self) -> None:
        """Nothing is late in its first twenty seconds."""
        self.assertFalse(after(*[1] * 19).stalled(119.9, 1))
        self.assertTrue(after(*[1] * 20).stalled(120.0, 1))
