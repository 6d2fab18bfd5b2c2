"""What is to blame when no connection to a backend comes about: says it of what Twisted and OpenSSL report. Pure."""

from __future__ import annotations

import errno

from OpenSSL import SSL
from twisted.internet import error
from twisted.python.failure import Failure

from mpp.errors import Cause

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


def detail_of(reason: Failure) -> str:
    """Give one line; what the TLS layer raises says little without its type."""
    message = reason.getErrorMessage().rstrip(".")
    if isinstance(reason.value, SSL.Error) and reason.value.args and reason.value.args[0]:
        # A list of (library, function, reason); the last reason says it.
        return str(reason.value.args[0][-1][-1])
    return message if reason.check(error.ConnectError, error.ConnectionClosed) else f"{type(reason.value).__name__}: {message}"
