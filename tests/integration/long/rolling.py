"""
Restarts both of two real servers one after the other, and with each of them mpp and the source it discovers them by, at once and
under load; no request may fail.

``python -m tests.integration.long.rolling [--rounds 5] [--clients 16] [--away 3]``

mpp listens on a socket that a supervisor holds, as with systemd, and finds the servers by ``--http-sd``. Half of the clients keep
their connections, half make a new one for each request; GET and POST; no client repeats anything.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import sys
import time
from collections.abc import Sequence

from tests.integration.clients import Tally
from tests.integration.processes import Process, fetch
from tests.integration.restarts import Activated, Crowd
from tests.integration.servers import Prometheus, pair, require_binary, version_of

HISTORY = 10 * 3600
_SOURCE = """
import http.server, json, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = sys.argv[2].encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


class Source(Process):
    """An HTTP SD source in a process of its own that lists the servers it is given."""

    def __init__(self, servers: Sequence[Prometheus]) -> None:
        super().__init__("source")
        self._groups = json.dumps([{"targets": [server.address for server in servers]}])

    def command(self) -> list[str]:
        """See `Process.command`."""
        return [sys.executable, "-c", _SOURCE, str(self.port), self._groups]

    def is_ready(self) -> bool:
        """See `Process.is_ready`."""
        return fetch(self.port, "/", timeout=2)[0] == 200


def restart(mpp: Process, others: Sequence[Process], away: float) -> None:
    """
    Stop all with SIGTERM at once, start mpp as soon as it has ended, and the others some seconds later; wait until all serve.

    One thread does it all, since the processes end with the thread that started them.
    """
    for process in others:
        process.signal(signal.SIGTERM)
    # Without a signal before: a second one would cut its clients off.
    mpp.stop(deadline=30)
    began = time.monotonic()
    mpp.start(wait=False)
    for process in others:
        process.stop(deadline=30)
    time.sleep(max(0.0, away - (time.monotonic() - began)))
    for process in others:
        process.start(wait=False)
    for process in (*others, mpp):
        process.wait_ready()


def run(rounds: int, clients: int, away: float) -> tuple[Tally, Tally]:
    """Restart everything so many times under load; return what happened on kept and on new connections."""
    servers = pair(require_binary(), history=HISTORY)
    source = Source(servers)
    mpp = Activated(["# none"], "--http-sd", f"http://127.0.0.1:{source.port}/", "--selection-interval", "2s")
    try:
        source.start()
        mpp.start()
        with Crowd(mpp.port, clients=clients // 2, pause=0.005) as crowd:
            for _, server in itertools.product(range(rounds), servers):
                time.sleep(2)
                restart(mpp, (server, source), away)
            time.sleep(2)
            return crowd.stop()
    finally:
        for process in (mpp, source, *servers):
            process.close()


def main() -> int:
    """Run it, and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each of the two servers is restarted")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--away", type=float, default=3.0, help="seconds that a server and the source are away each time")
    options = parser.parse_args()
    version = ".".join(str(part) for part in version_of(require_binary()))
    print(f"Two Prometheus {version}, {options.clients} clients; each server restarted {options.rounds} times, and with it,")
    print(f"at once, mpp and its source; the server and the source are away for {options.away:g} s\n")
    tallies = run(options.rounds, options.clients, options.away)
    for name, tally in zip(("kept", "new"), tallies, strict=True):
        print(f"{name:5} connections: {tally}")
    return 1 if any(tally.failures for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
