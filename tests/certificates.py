"""
Certificates with any names, sensible or not, for tests. Made anew for each run.

Unlike `tests.fake_https` it writes the subjectAltName byte by byte, so that it can hold what no sound authority would sign.
"""

from __future__ import annotations

import datetime
import functools
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtensionOID, NameOID

_SEQUENCE, _EMAIL, _DNS, _URI, _IP, _REGISTERED = 0x30, 0x81, 0x82, 0x86, 0x87, 0x88


def element(tag: int, content: bytes) -> bytes:
    """Return a DER element."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    digits = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(digits))) + digits + content


def general_name(text: str) -> bytes:
    """Return a GeneralName: ``DNS:a``, ``IP:10.0.0.1``, ``IP:hex:0a00``, ``URI:a``, ``email:a`` or ``ID:hex``, like openssl's."""
    kind, _, value = text.partition(":")
    if kind == "IP" and value.startswith("hex:"):
        return element(_IP, bytes.fromhex(value[4:]))
    if kind == "IP":
        return element(_IP, ipaddress.ip_address(value).packed)
    if kind == "ID":
        return element(_REGISTERED, bytes.fromhex(value))
    return element({"DNS": _DNS, "URI": _URI, "email": _EMAIL}[kind], value.encode("latin-1"))


def subject_alt_name(*names: str) -> bytes:
    """Return the DER of a subjectAltName with these names."""
    return element(_SEQUENCE, b"".join(map(general_name, names)))


class Authority:
    """
    Signs certificates.

    :ivar pem: its own certificate.
    """

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("mpp test CA")
        basic = x509.BasicConstraints(ca=True, path_length=0)
        self.pem = self._sign(self._key, self._name, [(basic, True)]).public_bytes(Encoding.PEM)

    def sign(self, *names: str, common_name: str = "bob", raw: bytes | None = None, minutes: float = 24 * 60) -> bytes:
        """
        Return the PEM of a certificate and of its key.

        :param names: as `general_name` takes them; without any, the certificate has no subjectAltName.
        :param raw: the DER of the subjectAltName instead.
        :param minutes: for how long it is valid from now on; it expired long ago if this is negative.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(key, _named(common_name), self._extensions(names, raw), minutes)
        return certificate.public_bytes(Encoding.PEM) + key.private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )

    def _extensions(self, names: tuple[str, ...], raw: bytes | None) -> list[tuple[x509.ExtensionType, bool]]:
        if names:
            raw = subject_alt_name(*names)
        if raw is None:
            return []
        return [(x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, raw), False)]

    def _sign(
        self,
        key: ec.EllipticCurvePrivateKey,
        subject: x509.Name,
        extensions: list[tuple[x509.ExtensionType, bool]],
        minutes: float = 24 * 60,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .issuer_name(self._name)
            .subject_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(minutes=minutes))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, SHA256())


@functools.cache
def _shared_authority() -> Authority:
    return Authority()


def der(*names: str, raw: bytes | None = None) -> bytes:
    """Return the DER of a certificate, see `Authority.sign`."""
    return x509.load_pem_x509_certificate(_shared_authority().sign(*names, raw=raw)).public_bytes(Encoding.DER)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


NAMINGS: tuple[tuple[str, str, tuple[str, ...], bool], ...] = (
    # What is tried, the host that is connected to, the names in the certificate, whether it is good for the host.
    ("DNS name", "localhost", ("DNS:localhost",), True),
    ("case", "LocalHost", ("DNS:LOCALHOST",), True),
    ("another DNS name", "localhost", ("DNS:other.example",), False),
    ("wildcard", "a.lab.test", ("DNS:*.lab.test",), True),
    ("wildcard for two labels", "a.b.lab.test", ("DNS:*.lab.test",), False),
    ("wildcard for no label", "lab.test", ("DNS:*.lab.test",), False),
    ("wildcard for a part of a label", "foo.lab.test", ("DNS:f*.lab.test",), False),
    ("wildcard in the second label", "a.b.lab.test", ("DNS:a.*.lab.test",), False),
    ("wildcard with one label behind it", "a.lan", ("DNS:*.lan",), False),
    ("wildcard alone", "localhost", ("DNS:*",), False),
    ("two wildcards", "a.b.example", ("DNS:*.*.example",), False),
    ("another name and two wildcards", "localhost", ("DNS:other.example", "DNS:*.*.example"), False),
    ("good name beside *.lan", "localhost", ("DNS:*.lan", "DNS:localhost"), True),
    ("good name beside two wildcards", "localhost", ("DNS:*.*.x", "DNS:localhost"), True),
    ("good name beside malformed ones", "localhost", ("DNS:", "DNS:\xff", "DNS:a b", "IP:hex:0a00000000", "DNS:localhost"), True),
    ("good name beside other kinds", "localhost", ("email:a@example.org", "URI:https://a/", "ID:2a03", "DNS:localhost"), True),
    ("NUL in a name", "localhost", ("DNS:localhost\0.evil.example",), False),
    ("IPv4", "127.0.0.1", ("IP:127.0.0.1",), True),
    ("another IPv4", "127.0.0.1", ("IP:127.0.0.2",), False),
    ("IPv4 as a DNS name", "127.0.0.1", ("DNS:127.0.0.1",), False),
    ("wildcard for an IPv4", "127.0.0.1", ("DNS:*.0.0.1",), False),
    ("IPv4 beside a malformed one", "127.0.0.1", ("IP:hex:7f00", "IP:127.0.0.1"), True),
    ("IPv6", "::1", ("IP:::1",), True),
    ("IPv4 for its IPv6 form", "::ffff:127.0.0.1", ("IP:127.0.0.1",), False),
    ("common name only", "localhost", (), False),
    ("common name of an address", "127.0.0.1", (), False),
    ("common name beside another name", "localhost", ("DNS:other.example",), False),
    ("URI only", "localhost", ("URI:https://localhost/",), False),
    ("e-mail only", "localhost", ("email:bob@localhost",), False),
    ("e-mail only, for an address", "127.0.0.1", ("email:bob@localhost",), False),
    ("trailing dot of the host", "prom.lab.test.", ("DNS:prom.lab.test",), True),
    ("trailing dot in the certificate", "prom.lab.test", ("DNS:prom.lab.test.",), True),
    ("underscore", "under_score.lab.test", ("DNS:under_score.lab.test",), True),
    ("underscore and wildcard", "under_score.lab.test", ("DNS:*.lab.test",), True),
    ("international name", "b\xfccher.example", ("DNS:xn--bcher-kva.example",), True),
)
"""What a certificate is good for. The common name is always the host's."""
