"""For tests whose servers run in their own process: waits until nobody is connected to them any more."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred


def quiet() -> Deferred[None]:
    """
    Wait until all connections that were accepted have ended; what asked must have been stopped.

    :return Deferred(None): trial would find them, and take them for forgotten.
    """
    gone: Deferred[None] = Deferred()
    _look(gone)
    return gone


def _look(gone: Deferred[None]) -> None:
    if any(type(reader).__name__ == "Server" for reader in reactor.getReaders()):  # type: ignore[attr-defined]
        reactor.callLater(0.02, _look, gone)  # type: ignore[attr-defined]
    else:
        gone.callback(None)
