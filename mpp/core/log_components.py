"""
Map modules to the names that the log field ``component`` has for the parts of mpp. Pure.

Users search and route log lines by these names, so they do not follow the names of modules. The manual lists them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

TWISTED = "twisted"
"""The component of all that Twisted logs."""

PROGRAM = "mpp"
"""The component of the program as a whole: its start and end, what it listens on, and what belongs to no other part."""

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
"""By the module or package that logs, without ``mpp.``; of a package's module that has an entry of its own, that one counts."""


# As many as there are modules that log, and a few of other distributions.
@functools.lru_cache(512)
def component_of(namespace: str) -> str:
    """
    Return the component that the log names for what was logged in a namespace.

    :param namespace: of the logger: the name of a module. That of an extension from elsewhere stays as it is.
    """
    root, *inner = namespace.split(".")
    if root == "mpp":
        return COMPONENTS.get(".".join(inner[:2])) or COMPONENTS.get(".".join(inner[:1])) or PROGRAM
    return TWISTED if root in (TWISTED, "log_legacy") else namespace
