"""
The listening sockets: opens the configured ones, applies the connection limit to them, and closes them. Knows neither how a
socket is opened nor what is served.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.interfaces import IProtocolFactory
from txaio.tx import make_logger

from mpp.app.listen import endpoints as listening
from mpp.core.errors import ConfigError
from mpp.core.settings import Settings
from mpp.wire.downstream.connection_limit import ConnectionLimit
from mpp.wire.tuned.switch import is_tuned
from mpp.wire.tuned.transports import make_eager

_log = make_logger()

# The open endpoints of each configured socket, in the order of the settings.
_Opened = dict[tuple[object, ...], list[listening.OpenEndpoint]]


def sockets_of(settings: Settings) -> tuple[Settings, ...]:
    """Return one copy of the settings per configured socket, with this socket alone; duplicates are dropped. Pure."""
    nothing = evolve(settings, port=None, listen=(), admin_listen=(), reuse_port=False)
    alone = [evolve(nothing, port=settings.port, reuse_port=settings.reuse_port)] if settings.port is not None else []
    alone += (evolve(nothing, listen=(text,)) for text in dict.fromkeys(settings.listen))
    alone += (evolve(nothing, admin_listen=(text,)) for text in dict.fromkeys(settings.admin_listen))
    return tuple(alone)


def _key(alone: Settings) -> tuple[object, ...]:
    return alone.port, alone.listen, alone.admin_listen, alone.reuse_port


class Listeners:
    """
    The listening sockets of this process.

    :param opener: the reactor, or a stand-in for it that opens listening sockets.
    :param clients: the protocol factory for clients.
    :param admin: the protocol factory for the sockets of ``--admin-listen``.
    :param gate: the connection limit, applied to each socket.
    """

    def __init__(self, opener: Any, clients: IProtocolFactory, admin: IProtocolFactory, gate: ConnectionLimit) -> None:
        self._opener = opener
        self._clients = clients
        self._admin = admin
        self._gate = gate
        self._opened: _Opened = {}

    def __str__(self) -> str:
        return ", ".join(self.addresses)

    @property
    def open(self) -> list[listening.OpenEndpoint]:
        """The open sockets, in the order in which they are configured."""
        return [each for opened in self._opened.values() for each in opened]

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
        wanted = {_key(alone): alone for alone in sockets_of(settings)}
        fresh: _Opened = {}
        try:
            # In the order of the settings, on which a worker that inherits the sockets relies.
            for key in [key for key in wanted if key not in self._opened]:
                fresh[key] = self._open(wanted[key])
        except ConfigError:
            self._close_all(fresh)
            raise
        former = {key: opened for key, opened in self._opened.items() if key not in wanted}
        self._opened = {key: fresh[key] if key in fresh else self._opened[key] for key in wanted}
        return lambda: self._close_all(former)

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

    def _close_all(self, opened: _Opened) -> None:
        for each in (one for several in opened.values() for one in several):
            self._gate.release(each.port)
            each.close()
