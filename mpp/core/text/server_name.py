"""
Compares the expected name of a TLS server with the names in its certificate. Pure.

The rules come from RFC 9525 (RFC 6125 before it). Where it leaves a choice, mpp follows curl: a wildcard stands for exactly the
whole left-most label, and has at least two labels behind it (``*.example.org``, not ``*.org``).
"""

from __future__ import annotations

import ipaddress
import re

from attrs import frozen

from mpp.core.text.subject_names import SubjectNames

# RFC 1123 labels, and underscores and hyphens anywhere, which resolvers and other TLS clients accept too.
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")


@frozen
class ServerName:
    """
    The name of a server that its certificate has to contain (the "reference identity" of RFC 9525).

    :ivar host: the host name in lower case, without a trailing dot, international labels in their ``xn--`` form; the text of
        an IP address.
    :ivar address: the bytes of an IP address, 4 or 16; empty for a host name.
    """

    host: str
    address: bytes = b""

    @classmethod
    def parse(cls, text: str) -> ServerName:
        """
        Parse the name of a server: a host name, or an IP address without brackets.

        :raise ValueError: the text is neither, so that no certificate can contain it.
        """
        # The trailing dot of a fully qualified name is for the resolver only, and in no certificate (RFC 6066 section 3).
        name = text.removesuffix(".")
        try:
            return cls(name, ipaddress.ip_address(name).packed)
        except ValueError:
            pass
        host = name.lower() if name.isascii() else _in_ascii(name)
        if _HOST.fullmatch(host) is None:
            raise ValueError(f"{text!r} is neither a host name nor an IP address")
        return cls(host)

    @property
    def sni(self) -> bytes:
        """The Server Name Indication to send; empty for an IP address, which must not be sent (RFC 6066 section 3)."""
        return b"" if self.address else self.host.encode("ascii")

    def is_named_by(self, names: SubjectNames) -> bool:
        """Return whether one of the names in a certificate is the name of this server."""
        if self.address:
            return self.address in names.addresses
        parent = self.host.partition(".")[2]
        return self.host in names.dns or (parent != "" and f"*.{parent}" in names.dns)


def _in_ascii(name: str) -> str:
    """Return a host name with its international labels in their ``xn--`` form, unchanged if a label has no such form."""
    # Imported here because it is rarely needed, and its tables take long to load.
    import idna

    try:
        # Each label alone, because the package rejects underscores even in labels that need no conversion.
        labels = [label if label.isascii() else idna.encode(label, uts46=True).decode("ascii") for label in name.split(".")]
    except idna.IDNAError:
        return name
    return ".".join(labels).lower()
