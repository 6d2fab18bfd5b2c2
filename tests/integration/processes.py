"""
Starts and stops what the integration tests need as processes: real Prometheus servers, simulated ones, and mpp.

Everything has its own temporary folder and port, and goes away with `close`, at the latest when the test process ends. Blocking:
nothing here may run in a reactor's thread that has to answer meanwhile.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.forks import CHECKOUT, Fork, die_with_parent
from tests.integration.patience import within

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase

START_DEADLINE = 30.0
"""Seconds that a server may take to start on an idle machine, see `within`."""
# Not seeded: several runs at a time must not try the same ports in the same order.
_random = random.SystemRandom()
_given: set[int] = set()


class NotStarted(Exception):
    """A process did not become ready; the message ends with its last output."""


def free_port() -> int:
    """
    Return a port of 127.0.0.1 that nothing listens on at the moment, and that was not returned before.

    It is below those that the kernel gives out by itself (from 32768 on, on Linux): one of these may be the client's end of some
    connection by the time that a server wants it. ``MPP_TEST_PORTS``, like ``10240-12000``, is for test processes that run side
    by side: none takes a port that another has found free and not yet bound.
    """
    first, last = map(int, os.environ.get("MPP_TEST_PORTS", "10240-31999").split("-"))
    if len(_given) > (last - first) // 2:
        _given.clear()
    while True:
        port = _random.randint(first, last)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port


def wait_until(condition: Callable[[], Any], what: str, deadline: float = START_DEADLINE, every: float = 0.05) -> Any:
    """
    Wait for a condition and return its (true) value.

    :param what: for the message of the AssertionError that ends the waiting.
    :param deadline: seconds that it takes at most on an idle machine. It gets twice as long, on a busy one longer, see `within`.
    """
    began = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - began
        # The machine may have become busy meanwhile.
        if waited > 2 * deadline and waited > within(2 * deadline):
            raise AssertionError(f"not within {waited:.0f} s: {what}")
        time.sleep(every)


def fetch(
    port: int,
    target: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 10.0,
    host: str = "127.0.0.1",
) -> tuple[int, dict[str, str], bytes]:
    """
    Ask once, on a connection of its own; give status, headers (lower case, repeated ones joined) and body.

    :param timeout: seconds that a response takes at most on an idle machine; on a busy one it may take longer, see `within`.
    """
    connection = http.client.HTTPConnection(host, port, timeout=within(timeout))
    try:
        connection.request(method, target, body=body, headers={**(headers or {}), "Connection": "close"})
        answer = connection.getresponse()
        found: dict[str, str] = {}
        for name, value in answer.getheaders():
            found[name.lower()] = f"{found[name.lower()]}, {value}" if name.lower() in found else value
        return answer.status, found, answer.read()
    finally:
        connection.close()


class Process:
    """
    A server process with its own folder.

    :ivar port: the port it serves on.
    :ivar folder: its temporary folder; its output is in ``log``.
    :ivar current: the folder that it is started in.
    :ivar environ: what its environment has beside that of the tests.
    """

    def __init__(self, name: str, port: int | None = None) -> None:
        self.name = name
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"mpp-test-{name}-"))
        self.current = CHECKOUT
        self.environ: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | Fork | None = None

    def command(self) -> list[str]:
        """Return the command line."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Tell whether it serves."""
        raise NotImplementedError

    @property
    def address(self) -> str:
        """``127.0.0.1:port``."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id; fails when it does not run."""
        assert self.process is not None, f"{self.name} does not run"
        return self.process.pid

    def start(self, *, wait: bool = True) -> Self:
        """Start it, and wait until it serves unless told not to."""
        self.process = self.launch()
        if wait:
            self.wait_ready()
        return self

    def launch(self) -> subprocess.Popen[bytes] | Fork:
        """Start its process."""
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen(
                self.command(),
                cwd=self.current,
                env={**os.environ, **self.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )

    def start_for(self, test: SynchronousTestCase, *, wait: bool = True) -> Self:
        """Start it, and close it when a test has ended."""
        test.addCleanup(self.close)
        return self.start(wait=wait)

    def wait_ready(self) -> None:
        """Wait until it serves; fails with its last output."""
        end = time.monotonic() + within(START_DEADLINE)
        while not self._answers():
            if self.process is None or self.process.poll() is not None or time.monotonic() > end:
                raise NotStarted(f"{self.name}: {self.log()[-2000:]}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            return self.is_ready()
        except (OSError, http.client.HTTPException):
            return False

    def log(self) -> str:
        """Return all it has printed so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def signal(self, number: int) -> None:
        """Send a signal: SIGSTOP and SIGCONT make it hang and go on."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it with SIGKILL and wait."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self, deadline: float = 10.0) -> int:
        """End it with SIGTERM; give its exit status. Killed, and an AssertionError, when it takes too long."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {deadline:g} s of SIGTERM") from None
        finally:
            self.kill()

    def close(self) -> None:
        """End it and remove its folder. May be called again."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Simulated(Process):
    """
    A simulated Prometheus in its own process, changed through its control port.

    :ivar host: the address that it serves on.
    """

    host = "127.0.0.1"

    def __init__(self, *options: str, name: str = "simulated") -> None:
        super().__init__(name)
        self.control_port = free_port()
        self._options = options

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://{self.address}"

    def launch(self) -> Fork:
        """See `Process`."""
        ports = ["--port", str(self.port), "--control-port", str(self.control_port)]
        return Fork([*ports, "--name", self.name, *self._options], self.folder / "log")

    def is_ready(self) -> bool:
        """Tell whether it can be controlled."""
        return bool(self.state())

    def state(self) -> dict[str, Any]:
        """Return its state and counts."""
        return self._control("GET", "/")

    def set(self, **values: object) -> None:
        """Change its state."""
        self._control("POST", "/state", values)

    def spoil(self, fault: str, *, share: float = 1.0, spare_probes: bool = False, **arguments: object) -> None:
        """Let something go wrong; see ``tests.simulated.faults.FAULTS``."""
        wanted = {"name": fault, "share": share, "spare_probes": spare_probes, "arguments": arguments}
        self._control("POST", "/fault", wanted)

    def mend(self) -> None:
        """Let nothing go wrong."""
        self._control("DELETE", "/fault")

    def notify(self, text: str) -> None:
        """Send an event to all who follow the event stream."""
        self._control("POST", "/event", text)

    def count(self, path: str) -> int:
        """Tell how many requests there were for a path."""
        return int(self.state()["counts"].get(path, 0))

    def _control(self, method: str, target: str, value: object = None) -> dict[str, Any]:
        body = None if value is None else json.dumps(value).encode()
        status, _, answer = fetch(self.control_port, target, method=method, body=body, host=self.host)
        assert status == 200, answer
        return dict(json.loads(answer))


class Mpp(Process):
    """
    mpp itself, as a process, with an endpoints file.

    :param backends: the lines of the endpoints file.
    :param options: further command line options.
    """

    def __init__(self, backends: Sequence[str], *options: str, interval: str = "500ms") -> None:
        super().__init__("mpp")
        self._options = options
        self._interval = interval
        self.endpoints_file = self.folder / "endpoints"
        self.write_endpoints(*backends)

    def write_endpoints(self, *lines: str) -> None:
        """Replace the endpoints file, all at once."""
        fresh = self.folder / "endpoints.new"
        fresh.write_text("".join(line + "\n" for line in lines))
        fresh.replace(self.endpoints_file)

    def command(self) -> list[str]:
        """Return the command line."""
        files = ["--endpoints-file", str(self.endpoints_file), "--port", str(self.port)]
        return [sys.executable, "-P", "-m", "mpp", *files, "--selection-interval", self._interval, *self._options]

    def is_ready(self) -> bool:
        """Tell whether the first round has finished."""
        return fetch(self.port, "/mpp/ready", timeout=2)[0] == 200

    def samples(self, name: str = "") -> list[tuple[str, dict[str, str], float]]:
        """Return its own metrics, or only those of a name, which takes a tenth of the time: name, labels, value."""
        page = self.metrics_page()
        if name:
            page = "".join(line for line in page.splitlines(keepends=True) if line.startswith((f"{name} ", f"{name}{{")))
        return [(s.name, s.labels, s.value) for family in text_string_to_metric_families(page) for s in family.samples]

    def metrics_page(self) -> str:
        """Return the page with its own metrics."""
        return fetch(self.port, "/mpp/metrics")[2].decode()

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        return sum(value for _, has, value in self.samples(name) if labels.items() <= has.items())

    def standing_of(self, backend: str) -> str:
        """Return the standing of a backend (by ``host:port``) as its metrics tell it; empty when it is not listed."""
        shown = [(has["standing"], value) for _, has, value in self.samples("mpp_backend_standing") if has["backend"] == backend]
        return next((standing for standing, value in shown if value), "")

    def is_selected(self, backend: str) -> bool:
        """Tell whether a backend takes traffic."""
        return self.metric("mpp_backend_selected", backend=backend) == 1

    def wait_selected(self, backend: str) -> None:
        """Wait until a backend takes traffic."""
        wait_until(lambda: self.is_selected(backend), f"{backend} is selected; log: {self.log()[-2000:]}")

    def resident(self) -> int:
        """Return its resident memory in bytes."""
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """Return the number of its open file descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))
