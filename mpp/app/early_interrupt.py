"""
Handling of signals before the reactor runs. SIGINT (Ctrl-C) ends the process at once and silently, as it does with most programs,
SIGHUP is recorded for a reload after the start, and SIGPIPE ends a process while it prints an answer to its command line.

By default Python raises KeyboardInterrupt at any place instead: during the imports that prints a traceback, and in a callback or
a finalizer the exception is swallowed, so that the program continues. SIGHUP would end the process.
"""

from __future__ import annotations

import signal
from typing import Any


def end_silently() -> None:
    """Let SIGINT end the process, unless it is ignored, as in programs that a shell script runs in the background."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def print_or_end(text: str) -> None:
    """Print a text; end the process silently if the reader of its output, such as ``head``, is gone, as most programs do."""
    former = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        print(text, flush=True)
    finally:
        # In a proxy the signal would end the process with the first connection that a client closes.
        signal.signal(signal.SIGPIPE, former)


class HangupRecord:
    """
    A handler of SIGHUP that only records the signal.

    :ivar received: whether the signal has arrived.
    """

    def __init__(self) -> None:
        self.received = False

    def __call__(self, number: int, frame: object) -> None:
        """Record that the signal has arrived."""
        self.received = True


def record_hangup() -> None:
    """Record SIGHUP from now on, unless it is ignored, as under nohup(1)."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, HangupRecord())


def hand_over(reactor: Any) -> None:
    """Let SIGINT stop the running reactor, after `end_silently`: Twisted itself replaces only Python's default handler."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, reactor.sigInt)
