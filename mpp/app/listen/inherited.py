"""
The listening sockets that mpp inherits, from systemd or from its parent process. They belong to another process, which uses them
again after this one: nothing is done here that would disturb that. This module opens no socket itself.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from attrs import frozen
from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IStreamServerEndpoint)
@frozen
class SystemdEndpoint:
    """
    An endpoint for a socket that systemd has passed to mpp. A later one, after a reload, can adopt the same socket again.

    Twisted's endpoint closes the descriptor that it adopts. Its number then belongs to another file, which the next endpoint
    would adopt.

    :ivar descriptor: the descriptor that systemd has passed; it stays open.
    """

    _reactor: Any
    descriptor: int
    family: int

    def listen(self, protocolFactory: Any) -> Deferred[Any]:
        """Accept connections from a copy of the descriptor; return a Deferred that has fired with the port or an error."""
        try:
            os.set_inheritable(self.descriptor, False)
            os.set_blocking(self.descriptor, False)
            return succeed(_adopted(self._reactor, self.descriptor, self.family, protocolFactory))
        except Exception:
            return fail()


def _adopted(reactor: Any, descriptor: int, family: int, factory: Any) -> Any:
    # The parent of workers must not accept connections itself.
    if hasattr(reactor, "adopt_inherited"):
        return reactor.adopt_inherited(descriptor, family, factory)
    return adopt(reactor, descriptor, family, factory)


def adopt(reactor: Any, descriptor: int, family: int, factory: Any) -> Any:
    """Return a port that accepts connections from a copy of a descriptor, and leaves the socket as it is when it is closed."""
    if family != socket.AF_UNIX:
        return reactor.adoptStreamPort(descriptor, family, factory)
    port: Any = _UNIXPort._fromListeningDescriptor(reactor, descriptor, factory)  # type: ignore[no-untyped-call]
    port.startListening()
    return port


class _UNIXPort(unix.Port):
    """
    A listening Unix socket that leaves its file to the process from which it was inherited.

    Twisted's class sets the mode of the file to a default when it adopts a socket. When it is closed, it removes the file, and
    shuts the socket down for all processes that have it.
    """

    _shouldShutdown = False

    def startListening(self) -> None:
        """
        Start to listen, without a change of the file's mode, which only its owner may change.

        Twisted sets the length of the queue of clients again, for all processes that have the socket: here to the longest one, as
        systemd does.
        """
        self.backlog = socket.SOMAXCONN
        path, self._bindPath = self._bindPath, b"\0"  # as of a socket without a file
        try:
            unix.Port.startListening(self)
        finally:
            self._bindPath = path

    def connectionLost(self, reason: Failure) -> None:
        """Close the port, without removing the file."""
        tcp.Port.connectionLost(self, reason)
