"""
Restarts mpp again and again under load, and counts failed requests. ``python -m tests.integration.long.restart [restarts]``

First on a socket that a supervisor holds, then side by side on one port with ``--reuse-port``. 16 clients keep their connections,
16 make a new one for each request; GET and POST; no client repeats anything. Ends with status 1 if a request failed on the
inherited socket, where none may; what the shared port loses is only told.
"""

from __future__ import annotations

import sys
import time

from tests.integration.clients import Tally
from tests.integration.processes import Simulated, free_port
from tests.integration.restarts import Activated, Crowd, Shared, clean

BETWEEN = 2.0
"""Seconds of load between two restarts."""


def inherited(backends: list[str], restarts: int) -> tuple[Tally, Tally]:
    """Restart on an inherited socket."""
    mpp = Activated(backends).start()
    try:
        with Crowd(mpp.port) as crowd:
            for _ in range(restarts):
                time.sleep(BETWEEN)
                began = time.monotonic()
                status = mpp.restart()
                print(f"  ended with {status}, the next one ready {time.monotonic() - began:.1f} s after SIGTERM", flush=True)
                assert clean(status)
            time.sleep(BETWEEN)
            return crowd.stop()
    finally:
        mpp.close()


def shared(backends: list[str], restarts: int) -> tuple[Tally, Tally]:
    """Replace one by the next on a shared port."""
    mpp = Shared(backends, free_port()).start()
    try:
        with Crowd(mpp.port) as crowd:
            for _ in range(restarts):
                time.sleep(BETWEEN)
                last = mpp
                mpp, status = last.succeed()
                last.close()
                print(f"  ended with {status}", flush=True)
                assert clean(status)
            time.sleep(BETWEEN)
            return crowd.stop()
    finally:
        mpp.close()


def main() -> int:
    """Run both; give the exit status."""
    restarts = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    simulated = [Simulated("--version", "3.5.0", name=name).start() for name in ("a", "b")]
    failed = 0
    try:
        for title, run in (("inherited socket", inherited), ("--reuse-port", shared)):
            print(f"{title}, {restarts} restarts", flush=True)
            tallies = run([each.url for each in simulated], restarts)
            for kind, tally in zip(("kept connections", "new connections"), tallies, strict=True):
                print(f"  {kind}: {tally}", flush=True)
            if run is inherited:
                failed = sum(len(tally.failures) for tally in tallies)
    finally:
        for each in simulated:
            each.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
