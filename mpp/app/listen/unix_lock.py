"""
The lock file of a Unix socket, by which Twisted finds out whether another process has the socket: a symbolic link ``PATH.lock``
to the number of that process.

A process that is killed leaves the lock file. Twisted takes it as abandoned if no process has that number. In a container, each
mpp has the same number (1), and after a reboot any process may have it. So it is decisive here whether connections are accepted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat

from twisted.internet.error import CannotListenError

# Twisted's words for it.
_LOCKED = "Cannot acquire lock"


def locked_socket(error: object) -> str:
    """Return the path of the Unix socket that could not be opened because of its lock file; empty if it is another error."""
    if isinstance(error, CannotListenError) and error.socketError == _LOCKED and isinstance(error.port, bytes):
        return os.fsdecode(error.port)
    return ""


def remove_abandoned(path: str) -> bool:
    """Remove the lock file and the socket if no process accepts connections on it; return whether that was so."""
    try:
        if not _is_abandoned(path):
            return False
        # The lock file last: it protects the path until the socket is gone.
        with contextlib.suppress(FileNotFoundError):
            # A file of another kind, perhaps by a mistake in the path, is kept.
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                os.remove(path)
        os.remove(f"{path}.lock")
    except OSError:
        return False
    return True


def why_locked(what: str, path: str) -> str:
    """Return the reason why a locked socket is not opened, and what can be done."""
    lock = f"{path}.lock"
    try:
        holder = f"names process {os.readlink(lock)}"
    except OSError as error:
        holder = f"cannot be read ({error.strerror})"
    return (
        f"{what} is in use by another process; its lock file {lock} {holder}. Expected another path, or that this process is"
        " stopped first; if it does not use the socket, remove both files"
    )


def _is_abandoned(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        # With a full queue, the result is EAGAIN.
        return client.connect_ex(path) in (errno.ECONNREFUSED, errno.ENOENT)
