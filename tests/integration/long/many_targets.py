"""Some thousand targets to scrape, at little cost: they share a process of their own, and connections stay open."""

from __future__ import annotations

import asyncio
import multiprocessing
from typing import cast

from tests.integration.processes import free_port

_BODY = b"# TYPE metric gauge\nmetric 1\n"
_PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
_OF_A_NET = 200


class _Page(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        *requests, self._seen = (self._seen + data).split(b"\r\n\r\n")
        self._transport.write(_PAGE * len(requests))


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Page, "0.0.0.0", port)
    await server.serve_forever()


def _run(port: int) -> None:
    asyncio.run(_serve(port))


class ManyTargets:
    """Targets, each at its own address of the loopback network; close it at the end."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process = multiprocessing.get_context("spawn").Process(target=_run, args=(self.port,), daemon=True)
        self._process.start()

    def addresses(self, count: int) -> list[str]:
        """Return the addresses of so many targets."""
        return [f"127.0.{1 + place // _OF_A_NET}.{1 + place % _OF_A_NET}:{self.port}" for place in range(count)]

    def close(self) -> None:
        """Stop answering."""
        self._process.terminate()
        self._process.join()
