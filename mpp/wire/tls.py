"""
The verification of the server in TLS connections that mpp opens. Makes OpenSSL contexts; opens no connection.

`TLSPolicy` serves both connections to backends (`mpp.wire.upstream.dialer`) and the requests of locators to HTTP APIs (as the
`IPolicyForHTTPS` of Twisted's Agent).

The server's name is checked here and not by Twisted: if `service_identity` cannot read a certificate, Twisted since its release
26.4 only logs that and accepts the certificate. The check is a part of the handshake (OpenSSL's verify callback), because
Twisted's Agent passes its request to OpenSSL before the handshake has ended: OpenSSL sends nothing of it to a server that the
callback has rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    TLSVersion,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from mpp.core.text.server_name import ServerName
from mpp.core.text.subject_names import read_subject_names

_BEGIN = b"-----BEGIN CERTIFICATE-----"

_Callback = Callable[[SSL.Connection, crypto.X509, int, int, int], bool]


# Errors of OpenSSL's verification (``x509_vfy.h``) that occur in practice, in the words of an operator.
_NOT_TRUSTED = "it was issued by an authority that is not trusted"
_PROBLEMS = {
    2: _NOT_TRUSTED,
    7: "its signature is not by the trusted authority of that name",
    9: "it is not yet valid",
    10: "it has expired",
    18: "it is self-signed",
    19: "its chain ends with a self-signed certificate that is not trusted",
    20: _NOT_TRUSTED,
    21: _NOT_TRUSTED,
    26: "it was not issued for servers",
}


class RejectedCertificate(SSL.Error):
    """
    The certificate of a server is not valid, or does not name the server.

    Its argument has the form of OpenSSL's error queue, a list of (library, function, reason), because Twisted reads it.
    """

    def __init__(self, problem: str) -> None:
        super().__init__([("mpp", "", problem)])


@implementer(IPolicyForHTTPS)
@frozen
class TLSPolicy:
    """
    The requirements on a server's certificate, and the certificate that mpp itself shows to the server.

    :ivar insecure: nothing is verified; the connection is only encrypted.
    :ivar ca: PEM of the certificates to trust instead of the system's, or None.
    :ivar client: PEM of mpp's own certificate and its key, in one text, or None.
    :ivar server_name: the name that the certificate must have and that mpp sends as SNI; if it is empty, the name of the host.
    :ivar only_13: only TLS 1.3 is accepted, not TLS 1.2.
    """

    insecure: bool = False
    ca: bytes | None = None
    client: bytes | None = field(default=None, repr=False)
    server_name: str = ""
    only_13: bool = False

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """Return the TLS connection creator for a host, as `IPolicyForHTTPS` requires."""
        return self.creator(hostname.decode("ascii"))

    def creator(self, host: str) -> IOpenSSLClientConnectionCreator:
        """
        Return the TLS connection creator for a host, which can be used for many connections.

        This may read the system's certificates from disk.

        :raise ValueError: the host is neither a host name nor an IP address.
        :raise OpenSSL.SSL.Error: a PEM text is invalid.
        """
        name = ServerName.parse(self.server_name or host)
        options: dict[str, Any] = {}
        if self.only_13:
            # Twisted's minimum is 1.2; older versions are deprecated (RFC 8996).
            options["raiseMinimumTo"] = TLSVersion.TLSv1_3
        if self.client is not None:
            own = PrivateCertificate.loadPEM(self.client)
            options |= {"privateKey": own.privateKey.original, "certificate": own.original}
        return _Creator(name, _unverified(options) if self.insecure else self._verified(options, name))

    def _verified(self, options: Mapping[str, Any], name: ServerName) -> SSL.Context:
        trusted = platformTrust() if self.ca is None else trustRootFromCertificates(_certificates(self.ca))
        context: SSL.Context = CertificateOptions(trustRoot=trusted, **options).getContext()
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _accepting(name))
        return context


def _unverified(options: Mapping[str, Any]) -> SSL.Context:
    context: SSL.Context = CertificateOptions(verify=False, **options).getContext()
    return context


def _accepting(name: ServerName) -> _Callback:
    """
    Return the callback that OpenSSL calls for each certificate of a chain, the server's own last (at depth 0).

    An exception in it ends the handshake; pyOpenSSL raises it again from the call that started the handshake.
    """

    def accepts(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        if not ok:
            which = "" if depth == 0 else " of an authority"
            raise RejectedCertificate(f"certificate verify failed{which}: {_PROBLEMS.get(error, f'error {error} of OpenSSL')}")
        if depth == 0:
            _check_name(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate), name)
        return True

    return accepts


def _check_name(certificate: bytes, name: ServerName) -> None:
    """
    Check that a certificate, in DER, names the server.

    :raise RejectedCertificate: the certificate does not name it.
    """
    try:
        names = read_subject_names(certificate)
    except ValueError as error:
        raise RejectedCertificate(f"the certificate is not for {name.host}: its names cannot be read ({error})") from None
    if not name.is_named_by(names):
        raise RejectedCertificate(f"the certificate is not for {name.host}, but for {str(names) or 'no host at all'}")


def _certificates(pem: bytes) -> list[Certificate]:
    """Split a PEM bundle into its certificates; text between them is ignored."""
    return [Certificate.loadPEM(_BEGIN + part) for part in pem.split(_BEGIN)[1:]]


@implementer(IOpenSSLClientConnectionCreator)
class _Creator:
    """The creator of TLS connections to one server."""

    def __init__(self, name: ServerName, context: SSL.Context) -> None:
        self._sni = name.sni
        self._context = context

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Return the OpenSSL object of a new connection, with the name of the server set for SNI."""
        connection = SSL.Connection(self._context, None)
        if self._sni:
            connection.set_tlsext_host_name(self._sni)
        return connection
