"""
The credentials for backends: ``Authorization`` and other header fields, client certificates, and the verification of servers.
Files are cached and read again when they change; while a changed file is invalid, its former content stays in use.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from OpenSSL import SSL, crypto
from twisted.internet.error import VerifyError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from txaio.tx import make_logger

from mpp.core.errors import ConfigError, ConfigErrors, DiscoveryError
from mpp.core.files import Stamp, stamp
from mpp.core.http import headers
from mpp.core.http.headers import ConfiguredFields
from mpp.core.http_config import DiscoverySource, DiscoverySources, HTTPConfig, HTTPConfigs
from mpp.core.model import Backend
from mpp.core.secret_file import SecretFile
from mpp.core.urls import basic
from mpp.wire.tls import TLSPolicy

_log = make_logger()

T = TypeVar("T")

# The largest number of cached TLS connection creators, and of former backends that keep their credentials.
_KEPT = 256


class BackendCredentials:
    """
    The credentials for all backends, with the contents of their files.

    :param configs: the configured credentials: the default, and special ones for some URLs and locators.
    :param insecure: ``--insecure``: certificates of servers are not verified, unless a configuration says otherwise.
    :raise ConfigErrors: files cannot be used; it contains the error of each ``http`` configuration.
    """

    def __init__(self, configs: HTTPConfigs, *, insecure: bool = False) -> None:
        self._configs = configs
        held, errors = {}, []
        for config in configs.all:
            try:
                held[config] = _LoadedCredentials(config, insecure=insecure)
            except ConfigError as error:
                errors.append(error)
        if errors:
            raise ConfigErrors(errors)
        self._loaded: dict[HTTPConfig, _LoadedCredentials] = held
        self._sources: dict[Backend, Collection[DiscoverySource]] = {}
        # Looked up for every request.
        self._of: dict[Backend, _LoadedCredentials] = {}

    def __repr__(self) -> str:
        return f"<Credentials of {len(self._loaded)}, for {len(self._of)} backends>"

    @property
    def adds_fields(self) -> bool:
        """Whether credentials or other header fields are configured for any backend."""
        return any(held.config.adds_fields for held in self._all)

    def fields(self, backend: Backend) -> ConfiguredFields | None:
        """Return the configured header fields for a backend, such as ``Authorization``; None if there are none."""
        return self._for(backend).fields

    def tls(self, backend: Backend) -> IOpenSSLClientConnectionCreator:
        """Return the TLS connection creator for an https backend."""
        return self._for(backend).creator(backend.host)

    def authorizes(self, backend: Backend) -> bool:
        """Return whether mpp adds an ``Authorization`` field to requests to a backend."""
        return self._for(backend).config.authorizes

    def refreshed_at(self, backend: Backend) -> float:
        """Return the time that `refresh` got when it last found changed header fields of a backend; minus infinity if never."""
        return self._for(backend).refreshed_at

    @property
    def last_refreshed(self) -> float:
        """The time that `refresh` got when it last found a change of any header fields; minus infinity if it never did."""
        return max((held.refreshed_at for held in self._all), default=float("-inf"))

    def refresh(self, now: float) -> bool:
        """
        Read changed files again; return whether the TLS policy of any backend has changed.

        :param now: the time, by any clock; `refreshed_at` returns it if header fields have changed.
        """
        # Not any(), which would stop at the first one.
        return True in [held.refresh(now) for held in self._all]

    def set_sources(self, sources: DiscoverySources) -> bool:
        """
        Choose the credentials of the listed backends by their discovery sources; return whether a TLS policy has changed.

        Backends that are no longer listed keep their credentials: they may have requests in flight, or be missing only until a
        new locator has responded.
        """
        changed = False
        for backend, found_by in sources.items():
            if backend not in self._of or found_by != self._sources.get(backend):
                before, held = self._of.get(backend), self._loaded[self._configs.of(backend, found_by)]
                changed = changed or (before is not None and before.policy != held.policy)
                self._of[backend] = held
                self._sources[backend] = found_by
        removed = [backend for backend in self._of if backend not in sources]
        for backend in removed[:-_KEPT]:
            del self._of[backend]
            self._sources.pop(backend, None)
        return changed

    def sources(self, backend: Backend) -> Collection[DiscoverySource] | None:
        """Return the discovery sources that listed a backend; None when they are not known."""
        return self._sources.get(backend)

    def take_over(self, last: BackendCredentials) -> None:
        """
        Choose credentials for the backends that the replaced object knew, after a reload and before the next discovery.

        If any credentials are configured for locators, a backend to which only the default ones would apply keeps its former
        credentials: it may belong to a newly configured locator that has not responded yet.
        """
        for backend, before in last._of.items():
            sources = last._sources.get(backend, ())
            if self._configs.locators and self._configs.special(backend, sources) is None:
                self._of[backend] = before
            else:
                self._of[backend] = self._loaded[self._configs.of(backend, sources)]
                self._sources[backend] = sources

    @property
    def _all(self) -> set[_LoadedCredentials]:
        return {*self._loaded.values(), *self._of.values()}

    def _for(self, backend: Backend) -> _LoadedCredentials:
        held = self._of.get(backend)
        if held is None:
            held = self._of[backend] = self._loaded[self._configs.of(backend)]
        return held


class _LoadedCredentials:
    """
    The credentials of one ``http`` configuration, with the contents of its files.

    :ivar config: the ``http`` configuration.
    :ivar fields: the header fields, or None.
    :ivar policy: the policy of TLS connections.
    :ivar refreshed_at: the time of the last change of the header fields; minus infinity before the first one.
    """

    def __init__(self, config: HTTPConfig, *, insecure: bool) -> None:
        self.config = config
        self._insecure = insecure if config.insecure_skip_verify is None else config.insecure_skip_verify
        self._paths = config.paths
        self._problem = ""
        self.refreshed_at = float("-inf")
        self._stamps = self._look()
        self.fields = self._read_fields()
        self.policy = self._read_policy()
        self._creators: dict[str, IOpenSSLClientConnectionCreator] = {}

    def creator(self, host: str) -> IOpenSSLClientConnectionCreator:
        """Return the TLS connection creator for a host; cached, because building one loads the system's certificates."""
        creator = self._creators.get(host)
        if creator is None:
            if len(self._creators) >= _KEPT:
                self._creators.clear()
            creator = self._creators[host] = self.policy.creator(host)
        return creator

    def refresh(self, now: float) -> bool:
        """See `BackendCredentials.refresh`."""
        stamps = self._look()
        if stamps == self._stamps:
            return False
        try:
            fields, policy = self._read_fields(), self._read_policy()
        except ConfigError as error:
            # The stamps stay the same, so that the next round tries again.
            if str(error) != self._problem:
                self._problem = str(error)
                text = "credentials for the servers were not reloaded, the former ones stay in use: {problem}"
                _log.warn(text, problem=self._problem)
            return False
        self._problem = ""
        self._stamps = stamps
        if fields != self.fields:
            self.refreshed_at = now
        self.fields = fields
        _log.info("backend credentials reloaded from {paths}", paths=", ".join(self._paths))
        if policy == self.policy:
            return False
        self.policy = policy
        self._creators.clear()
        return True

    def _look(self) -> tuple[Stamp, ...]:
        return tuple(map(stamp, self._paths))

    def _read_fields(self) -> ConfiguredFields | None:
        fields = [] if (authorization := self._read_authorization()) is None else [(b"Authorization", authorization)]
        for header in self.config.headers:
            read = [self._read(path, header.place, _header_value) for path in header.files]
            given = map(headers.field_value, (*header.values, *header.secrets))
            fields += [(header.name.encode("ascii"), value) for value in (*given, *read)]
        return ConfiguredFields.of(tuple(fields))

    def _read_authorization(self) -> bytes | None:
        config = self.config
        if config.credentials_file:
            value = f"{config.auth_type} {self._text('credentials_file')}"
            if not value.isascii() or not value.isprintable():
                raise self._wrong("credentials_file", "has characters that no header field can have; expected one line of ASCII")
            return value.encode("ascii")
        if config.username or config.username_file:
            user = self._text("username_file") if config.username_file else config.username
            return basic(user, self._text("password_file")).encode("ascii")
        return None

    def _read_policy(self) -> TLSPolicy:
        config = self.config
        ca = self._bytes("ca_file") if config.ca_file else None
        own = self._bytes("cert_file") + b"\n" + self._bytes("key_file") if config.cert_file and config.key_file else None
        policy = TLSPolicy(self._insecure, ca, own, config.server_name, config.min_version == "TLS13")
        name = "cert_file" if own is not None else "ca_file"
        if ca is not None or own is not None:
            try:
                policy.creator("localhost")
            except (SSL.Error, crypto.Error, VerifyError, ValueError):
                raise self._wrong(name, "expected PEM: certificates, and a key that belongs to its certificate") from None
        if ca is not None and b"-----BEGIN CERTIFICATE-----" not in ca:
            raise self._wrong("ca_file", "expected certificates in PEM format")
        return policy

    def _text(self, name: str) -> str:
        return self._read(getattr(self.config, name), name, lambda file: file.read())

    def _bytes(self, name: str) -> bytes:
        return self._read(getattr(self.config, name), name, lambda file: file.read_bytes())

    def _read(self, path: str, name: str, read: Callable[[SecretFile], T]) -> T:
        try:
            return read(SecretFile(path))
        except DiscoveryError as error:
            raise ConfigError(self._place(name), str(error)) from None

    def _wrong(self, name: str, problem: str) -> ConfigError:
        return ConfigError(self._place(name), f"{getattr(self.config, name)}: {problem}")

    def _place(self, name: str) -> str:
        return self.config.places.get(name, name)


def _header_value(file: SecretFile) -> bytes:
    try:
        return headers.field_value(file.read())
    except ValueError as error:
        raise DiscoveryError(f"{file.path}: {error}") from None
