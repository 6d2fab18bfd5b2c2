"""Puts the parts of a web configuration together, starts and stops them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory
from txaio.tx import make_logger

from mpp.errors import ConfigError
from mpp.front.computing import Computing
from mpp.front.current import LOOK_S, Current
from mpp.front.guard import GuardedRequest
from mpp.front.passwords import Passwords
from mpp.front.tls_only import TLSOnlyFactory
from mpp.housekeeping import Housekeeping
from mpp.metrics import Metrics
from mpp.model import RequestFacts
from mpp.origin import teller
from mpp.settings import Settings
from mpp.status.guards import Guards

_log = make_logger()


class Front(MultiService):
    """
    What a web configuration puts in front of mpp.

    :param settings: with the path of the web configuration file.
    :ivar request: makes a request of a channel.
    :raise ConfigError: it is no good, or a file that it names.
    """

    def __init__(self, settings: Settings, reactor: Any, metrics: Metrics) -> None:
        MultiService.__init__(self)
        assert settings.web_config is not None
        self._reactor = reactor
        self._computing = Computing(reactor)
        self._client_address: Callable[[RequestFacts], str]
        self.reconfigure(settings)
        passwords = Passwords(self._computing.verify, self._computing.verify_familiar, reactor)
        self._current = Current(settings.web_config, passwords, reactor, metrics.registry)
        self.request = functools.partial(
            GuardedRequest,
            current=self._current,
            passwords=passwords,
            client_address=lambda facts: self._client_address(facts),
            refused=metrics.refused,
        )
        MultiService.addService(self, Housekeeping(self._current.refresh, reactor, LOOK_S))

    def reconfigure(self, settings: Settings) -> None:
        """Use these settings from now on, as far as they may change."""
        self._client_address = teller(settings.trusted_proxies)

    @property
    def is_tls(self) -> bool:
        """Whether connections are encrypted; that does not change."""
        return self._current.config.tls is not None

    @property
    def guards(self) -> Guards:
        """What protects every listener, as it is in force."""
        config = self._current.config
        tls = config.tls
        if tls is None:
            return Guards(users=len(config.users), rate_limit=config.rate_limit is not None)
        certificates = tls.client_auth.word
        return Guards(True, f"1.{tls.min_version}", certificates, len(config.users), config.rate_limit is not None)

    def check(self, settings: Settings) -> None:
        """
        See that nothing that is listened on goes round what the file asks of clients.

        :raise ConfigError: something would.
        """
        endpoints = (("--listen", settings.listen), ("--admin-listen", settings.admin_listen))
        for option, text in ((option, text) for option, texts in endpoints for text in texts):
            if self.is_tls and text.startswith("ssl:"):
                raise ConfigError(
                    option,
                    f"{text!r} has a certificate of its own, and the one of tls_server_config in {self._current.path} as well;"
                    " expected tcp: in place of ssl:",
                )

    def protect(self, site: IProtocolFactory) -> IProtocolFactory:
        """Give what a site is listened for with."""
        if not self.is_tls:
            return site
        return TLSOnlyFactory(self._current, False, site, self._reactor)

    def startService(self) -> None:
        """Begin to look for changes."""
        MultiService.startService(self)
        self._computing.start()
        _log.info("{path} is in force: {what}", path=self._current.path, what=self._current.summary())

    def stopService(self) -> Deferred[None]:
        """
        Look no more.

        :return Deferred(None): fires at once.
        """
        self._computing.stop()
        stopped: Deferred[None] = MultiService.stopService(self)
        return stopped
