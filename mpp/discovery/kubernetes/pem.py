"""
The checks of PEM texts in a Kubernetes configuration before a connection needs them. Knows certificates; opens no connection.

OpenSSL's message about an invalid text is not repeated: "no start line" is no help, and the text may be a key.
"""

from __future__ import annotations

from OpenSSL import SSL, crypto
from twisted.internet.error import VerifyError
from twisted.internet.ssl import Certificate, PrivateCertificate

from mpp.core.errors import ConfigError
from mpp.wire.tls import TLSPolicy

_OPTION = "--kubeconfig"
_BAD = (SSL.Error, crypto.Error, VerifyError, ValueError, TypeError)


def check_ca(pem: bytes, where: str) -> bytes:
    """
    Return the text if it holds certificates, and all of them can be parsed.

    :param where: the file and the key in it from which the text comes, for the error.
    :raise ConfigError: it holds no valid certificates.
    """
    try:
        Certificate.loadPEM(pem)
        TLSPolicy(ca=pem).creator("example.com")
    except _BAD:
        raise ConfigError(_OPTION, f"{where}: not a certificate in PEM") from None
    return pem


def check_client(certificate: bytes, key: bytes, where: str) -> bytes:
    """
    Return a certificate and its key as one PEM text.

    :param where: the file and the key in it from which the certificate comes, for the error.
    :raise ConfigError: one of them cannot be parsed, the key is encrypted, or they do not belong together.
    """
    if b"ENCRYPTED" in key:
        # OpenSSL would ask for the passphrase on the terminal.
        raise ConfigError(_OPTION, f"{where}: its key is encrypted, which is not supported")
    check_ca(certificate, where)
    pem = certificate.rstrip() + b"\n" + key
    try:
        PrivateCertificate.loadPEM(pem)
    except _BAD:
        raise ConfigError(_OPTION, f"{where}: its key is not a private key in PEM, or not the certificate's key") from None
    return pem
