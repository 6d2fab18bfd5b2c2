"""
A web configuration is copied over itself and truncated again and again, while clients without a password go on asking: none of
them may get an answer, with one process and with two workers.

``python -m tests.integration.long.web_config [--seconds 60] [--workers 1 2]``
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.integration.processes import Mpp, Simulated, fetch, wait_until
from tests.integration.test_web_config import basic, hashed
from tests.integration.test_web_config_emptied import QUERY, Strangers

COPIES = """
end=$((SECONDS + {seconds}))
while [ $SECONDS -lt $end ]; do cp source.yml web.yml; : > web.yml; sleep 0.0$((RANDOM % 10)); done
cp source.yml web.yml
"""


def main() -> int:
    """Run it, print what the clients were answered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    let_in = 0
    for workers in options.workers:
        statuses = _run(options.seconds, workers)
        print(f"{workers} worker(s), {options.seconds} s: {statuses}", flush=True)
        let_in += sum(count for status, count in statuses.items() if status not in (0, 401))
    print(f"{let_in} answers without a password")
    return 1 if let_in else 0


def _run(seconds: int, workers: int) -> dict[int, int]:
    folder = Path(tempfile.mkdtemp(prefix="mpp-web-config-"))
    (folder / "source.yml").write_text(f"# users\nbasic_auth_users:\n  alice: {hashed('s3cret')}\n  bob: {hashed('b')}\n")
    shutil.copy(folder / "source.yml", folder / "web.yml")
    simulated = Simulated("--version", "3.5.0")
    mpp = Mpp([simulated.url], "--web-config", str(folder / "web.yml"), "--workers", str(workers))
    try:
        simulated.start()
        mpp.start()
        with Strangers(mpp.port) as strangers:
            subprocess.run(["bash", "-c", COPIES.format(seconds=seconds)], cwd=folder, check=True, timeout=seconds + 60)
        wait_until(lambda: fetch(mpp.port, QUERY, headers=basic("alice", "s3cret"))[0] == 200, "a user is served")
        return dict(strangers.statuses)
    finally:
        mpp.close()
        simulated.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
