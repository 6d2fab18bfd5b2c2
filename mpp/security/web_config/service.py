"""The service of the web configuration: its parts are built, started and stopped here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from attrs import field, frozen
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory
from txaio.tx import make_logger

from mpp.core.errors import ConfigError
from mpp.core.metrics.registry import Metrics
from mpp.core.scheduling.periodic import PeriodicCheck
from mpp.core.settings import Settings
from mpp.security.web_config.active_config import ActiveConfig, context_of
from mpp.security.web_config.bcrypt_pool import BcryptPool
from mpp.security.web_config.file import LOOK_S, OPTION, LoadedConfig, WebConfigFile
from mpp.security.web_config.passwords import Passwords, VerifiedCredentials
from mpp.security.web_config.plain_http import TLSOnlyFactory
from mpp.security.web_config.protection import ListenerSecurity
from mpp.security.web_config.request import CheckedRequest
from mpp.security.web_config.sections import WebConfigError
from mpp.security.web_config.values import WebConfig

_log = make_logger()


@frozen
class Handover:
    """
    The state of the web configuration that a parent process passes to a worker at its start.

    :ivar config: the active configuration, with the contents of all files.
    :ivar key: the key of the digests in `verified`.
    :ivar verified: the credentials that were verified lately, each with the number of seconds since its last use.
    """

    config: WebConfig
    key: bytes = field(repr=False)
    verified: tuple[tuple[VerifiedCredentials, float], ...] = field(repr=False)


class WebConfigService(MultiService):
    """
    The service that adds TLS, authentication and a rate limit to mpp's listeners, as the web configuration file says.

    :param settings: the settings, with the path of the web configuration file.
    :param handover: in a worker, the state that its parent passes; then the file is neither read nor watched here.
    :ivar request: creates the request object for a channel.
    :ivar passwords: verifies the passwords of clients.
    :ivar taken_over: called with each web configuration that is activated after the start.
    :raise ConfigError: the web configuration, or a file that it names, is invalid.
    """

    def __init__(self, settings: Settings, reactor: Any, metrics: Metrics, handover: Handover | None = None) -> None:
        MultiService.__init__(self)
        assert settings.web_config is not None
        self._path = settings.web_config
        self._reactor = reactor
        self._computing = BcryptPool(reactor)
        self.passwords = Passwords(
            self._computing.verify, self._computing.verify_familiar, reactor, b"" if handover is None else handover.key
        )
        self._current = ActiveConfig(self.passwords, reactor)
        self._file: WebConfigFile | None = None
        self.taken_over: Callable[[WebConfig], object] = lambda config: None
        if handover is None:
            self._file = WebConfigFile(self._path, self._current, metrics.add)
            MultiService.addService(self, PeriodicCheck(self._look, reactor, LOOK_S))
        else:
            self.adopt(handover.config)
            for familiar, age in handover.verified:
                self.passwords.learn(familiar, age)
        self.request = functools.partial(CheckedRequest, current=self._current, passwords=self.passwords)

    @property
    def is_tls(self) -> bool:
        """Whether connections are encrypted; this cannot change without a restart."""
        return self._current.config.tls is not None

    @property
    def config(self) -> WebConfig:
        """The active web configuration."""
        return self._current.config

    @property
    def security(self) -> ListenerSecurity:
        """The active protection of every listener, as the status page describes it."""
        config, problem = self._current.config, "" if self._file is None else self._file.problem
        tls = config.tls
        users, limited = len(config.users), config.rate_limit is not None
        if tls is None:
            return ListenerSecurity(users=users, rate_limit=limited, problem=problem)
        return ListenerSecurity(True, f"1.{tls.min_version}", tls.client_auth.word, users, limited, problem)

    @property
    def handover(self) -> Handover:
        """The state with which a worker starts, so that it accepts the same clients."""
        return Handover(self._current.config, self.passwords.key, self.passwords.verified)

    def check(self, settings: Settings) -> None:
        """
        Check that no endpoint has a TLS certificate of its own besides the one of the web configuration.

        :raise ConfigError: an endpoint has a certificate of its own.
        """
        endpoints = (("--listen", settings.listen), ("--admin-listen", settings.admin_listen))
        for option, text in ((option, text) for option, texts in endpoints for text in texts):
            if self.is_tls and text.startswith("ssl:"):
                raise ConfigError(
                    option,
                    f"{text!r} has a certificate of its own, and the one of tls_server_config in {self._path} as well;"
                    " expected tcp: in place of ssl:",
                )

    def protect(self, site: IProtocolFactory) -> IProtocolFactory:
        """Return the factory to listen with for a site of twisted.web: the site itself, or a TLS factory around it."""
        if not self.is_tls:
            return site
        return TLSOnlyFactory(self._current, False, site, self._reactor)

    # Reload

    def read(self) -> LoadedConfig:
        """
        Read the files for an explicit reload without activating them.

        :raise ConfigError: a file is invalid.
        """
        assert self._file is not None, "the parent reads them"
        return self._file.read()

    def take_over(self, loaded: LoadedConfig) -> bool:
        """Activate a configuration that `read` has returned, even if it protects less; return whether anything has changed."""
        assert self._file is not None, "the parent reads them"
        changed = self._file.take_over(loaded)
        if changed:
            self.taken_over(loaded.config)
        return changed

    def adopt(self, config: WebConfig) -> None:
        """
        Activate a configuration that the parent process has read.

        :raise ConfigError: a certificate cannot be used in this process.
        """
        try:
            self._current.adopt(config, context_of(config))
        except WebConfigError as error:
            raise ConfigError(OPTION, f"{self._path}: {error}") from None

    def _look(self) -> None:
        if self._file is not None and self._file.refresh():
            self.taken_over(self._current.config)

    # Start and stop

    def startService(self) -> None:
        """Start to look for changed files, and the threads that verify passwords."""
        MultiService.startService(self)
        self._computing.start()
        if self._file is not None:
            _log.info("web configuration {path} is active: {what}", path=self._path, what=self._current.summary())

    def stopService(self) -> Deferred[None]:
        """
        Stop looking for changed files, and the threads that verify passwords.

        :return Deferred(None): fires at once.
        """
        self._computing.stop()
        stopped: Deferred[None] = MultiService.stopService(self)
        return stopped
