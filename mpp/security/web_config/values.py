"""
What a web configuration file says, as values. The format is that of Prometheus' exporter-toolkit; how it is read is
`mpp.security.web_config.parser`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import field, frozen

from mpp.core.model import Headers


class ClientAuth(Enum):
    """What is asked of clients: Go's names. The second column: must there be a certificate; the third: is it verified."""

    NONE = ("NoClientCert", False, False)
    REQUEST = ("RequestClientCert", False, False)
    REQUIRE_ANY = ("RequireAnyClientCert", True, False)
    VERIFY_IF_GIVEN = ("VerifyClientCertIfGiven", False, True)
    REQUIRE_AND_VERIFY = ("RequireAndVerifyClientCert", True, True)

    def __init__(self, word: str, required: bool, verified: bool) -> None:
        self.word = word
        self.required = required
        self.verified = verified


@frozen
class PEMSource:
    """
    A text, or where it is.

    :ivar key: the file's key for it, as an error should name it.
    :ivar path: the file that holds it, or empty.
    :ivar text: the text itself; a path wins over it.
    :ivar line: where the file says so.
    :ivar content: what was read of it, or None as long as nothing was.
    """

    key: str
    path: str = ""
    text: str = field(default="", repr=False)
    line: int = field(default=0, eq=False)
    content: bytes | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return bool(self.path or self.text)


@frozen
class TLSServer:
    """
    ``tls_server_config``.

    :ivar min_version: 2 or 3, of TLS 1.
    :ivar max_version: likewise.
    :ivar ciphers: OpenSSL's names for TLS 1.2, in the order of preference; empty for the default.
    :ivar curves: OpenSSL's names, in the order of preference; empty for the default.
    :ivar server_prefers: the server's order of ciphers counts, not the client's.
    :ivar allowed_sans: names of which a client's certificate has to have one, or None for any.
    """

    certificate: PEMSource
    key: PEMSource
    client_ca: PEMSource = PEMSource("client_ca_file")
    client_auth: ClientAuth = ClientAuth.NONE
    allowed_sans: tuple[str, ...] | None = None
    min_version: int = 2
    max_version: int = 3
    ciphers: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()
    server_prefers: bool = True


@frozen
class RateLimit:
    """
    A token bucket.

    :ivar interval: seconds between two requests in the long run, above 0.
    :ivar burst: how many there may be at once.
    """

    interval: float
    burst: int


@frozen
class WebConfig:
    """
    All of the file.

    :ivar tls: None when connections are not encrypted.
    :ivar users: bcrypt hashes by user name; empty when no password is asked for.
    :ivar headers: fields that every answer gets.
    :ivar notes: what the operator should know, a line for each.
    """

    tls: TLSServer | None = None
    users: Mapping[bytes, bytes] = field(factory=dict, repr=False)
    headers: Headers = ()
    rate_limit: RateLimit | None = None
    notes: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The files it names."""
        tls = self.tls
        return () if tls is None else tuple(each.path for each in (tls.certificate, tls.key, tls.client_ca) if each.path)
