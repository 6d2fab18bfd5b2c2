"""What mpp spends on a query, beside what a real Prometheus spends on it: CPU time per request. See README.rst."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from bench.programs import CONNECTIONS, cpu_seconds, wrk
from tests.integration.processes import Mpp
from tests.integration.servers import Prometheus, require_binary, version_of

TARGETS = 100


def count(port: int, expression: str, seconds: int) -> int:
    """Ask for a query in a closed loop; give how often it was answered."""
    url = f"http://127.0.0.1:{port}/api/v1/query?{urlencode({'query': expression})}"
    answers = wrk(url, seconds, core=None)
    if not answers.clean:
        sys.exit(f"not all answers were good:\n{answers.printed}")
    return answers.count


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=8)
    options = parser.parse_args()
    binary = require_binary()
    with ExitStack() as stack:
        server = Prometheus(binary)
        stack.callback(server.close)
        # Nobody listens there, and still each of them has an "up".
        server.scrape([f"127.0.0.1:{number}" for number in range(1, TARGETS + 1)])
        server.start()
        server.wait_scraped(TARGETS)
        mpp = Mpp([server.address])
        stack.callback(mpp.close)
        mpp.start()
        version = ".".join(map(str, version_of(binary)))
        print(f"Prometheus {version} with {TARGETS} targets, {CONNECTIONS} connections, CPU time per request")
        for expression in ("count(up)", "up"):
            count(mpp.port, expression, 1)
            before = [cpu_seconds(each.pid) for each in (server, mpp)]
            answered = count(mpp.port, expression, options.seconds)
            spent = [cpu_seconds(each.pid) - start for each, start in zip((server, mpp), before, strict=True)]
            theirs, ours = (seconds / answered * 1e6 for seconds in spent)
            print(f"  {expression:10} Prometheus {theirs:6.0f} us   mpp {ours:5.0f} us   {ours / theirs:.0%}")


if __name__ == "__main__":
    main()
