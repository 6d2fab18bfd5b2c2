"""What is to blame when no connection to a backend comes about: says it of what Twisted and OpenSSL report. Pure."""

from __future__ import annotations

import errno
import os

from OpenSSL import SSL
from twisted.internet import error
from twisted.python.failure import Failure

from mpp.core.errors import Cause

# What this process, or this machine, has run out of.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_CAUSES: tuple[tuple[type[Exception], Cause], ...] = (
    (error.ConnectionRefusedError, Cause.REFUSED),
    (error.TimeoutError, Cause.TIMEOUT),
    (error.TCPTimedOutError, Cause.TIMEOUT),
    # The other end hung up during the handshake: nothing was said about certificates.
    (error.ConnectionDone, Cause.CLOSED),
    (error.ConnectionLost, Cause.RESET),
    (error.ConnectionAborted, Cause.RESET),
    (error.ConnectError, Cause.UNREACHABLE),
    (OSError, Cause.UNREACHABLE),
)


def cause_of(reason: Failure) -> Cause:
    """Name what went wrong; what Twisted's network errors do not name is the TLS layer's."""
    number = getattr(reason.value, "osError", None) or getattr(reason.value, "errno", None)
    if number in _SHORTAGES:
        return Cause.LOCAL
    if number == errno.ECONNRESET:
        return Cause.RESET
    return next((cause for kind, cause in _CAUSES if reason.check(kind)), Cause.TLS)


# Causes that say all there is to say of the errors that Twisted has for them.
_SAY_IT_ALL = frozenset({Cause.REFUSED, Cause.TIMEOUT, Cause.RESET, Cause.CLOSED})


def detail_of(reason: Failure, cause: Cause) -> str:
    """
    Return what an error says beside its cause, in one line; empty if that is nothing.

    Twisted puts a sentence of its own before the system's words: "Connection was refused by other side: 111: Connection
    refused." Only the system's words are kept, and they too are left out where the cause has said the same.
    """
    problem = reason.value
    if isinstance(problem, SSL.Error) and problem.args and problem.args[0]:
        # A list of (library, function, reason); the last reason says it.
        return str(problem.args[0][-1][-1])
    if not reason.check(error.ConnectError, error.ConnectionClosed):
        # What the TLS layer raises says little without its type.
        return f"{type(problem).__name__}: {reason.getErrorMessage().rstrip('.')}"
    if cause in _SAY_IT_ALL:
        return ""
    number = getattr(problem, "osError", None)
    return os.strerror(number) if isinstance(number, int) else reason.getErrorMessage().rstrip(".")
