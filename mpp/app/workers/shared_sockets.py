"""
How workers come to the listening sockets: the parent opens them and accepts nobody, the workers inherit them.

Both pretend to be a reactor towards `mpp.app.listen.endpoints.listen`, and so to every type of endpoint: what is configured is
read by both in the same order, so that the first socket that one opens is the first one that the other adopts. Sockets that are
opened later are sent after (SCM_RIGHTS).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable
from typing import Any

from attrs import define, frozen
from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer


@frozen
class OpenSocket:
    """An open port that accepts nobody (of Twisted's IListeningPort, as much as is used)."""

    port: Any

    @property
    def socket(self) -> socket.socket:
        """The socket itself."""
        found: socket.socket = self.port.socket
        return found

    def getHost(self) -> Any:
        """Give its address."""
        return self.port.getHost()

    def startListening(self) -> None:
        """Do nothing: the workers accept."""

    def stopListening(self) -> None:
        """Close it here. Not Twisted's way, which shuts it down for the workers, too, who have yet to take who waits."""
        self.port.stopReading()
        self.port.socket.close()
        self.port.connectionLost(Failure(ConnectionDone()))


class SocketOpener:
    """Opens sockets for others to accept from."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> OpenSocket:
        """See IReactorTCP."""
        return self._bound(self._reactor.listenTCP(port, factory, backlog, interface))

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = "") -> OpenSocket:
        """See IReactorSSL. TLS is the workers' affair."""
        return self.listenTCP(port, factory, backlog, interface)

    def listenUNIX(self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: bool = False) -> OpenSocket:
        """See IReactorUNIX."""
        return self._bound(self._reactor.listenUNIX(address, factory, backlog, mode, wantPID))

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> OpenSocket:
        """See IReactorSocket."""
        return self._bound(self._reactor.adoptStreamPort(fileDescriptor, addressFamily, factory))

    def _bound(self, port: Any) -> OpenSocket:
        # Before the reactor has had a turn.
        port.stopReading()
        return OpenSocket(port)


@implementer(IStreamServerEndpoint)
@frozen
class InheritedSocket:
    """An endpoint whose socket is there already."""

    _adopt: Callable[[Any], Any]

    def listen(self, protocolFactory: Any) -> Deferred[Any]:
        """Accept from it. Fires with the port."""
        return succeed(self._adopt(protocolFactory))


@define
class SocketAdopter:
    """
    Gives out inherited sockets where others would open one.

    :param descriptors: in the order of their opening.
    """

    _reactor: Any
    descriptors: list[int]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See IReactorTCP."""
        if ":" in interface and _family(self.descriptors[0]) is not socket.AF_INET6:
            # The parent had to do without IPv6.
            raise CannotListenError(interface, port, OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT)))
        return self._adopt(factory)

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See IReactorSSL."""
        from twisted.protocols.tls import TLSMemoryBIOFactory

        return self._adopt(TLSMemoryBIOFactory(contextFactory, False, factory))

    def listenUNIX(self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: bool = False) -> Any:
        """See IReactorUNIX."""
        return self._adopt(factory)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """See IReactorSocket."""
        return self._adopt(factory)

    def inherited_endpoint(self) -> InheritedSocket:
        """Give what stands for an endpoint whose socket systemd handed over to the parent."""
        return InheritedSocket(self._adopt)

    def _adopt(self, factory: Any) -> Any:
        descriptor = self.descriptors.pop(0)
        family = _family(descriptor)
        # The port has a copy.
        if family is socket.AF_UNIX:
            port: Any = _UNIXPort._fromListeningDescriptor(self._reactor, descriptor, factory)  # type: ignore[no-untyped-call]
            port.startListening()
        else:
            port = self._reactor.adoptStreamPort(descriptor, family, factory)
        os.close(descriptor)
        return port


class _UNIXPort(unix.Port):
    """
    A UNIX socket whose file is the parent's affair.

    Twisted's, when it adopts one, sets the file's mode to its own default, and removes the file at the end.
    """

    def startListening(self) -> None:
        """Leave the mode as it is."""
        with contextlib.suppress(OSError):
            self.mode = stat.S_IMODE(os.stat(self._bindPath).st_mode)
        unix.Port.startListening(self)

    def connectionLost(self, reason: Failure) -> None:
        """Leave the file where it is."""
        tcp.Port.connectionLost(self, reason)


def _family(descriptor: int) -> socket.AddressFamily:
    with socket.socket(fileno=os.dup(descriptor)) as found:
        return socket.AddressFamily(found.family)
