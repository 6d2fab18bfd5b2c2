"""
How the other side of a TLS connection is verified. Makes OpenSSL contexts; opens nothing.

One policy serves the data path (`mpp.wire.dial`) and the locators' APIs (an `IPolicyForHTTPS` for Twisted's Agent).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from OpenSSL import SSL
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    TLSVersion,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

_BEGIN = b"-----BEGIN CERTIFICATE-----"


@implementer(IPolicyForHTTPS)
@frozen
class TLSPolicy:
    """
    What is asked of the other side, and shown to it.

    :ivar insecure: nothing is verified, the connection is only encrypted.
    :ivar ca: PEM of the certificates that are trusted instead of the system's, or None.
    :ivar client: PEM of the own certificate and its key, in one, or None.
    :ivar server_name: the name to verify and to ask for (SNI) instead of the host's, or empty.
    :ivar only_13: TLS 1.2 is not spoken either.
    """

    insecure: bool = False
    ca: bytes | None = None
    client: bytes | None = field(default=None, repr=False)
    server_name: str = ""
    only_13: bool = False

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """Give what makes a connection to a host, for an Agent."""
        return self.creator(hostname.decode("ascii"))

    def creator(self, host: str) -> IOpenSSLClientConnectionCreator:
        """
        Give what makes a connection to a host. It may be used again and again; making one may read the system's certificates.

        :raise OpenSSL.SSL.Error: a PEM text is none.
        """
        name = self.server_name or host
        own = None if self.client is None else PrivateCertificate.loadPEM(self.client)
        # Twisted's own minimum is 1.2; older ones are deprecated (RFC 8996).
        versions = {"raiseMinimumTo": TLSVersion.TLSv1_3} if self.only_13 else {}
        if self.insecure:
            return _Unverified(name, own, versions)
        trusted = None if self.ca is None else trustRootFromCertificates(_certificates(self.ca))
        creator: IOpenSSLClientConnectionCreator = optionsForClientTLS(name, trusted, own, extraCertificateOptions=versions)
        return creator


def _certificates(pem: bytes) -> list[Certificate]:
    """Take a bundle apart; text between certificates does not count."""
    return [Certificate.loadPEM(_BEGIN + part) for part in pem.split(_BEGIN)[1:]]


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """Connects to whoever answers."""

    def __init__(self, name: str, own: PrivateCertificate | None, versions: Mapping[str, Any]) -> None:
        options = dict(versions)
        if own is not None:
            options |= {"privateKey": own.privateKey.original, "certificate": own.original}
        # Only names are asked for, no addresses (RFC 6066 section 3).
        literal = isIPAddress(name) or isIPv6Address(name)
        self._name = b"" if literal else name.encode("ascii" if name.isascii() else "idna")
        self._context = CertificateOptions(verify=False, **options).getContext()

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Make one connection's state."""
        connection = SSL.Connection(self._context, None)
        if self._name:
            connection.set_tlsext_host_name(self._name)
        return connection
