"""The longest turns of the reactor while a wide panel is fetched, cached and assembled, and what ran in them. See README.rst."""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import table
from tests.integration.long.quick_server import Quick
from tests.integration.processes import Mpp, fetch

STEP_S = 15
NOTED_S = 0.002
"""CPU time of a turn from which on it is written down."""
SAMPLE_S = 0.001
"""CPU time of the process between two looks at what the reactor's thread does; the kernel may make it 4 ms."""
QUIET_S = 0.5
"""After so many seconds without CPU time the work that follows a response has ended."""
INSIDE = "--inside"
MEMORY = "384MiB"


class TimedPoller:
    """The poller of a reactor; between two polls there is one turn."""

    def __init__(self, poller: Any, path: str) -> None:
        self._poller = poller
        # Open until the process ends.
        self._file = Path(path).open("w")  # noqa: SIM115
        self._begin = time.thread_time()
        self._stacks: Counter[str] = Counter()
        self._collecting = 0.0
        gc.callbacks.append(self._garbage)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)

    def poll(self, timeout: float, most: int) -> Any:
        """End a turn, poll, and begin the next one."""
        took = time.thread_time() - self._begin
        if took >= NOTED_S:
            print(json.dumps({"at": time.time(), "cpu": took, "stacks": self._stacks}), file=self._file, flush=True)
        try:
            return self._poller.poll(timeout, most)
        finally:
            self._stacks = Counter()
            self._begin = time.thread_time()

    def _garbage(self, phase: str, about: dict[str, int]) -> None:
        """Note a garbage collection of more than a millisecond."""
        now = time.thread_time()
        if phase == "start":
            self._collecting = now
        elif now - self._collecting > 0.001:
            self._stacks[f"garbage of generation {about['generation']}: {(now - self._collecting) * 1000:.1f} ms"] += 1

    def sample(self, number: int, frame: FrameType | None) -> None:
        """Note what the reactor's thread does."""
        names = []
        while frame is not None and len(names) < 4:
            path = frame.f_code.co_filename
            if "/mpp/" in path:
                names.append(f"{path.rpartition('/mpp/')[2]}:{frame.f_lineno} {frame.f_code.co_name}")
            frame = frame.f_back
        self._stacks[" < ".join(names)] += 1


def inside() -> None:
    """Run mpp with a timed reactor."""
    path = sys.argv[2]
    sys.argv[:] = ["mpp", *sys.argv[3:]]
    from twisted.scripts.twistd import run

    from mpp.wire.tuned.reactor import install
    from mpp.wire.tuned.switch import is_tuned

    install(tuned=is_tuned())
    from twisted.internet import reactor as typeless

    reactor: Any = typeless  # the module's type in Twisted's annotations is too narrow
    reactor._poller = poller = TimedPoller(reactor._poller, path)

    def begin() -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGPROF, poller.sample)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_S, SAMPLE_S)

    reactor.callWhenRunning(begin)
    sys.argv[1:1] = ["--nodaemon", "--pidfile=", "mpp"]
    run()


class TimedMpp(Mpp):
    """mpp with a timed reactor."""

    def command(self) -> list[str]:
        """Return the command line."""
        ours = super().command()
        return [sys.executable, str(Path(__file__).resolve()), INSIDE, str(self.folder / "turns"), *ours[ours.index("mpp") + 1 :]]

    def turns(self, since: float, until: float) -> Iterator[dict[str, Any]]:
        """Yield the long turns that ended between two times."""
        for line in (self.folder / "turns").read_text().splitlines():
            turn = json.loads(line)
            if since <= turn["at"] <= until:
                yield turn

    def cpu_seconds(self) -> float:
        """Return its CPU time."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_quiet(self) -> None:
        """Wait until it has done what follows a response."""
        before = -1.0
        while (now := self.cpu_seconds()) - before > 0.02:
            before = now
            time.sleep(QUIET_S)


class Panel:
    """The requests for a wide panel, one after the other."""

    def __init__(self, mpp: TimedMpp, options: argparse.Namespace) -> None:
        self._mpp = mpp
        self._options = options
        self._end = (int(time.time()) - 1800) // 3600 * 3600
        self.rows: list[list[str]] = []
        self.long: list[tuple[str, dict[str, Any]]] = []

    def flush(self) -> None:
        """Empty the cache."""
        assert fetch(self._mpp.port, "/mpp/cache/flush", method="POST")[0] == 200

    def look(
        self, title: str, *, later: int = 0, earlier: int = 0, gzip: bool = False, viewers: int = 1, now: bool = False
    ) -> None:
        """
        Ask for the panel, and note the turns until all work for it is done.

        :param later: steps by which its end is later than the usual one.
        :param earlier: steps by which its start is earlier.
        :param now: its end is the present time.
        """
        end = int(time.time()) // STEP_S * STEP_S if now else self._end + later * STEP_S
        start = (end if now else self._end) - (self._options.steps - 1 + earlier) * STEP_S
        query = f'panel{{series="{self._options.series}"}}'
        target = f"/api/v1/query_range?{urlencode({'query': query, 'start': start, 'end': end, 'step': STEP_S})}"
        began = time.time()
        found: list[tuple[str, int]] = []
        threads = [
            threading.Thread(target=lambda: found.append(read_all(self._mpp.port, target, gzip=gzip))) for _ in range(viewers)
        ]
        run_all(threads)
        self._mpp.wait_quiet()
        turns = sorted(self._mpp.turns(began, time.time()), key=lambda turn: -turn["cpu"])
        self.long += [(title, turn) for turn in turns if turn["cpu"] >= self._options.limit / 1000]
        longest = ", ".join(f"{turn['cpu'] * 1000:.1f}" for turn in turns[:5])
        use, size = found[0]
        coding = "gzip" if gzip else "identity"
        self.rows.append([title, str(viewers), coding, use.partition(";")[0], f"{size / 1e6:.2f}", longest])
        print(" | ".join(self.rows[-1]), file=sys.stderr, flush=True)


def run_all(threads: list[threading.Thread]) -> None:
    """Start threads, and wait for them."""
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def read_all(port: int, target: str, *, gzip: bool) -> tuple[str, int]:
    """Ask once, and read as fast as possible; return how the cache was used, and the bytes of the response."""
    coding = "Accept-Encoding: gzip\r\n" if gzip else ""
    buffer = memoryview(bytearray(1 << 20))
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: mpp\r\n{coding}Connection: close\r\n\r\n".encode())
        head, size = b"", 0
        while count := connection.recv_into(buffer):
            head = head or bytes(buffer[:2000])
            size += count
    fields = dict(line.split(": ", 1) for line in head.partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")[1:])
    return fields.get("mpp.cache", head[:40].decode()), size


def looks(panel: Panel) -> None:
    """Look at the panel in all ways."""
    for gzip in (False, True):
        panel.flush()
        panel.look("cold", gzip=gzip)
        panel.look("all steps cached", gzip=gzip)
        panel.look("all steps cached, again", gzip=gzip)
        panel.look("5 steps are new", gzip=gzip, later=5)
        panel.look("63 steps are new, at both ends", gzip=gzip, later=8, earlier=60)
        panel.flush()
        panel.look("half of it", gzip=gzip, earlier=-700)
        panel.look("the other half is new", gzip=gzip)
        panel.look("until now", gzip=gzip, now=True)
        panel.look("until now, again", gzip=gzip, now=True)
        panel.look("4 viewers, cached", gzip=gzip, viewers=4)
        panel.flush()
        panel.look("4 viewers, cold", gzip=gzip, viewers=4)


def options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=1440)
    parser.add_argument("--limit", type=float, default=10.0, help="milliseconds that a turn may take (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    """Measure, and print the tables."""
    given = options()
    server = Quick()
    mpp = TimedMpp([server.url], "--cache-memory", MEMORY, "--enable-lifecycle", interval="30s")
    try:
        server.start()
        mpp.start()
        mpp.wait_quiet()
        panel = Panel(mpp, given)
        looks(panel)
    finally:
        mpp.close()
        server.close()
    print(f"\n{given.series} series x {given.steps} steps; CPU time of the reactor's thread\n")
    print(table(["panel", "viewers", "coding", "cache", "MB", "longest turns, ms"], panel.rows))
    print(f"\n{len(panel.long)} turns above {given.limit:g} ms")
    for title, turn in panel.long[:40]:
        print(f"{turn['cpu'] * 1000:6.1f} ms, {title}")
        for stack, count in Counter(turn["stacks"]).most_common(4):
            print(f"          {count} x {stack}")
    return 1 if panel.long else 0


if __name__ == "__main__":
    if sys.argv[1:2] == [INSIDE]:
        inside()
    else:
        sys.exit(main())
