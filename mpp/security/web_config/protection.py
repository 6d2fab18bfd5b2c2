"""The protection of a listener, as a value and as text for the status page. Pure."""

from __future__ import annotations

from attrs import frozen

from mpp.core.text.humanize import listing, quantity

NO_CERTIFICATE = "NoClientCert"

# Only the last type proves the identity of every client: with the others, a client needs no certificate or a self-made one.
_CERTIFICATES = {
    NO_CERTIFICATE: "",
    "RequestClientCert": "client certificates (not required, not verified)",
    "RequireAnyClientCert": "client certificates (required, not verified)",
    "VerifyClientCertIfGiven": "client certificates (verified if given)",
    "RequireAndVerifyClientCert": "client certificates (required and verified)",
}


@frozen
class ListenerSecurity:
    """
    The protection of a listener.

    :ivar tls: True if connections are encrypted.
    :ivar tls_minimum: the oldest accepted version of TLS, such as ``1.2``; empty when it is not known.
    :ivar certificates: Go's name for the demands on client certificates.
    :ivar users: the number of users with a password; 0 if clients need no password.
    :ivar rate_limit: True if the rate of requests is limited.
    :ivar problem: the reason why the web configuration in its files is not the active one; empty if it is.
    """

    tls: bool = False
    tls_minimum: str = ""
    certificates: str = NO_CERTIFICATE
    users: int = 0
    rate_limit: bool = False
    problem: str = ""

    @property
    def identifies(self) -> bool:
        """True if every client has to prove its identity."""
        return self.users > 0 or (self.tls and self.certificates == "RequireAndVerifyClientCert")

    @property
    def protected(self) -> bool:
        """True if connections are encrypted or clients have to prove their identity."""
        return self.tls or self.identifies

    @property
    def sound(self) -> bool:
        """False if passwords are sent without encryption."""
        return self.tls or not self.users


def verdict(security: ListenerSecurity) -> tuple[str, str]:
    """Return a short text about the protection of this listener, and how the page shows it: "calm", "good" or "warn"."""
    if not security.protected:
        return "not protected", "calm"
    return ("protected", "good") if security.sound else ("protected, not encrypted", "warn")


def describe(security: ListenerSecurity) -> str:
    """Return a few sentences about the protection of this listener, and about a changed configuration that is not active."""
    waiting = f" A later change of the web configuration is not active: {security.problem}." if security.problem else ""
    return _protection(security) + waiting


def _protection(security: ListenerSecurity) -> str:
    limit = "a rate limit" if security.rate_limit else ""
    if not security.protected:
        return f"This listener has no TLS and no passwords{limit and f', only {limit}'}."
    least = f" {security.tls_minimum} or newer" if security.tls_minimum else ""
    parts = (
        f"TLS{least}" if security.tls else "",
        _CERTIFICATES.get(security.certificates, security.certificates) if security.tls else "",
        f"passwords ({quantity(security.users, 'user')})" if security.users else "",
        limit,
    )
    said = f"This listener has {listing([part for part in parts if part])}."
    if not security.sound:
        return f"{said} Without TLS, passwords can be read in transit."
    return said if security.identifies else f"{said} Clients are not authenticated."
