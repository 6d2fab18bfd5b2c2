"""
The certificate of an ``ssl:`` endpoint, which may be replaced while it is listened on.

Twisted reads the files when it is told of the endpoint, and hands what it made of them to the reactor. So here is what stands in
for a reactor on both sides of that: between the endpoint's description and the real one, and when the description is read again
only to have its files read. Knows no endpoint's arguments.
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
    Listens like a reactor, with a certificate that is replaced when it is told to listen again: then nothing more is opened.

    Connections that are open keep the one they have seen.

    :ivar shown: what tells one certificate from another, empty before there is one.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._context: SSL.Context | None = None
        self._port: IListeningPort | None = None
        self.shown = b""

    def listenSSL(
        self, port: int, factory: IProtocolFactory, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """Open the port, if it is not open, and use this certificate from now on."""
        # Made at once, so that files that do not belong together are found out now.
        self._context = contextFactory.getContext()
        self.shown = contextFactory.certificate.digest("sha256")
        if self._port is None:
            self._port = self._reactor.listenSSL(port, factory, self, backlog, interface)
        return self._port

    def connectSSL(self, *arguments: Any, **how: Any) -> Any:
        """Nobody is called from here."""
        raise NotImplementedError

    def getContext(self) -> SSL.Context:
        """Give what the next connection is made of."""
        assert self._context is not None, "nobody connects before it is listened"
        return self._context
