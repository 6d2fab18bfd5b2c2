"""
Clients in a closed loop that believe nothing: a process of its own, which prints what happened as JSON and ends by itself.

Every client asks ``count(up) + N`` with another N each time, by GET and by POST in turn, on a connection that is kept alive.
A request has failed unless its answer has status 200, ends where its framing says, is JSON, says success and has the right
result, all within the timeout. After a failure the client goes on with a new connection.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import sys
import time
from collections import Counter
from typing import Any
from urllib.parse import quote_plus

import httptools

CREDENTIALS = base64.b64encode(b"bench:bench").decode()
"""Older releases of vmauth serve nobody without a name, so all get one."""
METHODS = ("GET", "POST")
WARNING = b'"mpp: no '
"""What the warning of mpp begins with."""


def request(method: str, number: int, at: str = "") -> bytes:
    """Return one request; ``at`` is the time that it asks for, now if it is empty."""
    form = "query=" + quote_plus(f"count(up) + {number}") + (f"&time={at}" if at else "")
    common = f"Host: bench\r\nAuthorization: Basic {CREDENTIALS}\r\n"
    if method == "GET":
        return f"GET /api/v1/query?{form} HTTP/1.1\r\n{common}\r\n".encode()
    length = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n"
    return f"POST /api/v1/query HTTP/1.1\r\n{common}{length}\r\n{form}".encode()


def flaw(status: int, body: bytes, right: int) -> str:
    """Tell what is wrong with an answer; empty when nothing is."""
    if status != 200:
        return f"status {status}"
    try:
        answer = json.loads(body)
        value = answer["data"]["result"][0]["value"][1]
    except (ValueError, KeyError, IndexError, TypeError):
        return "200 with another body"
    if answer["status"] != "success":
        return "200 without success"
    return "" if value == str(right) else "200 with a wrong result"


class Tally:
    """
    What happened to all requests.

    :ivar well: the longest time a request took that was over before the fault began.
    :ivar slow: for each request of a second and more: when it began (since the load did) and how long it took.
    :ivar warned: answers of mpp without data, with its warning that no server has it; not counted as failed.
    """

    def __init__(self, fault_begins: float) -> None:
        self.began = time.monotonic()
        self._fault_begins = self.began + fault_begins
        self.well = 0.0
        self.warned = 0
        self.requests: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.slow: list[tuple[float, float]] = []
        self.seconds: list[float] = []

    def add(self, method: str, began: float, reason: str) -> None:
        """Count one."""
        now = time.monotonic()
        took = now - began
        if now < self._fault_begins:
            self.well = max(self.well, took)
        self.requests[method] += 1
        self.seconds.append(took)
        if took >= 1.0:
            self.slow.append((round(began - self.began, 2), round(took, 2)))
        if reason:
            self.failed[method] += 1
            self.reasons[reason] += 1

    def result(self) -> dict[str, Any]:
        """Return all of it."""
        ordered = sorted(self.seconds) or [0.0]
        return {
            "requests": dict(self.requests),
            "failed": dict(self.failed),
            "reasons": dict(self.reasons),
            "warned": self.warned,
            "median": ordered[len(ordered) // 2],
            "p99": ordered[int(len(ordered) * 0.99)],
            "worst": ordered[-1],
            "well": self.well,
            "slow": len(self.slow),
            "slowest": sorted(self.slow, key=lambda one: -one[1])[:5],
        }


class Client(asyncio.Protocol):
    """One client, over all of its connections, one after the other."""

    def __init__(self, tally: Tally, options: argparse.Namespace, number: int, servers: int) -> None:
        self._tally, self._options, self._servers = tally, options, servers
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(number * 1_000_000)
        self._methods = itertools.islice(itertools.cycle(METHODS), number % 2, None)
        self._transport: Any = None
        self._parser: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = False
        self.finished: asyncio.Future[None] = self._loop.create_future()

    def next(self) -> None:
        """Send the next request, or end."""
        if time.monotonic() - self._tally.began > self._options.seconds:
            self._hang_up()
            self.finished.set_result(None)
            return
        self._number, self._method = next(self._numbers), next(self._methods)
        self._body, self._status, self._complete = bytearray(), 0, False
        self._began, self._waiting = time.monotonic(), True
        self._timer = self._loop.call_later(self._options.timeout, self._end, f"no answer in {self._options.timeout:g} s")
        if self._transport is None:
            self._task = self._loop.create_task(self._connect())
        else:
            self._send()

    async def _connect(self) -> None:
        began = self._began
        connection = self._loop.create_connection(lambda: _Wire(self), "127.0.0.1", self._options.port)
        try:
            transport, _ = await connection
        except OSError as error:
            if self._waiting and began == self._began:
                self._end(f"cannot connect: {error.strerror}")
            return
        if not self._waiting or began != self._began:
            transport.abort()
            return
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request(self._method, self._number, self._options.time))

    def _hang_up(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def _end(self, reason: str) -> None:
        """Count the request; go on."""
        if not self._waiting:
            return
        self._waiting = False
        if self._timer is not None:
            self._timer.cancel()
        self._tally.add(self._method, self._began, reason)
        if reason or not self._parser.should_keep_alive():
            self._hang_up()
        # From the loop, not from here: one client's luck must not starve the others.
        self._loop.call_later(self._options.pause, self.next)

    def received(self, transport: Any, data: bytes) -> None:
        """Take bytes."""
        if transport is not self._transport:
            return
        if not self._waiting:
            # Said without being asked: the next request on it would get the wrong answer.
            self._tally.reasons["bytes after the answer"] += 1
            self._tally.failed[self._method] += 1
            self._hang_up()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end("not HTTP")
            return
        if self._complete:
            wrong = flaw(self._status, bytes(self._body), self._servers + self._number)
            if wrong and self._status == 200 and WARNING in self._body:
                wrong = ""
                self._tally.warned += 1
            self._end(wrong)

    def lost(self, transport: Any) -> None:
        """Note the end of a connection; it is a failure while an answer is outstanding."""
        if transport is self._transport:
            self._transport = None
            self._end("broke off in mid-answer" if self._status else "closed without an answer")

    def on_headers_complete(self) -> None:
        """Take the status (llhttp)."""
        self._status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body (llhttp)."""
        self._body += data

    def on_message_complete(self) -> None:
        """Note the end, unless it was an interim answer's (llhttp)."""
        self._complete = self._parser.get_status_code() >= 200


class _Wire(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._client.received(self._transport, data)

    def connection_lost(self, error: Exception | None) -> None:
        self._client.lost(self._transport)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run all clients."""
    tally = Tally(options.fault_begins)
    clients = [Client(tally, options, number, options.up) for number in range(options.clients)]
    print("began", flush=True)
    for client in clients:
        client.next()
    await asyncio.gather(*(client.finished for client in clients))
    return tally.result()


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=9.0, help="no request begins later")
    parser.add_argument("--timeout", type=float, default=15.0)
    parser.add_argument("--fault-begins", type=float, default=0.0, help="so long after the load")
    parser.add_argument("--pause", type=float, default=0.0, help="between an answer and the client's next request")
    parser.add_argument("--time", default="", help="the time that is asked for (default: now)")
    parser.add_argument("--up", type=int, default=2, help="what count(up) gives")
    print(json.dumps(asyncio.run(run(parser.parse_args()))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
