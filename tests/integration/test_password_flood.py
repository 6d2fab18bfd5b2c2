"""Wrong passwords from several networks at once, and those whose password was right before."""

from __future__ import annotations

import http.client
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.patience import within
from tests.integration.processes import Mpp, Simulated, fetch, wait_until
from tests.integration.test_web_config import basic, hashed
from tests.integration.workers import one_process

ALONE = "verifying passwords keeps a core busy, and how long a client waits behind that is measured"

QUERY = "/api/v1/query?query=up"
FORGETFUL = "import sys, mpp.security.web_config.passwords as p; p.REMEMBERED_S = 1.0; from mpp.__main__ import main; main()"
"""mpp that knows a password for a second after its last use, and not for ten minutes."""


class Flood:
    """Connections from some networks of loopback that send wrong passwords without a pause, each another one."""

    def __init__(self, port: int, *, networks: int = 5, connections: int = 36, forwarded: bool = False) -> None:
        self._port = port
        self._forwarded = forwarded
        self.statuses: Counter[int] = Counter()
        self._stopped = threading.Event()
        places = [(network, number) for network in range(1, networks + 1) for number in range(connections)]
        self._threads = [threading.Thread(target=self._attack, args=place, daemon=True) for place in places]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        wait_until(lambda: sum(self.statuses.values()) > 100, "the flood has begun")
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)

    def _attack(self, network: int, number: int) -> None:
        source = "127.0.0.1" if self._forwarded else f"127.0.{network}.{number + 1}"
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30, source_address=(source, 0))
        forwarded = {"X-Forwarded-For": f"198.51.{network}.{number + 1}"} if self._forwarded else {}
        for attempt in range(1_000_000):
            if self._stopped.is_set():
                break
            try:
                connection.request("GET", QUERY, headers={**basic("alice", f"{network}-{number}-{attempt}"), **forwarded})
                answer = connection.getresponse()
                answer.read()
                self.statuses[answer.status] += 1
            except (OSError, http.client.HTTPException):
                self.statuses[0] += 1
                connection.close()
            time.sleep(0.05)
        connection.close()


class Forgetful(Mpp):
    """mpp that soon forgets."""

    def command(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-P", "-c", FORGETFUL, *super().command()[4:]]


class FloodTests(SynchronousTestCase):
    """180 connections from five networks."""

    def setUp(self) -> None:
        """Start a server, and write a web configuration."""
        self.path = Path(self.mktemp()).absolute()
        self.path.write_text(f"basic_auth_users: {{alice: {hashed('s3cret', 10)}, bob: {hashed('b', 10)}}}\n")
        self.simulated = Simulated("--version", "3.5.0").start_for(self)

    def start(self, kind: type[Mpp], *options: str) -> Mpp:
        """Start mpp."""
        mpp = kind([self.simulated.url], "--web-config", str(self.path), *options)
        return mpp.start_for(self)

    def ask(self, mpp: Mpp, user: str = "alice", password: str = "s3cret", **headers: str) -> tuple[int, float]:
        """Ask on a connection of its own; return status and seconds."""
        began = time.monotonic()
        status = fetch(mpp.port, QUERY, headers={**basic(user, password), **headers}, timeout=30)[0]
        return status, time.monotonic() - began

    def test_forgotten_password_is_verified_beside_a_flood(self) -> None:
        """Who comes back after the time for which a password is known is served within a second, and not behind the flood."""
        mpp = self.start(Forgetful)
        self.assertEqual(self.ask(mpp)[0], 200)
        with Flood(mpp.port) as flood:
            asked = []
            for _ in range(6):
                time.sleep(1.2)
                asked.append(self.ask(mpp))
            # From a network that sends nothing else: it waits, but it is let in.
            stranger = self.ask(mpp, "bob", "b")
        print(f"flood {dict(flood.statuses)}; familiar {[(s, round(t, 2)) for s, t in asked]}; stranger {stranger}")
        self.assertEqual({status for status, _ in asked}, {200})
        self.assertLess(sorted(took for _, took in asked)[3], within(1.5))
        self.assertEqual(stranger[0], 200)
        self.assertEqual(set(flood.statuses) - {0}, {401, 429})

    @one_process("each worker has its own limit of verifications for a network, and a client may reach the worker with room")
    def test_through_a_proxy(self) -> None:
        """Behind a trusted proxy the flood of some clients' networks keeps nobody else out."""
        mpp = self.start(Mpp, "--trusted-proxies", "127.0.0.0/8")
        with Flood(mpp.port, forwarded=True) as flood:
            stranger = self.ask(mpp, "bob", "b", **{"X-Forwarded-For": "192.0.2.1"})
            neighbour = [self.ask(mpp, "bob", str(n), **{"X-Forwarded-For": "198.51.1.200"})[0] for n in range(10)]
        print(f"flood {dict(flood.statuses)}; stranger {stranger}; neighbour {neighbour}")
        self.assertEqual(stranger[0], 200)
        self.assertIn(429, neighbour)

    def test_verified_password_is_shared_by_workers(self) -> None:
        """A password that one worker has verified is known to the others, so that no new connection waits behind the flood."""
        mpp = self.start(Mpp, "--workers", "2")
        self.assertEqual(self.ask(mpp)[0], 200)
        time.sleep(0.5)
        with Flood(mpp.port) as flood:
            asked = [self.ask(mpp) for _ in range(20)]
        print(f"flood {dict(flood.statuses)}; slowest {max(took for _, took in asked):.2f} s")
        self.assertEqual({status for status, _ in asked}, {200})
