"""
The certificate of an ``ssl:`` endpoint, which can be replaced while the endpoint is listening.

Twisted reads the certificate files when it parses an endpoint description, and passes the result to ``reactor.listenSSL``. The
class here stands in for the reactor: the first call opens the port, and later calls for the same description only replace the
certificate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IOpenSSLContextFactory, IReactorSSL
from zope.interface import implementer

if TYPE_CHECKING:
    from OpenSSL import SSL
    from twisted.internet.interfaces import IListeningPort, IProtocolFactory


@implementer(IReactorSSL, IOpenSSLContextFactory)
class ReloadableCertificate:
    """
    A stand-in for the reactor whose second ``listenSSL`` replaces the certificate of the open port.

    Open connections keep the certificate of their handshake.

    :ivar shown: the SHA-256 digest of the certificate; empty before the port is opened.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._context: SSL.Context | None = None
        self._port: IListeningPort | None = None
        self.shown = b""

    def listenSSL(
        self, port: int, factory: IProtocolFactory, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """Open the port unless it is open, and use this certificate for new connections."""
        # The context is created here so that a key that does not match its certificate raises an error now.
        self._context = contextFactory.getContext()
        self.shown = contextFactory.certificate.digest("sha256")
        if self._port is None:
            self._port = self._reactor.listenSSL(port, factory, self, backlog, interface)
        return self._port

    def connectSSL(self, *arguments: Any, **how: Any) -> Any:
        """Raise `NotImplementedError`, because this object opens no connections."""
        raise NotImplementedError

    def getContext(self) -> SSL.Context:
        """Return the TLS context for the next connection."""
        assert self._context is not None, "no client connects before the port is open"
        return self._context
