"""
Error texts for the operator about sockets that cannot be opened, with what was expected. Pure functions.
"""

from __future__ import annotations

import errno

from twisted.internet.error import CannotListenError


def why_not_open(what: str, error: BaseException | None) -> str:
    """Return the reason why a port or an endpoint cannot be opened."""
    cause = error.socketError if isinstance(error, CannotListenError) else error
    number = getattr(cause, "errno", None)
    if number == errno.EADDRINUSE:
        return f"{what} is already in use; expected a free port"
    if number in (errno.EACCES, errno.EPERM):
        return f"{what} may not be opened by this user; expected a port above 1023, or the right to open lower ones"
    if number == errno.EADDRNOTAVAIL:
        return f"{what} is no address of this machine; expected one of its own"
    return f"{what} cannot be listened on: {_in_words(cause)}"


def why_not_endpoint(text: str, error: Exception) -> str:
    """Return the fault in the description of an endpoint."""
    if isinstance(error, OSError) and error.filename:
        return f"{text!r}: {error.filename} cannot be read ({error.strerror}); expected the files of a key and its certificate"
    if "systemd:" in text and isinstance(error, LookupError):
        return f"{text!r}: no such socket was passed to mpp by systemd"
    # OpenSSL's errors have no common base that could be named without importing it.
    if "OpenSSL" in type(error).__module__:
        return f"{text!r}: expected privateKey and certKey to be files in PEM format that belong together"
    return f"{text!r} is not a Twisted server endpoint ({_in_words(error)})"


def _in_words(error: BaseException | None) -> str:
    """Return the message of any error as one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
