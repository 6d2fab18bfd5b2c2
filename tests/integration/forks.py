"""
Simulated servers as forks of one process that has imported all they need, the fork server of `multiprocessing`: a start takes a
tenth of the CPU time of a new program.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing import forkserver, get_context
from pathlib import Path
from types import ModuleType
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent.parent
_PR_SET_PDEATHSIG = 1
_main = sys.modules["__main__"]


def die_with_parent() -> None:
    """Let the kernel kill this process when the one that started it is gone (Linux; elsewhere nothing happens)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Fork:
    """
    A process of ``python -m tests.simulated``, with those methods of `subprocess.Popen` that `Process` uses.

    :param arguments: the command line.
    :param log: the file that gets its output.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._process = _context().Process(target=_run, args=(arguments, log), daemon=True)
        # A fork would import the main module of this program as well.
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            self._process.start()
        finally:
            sys.modules["__main__"] = _main
        self.pid = self._process.pid or 0
        self.kill, self.terminate = self._process.kill, self._process.terminate

    def poll(self) -> Any:
        """Return the exit status; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for the end, and return the exit status."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("tests.simulated", timeout or 0)
        return self._process.exitcode


@functools.cache
def _context() -> Any:
    """Return the context of a fork server, which finds its modules by an environment of its own."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.simulated.preloaded"])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(CHECKOUT)
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)
    return context


def _run(arguments: Sequence[str], log: Path) -> None:
    die_with_parent()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv[1:] = arguments
    from tests.simulated.__main__ import main

    sys.exit(main())
