"""
Listening sockets that the parent opens and the workers inherit.

`SocketOpener` (parent) and `SocketAdopter` (worker) stand in for the reactor in `mpp.app.listen.endpoints.listen`, and so for
every type of endpoint. Both processes go through the configured endpoints in the same order, so that the first socket that the
parent opens is the first one that a worker adopts. Sockets that are opened after the start are sent to workers (SCM_RIGHTS).
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from mpp.app.listen.inherited import adopt


@frozen
class OpenSocket:
    """An open port that accepts no connection (the part of Twisted's IListeningPort that mpp uses)."""

    port: Any

    @property
    def socket(self) -> socket.socket:
        """The listening socket itself."""
        found: socket.socket = self.port.socket
        return found

    def getHost(self) -> Any:
        """Return the address of the socket."""
        return self.port.getHost()

    def startListening(self) -> None:
        """Do nothing, because only the workers accept connections."""

    def stopListening(self) -> None:
        """Close the socket in this process only; Twisted's method would shut it down, also for the workers."""
        self.port.stopReading()
        self.port.socket.close()
        self.port.connectionLost(Failure(ConnectionDone()))


class SocketOpener:
    """The parent's stand-in for the reactor: opens sockets from which only the workers accept."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> OpenSocket:
        """See `IReactorTCP`."""
        return self._bound(self._reactor.listenTCP(port, factory, backlog, interface))

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = "") -> OpenSocket:
        """See `IReactorSSL`; the socket is plain TCP here, because the workers do TLS."""
        return self.listenTCP(port, factory, backlog, interface)

    def listenUNIX(self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: bool = False) -> OpenSocket:
        """See `IReactorUNIX`."""
        return self._bound(self._reactor.listenUNIX(address, factory, backlog, mode, wantPID))

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> OpenSocket:
        """See `IReactorSocket`."""
        return self._bound(self._reactor.adoptStreamPort(fileDescriptor, addressFamily, factory))

    def adopt_inherited(self, descriptor: int, family: int, factory: Any) -> OpenSocket:
        """Open a socket that systemd has passed to mpp, see `mpp.app.listen.inherited.adopt`."""
        return self._bound(adopt(self._reactor, descriptor, family, factory))

    def _bound(self, port: Any) -> OpenSocket:
        # Before the reactor can accept a connection.
        port.stopReading()
        return OpenSocket(port)


@implementer(IStreamServerEndpoint)
@frozen
class InheritedSocket:
    """An endpoint with a socket that is already open."""

    _adopt: Callable[[Any], Any]

    def listen(self, protocolFactory: Any) -> Deferred[Any]:
        """Accept connections from the socket; return a Deferred that has fired with the port."""
        return succeed(self._adopt(protocolFactory))


@define
class SocketAdopter:
    """
    The worker's stand-in for the reactor: returns inherited sockets instead of opening new ones.

    :param descriptors: the descriptors of these sockets, in the order in which the parent opened them.
    """

    _reactor: Any
    descriptors: list[int]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See `IReactorTCP`."""
        if ":" in interface and _family(self.descriptors[0]) is not socket.AF_INET6:
            # The parent could not open an IPv6 socket.
            raise CannotListenError(interface, port, OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT)))
        return self._adopt(factory)

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See `IReactorSSL`."""
        from twisted.protocols.tls import TLSMemoryBIOFactory

        return self._adopt(TLSMemoryBIOFactory(contextFactory, False, factory))

    def listenUNIX(self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: bool = False) -> Any:
        """See `IReactorUNIX`."""
        return self._adopt(factory)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """See `IReactorSocket`."""
        return self._adopt(factory)

    def inherited_endpoint(self) -> InheritedSocket:
        """Return an endpoint for the socket that the parent got from systemd."""
        return InheritedSocket(self._adopt)

    def _adopt(self, factory: Any) -> Any:
        descriptor = self.descriptors.pop(0)
        family = _family(descriptor)
        port = adopt(self._reactor, descriptor, family, factory)
        os.close(descriptor)
        return port


def _family(descriptor: int) -> socket.AddressFamily:
    with socket.socket(fileno=os.dup(descriptor)) as found:
        return socket.AddressFamily(found.family)
