"""
TCP transports that send inside ``write``.

Twisted's never do: they buffer, register a writer, go round the poll loop, send, and unregister, which costs an answer two
``epoll_ctl`` calls and a turn of the loop. These try ``send`` at once when nothing is buffered, and leave the rest to Twisted.

This leans on private parts of Twisted. `changed_privates` finds out whether they are as expected; if not, everything here falls
back to Twisted's own transports, and a test fails.
"""

from __future__ import annotations

import array
import fcntl
import functools
import inspect
import socket
import termios
from typing import TYPE_CHECKING, Any

from twisted.internet import abstract, tcp
from twisted.internet.interfaces import IReactorTCP
from twisted.internet.posixbase import PosixReactorBase
from twisted.protocols.policies import ProtocolWrapper

if TYPE_CHECKING:
    from collections.abc import Iterable

    _Base = tcp.Connection
else:
    _Base = object


class _EagerWrites(_Base):
    """
    Mixed into a `tcp.Connection`: `write` sends at once if it can.

    What it cannot send is written the ordinary way, and so is everything when a send fails: the reactor then meets the same
    error in ``doWrite`` and reports it through ``connectionLost``, never inside ``write``.
    """

    def write(self, data: bytes) -> None:
        """Send what the socket takes now, buffer the rest."""
        if (
            self._tempDataLen
            or self.dataBuffer
            or not self.connected
            or self.TLS
            or self._aborting
            or self._writeDisconnected
            # A pull producer is asked for more only when the buffer runs empty, so the buffer must be used.
            or (self.producer is not None and not self.streamingProducer)
        ):
            super().write(data)  # type: ignore[no-untyped-call]
            return
        try:
            sent = self.socket.send(data)
        except OSError:
            sent = 0
        if sent < len(data):
            super().write(data[sent:] if sent else data)  # type: ignore[no-untyped-call]

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Write the pieces as one."""
        self.write(b"".join(iovec))


class EagerServer(_EagerWrites, tcp.Server):
    """A server's side of a connection."""


class EagerClient(_EagerWrites, tcp.Client):
    """A client's side of a connection."""


class EagerConnector(tcp.Connector):
    """Makes `EagerClient` transports."""

    def _makeTransport(self) -> tcp.Client:
        return EagerClient(self.host, self.port, self.bindAddress, self, self.reactor)  # type: ignore[no-untyped-call]


class _NoReactor:
    """Takes note of the writers added, for `changed_privates`."""

    def __init__(self) -> None:
        self.writers: list[object] = []

    def addWriter(self, writer: object) -> None:
        self.writers.append(writer)


@functools.cache
def changed_privates() -> tuple[str, ...]:
    """Name what this module needs of Twisted's private parts and does not find; empty when all is well."""
    checks = {
        "FileDescriptor.write buffers in _tempDataBuffer and starts writing": _write_buffers,
        "FileDescriptor.offset": lambda: abstract.FileDescriptor.offset == 0,
        "Connection.TLS": lambda: tcp.Connection.TLS is False,
        "Connection._aborting": lambda: tcp.Connection._aborting is False,
        "Connection._writeDisconnected": lambda: tcp.Connection._writeDisconnected is False,
        "Connection.streamingProducer": lambda: tcp.Connection.streamingProducer is False,
        "Port.transport": lambda: tcp.Port.transport is tcp.Server,
        "Connector._makeTransport": lambda: _parameters(tcp.Connector._makeTransport) == ["self"],
        "Client(host, port, bindAddress, connector, reactor)": lambda: (
            _parameters(tcp.Client.__init__) == ["self", "host", "port", "bindAddress", "connector", "reactor"]
        ),
    }
    return tuple(name for name, check in checks.items() if not _holds(check))


def _holds(check: Any) -> bool:
    try:
        return bool(check())
    except (AttributeError, TypeError):
        return False


def _parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def _write_buffers() -> bool:
    reactor = _NoReactor()
    descriptor: Any = abstract.FileDescriptor(reactor)  # type: ignore[arg-type]
    descriptor.connected = 1
    empty = descriptor._tempDataLen == 0 and descriptor.dataBuffer == b""
    descriptor.write(b"ab")
    return empty and descriptor._tempDataLen == 2 and descriptor._tempDataBuffer == [b"ab"] and reactor.writers == [descriptor]


def make_eager(port: object) -> bool:
    """
    Have a listening port's connections send inside ``write``, from the next one accepted on.

    :param port: what ``listenTCP`` or an endpoint's ``listen`` gave.
    :return: whether it could be done; if not, the port is as it was.
    """
    if changed_privates() or not isinstance(port, tcp.Port) or port.transport is not tcp.Server:
        return False
    port.transport = EagerServer
    return True


def connect(reactor: IReactorTCP, host: str, port: int, factory: Any, *, eager: bool) -> Any:
    """
    Begin to connect, without a time-out, to an IP address.

    :param eager: send inside ``write``, where the reactor's transports can.
    :return: the IConnector.
    """
    if not eager or changed_privates() or not isinstance(reactor, PosixReactorBase):
        return reactor.connectTCP(host, port, factory, timeout=None)  # type: ignore[arg-type]
    connector = EagerConnector(host, port, factory, None, None, reactor)  # type: ignore[arg-type]
    connector.connect()
    return connector


def unsent(transport: Any) -> int:
    """
    Tell how many bytes its peer has not taken yet of what was written, so that two looks at it show whether it takes any.

    The kernel's buffer counts: it holds megabytes, and takes more only when a good part of them has gone.
    """
    transport = _innermost(transport)
    try:
        return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen) + _queued(transport.fileno())
    except AttributeError:
        return -1


def _queued(descriptor: int) -> int:
    count = array.array("i", (0,))
    try:
        fcntl.ioctl(descriptor, termios.TIOCOUTQ, count)
    # No socket, or a system that does not tell.
    except (OSError, ValueError):
        return 0
    return count[0]


def has_arrived(transport: Any) -> bool:
    """Tell whether bytes have arrived that the reactor has not read yet."""
    try:
        return bool(_innermost(transport).getHandle().recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    # Nothing there, or the connection is broken, or there is no socket below.
    except (OSError, AttributeError):
        return False


def _innermost(transport: Any) -> Any:
    """Give the transport that has the socket: TLS is a protocol around it."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport
