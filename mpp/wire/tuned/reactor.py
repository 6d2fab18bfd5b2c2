"""
The installation of the reactor: `mpp.wire.tuned.lean.LeanReactor`, or Twisted's own choice.

The lean reactor uses private parts of Twisted. `changed_privates` checks that they are as expected; if not,
`mpp.wire.tuned.switch` makes mpp use Twisted's own choice, and a test fails. The same holds on systems without epoll.
"""

from __future__ import annotations

import inspect
import select
from typing import TYPE_CHECKING

from mpp.wire.tuned.old_objects import OldObjects

if TYPE_CHECKING:
    from twisted.internet.epollreactor import EPollReactor


def lean_reactor() -> type[EPollReactor] | None:
    """Return the class of the lean reactor, or None on a system without epoll."""
    if not hasattr(select, "epoll"):
        return None
    from mpp.wire.tuned.lean import LeanReactor

    return LeanReactor


def is_foreign(reactor: object) -> bool:
    """Return whether a reactor is not mpp's own (`lean_reactor`), although that could be used on this system."""
    lean = lean_reactor()
    return lean is not None and type(reactor) is not lean


def changed_privates() -> tuple[str, ...]:
    """Return the names of the private parts of Twisted that the lean reactor needs and does not find; empty if all are there."""
    if not hasattr(select, "epoll"):
        return ()
    from twisted.internet.epollreactor import EPollReactor

    source = inspect.getsource(EPollReactor)
    checks = {
        "EPollReactor._selectables, by file descriptor": "selectables[fd] = xer" in source,
        "EPollReactor._poller.poll(timeout, maxevents)": "self._poller.poll(timeout, len(self._selectables))" in source,
        "EPollReactor.doIteration is doPoll": EPollReactor.__dict__.get("doIteration") is EPollReactor.__dict__.get("doPoll"),
        "_doReadOrWrite(selectable, fd, event)": _parameters(EPollReactor, "_doReadOrWrite") == ["selectable", "fd", "event"],
        "_disconnectSelectable(selectable, why, isRead)": (
            _parameters(EPollReactor, "_disconnectSelectable")[:3] == ["selectable", "why", "isRead"]
        ),
    }
    return tuple(name for name, holds in checks.items() if not holds)


def _parameters(kind: type, name: str) -> list[str]:
    method = getattr(kind, name, None)
    return list(inspect.signature(method).parameters)[1:] if method is not None else []


def install(*, tuned: bool) -> None:
    """
    Install a reactor, before anything imports ``twisted.internet.reactor``.

    :param tuned: install the lean reactor if there is epoll; otherwise Twisted's own choice.
    """
    lean = lean_reactor() if tuned else None
    if lean is None:
        from twisted.internet import default

        default.install()
    else:
        from twisted.internet.main import installReactor

        installReactor(lean())
    from twisted.internet import reactor

    # The objects built until then stay for good: 150,000.
    reactor.callWhenRunning(OldObjects(reactor).watch)
