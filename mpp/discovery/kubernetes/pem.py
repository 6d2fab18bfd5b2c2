"""
PEM texts of a Kubernetes configuration, checked before a connection needs them. Knows certificates; opens nothing.

What OpenSSL says of a bad text is not repeated: "no start line" helps nobody, and the text may be a key.
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
    Give the text back if it holds certificates, and all of them can be read.

    :param where: file and key, to blame.
    :raise ConfigError: it does not.
    """
    try:
        Certificate.loadPEM(pem)
        TLSPolicy(ca=pem).creator("example.com")
    except _BAD:
        raise ConfigError(_OPTION, f"{where}: not a certificate in PEM") from None
    return pem


def check_client(certificate: bytes, key: bytes, where: str) -> bytes:
    """
    Put a certificate and its key together.

    :raise ConfigError: one of them cannot be read, the key is encrypted, or they do not belong together.
    """
    if b"ENCRYPTED" in key:
        # OpenSSL would ask for the passphrase on the terminal.
        raise ConfigError(_OPTION, f"{where}: its key is encrypted, which is not supported")
    check_ca(certificate, where)
    pem = certificate.rstrip() + b"\n" + key
    try:
        PrivateCertificate.loadPEM(pem)
    except _BAD:
        raise ConfigError(_OPTION, f"{where}: its key is not a private key in PEM, or not that of the certificate") from None
    return pem
