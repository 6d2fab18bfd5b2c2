"""Servers as child processes of the demo: started, waited for, and ended, so that none is left over."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define, field

START_DEADLINE = 30.0
"""Seconds for a server to start: a slow laptop with a cold cache."""
PR_SET_PDEATHSIG = 1
"""From Linux' ``sys/prctl.h``."""


class NotServing(Exception):
    """The error that a server could not be started or does not respond, with its name and the reason."""


@define
class Server:
    """
    A server process of the demo.

    :ivar environ: variables of the process in addition to the demo's environment.
    :ivar ready_url: the URL that returns 200 when the server is ready.
    """

    name: str
    port: int
    command: Sequence[str]
    ready_url: str
    log: Path
    environ: Mapping[str, str] = field(factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process in a new session, so that Ctrl-C does not reach it."""
        try:
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **self.environ},
                    start_new_session=True,
                    preexec_fn=_die_with_parent,
                )
        except OSError as error:
            raise NotServing(f"cannot start {self.name} ({self.command[0]}): {error.strerror}") from None

    def wait_ready(self) -> None:
        """Wait until the server is ready; raise `NotServing` if it ends or is too slow."""
        end = time.monotonic() + START_DEADLINE
        while not self._serves():
            if not self.runs():
                raise NotServing(f"{self.name} ended at once. Its last output:\n{self.last_words()}")
            if time.monotonic() > end:
                raise NotServing(f"{self.name} did not answer {self.ready_url} within {START_DEADLINE:g} s. {self.last_words()}")
            time.sleep(0.1)

    def _serves(self) -> bool:
        try:
            with urllib.request.urlopen(self.ready_url, timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def runs(self) -> bool:
        """Return whether the process is running."""
        return self.process is not None and self.process.poll() is None

    def last_words(self) -> str:
        """Return the last lines of the process' output."""
        return "\n".join("    " + line for line in self.log.read_text(errors="replace").splitlines()[-8:])

    def stop(self) -> None:
        """Send SIGTERM to the process; `reap` waits for its end."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def reap(self, end: float) -> None:
        """Wait for the end of the process until a time of ``time.monotonic``, then kill it."""
        if self.process is not None:
            try:
                self.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def _die_with_parent() -> None:
    # Should the demo itself be killed with SIGKILL, the kernel ends its servers (Linux only).
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
