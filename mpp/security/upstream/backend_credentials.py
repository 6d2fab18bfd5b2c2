"""
What mpp shows to backends, and asks of them: ``Authorization`` and other headers, certificates. Keeps what it has read of the
files, and reads them again when they change; as long as a changed file is of no use, what it said before stays in force.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from OpenSSL import SSL, crypto
from twisted.internet.error import VerifyError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from txaio.tx import make_logger

from mpp.core import headers
from mpp.core.errors import ConfigError, ConfigErrors, DiscoveryError
from mpp.core.files import Stamp, stamp
from mpp.core.headers import ConfiguredFields
from mpp.core.http_config import DiscoverySource, DiscoverySources, HTTPConfig, HTTPConfigs
from mpp.core.model import Backend
from mpp.core.secret_file import SecretFile
from mpp.core.urls import basic
from mpp.wire.tls import TLSPolicy

_log = make_logger()

T = TypeVar("T")

# Verifiers kept, and backends that are gone; more than anyone has behind one mpp.
_KEPT = 256


class BackendCredentials:
    """
    Those for all backends.

    :param insecure: certificates are not verified, where nothing else is said.
    :raise ConfigError: a file cannot be used; all that is wrong.
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
        # Looked up in every request.
        self._of: dict[Backend, _LoadedCredentials] = {}

    def __repr__(self) -> str:
        return f"<Credentials of {len(self._loaded)}, for {len(self._of)} backends>"

    @property
    def adds_fields(self) -> bool:
        """Whether there is a backend that credentials or other headers may be sent to."""
        return any(held.config.adds_fields for held in self._all)

    def fields(self, backend: Backend) -> ConfiguredFields | None:
        """Give the headers for a backend that are mpp's own, such as ``Authorization``; None if there are none."""
        return self._for(backend).fields

    def tls(self, backend: Backend) -> IOpenSSLClientConnectionCreator:
        """Give what makes a connection to an https backend."""
        return self._for(backend).creator(backend.host)

    def authorizes(self, backend: Backend) -> bool:
        """Return whether requests to a backend carry an ``Authorization`` of mpp's own."""
        return self._for(backend).config.authorizes

    def refreshed_at(self, backend: Backend) -> float:
        """Return when the headers for a backend were found to have changed on disk, by the clock of `refresh`."""
        return self._for(backend).refreshed_at

    def refresh(self, now: float) -> bool:
        """
        Read what has changed on disk; tell whether connections are made in another way from now on.

        :param now: by any clock; see `refreshed_at`.
        """
        # Not any(), which would stop at the first one.
        return True in [held.refresh(now) for held in self._all]

    def set_sources(self, sources: DiscoverySources) -> bool:
        """
        Take note of where the backends are found that are listed now; tell whether connections are made in another way.

        What counted for the others goes on to count for them: they may have requests under way, or stay for as long as a new
        locator has not answered.
        """
        changed = False
        for backend, those in sources.items():
            if backend not in self._of or those != self._sources.get(backend):
                before, held = self._of.get(backend), self._loaded[self._configs.of(backend, those)]
                changed = changed or (before is not None and before.policy != held.policy)
                self._of[backend] = held
                self._sources[backend] = those
        gone = [backend for backend in self._of if backend not in sources]
        for backend in gone[:-_KEPT]:
            del self._of[backend]
            self._sources.pop(backend, None)
        return changed

    def sources(self, backend: Backend) -> Collection[DiscoverySource] | None:
        """Give where a backend was found; None when that is not known."""
        return self._sources.get(backend)

    def take_over(self, last: BackendCredentials) -> None:
        """
        Take the place of others, until it is known who finds the backends now.

        Where locators have rules of their own and there is none for a backend, it goes on as before: its locator may be one that
        was configured just now, and it must not be spoken to meanwhile as if it were anybody's.
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
    What was read for one configuration.

    :ivar config: that one.
    :ivar fields: headers, or None.
    :ivar policy: of connections over TLS.
    :ivar refreshed_at: when the headers changed last, minus infinity if they have not.
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
        """Give what makes a connection to a host. Making one loads the system's certificates, so it is kept."""
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
            # The stamps stay as they are: it is tried again in the next round.
            if str(error) != self._problem:
                self._problem = str(error)
                _log.warn("Credentials stay as they were: {problem}", problem=self._problem)
            return False
        self._problem = ""
        self._stamps = stamps
        if fields != self.fields:
            self.refreshed_at = now
        self.fields = fields
        _log.info("Credentials were read again: {paths}", paths=", ".join(self._paths))
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
            told = map(headers.field_value, (*header.values, *header.secrets))
            fields += [(header.name.encode("ascii"), value) for value in (*told, *read)]
        return ConfiguredFields.of(tuple(fields))

    def _read_authorization(self) -> bytes | None:
        config = self.config
        if config.credentials_file:
            value = f"{config.auth_type} {self._text('credentials_file')}"
            if not value.isascii() or not value.isprintable():
                raise self._wrong("credentials_file", "has what cannot stand in a header; expected one line of ASCII")
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
