"""What of its history a server is known to lack."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.facts import Gap, Lack
from mpp.coverage.gaps import MOST_GAPS, Gaps


def lack(missing: int, of: int = 100, since: float = 1000.0) -> Lack:
    """Return a lack of so many targets."""
    return Lack(missing, of, since)


class GapsTests(SynchronousTestCase):
    """The gaps of one server, second by second."""

    def setUp(self) -> None:
        self.gaps = Gaps()

    def lost(self, start: float = 0.0, end: float = math.inf) -> float:
        return sum(gap.lost(start, end) for gap in self.gaps.known)

    def test_one_that_goes_on(self) -> None:
        """A lack counts from its beginning, with the part of the targets that are missing, for as long as it lasts."""
        self.gaps.note(lack(50, since=990.0), 1000.0)
        self.assertEqual(self.gaps.known, (Gap(990.0, math.inf, 0.5),))
        self.assertEqual(self.lost(end=1090.0), 50.0)
        self.gaps.note(None, 1190.0)
        self.assertEqual((self.lost(), self.lost(start=1090.0)), (100.0, 50.0))

    def test_share_changes(self) -> None:
        """A lack that grows or shrinks noticeably is another gap; one target more or less is not."""
        self.gaps.note(lack(50), 1000.0)
        self.gaps.note(lack(52), 1015.0)
        self.gaps.note(lack(100), 1100.0)
        self.assertEqual(self.gaps.known, (Gap(1000.0, 1100.0, 0.5), Gap(1100.0, math.inf, 1.0)))

    def test_nothing_is_noted_of_a_server_that_lacks_nothing(self) -> None:
        """No lack, no gap."""
        self.gaps.note(None, 1000.0)
        self.assertEqual(self.gaps.known, ())

    def test_absence_is_not_counted_twice(self) -> None:
        """While a server was away it has scraped nothing; what it lacked before and after is not counted twice."""
        self.gaps.note(lack(50), 1000.0)
        self.gaps.missed(1100.0, 1200.0)
        self.gaps.note(lack(100, since=1200.0), 1200.0)
        self.gaps.note(None, 1210.0)
        self.assertEqual(self.lost(), 50.0 + 100.0 + 10.0)

    def test_number_of_targets_is_not_known(self) -> None:
        """A server that has stopped scraping lacks all, also where it is not known how many targets that are."""
        self.gaps.note(lack(1, of=0), 1000.0)
        self.assertEqual(self.lost(end=1010.0), 10.0)

    def test_many_gaps_are_joined(self) -> None:
        """Only so many are kept apart; as much is missing as before."""
        for number in range(MOST_GAPS + 30):
            self.gaps.missed(number * 100.0, number * 100.0 + 10.0)
        self.assertEqual(len(self.gaps.known), MOST_GAPS)
        self.assertAlmostEqual(self.lost(), (MOST_GAPS + 30) * 10.0)
