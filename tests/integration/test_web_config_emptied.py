"""A web configuration that is emptied, removed or half written, while clients without a password go on asking."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import CHECKOUT, Mpp, Simulated, fetch, free_port, wait_until
from tests.integration.test_web_config import basic, hashed
from tests.integration.test_workers import children

QUERY = "/api/v1/query?query=up"
LOOKS_S = 2.5
"""Seconds in which mpp has looked at its files twice."""


class Strangers:
    """Clients without a password that never pause; leaving the context gives what they were answered in ``statuses``."""

    def __init__(self, port: int, clients: int = 3) -> None:
        self._port = port
        self.statuses: Counter[int] = Counter()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(20)

    def _ask(self) -> None:
        while not self._stopped.is_set():
            try:
                self.statuses[fetch(self._port, QUERY)[0]] += 1
            except (OSError, http.client.HTTPException):
                # A connection that was waiting for a worker that was killed.
                self.statuses[0] += 1
            time.sleep(0.005)


def overwrite(path: Path, text: str) -> None:
    """Write a file in place, as a shell's redirection does."""
    with open(path, "w") as file:
        file.write(text)


class EmptiedCase(SynchronousTestCase):
    """mpp with two users, in front of a simulated server."""

    options: tuple[str, ...] = ("--enable-lifecycle",)

    def setUp(self) -> None:
        """Start both."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.path = self.folder / "web.yml"
        self.good = f"# users\nbasic_auth_users:\n  alice: {hashed('s3cret')}\n  bob: {hashed('b')}\n"
        overwrite(self.path, self.good)
        simulated = Simulated("--version", "3.5.0").start_for(self)
        self.mpp = Mpp([simulated.url], "--web-config", str(self.path), *self.options).start_for(self)
        self.alice = basic("alice", "s3cret")

    def ask(self, target: str, method: str = "GET") -> bytes:
        """Ask as a user."""
        status, _, body = fetch(self.mpp.port, target, method=method, headers=self.alice)
        self.assertIn(status, (200, 500), body)
        return body

    def good_is_told(self) -> int:
        """Return the gauge that tells whether the files are in force."""
        page = self.ask("/mpp/metrics").decode()
        return next(int(float(line.split()[1])) for line in page.splitlines() if line.startswith("mpp_web_config_last"))

    def kept_out(self, change: Callable[[], object]) -> Counter[int]:
        """Change the file, and see that no stranger is let in; return what they were answered."""
        with Strangers(self.mpp.port) as strangers:
            change()
            time.sleep(LOOKS_S)
            wait_until(lambda: strangers.statuses[401] > 20, "many strangers were answered")
        self.assertLessEqual(set(strangers.statuses), {401, 0})
        return strangers.statuses

    def mend(self) -> None:
        """Write the good file, and wait until it is in force."""
        if self.path.is_dir():
            self.path.rmdir()
        overwrite(self.path, self.good)
        wait_until(lambda: fetch(self.mpp.port, QUERY)[0] == 401 and self.good_is_told() == 1, "the good file is in force", 10)


class EmptiedTests(EmptiedCase):
    """One process."""

    def test_emptied_file_lets_no_stranger_in(self) -> None:
        """However the file is emptied or taken away, no stranger gets an answer, and the operator is told."""
        changes: dict[str, Callable[[], object]] = {
            text or "nothing": lambda text=text: overwrite(self.path, text)  # type: ignore[misc]
            for text in ("", "# users\n", "{}\n", "~\n", "basic_auth_users:\n", "basic_auth_users: {}\n", "rate_limit: {}\n")
        }
        changes["gone"] = lambda: os.remove(self.path)
        changes["a folder"] = lambda: (self.path.unlink(), self.path.mkdir())
        changes["a named pipe"] = lambda: (self.path.unlink(), os.mkfifo(self.path))
        for what, change in changes.items():
            with self.subTest(what=what):
                lines = self.mpp.log().count("the former one stays active")
                statuses = self.kept_out(change)
                print(f"{what!r:<28} strangers: {dict(statuses)}")
                wait_until(lambda: self.good_is_told() == 0, "it is noticed", 5)
                self.assertEqual(self.mpp.log().count("the former one stays active"), lines + 1)
                status = json.loads(self.ask("/mpp/status?format=json"))
                self.assertEqual((status["verdict"]["level"], status["listener"]["passwords"]), ("warn", True))
                self.assertTrue(status["listener"]["problem"])
                if not self.path.is_file() and self.path.exists() and not self.path.is_dir():
                    self.path.unlink()
                self.mend()
        self.assertEqual(json.loads(self.ask("/mpp/status?format=json"))["verdict"]["level"], "good")

    def test_written_slowly(self) -> None:
        """A writer of one byte at a time, who pauses at each line's end until mpp has looked, lets nobody in."""

        def write() -> None:
            with open(self.path, "w", buffering=1) as file:
                for character in self.good:
                    file.write(character)
                    file.flush()
                    time.sleep(1.2 if character == "\n" else 0.01)

        print(dict(self.kept_out(write)))
        wait_until(lambda: self.good_is_told() == 1, "the whole file is in force", 10)

    def test_copied_again_and_again(self) -> None:
        """So does a file that is copied over itself all the time, truncated each time."""
        shutil.copy(self.path, self.folder / "source.yml")
        command = "end=$((SECONDS + 5)); while [ $SECONDS -lt $end ]; do cp source.yml web.yml; : > web.yml; sleep 0.05; done"
        statuses = self.kept_out(
            lambda: subprocess.run(["bash", "-c", f"{command}; cp source.yml web.yml"], cwd=self.folder, check=True, timeout=30)
        )
        print(dict(statuses))
        wait_until(lambda: self.good_is_told() == 1, "the copy is in force", 10)

    def test_explicit_reload_may_lift_protection(self) -> None:
        """SIGHUP and POST /mpp/reload take a file over that lets everybody in, if it has a key; without one they do not."""
        overwrite(self.path, "")
        said = json.loads(self.ask("/mpp/reload", "POST"))
        self.assertIn("--web-config: ", said["error"])
        self.assertIn("has no key at all", said["error"])
        self.mpp.signal(signal.SIGHUP)
        wait_until(lambda: "configuration not applied: --web-config" in self.mpp.log(), "SIGHUP is refused")
        self.assertEqual(fetch(self.mpp.port, QUERY)[0], 401)
        overwrite(self.path, "basic_auth_users: {}\n")
        self.assertEqual(json.loads(self.ask("/mpp/reload", "POST"))["data"]["changed"], ["web-config"])
        self.assertEqual(fetch(self.mpp.port, QUERY)[0], 200)
        self.assertIn("nothing is protected", self.mpp.log())
        self.mend()
        self.assertEqual(fetch(self.mpp.port, QUERY)[0], 401)
        overwrite(self.path, "basic_auth_users: {}\n")
        self.mpp.signal(signal.SIGHUP)
        wait_until(lambda: fetch(self.mpp.port, QUERY)[0] == 200, "SIGHUP takes it over", 10)

    def test_one_user_less(self) -> None:
        """A user who is taken out is kept out without a word to mpp, and the other one stays."""
        overwrite(self.path, self.good.partition("  bob")[0])
        wait_until(lambda: fetch(self.mpp.port, QUERY, headers=basic("bob", "b"))[0] == 401, "bob is kept out", 10)
        self.assertEqual(fetch(self.mpp.port, QUERY, headers=self.alice)[0], 200)
        self.assertEqual(self.good_is_told(), 1)


class WorkersTests(EmptiedCase):
    """Two workers."""

    options = ("--enable-lifecycle", "--workers", "2")

    def replaced(self, worker: int) -> list[int]:
        """Return the workers when there are two again, none of which is the given one; else nothing."""
        found = children(self.mpp.pid)
        return found if len(found) == 2 and worker not in found else []

    def test_new_worker_asks_for_passwords(self) -> None:
        """A worker that starts while the file is empty asks for passwords as the others do."""
        for text in ("", "basic_auth_users: {}\n"):
            with self.subTest(text=text):
                overwrite(self.path, text)
                before = children(self.mpp.pid)
                os.kill(before[0], signal.SIGKILL)
                statuses = self.kept_out(lambda: None)
                print(f"{text!r:<28} strangers: {dict(statuses)}")
                after = wait_until(lambda before=before: self.replaced(before[0]), "another worker has its place", 15)
                self.assertEqual(len(after), 2)
                self.assertEqual({fetch(self.mpp.port, QUERY, headers=self.alice)[0] for _ in range(20)}, {200})
        self.assertEqual(self.good_is_told(), 0)

    def test_explicit_reload_counts_for_all_workers(self) -> None:
        """An explicit reload counts for all of them, and so does the next protection."""
        overwrite(self.path, "basic_auth_users: {}\n")
        self.assertEqual(json.loads(self.ask("/mpp/reload", "POST"))["data"]["changed"], ["web-config"])
        self.assertEqual({fetch(self.mpp.port, QUERY)[0] for _ in range(20)}, {200})
        self.mend()
        time.sleep(0.2)
        self.assertEqual({fetch(self.mpp.port, QUERY)[0] for _ in range(20)}, {401})


class StartTests(SynchronousTestCase):
    """What a start makes of such a file."""

    def said(self, text: str, *options: str) -> tuple[int, str]:
        """Run mpp until it ends; return its status and what it printed."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "web.yml").write_text(text)
        argv = ["--endpoint", "127.0.0.1:1", "--port", str(free_port()), "--web-config", "web.yml", *options]
        environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        command = [sys.executable, "-m", "mpp", *argv]
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=30)
        return done.returncode, done.stderr.strip() or done.stdout.strip()

    def test_no_key(self) -> None:
        """Neither a start nor a check takes a file without a key; a check takes one with a key."""
        for text in ("", "# users", "{}", "~"):
            for options in ((), ("--check-config",)):
                with self.subTest(text=text, options=options):
                    status, said = self.said(text, *options)
                    self.assertEqual(status, 2)
                    self.assertIn("--web-config: web.yml: has no key at all; expected tls_server_config,", said)
                    self.assertEqual(said.count("\n"), 0)
        self.assertEqual(self.said("basic_auth_users: {}", "--check-config"), (0, "command line and environment: ok"))

    def test_nothing_behind_a_key(self) -> None:
        """Neither takes a key with nothing behind it; the error names file, line and key."""
        for options in ((), ("--check-config",)):
            with self.subTest(options=options):
                status, said = self.said("# users\nbasic_auth_users:\n", *options)
                expected = "expected user names with bcrypt hashes, or {} for no user, found nothing"
                self.assertEqual((status, said), (2, f"mpp: --web-config: web.yml: line 2: basic_auth_users: {expected}"))

    def test_explicitly_empty(self) -> None:
        """A section that is explicitly empty is taken, with one warning."""
        for number in (0, 1):
            path = Path(self.mktemp()).absolute()
            path.write_text("basic_auth_users: {}")
            mpp = Mpp(["127.0.0.1:1"], "--web-config", str(path), *(("--workers", "2") if number else ())).start_for(self)
            wait_until(lambda mpp=mpp: "nothing is protected" in mpp.log(), "the warning", 5)
            time.sleep(1)
            warnings = [line for line in mpp.log().splitlines() if "nothing is protected" in line]
            self.assertEqual(len(warnings), 1, mpp.log())
            self.assertIn("level=warn", warnings[0])
