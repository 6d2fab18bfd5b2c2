"""Servers with samples and what stands in front of them, started and ended together; and the options that choose among them."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import frozen

from bench.panels.proxies import Contestant, MppRow, contestants
from bench.panels.servers import DashboardServer, Exporters, write_history
from bench.programs import first_line
from tests.integration.servers import require_binary


@frozen
class Stage:
    """
    What runs.

    :ivar rows: direct, proxies and caches.
    """

    servers: Sequence[DashboardServer]
    rows: Sequence[Contestant]

    def servers_cpu_seconds(self) -> float:
        """Return the CPU time that the servers have used together."""
        return sum(server.cpu_seconds() for server in self.servers)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all benches of dashboards have."""
    parser.add_argument("--only", default="", help="rows whose titles begin with one of these, separated by commas, and direct")
    parser.add_argument("--server-cores", default="0-1", help="for servers and proxies, as of taskset (default: 0-1)")
    parser.add_argument("--load-cores", default="0-1", help="for the viewers (default: 0-1)")
    parser.add_argument("--servers", type=int, default=2, help="how many there are (default: 2)")
    parser.add_argument("--mpp", default="", help="the mpp command to measure (default: the one of this checkout)")


@contextmanager
def stage(options: argparse.Namespace, seconds: int, wanted: Callable[[Contestant], bool] = lambda row: True) -> Iterator[Stage]:
    """
    Start servers, proxies and caches, and say what they are.

    :param seconds: how far back the history of the servers goes at least.
    :param wanted: which rows are started.
    """
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not on the PATH")
    binary = require_binary()
    with tempfile.TemporaryDirectory(prefix="mpp-bench-") as name, ExitStack() as stack:
        history, exporters = Path(name, "data"), Exporters()
        stack.callback(exporters.close)
        print(f"writing {seconds / 3600 + 1:g} h of samples", file=sys.stderr, flush=True)
        newest = write_history(binary, exporters.addresses, seconds + 3600, history)
        servers = [
            DashboardServer(binary, chr(ord("a") + place), exporters.addresses, history, options.server_cores)
            for place in range(options.servers)
        ]
        for server in servers:
            stack.callback(server.close)
            server.start()
        for server in servers:
            server.wait_going_on(newest)
        rows = [row for row in contestants(servers, options.server_cores, options.mpp, options.only) if wanted(row)]
        for row in rows:
            stack.callback(row.close)
            row.start()
            print(f"{row.title}: {row.version}\n    {' '.join(row.command())}")
        for row in rows:
            if isinstance(row, MppRow):
                row.wait_compared()
        print(
            f"load: {first_line('wrk', '-v')}, on cores {options.load_cores}; servers and proxies on cores {options.server_cores}"
        )
        yield Stage(servers, rows)
