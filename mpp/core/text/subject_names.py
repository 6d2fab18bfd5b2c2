"""
Reads the names in the subjectAltName of a certificate. Pure: DER is parsed, but nothing is verified.

The parser of `cryptography` is not used, because it rejects the whole certificate when a single name in it is malformed. This one
skips a malformed name and returns the others. The common name of the subject is ignored (RFC 9525 section 2).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from attrs import frozen

# Tags of DER (X.690), and of RFC 5280: TBSCertificate.extensions, GeneralName.dNSName and GeneralName.iPAddress.
_SEQUENCE, _OBJECT_ID, _OCTETS = 0x30, 0x06, 0x04
_EXTENSIONS, _DNS_NAME, _IP_ADDRESS = 0xA3, 0x82, 0x87
_SUBJECT_ALT_NAME = bytes((0x55, 0x1D, 0x11))  # 2.5.29.17
_MULTI_BYTE_TAG = 0x1F
_ADDRESS_BYTES = (4, 16)
# A host name, or a wildcard for the whole left-most label with at least two more behind it.
_NAME = re.compile(r"(?=.{1,253}\Z)(?:\*\.(?=[^.]+\.))?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_SHOWN = 3


@frozen
class SubjectNames:
    """
    The usable names of a certificate.

    :ivar dns: host names in lower case without a trailing dot, and wildcards such as ``*.example.org``.
    :ivar addresses: the bytes of IP addresses, 4 or 16 of them.
    """

    dns: tuple[str, ...] = ()
    addresses: tuple[bytes, ...] = ()

    def __str__(self) -> str:
        texts = [*self.dns[:_SHOWN], *(str(ipaddress.ip_address(each)) for each in self.addresses[:_SHOWN])][:_SHOWN]
        more = len(self.dns) + len(self.addresses) - len(texts)
        return ", ".join(texts) + (f" and {more} more" if more else "")


def read_subject_names(certificate: bytes) -> SubjectNames:
    """
    Return the usable names of a certificate.

    :param certificate: the certificate in DER.
    :raise ValueError: it is no certificate, or its subjectAltName is repeated or is no list of names.
    """
    extensions = [value for identifier, value in _extensions(certificate) if identifier == _SUBJECT_ALT_NAME]
    if not extensions:
        return SubjectNames()
    if len(extensions) > 1:
        raise ValueError("more than one subjectAltName")
    names = list(_elements(_only(extensions[0], _SEQUENCE)))
    hosts = (_host(content) for tag, content in names if tag == _DNS_NAME)
    return SubjectNames(
        tuple(host for host in hosts if _NAME.fullmatch(host)),
        tuple(content for tag, content in names if tag == _IP_ADDRESS and len(content) in _ADDRESS_BYTES),
    )


def _host(content: bytes) -> str:
    # latin-1 keeps characters that are not ASCII, so that the name is found to be malformed.
    return content.decode("latin-1").lower().removesuffix(".")


def _extensions(certificate: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the identifier and the value of each extension (RFC 5280 section 4.1)."""
    (_, unsigned), *_ = _elements(_only(certificate, _SEQUENCE))
    for tag, content in _elements(unsigned):
        if tag == _EXTENSIONS:
            for _, extension in _elements(_only(content, _SEQUENCE)):
                # The identifier, a critical flag (optional), and the value.
                (first, identifier), *_, (last, value) = _elements(extension)
                if (first, last) != (_OBJECT_ID, _OCTETS):
                    raise ValueError("a malformed extension")
                yield identifier, value


def _only(data: bytes, expected: int) -> bytes:
    """Return the content of the single element in the data."""
    ((tag, content),) = _elements(data)
    if tag != expected:
        raise ValueError("a DER element of an unexpected type")
    return content


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the content of each DER element in the data."""
    start = 0
    while start < len(data):
        content = start + 2
        if content > len(data) or data[start] & _MULTI_BYTE_TAG == _MULTI_BYTE_TAG:
            raise ValueError("no DER element")
        length = data[start + 1]
        if length & 0x80:
            # The long form. Without digits (0x80) it means an indefinite length, which DER does not allow.
            digits = data[content : content + (length & 0x7F)]
            if len(digits) != length & 0x7F or not digits:
                raise ValueError("a DER element without a length")
            content += len(digits)
            length = int.from_bytes(digits)
        if content + length > len(data):
            raise ValueError("a DER element is cut off")
        yield data[start], data[content : content + length]
        start = content + length
