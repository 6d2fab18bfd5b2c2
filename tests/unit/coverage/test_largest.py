"""The largest of many numbers."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from mpp.coverage.largest import Largest


class LargestTests(SynchronousTestCase):
    """Numbers of few keys, against what `max` says."""

    def test_is_the_maximum_of_the_others(self) -> None:
        """It is what `max` finds among the others, however they change."""
        chance, largest, known = random.Random(1), Largest[str](), dict[str, int]()
        for _ in range(2000):
            key, number = chance.choice("abcde"), chance.choice([None, 0, 1, 2, 3])
            largest.put(key, number)
            known.pop(key, None)
            known |= {} if number is None else {key: number}
            for each in "abcdef":
                self.assertEqual(largest.beside(each), max((n for k, n in known.items() if k != each), default=None))
