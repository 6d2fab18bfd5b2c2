"""The cache is flushed while mpp runs."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import Mpp, Simulated, fetch, wait_until

FLUSH = "/mpp/cache/flush"


class FlushTests(SynchronousTestCase):
    """``POST /mpp/cache/flush`` of mpp before a server."""

    def setUp(self) -> None:
        self.end = int(time.time()) // 60 * 60 - 600

    def begin(self, *options: str) -> Mpp:
        """Start mpp before a server, with a cache."""
        server = Simulated()
        self.addCleanup(server.close)
        mpp = Mpp((server.start().url,), *options)
        self.addCleanup(mpp.close)
        return mpp.start()

    def flush(self, mpp: Mpp, method: str = "POST") -> tuple[int, dict[str, object]]:
        """Flush the cache; return the status and the response."""
        status, _, body = fetch(mpp.port, FLUSH, method=method)
        return status, json.loads(body)

    def use(self, connection: http.client.HTTPConnection, query: str = "up") -> str:
        """Ask for an hour that ended ten minutes ago; return how the cache was used."""
        parameters = {"query": query, "start": self.end - 3600, "end": self.end, "step": 60}
        connection.request("GET", f"/api/v1/query_range?{urlencode(parameters)}")
        response = connection.getresponse()
        response.read()
        self.assertEqual(response.status, 200)
        return response.headers["MPP.Cache"].partition(";")[0]

    def fill(self, mpp: Mpp, workers: int = 1) -> None:
        """Have each worker cache a response."""

        def fills_all() -> bool:
            # Connections that are open at the same time are spread evenly among the workers that have started.
            with contextlib.ExitStack() as stack:
                for _ in range(workers):
                    self.use(stack.enter_context(self.connection(mpp)))
            return mpp.metric("mpp_cache_entries") == workers

        wait_until(fills_all, "all workers have the response", 20)

    def connection(self, mpp: Mpp) -> contextlib.closing[http.client.HTTPConnection]:
        """Return a new connection."""
        return contextlib.closing(http.client.HTTPConnection("127.0.0.1", mpp.port, timeout=10))

    def test_one_process(self) -> None:
        """The response has the number of removed entries, and so has the log; then a server is asked again."""
        mpp = self.begin("--cache-memory", "8MiB", "--enable-lifecycle")
        self.fill(mpp)
        with self.connection(mpp) as connection:
            self.use(connection, "count(up)")
        self.assertEqual(mpp.metric("mpp_cache_entries"), 2)
        self.assertEqual(self.flush(mpp), (200, {"status": "success", "data": {"entries": 2}}))
        with self.connection(mpp) as connection:
            self.assertEqual([self.use(connection) for _ in range(3)], ["miss", "hit", "hit"])
        self.assertEqual(self.flush(mpp, "PUT"), (200, {"status": "success", "data": {"entries": 1}}))
        self.assertEqual(self.flush(mpp)[1], {"status": "success", "data": {"entries": 0}})
        self.assertIn("the cache was flushed: 2 entries removed", mpp.log())
        self.assertEqual((mpp.metric("mpp_cache_entries"), mpp.metric("mpp_cache_bytes")), (0, 0))

    def test_all_workers(self) -> None:
        """With workers, each of them can be asked, and all of them remove their entries."""
        mpp = self.begin("--cache-memory", "8MiB", "--enable-lifecycle", "--workers=2")
        for _ in range(3):
            self.fill(mpp, 2)
            self.assertEqual(self.flush(mpp), (200, {"status": "success", "data": {"entries": 2}}))
        self.assertEqual(mpp.metric("mpp_cache_limit_bytes"), 8 * 2**20)
        self.assertEqual(mpp.metric("mpp_cache_requests_total", result="miss"), 6)

    def test_what_is_shown(self) -> None:
        """The status page and the page that explains a request show the use of the cache, whichever worker answers."""
        for workers in (1, 2):
            mpp = self.begin("--cache-memory", "8MiB", f"--workers={workers}")
            self.fill(mpp, workers)
            time.sleep(1)  # The counters on the page may be a second old.
            shown = json.loads(fetch(mpp.port, "/mpp/status?format=json")[2])["cache"]
            self.assertEqual((shown["enabled"], shown["limit_bytes"]), (True, 8 * 2**20))
            self.assertEqual((shown["entries"], shown["requests"]["miss"]), (workers, workers))
            self.assertEqual(shown["steps"]["server"], 61 * workers)
            self.assertIn("<dt>Hit ratio</dt>", fetch(mpp.port, "/mpp/status")[2].decode())
            explained = fetch(mpp.port, "/mpp/explain?/api/v1/query_range?query=up&start=0&end=60&step=60")[2].decode()
            self.assertIn("\n- None of its 2 steps is cached, only other steps of the same query.", explained)

    def test_switched_off(self) -> None:
        """Without --enable-lifecycle clients cannot flush the cache; without a cache there is nothing to remove."""
        mpp = self.begin("--cache-memory", "8MiB")
        status, answer = self.flush(mpp)
        self.assertEqual((status, answer["errorType"]), (403, "forbidden"))
        mpp = self.begin("--enable-lifecycle")
        self.assertEqual(self.flush(mpp), (200, {"status": "success", "data": {"entries": 0}}))
