"""What is told of the last minutes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.selection.recent import CounterSample, RecentTraffic, Totals, TrafficSlot, quantile, recall

INF = float("inf")


class RecallTests(SynchronousTestCase):
    """Differences of looks."""

    def test_rates_are_between_the_first_and_last_sample(self) -> None:
        """Rates and shares are those between the first look and the last."""
        looks = (
            CounterSample(100.0, {"a": Totals(1000, 10, 5, 0, ((0.1, 900.0), (1.0, 1000.0)))}, {"a": "selected"}),
            CounterSample(110.0, {"a": Totals(1100, 10, 5, 0, ((0.1, 1000.0), (1.0, 1100.0)))}, {"a": "selected"}),
            CounterSample(120.0, {"a": Totals(1200, 60, 8, 1, ((0.1, 1000.0), (1.0, 1200.0)))}, {"a": "standby"}),
        )
        recent = recall(looks, "a")
        self.assertEqual((recent.seconds, recent.rate, recent.error_share, recent.retries), (20.0, 10.0, 0.25, 3))
        self.assertEqual(recent.slots, (TrafficSlot(10.0, 100, 0, 0, "selected"), TrafficSlot(10.0, 100, 50, 3, "ejected")))
        assert recent.p50 is not None and recent.p99 is not None
        self.assertAlmostEqual(recent.p50, 0.1)
        self.assertAlmostEqual(recent.p99, 0.982)

    def test_current_rates_are_separate_after_ten_seconds(self) -> None:
        """What happens now is told apart from the last minutes, from ten seconds on, in rates and in latencies."""
        looks = (
            CounterSample(0.0, {"a": Totals()}, {}),
            CounterSample(590.0, {"a": Totals(5900, 0, 0, 0, ((0.1, 5900.0), (1.0, 5900.0)))}, {}),
            CounterSample(600.0, {"a": Totals(5910, 5, 1, 0, ((0.1, 5900.0), (1.0, 5910.0)))}, {}),
            CounterSample(604.0, {"a": Totals(5914, 9, 1, 0, ((0.1, 5900.0), (1.0, 5914.0)))}, {}),
        )
        now = recall(looks, "a").latest
        self.assertEqual((now.seconds, now.rate, now.error_share, now.retries), (14.0, 1.0, 9 / 14, 1))
        self.assertGreater(now.p50 or 0, 0.5)
        self.assertEqual(recall(looks[:2], "a").latest.seconds, 590.0)

    def test_new_backend(self) -> None:
        """A backend that was not known at first began with nothing."""
        recent = recall((CounterSample(0.0, {}, {}), CounterSample(10.0, {"a": Totals(5)}, {"a": "selected"})), "a")
        self.assertEqual((recent.requests, recent.p50, recent.slots[0].state), (5, None, "selected"))

    def test_counters_that_began_anew(self) -> None:
        """A backend that was gone for so long that its counters went has no negative number of requests."""
        looks = (
            CounterSample(0.0, {"a": Totals(500, 9)}, {}),
            CounterSample(10.0, {}, {}),
            CounterSample(20.0, {"a": Totals(5)}, {"a": "selected"}),
        )
        self.assertEqual(recall(looks, "a").requests, 5)
        recent = recall((looks[0], looks[2]), "a")
        self.assertEqual((recent.slots[0].requests, recent.errors), (5, 0))

    def test_nothing_yet(self) -> None:
        """One look tells nothing of the last minutes, nor do none."""
        for looks in ((), (CounterSample(0.0, {"a": Totals(5)}, {}),)):
            self.assertEqual(recall(looks, "a"), RecentTraffic())
        self.assertEqual((RecentTraffic().rate, RecentTraffic().error_share), (0.0, 0.0))


class QuantileTests(SynchronousTestCase):
    """Quantiles of histograms."""

    def test_quantile_is_interpolated_within_a_bucket(self) -> None:
        """Within a bucket it is interpolated; above the last finite bound nothing is known."""
        for share, histogram, expected in [
            (0.5, (), None),
            (0.5, ((1.0, 0.0), (INF, 0.0)), None),
            (0.5, ((1.0, 10.0), (INF, 10.0)), 0.5),
            (0.5, ((1.0, 0.0), (3.0, 4.0), (INF, 4.0)), 2.0),
            (0.99, ((1.0, 10.0), (INF, 20.0)), 1.0),
            (1.0, ((1.0, 10.0), (2.0, 20.0)), 2.0),
            (0.5, ((1.0, 10.0), (2.0, 20.0)), 1.0),
        ]:
            self.assertEqual(quantile(share, histogram), expected)
