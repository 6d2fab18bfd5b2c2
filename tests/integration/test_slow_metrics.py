"""A server whose /metrics takes seconds: its facts are known all the same, and the rounds do not wait for them."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.patience import within
from tests.integration.processes import Mpp, Simulated, fetch, wait_until


class SlowMetricsTests(SynchronousTestCase):
    """The server with more data is slow to give its metrics, and quick in all else."""

    def setUp(self) -> None:
        self.slow = Simulated("--version", "3.5.0", "--history", "30d", name="slow")
        self.quick = Simulated("--version", "3.5.0", "--history", "10d", name="quick")
        for server in (self.slow, self.quick):
            server.start_for(self)

    def begin(self) -> Mpp:
        """Start mpp."""
        return Mpp([self.quick.url, self.slow.url], interval="500ms").start_for(self)

    def round_seconds(self, mpp: Mpp, seconds: float) -> float:
        """Return how long a round takes on average during the next seconds."""
        name = "mpp_selection_round_duration_seconds"
        before = mpp.metric(f"{name}_sum"), mpp.metric(f"{name}_count")
        time.sleep(seconds)
        return (mpp.metric(f"{name}_sum") - before[0]) / max(1.0, mpp.metric(f"{name}_count") - before[1])

    def test_facts_are_known(self) -> None:
        """A page that takes 8 seconds is read once a minute; with its facts the server takes the traffic that is due to it."""
        self.slow.set(metrics_take=8.0)
        mpp = self.begin()
        self.assertLess(self.round_seconds(mpp, 1.5), within(0.5))
        wait_until(lambda: mpp.is_selected(self.slow.address), f"it is selected: {mpp.log()[-2000:]}", 12)
        self.assertLess(self.round_seconds(mpp, 5.0), within(0.5))
        self.assertEqual(self.slow.count("/metrics"), 1)

    def test_read_less_often_while_it_fails(self) -> None:
        """A page that never comes is tried ever less often; the server is in service, and the rounds are short."""
        self.slow.set(metrics_take=3600.0)
        # The first round does not wait for the page to end, either.
        mpp = self.begin()
        self.assertTrue(mpp.is_selected(self.quick.address))
        self.assertLess(self.round_seconds(mpp, 12.0), within(0.5))
        self.assertEqual(self.slow.count("/metrics"), 1)
        self.assertEqual(mpp.standing_of(self.slow.address), "viable")
        self.assertIn("cannot read the metrics of", mpp.log())
        self.assertEqual(fetch(mpp.port, "/api/v1/query?query=up")[0], 200)
        mpp.stop(deadline=3)

    def test_removed_while_it_is_read(self) -> None:
        """A server that is not listed any more is not read any more: its connection is closed."""
        self.slow.set(metrics_take=3600.0)
        mpp = self.begin()
        self.assertGreater(self.slow.state()["connections"], 0)
        mpp.write_endpoints(self.quick.url)
        wait_until(lambda: self.slow.state()["connections"] == 0, "all connections to it are closed", 5)
