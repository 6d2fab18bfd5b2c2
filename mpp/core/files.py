"""
Reads small local files with blocking calls in the reactor's thread, without knowledge of their content.

Only regular files up to a size limit are read: a named pipe or an endless file would block the reactor.
"""

from __future__ import annotations

import os
import stat

from mpp.core.model import MIB

Stamp = tuple[int, int, int]
"""Modification time (in nanoseconds), inode number and size (in bytes) of a file."""


class UnreadableFile(ValueError):
    """A file is not readable, not regular, or too large; the message says why, and does not name the file."""


def read_small(path: str, limit: int, what: str) -> bytes:
    """
    Return the content of a file.

    :param limit: the largest size, in bytes.
    :param what: the expected kind of file, for the message when the file is larger.
    :raises UnreadableFile: the file cannot be read, is not a regular file, or is larger than the limit.
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
    """Return a value that changes when the file is written or replaced; all zeros if the file is not found."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return 0, 0, 0
    return found.st_mtime_ns, found.st_ino, found.st_size


def _size(limit: int) -> str:
    return f"{limit // 1024} KiB" if limit < MIB else f"{limit // MIB} MiB"
