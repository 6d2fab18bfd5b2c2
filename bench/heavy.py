"""
Queries that take long on servers that are well: nobody may run them twice, nor hold a busy server to be a broken one.

Real servers count what reached them: their query log tells how often each query ran, their metrics how many requests there were.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from urllib.parse import urlencode

from prometheus_client.parser import text_string_to_metric_families

from bench.proxies import MppProxy
from tests.integration.clients import FORM, Ask, Load, Tally
from tests.integration.processes import fetch, wait_until
from tests.integration.servers import Prometheus, require_binary

EXPRESSION = "quantile_over_time(0.5, vector(time())[2h:1s])"
"""Sorts 7,200 values for each step of a range query."""
MOST_STEPS = 10_999
HEAVY_TAKES, HEAVY_COUNT, AT_ONCE = 8.0, 6, 2
"""Seconds that a heavy query takes alone; how many there are; how many of them at a time: there are few cores."""
SLOW_TAKES, SATURATED_FOR, SATURATED_CLIENTS = 0.5, 15.0, 24
HURRY = "3s"
"""The timeout that every other query of a saturated server has: less than it has to wait for its turn."""
BUDGET, FLOOR = 0.2, 10
"""Attempts allowed beyond the requests: a share of them, and some more."""


class LoggedPrometheus(Prometheus):
    """A real Prometheus that logs its queries."""

    def scrape(self, addresses: Sequence[str]) -> None:
        """Write the configuration."""
        super().scrape(addresses)
        path = self.folder / "prometheus.yml"
        path.write_text(path.read_text().replace("global: {", f"global: {{query_log_file: {self.folder}/queries, "))

    def runs(self) -> Counter[str]:
        """Tell how often each query was run, to its end or not."""
        path = self.folder / "queries"
        lines = path.read_text().splitlines() if path.exists() else []
        return Counter(json.loads(line)["params"]["query"] for line in lines)

    def range_requests(self) -> int:
        """Tell how many range queries were asked of it: mpp's own probes are others."""
        page = fetch(self.port, "/metrics")[2].decode()
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        wanted = [
            s for s in samples if s.name == "prometheus_http_requests_total" and s.labels["handler"] == "/api/v1/query_range"
        ]
        return int(sum(sample.value for sample in wanted))


@contextlib.contextmanager
def in_front(options: argparse.Namespace, slots: int) -> Iterator[tuple[MppProxy, list[LoggedPrometheus]]]:
    """Start mpp in front of two servers with so many query slots each."""
    with contextlib.ExitStack() as stack:
        servers = [LoggedPrometheus(require_binary(), name=name, max_concurrency=slots) for name in ("a", "b")]
        for server in servers:
            stack.callback(server.close)
            server.start()
            server.wait_scraped(1)
        mpp = MppProxy("random", [server.address for server in servers], options.mpp, options.mpp_options.split())
        stack.callback(mpp.close)
        mpp.start()
        print(f"mpp random: {mpp.version}\n    {' '.join(mpp.command())}")
        yield mpp, servers


def form(steps: int, mark: int, **more: str) -> str:
    """Return the parameters of a query of so many steps; the mark tells it from the others."""
    parameters = {"query": f"{EXPRESSION} + {mark}", "start": "0", "end": str(steps), "step": "1"}
    return urlencode({**parameters, **more})


def steps_for(server: Prometheus, seconds: float) -> int:
    """Find out how many steps take so long on this machine."""
    steps = 250
    while True:
        began = time.monotonic()
        fetch(server.port, "/api/v1/query_range?" + form(steps, 0), timeout=60)
        took = time.monotonic() - began
        if took > seconds / 8 or steps == MOST_STEPS:
            return max(1, min(MOST_STEPS, int(steps * seconds / took)))
        steps = min(MOST_STEPS, steps * 2)


def counted(mpp: MppProxy, before: Counter[str]) -> str:
    """Tell what mpp counted since."""
    changed = mpp.counters() - before
    return "".join(f"    {name} +{value}\n" for name, value in sorted(changed.items()))


def show_heavy(options: argparse.Namespace) -> bool:
    """Ask heavy queries; tell whether each ran exactly once."""
    with in_front(options, 20) as (mpp, servers):
        steps = steps_for(servers[0], HEAVY_TAKES)
        before, seconds, statuses = mpp.counters(), list[float](), list[int]()
        for first in range(1, HEAVY_COUNT + 1, AT_ONCE):
            askers = [threading.Thread(target=_ask, args=(mpp, steps, first + n, seconds, statuses)) for n in range(AT_ONCE)]
            for asker in askers:
                asker.start()
            for asker in askers:
                asker.join()
        # A cancelled run is logged when it ends.
        time.sleep(1)
        wanted = [f"{EXPRESSION} + {mark}" for mark in range(1, HEAVY_COUNT + 1)]
        runs = [[server.runs()[query] for query in wanted] for server in servers]
        print(f"\n{HEAVY_COUNT} queries of {steps} steps, {AT_ONCE} at a time, by GET and POST; servers are healthy")
        print(f"took {min(seconds):.1f} to {max(seconds):.1f} s; statuses {dict(Counter(statuses))}")
        for server, counts in zip(servers, runs, strict=True):
            print(f"ran on {server.name}: {counts}")
        print("mpp counted:\n" + counted(mpp, before))
        once = all(sum(counts) == 1 for counts in zip(*runs, strict=True)) and set(statuses) == {200}
        print("each ran exactly once" if once and min(seconds) > 1 else "**not each ran exactly once**", flush=True)
        return once and min(seconds) > 1


def _ask(mpp: MppProxy, steps: int, mark: int, seconds: list[float], statuses: list[int]) -> None:
    began = time.monotonic()
    parameters = form(steps, mark)
    if mark % 2:
        status, _, _ = fetch(mpp.port, "/api/v1/query_range?" + parameters, timeout=130)
    else:
        body = parameters.encode()
        status, _, _ = fetch(mpp.port, "/api/v1/query_range", method="POST", headers=FORM, body=body, timeout=130)
    seconds.append(time.monotonic() - began)
    statuses.append(status)


def show_saturated(options: argparse.Namespace) -> bool:
    """Keep all query slots taken; tell whether nobody was ejected and how many attempts there were."""
    with in_front(options, 1) as (mpp, servers):
        steps = steps_for(servers[0], SLOW_TAKES)
        before, asked = mpp.counters(), sum(server.range_requests() for server in servers)
        tally, least = _saturate(mpp, steps)
        # The servers count a request when it has ended, and their queues may still be full.
        wait_until(lambda: _idle(servers), "the servers are at rest", 130, every=0.5)
        attempts = sum(server.range_requests() for server in servers) - asked
        ejections, counts = _ejections(mpp, before)
        allowed = tally.requests * (1 + BUDGET) + FLOOR
        print(
            f"\n{SATURATED_CLIENTS} clients for {SATURATED_FOR:g} s; one slot per server, queries of {SLOW_TAKES:g} s, ", end=""
        )
        print(f"every other one with timeout={HURRY}")
        print(f"requests {tally.requests}, attempts that reached the servers {attempts} (allowed: {allowed:.0f})")
        print(f"answers {dict(tally.statuses)}, slowest {tally.slowest():.1f} s")
        print(f"ejections: {ejections if counts else 'not counted by this mpp'}; servers selected at least: {least:g} of 2")
        print("mpp counted:\n" + counted(mpp, before))
        kept = ejections == 0 and attempts <= allowed and least > 0
        print("no ejection, no storm" if kept else "**an ejection, or too many attempts**", flush=True)
        return kept


def _saturate(mpp: MppProxy, steps: int) -> tuple[Tally, float]:
    """Put the load on; give what happened to it, and how few servers were selected at the least."""
    least = 2.0
    hurried: dict[str, str] = {"timeout": HURRY}
    asks = [Ask("/api/v1/query_range?" + form(steps, mark, **(hurried if mark % 2 else {}))) for mark in range(8)]
    with Load(mpp.port, clients=SATURATED_CLIENTS, asks=asks, timeout=60, at_most=SATURATED_FOR) as load:
        end = time.monotonic() + SATURATED_FOR
        while time.monotonic() < end:
            least = min(least, mpp.metric("mpp_selected_backends"))
            time.sleep(0.2)
        return load.stop(), least


def _ejections(mpp: MppProxy, before: Counter[str]) -> tuple[int, bool]:
    """Return the number of ejections since, and whether this mpp counts them."""
    number = sum(value for name, value in (mpp.counters() - before).items() if name.startswith("mpp_ejections_total"))
    return number, b"mpp_ejections_total" in fetch(mpp.port, "/mpp/metrics")[2]


def _idle(servers: Sequence[LoggedPrometheus]) -> bool:
    return all(fetch(server.port, "/api/v1/query?query=1", timeout=0.5)[0] == 200 for server in servers)
