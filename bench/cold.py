"""The time of a first viewer, with nothing cached: direct, through mpp, and through its cache. See README.rst."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import table
from bench.panels.proxies import Contestant
from bench.panels.stage import add_options, stage
from bench.panels.viewers import QUERIES, WINDOWS, panel

WINDOW = WINDOWS["6h"]


def is_compared(row: Contestant) -> bool:
    """Return whether a row is measured: the server, mpp with its defaults, and mpp with a cache."""
    return row.title in ("direct", "mpp") or "--cache-tail 1s" in row.title


def main() -> None:
    """Ask for each panel once by turns, as often as there are rounds, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    queries = QUERIES.read_text().splitlines()
    with stage(options, WINDOW.seconds, is_compared) as found:
        print()
        for encoding in ("identity", "gzip"):
            ratios: dict[str, list[float]] = defaultdict(list)
            times: dict[str, list[float]] = defaultdict(list)
            for number in range(options.rounds):
                for query in queries:
                    took = {}
                    # Who is first pays for what a server keeps in the processor's caches; so they take turns.
                    turn = number % len(found.rows)
                    for row in (*found.rows[turn:], *found.rows[:turn]):
                        # Blanks make it another query for a cache, and the same for a server.
                        unseen = query + " " * (number + 1 + options.rounds * (encoding == "gzip"))
                        fields = {"Accept-Encoding": encoding}
                        took[row.title] = panel(row.port, unseen, *WINDOW.ends(), WINDOW.step, fields)[0]
                    for title, seconds in took.items():
                        ratios[title].append(seconds / took["direct"])
                        times[title].append(1000 * seconds)
            rows = [
                [title, f"{statistics.median(times[title]):.1f} ms", f"{statistics.median(ratios[title]):.2f}"] for title in times
            ]
            print(f"{encoding}, {options.rounds} x {len(queries)} panels, one at a time\n")
            print(table(["row", "median", "x direct"], rows), flush=True)
            print()


if __name__ == "__main__":
    main()
