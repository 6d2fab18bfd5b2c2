"""What protects the listener through which somebody asks: in a value, and in words. Pure."""

from __future__ import annotations

from attrs import frozen

from mpp.core.text.humanize import listing

NO_CERTIFICATE = "NoClientCert"

# Whoever has no certificate, or made one for himself, comes in with all others.
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
    What stands between clients and mpp.

    :ivar tls: connections are encrypted.
    :ivar tls_minimum: the oldest version of TLS that is spoken, such as ``1.2``; empty when that is not known.
    :ivar certificates: what is asked of clients, in Go's words.
    :ivar users: of how many a password is asked for; 0: of nobody.
    :ivar rate_limit: requests are limited.
    :ivar problem: why the web configuration that its files hold is not the one in force; empty if it is.
    """

    tls: bool = False
    tls_minimum: str = ""
    certificates: str = NO_CERTIFICATE
    users: int = 0
    rate_limit: bool = False
    problem: str = ""

    @property
    def identifies(self) -> bool:
        """Nobody is let in whom mpp does not know."""
        return self.users > 0 or (self.tls and self.certificates == "RequireAndVerifyClientCert")

    @property
    def protected(self) -> bool:
        """There is anything that protects what is said, or says who may say it."""
        return self.tls or self.identifies

    @property
    def sound(self) -> bool:
        """It protects from what it seems to: a password that everybody can read on its way does not."""
        return self.tls or not self.users


def verdict(security: ListenerSecurity) -> tuple[str, str]:
    """Give how this listener is protected, at a glance, and how good that is."""
    if not security.protected:
        return "not protected", "calm"
    return ("protected", "good") if security.sound else ("protected, not encrypted", "warn")


def describe(security: ListenerSecurity) -> str:
    """Say what protects this listener, and what stands in its configuration but is not in force, in a few sentences."""
    waiting = f" The web configuration was changed since, which is not in force: {security.problem}." if security.problem else ""
    return _protection(security) + waiting


def _protection(security: ListenerSecurity) -> str:
    limit = "a rate limit" if security.rate_limit else ""
    if not security.protected:
        return f"This listener has no TLS and no passwords{limit and f', only {limit}'}."
    least = f" {security.tls_minimum} or newer" if security.tls_minimum else ""
    parts = (
        f"TLS{least}" if security.tls else "",
        _CERTIFICATES.get(security.certificates, security.certificates) if security.tls else "",
        f"passwords ({security.users} user{'' if security.users == 1 else 's'})" if security.users else "",
        limit,
    )
    said = f"This listener has {listing([part for part in parts if part])}."
    if not security.sound:
        return f"{said} Without TLS a password can be read on its way."
    return said if security.identifies else f"{said} Nobody is asked who he is."
