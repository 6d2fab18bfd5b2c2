"""Holes in the servers' histories from long before mpp was started: it finds them, and only them."""

from __future__ import annotations

import json
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.histories import INTERVAL_S, Lost, WithHistory
from tests.integration.processes import Mpp, fetch, wait_until
from tests.integration.servers import require_binary
from tests.integration.targets import Targets

DAY = 86400
WINDOW = 2 * INTERVAL_S
FOUND_S = 150.0
"""Two scrape intervals until the jobs are known, some seconds for the look back, and patience for a busy machine."""


class HistoriesTests(SynchronousTestCase):
    """A real pair with two and a half days of data."""

    def setUp(self) -> None:
        self.targets = Targets()
        self.addCleanup(self.targets.close)
        self.jobs = {"node": self.targets.addresses(10), "web": self.targets.addresses(3, first=20)}
        now = int(time.time()) // INTERVAL_S * INTERVAL_S
        self.start, self.end = now - 5 * DAY // 2, now
        self.whole = Lost(now - 2 * DAY, now - 2 * DAY + 600)
        self.restart = Lost(now - DAY, now - DAY + 45)
        self.part = Lost(now - 9 * 3600, now - 6 * 3600, "node", 5)
        lost = {"a": [self.whole, self.part], "b": [self.restart]}
        self.servers = {name: self.server(name, lost[name], phase) for name, phase in (("a", 0), ("b", 6))}
        for server in self.servers.values():
            server.start(wait=False)
        for server in self.servers.values():
            server.wait_all_scraped()

    def server(self, name: str, lost: list[Lost], phase: int) -> WithHistory:
        """Return a server with its history."""
        server = WithHistory(require_binary(), self.jobs, name=name, start=self.start, end=self.end, lost=lost, phase=phase)
        self.addCleanup(server.close)
        return server

    def begin(self, *options: str) -> Mpp:
        """Start mpp in front of both."""
        return Mpp([server.url for server in self.servers.values()], *options, interval="2s").start_for(self)

    def of(self, mpp: Mpp, name: str) -> Any:
        """Return what the status page says of a server."""
        document = json.loads(fetch(mpp.port, "/mpp/status?format=json")[2])
        return next(each for each in document["backends"] if each["name"] == self.servers[name].address)

    def wait_compared(self, mpp: Mpp) -> None:
        """Wait until all is compared. A query that fails on a busy machine is sent again after a minute, then after two."""
        progress: dict[str, Any] = {}

        def is_compared() -> bool:
            progress.update({name: self.of(mpp, name)["looked_back"] for name in self.servers})
            return all(each["finished"] for each in progress.values())

        try:
            wait_until(is_compared, "all is compared", FOUND_S, 0.5)
        except AssertionError as error:
            unscraped = {name: server.unscraped() for name, server in self.servers.items()}
            self.fail(f"{error}: {progress}, not scraped: {unscraped}\n{mpp.log()[-6000:]}")

    def assert_found(self, found: list[Any], lost: Lost, targets: int, of: int, job: str | None = None) -> None:
        """Check that some holes are what was lost, but for a window at each end, where it may be one of each job."""
        long = [each for each in found if each["end"] - each["start"] > WINDOW]
        self.assertEqual({(each["targets"], each["of"], each["job"]) for each in long}, {(targets, of, job)})
        self.assertLessEqual(abs(found[0]["start"] - lost.start), WINDOW)
        self.assertLessEqual(abs(found[-1]["end"] - lost.end), WINDOW)

    def test_each_hole_is_found(self) -> None:
        """Two days, one day and nine hours ago; mpp finds each of them, and nothing else."""
        mpp = self.begin()
        self.wait_compared(mpp)
        # The first scrapes of two servers that have just been started are some seconds apart.
        missing = {
            name: [each for each in self.of(mpp, name)["missing"] if each["start"] < self.end - 60] for name in self.servers
        }
        self.assert_found([each for each in missing["a"] if each["start"] < self.end - 1.5 * DAY], self.whole, 13, 13)
        self.assert_found([each for each in missing["a"] if each["start"] > self.end - 1.5 * DAY], self.part, 5, 10, "node")
        self.assert_found(missing["b"], self.restart, 13, 13)
        weight = mpp.metric("mpp_backend_missing_target_seconds", backend=self.servers["a"].address)
        self.assertLess(abs(weight - (13 * 600 + 5 * 3 * 3600)), 13 * 2 * WINDOW + 5 * 2 * WINDOW + 13 * 120)
        self.assertIn("compared the last 2d 12h of 2 servers", mpp.log())
        page = fetch(mpp.port, "/mpp/status")[2].decode()
        self.assertEqual(page.count('<svg class="strip"'), 4)
        self.assertIn("all of it is compared with the other servers", page)
        self.assertRegex(page, "<li>lacks [0-9 :-]+ to [0-9 :-]+, 5 of 10 targets of the job node</li>")
        self.assertRegex(page, "<li>lacks [0-9 :-]+ to [0-9 :-]+, all 13 targets</li>")

    def test_switched_off(self) -> None:
        """Nothing is asked with --no-coverage."""
        mpp = self.begin("--no-coverage")
        time.sleep(5)
        self.assertEqual(self.of(mpp, "a")["missing"], [])
        self.assertIsNone(self.of(mpp, "a")["looked_back"]["until"])


class SlowJobsTests(SynchronousTestCase):
    """A real pair with a job that is scraped every five minutes, of which one server lacks three hours."""

    def test_gap_of_a_slow_job_is_found(self) -> None:
        """mpp finds the gap of the slow job, and no other one."""
        targets = Targets()
        self.addCleanup(targets.close)
        jobs = {"node": targets.addresses(5), "slow": targets.addresses(4, first=20)}
        now = int(time.time()) // 300 * 300
        lost = Lost(now - 9 * 3600, now - 6 * 3600, "slow", 3)
        options = {"start": now - DAY, "end": now, "slow": {"slow": 300}}
        servers = [
            WithHistory(require_binary(), jobs, name="a", lost=[lost], **options),
            WithHistory(require_binary(), jobs, name="b", phase=7, **options),
        ]
        for server in servers:
            self.addCleanup(server.close)
            server.start(wait=False)
        for server in servers:
            server.wait_ready()
        mpp = Mpp([server.url for server in servers], interval="2s")
        self.addCleanup(mpp.close)
        mpp.start()

        def backends() -> list[Any]:
            document = json.loads(fetch(mpp.port, "/mpp/status?format=json")[2])
            return sorted(document["backends"], key=lambda each: each["name"] != servers[0].address)

        wait_until(lambda: all(each["looked_back"]["finished"] for each in backends()), "all is compared", FOUND_S, 0.5)
        # The first scrapes of two servers that have just been started are some seconds apart.
        first, second = ([each for each in server["missing"] if each["start"] < now - 3600] for server in backends())
        self.assertEqual(second, [])
        self.assertEqual([(each["targets"], each["of"], each["job"]) for each in first], [(3, 4, "slow")])
        self.assertLessEqual(abs(first[0]["start"] - lost.start), 600)
        self.assertLessEqual(abs(first[0]["end"] - lost.end), 600)
