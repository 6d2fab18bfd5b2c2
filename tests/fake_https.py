"""A certificate authority for tests, and what it signs. Made anew for each run: nothing here is worth to be kept."""

from __future__ import annotations

import datetime
import ipaddress
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from OpenSSL import crypto
from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate, trustRootFromCertificates


class FakeAuthority:
    """
    Signs certificates.

    :ivar pem: its own certificate.
    """

    def __init__(self, name: str = "mpp test CA") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        unsigned = _builder(self._name, self._name, self._key).add_extension(constraints, critical=True)
        # From Python 3.13 on its clients insist on all that RFC 5280 asks for: what a key is for, and which one signed.
        unsigned = unsigned.add_extension(_signs_only(), critical=True)
        unsigned = unsigned.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        self._certificate = unsigned.sign(self._key, SHA256())
        self.pem = self._certificate.public_bytes(Encoding.PEM)

    def issue(self, *names: str) -> bytes:
        """Give the PEM of a certificate for these host names and addresses, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = _builder(_named(names[0]), self._name, key).add_extension(alternatives, critical=False)
        builder = builder.add_extension(signer, critical=False)
        certificate = builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM)
        return certificate + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def serve(self, *names: str, clients: bool = False) -> CertificateOptions:
        """
        Give what a server needs to be these hosts, for ``reactor.listenSSL``.

        :param clients: clients must show a certificate of this authority.
        """
        own = PrivateCertificate.loadPEM(self.issue(*names))
        trusted: Any = trustRootFromCertificates([Certificate.loadPEM(self.pem)]) if clients else None
        return CertificateOptions(privateKey=own.privateKey.original, certificate=own.original, trustRoot=trusted)


def name_of(certificate: crypto.X509) -> str:
    """Give the name in a certificate."""
    (name,) = certificate.to_cryptography().subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _signs_only() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(hours=1),
        not_valid_after=now + datetime.timedelta(days=1),
    )
