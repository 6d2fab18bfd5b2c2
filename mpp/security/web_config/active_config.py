"""
The active web configuration, which applies to new connections and requests. Its files are read by `mpp.security.web_config.file`.
"""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from zope.interface import implementer

from mpp.core.text.humanize import quantity
from mpp.security.web_config.passwords import Passwords
from mpp.security.web_config.rate_limit import RateLimiter
from mpp.security.web_config.tls_context import make_context
from mpp.security.web_config.values import WebConfig


def context_of(config: WebConfig) -> SSL.Context | None:
    """
    Return the OpenSSL context that a web configuration asks for, or None without TLS.

    :raise mpp.security.web_config.sections.WebConfigError: a certificate, key or authority is invalid.
    """
    return None if config.tls is None else make_context(config.tls)


@implementer(IOpenSSLServerConnectionCreator)
class ActiveConfig:
    """
    The holder of the active web configuration; an empty one until `adopt` is called.

    :param passwords: gets the users of each configuration.
    :ivar config: the configuration that was adopted last.
    :ivar bucket: the rate limiter of requests, or None.
    """

    def __init__(self, passwords: Passwords, clock: IReactorTime) -> None:
        self._passwords = passwords
        self._clock = clock
        self._context: SSL.Context | None = None
        self.config = WebConfig()
        self.bucket: RateLimiter | None = None

    def adopt(self, config: WebConfig, context: SSL.Context | None) -> None:
        """Activate a configuration for new connections and requests; ``context`` is the result of `context_of` for it."""
        if config.rate_limit != self.config.rate_limit:
            limit = config.rate_limit
            self.bucket = None if limit is None else RateLimiter(limit, self._clock.seconds())
        self.config = config
        self._context = context
        self._passwords.use(config.users)

    def allows(self) -> bool:
        """Return whether the rate limit allows one more request, and count this request."""
        return self.bucket is None or self.bucket.take(self._clock.seconds())

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """Return the OpenSSL state of a new connection."""
        assert self._context is not None, "not called without TLS"
        return SSL.Connection(self._context, None)

    def summary(self) -> str:
        """Return a short description of the active configuration for the log."""
        config = self.config
        tls = "no TLS" if config.tls is None else f"TLS 1.{config.tls.min_version}+, {config.tls.client_auth.word}"
        limit = ", a rate limit" if config.rate_limit else ""
        return f"{tls}, {quantity(len(config.users), 'user')}{limit}"
