"""
The sockets that clients come through: opens those that are configured, has them guarded, and closes them. Knows nothing of
what is served there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IProtocolFactory
from txaio.tx import make_logger

from mpp.app.listen import endpoints as listening
from mpp.app.listen.sockets import SocketSet
from mpp.core.errors import ConfigError
from mpp.core.settings import Settings
from mpp.wire.downstream.connection_limit import ConnectionLimit
from mpp.wire.tuned.switch import is_tuned
from mpp.wire.tuned.transports import make_eager

_log = make_logger()


class Listeners:
    """
    What is listened on.

    :param opener: the reactor, as far as sockets are opened with it.
    :param clients: what clients are served by.
    :param admin: what those are served by who look after mpp, on the sockets that are theirs.
    :param gate: lets clients in.
    :ivar opener: may be another one before anything is opened.
    :ivar open: the open sockets, in the order in which they are configured.
    """

    def __init__(self, opener: Any, clients: IProtocolFactory, admin: IProtocolFactory, gate: ConnectionLimit) -> None:
        self.opener = opener
        self.open: list[listening.OpenEndpoint] = []
        self._clients = clients
        self._admin = admin
        self._gate = gate
        self._sockets = SocketSet(self._open, self._close)

    def __str__(self) -> str:
        return ", ".join(self.addresses)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of the open sockets, as one would write them."""
        return tuple(listening.where(each.port) for each in self.open)

    def reconfigure(self, settings: Settings) -> Callable[[], None]:
        """
        Open what is configured and not open yet.

        :return: closes what is open and not configured any more; connections that were accepted live on.
        :raise ConfigError: something cannot be opened; then nothing has changed.
        """
        close_former = self._sockets.reconfigure(settings)
        self.open = self._sockets.open
        return close_former

    def reload_certificates(self) -> list[str]:
        """
        Read the certificates of ``ssl:`` endpoints again, for new connections; where they are no good the former ones stay.

        :return: the addresses that have another one.
        """
        renewed = []
        for each in self.open:
            try:
                if each.reload_certificate():
                    renewed.append(listening.where(each.port))
            except ConfigError as error:
                _log.error("{error}; the former certificate stays", error=str(error))
        return renewed

    def close(self) -> None:
        """Accept nothing more; who waits to be accepted on a socket of our own still is."""
        self._gate.leave()
        for each in self.open:
            each.close()

    def _open(self, alone: Settings) -> list[listening.OpenEndpoint]:
        opened = listening.listen(alone, self.opener, self._clients, self._admin)
        for each in opened:
            if is_tuned():
                make_eager(each.port)
            self._gate.guard(each.port)
        return opened

    def _close(self, socket: listening.OpenEndpoint) -> None:
        self._gate.release(socket.port)
        socket.close()
