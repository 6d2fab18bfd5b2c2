"""
The DNS locator, which looks up backends in every round: all addresses of a host name, or the servers of an SRV record. Knows
names and records; knows no connections.

- ``prom.example.org:9090``, or a URL with a prefix: every IPv4 and IPv6 address of the name is a backend. The system resolves
  it (in a thread), so that search domains and the hosts file apply. With ``https`` the certificates must be valid for the
  addresses; if they are issued for names, list the names in an SRV record.
- ``srv+_web._tcp.prom.example.org``, or ``srv+https://_web._tcp.prom.example.org/prefix``: every target of the SRV record is
  a backend under its own name. The name must be fully qualified, since the system has no call to look up such records, and
  twisted.names applies no search domains.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import evolve
from twisted.internet import error as errors
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IHostnameResolver
from twisted.names import error as names_errors
from twisted.names.dns import SRV, Record_SRV
from txaio.tx import make_logger
from zope.interface import implementer

from mpp.core.backend_url import parse_endpoint
from mpp.core.errors import ConfigError, DiscoveryError
from mpp.core.interfaces import ILocator
from mpp.core.model import Backend, DiscoveredBackend
from mpp.discovery.http_api.look_ups import PendingLookups
from mpp.discovery.target_groups import ParsedBackends, without_secrets
from mpp.wire.address_book import ResolutionReceiver

_log = make_logger()

# Time limits of the two attempts per name server: the second one covers a lost packet.
SRV_TIMEOUTS_S = (1, 1)
# A look-up in a thread cannot be cancelled, and one in every round of an outage would soon occupy all threads. So this many
# look-ups wait for the same thread before a new one is started. If all name servers time out, about three wait.
MAX_JOINED = 10

_FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (names_errors.DNSNameError, "no such name (NXDOMAIN; search domains do not count)"),
    (names_errors.DNSServerError, "the name server failed (SERVFAIL)"),
    (names_errors.DNSQueryRefusedError, "the name server rejected the query"),
    (names_errors.DomainError, "the name server cannot resolve it"),
    (names_errors.AuthoritativeDomainError, "no such name"),
    (names_errors.ResolverError, "the resolver rejected the query"),
    (TimeoutError, "no name server responded"),
    (errors.ConnectError, "no connection to the name server"),
    (errors.ConnectionClosed, "the name server closed the connection"),
    (OSError, "no name server can be queried"),
)


@implementer(ILocator)
class DNSLocator:
    """
    A locator of backends that DNS lists.

    :param spec: the name to look up, in one of the forms that the module's docstring lists.
    :param resolver: resolves host names (the reactor's ``nameResolver``).
    :param names: resolves SRV records (a `twisted.names.client.Resolver`), an `IResolver`; used for ``srv+`` only.
    :raises ConfigError: ``spec`` is not valid.
    """

    def __init__(self, spec: str, resolver: IHostnameResolver, names: Any, name: str = "dns") -> None:
        try:
            service, like = _parse(spec)
        except ValueError as error:
            raise ConfigError("--dns", f"{without_secrets(spec)!r}: {error}") from None
        self.name = name
        self._spec = spec
        self.sought, self.explicit = f"addresses of {spec}", False
        # Its Deferred fails with `DiscoveryError` when there is no record, and can be cancelled.
        self._look_up: Callable[[], Deferred[ParsedBackends]] = _AddressLookup(resolver, like).look_up
        if service:
            self._look_up = lambda: Deferred.fromCoroutine(_look_up_service(names, like))
        self._known_problems: frozenset[str] = frozenset()
        self._looking = PendingLookups()

    def __repr__(self) -> str:
        return f"<DNSLocator {self._spec}>"

    def locate(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
        """
        Look up the backends in DNS.

        :return Deferred(tuple): fires with the addresses, IPv4 first, in numerical order, or with the targets of the SRV
            record, by priority, weight and name. Fails with `DiscoveryError` when the name or its records do not exist, or no
            name server responds.
        """
        return self._looking.add(self._look_up().addCallback(self._discovered))

    def start(self, changed: Callable[[], None]) -> None:
        """Do nothing, because DNS cannot be watched."""

    def stop(self) -> None:
        """Cancel the look-ups in progress."""
        self._looking.cancel()

    def _discovered(self, parsed: ParsedBackends) -> tuple[DiscoveredBackend, ...]:
        for problem in parsed.problems:
            if problem not in self._known_problems:
                _log.warn("DNS record of {spec} skipped: {problem}", spec=self._spec, problem=problem)
        self._known_problems = frozenset(parsed.problems)
        if not parsed.backends:
            raise DiscoveryError(f"{self._spec}: {'; '.join(parsed.problems[:1]) or 'no records'}")
        return tuple(map(DiscoveredBackend, parsed.backends))


def _parse(spec: str) -> tuple[bool, Backend]:
    """
    Return whether a spec means an SRV record, and a template of the backends, whose host is the name to look up.

    :raises ValueError: the spec is not valid.
    """
    spec = spec.strip()
    if not spec.startswith("srv+"):
        return False, parse_endpoint(spec)
    scheme, _, address = spec.removeprefix("srv+").rpartition("://")
    name = address.partition("/")[0]
    if "@" not in address and ":" in name:
        raise ValueError("the ports are in the SRV record; expected a name only, like srv+_web._tcp.prom.example.org")
    if "." not in name.strip("."):
        raise ValueError("expected a fully qualified name, like srv+_web._tcp.prom.example.org")
    return True, parse_endpoint(f"{scheme or 'http'}://{address}")


async def _look_up_service(names: Any, like: Backend) -> ParsedBackends:
    """Query the name servers for the targets of an SRV record."""
    # RFC 1034 writes the root as a last dot; twisted.names takes every name as fully qualified.
    name = like.host.rstrip(".")
    try:
        answers, _, _ = await names.lookupService(name, timeout=SRV_TIMEOUTS_S)
    except tuple(kind for kind, _ in _FAILURES) as error:
        why = next(text for kind, text in _FAILURES if isinstance(error, kind))
        raise DiscoveryError(f"srv+{name}: {why}") from error
    # An alias (CNAME) that leads to the records is part of the response.
    return read_services([answer.payload for answer in answers if answer.type == SRV], like)


def read_services(records: Sequence[Record_SRV], like: Backend) -> ParsedBackends:
    """
    Return a backend for each target of SRV records, best first (RFC 2782): low priority, then high weight, then by name. Pure.

    :param like: a template, of which the backends get the scheme and the path prefix.
    """
    targets = [(record.priority, -record.weight, record.target.name.decode("latin-1"), record.port) for record in records]
    backends: dict[Backend, None] = {}
    problems = []
    for _, _, host, port in sorted(targets):
        try:
            found = parse_endpoint(f"{host}:{port}")
        except ValueError as error:
            # Among them the root, which means that the service does not exist here.
            problems.append(f"{host or '.'}:{port}: {error}")
        else:
            backends.setdefault(evolve(like, host=found.host, port=found.port))
    return ParsedBackends(tuple(backends), tuple(problems))


def read_addresses(addresses: Sequence[str], like: Backend) -> ParsedBackends:
    """
    Return a backend for each address, IPv4 first, in numerical order, because resolvers vary the order. Pure.

    :param like: a template, of which the backends get everything except the host.
    """
    found = []
    problems = []
    for address in addresses:
        if "%" in address:
            problems.append(f"{address}: an IPv6 address with a zone (%) is not supported")
        else:
            found.append(ipaddress.ip_address(address))
    found.sort(key=lambda address: (address.version, int(address)))
    backends = dict.fromkeys(evolve(like, host=str(address)) for address in found)
    return ParsedBackends(tuple(backends), tuple(problems))


class _AddressLookup:
    """
    The look-up of the addresses of a host name.

    A look-up in a thread goes on when its caller has cancelled. The next look-up then joins it, or gets the result that arrived
    in between: otherwise a slow name server would never respond in time.
    """

    def __init__(self, resolver: IHostnameResolver, like: Backend) -> None:
        self._resolver = resolver
        self._like = like
        self._waiting: list[Deferred[ParsedBackends]] = []
        self._running: object = None
        self._joined = 0
        self._late: ParsedBackends | DiscoveryError | None = None

    def look_up(self) -> Deferred[ParsedBackends]:
        """Query the system's resolver; the Deferred fails with `DiscoveryError` if it finds no address."""
        waiter: Deferred[ParsedBackends] = Deferred(self._cancelled)
        self._waiting.append(waiter)
        if self._late is not None:
            self._fire(self._late)
        elif self._running is None or self._joined >= MAX_JOINED:
            self._ask()
        else:
            self._joined += 1
        return waiter

    def _cancelled(self, waiter: Deferred[ParsedBackends]) -> None:
        self._waiting = [each for each in self._waiting if each is not waiter]

    def _ask(self) -> None:
        self._joined = 0
        running = self._running = object()
        answers = ResolutionReceiver(partial(self._answered, running))
        try:
            self._resolver.resolveHostName(answers, self._like.host, addressTypes=(IPv4Address, IPv6Address))
        except ValueError as error:  # the name cannot be encoded
            self._answered(running, (), str(error))

    def _answered(self, running: object, addresses: Sequence[str], problem: str = "does not resolve to any address") -> None:
        if running is not self._running:
            return  # replaced by a newer look-up
        self._running = None
        self._late = read_addresses(addresses, self._like) if addresses else DiscoveryError(f"{self._like.host}: {problem}")
        if self._waiting:
            self._fire(self._late)

    def _fire(self, result: ParsedBackends | DiscoveryError) -> None:
        self._late = None
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if isinstance(result, DiscoveryError):
                waiter.errback(result)
            else:
                waiter.callback(result)
