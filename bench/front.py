"""
A TCP proxy in front of one server that passes bytes through, until it is told over its control port to misbehave.

A process of its own, so that it disturbs nobody's measurement. It knows HTTP only as far as a request begins and an answer ends;
the ways to misbehave are those of `tests.simulated.faults`. While it misbehaves, it does so for health checks too, and closes
every connection after its answer. What hangs when it is mended stays hanging, until ``reset``.

With ``--namespace`` it listens in a network namespace of its own, so that ``vanish`` can drop packets on the way there.

Control: one JSON object per line, answered by one. ``{"do": "spoil", "fault": "late", "share": 1, "arguments": {...}}``,
``{"do": "mend"}``, ``{"do": "reset"}`` (all connections), ``{"do": "look"}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from bench.line import Connection
from bench.link import Link
from tests.simulated.faults import FAULTS
from tests.simulated.plan import Plan

BACKLOG = 4096
"""What a Go server has on Linux."""


class Front:
    """The listening socket, the present plan, and what was counted."""

    def __init__(self, link: Link, port: int, server_port: int) -> None:
        self.link, self.port, self.server_port = link, port, server_port
        self.plan: Plan | None = None
        self.connections: set[Connection] = set()
        self.accepted = self.requests = 0
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen."""
        if self._server is None:
            listener = self.link.listen(self.port, BACKLOG)
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self), sock=listener, backlog=BACKLOG
            )

    def reset(self) -> None:
        """Reset all connections."""
        for connection in tuple(self.connections):
            connection.abort()

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do what is wanted, tell the counts."""
        if order["do"] == "spoil":
            self._spoil(order["fault"], order.get("share", 1.0), order.get("arguments", {}))
        elif order["do"] == "mend":
            self.plan = None
            self.link.join()
            await self.open()
        elif order["do"] == "reset":
            self.reset()
        return {"accepted": self.accepted, "requests": self.requests, "open": len(self.connections), "address": self.link.address}

    def _spoil(self, name: str, share: float, arguments: dict[str, Any]) -> None:
        if name == "vanish" and self.link.cut():
            # What comes through before or after the cut is well.
            return
        self.plan = Plan(FAULTS[name](**arguments), share)
        if name == "refuse" and self._server is not None:
            self._server.close()
            self._server = None
            self.reset()

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one control connection."""
        while line := await reader.readline():
            writer.write(json.dumps(await self.obey(json.loads(line))).encode() + b"\n")
        writer.close()


async def run(options: argparse.Namespace) -> None:
    """Serve until the process is ended."""
    with Link(namespace=options.namespace) as link:
        front = Front(link, options.port, options.server_port)
        await front.open()
        control = await asyncio.start_server(front.control, "127.0.0.1", options.control_port)
        await control.serve_forever()


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--server-port", type=int, required=True, help="of the server behind it, on 127.0.0.1")
    parser.add_argument("--control-port", type=int, required=True)
    parser.add_argument("--namespace", action="store_true", help="listen in a network namespace of its own (needs the right to)")
    asyncio.run(run(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
