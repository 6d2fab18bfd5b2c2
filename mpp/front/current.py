"""
The web configuration in force: read when something changed, kept as it is when what is there now is broken.

# Note [Change]

Looking costs a `stat` for each file, so it is done once a second at most: beside the traffic, and for a new connection, which
then has the new certificate. What tells a change is a file's time, number and size; Kubernetes' swapped symbolic links and an
editor's renaming change the number. Whoever replaces a certificate and its key one after the other makes a pair that does not
belong together for a moment: it is reported, the last good pair stays, and the next look finds them whole.
"""

from __future__ import annotations

import os

from OpenSSL import SSL
from prometheus_client import CollectorRegistry, Gauge
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from txaio.tx import make_logger
from zope.interface import implementer

from mpp.errors import ConfigError
from mpp.front.bucket import Bucket
from mpp.front.context import make_context
from mpp.front.passwords import Passwords
from mpp.front.reading import read_web_config
from mpp.front.sections import WebConfigError
from mpp.front.words import WebConfig
from mpp.locators.small_file import Stamp, Unreadable, read_small, stamp
from mpp.model import MIB

_log = make_logger()

OPTION = "--web-config"
LOOK_S = 1.0
"""Seconds from one look at the files to the next."""


@implementer(IOpenSSLServerConnectionCreator)
class Current:
    """
    What is in force.

    :param passwords: is told the users.
    :ivar config: what the file says.
    :ivar bucket: what limits the rate of requests, or None.
    :raise ConfigError: the file, or one that it names, is no good.
    """

    def __init__(self, path: str, passwords: Passwords, clock: IReactorTime, registry: CollectorRegistry) -> None:
        self.path = path
        self._passwords = passwords
        self._clock = clock
        self._context: SSL.Context | None = None
        self._looked_at = clock.seconds()
        self.config = WebConfig()
        self.bucket: Bucket | None = None
        self._seen: dict[str, Stamp] = {path: stamp(path)}
        try:
            self._adopt(*self._read())
        except WebConfigError as error:
            raise ConfigError(OPTION, f"{path}: {error}") from None
        self._good = Gauge(
            "mpp_web_config_last_reload_successful",
            "1 if the web configuration is in force as it is in its files, 0 if they are broken.",
            registry=registry,
        )
        self._good.set(1)

    def allows(self) -> bool:
        """Tell whether the rate limit lets one more request through, and count it."""
        return self.bucket is None or self.bucket.take(self._clock.seconds())

    def look(self) -> None:
        """Adopt what has changed, unless it is less than `LOOK_S` that somebody looked."""
        if self._clock.seconds() - self._looked_at >= LOOK_S:
            self.refresh()

    def refresh(self) -> None:
        """Adopt what has changed."""
        self._looked_at = self._clock.seconds()
        seen = {path: stamp(path) for path in self._seen}
        if seen == self._seen:
            return
        self._seen = seen
        try:
            config, context = self._read()
            if (context is None) is not (self._context is None):
                raise WebConfigError("tls_server_config: TLS can be switched on or off by a restart only")
        except WebConfigError as error:
            self._good.set(0)
            _log.error("{path}: {error}; what was in force stays", path=self.path, error=str(error))
        else:
            self._adopt(config, context)
            self._good.set(1)
            _log.info("{path} is in force: {what}", path=self.path, what=self.summary())

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """Make a new connection's state."""
        self.look()
        assert self._context is not None, "without TLS nobody asks for this"
        return SSL.Connection(self._context, None)

    def summary(self) -> str:
        """Tell in a few words what is in force."""
        config = self.config
        tls = "no TLS" if config.tls is None else f"TLS 1.{config.tls.min_version}+, {config.tls.client_auth.word}"
        limit = ", a rate limit" if config.rate_limit else ""
        return f"{tls}, {len(config.users)} users{limit}"

    def _adopt(self, config: WebConfig, context: SSL.Context | None) -> None:
        if config.rate_limit != self.config.rate_limit:
            limit = config.rate_limit
            self.bucket = None if limit is None else Bucket(limit, self._clock.seconds())
        for note in config.notes:
            if note not in self.config.notes:
                _log.warn("{path}: {note}", path=self.path, note=note)
        self.config = config
        self._context = context
        self._passwords.use(config.users)

    def _read(self) -> tuple[WebConfig, SSL.Context | None]:
        """Read all files anew; from now on those are watched that the web configuration names, be they any good or not."""
        config = _load(self.path)
        # Each was looked at before it is read: what changes in between is seen the next time.
        self._seen = {path: self._seen.get(path) or stamp(path) for path in (self.path, *config.paths)}
        return config, None if config.tls is None else make_context(config.tls)


def _load(path: str) -> WebConfig:
    try:
        text = read_small(path, MIB, "a web configuration").decode()
    except Unreadable as error:
        raise WebConfigError(f"cannot be read ({error})") from None
    except UnicodeDecodeError:
        raise WebConfigError("not text in UTF-8") from None
    return read_web_config(text, os.path.dirname(path))
