"""
Reads small local files, directly: at every round, on the reactor's thread. Knows nothing of what is in them.

Only regular files, and only up to a bound: opening a named pipe would stop the reactor, and so would a file without end.
"""

from __future__ import annotations

import os
import stat

from mpp.core.model import MIB

Stamp = tuple[int, int, int]
"""Time of change, number and size of a file."""


class UnreadableFile(ValueError):
    """A file cannot be read, is not a regular file, or too large; the message says why, and does not name it."""


def read_small(path: str, limit: int, what: str) -> bytes:
    """
    Give a file's content.

    :param limit: the largest size, in bytes.
    :param what: what the file is, for the message when it is larger.
    :raises UnreadableFile: it cannot be had.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableFile("not a regular file")
            data = file.read(limit + 1)
    except OSError as error:
        raise UnreadableFile(error.strerror or str(error)) from None
    except ValueError as error:
        raise error if isinstance(error, UnreadableFile) else UnreadableFile("not a path") from None
    if len(data) > limit:
        raise UnreadableFile(f"larger than {_size(limit)}, not {what}")
    return data


def stamp(path: str) -> Stamp:
    """Give what changes when a file does, be it written or replaced; the same for all that cannot be found."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return 0, 0, 0
    return found.st_mtime_ns, found.st_ino, found.st_size


def _size(limit: int) -> str:
    return f"{limit // 1024} KiB" if limit < MIB else f"{limit // MIB} MiB"
