"""
The content of a web configuration file (in the format of Prometheus' exporter-toolkit) as immutable values, see
`mpp.security.web_config.parser`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import field, frozen

from mpp.core.model import Headers


class ClientAuth(Enum):
    """The demands on client certificates: Go's name, whether a certificate is required, and whether it is verified."""

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
    A text in PEM, or the path of a file with it.

    :ivar key: the key in the web configuration, for errors.
    :ivar path: the path of the file, or empty.
    :ivar text: the text itself; a path has precedence over it.
    :ivar line: the line of the key in the web configuration.
    :ivar content: the content of the file or the text, or None until it is read.
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
    The section ``tls_server_config`` of the web configuration.

    :ivar min_version: 2 for TLS 1.2, 3 for TLS 1.3.
    :ivar max_version: 2 for TLS 1.2, 3 for TLS 1.3.
    :ivar ciphers: OpenSSL's names for TLS 1.2, in the order of preference; empty for the default.
    :ivar curves: OpenSSL's names, in the order of preference; empty for the default.
    :ivar server_prefers: True if the server's order of ciphers has precedence over the client's.
    :ivar allowed_sans: the names of which a client certificate must have one, or None for any.
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
    The parameters of the token bucket for requests.

    :ivar interval: seconds between two requests in the long run, above 0.
    :ivar burst: the number of requests that may arrive at the same time.
    """

    interval: float
    burst: int


@frozen
class WebConfig:
    """
    The whole web configuration.

    :ivar tls: the TLS server; None when connections are not encrypted.
    :ivar users: the bcrypt hashes by user name; empty when clients need no password.
    :ivar headers: the header fields that are added to every response.
    :ivar notes: warnings for the operator, one line each.
    """

    tls: TLSServer | None = None
    users: Mapping[bytes, bytes] = field(factory=dict, repr=False)
    headers: Headers = ()
    rate_limit: RateLimit | None = None
    notes: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the files that the configuration names."""
        tls = self.tls
        return () if tls is None else tuple(each.path for each in (tls.certificate, tls.key, tls.client_ca) if each.path)
