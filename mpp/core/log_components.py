"""
Maps the modules of mpp to the values of the log field ``component``, which name the parts of mpp. Pure.

Users search and route log lines by these names, so they do not follow the names of modules. The manual lists them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

TWISTED = "twisted"
"""The component of all events that Twisted logs."""

PROGRAM = "mpp"
"""The component of the program as a whole: its start and end, its listening sockets, and events of no other component."""

COMPONENTS: Mapping[str, str] = {
    "access": "mpp.access",
    "admin": "mpp.admin",
    "app": PROGRAM,
    "app.reload": "mpp.config",
    "app.workers": "mpp.workers",
    "core": PROGRAM,
    "coverage": "mpp.selection",
    "discovery": "mpp.discovery",
    "proxy": "mpp.proxy",
    "security": "mpp.security",
    "selection": "mpp.selection",
    "tap": PROGRAM,
    "wire": "mpp.wire",
}
"""The component of each package or module, by its name without ``mpp.``; the entry of a module precedes that of its package."""


# More than the modules that log.
@functools.lru_cache(512)
def component_of(namespace: str) -> str:
    """
    Return the component of an event, for the log field ``component``.

    :param namespace: the namespace of the logger, which is the name of a module. The name of an extension's module is returned
        unchanged.
    """
    root, *inner = namespace.split(".")
    if root == "mpp":
        return COMPONENTS.get(".".join(inner[:2])) or COMPONENTS.get(".".join(inner[:1])) or PROGRAM
    return TWISTED if root in (TWISTED, "log_legacy") else namespace
