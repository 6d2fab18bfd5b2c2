"""
TCP transports that send inside ``write``.

Twisted's never do: they buffer, register a writer, go round the poll loop, send, and unregister, which costs an answer two
``epoll_ctl`` calls and a turn of the loop. These try ``send`` at once when nothing is buffered, and leave the rest to Twisted.

# Note [Turns]

A send to somebody who sleeps wakes him, and that costs the sender more than the send itself; mpp's clients and servers sleep
while it works on what another one sent. So with a reactor that has a ``turn`` (`mpp.wire.tuned.reactor`), small writes are sent
together when everything that had arrived was read: the first one wakes, the others find somebody awake. At 16 connections that
takes 19 % off the CPU time of a request; with one connection a turn is one read, and nothing is later than before.

This leans on private parts of Twisted. `changed_privates` finds out whether they are as expected; if not,
`mpp.wire.tuned.switch` has all of mpp use Twisted's own transports, and a test fails.
"""

from __future__ import annotations

import array
import errno
import fcntl
import functools
import inspect
import socket
import termios
from typing import TYPE_CHECKING, Any

from twisted.internet import abstract, main, tcp
from twisted.internet.interfaces import IReactorTCP
from twisted.internet.posixbase import PosixReactorBase
from twisted.protocols.policies import ProtocolWrapper

if TYPE_CHECKING:
    from collections.abc import Iterable

    _Base = tcp.Connection
else:
    _Base = object

VANISHED_S = 15
"""Seconds; a hedge does not wait for it, and a request that must not be sent twice has this as its only hope."""

# Below this a copy costs less than gathering.
_WORTH_COPYING = 16 * 1024
# The kernel's limit (IOV_MAX) is 1024 on Linux, and may be 16 elsewhere.
_MOST_PIECES = 16
READ_SIZE = 124 * 1024
"""
Bytes read from a backend at once: a large answer costs half as many turns as with Twisted's 64 KiB, more brings no more. From
128 KiB on malloc may map each anew (mallopt(3), M_MMAP_THRESHOLD), depending on what was freed before: 13 us instead of one.
"""

_DEAD_PEER_OPTIONS = {
    # Of what was sent and not acknowledged, and of a receive window that stays closed because nobody is there.
    "TCP_USER_TIMEOUT": VANISHED_S * 1000,
    # Of silence while an answer is awaited: two more questions, 5 s apart, make the 15 s full.
    "TCP_KEEPIDLE": 5,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 2,
}


class _EagerWrites(_Base):
    """
    Mixed into a `tcp.Connection`: `write` sends at once if it can, or at the end of the reactor's turn, see Note [Turns].

    What it cannot send is written the ordinary way, and so is everything when a send fails: the reactor then meets the same
    error in ``doWrite`` and reports it through ``connectionLost``, never inside ``write``.
    """

    _late = b""

    def _must_buffer(self) -> bool:
        return bool(
            self._tempDataLen
            or self.dataBuffer
            or not self.connected
            or self.TLS
            or self._aborting
            or self._writeDisconnected
            # A pull producer is asked for more only when the buffer runs empty, so the buffer must be used.
            or (self.producer is not None and not self.streamingProducer)
        )

    def write(self, data: bytes) -> None:
        """Send what the socket takes, now or at the end of the turn, and buffer the rest."""
        if self._late:
            if len(self._late) + len(data) <= _WORTH_COPYING:
                self._late += data
                return
            self.send_late()
        turn = getattr(self.reactor, "turn", None)
        self._late = data
        if turn is not None and len(data) <= _WORTH_COPYING:
            # Whether it can be sent then is found out then.
            turn.append(self)
        else:
            self.send_late()

    def send_late(self) -> None:
        """Send what was written in this turn."""
        data, self._late = self._late, b""
        if self._must_buffer():
            super().write(data)  # type: ignore[no-untyped-call]
            return
        try:
            sent = self.socket.send(data)
        except OSError:
            sent = 0
        if sent < len(data):
            super().write(data[sent:] if sent else data)  # type: ignore[no-untyped-call]

    def doRead(self) -> Any:
        """Read once, and hand it on: as Twisted does, in one step instead of two."""
        try:
            data = self.socket.recv(self.bufferSize)
        except OSError as problem:
            return None if problem.args[0] == errno.EWOULDBLOCK else main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        return self.protocol.dataReceived(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Write the pieces as one: joined when they are small, else without a copy of them."""
        pieces = list(iovec)
        small = sum(map(len, pieces)) <= _WORTH_COPYING
        if self._late and not small:
            self.send_late()
        if small or len(pieces) > _MOST_PIECES or self._must_buffer():
            self.write(b"".join(pieces))
            return
        try:
            sent = self.socket.sendmsg(pieces)
        except OSError:
            sent = 0
        for piece in pieces:
            if sent < len(piece):
                super().write(piece[sent:] if sent else piece)  # type: ignore[no-untyped-call]
            sent = max(0, sent - len(piece))


class EagerServer(_EagerWrites, tcp.Server):
    """A server's side of a connection."""


class EagerClient(_EagerWrites, tcp.Client):
    """A client's side of a connection."""

    bufferSize = READ_SIZE


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


def find_dead_peers(transport: Any) -> None:
    """
    Have the kernel end a connection whose other end has vanished, when nothing comes from it for `VANISHED_S`.

    That is not the other program's work: one that is stopped, or thinks for an hour, still has a kernel that answers. Where
    there are no such options (all but Linux) it takes the system's own time, which is long.
    """
    transport.setTcpKeepAlive(True)
    # Below TLS, if there is TLS.
    skt = getattr(transport, "transport", transport).getHandle()
    for name, value in _DEAD_PEER_OPTIONS.items():
        option = getattr(socket, name, None)
        if option is not None and isinstance(skt, socket.socket):
            skt.setsockopt(socket.IPPROTO_TCP, option, value)


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
    if not isinstance(port, tcp.Port) or port.transport is not tcp.Server:
        return False
    port.transport = EagerServer
    return True


def connect(reactor: IReactorTCP, host: str, port: int, factory: Any, *, eager: bool) -> Any:
    """
    Begin to connect, without a time-out, to an IP address.

    :param eager: send inside ``write``, where the reactor's transports can.
    :return: the IConnector.
    """
    if not eager or not isinstance(reactor, PosixReactorBase):
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
