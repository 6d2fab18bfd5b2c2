"""
How mpp ends when what is configured can never work: one line on stderr for each thing that is wrong, and an exit status.
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
"""What a process ends with that was configured wrongly: the same for every cause, so that a supervisor can tell it by that."""


class FatalError(SystemExit, Exception):
    """
    The program ends before it began.

    An Exception too, because ``twistd`` cleans up after those only: it removes its pid file, and tells the waiting parent
    when it runs as a daemon (which has no stderr any more).
    """

    def __init__(self, error: ConfigError) -> None:
        super().__init__(EXIT_STATUS)
        self._lines = "\n".join(f"mpp: {each}" for each in error.all)

    def __str__(self) -> str:
        return self._lines


def fatal(error: ConfigError) -> FatalError:
    """Tell the operator on stderr what is wrong, a line for each thing, and give the exception that ends the program."""
    refusal = FatalError(error)
    mark = PRIORITIES["error"] if is_journal(sys.__stderr__, os.environ.get(JOURNAL, "")) else ""
    # Not sys.stderr: once twistd logs, that is the log.
    print(*(f"{mark}{line}" for line in str(refusal).splitlines()), sep="\n", file=sys.__stderr__, flush=True)
    return refusal


def stop_with_error(reactor: Any) -> None:
    """
    Stop the reactor, and have the process end with `EXIT_STATUS`.

    twistd has no status for a program that stopped its own reactor but 0: it cleans up (its pid file) and returns. What is
    left then is the end of the interpreter.
    """
    atexit.register(_exit)
    reactor.stop()


def _exit() -> None:
    # Not sys.stdout: once twistd logs, that is the log.
    for stream in filter(None, (sys.__stdout__, sys.__stderr__)):
        stream.flush()
    os._exit(EXIT_STATUS)
