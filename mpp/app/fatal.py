"""
The end of the program after a configuration error: one line on stderr per error, and an exit status.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

from mpp.app.logs.format import PRIORITIES
from mpp.app.logs.observer import JOURNAL, is_journal
from mpp.core.errors import ConfigError

EXIT_STATUS = 2
"""The exit status after any configuration error, by which a process supervisor recognizes it."""


class FatalError(SystemExit, Exception):
    """
    The exception that ends the program before its start.

    It is also an ``Exception``, because ``twistd`` cleans up only after an ``Exception``: it removes its pid file, and a daemon
    (which has no stderr) reports the error to the waiting parent process.
    """

    def __init__(self, error: ConfigError) -> None:
        super().__init__(EXIT_STATUS)
        self._lines = "\n".join(f"mpp: {each}" for each in error.all)

    def __str__(self) -> str:
        return self._lines


def fatal(error: ConfigError) -> FatalError:
    """Print each error as a line on stderr, and return the exception that ends the program."""
    exception = FatalError(error)
    mark = PRIORITIES["error"] if is_journal(sys.__stderr__, os.environ.get(JOURNAL, "")) else ""
    # Not sys.stderr, which twistd redirects to its log.
    print(*(f"{mark}{line}" for line in str(exception).splitlines()), sep="\n", file=sys.__stderr__, flush=True)
    return exception


def stop_with_error(reactor: Any) -> None:
    """
    Stop the reactor, and end the process with `EXIT_STATUS`.

    twistd exits with status 0 when a program stops its own reactor. So the status is set by a function that the interpreter calls
    at its exit, after twistd has cleaned up.
    """
    atexit.register(_exit)
    reactor.stop()


def _exit() -> None:
    # Not sys.stdout, which twistd redirects to its log.
    for stream in filter(None, (sys.__stdout__, sys.__stderr__)):
        stream.flush()
    os._exit(EXIT_STATUS)
