"""One client connection of a front, and the one to the server that belongs to it. Decides request by request what is spoiled."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol

import httptools

from tests.simulated.connection import LINGER
from tests.simulated.plan import Plan

RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing sends RST."""


class IFront(Protocol):
    """
    What a connection knows of the front.

    :ivar plan: what goes wrong at the moment, if anything.
    :ivar accepted: how many connections there were.
    :ivar requests: how many requests there were.
    """

    plan: Plan | None
    connections: set[Connection]
    accepted: int
    requests: int
    server_port: int


class Answer:
    """Collects one answer of the server; ``complete`` once its last byte has come."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.complete = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        self.data += data
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Note the end (llhttp)."""
        self.complete = True

    def parts(self) -> tuple[bytes, bytes]:
        """Return the head, which now announces the end of the connection, and the body as on the wire."""
        head, _, body = bytes(self.data).partition(b"\r\n\r\n")
        return head + b"\r\nConnection: close\r\n\r\n", body


class Upstream(asyncio.Protocol):
    """The connection to the server that belongs to one client connection."""

    def __init__(self, client: Connection) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        """Hand over what the server said."""
        self._client.answered(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Close the client's connection too."""
        self._client.server_gone()


class Connection(asyncio.Protocol):
    """One client connection; the line that faults act on (`tests.simulated.plan.ILine`)."""

    transport: asyncio.Transport

    def __init__(self, front: IFront) -> None:
        self._front, self._loop = front, asyncio.get_running_loop()
        self._upstream: asyncio.Transport | None = None
        self._early = bytearray()
        self._asking = False
        self._parser: Any = None
        self._plan: Plan | None = None
        self._struck = self._ended = False
        self._answer: Answer | None = None

    def connection_made(self, transport: Any) -> None:
        """Connect to the server."""
        self.transport = transport
        self._front.connections.add(self)
        self._front.accepted += 1
        self._task = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            upstream, _ = await self._loop.create_connection(lambda: Upstream(self), "127.0.0.1", self._front.server_port)
        except OSError:
            self.abort()
            return
        if self._ended:
            upstream.abort()
            return
        self._upstream = upstream
        upstream.write(bytes(self._early))

    def connection_lost(self, error: Exception | None) -> None:
        """Leave the server too."""
        self._ended = True
        self._front.connections.discard(self)
        if self._upstream is not None:
            self._upstream.abort()

    def data_received(self, data: bytes) -> None:
        """Decide at the first byte of a request what becomes of its answer; pass the request on in any case."""
        if not self._asking:
            self._begin()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.abort()
            return
        if self._upstream is None:
            self._early += data
        else:
            self._upstream.write(data)

    def _begin(self) -> None:
        self._asking = True
        self._parser = httptools.HttpRequestParser(self)
        self._front.requests += 1
        plan = self._front.plan
        self._answer = None if plan is None else Answer()
        if plan is not None and (plan.fault.strikes != "connection" or plan is not self._plan):
            self._struck = plan.strikes_now()
        self._plan = plan

    def on_message_complete(self) -> None:
        """Note the end of the request (llhttp)."""
        self._asking = False

    def answered(self, data: bytes) -> None:
        """Pass on what the server said, or let the fault have it once it is complete."""
        if self._answer is None or self._plan is None:
            self.send(data)
            return
        self._answer.feed(data)
        if self._answer.complete:
            head, body = self._answer.parts()
            if self._struck:
                self._plan.fault.act(self, head, body)
            else:
                self.send(head + body)
                self.done()

    def server_gone(self) -> None:
        """End, unless a fault still has something to say."""
        if self._answer is None:
            self.close()

    def send(self, data: bytes) -> None:
        """Send bytes now."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def done(self) -> None:
        """Close: while it misbehaves, every answer is a connection's last."""
        self.close()

    def close(self) -> None:
        """Send FIN after what was sent."""
        self.transport.close()

    def reset(self) -> None:
        """Send RST, after what was sent had time to leave."""
        self.later(LINGER, self.abort)

    def abort(self) -> None:
        """Send RST now."""
        with contextlib.suppress(OSError):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call back unless the connection has ended by then."""
        self._loop.call_later(seconds, lambda: None if self._ended else call())
