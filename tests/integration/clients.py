"""
Clients that put load on a server and count what happens to them: no retries, no leniency, no Twisted.

All loads are bounded in number and time and go to loopback only.
"""

from __future__ import annotations

import http.client
import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Self

from attrs import define, field, frozen

from tests.integration.processes import wait_until


@frozen
class Ask:
    """One request that a client sends again and again."""

    target: str
    method: str = "GET"
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes | None = None
    begins: bytes = b'{"status":"success"'
    """What a good answer begins with."""


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
QUERIES = (
    Ask("/api/v1/query?query=up"),
    Ask("/api/v1/query", "POST", FORM, b"query=vector(1)"),
    Ask("/api/v1/query?query=count(up)"),
    Ask("/api/v1/labels"),
)
"""What a dashboard might ask of any Prometheus."""


@define
class Tally:
    """
    What happened to the requests.

    :ivar failures: one line for each that failed: an exception, another status than 200, or another body than expected.
    :ivar seconds: how long each took, failed ones too.
    """

    statuses: Counter[int] = field(factory=Counter)
    failures: list[str] = field(factory=list)
    seconds: list[float] = field(factory=list)
    served_by: Counter[str] = field(factory=Counter)

    @property
    def requests(self) -> int:
        """How many there were."""
        return len(self.seconds)

    def slowest(self) -> float:
        """The longest time one took; 0 when there was none."""
        return max(self.seconds, default=0.0)

    def quantile(self, share: float) -> float:
        """The time within which that share of the requests was answered."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def add(self, other: Tally) -> None:
        """Add what happened to another client."""
        self.statuses.update(other.statuses)
        self.failures += other.failures
        self.seconds += other.seconds
        self.served_by.update(other.served_by)

    def __str__(self) -> str:
        shown = "; ".join(f"{count}x {what}" for what, count in Counter(self.failures).most_common(5))
        return (
            f"{self.requests} requests, {len(self.failures)} failed, median {self.quantile(0.5) * 1000:.1f} ms, "
            f"99 % {self.quantile(0.99) * 1000:.1f} ms, slowest {self.slowest() * 1000:.0f} ms" + (f" ({shown})" if shown else "")
        )


class Load:
    """
    Clients in a closed loop: each sends the next request when it has the answer to the last one, on one kept-alive connection.

    Use it as a context manager, or `start` and `stop`. Ends by itself after ``at_most`` seconds.

    :param pause: seconds between an answer and the next request of the same client.
    """

    def __init__(
        self,
        port: int,
        *,
        clients: int = 8,
        asks: Sequence[Ask] = QUERIES,
        timeout: float = 15.0,
        at_most: float = 120.0,
        pause: float = 0.0,
    ) -> None:
        self._port, self._asks, self._timeout, self._at_most, self._pause = port, asks, timeout, at_most, pause
        self._tallies = [Tally() for _ in range(clients)]
        self._threads = [threading.Thread(target=self._run, args=(n, t), daemon=True) for n, t in enumerate(self._tallies)]
        self._stopped = threading.Event()
        self._end = 0.0

    def start(self) -> Self:
        """Begin."""
        self._end = time.monotonic() + self._at_most
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> Tally:
        """End, wait for the answers that are still to come, and give what happened."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(self._timeout + 5)
        return self.tally()

    def reach(self, requests: int) -> None:
        """Wait until so many more requests have ended; fails after a minute."""
        before = self.tally().requests
        wait_until(lambda: self.tally().requests >= before + requests, f"{requests} more requests after {before}", 60)

    def tally(self) -> Tally:
        """Return what has happened so far."""
        total = Tally()
        for tally in self._tallies:
            total.add(tally)
        return total

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _run(self, number: int, tally: Tally) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._timeout)
        for ask in itertools.islice(itertools.cycle(self._asks), number % len(self._asks), None):
            if self._stopped.is_set() or time.monotonic() > self._end:
                break
            began = time.monotonic()
            failure = self._ask(connection, ask, tally)
            tally.seconds.append(time.monotonic() - began)
            if failure:
                tally.failures.append(failure)
                connection.close()
            if self._pause:
                time.sleep(self._pause)
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, ask: Ask, tally: Tally) -> str:
        """Send one request; give one line when it failed, else nothing."""
        try:
            connection.request(ask.method, ask.target, body=ask.body, headers=dict(ask.headers))
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"
        tally.statuses[answer.status] += 1
        tally.served_by[answer.getheader("MPP.ServedBy") or "?"] += 1
        if answer.status != 200:
            return f"{answer.status} {body[:200]!r}"
        return "" if body.startswith(ask.begins) else f"200 with {body[:100]!r}"


class SlowReader:
    """A client that reads an answer at a given pace, in a thread of its own. ``received`` counts bytes of head and body."""

    def __init__(self, port: int, target: str, *, bytes_per_second: float) -> None:
        self.received = 0
        self.error = ""
        self._pace = bytes_per_second
        self._socket = socket.socket()
        # A large receive buffer would take megabytes off the server before the pace is felt.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self._socket.settimeout(30)
        self._socket.connect(("127.0.0.1", port))
        self._socket.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def finished(self) -> bool:
        """The server has closed the connection, or it broke."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Hang up."""
        self._stopped.set()
        self._thread.join(31)
        self._socket.close()

    def _read(self) -> None:
        began = time.monotonic()
        while not self._stopped.is_set():
            ahead = self.received / self._pace - (time.monotonic() - began)
            if ahead > 0:
                self._stopped.wait(ahead)
                continue
            try:
                data = self._socket.recv(32 * 1024)
            except OSError as error:
                self.error = str(error)
                return
            if not data:
                return
            self.received += len(data)


def raw(port: int, request: bytes, *, timeout: float = 5.0, until: bytes = b"") -> bytes:
    """Send bytes as they are; give all that comes back until the server closes, ``until`` has come or nothing more comes."""
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(request)
        try:
            while not (until and until in received):
                data = connection.recv(65536)
                if not data:
                    break
                received += data
        except TimeoutError:
            pass
    return bytes(received)


def hang_up(port: int, clients: int, requests: Sequence[bytes], *, after: float = 0.0, at_once: int = 100) -> int:
    """
    Let many clients connect, send (part of) a request and hang up without reading; give how many there were.

    :param requests: what they send, in turn.
    :param after: seconds between sending and hanging up.
    :param at_once: how many are connected at the same time.
    """
    for first in range(0, clients, at_once):
        connections = []
        for number in range(first, min(clients, first + at_once)):
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            connection.sendall(requests[number % len(requests)])
            connections.append(connection)
        if after:
            time.sleep(after)
        for connection in connections:
            connection.close()
    return clients
