"""A client that asks for very many targets on connections that it keeps, each as soon as the answer before is there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

_ASK = "GET {} HTTP/1.1\r\nHost: mpp\r\nAccept: application/json\r\n\r\n"
_GOOD = b"HTTP/1.1 200"
_LENGTH = b"\r\ncontent-length: "


class _Connection(asyncio.Protocol):
    """One connection; all of them share the targets."""

    def __init__(self, targets: Iterator[str], done: asyncio.Future[None]) -> None:
        self.answered = self.failed = 0
        self._targets, self._done = targets, done
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the first time."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        assert self._transport is not None
        target = next(self._targets, None)
        if target is None:
            self._transport.close()
        else:
            self._transport.write(_ASK.format(target).encode())

    def data_received(self, data: bytes) -> None:
        """Ask again when an answer is complete."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        begin = head.lower().find(_LENGTH)
        length = int(head[begin + len(_LENGTH) :].split(b"\r", 1)[0]) if begin >= 0 else len(body)
        if len(body) >= length:
            self._received = b""
            is_good = head.startswith(_GOOD) and body.startswith(b'{"status":"success"')
            self.answered += is_good
            self.failed += not is_good
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; a request without an answer has failed."""
        self.failed += exc is not None or next(self._targets, None) is not None
        if not self._done.done():
            self._done.set_result(None)


def ask_all(port: int, targets: Iterator[str], connections: int) -> tuple[int, int]:
    """Ask for all targets; return how many were answered with success, and how many were not."""
    return asyncio.run(_ask_all(port, targets, connections))


async def _ask_all(port: int, targets: Iterator[str], connections: int) -> tuple[int, int]:
    loop = asyncio.get_running_loop()
    ends: list[asyncio.Future[None]] = [loop.create_future() for _ in range(connections)]
    made = [
        (await loop.create_connection(lambda end=end: _Connection(targets, end), "127.0.0.1", port))[1]  # type: ignore[misc]
        for end in ends
    ]
    await asyncio.gather(*ends)
    return sum(each.answered for each in made), sum(each.failed for each in made)
