"""
The listening sockets: opens the configured ones, applies the connection limit to them, and closes them. This module knows
nothing about what is served.
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
    The listening sockets of this process.

    :param opener: the reactor, or a stand-in for it that opens listening sockets.
    :param clients: the protocol factory for clients.
    :param admin: the protocol factory for the sockets of ``--admin-listen``.
    :param gate: the connection limit, applied to each socket.
    :ivar open: the open sockets, in the order in which they are configured.
    """

    def __init__(self, opener: Any, clients: IProtocolFactory, admin: IProtocolFactory, gate: ConnectionLimit) -> None:
        self._opener = opener
        self.open: list[listening.OpenEndpoint] = []
        self._clients = clients
        self._admin = admin
        self._gate = gate
        self._sockets = SocketSet(self._open, self._close)

    def __str__(self) -> str:
        return ", ".join(self.addresses)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of the open sockets as text, like ``[::]:9090``."""
        return tuple(listening.where(each.port) for each in self.open)

    def reconfigure(self, settings: Settings) -> Callable[[], None]:
        """
        Open the configured sockets that are not open yet.

        :return: a function that closes the sockets that are no longer configured; their accepted connections stay open.
        :raise ConfigError: a socket cannot be opened; then nothing has changed.
        """
        close_former = self._sockets.reconfigure(settings)
        self.open = self._sockets.open
        return close_former

    def reload_certificates(self) -> list[str]:
        """
        Read the certificates of ``ssl:`` endpoints again, for new connections; if one is invalid, log it and keep the old one.

        :return: the addresses of the endpoints with a changed certificate.
        """
        renewed = []
        for each in self.open:
            try:
                if each.reload_certificate():
                    renewed.append(listening.where(each.port))
            except ConfigError as error:
                _log.error("certificate of an endpoint not reloaded, the previous one stays in use: {error}", error=str(error))
        return renewed

    def close(self) -> None:
        """Stop listening; connections that wait in the backlog of a socket that was not inherited are accepted first."""
        self._gate.leave()
        for each in self.open:
            each.close()

    def _open(self, alone: Settings) -> list[listening.OpenEndpoint]:
        opened = listening.listen(alone, self._opener, self._clients, self._admin, self.addresses)
        for each in opened:
            if is_tuned():
                make_eager(each.port)
            self._gate.guard(each.port)
        return opened

    def _close(self, socket: listening.OpenEndpoint) -> None:
        self._gate.release(socket.port)
        socket.close()
