"""
Real servers that answer but lack newest data, in all the ways there are: queries at "now" must go to those that have it.

``python -m tests.integration.long.lacks [--case NAME ...] [--strategy NAME ...] [--targets 40] [--list]``

For each strategy one mpp stands in front of the same servers, with one client that asks at "now" how many targets were scraped
within three intervals of 2 s. Printed for each: the queries; how many answers were empty, how many had less than 90 % of
the targets, and how many failed; of these, how many came later than mpp may take to notice ("late", must be 0); after how many
seconds the last answer of the stricken server came; after how many its first one when it was back; and the least and the largest
number of targets.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.integration.long.lack_cases import CASES, SLACK_S, Case, Result, World
from tests.integration.long.newest import WHOLE, Client
from tests.integration.processes import Mpp

STRATEGIES = ("single-most-data", "random", "minimum-history:5h")


def report(name: str, strategy: str, client: Client, result: Result) -> bool:
    """Print the line of one case and strategy; return whether all was as it must be."""
    asked, struck, least = client.asked, max(result.struck, client.began), WHOLE * result.expected
    empty = [each for each in asked if each.count == 0]
    short = [each for each in asked if each.count is not None and 0 < each.count < least]
    failed = [each for each in asked if each.count is None]
    limit = struck + result.allowed + (SLACK_S if result.allowed else 0)
    late = [each for each in (*empty, *short) if each.at > limit] if result.expected else []
    until = result.back or float("inf")
    last = max((each.at for each in asked if each.server == result.victim and struck < each.at < until), default=0.0)
    first = min((each.at for each in asked if each.server == result.victim and each.at > until), default=0.0)
    followed = f"{max(0.0, last - struck):.1f}" if result.victim else "-"
    returned = f"{first - until:.1f}" if first else "-"
    wrong = result.wrong or (f"{len(late)} late" if late else "") or ("failed" if failed else "")
    counts = f"{len(asked):8} {len(empty):6} {len(short):6} {len(failed):7} {len(late):5}"
    seen = [each.count for each in asked if each.count is not None]
    targets = f"{min(seen, default=0)}-{max(seen, default=0)}"
    print(f"{name:15} {strategy:19} {counts} {followed:>9} {returned:>9} {targets:>8}  {wrong or 'well'}", flush=True)
    return not wrong


def run(case: Case, strategies: Sequence[str], targets: int) -> bool:
    """Run one case with all strategies side by side; return whether all was as it must be."""
    world = World(strategies, targets)
    try:
        result = case(world)
        world.site.stop()
        well = [report(case.__name__, s, world.site.clients[s], result) for s in strategies]
        if not all(well):
            for line in _said(world.site.mpps[strategies[0]]):
                print(f"    {line}")
        return all(well)
    finally:
        world.close()


def _said(mpp: Mpp) -> list[str]:
    return [line for line in mpp.log().splitlines() if "scrape" in line or "newest" in line or "back" in line][-12:]


def main() -> int:
    """Run the cases, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = {case.__name__: case for case in CASES}
    parser.add_argument("--case", action="append", choices=names, help="default: all")
    parser.add_argument("--strategy", action="append", help="default: all three")
    parser.add_argument("--targets", type=int, default=40, help="from 20 to 200")
    options = parser.parse_args()
    counts = f"{'queries':>8} {'empty':>6} {'short':>6} {'failed':>7} {'late':>5}"
    print(f"{'case':15} {'strategy':19} {counts} {'left':>9} {'returned':>9} {'targets':>8}")
    well = [run(names[name], options.strategy or STRATEGIES, options.targets) for name in options.case or names]
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
