"""
How backends are spoken to, as Prometheus' ``http_config`` says it: credentials and TLS. Values; files are named, not read.

This module knows no other module of mpp but its words.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping

from attrs import field, frozen

from mpp.core.model import Backend
from mpp.core.url_pattern import URLPattern

_USERINFO = re.compile(r"(?<=://)[^/?#]*@")

FILES = ("username_file", "password_file", "credentials_file", "ca_file", "cert_file", "key_file")
"""What of an `HTTPConfig` is the path of a file."""


@frozen
class ConfiguredHeader:
    """
    A header that requests to a backend get: a field for each value, in this order.

    :ivar files: paths of files that hold one value each.
    """

    name: str
    values: tuple[str, ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)
    files: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """What ``places`` has for its files."""
        return f"http_headers: {self.name}: files"


@frozen
class HTTPConfig:
    """
    How one or more backends are spoken to. What is empty is not configured.

    :ivar auth_type: the scheme of ``Authorization``, with ``credentials_file``.
    :ivar insecure_skip_verify: None: as for everything else.
    :ivar min_version: ``TLS12`` or ``TLS13``.
    :ivar places: where each of these stands, for messages.
    """

    username: str = ""
    username_file: str = ""
    password_file: str = ""
    auth_type: str = "Bearer"
    credentials_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""
    insecure_skip_verify: bool | None = None
    min_version: str = "TLS12"
    headers: tuple[ConfiguredHeader, ...] = ()
    places: Mapping[str, str] = field(factory=dict, eq=False, repr=False)

    @property
    def adds_fields(self) -> bool:
        """Whether requests get credentials or other headers."""
        return self.authorizes or bool(self.headers)

    @property
    def authorizes(self) -> bool:
        """Whether requests get an ``Authorization``."""
        return bool(self.username or self.username_file or self.credentials_file)

    @property
    def paths(self) -> tuple[str, ...]:
        """Give all files that it names."""
        given = (getattr(self, name) for name in FILES)
        return *filter(None, given), *(path for header in self.headers for path in header.files)


@frozen
class DiscoverySource:
    """
    Where a backend was found.

    :ivar locator: the locator's name, without a number.
    :ivar source: what it read, if it is one that may be configured several times: the path of a file or a pattern, a URL, a
        name; else empty.
    """

    locator: str
    source: str = ""

    @classmethod
    def written(cls, locator: str, source: str) -> DiscoverySource:
        """Give what the operator wrote in a form that can be compared."""
        if locator == "file-sd":
            source = os.path.abspath(source)
        return cls(locator, _USERINFO.sub("", source) if locator == "http-sd" else source)


DiscoverySources = Mapping[Backend, Collection[DiscoverySource]]
"""For each backend all its origins."""


@frozen
class LocatorRule:
    """
    How backends are spoken to that a locator finds.

    :ivar source: of the backends; without a source, whatever it is.
    :ivar place: where it stands, for messages.
    """

    source: DiscoverySource
    config: HTTPConfig = HTTPConfig()
    place: str = field(default="", eq=False)

    def fits(self, source: DiscoverySource) -> bool:
        """Tell whether this is where a backend was found."""
        return source == self.source or (not self.source.source and source.locator == self.source.locator)


@frozen
class HTTPConfigs:
    """
    How all backends are spoken to.

    :ivar default: those that no rule is for.
    :ivar rules: patterns for URLs, each with the configuration of the backends that it fits; the first one that fits counts.
    :ivar locators: what counts for those that no URL fits; the first one that fits one of a backend's origins does.
    :ivar probe_params: patterns for URLs, each with the parameters that requests of probes carry to the backends that it fits,
        see `mpp.core.settings.Settings`; the first one that fits counts.
    """

    default: HTTPConfig = HTTPConfig()
    rules: tuple[tuple[URLPattern, HTTPConfig], ...] = ()
    locators: tuple[LocatorRule, ...] = ()
    probe_params: tuple[tuple[URLPattern, str], ...] = ()

    @property
    def all(self) -> tuple[HTTPConfig, ...]:
        """Each of them."""
        return self.default, *(config for _, config in self.rules), *(rule.config for rule in self.locators)

    def of(self, backend: Backend, sources: Collection[DiscoverySource] = ()) -> HTTPConfig:
        """Give what counts for a backend."""
        return self.special(backend, sources) or self.default

    def special(self, backend: Backend, sources: Collection[DiscoverySource]) -> HTTPConfig | None:
        """Give what a rule says of a backend; None when there is none for it."""
        for pattern, config in self.rules:
            if pattern.fits(backend):
                return config
        return next((rule.config for rule in self.locators if any(map(rule.fits, sources))), None)

    def probe_params_of(self, backend: Backend, default: str) -> str:
        """Return the parameters that requests of probes carry to a backend; the default if no pattern fits it."""
        return next((parameters for pattern, parameters in self.probe_params if pattern.fits(backend)), default)
