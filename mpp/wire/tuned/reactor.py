"""
A reactor that goes straight to who can read.

Twisted's own sets a logging context around every single read (``log.callWithLogger``), for the sake of a prefix that mpp's log
does not have; for a small request that costs as much as parsing it. This one calls ``doRead`` itself when reading is all there is
to do, and leaves everything else to Twisted.

This leans on private parts of Twisted. `changed_privates` finds out whether they are as expected; if not,
`mpp.wire.tuned.switch` has all of mpp use Twisted's own choice, and a test fails. Where there is no epoll that is used, too.
"""

from __future__ import annotations

import gc
import inspect
import select
from typing import TYPE_CHECKING, Any

from twisted.python import log

if TYPE_CHECKING:
    from twisted.internet.epollreactor import EPollReactor


def lean_reactor() -> type[EPollReactor] | None:
    """Give the reactor's class, or None where there is no epoll."""
    if not hasattr(select, "epoll"):
        return None
    from twisted.internet.epollreactor import EPollReactor

    readable = select.EPOLLIN

    class LeanReactor(EPollReactor):
        """
        Calls ``doRead`` without a logging context around it.

        :ivar turn: while events are acted on: who has something to send when all of them have been
            (``send_late``, see Note [Turns] in `mpp.wire.tuned.transports`).
        """

        turn: list[Any] | None = None

        def doPoll(self, timeout: float | None) -> None:
            """Wait for events, and act on them."""
            selectables: dict[int, Any] = self._selectables
            try:
                events = self._poller.poll(-1 if timeout is None else timeout, len(selectables))
            except InterruptedError:
                return
            turn = self.turn = []
            for fd, event in events:
                selectable = selectables.get(fd)
                if selectable is None:
                    # It was closed by one that came before it in this turn.
                    continue
                if event != readable:
                    log.callWithLogger(selectable, self._doReadOrWrite, selectable, fd, event)
                    continue
                try:
                    why = selectable.doRead()
                # As Twisted does: whatever it is must not stop the others, and ends the connection.
                except BaseException as error:
                    log.err()
                    why = error
                if why:
                    self._disconnectSelectable(selectable, why, True)  # type: ignore[no-untyped-call]
            self.turn = None
            for transport in turn:
                transport.send_late()

        doIteration = doPoll

    return LeanReactor


def is_foreign(reactor: object) -> bool:
    """Return whether a reactor is not of the class that `lean_reactor` returns, though it could be."""
    return hasattr(select, "epoll") and type(reactor).__module__ != __name__


def changed_privates() -> tuple[str, ...]:
    """Name what this module needs of Twisted's private parts and does not find; empty when all is well."""
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

    :param tuned: this one, where it can be had; otherwise Twisted's own choice.
    """
    lean = lean_reactor() if tuned else None
    if lean is None:
        from twisted.internet import default

        default.install()
    else:
        from twisted.internet.main import installReactor

        installReactor(lean())
    from twisted.internet import reactor

    # What was imported and built until then stays for good: looking through it for garbage holds up all clients for 50 ms.
    reactor.callWhenRunning(gc.freeze)
