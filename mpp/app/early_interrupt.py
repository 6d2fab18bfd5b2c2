"""
What SIGINT (Ctrl-C) does until the reactor runs: it ends the process at once and silently, as it does with most programs.

Python raises KeyboardInterrupt instead, anywhere: among the imports that is a traceback, and in a callback or a finalizer it is
swallowed, so that the program runs on. Knows nothing of what the program does.
"""

from __future__ import annotations

import signal
from typing import Any


def end_silently() -> None:
    """Have SIGINT end the process, unless it is ignored, as it is by programs that a shell's script runs in the background."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def hand_over(reactor: Any) -> None:
    """Have SIGINT stop a reactor that runs, if `end_silently` was what it did: Twisted replaces Python's own handler only."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, reactor.sigInt)
