"""Servers that answer but have stopped scraping, or have just come back: queries for newest data go to the others."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import Mpp, fetch, wait_until
from tests.integration.servers import require_binary
from tests.integration.targets import Scraper, Targets

TARGETS = 12
NEWEST = "count(max_over_time(up[3s]) == 1)"
"""How many targets were scraped within the last three intervals."""
FOUND_S = 25.0
"""Two scrape intervals and 15 s, and patience for a busy machine."""


class LacksTests(SynchronousTestCase):
    """A real pair that scrapes the same targets every second."""

    def setUp(self) -> None:
        self.targets = Targets()
        self.addCleanup(self.targets.close)
        self.jobs = {"node": self.targets.addresses(TARGETS)}
        self.servers = [Scraper(require_binary(), self.jobs, name=name, interval=1.0) for name in "ab"]
        for server in self.servers:
            server.start_for(self, wait=False)
        for server in self.servers:
            server.wait_ready()
            server.wait_scraped(TARGETS)

    def begin(self, strategy: str, *options: str) -> Mpp:
        """Start mpp in front of both."""
        urls = [server.url for server in self.servers]
        options = ("--routing-strategy", strategy, "--affinity-options", "none", *options)
        return Mpp(urls, *options, interval="2s").start_for(self)

    def newest(self, mpp: Mpp, count: int = 20) -> Counter[tuple[int, str]]:
        """Return how often which number of targets was found on which server."""
        found: Counter[tuple[int, str]] = Counter()
        for _ in range(count):
            status, headers, body = fetch(mpp.port, "/api/v1/query?query=" + quote(NEWEST))
            self.assertEqual(status, 200)
            result = json.loads(body)["data"]["result"]
            found[int(result[0]["value"][1]) if result else 0, headers["mpp.servedby"]] += 1
        return found

    def lack(self, mpp: Mpp, server: Scraper) -> Any:
        """Return what a server lacks, by the status page."""
        document = json.loads(fetch(mpp.port, "/mpp/status?format=json")[2])
        return next(each["lack"] for each in document["backends"] if each["name"] == server.address)

    def test_cut_off(self) -> None:
        """A server that is cut off from its targets gets no queries for newest data, until it has them again."""
        mpp, (whole, cut) = self.begin("random"), self.servers
        self.assertEqual(len(self.newest(mpp, 60)), 2)
        cut.change(self.jobs, cut_off=True)
        wait_until(lambda: self.lack(mpp, cut), "the lack is found", FOUND_S)
        self.assertEqual(self.lack(mpp, cut)["missing"], TARGETS)
        self.assertEqual(set(self.newest(mpp, 60)), {(TARGETS, whole.address)})
        past = f"/api/v1/query?query=up&time={time.time() - 3600:.0f}"
        self.assertEqual({fetch(mpp.port, past)[1]["mpp.servedby"] for _ in range(40)}, {whole.address, cut.address})
        self.assertEqual(fetch(mpp.port, "/mpp/ready")[0], 200)
        self.assertIn(f"{cut.address} has scraped none of", mpp.log())
        cut.change(self.jobs)
        wait_until(lambda: self.lack(mpp, cut) is None, "the lack is over", FOUND_S)
        # The query reads the last three seconds, in which there was a hole until now.
        wait_until(lambda: len(self.newest(mpp, 60)) == 2, "both answer again", FOUND_S)

    def test_both_stopped(self) -> None:
        """When both have stopped, both serve as before."""
        mpp = self.begin("random")
        for server in self.servers:
            server.change({})
        time.sleep(20)
        self.assertEqual([self.lack(mpp, server) for server in self.servers], [None, None])
        self.assertEqual({server for _, server in self.newest(mpp, 60)}, {server.address for server in self.servers})

    def test_restarted_server_serves_after_its_first_scrapes(self) -> None:
        """A server that comes back takes no queries for newest data before it has scraped its targets."""
        mpp, (_, victim) = self.begin("random", "--workers", "2"), self.servers
        victim.kill()
        time.sleep(4)
        victim.start(wait=False)
        found: Counter[tuple[int, str]] = Counter()
        end = time.monotonic() + 40
        while time.monotonic() < end and not any(server == victim.address for _, server in found):
            found += self.newest(mpp, 5)
        self.assertEqual({number for number, _ in found}, {TARGETS})
        self.assertEqual(len({server for _, server in found}), 2)

    def test_switched_off(self) -> None:
        """``--no-coverage`` asks nothing."""
        mpp, (_, cut) = self.begin("random", "--no-coverage"), self.servers
        cut.change({})
        time.sleep(8)
        self.assertIsNone(self.lack(mpp, cut))
        self.assertEqual(len({server for _, server in self.newest(mpp, 60)}), 2)
