"""Results of recording rules and alerts after a hole: a server that has no hole any more may have computed them from one."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.histories import INTERVAL_S, Lost, WithHistory
from tests.integration.processes import Mpp, fetch, wait_until
from tests.integration.servers import require_binary
from tests.integration.targets import Targets

HOUR = 3600
FOUND_S = 90.0
RATE = {"record": "job:requests:rate10m", "expr": "sum by (job) (rate(requests_total[10m]))"}
ALERT = {"alert": "Idle", "expr": "job:requests:rate10m == 0", "for": "5m"}


class RulesTests(SynchronousTestCase):
    """A real pair, of which one has a hole of ten minutes, and whose rules look ten minutes back."""

    def setUp(self) -> None:
        targets = Targets()
        self.addCleanup(targets.close)
        jobs = {"node": targets.addresses(5)}
        end = int(time.time()) // INTERVAL_S * INTERVAL_S - 600
        self.hole = Lost(end - 2 * HOUR, end - 2 * HOUR + 600)
        self.holed, self.whole = (
            WithHistory(require_binary(), jobs, name=name, start=end - 4 * HOUR, end=end, lost=lost)
            for name, lost in (("a", [self.hole]), ("b", []))
        )
        for server in (self.holed, self.whole):
            self.addCleanup(server.close)
            self.configure(server, [RATE, ALERT])
            server.start(wait=False)
        for server in (self.holed, self.whole):
            server.wait_ready()

    def configure(self, server: WithHistory, rules: list[dict[str, str]]) -> None:
        """Write the rules of a server."""
        path = Path(server.folder, "prometheus.yml")
        path.write_text(json.dumps({**json.loads(path.read_text()), "rule_files": ["rules.json"]}))
        group = {"name": "g", "interval": f"{INTERVAL_S}s", "rules": rules}
        Path(server.folder, "rules.json").write_text(json.dumps({"groups": [group]}))

    def begin(self, *options: str) -> Mpp:
        """Start mpp in front of both, and wait until it knows the hole and the rules."""
        urls = [server.url for server in (self.holed, self.whole)]
        mpp = Mpp(urls, "--routing-strategy", "random", "--affinity-options", "none", *options, interval="2s")
        self.addCleanup(mpp.close)
        mpp.start()
        wait_until(lambda: self.asked(mpp, "requests_total", -300) == {self.whole.address}, "the hole is known", FOUND_S)
        wait_until(lambda: self.asked(mpp, RATE["record"], 330) == {self.whole.address}, "the rules are known", FOUND_S)
        return mpp

    def asked(self, mpp: Mpp, query: str, after: int) -> set[str]:
        """Return the servers that answer a query at so many seconds after the hole."""
        target = f"/api/v1/query?query={quote(query)}&time={self.hole.end + after}"
        return {fetch(mpp.port, target)[1]["mpp.servedby"] for _ in range(30)}

    def check(self, mpp: Mpp) -> None:
        """Check which servers answer what."""
        both, whole = {self.holed.address, self.whole.address}, {self.whole.address}
        self.assertIn("the servers have 2 recording and alerting rules", mpp.log())
        for query, after, expected in (
            # The samples themselves are there after a lookback of five minutes, what the rule reads after its ten minutes.
            ("requests_total", 330, both),
            (RATE["record"], 330, whole),
            (RATE["record"], 570, whole),
            (RATE["record"], 700, both),
            (f"max_over_time({RATE['record']}[5m])", 800, whole),
            (f"max_over_time({RATE['record']}[5m])", 1000, both),
            # The alert is pending for five minutes, and reads the rule's result.
            ("ALERTS", 800, whole),
            ('ALERTS{alertname="Idle"}', 800, whole),
            ("ALERTS", 1100, both),
        ):
            self.assertEqual(self.asked(mpp, query, after), expected, (query, after))

    def test_results_are_asked_of_the_server_with_the_data(self) -> None:
        """A rule's result is asked of the server that had the data when the rule was evaluated; a reload counts."""
        mpp = self.begin()
        self.check(mpp)
        for server in (self.holed, self.whole):
            self.configure(server, [{**RATE, "expr": "sum by (job) (rate(requests_total[1m]))"}])
            server.signal(signal.SIGHUP)
        both = {self.holed.address, self.whole.address}
        # mpp reads a server's state once a minute.
        wait_until(lambda: self.asked(mpp, RATE["record"], 330) == both, "the new rules are known", 150)
        self.assertEqual(self.asked(mpp, RATE["record"], 60), {self.whole.address})

    def test_each_worker_knows_the_rules(self) -> None:
        """The same holds in each worker."""
        self.check(self.begin("--workers", "2"))
