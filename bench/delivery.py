"""Responses of 250 KB from the cache, beside a bare twisted.web resource that serves the same bytes. See README.rst."""

from __future__ import annotations

import argparse
import gzip
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import table
from bench.panels.proxies import Contestant
from bench.panels.stage import add_options, stage
from bench.panels.viewers import WINDOWS, look, panel
from tests.integration.processes import Process, fetch

QUERY = 'queue_length{instance=~"127.0.1.[1-7]:.*",queue="3"}'
WINDOW = WINDOWS["6h"]
VIEWERS = 20
BARE = """
import sys
from twisted.internet import endpoints, reactor
from twisted.web import resource, server
body = open(sys.argv[2], "rb").read()
class Bare(resource.Resource):
    isLeaf = True
    def render(self, request):
        request.setHeader(b"Content-Type", b"application/json")
        return body
endpoints.serverFromString(reactor, "tcp:%s:interface=127.0.0.1" % sys.argv[1]).listen(server.Site(Bare()))
reactor.run()
"""


class BareServer(Process):
    """A bare twisted.web resource."""

    def __init__(self, body: Path) -> None:
        super().__init__("bare")
        self._body = body

    def command(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-c", BARE, str(self.port), str(self._body)]

    def is_ready(self) -> bool:
        """Return whether it serves."""
        return fetch(self.port, "/")[0] == 200


def is_cache(row: Contestant) -> bool:
    """Return whether a row is mpp with a cache that also keeps the newest steps."""
    return "--cache-tail 1s" in row.title


def main() -> None:
    """Measure both in turns, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, stage(options, WINDOW.seconds, is_cache) as found:
        (row,) = found.rows
        _, fields, body = panel(row.port, QUERY, *WINDOW.ends(), WINDOW.step)
        plain = gzip.decompress(body) if fields.get("content-encoding") == "gzip" else body
        Path(name, "body").write_bytes(plain)
        queries = Path(name, "queries")
        queries.write_text(QUERY + "\n")
        bare = BareServer(Path(name, "body"))
        bare.start()
        try:
            rates: dict[str, list[float]] = defaultdict(list)
            for _ in range(options.rounds):
                for title, port, encoding in (
                    ("bare twisted.web, identity", bare.port, "identity"),
                    ("cache, identity", row.port, "identity"),
                    ("cache, gzip", row.port, "gzip"),
                ):
                    got = look(
                        port,
                        WINDOW,
                        encoding,
                        viewers=VIEWERS,
                        seconds=options.seconds,
                        queries=queries,
                        cores=options.load_cores,
                    )
                    rates[title].append(got.requests / got.seconds)
        finally:
            bare.close()
    first = rates["bare twisted.web, identity"]
    rows = [
        [title, f"{statistics.median(each):.0f}", f"{statistics.median(a / b for a, b in zip(each, first, strict=True)):.2f}"]
        for title, each in rates.items()
    ]
    print(f"\n{len(plain) / 1000:.0f} KB, {VIEWERS} viewers\n")
    print(table(["", "responses/s", "x bare"], rows))


if __name__ == "__main__":
    main()
