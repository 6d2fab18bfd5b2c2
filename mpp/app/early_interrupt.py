"""
Handling of SIGINT (Ctrl-C) before the reactor runs: it ends the process at once and silently, as it does with most programs.

By default Python raises KeyboardInterrupt at any place instead: during the imports that prints a traceback, and in a callback or
a finalizer the exception is swallowed, so that the program continues.
"""

from __future__ import annotations

import signal
from typing import Any


def end_silently() -> None:
    """Let SIGINT end the process, unless it is ignored, as in programs that a shell script runs in the background."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def hand_over(reactor: Any) -> None:
    """Let SIGINT stop the running reactor, after `end_silently`: Twisted itself replaces only Python's default handler."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, reactor.sigInt)
