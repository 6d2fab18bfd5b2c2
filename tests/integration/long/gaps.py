"""
Gaps in the histories of real servers, in all the ways there are: the answers of mpp are compared with those of a server without.

``python -m tests.integration.long.gaps [--case NAME ...] [--list]``

Each case prints what was asked and what differed. Where the servers have the same samples nothing may differ but by rounding, and
no answer may have a warning unless no server has the data.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.integration.long.gap_cases import CASES, Case
from tests.integration.long.gap_site import GapSite
from tests.integration.servers import binaries, version_of


def run(case: Case) -> bool:
    """Run one case; return whether all was as it must be."""
    began = time.monotonic()
    print(f"{case.__name__}: {case.__doc__}", flush=True)
    site = GapSite()
    try:
        wrong = case(site)
    except AssertionError as error:
        wrong = f"failed: {error}"
    finally:
        site.close()
    print(f"    {wrong or 'well'}, {time.monotonic() - began:.0f} s", flush=True)
    return not wrong


def main() -> int:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = {case.__name__: case for case in CASES}
    parser.add_argument("--case", action="append", choices=names, help="default: all")
    options = parser.parse_args()
    print("Prometheus", ", ".join(".".join(map(str, version_of(binary))) for binary in binaries()))
    well = [run(names[name]) for name in options.case or names]
    print(f"{sum(well)} of {len(well)} cases are well")
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
