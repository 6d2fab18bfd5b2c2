"""
``--dns`` while requests run: the system's own resolver is asked, and what it answers changes.

mpp runs in a mount namespace of its own, where other files lie over ``/etc/hosts`` and ``/etc/nsswitch.conf``; that needs no
rights where user namespaces are allowed, and changes nothing outside. Writing such a file is not atomic: a look-up may fail
meanwhile, which no request may notice.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.integration.clients import Ask, Load
from tests.integration.patience import within
from tests.integration.processes import NotStarted, Simulated, fetch, free_port, wait_until
from tests.integration.test_discovery import Bare, DiscoveryCase, TargetList

NAME = "prometheus.test"

# The kernel ends the program with its parent; what was asked for before is forgotten in a new user namespace.
_ENTER = 'mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/nsswitch.conf && shift 2 && exec setpriv --pdeathsig KILL "$@"'


@functools.cache
def unshare() -> tuple[str, ...]:
    """Return the command that enters a mount namespace: as root in a chroot, where no user namespace can be made, without one."""
    plain = ("unshare", "--mount")
    if os.geteuid() == 0 and subprocess.run((*plain, "true"), capture_output=True).returncode == 0:
        return plain
    return ("unshare", "--map-root-user", "--mount")


def entered(hosts: Path, switch: Path, *command: str) -> list[str]:
    """Return the command line that runs a command with these files."""
    return [*unshare(), "sh", "-c", _ENTER, "sh", str(hosts), str(switch), *command]


@functools.cache
def hindrance() -> str:
    """Return why nothing can be run like that here; empty if it can."""
    try:
        subprocess.run(
            entered(Path("/etc/hosts"), Path("/etc/nsswitch.conf"), "true"), check=True, capture_output=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(getattr(error, "stderr", b"").decode(errors="replace").strip() or error)
    return ""


class At(Simulated):
    """A simulated server at an address of this machine; all of them have the same port."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__("--interface", host)
        self.host = host
        self.port = port

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def is_ready(self) -> bool:
        """Tell whether it accepts connections."""
        with socket.create_connection((self.host, self.port), timeout=2):
            return True


class Resolving(Bare):
    """mpp, with a hosts file of its own."""

    def __init__(self, hosts: Path, switch: Path, *options: str) -> None:
        super().__init__(*options)
        self._files = (hosts, switch)

    def command(self) -> list[str]:
        """Return the command line."""
        return entered(*self._files, *super().command())


class HostsTests(DiscoveryCase):
    """The addresses of a name change."""

    def setUp(self) -> None:
        if hindrance():
            raise SkipTest(f"no mount namespace can be made here: {hindrance()}")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.hosts, self.switch = folder / "hosts", folder / "nsswitch.conf"
        self.switch.write_text("hosts: files\n")
        self.port = free_port()
        self.first, self.second = (At(host, self.port).start_for(self) for host in ("127.0.0.1", "127.0.0.2"))

    def resolve(self, *addresses: str) -> None:
        """Have the name stand for these addresses; in the same file, over which another one lies."""
        self.hosts.write_text("".join(f"{address}\t{NAME}\n" for address in addresses) + "127.0.0.9\tothers.test\n")

    def launch(self, *options: str) -> Load:
        """Start mpp with that name, wait until the first server is selected, and put a load on it."""
        self.mpp = Resolving(self.hosts, self.switch, "--dns", f"{NAME}:{self.port}", *options).start_for(self)
        self.mpp.wait_selected(self.first.address)
        load = Load(self.mpp.port, clients=4)
        self.addCleanup(load.stop)
        return load.start()

    def test_added_changed_removed(self) -> None:
        """Servers come and go with the addresses of the name."""
        self.resolve("127.0.0.1")
        load = self.launch()
        self.wait_state("dns", 1, 1)
        self.resolve("127.0.0.1", "127.0.0.2")
        self.wait_listed(self.first, self.second)
        self.resolve("127.0.0.2")
        self.wait_listed(self.second)
        self.first.kill()
        self.wait_state("dns", 1, 1)
        self.assert_none_failed(load, self.first, self.second)

    def test_broken_and_mended(self) -> None:
        """While the name is gone its last addresses stay; the log says so once a minute, and when it is back with new ones."""
        self.resolve("127.0.0.1")
        load = self.launch()
        for _ in range(2):
            self.resolve()
            self.wait_state("dns", 0, 1)
            self.assertEqual(self.selected(), {self.first.address})
            self.resolve("127.0.0.1")
            self.wait_state("dns", 1, 1)
        self.resolve()
        self.wait_state("dns", 0, 1)
        self.resolve("127.0.0.2", "127.0.0.1")
        self.wait_listed(self.first, self.second)
        self.wait_state("dns", 1, 2)
        self.assert_none_failed(load, self.first, self.second)
        kept = "continuing with 1 backend that it has found so far"
        said = f"locator dns failed, {kept}: {NAME}: does not resolve to any address"
        self.assertEqual(self.mpp.log().count(said), 1, self.mpp.log())

    def test_both_families(self) -> None:
        """An IPv6 address is a server like those of IPv4."""
        try:
            third = At("::1", self.port).start_for(self)
        except NotStarted as error:
            raise SkipTest(f"no IPv6 here: {error}") from None
        self.resolve("127.0.0.1")
        load = self.launch()
        self.resolve("127.0.0.1", "::1")
        self.wait_listed(self.first, third)
        self.resolve("::1")
        self.wait_listed(third)
        self.assert_none_failed(load, self.first, third)


class MovedHostTests(DiscoveryCase):
    """A host name moves from one server to another, whoever names it."""

    def setUp(self) -> None:
        if hindrance():
            raise SkipTest(f"no mount namespace can be made here: {hindrance()}")
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.hosts, self.switch = self.folder / "hosts", self.folder / "nsswitch.conf"
        self.switch.write_text("hosts: files\n")
        self.port = free_port()
        self.first, self.second = (At(host, self.port).start_for(self) for host in ("127.0.0.2", "127.0.0.3"))
        self.resolve("127.0.0.2")

    def resolve(self, address: str) -> None:
        """Have the name stand for this address."""
        self.hosts.write_text(f"{address}\t{NAME}\n")

    @property
    def name(self) -> str:
        """The server as it is configured."""
        return f"{NAME}:{self.port}"

    def launch(self, *options: str, clients: int = 4) -> Load:
        """Start mpp and clients of it; each asks for something else, because requests for the same are sent once."""
        self.mpp = Resolving(self.hosts, self.switch, *options).start_for(self)
        self.mpp.wait_selected(self.name)
        load = Load(self.mpp.port, clients=clients, asks=[Ask(f"/api/v1/query?query=up&client={n}") for n in range(clients)])
        self.addCleanup(load.stop)
        return load.start()

    def requests(self, server: At) -> int:
        """Return how many requests, those of mpp included, a server has received."""
        return sum(server.state()["counts"].values())

    def wait_moved(self) -> None:
        """Wait until the second server has the traffic, and see that the first one receives nothing any more."""
        wait_until(lambda: self.requests(self.second) > 50, f"the new server is asked; log: {self.mpp.log()[-2000:]}", 5)
        before = self.requests(self.first)
        wait_until(lambda: self.requests(self.second) > 500 and self.second.count("/-/ready") > 3, "the new server is used", 10)
        self.assertEqual(self.requests(self.first), before)

    def assert_moves(self, *options: str) -> None:
        """Have the name move under load: no request fails, and the old server is left alone, by probes too."""
        load = self.launch(*options)
        self.resolve("127.0.0.3")
        self.wait_moved()
        self.assertEqual(load.stop().failures, [])

    def test_endpoint_follows_its_moved_host(self) -> None:
        """The host of ``--endpoint``."""
        self.assert_moves("--endpoint", self.name)

    def test_workers_leave_the_old_server(self) -> None:
        """The workers leave the old server, too."""
        self.assert_moves("--endpoint", self.name, "--workers", "2")

    def test_file_sd(self) -> None:
        """A host in a list of targets."""
        targets = self.folder / "targets.json"
        targets.write_text(json.dumps([{"targets": [self.name]}]))
        self.assert_moves("--file-sd", str(targets))

    def test_endpoints_file(self) -> None:
        """A host in the endpoints file."""
        endpoints = self.folder / "endpoints"
        endpoints.write_text(f"{self.name}\n")
        self.assert_moves("--endpoints-file", str(endpoints))

    def test_http_sd(self) -> None:
        """A host in a list of targets that is fetched."""
        targets = TargetList()
        self.addCleanup(targets.close)
        targets.body = json.dumps([{"targets": [self.name]}])
        self.assert_moves("--http-sd", f"http://127.0.0.1:{targets.port}/targets")

    def test_frozen_old_server_delays_no_request(self) -> None:
        """When the old server is frozen, requests are answered by the new one soon after the name has moved."""
        load = self.launch("--endpoint", self.name, clients=40)
        wait_until(lambda: self.first.state()["connections"] > 20, "many connections are kept", 10)
        self.assertEqual(load.stop().failures, [])
        self.first.signal(signal.SIGSTOP)
        self.addCleanup(self.first.signal, signal.SIGCONT)
        self.resolve("127.0.0.3")
        wait_until(lambda: self.second.count("/-/ready"), "the new server is probed", 5)
        began = time.monotonic()
        with ThreadPoolExecutor(8) as clients:
            answered = list(clients.map(lambda _: fetch(self.mpp.port, "/api/v1/query?query=up")[0], range(64)))
        self.assertEqual(answered, [200] * 64)
        self.assertLess(time.monotonic() - began, within(3))
