"""Compressed answers out of the range cache, which are joined from compressed pages, as different programs read them."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import time
from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.histories import INTERVAL_S, WithHistory
from tests.integration.processes import Mpp, fetch, wait_until
from tests.integration.servers import promtool_of, require_binary
from tests.integration.targets import Targets

HOUR = 3600
QUERY = "up or scrape_samples_scraped or scrape_duration_seconds"
NODE = """
fetch(process.argv[1]).then(async (answer) => {
    process.stdout.write(Buffer.from(await answer.arrayBuffer()));
});
"""


class ReadersTests(SynchronousTestCase):
    """A server with three hours of data, and mpp with a cache that has most of them."""

    def setUp(self) -> None:
        targets = Targets()
        self.addCleanup(targets.close)
        jobs = {"node": targets.addresses(10)}
        end = int(time.time()) // INTERVAL_S * INTERVAL_S - 600
        self.promtool = promtool_of(binary := require_binary())
        self.server = WithHistory(binary, jobs, name="a", start=end - 4 * HOUR, end=end, lost=[])
        self.addCleanup(self.server.close)
        self.server.start()
        self.mpp = Mpp([self.server.url], "--cache-memory", "64MiB", interval="2s")
        self.addCleanup(self.mpp.close)
        self.mpp.start()
        # The range begins and ends within a page, and misses steps at both ends of what is cached.
        self.range = {"start": end - 3 * HOUR - 37 * 15, "end": end - 45, "step": 15}
        self.path = f"/api/v1/query_range?{urlencode({'query': QUERY, **self.range})}"
        self.expected = fetch(self.server.port, self.path)[2]
        kept = {"query": QUERY, "start": end - 3 * HOUR, "end": end - HOUR, "step": 15}
        self.wait_cached(f"/api/v1/query_range?{urlencode(kept)}")

    def wait_cached(self, path: str) -> None:
        """Wait until all steps of a response are cached, which happens after it was sent."""
        wait_until(lambda: fetch(self.mpp.port, path)[1]["mpp.cache"] == "hit", "a hit")

    def run_program(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end."""
        return subprocess.run(command, capture_output=True, check=True, timeout=30)

    def test_python(self) -> None:
        """The first answer has steps of the server, the second one none; both are those of the server."""
        for use in ("partial", "hit"):
            if use == "hit":
                self.wait_cached(self.path)
            _, fields, body = fetch(self.mpp.port, self.path, headers={"Accept-Encoding": "gzip"})
            self.assertEqual((fields["mpp.cache"].partition(";")[0], fields["content-encoding"]), (use, "gzip"))
            self.assertLess(len(body), len(self.expected) / 2)
            self.assertEqual(gzip.decompress(body), self.expected)

    def test_gzip(self) -> None:
        """The program gzip finds no fault in the body."""
        self.wait_cached(self.path)
        body = fetch(self.mpp.port, self.path, headers={"Accept-Encoding": "gzip"})[2]
        found = subprocess.run(["gzip", "-dc"], input=body, capture_output=True, check=True, timeout=30)
        self.assertEqual((found.stdout, found.stderr), (self.expected, b""))

    def test_curl_and_node(self) -> None:
        """The library of curl, by zlib, and the decoder of Node.js if it is installed, which checks the end of the body."""
        url = f"http://127.0.0.1:{self.mpp.port}{self.path}"
        for use in ("partial", "hit"):
            if use == "hit":
                self.wait_cached(self.path)
            self.assertEqual(self.run_program("curl", "-sS", "--compressed", url).stdout, self.expected)
            if shutil.which("node"):
                self.assertEqual(self.run_program("node", "-e", NODE, url).stdout, self.expected)

    def test_promtool(self) -> None:
        """The decoder of Go, in the client of Prometheus."""
        times = [f"--{name}={value}" for name, value in self.range.items() if name != "step"]
        command = [self.promtool, "query", "range", "-o", "json", *times, "--step=15s"]
        found = [
            self.run_program(*command, f"http://127.0.0.1:{port}", QUERY).stdout
            for port in (self.server.port, self.mpp.port, self.mpp.port)
        ]
        self.assertGreater(len(found[0]), 10_000)
        self.assertEqual(found[1:], found[:1] * 2)
