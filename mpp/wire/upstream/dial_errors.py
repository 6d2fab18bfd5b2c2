"""The reasons why connections to backends fail or end, derived from the errors of Twisted and OpenSSL. Pure."""

from __future__ import annotations

import errno
import os

from OpenSSL import SSL
from twisted.internet import error
from twisted.python.failure import Failure

from mpp.core.errors import Cause

# Errors that say that this process, or this machine, has run out of something.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_CAUSES: tuple[tuple[type[Exception], Cause], ...] = (
    (error.ConnectionRefusedError, Cause.REFUSED),
    (error.TimeoutError, Cause.TIMEOUT),
    (error.TCPTimedOutError, Cause.TIMEOUT),
    # The other end closed the connection during the handshake, without a word about certificates.
    (error.ConnectionDone, Cause.CLOSED),
    (error.ConnectionLost, Cause.RESET),
    (error.ConnectionAborted, Cause.RESET),
    (error.ConnectError, Cause.UNREACHABLE),
    (OSError, Cause.UNREACHABLE),
)


def cause_of(reason: Failure, address: str = "") -> Cause:
    """
    Return the cause of a failure. Errors other than Twisted's network errors count as errors of TLS.

    :param address: the IP address to which a connection failed; empty if there was one.
    """
    number = getattr(reason.value, "osError", None) or getattr(reason.value, "errno", None)
    if number in _SHORTAGES:
        return Cause.LOCAL
    # All local ports for connections to this server are in use. On IPv6 the error can also mean that this machine has no address.
    if number == errno.EADDRNOTAVAIL and "." in address and ":" not in address:
        return Cause.LOCAL
    if number == errno.ECONNRESET:
        return Cause.RESET
    return next((cause for kind, cause in _CAUSES if reason.check(kind)), Cause.TLS)


# Causes whose errors in Twisted say nothing beyond the cause.
_SAY_IT_ALL = frozenset({Cause.REFUSED, Cause.TIMEOUT, Cause.RESET, Cause.CLOSED})


def detail_of(reason: Failure, cause: Cause) -> str:
    """
    Return the message of an error, in one line; empty if it says nothing beyond the cause.

    Twisted puts a sentence of its own before the message of the system: "Connection was refused by other side: 111: Connection
    refused." Only the system's message is kept, and it is left out, too, if the cause says the same.
    """
    problem = reason.value
    if isinstance(problem, SSL.Error) and problem.args and problem.args[0]:
        # A list of (library, function, reason); the last reason is the most specific.
        return str(problem.args[0][-1][-1])
    if not reason.check(error.ConnectError, error.ConnectionClosed):
        # Errors of the TLS layer say little without their type.
        return f"{type(problem).__name__}: {reason.getErrorMessage().rstrip('.')}"
    if cause in _SAY_IT_ALL:
        return ""
    number = getattr(problem, "osError", None)
    return os.strerror(number) if isinstance(number, int) else reason.getErrorMessage().rstrip(".")
