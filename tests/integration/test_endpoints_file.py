"""The endpoints file changes, breaks and vanishes while requests run, and none of them fails."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.clients import Load
from tests.integration.processes import Mpp, Simulated, fetch, wait_until


class EndpointsFileTests(SynchronousTestCase):
    """Two simulated servers, and a file that is edited under load."""

    def setUp(self) -> None:
        """Start them, with one of the two in the file."""
        self.first, self.second = Simulated(name="a"), Simulated(name="b")
        for server in (self.first, self.second):
            server.start_for(self)
        self.mpp = Mpp(
            [self.first.url], "--routing-strategy", "random", "--affinity-options", "none", interval="200ms"
        ).start_for(self)

    def listed(self) -> float:
        """Return the number of backends that the file gave last."""
        return self.mpp.metric("mpp_discovered_backends")

    def test_edited_file_adds_and_removes_servers(self) -> None:
        """Servers come and go with the file's lines; nobody fails."""
        with Load(self.mpp.port, clients=4) as load:
            self.mpp.write_endpoints(self.first.url, "", "# both now", f"  {self.second.address}  ", self.first.url)
            wait_until(lambda: self.mpp.is_selected(self.second.address), "the second one serves", 5)
            self.assertEqual(self.listed(), 2)
            self.mpp.write_endpoints(self.second.url)
            wait_until(lambda: self.listed() == 1, "the first one is forgotten", 5)
            tally = load.stop()
        self.assertEqual(tally.failures, [], str(tally))
        self.assertEqual(fetch(self.mpp.port, "/api/v1/labels")[1]["mpp.servedby"], self.second.address)

    def test_odd_encodings(self) -> None:
        """CRLF, a byte order mark and comments are fine."""
        text = f"\ufeff# servers\r\n{self.first.url}\r\n\r\n{self.second.address}\r\n"
        self.mpp.endpoints_file.write_bytes(text.encode())
        wait_until(lambda: self.mpp.is_selected(self.second.address), "the second one serves", 5)
        self.assertEqual(self.listed(), 2)

    def test_broken_line_is_logged_with_its_number(self) -> None:
        """A bad line is named in the log with its number, and the others count."""
        with Load(self.mpp.port, clients=4) as load:
            self.mpp.write_endpoints(self.first.url, "http://what is this", self.second.url, "ftp://127.0.0.1:21")
            wait_until(lambda: self.mpp.is_selected(self.second.address), "the second one serves", 5)
            time.sleep(0.5)
            tally = load.stop()
        self.assertEqual(tally.failures, [], str(tally))
        self.assertEqual(self.listed(), 2)
        log = self.mpp.log()
        for line in (2, 4):
            self.assertEqual(log.count(f"{self.mpp.endpoints_file}:{line}"), 1, log)

    def test_last_good_list_outlives_the_file(self) -> None:
        """Without the file the last good list counts; it is logged once and shows in the metrics."""
        with Load(self.mpp.port, clients=4) as load:
            self.mpp.endpoints_file.unlink()
            wait_until(lambda: self.mpp.metric("mpp_discovery_errors_total") >= 3, "the errors are counted", 5)
            self.assertEqual(self.mpp.metric("mpp_discovery_up"), 0)
            self.assertTrue(self.mpp.is_selected(self.first.address))
            mentions = [line for line in self.mpp.log().splitlines() if str(self.mpp.endpoints_file) in line]
            self.mpp.write_endpoints(self.first.url, self.second.url)
            wait_until(lambda: self.mpp.is_selected(self.second.address), "it is read again", 5)
            tally = load.stop()
        self.assertEqual(tally.failures, [], str(tally))
        self.assertEqual(self.mpp.metric("mpp_discovery_up"), 1)
        self.assertEqual(len(mentions), 1, mentions)
