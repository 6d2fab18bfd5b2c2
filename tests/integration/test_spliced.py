"""Answers of a holed pair are those of a server that was never down, byte for byte."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.histories import INTERVAL_S, Lost, WithHistory
from tests.integration.processes import Mpp, fetch, wait_until
from tests.integration.servers import require_binary
from tests.integration.targets import Targets

HOUR = 3600
FOUND_S = 90.0
QUERIES = (
    "up",
    "requests_total",
    "rate(requests_total[5m])",
    "increase(requests_total[10m])",
    "sum by (job) (rate(requests_total[2m]))",
    "topk(2, requests_total)",
    "max_over_time(sum(up)[10m:30s])",
    "requests_total offset 1h",
    "rate(requests_total[5m] offset 30m)",
    "sum(up) / count(up)",
    "count_values('value', up)",
    "absent(up{job='node'})",
    "timestamp(up{job='web'})",
    "up == bool 1 unless on(instance) requests_total % 2 == 0",
    "histogram_quantile(0.9, rate(requests_total[5m]))",
    "quantile_over_time(0.5, requests_total[7m])",
    "label_replace(up, 'host', '$1', 'instance', '(.*):.*')",
    "time()",
    "vector(1)",
)


class SplicedTests(SynchronousTestCase):
    """A pair with holes at different times, and a whole server that mpp does not know."""

    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        targets = Targets()
        self.addCleanup(targets.close)
        jobs = {"node": targets.addresses(10), "web": targets.addresses(3, first=20)}
        self.end = int(time.time()) // INTERVAL_S * INTERVAL_S - 600
        self.start = self.end - 12 * HOUR
        at = self.end - 6 * HOUR
        lost = {
            "a": [Lost(at, at + 1440), Lost(at + 4 * HOUR, at + 4 * HOUR + 45)],
            "b": [Lost(at + 2 * HOUR, at + 2 * HOUR + 1800)],
            "whole": [],
        }
        self.servers = {
            name: WithHistory(require_binary(), jobs, name=name, start=self.start, end=self.end, lost=holes)
            for name, holes in lost.items()
        }
        for server in self.servers.values():
            server.start_for(self, wait=False)
        for server in self.servers.values():
            server.wait_ready()
        self.mpp = Mpp(
            [self.servers[name].url for name in "ab"], "--routing-strategy", "random", *self.options, interval="2s"
        ).start_for(self)
        for server in (self.servers["a"], self.servers["b"]):
            wait_until(lambda server=server: self.looked_back(server), "all is compared", FOUND_S)

    def looked_back(self, server: WithHistory) -> bool:
        """Return whether mpp knows what the server lacks."""
        document = json.loads(fetch(self.mpp.port, "/mpp/status?format=json")[2])
        return any(
            each["looked_back"]["finished"] and each["missing"] for each in document["backends"] if each["name"] == server.address
        )

    def requests(self) -> Iterator[tuple[str, str]]:
        """Yield paths and parameters over all holes."""
        for query in QUERIES:
            for step, first, last in ((60, 7, 1), (300, 11, 0), (15, 5, 3)):
                start, end = self.end - first * HOUR, self.end - last * HOUR
                yield "/api/v1/query_range", urlencode({"query": query, "start": start, "end": end, "step": step})
            for hours in (5.9, 5.6, 3.9, 3.6, 1.98, 1):
                yield "/api/v1/query", urlencode({"query": query, "time": self.end - hours * HOUR})
        for hours in (5.9, 3.9):
            at = self.end - hours * HOUR
            times = {"start": at, "end": at + 60}
            yield "/api/v1/series", urlencode({"match[]": "up", **times})
            yield "/api/v1/label/instance/values", urlencode(times)

    def test_answers_equal_a_whole_server(self) -> None:
        """Instant queries, ranges with steps below and above the interval, series; by GET and, where it exists, by POST."""
        asked, different = 0, []
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        for path, parameters in self.requests():
            expected = fetch(self.servers["whole"].port, f"{path}?{parameters}")[2]
            answers = [fetch(self.mpp.port, f"{path}?{parameters}")]
            if path.startswith("/api/v1/query"):
                answers.append(fetch(self.mpp.port, path, method="POST", headers=form, body=parameters.encode()))
            for status, fields, body in answers:
                asked += 1
                if status != 200 or body != expected:
                    different.append((path, parameters, status, fields, body[:300], expected[:300]))
        joined = self.mpp.metric("mpp_joined_responses_total")
        rerouted = sum(self.mpp.metric("mpp_rerouted_requests_total", backend=self.servers[name].address) for name in "ab")
        print(f"asked {asked}, different {len(different)}, joined {joined:g}, rerouted {rerouted:g}")
        self.assertEqual(different[:3], [])
        self.assertGreater(joined, 40)
        self.assertGreater(rerouted, 20)


class SplicedByWorkersTests(SplicedTests):
    """The same with two workers, to which the parent says what the servers lack."""

    options = ("--workers", "2")
