"""What the soak has to bear: faults that come and go, and clients that are no good."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.integration.clients import SlowReader, hang_up, raw
from tests.integration.processes import Simulated, fetch

FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("refuse", {}),
    ("vanish", {}),
    ("silence", {}),
    ("late", {"seconds": 2.0}),
    ("status", {"status": 503}),
    ("status", {"status": 500}),
    ("half-close", {}),
    ("half-reset", {}),
    ("half-silence", {}),
    ("garbage", {}),
    ("close", {}),
    ("drip", {}),
    ("die", {"share": 0.3}),
    ("wrong-length", {}),
    ("interim", {}),
)
SILENT = frozenset(["vanish", "silence", "half-silence", "late", "drip"])
"""Faults by which a server that answers its probes cannot be told from one with heavy queries: they strike probes, too."""
QUERY = b"GET /api/v1/query?query=up HTTP/1.1\r\nHost: x\r\n"
HOSTILE = (
    QUERY + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    QUERY + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nquery",
    QUERY + b"Host: y\r\n\r\n",
    QUERY + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    QUERY + b"Bad Header: x\r\n\r\n",
    QUERY + b"X: " + b"x" * 200_000 + b"\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    QUERY * 20,
)
LARGE = b"GET /big?bytes=3000000 HTTP/1.1\r\nHost: x\r\n\r\n"
HANG_UPS = (LARGE, QUERY + b"\r\n", QUERY, b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nquery=", b"")


class Rabble:
    """The clients that are no good: threads that do one thing again and again until stopped."""

    def __init__(self, port: int, seed: int) -> None:
        self._port, self._random = port, random.Random(seed)
        self._stopped = threading.Event()
        self.counts = {"large": 0, "broken large": 0, "hung up": 0, "slow": 0, "hostile": 0}
        acts = (self._large, self._hang_up, self._slow, self._hostile)
        self._threads = [threading.Thread(target=self._run, args=(act,), daemon=True) for act in acts]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, act: Callable[[], None]) -> None:
        while not self._stopped.wait(0.2):
            try:
                act()
            except OSError:
                # They get what they deserve, or what a fault in the middle of a large answer leaves of it.
                self.counts["broken large"] += act == self._large

    def _large(self) -> None:
        self.counts["large"] += 1
        fetch(self._port, f"/big?bytes={self._random.choice((500_000, 3_000_000, 10_000_000))}", timeout=5)

    def _hang_up(self) -> None:
        self.counts["hung up"] += hang_up(self._port, 10, HANG_UPS, after=self._random.random() / 10)

    def _slow(self) -> None:
        self.counts["slow"] += 1
        reader = SlowReader(self._port, "/big?bytes=3000000", bytes_per_second=500_000)
        self._stopped.wait(self._random.uniform(1, 8))
        reader.stop()

    def _hostile(self) -> None:
        self.counts["hostile"] += 1
        raw(self._port, self._random.choice(HOSTILE), timeout=0.5)


class Weather:
    """Faults that come and go, one server at a time."""

    def __init__(self, servers: tuple[Simulated, Simulated], seed: int) -> None:
        self._servers, self._random = servers, random.Random(seed)
        self._struck: Simulated | None = None
        self._until = 0.0
        self.faults = 0

    def blow(self) -> None:
        """Let the next fault begin or the present one end, when its time has come."""
        if time.monotonic() < self._until:
            return
        if self._struck is not None:
            self.clear()
            self._until = time.monotonic() + self._random.uniform(1, 4)
            return
        self._struck = self._random.choice(self._servers)
        name, arguments = self._random.choice(FAULTS)
        spare_probes = name not in SILENT and self._random.random() < 0.3
        self._struck.spoil(name, spare_probes=spare_probes, **arguments)
        self.faults += 1
        self._until = time.monotonic() + self._random.uniform(1, 5)

    def clear(self) -> None:
        """Mend what is spoiled."""
        if self._struck is not None:
            self._struck.mend()
            self._struck = None
