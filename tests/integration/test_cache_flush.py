"""The cache is flushed while mpp runs."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import Mpp, Simulated, fetch

FLUSH = "/mpp/cache/flush"


class FlushTests(SynchronousTestCase):
    """``POST /mpp/cache/flush`` of mpp before a server."""

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

    def test_one_process(self) -> None:
        """The response has the number of removed entries, and so has the log."""
        mpp = self.begin("--cache-memory", "8MiB", "--enable-lifecycle")
        self.assertEqual(self.flush(mpp), (200, {"status": "success", "data": {"entries": 0}}))
        self.assertEqual(self.flush(mpp, "PUT")[0], 200)
        self.assertEqual(mpp.log().count("the cache was flushed: 0 entries removed"), 2)

    def test_all_workers(self) -> None:
        """With workers, each of them can be asked, and all of them remove their entries."""
        mpp = self.begin("--cache-memory", "8MiB", "--enable-lifecycle", "--workers=2")
        for _ in range(4):
            self.assertEqual(self.flush(mpp), (200, {"status": "success", "data": {"entries": 0}}))
        self.assertEqual(mpp.metric("mpp_cache_limit_bytes"), 8 * 2**20)

    def test_switched_off(self) -> None:
        """Without --enable-lifecycle clients cannot flush the cache; without a cache there is nothing to remove."""
        mpp = self.begin("--cache-memory", "8MiB")
        status, answer = self.flush(mpp)
        self.assertEqual((status, answer["errorType"]), (403, "forbidden"))
        mpp = self.begin("--enable-lifecycle")
        self.assertEqual(self.flush(mpp), (200, {"status": "success", "data": {"entries": 0}}))
