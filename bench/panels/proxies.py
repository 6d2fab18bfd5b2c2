"""What stands between viewers and servers: nothing, proxies, and caches, each as a process on the cores of the servers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from bench.panels.servers import DashboardServer
from bench.panels.viewers import FIELDS
from bench.programs import cpu_seconds, first_line, vmauth_version
from tests.integration.processes import Mpp, Process, fetch, free_port, wait_until

HAPROXY = """
global
    maxconn 5000
    nbthread 1
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
    http-reuse always
    option redispatch
    retries 2
    option forwardfor
frontend proxy
    bind 127.0.0.1:{port}
    default_backend servers
backend servers
    option httpchk GET /-/ready
{servers}
"""
TRICKSTER_MOST_POINTS = 12_000
"""Times that Trickster keeps of a series; its default of 1,024 is less than a panel has."""
MOST_BYTES = 256 * 1024 * 1024
"""What each cache may keep."""


class Contestant(Process):
    """
    One row of the table.

    :ivar title: of the row.
    :ivar caches: whether its answers may be older than the request.
    """

    title = ""
    caches = False

    def __init__(self, servers: Sequence[DashboardServer], cores: str) -> None:
        super().__init__("proxy")
        self.servers, self._cores = servers, cores
        self.prepare()

    def prepare(self) -> None:
        """Write its configuration."""

    def arguments(self) -> list[str]:
        """Return its command line."""
        raise NotImplementedError

    @property
    def version(self) -> str:
        """What it says it is."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return the command line, on its cores."""
        return ["taskset", "-c", self._cores, *self.arguments()]

    def is_ready(self) -> bool:
        """Tell whether it forwards."""
        return fetch(self.port, "/api/v1/query?query=up", headers=FIELDS)[0] == 200

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used."""
        return cpu_seconds(self.pid)


class Direct(Contestant):
    """No proxy: viewers ask the first server."""

    title = "direct"

    def start(self, *, wait: bool = True) -> Direct:
        """Start nothing."""
        self.port = self.servers[0].port
        return self

    @property
    def version(self) -> str:
        """The version of the server."""
        return first_line(self.servers[0].binary, "--version")

    def arguments(self) -> list[str]:
        """Return that of the server."""
        return self.servers[0].command()

    def cpu_seconds(self) -> float:
        """Return 0: there is no proxy."""
        return 0.0


class HAProxy(Contestant):
    """HAProxy, requests to all servers in turn."""

    title = "HAProxy"

    def prepare(self) -> None:
        """Write its configuration."""
        lines = "\n".join(f"    server {server.name} {server.address} check" for server in self.servers)
        (self.folder / "haproxy.cfg").write_text(HAPROXY.format(port=self.port, servers=lines))

    def arguments(self) -> list[str]:
        """Return its command line."""
        return ["haproxy", "-f", str(self.folder / "haproxy.cfg")]

    @property
    def version(self) -> str:
        """What it says it is."""
        return first_line("haproxy", "-v")


class Vmauth(Contestant):
    """vmauth, with its own defaults."""

    title = "vmauth"

    def prepare(self) -> None:
        """Write its configuration."""
        urls = [f"{server.url}/" for server in self.servers]
        users = [{"username": "bench", "password": "bench", "url_prefix": urls}]
        (self.folder / "auth.yml").write_text(json.dumps({"users": users}))

    def arguments(self) -> list[str]:
        """Return its command line."""
        return [_found("vmauth"), f"-auth.config={self.folder}/auth.yml", f"-httpListenAddr={self.address}"]

    @property
    def version(self) -> str:
        """What it says it is."""
        return vmauth_version(_found("vmauth"))


class Trickster(Contestant):
    """Trickster's delta proxy cache, in front of the first server; limits raised that keep it from caching such panels."""

    title, caches = "Trickster", True

    def prepare(self) -> None:
        """Write its configuration."""
        listeners = {"panels": self.port, "metrics": free_port(), "mgmt": free_port()}
        backend = {
            "origin_url": self.servers[0].url,
            "provider": "prometheus",
            "listener_name": "panels",
            "cache_name": "default",
            "max_object_size_bytes": MOST_BYTES,
            "timeseries_retention_factor": TRICKSTER_MOST_POINTS,
            "backfill_tolerance": "60s",
        }
        text: dict[str, Any] = {
            "listeners": {
                name: {"protocol": "http", "address": "127.0.0.1", "port": port, "tls_port": 0}
                for name, port in listeners.items()
            },
            "caches": {"default": {"provider": "memory", "memory": {"max_size_bytes": MOST_BYTES}}},
            "backends": {"default": backend},
            "logging": {"log_level": "warn"},
        }
        (self.folder / "trickster.yaml").write_text(json.dumps(text))

    def arguments(self) -> list[str]:
        """Return its command line."""
        return [_found("trickster"), "-config", str(self.folder / "trickster.yaml")]

    @property
    def version(self) -> str:
        """What it says it is."""
        return first_line(_found("trickster"), "-version")


class QueryFrontend(Contestant):
    """The query front-end of Thanos, in front of the first server."""

    title, caches = "Thanos query-frontend", True

    def arguments(self) -> list[str]:
        """Return its command line."""
        cache = {"type": "IN-MEMORY", "config": {"max_size": f"{MOST_BYTES >> 20}MB", "validity": "6h"}}
        return [
            _found("thanos"),
            "query-frontend",
            f"--http-address={self.address}",
            f"--query-frontend.downstream-url={self.servers[0].url}",
            f"--query-range.response-cache-config={json.dumps(cache)}",
            # Its manual: highly recommended where the servers are on the same machine.
            "--query-frontend.downstream-tripper-config=" + json.dumps({"max_idle_conns_per_host": 100}),
            "--query-frontend.compress-responses",
            "--log.level=warn",
        ]

    @property
    def version(self) -> str:
        """What it says it is."""
        return first_line(_found("thanos"), "--version")

    def is_ready(self) -> bool:
        """Tell whether it says so: its probe is the only thing that it answers without a query."""
        return fetch(self.port, "/-/ready")[0] == 200


class MppRow(Contestant):
    """
    mpp.

    :param options: what makes the row another one.
    """

    def __init__(self, servers: Sequence[DashboardServer], cores: str, command: str, *options: str) -> None:
        self._program, self._options = command.split() or [sys.executable, "-m", "mpp"], options
        self.title = " ".join(["mpp", *options])
        self.caches = "--cache-memory" in options
        super().__init__(servers, cores)
        self.samples, self.metric = Mpp.samples.__get__(self), Mpp.metric.__get__(self)

    def prepare(self) -> None:
        """Write the list of servers."""
        (self.folder / "endpoints").write_text("".join(f"{server.url}\n" for server in self.servers))

    def arguments(self) -> list[str]:
        """Return its command line."""
        return [*self._program, "--endpoints-file", str(self.folder / "endpoints"), "--port", str(self.port), *self._options]

    @property
    def version(self) -> str:
        """What it says it is."""
        return first_line(*self._program, "--version")

    def wait_compared(self) -> None:
        """Wait until the histories of the servers are compared: then it knows that nobody lacks anything."""

        def compared() -> bool:
            document = json.loads(fetch(self.port, "/mpp/status?format=json")[2])
            return all(each["looked_back"]["finished"] for each in document["backends"])

        wait_until(compared, f"{self.title} has compared the histories", 120, every=0.5)


def _found(program: str) -> str:
    path = shutil.which(program)
    assert path, f"{program} is not on the PATH"
    return path


def knows(command: str, option: str) -> bool:
    """Return whether an mpp has an option."""
    program = command.split() or [sys.executable, "-m", "mpp"]
    done = subprocess.run([*program, "--help"], capture_output=True, text=True, check=False, timeout=30)
    return option in done.stdout


def mpp_rows(servers: Sequence[DashboardServer], cores: str, command: str) -> list[MppRow]:
    """Return the rows of mpp that an mpp has the options for."""
    rows: list[tuple[str, ...]] = [("--no-single-flight",)] if knows(command, "--no-single-flight") else []
    rows.append(())
    if knows(command, "--cache-memory"):
        memory = ("--cache-memory", f"{MOST_BYTES >> 20}MiB")
        rows += [(*memory, "--cache-tail", "0"), (*memory, "--cache-tail", "1s")]
    return [MppRow(servers, cores, command, *options) for options in rows]


def contestants(servers: Sequence[DashboardServer], cores: str, command: str, only: str) -> list[Contestant]:
    """Return all rows that can be measured here and whose titles begin with one of these (by commas)."""
    kinds = {"haproxy": HAProxy, "vmauth": Vmauth, "trickster": Trickster, "thanos": QueryFrontend}
    found: list[Contestant] = [Direct(servers, cores)]
    found += [kind(servers, cores) for program, kind in kinds.items() if shutil.which(program)]
    found += mpp_rows(servers, cores, command)
    wanted = tuple(only.lower().split(","))
    return [each for each in found if each.title == "direct" or each.title.lower().startswith(wanted)]
