"""A server that had stopped scraping before mpp was started: what clients get, and that the shipped alert fires."""

from __future__ import annotations

import json
import urllib.request
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.long.newest import seed
from tests.integration.processes import CHECKOUT, Mpp, fetch, wait_until
from tests.integration.servers import Prometheus, require_binary
from tests.integration.targets import Scraper, Targets

TARGETS = 12
STRATEGIES = ("single-most-data", "random", "minimum-history:5h")
QUERY = "/api/v1/query?query=" + quote("count(max_over_time(up[3s]) == 1)")
PATIENCE_S = 40.0


class StoppedBeforeTests(SynchronousTestCase):
    """A real pair, one of which has the longer history, but an empty configuration since half an hour ago."""

    def setUp(self) -> None:
        targets = Targets()
        self.addCleanup(targets.close)
        jobs = {"node": targets.addresses(TARGETS)}
        self.old, self.good = (Scraper(require_binary(), jobs, name=name, interval=1.0) for name in ("old", "good"))
        for server, first, last in ((self.old, 10 * 3600, 1800), (self.good, 6 * 3600, 60)):
            self.addCleanup(server.close)
            seed(server, first, last)
        self.old.write({})
        for server in (self.old, self.good):
            server.start()
        self.good.wait_scraped(TARGETS)
        wait_until(lambda: self.good.query("count(max_over_time(up[3s]) == 1)"), "all is scraped")

    def begin(self, strategy: str) -> Mpp:
        """Start mpp in front of both."""
        options = ("--routing-strategy", strategy, "--affinity-options", "none")
        return Mpp([self.old.url, self.good.url], *options, interval="2s").start_for(self)

    def test_first_query(self) -> None:
        """From the first query on, those for newest data go to the good one, with each strategy."""
        for strategy in STRATEGIES:
            mpp = self.begin(strategy)
            for _ in range(40):
                status, headers, body = fetch(mpp.port, QUERY)
                self.assertEqual((status, headers["mpp.servedby"]), (200, self.good.address), strategy)
                self.assertTrue(json.loads(body)["data"]["result"], strategy)
            self.assertIn(f"{self.old.address} has scraped", mpp.log())

    def test_alert_fires_for_the_server_that_lacks_data(self) -> None:
        """``MppServerLacksData`` fires in a real Prometheus that scrapes mpp, for the server that lacks data."""
        mpp = self.begin("random")
        watcher = Prometheus(require_binary(), name="watcher")
        self.addCleanup(watcher.close)
        rules = (CHECKOUT / "contrib/prometheus/mpp.rules.yml").read_text()
        # As shipped, but for the minutes that it waits.
        self.assertIn("for: 2m", rules)
        (watcher.folder / "rules.yml").write_text(rules.replace("for: 2m", "for: 1s"))
        scraped = {"job_name": "mpp", "metrics_path": "/mpp/metrics", "static_configs": [{"targets": [mpp.address]}]}
        configured = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        files = [str(watcher.folder / "rules.yml")]
        written = json.dumps({"global": configured, "rule_files": files, "scrape_configs": [scraped]})
        (watcher.folder / "prometheus.yml").write_text(written)
        watcher.start()

        def firing() -> list[tuple[str, str]]:
            with urllib.request.urlopen(f"{watcher.url}/api/v1/alerts", timeout=10) as answer:
                alerts = json.load(answer)["data"]["alerts"]
            named = [each for each in alerts if each["labels"]["alertname"] == "MppServerLacksData" and each["state"] == "firing"]
            return [(each["labels"]["backend"], each["annotations"]["summary"]) for each in named]

        told = f"{self.old.address} lacks newest data of {TARGETS} targets"
        self.assertEqual(wait_until(firing, "the alert fires", PATIENCE_S, every=0.5), [(self.old.address, told)])
