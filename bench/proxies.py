"""The proxies under test, each as a process in front of the same two servers, and how to tell that it uses both of them."""

from __future__ import annotations

import csv
import json
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from bench.load import CREDENTIALS
from bench.programs import first_line, vmauth_version
from tests.integration.processes import Mpp, Process, fetch, free_port, wait_until

SETTLE_DEADLINE = 60.0
"""Seconds within which a proxy has to use a mended server again: six of mpp's selection intervals."""
HAPROXY = """
global
    maxconn 5000
    nbthread 1
defaults
    mode http
    timeout client 60s
    timeout server 15s
    timeout connect 1s
    timeout queue 15s
    retries 3
    retry-on all-retryable-errors
    option redispatch
frontend proxy
    bind 127.0.0.1:{port}
    default_backend servers
backend servers
    balance roundrobin
    option http-buffer-request
    option httpchk GET /-/ready
    server a {servers[0]} check
    server b {servers[1]} check
listen state
    bind 127.0.0.1:{state}
    stats enable
    stats uri /
"""
VMAUTH = """
users:
- username: bench
  password: bench
  url_prefix: [{urls}]
  retry_status_codes: [500, 502, 503]
{more}"""


class MppProxy(Mpp):
    """mpp, with its own defaults."""

    def __init__(self, strategy: str, servers: Sequence[str], command: str, options: Sequence[str]) -> None:
        super().__init__([f"http://{server}" for server in servers])
        self.title = f"mpp {strategy}"
        self._program = command.split() or [sys.executable, "-m", "mpp"]
        self._extra = ["--routing-strategy", strategy, *options]

    @property
    def version(self) -> str:
        """What it says it is."""
        return first_line(*self._program, "--version")

    def command(self) -> list[str]:
        """Return the command line."""
        return [*self._program, "--endpoints-file", str(self.endpoints_file), "--port", str(self.port), *self._extra]

    def uses_both(self) -> bool:
        """Tell whether both servers are viable."""
        standings = [s for s in self.samples() if s[0] == "mpp_backend_standing" and s[1]["standing"] == "viable"]
        return sum(value for _, _, value in standings) == 2

    def counters(self) -> Counter[str]:
        """Return all of its counters that tell of trouble, by what they are called in the table of `--explain`."""
        found: Counter[str] = Counter()
        for name, labels, value in self.samples():
            if name.startswith("mpp_") and name.endswith("_total"):
                found[name + json.dumps(labels).replace('": "', "=").replace('"', "")] = int(value)
        return found


class HAProxy(Process):
    """HAProxy: retries on everything, on the other server."""

    title = "HAProxy"

    def __init__(self, servers: Sequence[str]) -> None:
        super().__init__("haproxy")
        self._state = free_port()
        text = HAPROXY.format(port=self.port, servers=servers, state=self._state)
        (self.folder / "haproxy.cfg").write_text(text)

    @property
    def version(self) -> str:
        """What it says it is."""
        return first_line("haproxy", "-v")

    def command(self) -> list[str]:
        """Return the command line."""
        return ["haproxy", "-f", str(self.folder / "haproxy.cfg")]

    def is_ready(self) -> bool:
        """Tell whether it forwards."""
        return fetch(self.port, "/-/ready")[0] == 200

    def uses_both(self) -> bool:
        """Tell whether it holds both servers to be up."""
        page = fetch(self._state, "/;csv")[2].decode()
        rows = [row for row in csv.reader(page.splitlines()) if row[:1] == ["servers"] and row[1] in "ab"]
        return [row[17] for row in rows] == ["UP", "UP"]


class Vmauth(Process):
    """vmauth, with its own defaults, but room for all clients."""

    title = "vmauth"

    def __init__(self, servers: Sequence[str], binary: str) -> None:
        super().__init__("vmauth")
        self._binary = binary
        knows = subprocess.run([binary, "-help"], capture_output=True, text=True, check=False)
        flags = knows.stdout + knows.stderr
        more = "  load_balancing_policy: least_loaded\n" if "-loadBalancingPolicy" in flags else ""
        self._flags = [f"-{name}=2000" for name in ("maxConcurrentPerUserRequests",) if f"-{name} " in flags]
        urls = ", ".join(f"http://{server}/" for server in servers)
        (self.folder / "auth.yml").write_text(VMAUTH.format(urls=urls, more=more))

    @property
    def version(self) -> str:
        """What it says it is, or what its file says."""
        return vmauth_version(self._binary)

    def command(self) -> list[str]:
        """Return the command line."""
        return [self._binary, f"-auth.config={self.folder}/auth.yml", f"-httpListenAddr={self.address}", *self._flags]

    def is_ready(self) -> bool:
        """Tell whether it forwards."""
        return ask(self)[0] == 200

    def uses_both(self) -> bool:
        """It does not tell; see `settle`."""
        return True


Proxy = MppProxy | HAProxy | Vmauth


def ask(proxy: Proxy) -> tuple[int, dict[str, str], bytes]:
    """Send one request through a proxy."""
    return fetch(proxy.port, "/api/v1/query?query=up", headers={"Authorization": f"Basic {CREDENTIALS}"})


def settle(proxy: Proxy, seen: Callable[[], int]) -> None:
    """
    Wait until a proxy sends requests to the mended server again.

    :param seen: how many requests that server has seen so far.
    :raise AssertionError: it does not, for a long time.
    """

    def settled() -> bool:
        try:
            if not proxy.uses_both():
                return False
            before = seen()
            return all(ask(proxy)[0] == 200 for _ in range(10)) and seen() > before
        except OSError:
            return False

    wait_until(settled, f"{proxy.title} uses both servers", SETTLE_DEADLINE, every=0.2)


def all_proxies(servers: Sequence[str], strategies: Sequence[str], mpp: str, options: Sequence[str], only: str) -> list[Any]:
    """Make all proxies that there are here; ``servers`` as ``host:port``, the faulty one first."""
    found: list[Proxy] = [MppProxy(strategy, servers, mpp, options) for strategy in strategies]
    if shutil.which("haproxy"):
        found.append(HAProxy(servers))
    if binary := shutil.which("vmauth"):
        found.append(Vmauth(servers, binary))
    return [proxy for proxy in found if proxy.title.lower().startswith(tuple(only.lower().split(",")))]


class Front(Process):
    """The front of the faulty server."""

    def __init__(self, server_port: int, *, namespace: bool) -> None:
        super().__init__("front")
        self._control_port = free_port()
        self._server_port, self._namespace = server_port, namespace

    def command(self) -> list[str]:
        """Return the command line."""
        ports = [f"--port={self.port}", f"--server-port={self._server_port}", f"--control-port={self._control_port}"]
        return [sys.executable, "-m", "bench.front", *ports, *(["--namespace"] if self._namespace else [])]

    def is_ready(self) -> bool:
        """Tell whether it listens."""
        return bool(self.tell("look"))

    def tell(self, what: str, **more: object) -> dict[str, Any]:
        """Send an order; see ``bench/front.py``."""
        with socket.create_connection(("127.0.0.1", self._control_port), timeout=10) as connection:
            connection.sendall(json.dumps({"do": what, **more}).encode() + b"\n")
            with connection.makefile() as answers:
                return dict(json.loads(answers.readline()))

    @property
    def where(self) -> str:
        """``host:port``."""
        return f"{self.tell('look')['address']}:{self.port}"

    def requests(self) -> int:
        """Tell how many requests it has seen."""
        return int(self.tell("look")["requests"])
