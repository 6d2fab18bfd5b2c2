"""Panels of a dashboard per second, direct and through proxies and caches, and what they cost. See README.rst."""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from attrs import frozen

from bench.figures import table
from bench.panels.proxies import Contestant
from bench.panels.stage import Stage, add_options, stage
from bench.panels.viewers import QUERIES, WINDOWS, Window, look, panel, points

FRESHNESS_S = 60
"""Steps that are younger may differ between a server and a cache that has them for a moment."""
HEADS = ["row", "panels/s", "x direct", "servers' CPU", "x direct", "proxy's CPU", "median", "x direct", "95 %", "x direct"]


@frozen
class Measured:
    """
    The figures of one row in one round.

    :ivar rate: panels per second.
    :ivar servers: CPU time of the servers, in milliseconds per panel.
    :ivar proxy: CPU time of what is between them and the viewers, in milliseconds per panel.
    :ivar median: of the latencies, in milliseconds.
    :ivar p95: the 95th percentile of the latencies, in milliseconds.
    :ivar size: bytes of a response.
    :ivar bad: responses that were no success.
    """

    rate: float
    servers: float
    proxy: float
    median: float
    p95: float
    size: float
    bad: int


@frozen
class Bench:
    """What is measured, and with what."""

    options: argparse.Namespace
    stage: Stage
    window: Window
    queries: Path

    def measure(self, row: Contestant, encoding: str, viewers: int) -> Measured:
        """Let the viewers look through one row."""
        before = self.stage.servers_cpu_seconds(), row.cpu_seconds()
        cores, seconds = self.options.load_cores, self.options.seconds
        got = look(row.port, self.window, encoding, viewers=viewers, seconds=seconds, queries=self.queries, cores=cores)
        after = self.stage.servers_cpu_seconds(), row.cpu_seconds()
        servers, proxy = (1000 * (now - then) / max(1, got.requests) for then, now in zip(before, after, strict=True))
        size = got.bytes / max(1, got.requests)
        return Measured(got.requests / got.seconds, servers, proxy, 1000 * got.median, 1000 * got.p95, size, got.bad)

    def differences(self, row: Contestant) -> int:
        """Return how many points, older than the freshness limit, differ from what a server says, with those that are missing."""
        count = 0
        for query in self.queries.read_text().splitlines():
            start, end = self.window.ends()
            expected, found = (
                points(panel(port, query, start, end, self.window.step)[2]) for port in (self.stage.servers[0].port, row.port)
            )
            for series in expected.keys() | found.keys():
                theirs, ours = expected.get(series, {}), found.get(series, {})
                times = [time for time in theirs.keys() | ours.keys() if time <= end - FRESHNESS_S]
                count += sum(not is_same(theirs.get(time), ours.get(time)) for time in times)
        return count


def is_same(one: str | None, other: str | None) -> bool:
    """Return whether two values are the same, apart from a last digit: it depends on the order in which a server adds up."""
    if one is None or other is None:
        return one is other
    return one == other or math.isclose(float(one), float(other), rel_tol=1e-12)


def show(bench: Bench, encoding: str, viewers: int) -> None:
    """Measure all rows round by round, and print the table."""
    figures: dict[str, list[Measured]] = defaultdict(list)
    wrong: dict[str, int] = {}
    for row in bench.stage.rows:
        wrong[row.title] = bench.differences(row)
    for number in range(bench.options.rounds):
        for row in bench.stage.rows:
            figures[row.title].append(bench.measure(row, encoding, viewers))
        print(f"round {number + 1} of {bench.options.rounds} done", file=sys.stderr, flush=True)
    base = figures["direct"]
    lines = []
    for row in bench.stage.rows:
        own = figures[row.title]
        rate, servers, proxy, median, p95 = (
            statistics.median(getattr(each, name) for each in own) for name in ("rate", "servers", "proxy", "median", "p95")
        )
        cells = [f"{rate:.1f}", ratio(own, base, "rate"), f"{servers:.3f} ms", ratio(base, own, "servers")]
        cells += [f"{proxy:.3f} ms" if row.title != "direct" else "", f"{median:.1f} ms", ratio(base, own, "median")]
        cells += [f"{p95:.1f} ms", ratio(base, own, "p95")]
        bad = sum(each.bad for each in own)
        marks = (f"  ! {bad} bad answers" if bad else "") + (f"  ! {wrong[row.title]} points differ" if wrong[row.title] else "")
        lines.append([row.title + marks, *cells])
    size = statistics.median(each.size for each in base) / 1000
    print(f"\n{viewers} viewers, {bench.window.name} at {bench.window.step} s, {encoding}, {size:.0f} KB per panel (direct)\n")
    print(table(HEADS, lines), flush=True)


def ratio(of: list[Measured], to: list[Measured], name: str) -> str:
    """Return the median of the ratios within each round."""
    pairs = zip(of, to, strict=True)
    return f"{statistics.median(getattr(one, name) / max(1e-6, getattr(other, name)) for one, other in pairs):.3g}"


def options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--viewers", type=int, nargs="+", default=[20])
    parser.add_argument("--window", choices=WINDOWS, nargs="+", default=["6h"])
    parser.add_argument("--encoding", choices=["identity", "gzip"], nargs="+", default=["identity", "gzip"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement")
    parser.add_argument("--wide", action="store_true", help="one panel of 1,000 series instead of the dashboard")
    return parser.parse_args()


def main() -> None:
    """Run the bench."""
    given = options()
    with (
        tempfile.TemporaryDirectory(prefix="mpp-bench-") as name,
        stage(given, max(WINDOWS[each].seconds for each in given.window)) as built,
    ):
        wide = Path(name, "wide.promql")
        wide.write_text("http_requests_total\n")
        for window in given.window:
            for viewers in given.viewers:
                for encoding in given.encoding:
                    show(Bench(given, built, WINDOWS[window], wide if given.wide else QUERIES), encoding, viewers)
    print(time.strftime("\nended at %H:%M:%S"))


if __name__ == "__main__":
    main()
