"""The limit of open files, and so of sockets, of this process, and the number of clients that it allows for."""

from __future__ import annotations

import resource

OWN_DESCRIPTORS = 64
"""The number of descriptors reserved for log, files, probes, service discovery and DNS; far fewer are in use at any time."""

MOST_CONNECTIONS = 16384
"""The largest default for the number of client connections, whatever the file limit: one process could not serve more."""


def raise_file_limit() -> int:
    """
    Raise the soft limit of open files (and sockets) of this process to the hard limit, if the system permits it.

    :return: the resulting soft limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # macOS reports "unlimited" as the hard limit but does not allow it: the former limit stays.
    except (OSError, ValueError):
        return soft
    return hard


def room_for_connections() -> int:
    """
    Return the number of client connections that the limit of open files allows for, at most `MOST_CONNECTIONS`.

    It is half of the limit minus `OWN_DESCRIPTORS`, because each client may need a second connection, to a backend.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, max(1, (soft - OWN_DESCRIPTORS) // 2))
