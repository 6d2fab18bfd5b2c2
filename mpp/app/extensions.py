"""
Makes strategies and affinities of what the operator wrote, ``name`` or ``name:arguments``.

Strategies and affinities that mpp brings along are in tables here; what it does not know is looked for among the entry points
of installed distributions, in the groups ``mpp.strategies`` and ``mpp.affinities``. An entry point names a
callable that takes what stood behind the colon (an empty text if there was none) and gives an object that provides the
interface; it raises ValueError, with one line that says what was expected, if it does not like its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Generic, Protocol, TypeVar

from zope.interface import Interface
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from mpp.core.errors import ConfigError
from mpp.core.interfaces import IAffinity, IStrategy
from mpp.core.text.values import parse_duration
from mpp.proxy.decisions.affinity import MEMORY, CookieAffinity, HeaderAffinity, SourceIPAffinity
from mpp.selection.strategies import MinimumHistory, RandomStrategy, SingleMostData

STRATEGIES = "mpp.strategies"
AFFINITIES = "mpp.affinities"

T = TypeVar("T")
Network = IPv4Network | IPv6Network
Factory = Callable[[str], T]
"""Makes an extension of its arguments, or raises ValueError."""


class EntryPoint(Protocol):
    """What is used of `importlib.metadata.EntryPoint`."""

    @property
    def name(self) -> str:
        """The extension's name."""

    @property
    def value(self) -> str:
        """Where its factory is, ``package.module:name``."""

    def load(self) -> Any:
        """Import and give the factory."""


Installed = Callable[[str], Iterable[EntryPoint]]
"""Gives the entry points of a group."""


def installed(group: str) -> Iterable[EntryPoint]:
    """Give the entry points of a group of all installed distributions."""
    return metadata.entry_points(group=group)


def build_strategy(spec: str, option: str = "--routing-strategy", *, entry_points: Installed = installed) -> IStrategy:
    """
    Make the routing strategy.

    :param spec: ``single-most-data``, ``minimum-history:15d``, ``random``, or one from elsewhere.
    :raises ConfigError: there is no such strategy, or it does not like its arguments.
    """
    build: ExtensionBuilder[IStrategy] = ExtensionBuilder(option, IStrategy, STRATEGIES, entry_points)
    return build(spec, _STRATEGIES)


def build_affinities(
    names: Iterable[str],
    trusted: Sequence[Network],
    option: str = "--affinity-options",
    *,
    memory: int = MEMORY,
    entry_points: Installed = installed,
) -> tuple[IAffinity, ...]:
    """
    Make the affinities, in the order they are tried.

    :param names: ``cookies``, ``sourceip``, ``header:NAME``, or some from elsewhere.
    :param trusted: networks whose ``X-Forwarded-For`` is believed.
    :param memory: how many client addresses are remembered.
    :raises ConfigError: there is no such affinity, or it does not like its arguments.
    """
    table: dict[str, tuple[str, Factory[IAffinity]]] = {
        "cookies": ("cookies", _alone(CookieAffinity)),
        "sourceip": ("sourceip", _alone(lambda: SourceIPAffinity(trusted, memory))),
        "header": ("header:NAME", HeaderAffinity),
    }
    build: ExtensionBuilder[IAffinity] = ExtensionBuilder(option, IAffinity, AFFINITIES, entry_points)
    return tuple(build(name, table) for name in names)


def _alone(make: Callable[[], T]) -> Factory[T]:
    """Make a factory of something that takes no arguments."""

    def factory(arguments: str) -> T:
        if arguments:
            raise ValueError(f"it takes no arguments, not {arguments!r}")
        return make()

    return factory


def _minimum_history(arguments: str) -> IStrategy:
    if not arguments:
        raise ValueError("expected a duration, like minimum-history:15d")
    duration = parse_duration(arguments)
    if duration <= 0:
        raise ValueError(f"{arguments!r} is not longer than nothing")
    return MinimumHistory(duration)


# By name: how it is written, and its factory.
_STRATEGIES: Mapping[str, tuple[str, Factory[IStrategy]]] = {
    "single-most-data": ("single-most-data", _alone(SingleMostData)),
    "minimum-history": ("minimum-history:DURATION", _minimum_history),
    "random": ("random", _alone(RandomStrategy)),
}


class ExtensionBuilder(Generic[T]):
    """
    The making of one kind of extension.

    :param option: to blame.
    :param interface: what the extension must provide.
    :param group: the entry points' group.
    """

    def __init__(self, option: str, interface: type[Interface], group: str, entry_points: Installed) -> None:
        self._option = option
        self._interface = interface
        self._group = group
        self._entry_points = entry_points

    def __call__(self, spec: str, table: Mapping[str, tuple[str, Factory[T]]]) -> T:
        """Make what ``spec`` says, out of the table or else an entry point."""
        name, _, arguments = spec.partition(":")
        if name in table:
            return self._make(name, table[name][1], arguments)
        for point in self._entry_points(self._group):
            if point.name == name:
                return self._verified(point, self._make(name, self._load(point), arguments))
        choices = [written for written, _ in table.values()] + sorted(p.name for p in self._entry_points(self._group))
        raise ConfigError(self._option, f"unknown {name!r}; expected one of {', '.join(dict.fromkeys(choices))}")

    def _make(self, name: str, factory: Factory[T], arguments: str) -> T:
        try:
            return factory(arguments)
        except ValueError as error:
            raise ConfigError(self._option, f"{name}: {error}") from error

    def _load(self, point: EntryPoint) -> Factory[T]:
        try:
            factory: Factory[T] = point.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(self._option, f"{point.name}: {point.value} cannot be loaded: {error}") from error
        return factory

    def _verified(self, point: EntryPoint, made: T) -> T:
        try:
            verifyObject(self._interface, made)
        except Invalid as error:
            problem = " ".join(str(error).split())
            raise ConfigError(
                self._option, f"{point.name}: {point.value} makes no {self._interface.__name__}: {problem}"
            ) from error
        return made
