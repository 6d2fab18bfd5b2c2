"""
The difference between the open sockets and the configured ones. This module does not know how a socket is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from attrs import evolve

from mpp.core.errors import ConfigError
from mpp.core.settings import Settings

T = TypeVar("T")


def sockets_of(settings: Settings) -> tuple[Settings, ...]:
    """Return one copy of the settings per configured socket, with this socket alone; duplicates are dropped. Pure."""
    nothing = evolve(settings, port=None, listen=(), admin_listen=(), reuse_port=False)
    alone = [evolve(nothing, port=settings.port, reuse_port=settings.reuse_port)] if settings.port is not None else []
    alone += (evolve(nothing, listen=(text,)) for text in dict.fromkeys(settings.listen))
    alone += (evolve(nothing, admin_listen=(text,)) for text in dict.fromkeys(settings.admin_listen))
    return tuple(alone)


def _key(alone: Settings) -> tuple[object, ...]:
    return alone.port, alone.listen, alone.admin_listen, alone.reuse_port


class SocketSet(Generic[T]):
    """
    The open sockets by their configuration.

    :param open_: opens the sockets that the settings ask for, all or none; raises `ConfigError`.
    :param close: closes an open socket.
    """

    def __init__(self, open_: Callable[[Settings], Sequence[T]], close: Callable[[T], object]) -> None:
        self._open_ = open_
        self._close = close
        self._open: dict[tuple[object, ...], list[T]] = {}

    @property
    def open(self) -> list[T]:
        """All open sockets in the order of the settings."""
        return [each for opened in self._open.values() for each in opened]

    def reconfigure(self, settings: Settings) -> Callable[[], None]:
        """
        Open the configured sockets that are not open yet.

        :return: a function that closes the sockets that are no longer configured; their accepted connections stay open.
        :raise ConfigError: a socket cannot be opened; then nothing has changed.
        """
        wanted = {_key(alone): alone for alone in sockets_of(settings)}
        fresh: dict[tuple[object, ...], list[T]] = {}
        try:
            # In the order of the settings, on which a worker that inherits the sockets relies.
            for key in [key for key in wanted if key not in self._open]:
                fresh[key] = list(self._open_(wanted[key]))
        except ConfigError:
            self._close_all(fresh)
            raise
        former = {key: opened for key, opened in self._open.items() if key not in wanted}
        self._open = {key: fresh[key] if key in fresh else self._open[key] for key in wanted}
        return lambda: self._close_all(former)

    def _close_all(self, opened: dict[tuple[object, ...], list[T]]) -> None:
        for each in (one for several in opened.values() for one in several):
            self._close(each)
