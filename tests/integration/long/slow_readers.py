"""
Eight clients read a 200 MB answer at 1 MB/s through mpp, whose memory may grow by less than 50 MB.

``python -m tests.integration.long.slow_readers [--clients 8] [--megabytes 200] [--pace 1.0] [--seconds 210]``
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.integration.clients import SlowReader
from tests.integration.processes import Mpp, Simulated, fetch

MB = 1_000_000
ALLOWED = 50 * MB


def main() -> int:
    """Run it, print a line every ten seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--pace", type=float, default=1.0, help="megabytes per second and client")
    parser.add_argument("--seconds", type=float, default=230.0, help="give up after so long")
    options = parser.parse_args()
    simulated = Simulated("--version", "3.5.0")
    mpp = Mpp([simulated.url])
    try:
        simulated.start()
        mpp.start()
        for _ in range(20):
            fetch(mpp.port, "/big?bytes=3000000")
        before = most = mpp.resident()
        print(f"{'seconds':>8} {'resident MB':>12} {'growth MB':>10} {'received MB, all':>17}")
        began = shown = time.monotonic()
        length = options.megabytes * MB
        readers = [
            SlowReader(mpp.port, f"/big?bytes={length}", bytes_per_second=options.pace * MB) for _ in range(options.clients)
        ]
        while not all(reader.finished for reader in readers) and time.monotonic() - began < options.seconds:
            time.sleep(0.25)
            most = max(most, mpp.resident())
            if time.monotonic() - shown >= 10:
                shown = time.monotonic()
                now, received = mpp.resident(), sum(reader.received for reader in readers)
                print(f"{shown - began:8.0f} {now / MB:12.1f} {(now - before) / MB:10.1f} {received / MB:17.1f}", flush=True)
        whole = sum(reader.received > length and not reader.error for reader in readers)
        print(f"\n{whole} of {options.clients} clients have the whole answer; greatest growth {(most - before) / MB:.1f} MB")
        return 0 if whole == options.clients and most - before < ALLOWED else 1
    finally:
        mpp.close()
        simulated.close()


if __name__ == "__main__":
    sys.exit(main())
