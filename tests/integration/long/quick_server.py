"""
A simulated Prometheus that answers the range queries of panels at once, for tests with very many of them, or with very large
ones.

``python -m tests.integration.long.quick_server PORT``. ``panel`` is one series, and ``panel{series="20"}`` are 20; each has a
value at each step. The times of a range and its step are whole seconds. Other requests are answered as `tests.simulated` does.
"""

from __future__ import annotations

import re
import sys
import time
from typing import Any
from urllib.parse import parse_qs

from tests.integration.processes import Process, fetch
from tests.simulated.connection import SimulatedConnection
from tests.simulated.prometheus import SimulatedPrometheus
from tests.simulated.server import SimulatedServer

_PANEL = b"query_range?query=panel"
_SERIES = re.compile(r'series="([0-9]+)"')
_LARGEST = 1_000_003
"""A prime: no two series have the same values."""


class QuickConnection(SimulatedConnection):
    """A connection that answers the queries of panels by itself."""

    def dataReceived(self, data: bytes) -> None:
        """Answer the query of a panel, or give the bytes to the simulated server."""
        end = data.find(b" HTTP/1.1\r\n")
        if end < 0 or _PANEL not in data[:end] or not data.endswith(b"\r\n\r\n"):
            super().dataReceived(data)
            return
        body = panel(data[data.index(b"?") + 1 : end].decode())
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)


class QuickServer(SimulatedServer):
    """The factory of such connections."""

    def buildProtocol(self, addr: object) -> SimulatedConnection:
        """Return the protocol for a new connection."""
        return QuickConnection(self._site, self._clock, self.connections, self.streams)


class Quick(Process):
    """This server as a process."""

    def __init__(self) -> None:
        super().__init__("quick")

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://{self.address}"

    def command(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", "tests.integration.long.quick_server", str(self.port)]

    def is_ready(self) -> bool:
        """Return whether it serves."""
        return fetch(self.port, "/-/ready")[0] == 200


def panel(parameters: str) -> bytes:
    """Return the response to the query of a panel."""
    asked = parse_qs(parameters)
    found = _SERIES.search(asked["query"][0])
    start, end, step = (int(float(asked[name][0])) for name in ("start", "end", "step"))
    times = range(start, end + 1, step)
    rows = []
    for number in range(int(found[1]) if found else 1):
        values = ",".join([f'[{at},"{(at * 7919 + number * 104_729) % _LARGEST / _LARGEST:.15g}"]' for at in times])
        rows.append(f'{{"metric":{{"__name__":"panel","instance":"{number:06}"}},"values":[{values}]}}')
    return f'{{"status":"success","data":{{"resultType":"matrix","result":[{",".join(rows)}]}}}}'.encode()


def main() -> None:
    """Run until SIGTERM."""
    from twisted.internet import reactor as typeless

    reactor: Any = typeless  # the module's type in Twisted's annotations is too narrow
    site = SimulatedPrometheus(now=time.time, version="3.5.0")
    reactor.listenTCP(int(sys.argv[1]), QuickServer(site, reactor), interface="127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    main()
