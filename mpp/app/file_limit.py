"""How many files, and so sockets, this process may have open, and how many clients that is room for."""

from __future__ import annotations

import resource

OWN_DESCRIPTORS = 64
"""Descriptors that are left for mpp itself: log, files, probes, service discovery, DNS; far fewer are in use at any time."""

MOST_CONNECTIONS = 16384
"""Client connections at most by default, whatever the file limit: beyond that one process could not serve them anyway."""


def raise_file_limit() -> int:
    """
    Raise the number of files (and sockets) this process may have open to what the system grants.

    :return: the limit now in force.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # macOS says "unlimited" and then does not allow it: what we had must do.
    except (OSError, ValueError):
        return soft
    return hard


def room_for_connections() -> int:
    """
    Tell how many client connections the number of files this process may have open allows for.

    Half of it but for `OWN_DESCRIPTORS`: each client may be waiting for a backend, on a connection of its own.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, max(1, (soft - OWN_DESCRIPTORS) // 2))
