"""
Servers that hang, and servers that are only slow: no request is left with one that hangs, even if the server beside it is not
well either, and none is ejected for being slow.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.clients import Ask, Load
from tests.integration.patience import within
from tests.integration.processes import Mpp, Simulated, fetch, wait_until
from tests.integration.workers import one_process

QUERY = "/api/v1/query?query=up"


class SlowServersTests(SynchronousTestCase):
    """Both servers are healthy, but take longer than --suspect-after for everything, /-/ready included."""

    def test_no_server_is_ejected(self) -> None:
        """The server that takes the traffic keeps it, every request is answered by it, and none is sent twice."""
        for options in ((), ("--workers", "2")):
            servers = [Simulated("--version", "3.5.0", "--history", "30d", name=name) for name in ("first", "second")]
            for server in servers:
                server.start_for(self).spoil("late", seconds=0.4)
            mpp = Mpp([server.url for server in servers], "--affinity-options", "none", *options, interval="1s").start_for(self)
            with Load(mpp.port, clients=4, asks=(Ask(QUERY), Ask("/api/v1/labels"))) as load:
                time.sleep(8.0)
                load.reach(5)
                tally = load.stop()
            self.assertEqual(tally.failures, [], mpp.log()[-3000:])
            self.assertGreater(tally.requests, 20)
            self.assertEqual(mpp.metric("mpp_ejections_total"), 0, mpp.log()[-3000:])
            self.assertEqual(mpp.metric("mpp_hedges_total"), 0, mpp.log()[-3000:])
            self.assertEqual(mpp.metric("mpp_suspicion_probes_total", result="stuck"), 0)
            # The doubts were raised as early as for any other server, and dispelled.
            self.assertGreater(mpp.metric("mpp_suspicion_probes_total", result="alive"), 0)
            self.assertEqual(len(tally.served_by), 1, tally)
            mpp.close()

    @one_process("a worker that has just started has no connection that shows how long the server takes")
    def test_one_of_them_stops(self) -> None:
        """A slow server that stops is still found out, after four times as long as it usually takes, and nothing is lost."""
        servers = [Simulated("--version", "3.5.0", "--history", name, name=name) for name in ("30d", "10d")]
        for server in servers:
            server.start_for(self).spoil("late", seconds=0.4)
        mpp = Mpp([server.url for server in servers], "--affinity-options", "none", interval="10s")
        mpp.start_for(self).wait_selected(servers[0].address)
        servers[0].spoil("silence")
        began = time.monotonic()
        status, fields, _ = fetch(mpp.port, QUERY)
        took = time.monotonic() - began
        self.assertEqual((status, fields["mpp.servedby"]), (200, servers[1].address), mpp.log()[-3000:])
        # 250 ms until it is asked, 1.6 s for its answer, 0.4 s for the other server's.
        self.assertTrue(2.0 < took < within(4.0), took)


class FailedHedgeTests(SynchronousTestCase):
    """The server that takes the traffic hangs; the other one fails what it is asked beside it, and is well a moment later."""

    def setUp(self) -> None:
        self.stuck = Simulated("--version", "3.5.0", "--history", "30d", name="stuck")
        self.other = Simulated("--version", "3.5.0", "--history", "10d", name="other")
        for server in (self.stuck, self.other):
            server.start_for(self)
        self.clients = ThreadPoolExecutor(4)
        self.addCleanup(self.clients.shutdown, wait=False)

    def begin(self, *options: str) -> Mpp:
        """Start mpp; the rounds are far apart, so that nothing but the requests themselves can bring news."""
        mpp = Mpp([self.stuck.url, self.other.url], "--affinity-options", "none", *options, interval="10s")
        mpp.start_for(self).wait_selected(self.stuck.address)
        return mpp

    def asked(self, mpp: Mpp) -> Future[tuple[int, dict[str, str], bytes]]:
        """Begin a request; wait until the other server has failed it beside the stuck one."""
        before = self.other.count("/api/v1/query")
        answer = self.clients.submit(fetch, mpp.port, QUERY, timeout=30)
        # The probes ask for vector(1) there.
        wait_until(lambda: self.other.count("/api/v1/query") > before, "the other server is asked, too", 5)
        wait_until(lambda: mpp.metric("mpp_hedges_total", reason="stuck") > 0, "and that is counted", 5)
        return answer

    def assert_helped(self, mpp: Mpp, answer: Future[tuple[int, dict[str, str], bytes]]) -> None:
        """Require that the request is answered by the other server soon."""
        began = time.monotonic()
        status, fields, _ = answer.result(timeout=20)
        took = time.monotonic() - began
        self.assertEqual((status, fields["mpp.servedby"]), (200, self.other.address), mpp.log()[-3000:])
        self.assertLess(took, within(3.0))
        self.assertLess(self.other.count("/api/v1/query"), 40)

    def test_not_ready_for_a_moment(self) -> None:
        """The waiting request is answered as soon as the other server, which was not ready when it was asked, is back."""
        for options in ((), ("--workers", "2")):
            mpp = self.begin(*options)
            self.stuck.spoil("silence")
            self.other.spoil("status", status=503)
            answer = self.asked(mpp)
            time.sleep(1.5)
            self.assertFalse(answer.done())
            self.other.mend()
            self.assert_helped(mpp, answer)
            self.stuck.mend()
            mpp.close()

    def test_breaks_off_once(self) -> None:
        """The waiting request is answered by the other server although that one broke off when it was asked first."""
        mpp = self.begin()
        self.stuck.spoil("silence")
        self.other.spoil("half-reset", spare_probes=True)
        answer = self.asked(mpp)
        self.other.mend()
        self.assert_helped(mpp, answer)

    def test_waiting_request_is_answered_by_a_restarted_server(self) -> None:
        """The waiting request is answered by the other server when that has been killed and started anew meanwhile."""
        mpp = self.begin()
        self.stuck.spoil("silence")
        self.other.spoil("silence", spare_probes=True)
        answer = self.asked(mpp)
        self.other.kill()
        time.sleep(1.0)
        self.other.start()
        self.assert_helped(mpp, answer)
