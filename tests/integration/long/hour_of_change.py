"""
Compares what random dashboards show through mpp with what a server says that is never restarted, while the servers of mpp are.

``python -m tests.integration.long.hour_of_change [--minutes 60] [--seed 1] [--mpp-options "--cache-memory 64MiB"]``

All servers have the same samples, because the targets give them a time. Two of them are behind mpp, and are killed or ended in
turn, are away for 15 to 40 seconds, and return. The third one is the judge. Viewers look at random dashboards: some panels with
one range and step, refreshed some times, of the newest or of older times, by GET and POST, with and without gzip. Each step that
is older than the freshness limit is compared with what the judge says. It fails if one is missing, too many, or different, apart
from a last digit, which depends on the order in which a server adds up.

While one server is away, no server has the data that the other one lost in its own restart. Answers to requests of this time,
until mpp uses the server again, may be wrong, and are counted apart. If the cache kept one of them, it would show afterwards.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode

from attrs import define, field, frozen

from tests.integration.clients import FORM
from tests.integration.processes import Mpp, fetch
from tests.integration.servers import require_binary
from tests.integration.stamped import Past, StampedServer, StampedTargets, start_all, write_past

INTERVAL_S = 2
PAST_S = 3 * 3600
AWAY_S, APART_S = (15.0, 40.0), (380.0, 420.0)
"""How long a server is away, and how long none is between two of them: longer than any query looks back."""
FUTURE_S = 20
"""How far the query with a negative offset reads into the future of a step."""
USED_AGAIN_S = 15.0
"""How long it takes at most until mpp uses a server again for what the other one lacks."""
LAST_DIGIT = 1e-12
QUERIES = (
    "requests_total",
    "temperature",
    "sometimes",
    "pod_requests_total",
    "rate(requests_total[30s])",
    "increase(pod_requests_total[2m])",
    "sum by (job) (rate(requests_total[1m]))",
    "sum by (path) (requests_total) - sum by (path) (requests_total offset 1m)",
    "topk(2, temperature)",
    "sort_desc(temperature)",
    "histogram_quantile(0.9, sum by (le, job) (rate(seconds_bucket[1m])))",
    "max_over_time(sum(temperature)[2m:10s])",
    "count_values('value', sometimes)",
    "absent(sometimes{instance=~'127.0.2.1:.*'})",
    "temperature > 20",
    "temperature offset -20s",
    "rate(requests_total[1m] offset 5m)",
    "requests_total @ end()",
    "quantile_over_time(0.5, temperature[1m])",
    "label_replace(temperature, 'host', '$1', 'instance', '(.*):.*') unless on (instance) sometimes == 3",
    "count(temperature) + time() % 100",
    "vector(1)",
    "time()",
)


Answer = tuple[int, dict[str, str], Any]
"""Status, header fields and document."""


@frozen
class Panel:
    """What a viewer asks for."""

    query: str
    start: float
    end: float
    step: float
    post: bool
    zipped: bool

    def ask(self, port: int) -> Answer:
        """Ask for it and return status, fields and document."""
        parameters = urlencode({"query": self.query, "start": self.start, "end": self.end, "step": self.step})
        fields = {"Accept-Encoding": "gzip" if self.zipped else "identity"}
        if self.post:
            target, body, fields = "/api/v1/query_range", parameters.encode(), {**fields, **FORM}
        else:
            target, body = f"/api/v1/query_range?{parameters}", None
        method = "POST" if self.post else "GET"
        status, found, text = fetch(port, target, method=method, headers=fields, body=body, timeout=60)
        if found.get("content-encoding") == "gzip":
            text = gzip.decompress(text)
        return status, found, json.loads(text)


def points(document: Any, until: float, query: str = "") -> dict[tuple[str, float], str]:
    """Return the points of an answer up to a time, by series and time; those of ``topk`` by rank and time."""
    found = {
        (json.dumps(series["metric"], sort_keys=True), at): value
        for series in document["data"]["result"]
        for at, value in series.get("values", ())
        if at <= until
    }
    if not query.startswith("topk"):
        return found
    # Of equal values a server takes any.
    ranks: Counter[float] = Counter()
    ranked = {}
    for (_, at), value in sorted(found.items(), key=lambda item: -float(item[1])):
        ranks[at] += 1
        ranked[f"number {ranks[at]}", at] = value
    return ranked


def is_close(one: str, other: str) -> bool:
    """Return whether two values differ in their last digits only."""
    return math.isclose(float(one), float(other), rel_tol=LAST_DIGIT)


@define
class Verdict:
    """What was found so far."""

    counts: Counter[str] = field(factory=Counter)
    caches: Counter[str] = field(factory=Counter)
    examples: list[str] = field(factory=list)
    away: list[tuple[float, float]] = field(factory=list)
    lock: Any = field(factory=threading.Lock)

    def is_excused(self, asked: float) -> bool:
        """Return whether a server was away at some time since ``asked``."""
        return any(asked <= back + USED_AGAIN_S and time.time() >= left for left, back in self.away)

    def judge(self, panel: Panel, until: float, asked: float, ours: Answer, theirs: Answer) -> None:
        """Compare two answers to a request that was sent at a time."""
        found = Counter({"answers": 1})
        if ours[0] != 200 or theirs[0] != 200:
            found["failed" if ours[0] != 200 else "failed judge"] += 1
        else:
            has, should = points(ours[2], until, panel.query), points(theirs[2], until, panel.query)
            found["points"] = len(should)
            found["missing"], found["too many"] = len(should.keys() - has.keys()), len(has.keys() - should.keys())
            other = [key for key in has.keys() & should.keys() if has[key] != should[key]]
            found["last digit"] = sum(is_close(has[key], should[key]) for key in other)
            found["different"] = len(other) - found["last digit"]
            found["with warnings"] = "warnings" in ours[2]
        bad = any(found[name] for name in WRONG)
        if bad and self.is_excused(asked):
            bad, found = False, Counter({"answers": 1, "wrong while a server was away": 1})
        with self.lock:
            self.counts += found
            self.caches[ours[1].get("mpp.cache", "none").partition(" ")[0].rstrip(";,")] += 1
            if bad and len(self.examples) < 12:
                self.examples.append(example(panel, until, ours, theirs, found))
                print(self.examples[-1], flush=True)

    def text(self) -> str:
        """Return what was found as one line."""
        return f"{dict(self.counts)}; MPP.Cache: {dict(self.caches)}"

    def is_right(self) -> bool:
        """Return whether nothing is wrong, and something was compared."""
        return self.counts["points"] > 0 and not any(self.counts[name] for name in WRONG)


WRONG = ("failed", "missing", "too many", "different")


def example(panel: Panel, until: float, ours: Any, theirs: Any, found: Counter[str]) -> str:
    """Return one wrong answer as text."""
    text = f"{time.strftime('%H:%M:%S')} WRONG {dict(+found)}: {panel}, compared until {until:.3f}\n"
    text += f"    { ({name: value for name, value in ours[1].items() if name.startswith('mpp')}) }, {ours[2].get('warnings')}\n"
    if ours[0] != 200 or theirs[0] != 200:
        return text + f"    {ours[0]} {str(ours[2])[:300]}; judge: {theirs[0]} {str(theirs[2])[:300]}"
    has, should = points(ours[2], until, panel.query), points(theirs[2], until, panel.query)
    keys = sorted((key for key in has.keys() | should.keys() if has.get(key) != should.get(key)), key=lambda key: key[1])
    shown = [
        f"{at} ({until - at:.0f} s before) {series}: {has.get((series, at))}, {should.get((series, at))}" for series, at in keys
    ]
    return text + "".join(f"    {line}\n" for line in [*shown[:4], *shown[-2:]])


@define
class Viewer:
    """Looks at one dashboard after the other."""

    rng: random.Random
    mpp: Mpp
    judge: StampedServer
    verdict: Verdict
    freshness: float
    until: float

    def run(self) -> None:
        """Look until the time is over."""
        while time.time() < self.until:
            for panel in self.dashboard():
                if time.time() > self.until:
                    return
                asked = time.time()
                limit = asked - self.freshness - ("offset -" in panel.query) * FUTURE_S
                if "@ end()" in panel.query and panel.end > limit:
                    # Each of its steps reads the newest data.
                    limit = -math.inf
                try:
                    ours = panel.ask(self.mpp.port)
                    self.verdict.judge(panel, limit, asked, ours, panel.ask(self.judge.port))
                except (OSError, ValueError) as error:
                    self.verdict.judge(panel, limit, asked, (0, {}, {"error": repr(error)}), (200, {}, {}))

    def dashboard(self) -> Iterator[Panel]:
        """Yield the panels of a random dashboard, refreshed some times."""
        step = self.rng.choice((2, 5, 10, 15, 15, 30, 60, 0.5, 7.5))
        length = step * self.rng.choice((1, 30, 100, 240, 240, 600, 1200))
        phase = self.rng.choice((0, 0, 0, 1, 0.25, self.rng.random()))
        back = self.rng.choice((0, 0, 0, self.rng.uniform(0, PAST_S)))
        queries = self.rng.sample(QUERIES, self.rng.randint(1, 6))
        for _ in range(self.rng.randint(2, 12)):
            end = round((time.time() - back) // step * step + phase, 3)
            start = round(end - length, 3)
            for query in queries:
                yield Panel(query, start, end, step, self.rng.random() < 0.5, self.rng.random() < 0.5)
            time.sleep(self.rng.choice((0, 0.5, 2, 5)))


def restart_in_turn(servers: list[StampedServer], rng: random.Random, until: float, away: list[tuple[float, float]]) -> int:
    """
    Restart one server after the other until the time is over, and return how often.

    :param away: gets the times in which a server was away.
    """
    count = 0
    while time.time() + AWAY_S[1] + APART_S[1] < until:
        server = servers[count % len(servers)]
        time.sleep(rng.uniform(*APART_S))
        left = time.time()
        away.append((left, math.inf))
        if rng.random() < 0.5:
            server.kill()
        else:
            server.stop(30)
        time.sleep(rng.uniform(*AWAY_S))
        server.start()
        away[-1] = (left, time.time())
        print(f"{server.name} ({server.address}) was away from {left:.1f} to {time.time():.1f}", flush=True)
        count += 1
    return count


def look(stack: ExitStack, options: argparse.Namespace, past: Past, targets: StampedTargets) -> Verdict:
    """Start everything, let the viewers look, and return what was found."""
    rng, verdict = random.Random(options.seed), Verdict()
    binary = require_binary()
    servers = [StampedServer(binary, name, targets, past, INTERVAL_S) for name in ("a", "b", "judge")]
    for server in servers:
        stack.callback(server.close)
    start_all(servers, past)
    mpp = Mpp([server.url for server in servers[:2]], *options.mpp_options.split(), interval="2s")
    stack.callback(mpp.close)
    mpp.start()
    freshness = max(options.freshness, mpp.metric("mpp_cache_freshness_seconds"))
    print(f"mpp {options.mpp_options}: steps older than {freshness:g} s are compared", flush=True)
    until = time.time() + 60 * options.minutes
    threads = []
    for number in range(options.viewers):
        viewer = Viewer(random.Random(f"{options.seed}/{number}"), mpp, servers[2], verdict, freshness, until)
        threads.append(threading.Thread(target=viewer.run, daemon=True))
    for thread in threads:
        thread.start()
    reporter = threading.Thread(target=report, args=(verdict, mpp, until), daemon=True)
    reporter.start()
    count = restart_in_turn(servers[:2], rng, until, verdict.away)
    for thread in [*threads, reporter]:
        thread.join(60 * options.minutes + 120)
    print(f"{count} restarts; mpp has {mpp.resident() >> 20} MiB", flush=True)
    return verdict


def report(verdict: Verdict, mpp: Mpp, until: float) -> None:
    """Print what was found so far, each minute."""
    while time.time() + 60 < until:
        time.sleep(60)
        joined = mpp.metric("mpp_joined_responses_total")
        print(f"{time.strftime('%H:%M:%S')} joined {joined:g}, {mpp.resident() >> 20} MiB, {verdict.text()}", flush=True)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--viewers", type=int, default=6)
    parser.add_argument("--freshness", type=float, default=60, help="in seconds, if mpp does not say more")
    parser.add_argument("--mpp-options", default="", help="such as '--cache-memory 64MiB --cache-tail 0'")
    options = parser.parse_args()
    with ExitStack() as stack:
        targets = StampedTargets(INTERVAL_S)
        stack.callback(targets.close)
        past = write_past(require_binary(), targets, PAST_S, INTERVAL_S)
        stack.callback(past.close)
        verdict = look(stack, options, past, targets)
    print(f"\n{verdict.text()}\n" + ("nothing is wrong" if verdict.is_right() else "WRONG"))
    sys.exit(0 if verdict.is_right() else 1)


if __name__ == "__main__":
    main()
