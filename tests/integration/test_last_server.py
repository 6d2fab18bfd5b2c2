"""The last server whose probes are good fails all requests, and another one, whose probes are refused, answers them."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.clients import Ask, Load, Tally
from tests.integration.patience import within
from tests.integration.processes import Mpp, Simulated, wait_until

TENANT = {"X-Scope-OrgID": "a"}
"""What the clients send, and mpp's probes do not."""
ASKS = (Ask("/api/v1/query?query=up", headers=TENANT), Ask("/api/v1/labels", headers=TENANT))
CLIENTS = 4
REQUESTS, PER_SECOND = 2000, 200


class RefusedProbeTests(SynchronousTestCase):
    """Two simulated servers. The one with more data goes wrong, the other one stands behind a gateway that refuses the probes."""

    def setUp(self) -> None:
        self.failing = Simulated("--version", "3.5.0", "--history", "30d", name="failing")
        self.refused = Simulated("--version", "3.5.0", "--history", "10d", name="refused")
        for server in (self.failing, self.refused):
            server.start_for(self)
        self.refused.set(asks_for=[f"{name}: {value}" for name, value in TENANT.items()])

    def begin(self, status: int, *options: str) -> Mpp:
        """Start mpp when probes of the one server are refused with a status."""
        self.refused.set(refuses_with=status)
        mpp = Mpp([self.failing.url, self.refused.url], "--affinity-options", "none", *options, interval="2s")
        mpp.start_for(self).wait_selected(self.failing.address)
        self.assertEqual(mpp.standing_of(self.refused.address), "not_ready")
        return mpp

    def load(self, mpp: Mpp, requests: int) -> Tally:
        """Send so many requests at a steady rate."""
        with Load(mpp.port, clients=CLIENTS, asks=ASKS, pause=CLIENTS / PER_SECOND) as load:
            wait_until(lambda: load.tally().requests >= requests, "all were sent", 60)
            return load.stop()

    def test_answers_500_to_everything(self) -> None:
        """Of 2,000 requests, 200 in a second, none fails; the log says why the other server serves; later all is as it was."""
        mpp = self.begin(403)
        self.failing.spoil("status", status=500, spare_probes=True)
        tally = self.load(mpp, REQUESTS)
        self.assertEqual(tally.failures, [], mpp.log()[-3000:])
        retries = mpp.metric("mpp_retries_total", backend=self.failing.address)
        ejections = mpp.metric("mpp_ejections_total", backend=self.failing.address)
        # It stays out for twice as long each time, and the requests are sent within four minutes.
        self.assertLessEqual(ejections, 8)
        self.assertLessEqual(retries, (ejections + 1) * (3 + 2 * CLIENTS), f"{ejections:g} ejections; {tally}")
        self.assertEqual(mpp.metric("mpp_retry_budget_exhausted_total"), 0)
        self.assertIn(f"{self.refused.address} is in service although it refuses mpp's probe (/-/ready responded 403", mpp.log())
        self.failing.mend()
        wait_until(lambda: mpp.is_selected(self.failing.address), "the mended server is back", 20)
        ejections = mpp.metric("mpp_ejections_total", backend=self.failing.address)
        self.assertEqual(self.load(mpp, 200).failures, [])
        self.assertEqual(mpp.metric("mpp_ejections_total", backend=self.failing.address), ejections)

    def test_other_ways_to_refuse_and_to_fail(self) -> None:
        """The same holds for a probe that gets 401 or 404, for a server that breaks off or says 503, and for workers."""
        for status, fault, options in (
            (401, {"fault": "half-reset"}, ()),
            (404, {"fault": "status", "status": 503}, ()),
            (403, {"fault": "status", "status": 500}, ("--workers", "2")),
        ):
            mpp = self.begin(status, *options)
            self.failing.spoil(spare_probes=True, **fault)  # type: ignore[arg-type]
            tally = self.load(mpp, 600)
            self.assertEqual(tally.failures, [], f"{status} {fault}\n{mpp.log()[-3000:]}")
            self.assertLess(mpp.metric("mpp_retries_total", backend=self.failing.address), 100)
            self.failing.mend()
            mpp.close()

    def test_not_while_it_says_that_it_is_not_ready(self) -> None:
        """A server whose probe gets a 503 is not selected, though requests that are repeated there are answered."""
        mpp = self.begin(503)
        self.failing.spoil("status", status=500, spare_probes=True)
        began = time.monotonic()
        self.load(mpp, 100)
        self.assertLess(time.monotonic() - began, within(30))
        self.assertFalse(mpp.is_selected(self.refused.address))
        self.assertEqual(mpp.standing_of(self.refused.address), "not_ready")
