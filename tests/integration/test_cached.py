"""Answers out of the range cache are those of a server, byte for byte, whatever was asked before."""

from __future__ import annotations

import gzip
import random
import time
from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.histories import INTERVAL_S, WithHistory
from tests.integration.processes import Mpp, fetch
from tests.integration.servers import require_binary
from tests.integration.targets import Targets
from tests.integration.test_spliced import QUERIES

HOUR = 3600
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class CachedTests(SynchronousTestCase):
    """A server with six hours of data, and mpp with a cache in front of it."""

    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        targets = Targets()
        self.addCleanup(targets.close)
        jobs = {"node": targets.addresses(10), "web": targets.addresses(3, first=20)}
        self.end = int(time.time()) // INTERVAL_S * INTERVAL_S - 600
        self.server = WithHistory(require_binary(), jobs, name="a", start=self.end - 7 * HOUR, end=self.end, lost=[])
        self.addCleanup(self.server.close)
        self.server.start()
        self.mpp = Mpp([self.server.url], "--cache-memory", "64MiB", *self.options, interval="2s")
        self.addCleanup(self.mpp.close)
        self.mpp.start()
        self.rng = random.Random(1)

    def ranges(self) -> list[dict[str, object]]:
        """Return ranges that overlap in all ways, as clients with different windows and refreshes ask for them."""
        found = []
        for query in QUERIES:
            for step in (15, 60, 300):
                for _ in range(4):
                    start = self.end - self.rng.randrange(1, 6 * HOUR // step) * step
                    length = self.rng.randrange(0, (self.end - start) // step + 1) * step
                    found.append({"query": query, "start": start, "end": start + length, "step": step})
        self.rng.shuffle(found)
        return found

    def test_answers_equal_the_server(self) -> None:
        """By GET and by POST, with gzip and without."""
        different, uses = [], dict.fromkeys(("hit", "partial", "miss", "bypass"), 0)
        for parameters in self.ranges():
            text = urlencode(parameters)
            expected = fetch(self.server.port, f"/api/v1/query_range?{text}")[2]
            answers = [
                fetch(self.mpp.port, f"/api/v1/query_range?{text}"),
                fetch(self.mpp.port, f"/api/v1/query_range?{text}", headers={"Accept-Encoding": "gzip"}),
                fetch(self.mpp.port, "/api/v1/query_range", method="POST", headers=FORM, body=text.encode()),
            ]
            for status, fields, body in answers:
                uses[fields["mpp.cache"].partition(";")[0]] += 1
                plain = gzip.decompress(body) if fields.get("content-encoding") == "gzip" else body
                if status != 200 or plain != expected or int(fields["content-length"]) != len(body):
                    different.append((parameters, status, fields, plain[:300], expected[:300]))
        print(uses)
        self.assertEqual((len(different), different[:3]), (0, []))
        self.assertGreater(uses["hit"], uses["miss"])
        self.assertGreater(uses["partial"], 50)
        self.assertEqual(uses["bypass"], 0)
