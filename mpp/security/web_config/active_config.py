"""
The web configuration in force: what new connections and requests are judged by. Knows no files, see
`mpp.security.web_config.file`.
"""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from zope.interface import implementer

from mpp.security.web_config.passwords import Passwords
from mpp.security.web_config.rate_limit import RateLimiter
from mpp.security.web_config.tls_context import make_context
from mpp.security.web_config.values import WebConfig


def context_of(config: WebConfig) -> SSL.Context | None:
    """
    Return the OpenSSL context that a web configuration asks for, or None without TLS.

    :raise mpp.security.web_config.sections.WebConfigError: a certificate, key or authority is no good.
    """
    return None if config.tls is None else make_context(config.tls)


@implementer(IOpenSSLServerConnectionCreator)
class ActiveConfig:
    """
    What is in force; nothing, until `adopt` is called.

    :param passwords: is told the users.
    :ivar config: what was adopted last.
    :ivar bucket: what limits the rate of requests, or None.
    """

    def __init__(self, passwords: Passwords, clock: IReactorTime) -> None:
        self._passwords = passwords
        self._clock = clock
        self._context: SSL.Context | None = None
        self.config = WebConfig()
        self.bucket: RateLimiter | None = None

    def adopt(self, config: WebConfig, context: SSL.Context | None) -> None:
        """Judge new connections and requests by this from now on. ``context`` is what `context_of` made of it."""
        if config.rate_limit != self.config.rate_limit:
            limit = config.rate_limit
            self.bucket = None if limit is None else RateLimiter(limit, self._clock.seconds())
        self.config = config
        self._context = context
        self._passwords.use(config.users)

    def allows(self) -> bool:
        """Tell whether the rate limit lets one more request through, and count it."""
        return self.bucket is None or self.bucket.take(self._clock.seconds())

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """Make a new connection's state."""
        assert self._context is not None, "without TLS nobody asks for this"
        return SSL.Connection(self._context, None)

    def summary(self) -> str:
        """Tell in a few words what is in force."""
        config = self.config
        tls = "no TLS" if config.tls is None else f"TLS 1.{config.tls.min_version}+, {config.tls.client_auth.word}"
        limit = ", a rate limit" if config.rate_limit else ""
        return f"{tls}, {len(config.users)} users{limit}"
