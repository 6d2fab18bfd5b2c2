"""Servers are taken out of service and come back, and clients notice neither."""

from __future__ import annotations

import time
from math import log2

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.clients import Ask, Load
from tests.integration.patience import within
from tests.integration.processes import Mpp, Simulated, wait_until

ASKS = (Ask("/api/v1/query?query=up"), Ask("/api/v1/labels"))
"""Nothing that a health check would ask too."""
CLIENTS = 4


class EjectionTests(SynchronousTestCase):
    """Two simulated servers; the one with more data goes wrong."""

    def setUp(self) -> None:
        self.faulty = Simulated("--version", "3.5.0", "--history", "30d", name="faulty")
        self.well = Simulated("--version", "3.5.0", "--history", "10d", name="well")
        for server in (self.faulty, self.well):
            server.start_for(self)
        self.mpp = Mpp([self.faulty.url, self.well.url], "--affinity-options", "none", interval="10s")
        self.mpp.start_for(self).wait_selected(self.faulty.address)

    def counted(self, name: str, **labels: str) -> float:
        """Return a metric of the faulty server."""
        return self.mpp.metric(name, backend=self.faulty.address, **labels)

    def test_spoils_requests_and_answers_probes(self) -> None:
        """A server that resets all requests and answers all probes is tried ever less often, and is back when mended."""
        with Load(self.mpp.port, clients=CLIENTS, asks=ASKS, pause=0.005) as load:
            load.reach(20)
            self.faulty.spoil("half-reset", spare_probes=True)
            spoiled = time.monotonic()
            time.sleep(4.0)
            wait_until(lambda: self.counted("mpp_ejections_total", reason="failures") >= 2, "it is ejected again", 10)
            retries, ejections = self.counted("mpp_retries_total"), self.counted("mpp_ejections_total", reason="failures")
            lasted = time.monotonic() - spoiled
            self.faulty.mend()
            served = load.tally().served_by[self.faulty.address]
            wait_until(lambda: self.mpp.is_selected(self.faulty.address), "the mended server is back", 15)
            wait_until(lambda: load.tally().served_by[self.faulty.address] > served, "it takes traffic again", 5)
            tally = load.stop()
        self.assertEqual(tally.failures, [], self.mpp.log()[-3000:])
        # It is out for 0.5, 1, 2, 4 s and so on; each time three requests find out, and those on their way by then.
        self.assertLessEqual(ejections, 3 + log2(lasted), f"{ejections:g} ejections in {lasted:.1f} s; {tally}")
        self.assertLessEqual(retries, (ejections + 1) * (3 + 2 * CLIENTS), f"{ejections:g} ejections; {tally}")
        self.assertEqual(self.counted("mpp_backend_ejected"), 0)
        self.assertEqual(self.counted("mpp_readmissions_total"), self.counted("mpp_ejections_total"))

    def test_returns_between_the_rounds(self) -> None:
        """A server that was away for two seconds takes traffic again long before the next round."""
        with Load(self.mpp.port, clients=CLIENTS, asks=ASKS, pause=0.005) as load:
            self.faulty.spoil("refuse")
            wait_until(lambda: self.counted("mpp_backend_ejected") == 1, "it is ejected", 5)
            time.sleep(2.0)
            self.faulty.mend()
            mended = time.monotonic()
            self.mpp.wait_selected(self.faulty.address)
            took = time.monotonic() - mended
            tally = load.stop()
        self.assertEqual(tally.failures, [], self.mpp.log()[-3000:])
        self.assertLess(took, within(4.0))
        self.assertEqual(self.counted("mpp_ejections_total"), 1)

    def test_nobody_is_left(self) -> None:
        """When no server is usable that is told, until one of them is back."""
        self.assertEqual(self.mpp.metric("mpp_last_resort"), 0)
        with Load(self.mpp.port, clients=1, asks=ASKS, pause=0.05):
            self.faulty.kill()
            self.well.kill()
            wait_until(lambda: self.mpp.metric("mpp_last_resort") == 1, "nobody is left", 5)
        self.assertEqual(self.mpp.metric("mpp_backend_ejected"), 2)
        self.well.start()
        wait_until(lambda: self.mpp.is_selected(self.well.address), "the first one is back", 5)
        wait_until(lambda: self.mpp.metric("mpp_last_resort") == 0, "it is well", 5)
