"""
TCP transports that send inside ``write``.

Twisted's own transports never do: they buffer, register a writer, go round the poll loop, send, and unregister, which costs a
response two ``epoll_ctl`` calls and an iteration of the loop. The transports here try ``send`` at once when nothing is buffered,
and leave the rest to Twisted.

# Note [Turns]

A send to a process that sleeps wakes it, which costs the sender more than the send itself; mpp's clients and servers sleep while
mpp works on data of others. So with a reactor that has a ``turn`` (`mpp.wire.tuned.lean`), small writes are sent together at the
end of an iteration, when all of its sockets were read: the first one wakes its receiver, and the others find it awake. At 16
connections that saves 19 % of the CPU time of a request; with one connection an iteration is one read, and nothing is delayed.

The transports use private parts of Twisted. `changed_privates` checks that they are as expected; if not,
`mpp.wire.tuned.switch` makes mpp use Twisted's own transports, and a test fails.
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
"""Seconds until a connection ends whose peer has vanished. A request that may be sent to one server only waits that long."""

WORTH_COPYING = 16 * 1024
"""Up to this number of bytes a copy costs less than a gathering write."""

# The kernel's limit (IOV_MAX) is 1024 on Linux, and may be 16 elsewhere.
_MOST_PIECES = 16
READ_SIZE = 124 * 1024
"""
Bytes read from a backend at once: a large response costs half as many iterations as with Twisted's 64 KiB; a larger size saves no
more. From 128 KiB on malloc may map new memory each time (mallopt(3), M_MMAP_THRESHOLD), which takes 13 us instead of one.
"""

_DEAD_PEER_OPTIONS = {
    # Milliseconds without an acknowledgment of sent data, or with a receive window that stays closed.
    "TCP_USER_TIMEOUT": VANISHED_S * 1000,
    # Seconds of silence while a response is awaited; with two probes, 5 s apart, 15 s in all.
    "TCP_KEEPIDLE": 5,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 2,
}


class _EagerWrites(_Base):
    """
    The mixin of a `tcp.Connection` whose `write` sends at once, or at the end of the reactor's iteration, see Note [Turns].

    Bytes that cannot be sent are written in Twisted's way, and so are all bytes when a send fails: the reactor then gets the same
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
        """Send as much as the socket accepts, now or at the end of the iteration, and buffer the rest."""
        if self._late:
            if len(self._late) + len(data) <= WORTH_COPYING:
                self._late += data
                return
            self.send_late()
        self._late = data
        try:
            turn = self.reactor.turn  # type: ignore[attr-defined]
        except AttributeError:
            # It is not mpp's own reactor.
            turn = None
        if turn is not None and len(data) <= WORTH_COPYING:
            # Whether it can be sent without buffering is decided in `send_late`.
            turn.append(self)
        else:
            self.send_late()

    def send_late(self) -> None:
        """Send the bytes that `write` has kept until the end of the reactor's iteration."""
        data, self._late = self._late, b""
        if not data:
            # `write` has sent them already, before a larger piece.
            return
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
        """Read once, and pass the data on: as in Twisted, but without the call in between."""
        try:
            data = self.socket.recv(self.bufferSize)
        except OSError as problem:
            return None if problem.args[0] == errno.EWOULDBLOCK else main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        return self.protocol.dataReceived(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Write several pieces together: joined if they are small, else without a copy."""
        pieces = list(iovec)
        small = sum(map(len, pieces)) <= WORTH_COPYING
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
    """The transport of a connection from a client of mpp."""


class EagerClient(_EagerWrites, tcp.Client):
    """The transport of a connection from mpp to a backend."""

    bufferSize = READ_SIZE


class EagerConnector(tcp.Connector):
    """The connector that makes `EagerClient` transports."""

    def _makeTransport(self) -> tcp.Client:
        return EagerClient(self.host, self.port, self.bindAddress, self, self.reactor)  # type: ignore[no-untyped-call]


class _NoReactor:
    """A reactor that only records the writers added, for `changed_privates`."""

    def __init__(self) -> None:
        self.writers: list[object] = []

    def addWriter(self, writer: object) -> None:
        self.writers.append(writer)


def find_dead_peers(transport: Any) -> None:
    """
    Make the kernel end a connection whose peer has vanished, when nothing has come from the peer's kernel for `VANISHED_S`.

    A peer that is only stopped, or computes for an hour, has not vanished: its kernel still acknowledges. On systems other than
    Linux, which have no such options, the connection ends after the system's own time, which is long.
    """
    transport.setTcpKeepAlive(True)
    # With TLS, the socket belongs to the transport below it.
    skt = getattr(transport, "transport", transport).getHandle()
    for name, value in _DEAD_PEER_OPTIONS.items():
        option = getattr(socket, name, None)
        if option is not None and isinstance(skt, socket.socket):
            skt.setsockopt(socket.IPPROTO_TCP, option, value)


@functools.cache
def changed_privates() -> tuple[str, ...]:
    """Return the names of the private parts of Twisted that this module needs and does not find; empty if all are there."""
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
    Make the connections of a listening port send inside ``write``, from the next accepted one on.

    :param port: the result of ``listenTCP`` or of an endpoint's ``listen``.
    :return: False if that is not possible; then the port is unchanged.
    """
    if not isinstance(port, tcp.Port) or port.transport is not tcp.Server:
        return False
    port.transport = EagerServer
    return True


def connect(reactor: IReactorTCP, host: str, port: int, factory: Any, *, eager: bool) -> Any:
    """
    Begin to connect to an IP address, without a timeout.

    :param eager: send inside ``write``, if the reactor has transports that can.
    :return: the IConnector.
    """
    if not eager or not isinstance(reactor, PosixReactorBase):
        return reactor.connectTCP(host, port, factory, timeout=None)  # type: ignore[arg-type]
    connector = EagerConnector(host, port, factory, None, None, reactor)  # type: ignore[arg-type]
    connector.connect()
    return connector


def unsent(transport: Any) -> int:
    """
    Return how many of the written bytes the peer has not received; a difference between two calls shows that it reads.

    The kernel's buffer counts, too: it has megabytes, and accepts more only when a good part of them was sent. -1 if unknown.
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
    # There is no socket, or the system does not know this call.
    except (OSError, ValueError):
        return 0
    return count[0]


def has_arrived(transport: Any) -> bool:
    """Return whether bytes have arrived that the reactor has not read yet."""
    try:
        return bool(_innermost(transport).getHandle().recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    # Nothing has arrived, or the connection is broken, or there is no socket.
    except (OSError, AttributeError):
        return False


def _innermost(transport: Any) -> Any:
    """Return the transport that has the socket, below TLS and other wrappers."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport
