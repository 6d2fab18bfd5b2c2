"""Plays the supervisor: starts one mpp after the other on a socket it holds, as systemd does, or side by side on one port."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Self

from tests.integration.clients import QUERIES, Ask, Load, Tally
from tests.integration.processes import CHECKOUT, Mpp, die_with_parent, fetch, free_port

# The first socket is number 3 (sd_listen_fds(3)).
_LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="mpp")
os.execv(sys.argv[2], sys.argv[2:])
"""

NEW_CONNECTIONS = tuple(Ask(ask.target, ask.method, {**ask.headers, "Connection": "close"}, ask.body) for ask in QUERIES)
"""The same requests, each on a connection of its own."""


class Activated(Mpp):
    """mpp on a socket that is held for it, whichever process serves it."""

    def __init__(self, backends: Sequence[str], *options: str) -> None:
        super().__init__(backends, *options)
        self.socket = socket.create_server(("::", self.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)

    def command(self) -> list[str]:
        """Return the command line."""
        files = ["--endpoints-file", str(self.endpoints_file), "--listen", "systemd:domain=INET6:name=mpp"]
        return [sys.executable, "-m", "mpp", *files, *self._options]

    def start(self, *, wait: bool = True) -> Self:
        """Start it with the socket."""
        number = self.socket.fileno()
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _LAUNCH, str(number), *self.command()],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[number],
                preexec_fn=die_with_parent,
            )
        if wait:
            self.wait_ready()
        return self

    def restart(self) -> int:
        """Tell it to stop, and start the next one when it has ended; give how it ended."""
        status = self.stop(deadline=20)
        self.start()
        return status

    def close(self) -> None:
        """End it, and let go of the socket."""
        self.socket.close()
        super().close()


class Shared(Mpp):
    """mpp on a port that it shares; its own pages are on a port of its own, too."""

    def __init__(self, backends: Sequence[str], port: int) -> None:
        super().__init__(backends)
        self.port = port
        self.own_port = free_port()

    def command(self) -> list[str]:
        """Return the command line."""
        return [*super().command(), "--reuse-port", "--listen", f"tcp:{self.own_port}:interface=127.0.0.1"]

    def is_ready(self) -> bool:
        """Tell whether this very process has finished its first round."""
        return fetch(self.own_port, "/mpp/ready", timeout=2)[0] == 200

    def succeed(self) -> tuple[Shared, int]:
        """Start the next one, then stop this one; give the next one, and how this one ended."""
        following = Shared([], self.port)
        following.endpoints_file.write_text(self.endpoints_file.read_text())
        following.start()
        return following, self.stop(deadline=20)


class Crowd:
    """Clients in a closed loop: half of them keep their connections, half make a new one for each request."""

    def __init__(self, port: int, *, clients: int = 16, pause: float = 0.0) -> None:
        self.kept = Load(port, clients=clients, pause=pause)
        self.fresh = Load(port, clients=clients, asks=NEW_CONNECTIONS, pause=pause)

    def __enter__(self) -> Self:
        self.kept.start()
        self.fresh.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stop()

    def reach(self, requests: int) -> None:
        """Wait until so many more requests have ended, of either kind; fails after a minute."""
        self.kept.reach(requests)
        self.fresh.reach(requests)

    def stop(self) -> tuple[Tally, Tally]:
        """End; give what happened to those with kept and to those with new connections."""
        return self.kept.stop(), self.fresh.stop()


def clean(status: int) -> bool:
    """Tell whether systemd holds an exit to be clean: status 0, or death by one of four signals (systemd.service(5))."""
    return status == 0 or -status in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
