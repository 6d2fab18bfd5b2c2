"""
The HTTP client configuration for backends, like Prometheus' ``http_config``: credentials and TLS. Values; no file is read here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import field, frozen

from mpp.core.model import Backend
from mpp.core.url_pattern import URLPattern

FILES = ("username_file", "password_file", "credentials_file", "ca_file", "cert_file", "key_file")
"""The attributes of an `HTTPConfig` that are paths of files."""


@frozen
class ConfiguredHeader:
    """
    A header that is added to requests to a backend: one field for each of its values, then for each secret and each file.

    :ivar secrets: further values, which are never shown.
    :ivar files: paths of files that hold one value each.
    """

    name: str
    values: tuple[str, ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)
    files: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The key of its files in `HTTPConfig.places`."""
        return f"http_headers: {self.name}: files"


@frozen
class HTTPConfig:
    """
    The HTTP client configuration for one or more backends. An attribute with an empty value is not configured.

    :ivar auth_type: the scheme in ``Authorization`` before the content of ``credentials_file``.
    :ivar insecure_skip_verify: the server's certificate is not verified; None means the same as the option ``--insecure``.
    :ivar min_version: the oldest TLS version to use, ``TLS12`` or ``TLS13``.
    :ivar places: file, line and path of each configured key, for messages.
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
        """The paths of all files that this configuration names."""
        given = (getattr(self, name) for name in FILES)
        return *filter(None, given), *(path for header in self.headers for path in header.files)


@frozen
class DiscoverySource:
    """
    The configured source in which a backend was found.

    :ivar locator: the name of the kind of locator, the same for all locators of this kind.
    :ivar source: the path, pattern, URL or name that the locator reads, if several locators of the kind may be configured; else
        empty.
    """

    locator: str
    source: str = ""


DiscoverySources = Mapping[Backend, Collection[DiscoverySource]]
"""All discovery sources of each backend."""


@frozen
class LocatorRule:
    """
    The HTTP client configuration for the backends that a locator finds.

    :ivar source: the discovery source of the backends; an empty ``source.source`` means every source of the locator.
    :ivar place: where the rule stands in the configuration, for messages.
    """

    source: DiscoverySource
    config: HTTPConfig = HTTPConfig()
    place: str = field(default="", eq=False)

    def fits(self, source: DiscoverySource) -> bool:
        """Return whether the rule applies to backends of a discovery source."""
        return source == self.source or (not self.source.source and source.locator == self.source.locator)


@frozen
class HTTPConfigs:
    """
    The HTTP client configurations of all backends.

    :ivar default: the configuration of backends that no rule fits.
    :ivar rules: patterns for URLs, each with the configuration of the backends that it fits; the first one that fits is used.
    :ivar locators: rules for backends that no URL pattern fits; the first that fits a discovery source of the backend is used.
    :ivar probe_params: patterns for URLs, each with the query parameters that probes of the backends that it fits send besides
        their own; the first one that fits is used.
    """

    default: HTTPConfig = HTTPConfig()
    rules: tuple[tuple[URLPattern, HTTPConfig], ...] = ()
    locators: tuple[LocatorRule, ...] = ()
    probe_params: tuple[tuple[URLPattern, str], ...] = ()

    @property
    def all(self) -> tuple[HTTPConfig, ...]:
        """All configurations in order: the default, the rules for URLs, the rules for locators."""
        return self.default, *(config for _, config in self.rules), *(rule.config for rule in self.locators)

    def of(self, backend: Backend, sources: Collection[DiscoverySource] = ()) -> HTTPConfig:
        """Return the configuration to use for a backend."""
        return self.special(backend, sources) or self.default

    def special(self, backend: Backend, sources: Collection[DiscoverySource]) -> HTTPConfig | None:
        """Return the configuration of the first rule that fits a backend; None when no rule fits it."""
        for pattern, config in self.rules:
            if pattern.fits(backend):
                return config
        return next((rule.config for rule in self.locators if any(map(rule.fits, sources))), None)

    def probe_params_of(self, backend: Backend, default: str) -> str:
        """Return the query parameters that probes of a backend send besides their own; ``default`` if no pattern fits it."""
        return next((parameters for pattern, parameters in self.probe_params if pattern.fits(backend)), default)
