"""Clients that ask for the same at the same time cost a real server one query."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import Mpp, fetch
from tests.integration.servers import pair, require_binary
from tests.integration.workers import one_process

HANDLER = "/api/v1/query_range"
LONG = f"{HANDLER}?query={quote('quantile_over_time(0.5,vector(time())[1h:1s])')}&start=0&end=5000&step=1&limit={{}}"
"""Takes a second or more of a server's time: 5,000 times 3,600 values are sorted."""
CLIENTS = 100


@one_process("each worker has flights of its own")
class SingleFlightTests(SynchronousTestCase):
    """A real pair, and many clients."""

    def setUp(self) -> None:
        self.servers = pair(require_binary())
        for server in self.servers:
            self.addCleanup(server.close)
        # On a busy machine a server that computes long queries may seem stuck, and they would be asked of the other one, too.
        self.mpp = Mpp([server.url for server in self.servers], "--suspect-after", "30s").start_for(self)

    def queries(self) -> int:
        """Return how many range queries the servers have answered."""
        found = 0.0
        for server in self.servers:
            for line in fetch(server.port, "/metrics")[2].decode().splitlines():
                if line.startswith("prometheus_http_requests_total{") and f'handler="{HANDLER}"' in line:
                    found += float(line.rpartition(" ")[2])
        return int(found)

    def ask(self, number: int, headers: Mapping[str, str] | None = None) -> tuple[int, bytes, float]:
        """Ask one long query; return status, body, and the seconds that it took."""
        began = time.monotonic()
        status, _, body = fetch(self.mpp.port, LONG.format(number), headers=headers, timeout=60)
        return status, body, time.monotonic() - began

    def at_once(self, asked: list[tuple[int, Mapping[str, str]]]) -> list[tuple[int, bytes, float]]:
        """Ask many queries at the same time."""
        found: list[tuple[int, bytes, float]] = []
        threads = [threading.Thread(target=lambda each=each: found.append(self.ask(*each)), daemon=True) for each in asked]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return found

    def test_identical_clients_cost_one_query(self) -> None:
        """Each of a hundred clients gets the bytes; fields of Grafana that are new for each query make no difference."""
        before = self.queries()
        status, body, alone = self.ask(1)
        self.assertEqual((status, self.queries() - before), (200, 1))
        for count in (10, CLIENTS):
            before = self.queries()
            found = self.at_once([(count, {"X-Query-Group-Id": str(each), "X-Panel-Id": str(each)}) for each in range(count)])
            self.assertEqual([(status, found_body == body) for status, found_body, _ in found], [(200, True)] * count)
            asked, slowest = self.queries() - before, max(seconds for *_, seconds in found)
            print(f"{count} clients: {asked} query, the slowest {slowest:.2f} s, one alone {alone:.2f} s")
            self.assertEqual(asked, 1)
        self.assertEqual(self.mpp.metric("mpp_shared_requests_total"), 9 + CLIENTS - 1)

    def test_users_and_unknown_fields_do_not_share(self) -> None:
        """Each user, and each value of a field that may change the response, costs a query of its own."""
        for field, values in (("Authorization", ("Basic YTph", "Basic Yjpi", "Basic Yzpj")), ("X-Team", ("a", "b", "c"))):
            before = self.queries()
            found = self.at_once([(7, {field: value}) for value in values])
            self.assertEqual([status for status, *_ in found], [200] * 3)
            self.assertEqual(self.queries() - before, 3, f"{field}\n{self.mpp.log()[-3000:]}")
