"""A TLS server of doubtful identity, for tests: it shows the certificate it was given, and keeps what it could decrypt."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IHostResolution, IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, PrivateCertificate

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Impostor(Factory):  # type: ignore[type-arg]
    """
    Listens on a free port of 127.0.0.1, and answers every request with 404.

    :param pem: its certificate and key.
    :ivar decrypted: all that its clients have sent and it could read.
    :ivar asked_for: the name that each client asked for (SNI), None for a client that named none.
    """

    def __init__(self, reactor: Any, pem: bytes) -> None:
        self.decrypted = b""
        self.asked_for: list[bytes | None] = []
        own = PrivateCertificate.loadPEM(pem)
        options = CertificateOptions(privateKey=own.privateKey.original, certificate=own.original)
        options.getContext().set_tlsext_servername_callback(self._named)
        self._listening: IListeningPort = reactor.listenSSL(0, self, options, interface="127.0.0.1")
        self.port: int = self._listening.getHost().port
        self.close = self._listening.stopListening

    def _named(self, connection: SSL.Connection) -> None:
        self.asked_for.append(connection.get_servername())

    def buildProtocol(self, addr: object) -> Protocol:
        """Serve a client."""
        return _Serving(self)


class _Serving(Protocol):
    def __init__(self, impostor: Impostor) -> None:
        self._impostor = impostor

    def dataReceived(self, data: bytes) -> None:
        self._impostor.decrypted += data
        assert self.transport is not None
        self.transport.write(NOT_FOUND)
        self.transport.loseConnection()


class LoopbackResolver:
    """A name resolver to which every host is 127.0.0.1; it keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked_for: list[str] = []

    def resolveHostName(self, receiver: Any, hostName: str, portNumber: int = 0, *others: Any, **more: Any) -> IHostResolution:
        """Resolve at once, see `IHostnameResolver`."""
        from twisted.internet._resolver import HostResolution
        from twisted.internet.address import IPv4Address

        self.asked_for.append(hostName)
        resolution: IHostResolution = HostResolution(hostName)
        receiver.resolutionBegan(resolution)
        receiver.addressResolved(IPv4Address("TCP", "127.0.0.1", portNumber))
        receiver.resolutionComplete()
        return resolution
