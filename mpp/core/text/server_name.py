"""
The name that a TLS server has to prove, and whether its certificate names it. Pure: opens nothing, knows no connection.

The rules are those of RFC 9525 (RFC 6125 before it). Where it leaves a choice, they are those of curl: a wildcard stands for the
whole left-most label and for nothing else, and has at least two labels behind it (``*.example.org``, not ``*.org``).
"""

from __future__ import annotations

import ipaddress
import re

from attrs import frozen

from mpp.core.text.subject_names import SubjectNames

# RFC 1123 labels, more generous: underscores and hyphens anywhere, as resolvers and other TLS clients take them.
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")


@frozen
class ServerName:
    """
    The name of a server as its certificate has to state it (the "reference identity" of RFC 9525).

    :ivar host: the host name in lower case, without a trailing dot, international labels in their ``xn--`` form; the text of
        an IP address.
    :ivar address: the bytes of an IP address, 4 or 16; empty for a host name.
    """

    host: str
    address: bytes = b""

    @classmethod
    def parse(cls, text: str) -> ServerName:
        """
        Read the name of a server: a host name, or an IP address without brackets.

        :raise ValueError: it is neither, so that no certificate can be for it.
        """
        # The trailing dot of a fully qualified name is for the resolver only; it stands in no certificate (RFC 6066 section 3).
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
        """What is sent as Server Name Indication; empty for an IP address, for which there is none (RFC 6066 section 3)."""
        return b"" if self.address else self.host.encode("ascii")

    def is_named_by(self, names: SubjectNames) -> bool:
        """Return whether a certificate with these names is for this server. Each name counts alone."""
        if self.address:
            return self.address in names.addresses
        parent = self.host.partition(".")[2]
        return self.host in names.dns or (parent != "" and f"*.{parent}" in names.dns)


def _in_ascii(name: str) -> str:
    """Return a host name with its international labels in their ``xn--`` form; as it is if they have none."""
    # Imported here since few need it, and its tables take long to load.
    import idna

    try:
        # Label by label, because the package refuses underscores in the labels that need no conversion.
        labels = [label if label.isascii() else idna.encode(label, uts46=True).decode("ascii") for label in name.split(".")]
    except idna.IDNAError:
        return name
    return ".".join(labels).lower()
