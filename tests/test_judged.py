"""What `tests.integration.long.judged` makes of readings: it decides what hours of load have shown."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.long.judged import WATCHED, left_behind

IDLE = (5, 12, 20, 8, 5, 17, 6, 9, 14, 5, 7, 11)
"""Delayed calls of an idle mpp."""


def readings(**columns: Sequence[float]) -> list[dict[str, float]]:
    """Give readings, of which these columns vary."""
    (count,) = {len(values) for values in columns.values()}
    usual = {"descriptors": 20.0, "delayed": 10.0, "threads": 3.0, "objects": 100_000.0}
    return [{**usual, **{name: values[number] for name, values in columns.items()}} for number in range(count)]


class LeftBehindTests(SynchronousTestCase):
    """Readings before and after."""

    def test_nothing_is_left_behind_without_a_change(self) -> None:
        """Nothing is left behind where all is as before."""
        self.assertEqual(left_behind(readings(delayed=IDLE), readings(delayed=IDLE)), [])

    def test_readings_of_the_same_swing_are_no_leak(self) -> None:
        """Readings of the same swing, taken at other moments, are no leak; two single ones, 5 and 10, would have been."""
        for after in (IDLE[::-1], [value + 3 for value in IDLE], (10, 6, 24, 9, 8, 7), (5, 5, 5)):
            self.assertEqual(left_behind(readings(delayed=IDLE), readings(delayed=after)), [], after)

    def test_lasting_rise_of_all_readings_is_a_leak(self) -> None:
        """What stays lifts all readings, and is found as soon as it is more than half of the swing."""
        leaked = [value + 6 for value in IDLE]
        self.assertEqual(
            left_behind(readings(delayed=IDLE), readings(delayed=leaked)), ["delayed: 11 to 26 at rest, 5 to 20 before"]
        )

    def test_higher_peaks_are_found(self) -> None:
        """Peaks far above those before are found, even if there are moments of quiet."""
        after = [*IDLE[:-1], 60]
        self.assertEqual(
            left_behind(readings(delayed=IDLE), readings(delayed=after)), ["delayed: 5 to 60 at rest, 5 to 20 before"]
        )

    def test_one_more_of_what_does_not_swing_is_found(self) -> None:
        """Of what does not swing a single one more is found."""
        for name in ("descriptors", "threads"):
            steady = readings(**{name: [20.0] * 6})
            self.assertEqual(left_behind(steady, steady), [])
            self.assertEqual(left_behind(steady, readings(**{name: [21.0] * 6})), [f"{name}: 21 to 21 at rest, 20 to 20 before"])

    def test_objects_may_be_a_quarter_more(self) -> None:
        """Objects may be a quarter more, for what is remembered; not a half."""
        before = readings(objects=[100_000.0, 100_200.0])
        self.assertEqual(left_behind(before, readings(objects=[120_000.0, 124_000.0])), [])
        self.assertEqual(len(left_behind(before, readings(objects=[150_000.0, 150_000.0]))), 1)

    def test_everything_that_grows_is_reported(self) -> None:
        """All that there is more of is told."""
        after = [dict.fromkeys(WATCHED, 1000000.0)] * 3
        self.assertEqual(len(left_behind(readings(delayed=IDLE), after)), len(WATCHED))
